//! Files into a box and out of it.

use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use gantry_adapters::engine::{FileVisitor, Found, FoundKind, Sandbox, SandboxError};

use crate::Clause;
use crate::subject::Subject;
use crate::world::passes;

pub const CLAUSES: &[Clause] = &[
    (
        "a file put into a box is the user's, with its mode and parents",
        put,
    ),
    (
        "a file put into a box replaces what is there and follows no link",
        put_over,
    ),
    ("a directory is not replaced by a file", put_over_directory),
    (
        "a visit shows everything once, parents first, names in order",
        visit,
    ),
    ("a visit goes only into directories it may enter", enter),
    (
        "a visit resolves links in its start inside the box",
        visit_through_link,
    ),
    ("a visit of nothing says so", visit_nothing),
    ("a visitor's error ends the visit", visitor_fails),
    ("a large file comes out whole", large),
];

/// Writes down everything it is shown.
#[derive(Default)]
struct Notes {
    lines: Vec<String>,
    not_into: Option<&'static str>,
}

impl FileVisitor for Notes {
    fn enter(&mut self, directory: &Found) -> bool {
        self.not_into.is_none_or(|name| directory.path != Path::new(name))
    }

    fn visit(&mut self, found: &Found, content: &mut dyn Read) -> io::Result<()> {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        let kind = match &found.kind {
            FoundKind::Directory => "dir".to_owned(),
            FoundKind::File { bytes: length } => {
                assert_eq!(*length, bytes.len() as u64, "{found:?}");
                let head = String::from_utf8_lossy(&bytes[..bytes.len().min(8)]).into_owned();
                format!("file {length} {head:?}")
            }
            FoundKind::Link(to) => format!("link {}", to.display()),
            FoundKind::Other => "other".to_owned(),
        };
        if found.kind != FoundKind::Directory && !matches!(found.kind, FoundKind::File { .. }) {
            assert!(bytes.is_empty(), "{found:?}");
        }
        let mode = if matches!(found.kind, FoundKind::Link(_)) {
            0
        } else {
            found.mode
        };
        self.lines.push(format!(
            "{:?} {mode:o} {kind}",
            found.path.as_os_str().as_bytes().escape_ascii().to_string()
        ));
        Ok(())
    }
}

fn notes(sandbox: &dyn Sandbox, at: &str) -> Vec<String> {
    let mut notes = Notes::default();
    sandbox.visit_files(Path::new(at), &mut notes).expect("visited");
    notes.lines
}

fn put(subject: &Subject) {
    let sandbox = subject.open();
    for (path, mode) in [
        ("/box/workspace/plain", 0o644),
        ("/box/workspace/new/deep/run me.sh", 0o755),
        ("/box/workspace/-rf 'quo\"te\\ $(x)\n*", 0o600),
        ("/box/workspace/\u{e9}\u{4e2d}", 0o640),
        ("/tmp/here/too", 0o644),
    ] {
        sandbox
            .put_file(Path::new(path), path.as_bytes(), mode)
            .expect(path);
        let quoted = path.replace('\'', "'\\''");
        let text = passes(
            &*sandbox,
            &format!("cat '{quoted}'; stat -c ' %a %U' '{quoted}'; echo more >>'{quoted}'"),
        );
        assert_eq!(text, format!("{path} {mode:o} box\n"));
    }
    passes(&*sandbox, "touch new/deep/mine && mkdir /tmp/here/mine");
    let name = format!("/box/workspace/{}", "n".repeat(200));
    let bytes = vec![7; 3_000_000];
    sandbox.put_file(Path::new(&name), &bytes, 0o644).expect("put");
    assert_eq!(passes(&*sandbox, "cat nnn* | wc -c").trim(), "3000000");
    for wrong in ["relative", "/box/workspace/../x"] {
        let refused = sandbox.put_file(Path::new(wrong), b"", 0o644);
        assert!(
            matches!(refused, Err(SandboxError::Path { .. })),
            "{wrong} {refused:?}"
        );
    }
}

fn put_over(subject: &Subject) {
    let sandbox = subject.open();
    passes(
        &*sandbox,
        "echo old >file; echo kept >target; ln -s target link; ln -s /etc/passwd out; mkdir d; ln -s d into",
    );
    for name in ["file", "link", "out", "into/new"] {
        let path = format!("/box/workspace/{name}");
        sandbox.put_file(Path::new(&path), b"new", 0o644).expect(name);
        assert_eq!(passes(&*sandbox, &format!("cat {name}; test ! -L {name}")), "new");
    }
    assert_eq!(
        passes(&*sandbox, "cat target d/new; grep -c ^root: /etc/passwd"),
        "kept\nnew1\n"
    );
}

fn put_over_directory(subject: &Subject) {
    let sandbox = subject.open();
    passes(&*sandbox, "mkdir -p d && echo kept >d/file; echo x >f");
    for path in ["/box/workspace/d", "/box/workspace/f/below", "/"] {
        let refused = sandbox.put_file(Path::new(path), b"new", 0o644);
        assert!(
            matches!(refused, Err(SandboxError::Path { .. })),
            "{path} {refused:?}"
        );
    }
    assert_eq!(passes(&*sandbox, "cat d/file f"), "kept\nx\n");
}

fn visit(subject: &Subject) {
    let sandbox = subject.open();
    passes(
        &*sandbox,
        "mkdir -p t/b t/a t/z; cd t; printf text >a/file; chmod 640 a/file; ln a/file b/hard; ln -s /etc/passwd link; \
         ln -s nowhere broken; mkfifo pipe; : >empty; chmod 4711 empty; printf x >\"$(printf 'n\\377')\"; \
         printf y >'a b'; dd if=/dev/zero of=sparse bs=1 count=1 seek=100000 2>/dev/null; chmod 644 sparse; \
         chmod 700 z; printf 1 >a.txt",
    );
    let found = notes(&*sandbox, "/box/workspace/t");
    let expected = [
        r#""" 755 dir"#,
        r#""a" 755 dir"#,
        r#""a/file" 640 file 4 "text""#,
        r#""a b" 644 file 1 "y""#,
        r#""a.txt" 644 file 1 "1""#,
        r#""b" 755 dir"#,
        r#""b/hard" 640 file 4 "text""#,
        r#""broken" 0 link nowhere"#,
        r#""empty" 4711 file 0 """#,
        r#""link" 0 link /etc/passwd"#,
        r#""n\\xff" 644 file 1 "x""#,
        r#""pipe" 644 other"#,
        r#""sparse" 644 file 100001 "\0\0\0\0\0\0\0\0""#,
        r#""z" 700 dir"#,
    ];
    assert_eq!(found, expected);
    assert_eq!(
        notes(&*sandbox, "/box/workspace/t/a/file"),
        [r#""" 640 file 4 "text""#]
    );
}

fn enter(subject: &Subject) {
    let sandbox = subject.open();
    passes(
        &*sandbox,
        "mkdir -p t/a/deep t/ab t/b; touch t/a/deep/file t/ab/file t/b/file",
    );
    let mut visitor = Notes {
        not_into: Some("a"),
        ..Notes::default()
    };
    sandbox
        .visit_files(Path::new("/box/workspace/t"), &mut visitor)
        .expect("visited");
    let names: Vec<&str> = visitor
        .lines
        .iter()
        .filter_map(|line| line.split('"').nth(1))
        .collect();
    assert_eq!(names, ["", "a", "ab", "ab/file", "b", "b/file"]);
}

fn visit_through_link(subject: &Subject) {
    let sandbox = subject.open();
    passes(
        &*sandbox,
        "mkdir -p real/inner; echo x >real/inner/file; ln -s real link; ln -s /box/workspace/link again; ln -s loop loop",
    );
    for at in ["link/inner", "again/inner"] {
        let found = notes(&*sandbox, &format!("/box/workspace/{at}"));
        assert_eq!(found.len(), 2, "{at} {found:?}");
    }
    assert_eq!(notes(&*sandbox, "/box/workspace/again").len(), 3);
    let looped = sandbox.visit_files(Path::new("/box/workspace/loop"), &mut Notes::default());
    assert!(matches!(looped, Err(SandboxError::Path { .. })), "{looped:?}");
}

fn visit_nothing(subject: &Subject) {
    let sandbox = subject.open();
    for path in ["/box/workspace/nothing", "/no/such/place"] {
        let refused = sandbox.visit_files(Path::new(path), &mut Notes::default());
        assert!(
            matches!(refused, Err(SandboxError::Path { .. })),
            "{path} {refused:?}"
        );
    }
}

struct Fails;

impl FileVisitor for Fails {
    fn visit(&mut self, _: &Found, _: &mut dyn Read) -> io::Result<()> {
        Err(io::Error::other("enough"))
    }
}

fn visitor_fails(subject: &Subject) {
    let sandbox = subject.open();
    let ended = sandbox.visit_files(Path::new("/box/workspace"), &mut Fails);
    let Err(SandboxError::System { source, .. }) = ended else {
        panic!("{ended:?}")
    };
    assert_eq!(source.to_string(), "enough");
}

struct Sum(u64, u64);

impl FileVisitor for Sum {
    fn visit(&mut self, _: &Found, content: &mut dyn Read) -> io::Result<()> {
        let mut piece = vec![0; 65536];
        loop {
            let count = content.read(&mut piece)?;
            if count == 0 {
                return Ok(());
            }
            self.0 += count as u64;
            self.1 += piece[..count].iter().map(|byte| u64::from(*byte)).sum::<u64>();
        }
    }
}

fn large(subject: &Subject) {
    let sandbox = subject.open();
    passes(
        &*sandbox,
        "tr '\\0' '\\1' </dev/zero | dd bs=1048576 count=100 iflag=fullblock of=large 2>/dev/null",
    );
    let mut sum = Sum(0, 0);
    sandbox
        .visit_files(Path::new("/box/workspace/large"), &mut sum)
        .expect("visited");
    assert_eq!((sum.0, sum.1), (104_857_600, 104_857_600));
}
