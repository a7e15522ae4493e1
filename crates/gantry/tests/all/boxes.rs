//! `gantry box …` as people use it: what a box says by its exit code, what it sees and leaves, and what is left of it
//! when the program, the box's process or a person ends it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::factory::{Factory, Ran, leftovers, text, wait_for};

/// The words of `box run` on the factory's repository.
pub fn words<'a>(factory: &'a Factory, options: &[&'a str], command: &[&'a str]) -> Vec<&'a str> {
    let repo = factory.repo.path.to_str().expect("UTF-8");
    [&["box", "run", "--repo", repo], options, &["--"], command].concat()
}

/// Runs a script in a box on the factory's repository.
pub fn run(factory: &Factory, options: &[&str], script: &str) -> Ran {
    factory.run(&words(factory, options, &["sh", "-c", script]))
}

/// Starts one in the background and waits until it has printed `ready`.
pub fn start(
    factory: &Factory,
    options: &[&str],
    script: &str,
) -> (Child, BufReader<impl std::io::Read + use<>>) {
    let script = format!("echo ready; {script}");
    let mut child = factory
        .command(&words(factory, options, &["sh", "-c", &script]))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    out.read_line(&mut line).expect("readable");
    assert_eq!(line, "ready\n");
    (child, out)
}

pub fn receipt(factory: &Factory, name: &str) -> Value {
    factory.ask(&["box", "receipt", name])["receipts"][0].clone()
}

pub fn state(factory: &Factory, name: &str) -> (String, String) {
    let shown = factory.ask(&["box", "show", name]);
    (text(&shown["state"]), text(&shown["ending"]))
}

pub fn signal(word: &str, process: u64) {
    let sent = Command::new("kill")
        .args([word, &process.to_string()])
        .status()
        .expect("kill starts");
    assert!(sent.success(), "kill {word} {process}");
}

pub fn nothing_is_left(factory: &Factory) {
    wait_for("no process and no mount of the box is left", || {
        leftovers(factory.folder.path()).is_empty()
    });
    assert_eq!(factory.boxes_left(), Vec::<String>::new());
}

pub fn write_factory_file(factory: &Factory, content: &str) {
    std::fs::create_dir_all(factory.data()).expect("a folder");
    std::fs::write(factory.data().join("gantry.toml"), content).expect("written");
}

#[test]
fn the_exit_code_of_a_box_is_its_commands() {
    let Some(factory) = Factory::new() else { return };
    let endings = [
        (vec!["true"], 0, "exited 0"),
        (vec!["sh", "-c", "exit 3"], 3, "exited 3"),
        (vec!["no-such-program"], 127, "exited 127"),
        (vec!["./README"], 127, "exited 127"),
        (vec!["sh", "-c", "kill -TERM $$"], 143, "signalled 15"),
    ];
    for (index, (command, code, ending)) in endings.iter().enumerate() {
        let ran = factory.run(&words(&factory, &[], command));
        assert_eq!(ran.code, *code, "{command:?}: {ran:?}");
        assert_eq!(ran.err.is_empty(), *code == 0, "a failure is said once: {ran:?}");
        let name = format!("box-{}", index + 1);
        assert_eq!(state(&factory, &name), ("ended".into(), (*ending).into()));
    }
    let with_json =
        factory.run(&[&words(&factory, &["--json"], &["sh", "-c", "echo out; exit 3"])[..]].concat());
    assert_eq!(with_json.code, 3);
    let said = with_json.json();
    assert_eq!(
        (&said["ending"], &said["exit_code"]),
        (&"exited 3".into(), &3.into()),
        "one document, without the box's output"
    );
    nothing_is_left(&factory);
}

#[test]
fn a_box_that_runs_out_of_time_is_ended_with_all_it_started() {
    let Some(factory) = Factory::new() else { return };
    let ran = run(
        &factory,
        &["--timeout", "1s"],
        "echo before; (setsid gantry-valve never &) ; trap '' TERM; gantry-valve never",
    );
    assert_eq!(ran.code, 124, "{ran:?}");
    assert_eq!(ran.out, "before\n");
    assert_eq!(state(&factory, "box-1"), ("ended".into(), "timed_out".into()));
    nothing_is_left(&factory);
}

#[test]
fn a_box_that_needs_more_memory_than_it_may_have_is_ended() {
    let Some(factory) = Factory::new() else { return };
    // `tail` keeps a line that never ends.
    let ran = run(&factory, &["--memory", "64MiB"], "head -c 512M /dev/zero | tail");
    if ran.code == 125 {
        // Where no group can be made the limit is refused, which has to be said.
        assert!(ran.err.contains("memory"), "{ran:?}");
        return;
    }
    assert_eq!(ran.code, 137, "{ran:?}");
    let kept = receipt(&factory, "box-1");
    assert_eq!(kept["ending"], "out_of_memory");
    let limits = kept["limits"].to_string();
    assert!(limits.contains("memory"), "{limits}");
    let peak = kept["usage"]["memory_peak_bytes"].as_u64().expect("a number");
    assert!(peak <= 64 << 20, "{peak}");
}

#[test]
fn a_box_that_cannot_be_made_says_why_and_what_is_there() {
    let Some(factory) = Factory::new() else { return };
    write_factory_file(&factory, "[profile.tests]\nmemory = \"1GiB\"\n");
    for (options, words) in [
        (vec!["--profile", "test"], vec!["\"test\"", "\"tests\""]),
        (vec!["--image", "no-such-image"], vec!["no-such-image"]),
        (vec!["--engine", "dcoker"], vec!["dcoker"]),
        (vec!["--user", "nobody"], vec!["nobody"]),
        (vec!["--memory", "lots"], vec!["lots"]),
        (vec!["--network", "example.org"], vec!["example.org"]),
    ] {
        let ran = run(&factory, &options, "echo it ran");
        assert_eq!(ran.code, 125, "{options:?}: {ran:?}");
        assert_eq!(ran.out, "", "{ran:?}");
        for word in words {
            assert!(ran.err.contains(word), "{options:?}: {ran:?}");
        }
    }
    let ending = text(&receipt(&factory, "box-1")["ending"]);
    assert!(ending.starts_with("trouble could_not_start"), "{ending}");
    // What the command line itself gets wrong makes no box at all.
    let before = factory.ask(&["box", "list"])["boxes"]
        .as_array()
        .expect("a list")
        .len();
    for options in [
        vec!["--timeout", "soon"],
        vec!["--timeout", "0s"],
        vec!["-e", "=x"],
        vec!["-e", "NOT_SET_ANYWHERE"],
        vec!["--empty", "--commit", "main"],
    ] {
        let ran = run(&factory, &options, "true");
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{options:?}: {ran:?}");
    }
    assert_eq!(run(&factory, &["--commit", "no-such"], "true").code, 4);
    let outside = factory.refused(4, &["box", "run", "--", "true"]);
    assert!(outside.contains("--empty"), "{outside}");
    let after = factory.ask(&["box", "list"])["boxes"]
        .as_array()
        .expect("a list")
        .len();
    assert_eq!(after, before, "a box that was never asked for is not listed");
    nothing_is_left(&factory);
}

#[test]
fn a_box_holds_the_work_tree_as_it_stands_and_cannot_change_it() {
    let Some(factory) = Factory::new() else { return };
    let repo = &factory.repo;
    repo.write(".gitignore", "ignored\n");
    repo.write("staged", "old\n");
    repo.commit("two files");
    repo.write("README", "not committed\n");
    repo.write("staged", "staged\n");
    repo.git(&["add", "staged"]);
    repo.write("staged", "and changed again\n");
    repo.write("new/file", "new\n");
    repo.write("ignored", "secret\n");
    repo.git(&["rm", "-q", "--cached", "ci.sh"]);
    std::fs::remove_file(repo.path.join("ci.sh")).expect("removed");
    let look = || {
        let files: Vec<_> = ["README", "staged", "new/file", "ignored"]
            .iter()
            .map(|name| std::fs::read(repo.path.join(name)).expect("there"))
            .collect();
        let index = std::fs::read(repo.path.join(".git/index")).expect("an index");
        let refs = repo.git(&["for-each-ref"]);
        let config = std::fs::read(repo.path.join(".git/config")).expect("a configuration");
        (files, index, refs, config, repo.git(&["status", "--porcelain"]))
    };
    let before = look();
    let ran = run(
        &factory,
        &[],
        "cat README staged new/file; test -e ignored && echo ignored; test -e ci.sh && echo ci.sh; \
         mkdir -p .git/hooks; echo '#!/bin/sh' > .git/hooks/post-commit; chmod +x .git/hooks/*; \
         git checkout -q -b mine; \
         git -c user.name=a -c user.email=b commit -q --allow-empty -m mine; git config core.pager false; \
         rm -rf README staged new; echo planted > planted; exit 0",
    );
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.out, "not committed\nand changed again\nnew\n");
    assert!(before == look(), "the checkout is as it was");
    assert!(!repo.path.join("planted").exists() && !repo.path.join(".git/hooks/post-commit").exists());
    nothing_is_left(&factory);
}

#[test]
fn a_box_holds_nothing_or_a_commit_if_that_is_asked_for() {
    let Some(factory) = Factory::new() else { return };
    let head = factory.repo.branch("topic", &[("topic", "t\n")]);
    factory.repo.write("README", "not committed\n");
    let empty = run(&factory, &["--empty"], "ls -A | grep -v '^\\.git$'; pwd");
    assert_eq!(
        (empty.code, empty.out.as_str()),
        (0, "/box/workspace\n"),
        "{empty:?}"
    );
    assert_eq!(receipt(&factory, "box-1")["commit"], Value::Null);
    // Not even a repository is needed.
    assert_eq!(factory.run(&["box", "run", "--empty", "--", "true"]).code, 0);
    for revision in ["topic", "refs/heads/topic", &head[..10]] {
        let ran = run(
            &factory,
            &["--commit", revision],
            "cat topic README; git rev-parse HEAD",
        );
        assert_eq!(ran.out, format!("t\na scratch repository\n{head}\n"), "{ran:?}");
    }
    assert_eq!(receipt(&factory, "box-3")["commit"], head.as_str());
}

#[test]
fn variables_are_those_that_were_named_and_no_others() {
    let Some(factory) = Factory::new() else { return };
    write_factory_file(
        &factory,
        "[profile.default]\nenv = { A = \"profile\", B = \"profile\" }\n",
    );
    let output = factory
        .command(&words(
            &factory,
            &["-e", "A=a=b c", "-e", "FROM_SHELL", "-e", "EMPTY="],
            &[
                "sh",
                "-c",
                "echo \"$A|$B|$FROM_SHELL|${EMPTY-unset}|${UNNAMED-unset}|$HOME|$(id -un)\"",
            ],
        ))
        .env("FROM_SHELL", "shell")
        .env("UNNAMED", "leaked")
        .output()
        .expect("it starts");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "a=b c|profile|shell||unset|/box/home|box\n"
    );
    let shown = receipt(&factory, "box-1");
    for name in ["A", "B", "FROM_SHELL", "EMPTY"] {
        let named = shown["environment"].as_array().expect("a list");
        assert!(named.contains(&name.into()), "{named:?}");
    }
    assert!(
        !shown.to_string().contains("a=b c"),
        "values are in no receipt: {shown}"
    );
}

#[test]
fn a_receipt_tells_what_ran_on_what_and_what_it_used() {
    let Some(factory) = Factory::new() else { return };
    let head = factory.repo.branch("topic", &[("topic", "t\n")]);
    let script = "echo line; mkdir out; echo 12345 > out/file; rm README";
    let ran = run(
        &factory,
        &["--commit", "topic", "--processes", "100", "-e", "A=value"],
        script,
    );
    assert_eq!(ran.code, 0, "{ran:?}");
    let shown = receipt(&factory, "box-1");
    assert_eq!(shown["version"], 1);
    assert_eq!(shown["name"], "box-1");
    assert_eq!(shown["engine"], "native");
    assert_eq!(shown["image"], "host");
    assert_eq!(shown["commit"], head.as_str());
    assert_eq!(shown["command"], serde_json::json!(["sh", "-c", script]));
    assert_eq!(shown["ending"], "exited 0");
    assert_eq!(shown["network"], "none");
    assert!(
        shown["environment"]
            .as_array()
            .expect("a list")
            .contains(&"A".into())
    );
    assert!(!shown.to_string().contains("value"), "{shown}");
    assert!(shown["limits"].to_string().contains("100"), "{}", shown["limits"]);
    let (started, ended) = (&shown["started_at_ms"], &shown["ended_at_ms"]);
    assert!(started.as_i64() <= ended.as_i64() && started.as_i64() > Some(1_000_000_000_000));
    assert!(
        shown["usage"]["wall_ms"].as_u64() <= Some(60_000),
        "{}",
        shown["usage"]
    );
    assert_eq!(shown["usage"]["output_bytes"], 5);
    let paths = shown["files"]["paths"].to_string();
    assert!(paths.contains("out/file"), "{paths}");
    assert_eq!(shown["files"]["removed_count"], 1, "{}", shown["files"]);
    assert_eq!(shown["leftover"], Value::Null);
    let log = text(&shown["log"]["path"]);
    assert_eq!(std::fs::read(&log).expect("the log"), b"line\n");
    let sum = Command::new("sha256sum").arg(&log).output().expect("it starts");
    let sum = String::from_utf8_lossy(&sum.stdout);
    let digest = sum.split(' ').next().expect("a digest");
    assert_eq!(text(&shown["log"]["digest"]), format!("sha256:{digest}"));
    assert_eq!(shown["log"]["bytes"], 5);
    // The form for people tells the same.
    let people = factory.run(&["box", "receipt", "box-1"]).out;
    assert!(people.contains(&head) && people.contains(digest), "{people}");
}

#[test]
fn a_build_has_a_receipt_for_each_of_its_boxes() {
    let Some(factory) = Factory::running() else { return };
    factory.repo.branch("good", &[("good", "1\n")]);
    let change = factory.offer("good");
    factory.landed(&[&change]);
    let receipts = factory.ask(&["box", "receipt", "B1"]);
    let shown = &receipts["receipts"][0];
    assert_eq!(text(&shown["commit"]), factory.tip());
    assert_eq!(shown["command"], serde_json::json!(["/bin/sh", "-c", "sh ci.sh"]));
    assert!(text(&shown["log"]["digest"]).starts_with("sha256:"), "{shown}");
    factory.refused(4, &["box", "receipt", "B99"]);
}

#[test]
fn doctor_says_what_works_and_what_mends_what_does_not() {
    let Some(factory) = Factory::new() else { return };
    let ran = factory.run(&["doctor", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let said = ran.json();
    let findings = said["findings"].as_array().expect("a list");
    let subjects: Vec<String> = findings.iter().map(|row| text(&row["subject"])).collect();
    assert_eq!(
        subjects,
        ["git", "engine native", "engine docker", "engine podman", "disk"]
    );
    for row in findings {
        let fields: Vec<&String> = row.as_object().expect("an object").keys().collect();
        assert_eq!(fields, ["mend", "needed", "ok", "said", "subject"]);
        assert!(!row["said"].as_array().expect("a list").is_empty(), "{row}");
        if row["needed"] == true {
            assert_eq!(row["ok"], true, "{row}");
        }
        if row["ok"] == true {
            assert_eq!(row["mend"], Value::Null, "{row}");
        }
    }
    write_factory_file(
        &factory,
        "[profile.broken]\nsecrets = [\"NONE\"]\n[[profile.broken.mount]]\nkind = \"auth\"\nfrom = \"/nonexistent\"\nat = \"/box/home/a\"\n",
    );
    let broken = factory.run(&["doctor"]);
    assert_eq!(broken.code, 1, "{broken:?}");
    assert!(
        broken.out.contains("NO profile broken") && broken.out.contains("/nonexistent"),
        "{broken:?}"
    );
    write_factory_file(&factory, "[profile.x]\nimagee = \"host\"\n");
    let unreadable = factory.run(&["doctor"]);
    assert_eq!(unreadable.code, 1, "{unreadable:?}");
    assert!(unreadable.out.contains("imagee"), "{unreadable:?}");
}

#[test]
fn names_that_mean_no_good_are_no_boxes() {
    let Some(factory) = Factory::new() else { return };
    run(&factory, &[], "true");
    std::fs::create_dir(factory.data().join("runs/box-x")).expect("a folder");
    for name in [
        "",
        "box-",
        "box-0",
        "box-2",
        "box-x",
        "box-1/",
        "box-1/../box-1",
        "../runs/box-1",
        "/",
        ".",
        "..",
        "box-+1",
        "box-01",
        "box-99999999999999999999999",
        "B0",
        "B1/../../runs/box-1",
        "\u{1b}[2J",
    ] {
        for verb in ["show", "log", "receipt", "stop", "retry", "freeze"] {
            let ran = factory.run(&["box", verb, "--", name]);
            assert_eq!((ran.code, ran.out.as_str()), (4, ""), "{verb} {name:?}: {ran:?}");
            assert!(!ran.err.contains('\u{1b}'), "{ran:?}");
        }
    }
    let odd = ["a b", "new\nline", "\u{1b}[2J", "-rf", "höhle", "\"quote'"];
    for name in odd {
        factory.repo.write(name, "x\n");
    }
    let ran = run(
        &factory,
        &[],
        "for f in *; do test -f \"$f\" && printf '%s\\0' \"$f\"; done",
    );
    for name in odd {
        assert!(ran.out.split('\0').any(|seen| seen == name), "{name:?}: {ran:?}");
    }
}
