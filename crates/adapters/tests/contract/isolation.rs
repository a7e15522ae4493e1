//! What a box cannot see or do.

use std::fs;

use gantry_adapters::engine::{HostPort, Image, Network, OpenError, SandboxControl};
use gantry_core::queue::build::Trouble;

use crate::Clause;
use crate::subject::Subject;
use crate::world::passes;

pub const CLAUSES: &[Clause] = &[
    ("nothing of another box can be seen", other_boxes),
    ("nothing of the host can be seen", host),
    ("a plain box has no capability and gets none", capabilities),
    ("a box without a network has its loopback only", no_network),
    ("a list of hosts is held or refused", allowed_hosts),
    ("an image that is not there is refused with its name", no_image),
    ("a daemon that does not answer blames nobody", unreachable),
    ("the probe makes a box and tells what can be held", probe),
];

fn other_boxes(subject: &Subject) {
    let (one, two) = (subject.open(), subject.open());
    passes(
        &*one,
        "echo secret >/tmp/seen; echo secret >seen; sleep 7311 & true",
    );
    let text = passes(
        &*two,
        "ls /tmp; ls; cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'sleep 731[1]'; true",
    );
    assert_eq!(text, "0\n");
}

fn host(subject: &Subject) {
    let folder = subject.fresh("host");
    fs::write(folder.join("secret"), "hidden").expect("a file");
    let sandbox = subject.open();
    let line = format!(
        "cat {}/secret /etc/shadow 2>/dev/null; ls /var/run/docker.sock /run/podman 2>/dev/null; \
         ls /proc/[0-9]*/cmdline | wc -l",
        folder.display()
    );
    let count: u32 = passes(&*sandbox, &line)
        .trim()
        .parse()
        .expect("a number and nothing else");
    assert!(count < 20, "{count} processes");
}

fn capabilities(subject: &Subject) {
    let sandbox = subject.open();
    let text = passes(
        &*sandbox,
        "grep -E '^(CapEff|CapPrm|CapBnd|NoNewPrivs)' /proc/self/status | tr -d '\\t'; \
         mount -t tmpfs none /mnt 2>/dev/null && echo MOUNTED; \
         chown 0 /tmp 2>/dev/null && echo CHOWNED; echo x 2>/dev/null >/proc/sys/kernel/core_pattern && echo WROTE; \
         mknod /tmp/null c 1 3 2>/dev/null && echo MADE; true",
    );
    let none = "0000000000000000";
    assert_eq!(
        text,
        format!("CapPrm:{none}\nCapEff:{none}\nCapBnd:{none}\nNoNewPrivs:1\n")
    );
}

fn no_network(subject: &Subject) {
    let sandbox = subject.open();
    let text = passes(
        &*sandbox,
        "ls /sys/class/net; tail -n +2 /proc/net/route; ping -c 1 -W 5 127.0.0.1 >/dev/null 2>&1; true",
    );
    assert_eq!(text, "lo\n");
    assert_eq!(sandbox.close().hosts, Some(Vec::new()));
}

fn allowed_hosts(subject: &Subject) {
    let mut spec = subject.spec();
    spec.network = Network::Allow(vec![HostPort {
        host: "example.org".to_owned(),
        port: 443,
    }]);
    match subject.engine.open(&spec, &SandboxControl::default()) {
        Err(OpenError::Unsupported(text)) => assert!(text.contains("network"), "{text}"),
        Err(error) => panic!("{error}"),
        Ok(sandbox) => assert_eq!(passes(&*sandbox, "tail -n +2 /proc/net/route"), ""),
    }
}

fn no_image(subject: &Subject) {
    let mut spec = subject.spec();
    spec.image = subject.no_image.clone();
    let refused = subject.engine.open(&spec, &SandboxControl::default()).map(|_| ());
    let Image::Named(name) = &spec.image else {
        panic!("named")
    };
    match refused {
        Err(OpenError::Unsupported(text) | OpenError::Trouble(_, text)) => {
            assert!(text.contains(name.as_str()), "{text}")
        }
        other => panic!("{other:?}"),
    }
}

fn unreachable(subject: &Subject) {
    let Some(engine) = &subject.unreachable else {
        return;
    };
    let refused = engine
        .open(&subject.spec(), &SandboxControl::default())
        .map(|_| ());
    assert!(
        matches!(refused, Err(OpenError::Trouble(Trouble::CouldNotStart, _))),
        "{refused:?}"
    );
    let why = engine.probe().expect_err("nobody listens");
    assert!(
        !why.mend.is_empty() && why.to_string().contains("dead.sock"),
        "{why}"
    );
    engine.reap().expect_err("nobody listens");
}

fn probe(subject: &Subject) {
    let sentences = subject.engine.probe().expect("it works here");
    assert!(
        sentences
            .iter()
            .any(|sentence| sentence.starts_with("limits by cgroup")),
        "{sentences:?}"
    );
    eprintln!("{sentences:#?}");
}
