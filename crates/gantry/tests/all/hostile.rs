//! Names, texts, files and callers that mean no good.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use crate::factory::{Factory, text, wait_for};
use crate::repo::GATE;

#[test]
fn names_that_git_or_a_shell_could_misread_are_refused_or_taken_as_they_are() {
    let Some(factory) = Factory::running() else { return };
    for name in [
        "two..dots",
        "new\nline",
        "-dash",
        "--",
        "a b",
        "~x",
        "x.lock",
        "",
        "/",
        "@{-1}",
        "\u{1b}[2J",
        "HEAD:ci.sh",
    ] {
        let said = factory.run(&["queue", "add", "--", name]);
        assert!(matches!(said.code, 2 | 4), "{name:?}: {said:?}");
        assert!(!said.err.contains('\u{1b}'), "{said:?}");
    }
    for name in [
        "with\"quote",
        "with'quote",
        "$(touch)",
        "a;b",
        "%2e%2e",
        "refs/x",
        "höhle",
    ] {
        let head = factory
            .repo
            .branch("work", &[(&format!("file-{}", name.len()), name)]);
        factory
            .repo
            .git(&["update-ref", &format!("refs/heads/{name}"), &head]);
        let change = factory.offer(name);
        assert_eq!(text(&factory.show(&change)["branch"]), name);
        factory.landed(&[&change]);
    }
    let said = factory.refused(2, &["queue", "add", "main"]);
    assert!(said.contains("target"), "{said}");
    for id in [
        "C0",
        "C-1",
        "C99999999999999999999",
        "../C1",
        "B1",
        "C1/cancel",
        "%",
    ] {
        let code = factory.run(&["queue", "show", "--", id]).code;
        assert!(matches!(code, 2 | 4), "{id}: {code}");
    }
    factory.proven();
}

#[test]
fn what_would_steer_a_terminal_never_reaches_it() {
    let Some(factory) = Factory::running() else { return };
    let evil = "\u{1b}[31mred\u{1b}]0;owned\u{7}\nnext\rline\u{9b}2J";
    let ci = "#!/bin/sh\nprintf 'error: \\033[2J\\007 wiped\\n'\nexit 1\n";
    factory
        .repo
        .branch("evil", &[("ci.sh", ci), ("bad\u{1b}[2J\nname", "x\n")]);
    factory.repo.push_to_main(&[("bad\u{1b}[2J\nname", "y\n")]);
    let change = factory.offer_with("evil", &["--title", evil, "--author", evil]);
    factory.decided(&[&change]);
    factory.ask(&["queue", "freeze", "--reason", evil]);
    for words in [
        vec!["queue", "list", "--all"],
        vec!["queue", "show", &change],
        vec!["build", "list"],
        vec!["events"],
        vec!["status"],
        vec!["dock"],
    ] {
        let ran = factory.run(&words);
        assert_eq!(ran.code, 0, "{ran:?}");
        let steers = |c: char| c.is_control() && c != '\n' && c != '\t';
        assert!(!ran.out.contains(steers), "{words:?}: {:?}", ran.out);
        let json = factory.run(&[&words[..], &["--json"]].concat());
        assert!(!json.out.contains(steers), "{words:?}: {:?}", json.out);
    }
    assert!(!text(&factory.show(&change)["title"]).contains('\u{1b}'));
}

#[test]
fn a_gate_with_an_unknown_key_names_the_key_and_stops_the_line_until_mended() {
    let Some(factory) = Factory::running() else { return };
    factory
        .repo
        .push_to_main(&[(".gantry.toml", &GATE.replace("slots", "slotz"))]);
    factory.repo.branch("work", &[("a", "a\n")]);
    let change = factory.offer("work");
    let shown = factory.until_reason(&change, "bad_gate");
    let cause = text(&shown["reason"]["text"]);
    assert!(cause.contains("slotz") && cause.contains("slots"), "{cause}");
    assert!(
        factory
            .events()
            .iter()
            .any(|event| event["kind"] == "line.stopped")
    );
    factory.repo.push_to_main(&[(".gantry.toml", GATE)]);
    factory.landed(&[&change]);
    assert!(
        factory
            .events()
            .iter()
            .any(|event| event["kind"] == "line.resumed")
    );
}

#[test]
fn a_flood_of_output_is_cut_in_the_log_and_the_check_counts() {
    let gate =
        "[[gate.check]]\nname = 'test'\nrun = 'if [ -e flood ]; then yes | head -c 200M; echo the end; fi'\n";
    let Some(mut factory) = Factory::with_gate(gate) else {
        return;
    };
    factory.repo.branch("flood", &[("flood", "f\n")]);
    factory.up();
    let change = factory.offer("flood");
    factory.landed(&[&change]);
    let log = factory.data().join("builds/B1/test.log");
    let bytes = std::fs::metadata(&log).expect("a log").len();
    assert!((60 << 20..66 << 20).contains(&bytes), "{bytes}");
    let mut child = factory
        .command(&["build", "log", "B1"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut end = Vec::new();
    child
        .stdout
        .take()
        .expect("a pipe")
        .read_to_end(&mut end)
        .expect("read");
    assert!(child.wait().expect("ends").success());
    assert!(end.ends_with(b"the end\n"));
}

#[test]
fn a_corrupt_object_is_the_trouble_of_one_change_only() {
    let Some(factory) = Factory::running() else { return };
    let ids: Vec<String> = (0..3)
        .map(|n| {
            let name = format!("broken-{n}");
            factory
                .repo
                .branch(&name, &[(&format!("lost-{n}"), &format!("content {n}\n"))]);
            factory.repo.rev(&match n {
                0 => format!("{name}:lost-0"),
                1 => format!("{name}^{{tree}}"),
                _ => name,
            })
        })
        .collect();
    factory.ask(&["queue", "freeze", "--reason", "r"]);
    let offered: Vec<String> = (0..3).map(|n| factory.offer(&format!("broken-{n}"))).collect();
    factory.repo.branch("whole", &[("fine", "fine\n")]);
    let whole = factory.offer("whole");
    for id in &ids {
        let path = factory
            .repo
            .path
            .join(".git/objects")
            .join(&id[..2])
            .join(&id[2..]);
        crate::factory::set_mode(&path, 0o644);
        std::fs::write(&path, b"this is no object").expect("spoilt");
    }
    // A new tip makes the radar look at everything again.
    factory.repo.push_to_main(&[("pushed", "p\n")]);
    factory.ask(&["queue", "thaw"]);
    factory.landed(&[&whole]);
    let shown = factory.until_reason(&offered[0], "trouble");
    assert!(text(&shown["reason"]["text"]).contains(&ids[0]), "{shown:#}");
    for change in &offered {
        // A tree or commit that was read before it went bad may be written anew by a replay; it is no conflict.
        assert_ne!(factory.show(change)["reason"]["code"], "conflict");
    }
    factory.repo.git(&["archive", "--output", "../main.tar", "main"]);
    factory.proven();
}

#[test]
fn ten_thousand_requests_at_once_stay_answered() {
    let Some(factory) = Factory::running() else { return };
    factory.repo.branch("work", &[("a", "a\n")]);
    let socket = factory.data().join("control.sock");
    let answered = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..20 {
            let (socket, answered) = (&socket, &answered);
            scope.spawn(move || {
                let path = ["/v1/status", "/v1/changes", "/v1/ping", "/v1/events?after=0"][thread % 4];
                for _ in 0..500 {
                    let mut stream = UnixStream::connect(socket).expect("connected");
                    write!(
                        stream,
                        "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
                    )
                    .expect("sent");
                    let mut answer = Vec::new();
                    stream.read_to_end(&mut answer).expect("answered");
                    assert!(answer.starts_with(b"HTTP/1.1 200"));
                    answered.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            });
        }
        // Landing goes on meanwhile.
        let change = factory.offer("work");
        factory.landed(&[&change]);
    });
    assert_eq!(answered.into_inner(), 10_000);
}

#[test]
fn connections_that_say_nothing_do_not_shut_others_out() {
    let Some(factory) = Factory::running() else { return };
    let socket = factory.data().join("control.sock");
    let mut idle = Vec::new();
    for _ in 0..900 {
        idle.push(UnixStream::connect(&socket).expect("connected"));
    }
    assert_eq!(factory.run(&["status"]).code, 0);
    factory.repo.branch("work", &[("a", "a\n")]);
    let change = factory.offer("work");
    factory.landed(&[&change]);
    drop(idle);
}

#[test]
fn requests_that_are_none_are_refused_and_harm_nobody() {
    let Some(factory) = Factory::running() else { return };
    let socket = factory.data().join("control.sock");
    let ask = |request: &[u8]| {
        let mut stream = UnixStream::connect(&socket).expect("connected");
        // The daemon may close before it has read everything, which is an answer as well.
        drop(stream.write_all(request));
        let mut answer = String::new();
        drop(stream.read_to_string(&mut answer));
        answer
    };
    let post = |path: &str, body: &str| {
        ask(format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .as_bytes())
    };
    for (path, body) in [
        ("/v1/changes", "{"),
        ("/v1/changes", "{\"branch\":\"x\",\"colour\":\"red\"}"),
        ("/v1/changes", "{\"branch\":7}"),
        ("/v1/changes", "{\"branch\":\"x\",\"sha\":\"zz\"}"),
        ("/v1/changes/C1/explode", "{}"),
        ("/v1/freeze", "{}"),
        ("/v1/nothing", "{}"),
    ] {
        let answer = post(path, body);
        assert!(answer.starts_with("HTTP/1.1 4"), "{path} {body}: {answer}");
    }
    assert!(ask(b"\0\0\0\0\r\n\r\n").starts_with("HTTP/1.1 400"));
    let large = post(
        "/v1/changes",
        &format!("{{\"branch\":\"{}\"}}", "x".repeat(3 << 20)),
    );
    assert!(large.is_empty() || large.starts_with("HTTP/1.1 413"), "{large}");
    wait_for("it answers as before", || factory.run(&["status"]).code == 0);
}
