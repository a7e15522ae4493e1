//! Secrets and credentials of a box: what is shown of them, and what becomes of them.

use std::path::Path;

use crate::boxes::{receipt, run, write_factory_file};
use crate::factory::Factory;

#[test]
fn secrets_are_masked_in_output_log_and_receipt() {
    let Some(factory) = Factory::new() else { return };
    let file = factory.folder.path().join("token");
    std::fs::write(&file, "hunter2-hunter2-hunter2\n").expect("written");
    write_factory_file(
        &factory,
        &format!(
            "[profile.default]\nsecrets = [\"TOKEN\"]\n[secret.TOKEN]\nfile = {:?}\n",
            file.to_str().expect("UTF-8")
        ),
    );
    let script = "test ${#TOKEN} = 23 && echo whole; echo \"plain $TOKEN\"; \
        first=$(printf %s \"$TOKEN\" | cut -c1-11); printf \"split $first\"; printf '%s\\n' \"${TOKEN#$first}\"; \
        printf 'base64 '; printf %s \"$TOKEN\" | base64; \
        echo \"error $TOKEN\" >&2; touch \"wrote-$TOKEN\"; exit 3";
    // The command line holds it too: as when somebody pastes it.
    let ran = run(&factory, &[], &format!("{script} # hunter2-hunter2-hunter2"));
    assert_eq!(ran.code, 3, "{ran:?}");
    let log = factory.run(&["box", "log", "box-1"]).out;
    assert_eq!(log, ran.out, "the log is what was shown");
    assert_eq!(
        log.lines().filter(|line| line.contains("***")).count(),
        4,
        "plain, split, base64 and the error: {log}"
    );
    assert!(log.starts_with("whole\n"), "the box itself has it: {log}");
    let (encoded, shown) = (
        "aHVudGVyMi1odW50ZXIyLWh1bnRlcjI",
        receipt(&factory, "box-1").to_string(),
    );
    for kept in [&log, &ran.err, &shown] {
        assert!(!kept.contains("hunter2") && !kept.contains(encoded), "{kept}");
    }
    assert!(
        shown.contains("\"TOKEN\"") && shown.contains("wrote-***"),
        "{shown}"
    );
    for entry in std::fs::read_dir(factory.data().join("runs/box-1")).expect("a folder") {
        let path = entry.expect("read").path();
        if path.is_file() {
            let bytes = std::fs::read(&path).expect("read");
            let content = String::from_utf8_lossy(&bytes);
            assert!(
                !content.contains("hunter2"),
                "{} holds it: {content}",
                path.display()
            );
        }
    }
}

#[test]
fn a_secret_that_cannot_be_had_stops_the_box_before_it_starts() {
    let Some(factory) = Factory::new() else { return };
    for (content, word) in [
        ("[profile.default]\nsecrets = [\"TOKEN\"]\n", "TOKEN"),
        (
            "[profile.default]\nsecrets = [\"TOKEN\"]\n[secret.TOKEN]\nfile = \"/nonexistent/token\"\n",
            "/nonexistent/token",
        ),
        ("[profile.default]\nsecretz = [\"TOKEN\"]\n", "secretz"),
    ] {
        write_factory_file(&factory, content);
        let ran = run(&factory, &[], "echo it ran");
        assert_eq!((ran.code, ran.out.as_str()), (125, ""), "{content}: {ran:?}");
        assert!(ran.err.contains(word), "{content}: {ran:?}");
    }
}

fn check_auth(script: &str, expected: &str, beside: bool) {
    let Some(factory) = Factory::new() else { return };
    let file = factory.folder.path().join("auth.json");
    std::fs::write(&file, "{\"token\":\"first-first-first\"}").expect("written");
    write_factory_file(
        &factory,
        &format!(
            "[profile.default]\n[[profile.default.mount]]\nkind = \"auth\"\nfrom = {:?}\nat = \"/box/home/auth.json\"\n",
            file.to_str().expect("UTF-8")
        ),
    );
    let ran = run(&factory, &[], script);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(!ran.out.contains("first-first"), "a token is not shown: {ran:?}");
    assert_eq!(std::fs::read_to_string(&file).expect("there"), expected);
    assert_eq!(
        Path::new(&format!("{}.from-box", file.display())).exists(),
        beside
    );
}

#[test]
fn a_credential_that_a_box_refreshed_survives_it_and_rubbish_does_not() {
    let first = "{\"token\":\"first-first-first\"}";
    let second = "{\"token\":\"second-second\"}";
    check_auth("cat ~/auth.json", first, false);
    check_auth(&format!("echo -n '{second}' > ~/auth.json"), second, false);
    check_auth(
        &format!("echo -n '{second}' > ~/new && mv ~/new ~/auth.json"),
        second,
        false,
    );
    for rubbish in [
        "echo rubbish > ~/auth.json",
        ": > ~/auth.json",
        "rm ~/auth.json",
        "rm ~/auth.json; ln -s /etc/passwd ~/auth.json",
        "rm ~/auth.json; mkdir ~/auth.json",
        "rm ~/auth.json; mkfifo ~/auth.json",
    ] {
        check_auth(rubbish, first, false);
    }
}
