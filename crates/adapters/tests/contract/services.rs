//! Services beside a box.

use std::time::Duration;

use gantry_adapters::engine::{OpenError, SandboxControl, ServiceSpec};
use gantry_core::queue::build::Trouble;

use crate::Clause;
use crate::subject::Subject;
use crate::world::{passes, processes_naming, wait_until};

pub const CLAUSES: &[Clause] = &[
    ("a service is found by its name once it is ready, and ends with the box", service),
    ("a service that does not become ready is named", not_ready),
];

fn web(subject: &Subject, name: &str, line: &str, health: &str) -> ServiceSpec {
    let command = |line: &str| ["/bin/sh", "-c", line].map(str::to_owned).to_vec();
    ServiceSpec {
        name: name.to_owned(),
        image: subject.image.clone(),
        command: command(line),
        env: vec![("WORD".to_owned(), format!("I am {name}"))],
        health: command(health),
        ready_within: Duration::from_secs(20),
    }
}

fn service(subject: &Subject) {
    let line = "sleep 7341 & mkdir /tmp/w; sleep 0.5; echo $WORD >/tmp/w/index.html; exec httpd -f -p 8080 -h /tmp/w";
    let health = "wget -q -O /dev/null http://127.0.0.1:8080/index.html";
    let sandbox = subject.open_with(|spec| {
        spec.services = vec![web(subject, "db", line, health), web(subject, "cache", line, health)];
    });
    let text = passes(&*sandbox, "wget -q -O - http://db:8080/index.html; wget -q -O - http://cache:8080/index.html");
    assert_eq!(text, "I am db\nI am cache\n");
    let routes = passes(&*sandbox, "awk 'NR > 1 && $2 == \"00000000\"' /proc/net/route");
    assert_eq!(routes, "", "a box without a network has a way out");
    assert_eq!(sandbox.close().leftover, None);
    wait_until("the services are gone", || processes_naming("sleep\x007341").is_empty());
}

fn not_ready(subject: &Subject) {
    let mut spec = subject.spec();
    let mut lazy = web(subject, "lazy", "exec sleep 7342", "exit 3");
    lazy.ready_within = Duration::from_millis(500);
    spec.services = vec![lazy];
    let refused = subject.engine.open(&spec, &SandboxControl::default()).map(|_| ());
    assert!(
        matches!(&refused, Err(OpenError::Trouble(Trouble::CouldNotStart, text)) if text.contains("lazy") && text.contains('3')),
        "{refused:?}"
    );
    wait_until("it is gone", || processes_naming("sleep\x007342").is_empty());
}
