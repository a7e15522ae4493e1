//! What holds for every adapter: the captures in any cut, any bytes at all, and lines of any length in little memory.

use gantry_agent::{
    Adapter, AgentEvent, Brief, CommandOutput, LaunchRequest, LineMapping, PermissionPolicy, ProgramTemplate,
    StreamParser, TranscriptFormat, TranscriptReader, TranscriptTotals,
};
use proptest::prelude::*;

const CODEX_OK: &[u8] = include_bytes!("captures/codex-exec-ok.jsonl");
const CODEX_FAILED: &[u8] = include_bytes!("captures/codex-exec-turn-failed.jsonl");
const CODEX_NETWORK: &[u8] = include_bytes!("captures/codex-exec-network-down.jsonl");
const CODEX_ROLLOUT: &[u8] = include_bytes!("captures/codex-rollout-0.169.jsonl");
const CLAUDE_STREAM: &[u8] = include_bytes!("captures/claude-stream-json-2.1.330.jsonl");
const CLAUDE_SESSION: &[u8] = include_bytes!("captures/claude-session-2.1.330.jsonl");
/// What an agent of the protocol writes in one run, by the protocol's own schema.
const ACP: &[u8] = br#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":1,"agentCapabilities":{"loadSession":true}}}
{"jsonrpc":"2.0","id":2,"result":{"sessionId":"s1"}}
{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"s1","update":{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"I w"}}}}
{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"s1","update":{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"rite."}}}}
{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"s1","update":{"sessionUpdate":"tool_call","toolCallId":"t","title":"Edit","kind":"edit","status":"pending"}}}
{"jsonrpc":"2.0","id":0,"method":"session/request_permission","params":{"sessionId":"s1","options":[{"optionId":"y","kind":"allow_once"}]}}
{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"s1","update":{"sessionUpdate":"tool_call_update","toolCallId":"t","status":"completed","content":[{"type":"diff","path":"/w/a","newText":"x"}]}}}
{"jsonrpc":"2.0","id":3,"result":{"stopReason":"end_turn"}}
"#;

/// The whole process may hold this much while it reads the longest line that was ever seen.
const MEMORY_BYTES_MAX: u64 = 64 * 1024 * 1024;
const LONG_LINE_BYTES: usize = 52 * 1024 * 1024;

fn mapping() -> LineMapping {
    let at = |pointer: &str| Some(pointer.to_owned());
    LineMapping {
        message: at("/item/text"),
        input_tokens: at("/usage/input_tokens"),
        result: at("/result"),
        ..LineMapping::default()
    }
}

fn adapters() -> Vec<Adapter> {
    let template = ProgramTemplate::default;
    let command = |output| Adapter::Command {
        template: template(),
        output,
    };
    vec![
        Adapter::Codex {
            program: "codex".to_owned(),
        },
        Adapter::Claude {
            program: "claude".to_owned(),
        },
        Adapter::Acp {
            template: template(),
            permission: PermissionPolicy::Allow,
        },
        command(CommandOutput::Lines),
        command(CommandOutput::Json(Box::new(mapping()))),
    ]
}

fn parser(adapter: &Adapter) -> StreamParser {
    adapter.stream(&LaunchRequest::new(Brief::Text("Do it.".to_owned()), "/w", "/h"))
}

/// Returns everything an adapter makes of `bytes`, cut at `cuts`.
fn read(adapter: &Adapter, bytes: &[u8], cuts: &[usize]) -> (Vec<AgentEvent>, Vec<u8>, String) {
    let mut parser = parser(adapter);
    let (mut events, mut replies) = (Vec::new(), parser.take_replies());
    for piece in pieces(bytes, cuts) {
        events.extend(parser.feed(piece));
        replies.extend(parser.take_replies());
    }
    events.extend(parser.finish());
    (
        events,
        replies,
        format!("{:?} {:?}", parser.counts(), parser.summary()),
    )
}

fn sum_up(format: TranscriptFormat, bytes: &[u8], cuts: &[usize]) -> TranscriptTotals {
    let mut reader = TranscriptReader::new(format, None);
    pieces(bytes, cuts)
        .into_iter()
        .for_each(|piece| reader.feed(piece));
    reader.finish()
}

fn pieces<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

const FORMATS: [TranscriptFormat; 3] = [
    TranscriptFormat::CodexRollout,
    TranscriptFormat::ClaudeSession,
    TranscriptFormat::Opaque,
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_capture_says_the_same_however_it_is_cut(cuts in prop::collection::vec(any::<usize>(), 0..40)) {
        for capture in [CODEX_OK, CODEX_FAILED, CODEX_NETWORK, CLAUDE_STREAM, ACP] {
            for adapter in adapters() {
                prop_assert_eq!(read(&adapter, capture, &cuts), read(&adapter, capture, &[]));
            }
        }
        for capture in [CODEX_ROLLOUT, CLAUDE_SESSION] {
            for format in FORMATS {
                prop_assert_eq!(sum_up(format, capture, &cuts), sum_up(format, capture, &[]));
            }
        }
    }

    #[test]
    fn no_bytes_are_fatal(bytes in prop::collection::vec(any::<u8>(), 0..600), cuts in prop::collection::vec(any::<usize>(), 0..6)) {
        for adapter in adapters() {
            let (one, two) = (read(&adapter, &bytes, &cuts), read(&adapter, &bytes, &[]));
            prop_assert_eq!(one, two);
        }
        for format in FORMATS {
            prop_assert_eq!(sum_up(format, &bytes, &cuts), sum_up(format, &bytes, &[]));
        }
    }

    #[test]
    fn no_damage_to_a_capture_is_fatal(which in 0..7_usize, damage in prop::collection::vec((any::<usize>(), any::<u8>()), 1..30)) {
        let captures = [CODEX_OK, CODEX_FAILED, CODEX_NETWORK, CLAUDE_STREAM, ACP, CODEX_ROLLOUT, CLAUDE_SESSION];
        let mut bytes = captures[which].to_vec();
        for (place, byte) in damage {
            let place = place % bytes.len();
            bytes[place] = byte;
        }
        for adapter in adapters() {
            let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && *line != b"\r").count();
            let mut parser = parser(&adapter);
            parser.feed(&bytes);
            parser.finish();
            prop_assert!(parser.counts().lines <= lines as u64);
        }
        for format in FORMATS {
            sum_up(format, &bytes, &[]);
        }
    }
}

#[test]
fn every_capture_is_understood_by_its_own_adapter() {
    let adapters = adapters();
    for (capture, adapter) in [
        (CODEX_OK, &adapters[0]),
        (CODEX_FAILED, &adapters[0]),
        (CODEX_NETWORK, &adapters[0]),
        (CLAUDE_STREAM, &adapters[1]),
        (ACP, &adapters[2]),
    ] {
        let mut parser = parser(adapter);
        assert!(!parser.feed(capture).is_empty());
        let counts = parser.counts();
        assert_eq!((counts.unparsable, counts.cut, counts.unknown.len()), (0, 0, 0));
    }
}

/// Returns the most memory this process has held so far.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a process table");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    let kib: u64 = number.expect("a peak of memory").parse().expect("a number");
    kib * 1024
}

#[test]
fn a_line_of_52_mib_is_read_in_little_memory() {
    // Three shapes: one long text, very many small values deep inside, and no JSON at all.
    let shapes: [(&[u8], &[u8], &[u8]); 3] = [
        (
            b"{\"result\":\"",
            b"aGVsbG8gd29ybGQh\\n",
            b"\",\"type\":\"result\",\"subtype\":\"success\",\"is_error\":false}\n",
        ),
        (
            b"{\"message\":{\"content\":[",
            b"{\"a\":{\"b\":0}},[[],[]],",
            b"0]},\"type\":\"result\",\"subtype\":\"success\",\"is_error\":false}\n",
        ),
        (b"x", b"garbage ", b"\n"),
    ];
    for (number, (head, body, tail)) in shapes.iter().enumerate() {
        let piece = body.repeat(64 * 1024 / body.len());
        let pieces = LONG_LINE_BYTES / piece.len();
        let mut parsers: Vec<StreamParser> = adapters().iter().map(parser).collect();
        let mut readers = FORMATS.map(|format| TranscriptReader::new(format, None));
        let mut feed = |bytes: &[u8]| {
            for parser in &mut parsers {
                parser.feed(bytes);
            }
            for reader in &mut readers {
                reader.feed(bytes);
            }
        };
        feed(head);
        for _ in 0..pieces {
            feed(&piece);
        }
        feed(tail);
        let finished = parsers[1].summary().finished.is_some();
        assert_eq!(finished, number < 2, "the type at the end of the line is read");
        for parser in &parsers {
            assert_eq!((parser.counts().lines, parser.counts().cut), (1, 1));
            assert!(parser.counts().cut_bytes > 51 * 1024 * 1024);
        }
        for reader in readers {
            assert_eq!(reader.finish().counts.cut, 1);
        }
    }
    let peak = peak_bytes();
    assert!(peak < MEMORY_BYTES_MAX, "{peak} bytes at the most");
}
