//! What every engine must do, as functions over any engine; the tests run them on the native one.

use std::io::Read;
use std::path::Path;
use std::thread;
use std::time::Duration;

use gantry_adapters::engine::{
    ExecEnding, FileVisitor, Found, FoundKind, HostPort, Limits, Mount, MountKind, Network, SandboxControl,
    SandboxEngine, SandboxSpec, ServiceSpec,
};

use crate::world::{World, exec, line_spec, passes, sh, wait_until};

fn open(engine: &dyn SandboxEngine, spec: &SandboxSpec) -> Box<dyn gantry_adapters::engine::Sandbox> {
    engine.open(spec, &SandboxControl::default()).expect("a box")
}

pub fn commands_share_files_and_processes(engine: &dyn SandboxEngine, spec: &SandboxSpec) {
    let sandbox = open(engine, spec);
    passes(
        sandbox.as_ref(),
        "echo kept >/tmp/x; sleep 7571 & echo $! >/tmp/pid",
    );
    assert_eq!(
        passes(
            sandbox.as_ref(),
            "cat /tmp/x; kill -0 $(cat /tmp/pid) && echo lives"
        ),
        "kept\nlives\n"
    );
    let (report, said) = sh(sandbox.as_ref(), "echo out; echo err >&2; exit 7");
    assert_eq!(
        (report.ending, said.as_str()),
        (ExecEnding::Exited { code: 7 }, "out\nerr\n")
    );
    assert_eq!(sandbox.close().leftover, None);
}

pub fn one_command_is_cancelled_and_the_others_go_on(engine: &dyn SandboxEngine, spec: &SandboxSpec) {
    let sandbox = open(engine, spec);
    let control = SandboxControl::default();
    let ending = thread::scope(|scope| {
        let hang = scope.spawn(|| {
            exec(
                sandbox.as_ref(),
                &line_spec("touch /tmp/hangs; sleep 7572 & sleep 7572"),
                &control,
            )
        });
        wait_until("it runs", || {
            sh(sandbox.as_ref(), "test -e /tmp/hangs").0.ending == ExecEnding::Exited { code: 0 }
        });
        control.cancel();
        hang.join().expect("it ends").0.ending
    });
    assert_eq!(ending, ExecEnding::Cancelled);
    assert_eq!(
        passes(
            sandbox.as_ref(),
            "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; echo; done 2>/dev/null | grep -c '^sleep 757' || true"
        ),
        "0\n"
    );
    let mut slow = line_spec("trap 'echo asked; exit 0' TERM; sleep 7573 & wait");
    slow.timeout = Duration::from_millis(300);
    let (report, said) = exec(sandbox.as_ref(), &slow, &SandboxControl::default());
    assert_eq!((report.ending, said.as_str()), (ExecEnding::TimedOut, "asked\n"));
    assert_eq!(sandbox.close().leftover, None);
}

#[derive(Default)]
struct Seen(Vec<String>);

impl FileVisitor for Seen {
    fn enter(&mut self, directory: &Found) -> bool {
        !directory.path.ends_with("closed")
    }

    fn visit(&mut self, found: &Found, content: &mut dyn Read) -> std::io::Result<()> {
        let mut text = String::new();
        content.read_to_string(&mut text)?;
        let kind = match &found.kind {
            FoundKind::Directory => "d".to_owned(),
            FoundKind::File { bytes } => format!("f{bytes}:{text}"),
            FoundKind::Link(target) => format!("l{}", target.display()),
            FoundKind::Other => "o".to_owned(),
        };
        self.0
            .push(format!("{} {:o} {kind}", found.path.display(), found.mode));
        Ok(())
    }
}

pub fn files_go_in_and_come_out(engine: &dyn SandboxEngine, spec: &SandboxSpec) {
    let sandbox = open(engine, spec);
    sandbox
        .put_file(Path::new("/tmp/new/a"), b"one", 0o640)
        .expect("written");
    sandbox
        .put_file(Path::new("/tmp/new/a"), b"two", 0o755)
        .expect("replaced");
    let line = "cd /tmp/new && test -O a && mkdir closed && touch closed/x && ln -s /etc/passwd l && mkfifo p && chmod 000 closed";
    passes(sandbox.as_ref(), line);
    let mut seen = Seen::default();
    sandbox
        .visit_files(Path::new("/tmp/new"), &mut seen)
        .expect("shown");
    assert_eq!(
        seen.0,
        [
            " 755 d",
            "a 755 f3:two",
            "closed 0 d",
            "l 777 l/etc/passwd",
            "p 644 o"
        ]
    );
    let missing = sandbox.visit_files(Path::new("/tmp/not"), &mut Seen::default());
    assert!(missing.is_err_and(|failed| failed.to_string().starts_with("/tmp/not in the box")));
    assert_eq!(sandbox.close().leftover, None);
}

pub fn mounts_are_what_they_say(engine: &dyn SandboxEngine, spec: &SandboxSpec, folder: &Path) {
    let mut spec = spec.clone();
    for (name, kind) in [
        ("ro", MountKind::ReadOnly),
        ("rw", MountKind::Shared),
        ("cow", MountKind::CopyOnWrite),
    ] {
        std::fs::create_dir_all(folder.join(name)).expect("a folder");
        std::fs::write(folder.join(name).join("f"), name).expect("a file");
        spec.mounts.push(Mount {
            host: folder.join(name),
            at: Path::new("/m").join(name),
            kind,
        });
    }
    let sandbox = open(engine, &spec);
    let line = "cat /m/*/f; touch /m/ro/x 2>/dev/null && echo WROTE; touch /m/rw/x && rm -f /m/cow/f && touch /m/cow/y && ls /m/cow";
    assert_eq!(passes(sandbox.as_ref(), line), "cowrorwy\n");
    assert_eq!(sandbox.close().leftover, None);
    assert!(folder.join("rw/x").exists() && folder.join("cow/f").exists());
    assert!(!folder.join("cow/y").exists() && !folder.join("ro/x").exists());
}

pub fn a_frozen_box_stands_still(engine: &dyn SandboxEngine, spec: &SandboxSpec) {
    let sandbox = open(engine, spec);
    sandbox.freeze(true).expect("stopped");
    sandbox.freeze(false).expect("continued");
    assert_eq!(passes(sandbox.as_ref(), "echo on"), "on\n");
    sandbox.freeze(true).expect("stopped");
    assert_eq!(sandbox.close().leftover, None);
}

pub fn only_listed_places_are_reached(engine: &dyn SandboxEngine, spec: &SandboxSpec) {
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = server.local_addr().expect("an address").port();
    let answer = thread::spawn(move || {
        use std::io::Write;
        let (mut stream, _) = server.accept().expect("a client");
        let mut head = [0; 1000];
        let count = stream.read(&mut head).expect("a request");
        stream
            .write_all(b"HTTP/1.0 200 OK\r\n\r\nhello")
            .expect("answered");
        String::from_utf8_lossy(&head[..count]).into_owned()
    });
    let mut spec = spec.clone();
    spec.network = Network::Allow(vec![HostPort {
        host: "127.0.0.1".to_owned(),
        port,
    }]);
    let sandbox = open(engine, &spec);
    let line = format!(
        "env -u no_proxy -u NO_PROXY python3 - <<'E'\nimport urllib.request as r, socket\n\
         h = r.build_opener(r.ProxyHandler({{'http': 'http://127.0.0.1:3128'}}))\n\
         print(h.open('http://127.0.0.1:{port}/x').read().decode())\n\
         try: h.open('http://127.0.0.1:1/')\nexcept Exception as e: print(e.code)\n\
         try: socket.create_connection(('192.0.2.1', 80), 2)\nexcept OSError as e: print('no route')\nE\n"
    );
    assert_eq!(passes(sandbox.as_ref(), &line), "hello\n403\nno route\n");
    assert!(
        answer
            .join()
            .expect("it answered")
            .starts_with("GET /x HTTP/1.1\r\n")
    );
    let hosts = sandbox.close().hosts.expect("somebody watched");
    assert_eq!(
        hosts,
        [format!("127.0.0.1:{port}"), "refused 127.0.0.1:1".to_owned()]
    );
}

pub fn a_service_is_found_by_its_name(engine: &dyn SandboxEngine, spec: &SandboxSpec) {
    let mut spec = spec.clone();
    let words = |line: &str| ["/bin/sh", "-c", line].map(str::to_owned).to_vec();
    spec.services.push(ServiceSpec {
        name: "web".to_owned(),
        image: spec.image.clone(),
        command: words("cd /tmp && echo served >f && exec python3 -m http.server 8099 --bind 127.0.0.1"),
        env: Vec::new(),
        health: words("python3 -c \"import socket; socket.create_connection(('127.0.0.1', 8099), 1)\""),
        ready_within: Duration::from_secs(20),
    });
    let sandbox = open(engine, &spec);
    let line = "python3 -c \"import urllib.request as r; print(r.urlopen('http://web:8099/f').read().decode(), end='')\"";
    assert_eq!(passes(sandbox.as_ref(), line), "served\n");
    assert_eq!(sandbox.close().leftover, None);
}

pub fn the_receipt_tells_what_was_written(engine: &dyn SandboxEngine, spec: &SandboxSpec) {
    let sandbox = open(engine, spec);
    passes(
        sandbox.as_ref(),
        "cd /box/workspace && echo 12345 >new && rm README",
    );
    let receipt = sandbox.close();
    assert_eq!(
        (
            receipt.files.changed_count,
            receipt.files.removed_count,
            receipt.files.bytes
        ),
        (1, 1, 6)
    );
    assert!(
        receipt.files.paths.contains(&"/box/workspace/new".into()),
        "{receipt:?}"
    );
}

macro_rules! on_native {
    ($($name:ident),*) => {$(
        mod $name {
            #[test]
            fn native() {
                let Some(world) = super::World::new() else { return };
                super::$name(&world.engine, &world.sandbox_spec());
                world.nothing_is_left();
            }
        }
    )*};
}

on_native!(
    commands_share_files_and_processes,
    one_command_is_cancelled_and_the_others_go_on,
    files_go_in_and_come_out,
    a_frozen_box_stands_still,
    only_listed_places_are_reached,
    a_service_is_found_by_its_name,
    the_receipt_tells_what_was_written
);

#[test]
fn mounts_are_what_they_say_on_the_native_engine() {
    let Some(world) = World::new() else { return };
    mounts_are_what_they_say(&world.engine, &world.sandbox_spec(), &world.path("mounts"));
    world.nothing_is_left();
}

#[test]
fn a_limit_that_cannot_be_held_is_refused() {
    let Some(world) = World::new() else { return };
    let mut spec = world.sandbox_spec();
    spec.limits = Limits {
        in_memory: true,
        ..Limits::default()
    };
    let refused = world
        .engine
        .open(&spec, &SandboxControl::default())
        .err()
        .expect("refused");
    assert!(refused.to_string().contains("needs a limit"), "{refused}");
}
