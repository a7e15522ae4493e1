//! Prints how fast a stream is masked with 200 secrets, and that every secret in it was. Owns no rule of its own.
//!
//! `cargo run --release -p gantry-core --example mask_throughput`

use gantry_core::mask::{MASK, Masker, Secrets};

const SECRETS: usize = 200;
const LOG_BYTES: usize = 64 * 1024 * 1024;
/// What a pipe of a box is read in.
const READ_BYTES: usize = 64 * 1024;
const ROUNDS: usize = 15;
/// How much of the output is searched for secrets by other means than the masker's.
const LEAK_SEARCH_BYTES: usize = 4 * 1024 * 1024;

/// A small generator, so that every run masks the same text. Source: Marsaglia's xorshift64.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits fit") % below
    }

    fn text(&mut self, alphabet: &[u8], length: usize) -> String {
        (0..length)
            .map(|_| char::from(alphabet[self.next(alphabet.len())]))
            .collect()
    }
}

const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const SYMBOLS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789!\"$%&'()*+,-./:;<=>?@\\^_{|}~";

/// Tokens, passwords with symbols, keys of many lines, and JSON with lines as short as a brace.
fn values(random: &mut Random, braces: bool) -> Vec<String> {
    (0..SECRETS)
        .map(|index| match index % 10 {
            0 => {
                let lines: Vec<String> = (0..26).map(|_| random.text(ALPHABET, 64)).collect();
                format!(
                    "-----BEGIN PRIVATE KEY {index}-----\n{}\n-----END PRIVATE KEY {index}-----\n",
                    lines.join("\n")
                )
            }
            1 if braces => format!("{{\n  \"key\": \"{}\"\n}}\n", random.text(ALPHABET, 40)),
            1..=4 => random.text(SYMBOLS, 8 + index % 17),
            5..=6 => format!("ghp_{}", random.text(&ALPHABET[..62], 36)),
            _ => random.text(ALPHABET, 40),
        })
        .collect()
}

const WORDS: &[&str] = &[
    "Compiling",
    "Downloaded",
    "test",
    "running",
    "warning:",
    "unused",
    "variable",
    "ok",
    "FAILED",
    "passed",
    "in",
    "src/main.rs:42:17",
    "https://registry.example.com/api/v1/crates",
    "error[E0308]:",
    "mismatched",
    "types",
    "{\"level\":\"info\",\"msg\":\"request\"}",
    "npm",
    "install",
    "added",
    "packages",
    "sha256:",
    "cache",
    "hit",
];

fn log(random: &mut Random, values: &[String]) -> (Vec<u8>, usize) {
    let (mut text, mut shown) = (Vec::with_capacity(LOG_BYTES + 8192), 0);
    let mut line = 0_u64;
    while text.len() < LOG_BYTES {
        line += 1;
        text.extend(
            format!(
                "2026-01-02T03:{:02}:{:02}.{:07}Z ",
                line / 60 % 60,
                line % 60,
                random.next(10_000_000)
            )
            .bytes(),
        );
        for _ in 0..3 + random.next(12) {
            text.extend(WORDS[random.next(WORDS.len())].bytes());
            text.push(b' ');
        }
        if random.next(4) == 0 {
            text.extend(random.text(b"0123456789abcdef", 40).bytes());
        }
        if random.next(1_000) == 0 {
            text.extend(values[random.next(values.len())].bytes());
            shown += 1;
        }
        text.push(b'\n');
    }
    (text, shown)
}

/// The processor time this thread has used, which other load on the machine does not count into.
fn used_nanoseconds() -> u64 {
    let text =
        std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells a thread's run time");
    text.split(' ')
        .next()
        .and_then(|first| first.parse().ok())
        .expect("its first number is nanoseconds")
}

fn seconds_of(work: impl FnOnce()) -> f64 {
    let before = used_nanoseconds();
    work();
    (used_nanoseconds() - before) as f64 / 1e9
}

fn measure(label: &str, braces: bool) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let values = values(&mut random, braces);
    let (text, shown) = log(&mut random, &values);
    let mut secrets = Secrets::new();
    let built = seconds_of(|| {
        let values = values.iter().map(|value| ("SECRET", value.as_bytes()));
        secrets.extend(values).expect("the limits allow these");
    });
    let mut rates = Vec::new();
    let mut out = Vec::with_capacity(text.len() * 2);
    for _ in 0..ROUNDS {
        out.clear();
        let seconds = seconds_of(|| {
            let mut masker = Masker::new(&secrets);
            for piece in text.chunks(READ_BYTES) {
                masker.push(piece, &mut out);
            }
            masker.finish(&mut out);
        });
        rates.push(text.len() as f64 / 1e6 / seconds);
    }
    rates.sort_by(f64::total_cmp);
    let masks = out
        .windows(MASK.len())
        .filter(|window| *window == MASK.as_bytes())
        .count();
    let start = String::from_utf8_lossy(&out[..LEAK_SEARCH_BYTES]);
    let leaks = values
        .iter()
        .filter(|value| value.lines().any(|line| line.len() > 1 && start.contains(line)))
        .count();
    println!(
        "{label}: {:.0} MB/s a core (median of {ROUNDS}; {:.0} to {:.0}); set built in {:.1} ms; \
         {shown} secrets shown, {masks} masks, {leaks} leaks in the first {LEAK_SEARCH_BYTES} bytes",
        rates[ROUNDS / 2],
        rates[0],
        rates[ROUNDS - 1],
        built * 1e3,
    );
}

fn main() {
    measure("200 secrets", false);
    measure("200 secrets, some with lines of one brace", true);
}
