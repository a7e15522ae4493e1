//! Services beside a box.

use std::time::Duration;

use gantry_adapters::engine::{Network, OpenError, SandboxControl, ServiceSpec};
use gantry_core::queue::build::Trouble;

use crate::Clause;
use crate::subject::Subject;
use crate::world::{passes, processes_naming, wait_until};

pub const CLAUSES: &[Clause] = &[
    (
        "a service is found by its name once it is ready, and ends with the box",
        service,
    ),
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
    let line = "sleep 7341 & mkdir /tmp/w; sleep 0.5; echo $WORD >/tmp/w/index.html; exec httpd -f -p $PORT -h /tmp/w";
    let health = "wget -q -O /dev/null http://127.0.0.1:$PORT/index.html";
    for network in [Network::None, Network::Full] {
        let sandbox = subject.open_with(|spec| {
            spec.network = network.clone();
            spec.services = vec![
                web(subject, "db", line, health),
                web(subject, "cache", line, health),
            ];
            // Without a network of their own they share the box's ports.
            for (service, port) in spec.services.iter_mut().zip([8081, 8082]) {
                service.env.push(("PORT".to_owned(), port.to_string()));
            }
        });
        let line = "wget -q -O - http://db:8081/index.html; wget -q -O - http://cache:8082/index.html";
        assert_eq!(passes(&*sandbox, line), "I am db\nI am cache\n");
        let links = passes(&*sandbox, "ls /sys/class/net");
        assert_eq!(links == "lo\n", network == Network::None, "{links}");
        assert_eq!(sandbox.close().leftover, None);
        wait_until("the services are gone", || {
            processes_naming("sleep\x007341").is_empty()
        });
        subject.nothing_is_left();
    }
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
