//! What commands say and what they are told.

use gantry_adapters::engine::{BoxUser, ExecEnding, SandboxControl};

use crate::Clause;
use crate::subject::Subject;
use crate::world::{passes, run, run_spec, shell};

pub const CLAUSES: &[Clause] = &[
    ("both outputs come in the order they were written", order),
    ("output is bytes, with or without a last newline", bytes),
    ("a lot of output comes whole", lots),
    ("the environment is the box's and the command's", environment),
    ("the working directory is the one asked for", directory),
    ("a plain box's user is called box and has a home", plain_user),
    ("root in a box may use the box's files", root_user),
];

fn order(subject: &Subject) {
    let sandbox = subject.open();
    let text = passes(
        &*sandbox,
        "i=0; while [ $i -lt 300 ]; do echo o$i; echo e$i >&2; i=$((i+1)); done",
    );
    let expected: String = (0..300).map(|i| format!("o{i}\ne{i}\n")).collect();
    assert_eq!(text, expected);
}

fn bytes(subject: &Subject) {
    let sandbox = subject.open();
    for (line, expected) in [
        (r"printf '\377\000\n\n'", &b"\xff\x00\n\n"[..]),
        (r"printf 'no newline'", b"no newline"),
        (r"printf '\n'", b"\n"),
        ("true", b""),
        (
            r"printf '\001\000\000\000\000\000\000\005'",
            b"\x01\0\0\0\0\0\0\x05",
        ),
    ] {
        let ran = run(&*sandbox, line);
        assert_eq!(ran.report.ending, ExecEnding::Exited { code: 0 });
        assert_eq!(ran.output, expected, "{line}");
    }
}

fn lots(subject: &Subject) {
    const BYTES: u64 = 64 * 1024 * 1024;
    let sandbox = subject.open();
    let mut count = 0_u64;
    let mut wrong = 0_u64;
    let mut keep = |bytes: &[u8]| {
        count += bytes.len() as u64;
        wrong += bytes.iter().filter(|byte| **byte != 0).count() as u64;
        Ok(())
    };
    let line = shell("dd if=/dev/zero bs=1048576 count=64 2>/dev/null");
    let report = sandbox.exec(&line, &mut keep, &SandboxControl::default());
    assert_eq!(report.ending, ExecEnding::Exited { code: 0 });
    assert_eq!((count, wrong), (BYTES, 0));
    assert_eq!(sandbox.close().usage.output_bytes, BYTES);
}

fn environment(subject: &Subject) {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let sandbox = subject.open_with(|spec| {
        spec.env = vec![
            pair("A", "box"),
            pair("B", "first"),
            pair("B", "box"),
            pair("BOX-ODD", "1"),
        ];
    });
    let mut spec = shell("");
    // No shell: those drop variables with names they could not have.
    spec.command = vec!["env".to_owned()];
    spec.env = vec![
        pair("B", "command"),
        pair("C", "two\nlines"),
        pair("INPUT_FETCH-DEPTH", "0"),
        pair("D", ""),
    ];
    let text = run_spec(&*sandbox, &spec).text();
    for line in [
        "A=box",
        "B=command",
        "C=two",
        "lines",
        "INPUT_FETCH-DEPTH=0",
        "BOX-ODD=1",
        "D=",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    assert!(!text.contains("B=box") && !text.contains("B=first"), "{text}");
    let text = passes(&*sandbox, "env");
    assert!(text.contains("B=box\n") && !text.contains("C="), "{text}");
}

fn directory(subject: &Subject) {
    let sandbox = subject.open();
    assert_eq!(passes(&*sandbox, "pwd"), "/box/workspace\n");
    passes(&*sandbox, "mkdir 'a b'");
    let mut spec = shell("pwd; echo $0 $#");
    spec.directory = "/box/workspace/a b".into();
    assert_eq!(
        run_spec(&*sandbox, &spec).text(),
        "/box/workspace/a b\n/bin/sh 0\n"
    );
}

fn plain_user(subject: &Subject) {
    let sandbox = subject.open();
    let text = passes(
        &*sandbox,
        "id -un; touch $HOME/file file /tmp/file && echo wrote; touch /etc/file 2>&1 || echo refused",
    );
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        (lines[0], lines[1], lines.last()),
        ("box", "wrote", Some(&"refused")),
        "{text}"
    );
}

fn root_user(subject: &Subject) {
    let sandbox = subject.open_with(|spec| spec.user = BoxUser::Root);
    let text = passes(
        &*sandbox,
        "id -u; touch /etc/file file && chown 12:34 file && stat -c %u:%g file",
    );
    assert_eq!(text, "0\n12:34\n");
}
