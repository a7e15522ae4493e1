//! The JSON forms are a contract: each is kept as a snapshot beside the tests, its unstable parts filtered.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::factory::{Factory, Ran};
use crate::repo::Repo;

/// Replaces what differs from run to run; commits and trees keep being told apart.
struct Filter {
    folder: String,
    hashes: BTreeMap<String, usize>,
}

impl Filter {
    fn new(factory: &Factory) -> Self {
        Self {
            folder: factory.folder.path().to_str().expect("UTF-8").to_owned(),
            hashes: BTreeMap::new(),
        }
    }

    fn text(&mut self, text: &str) -> String {
        let patterns = [
            (r"\b[0-9a-f]{40}\b", "hash"),
            (r"\b[0-9a-f]{10}\b", "short"),
            (r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "time"),
            (r"\d+\.\d+ s\b", "seconds"),
        ];
        let mut out = text.replace(&self.folder, "<folder>");
        for (pattern, kind) in patterns {
            let pattern = regex::Regex::new(pattern).expect("a pattern");
            out = pattern
                .replace_all(&out, |found: &regex::Captures<'_>| match kind {
                    "hash" => {
                        let next = self.hashes.len() + 1;
                        format!(
                            "<hash {}>",
                            self.hashes.entry(found[0].to_owned()).or_insert(next)
                        )
                    }
                    kind => format!("<{kind}>"),
                })
                .into_owned();
        }
        out
    }

    fn value(&mut self, name: &str, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(list) => list.into_iter().map(|one| self.value(name, one)).collect(),
            Value::Object(map) => map
                .into_iter()
                .map(|(name, value)| {
                    let value = self.value(&name, value);
                    (name, value)
                })
                .collect(),
            Value::Number(_) if matches!(name, "pid" | "duration_ms" | "slots") => {
                Value::String(format!("<{name}>"))
            }
            Value::Number(number) if number.is_f64() => Value::String("<number>".into()),
            other => other,
        }
    }

    #[track_caller]
    fn check(&mut self, name: &str, ran: &Ran) {
        let shown = self.value("", ran.json());
        let text = serde_json::to_string_pretty(&shown).expect("it is JSON");
        insta::with_settings!({snapshot_path => "forms", prepend_module_to_snapshot => false, omit_expression => true}, {
            insta::assert_snapshot!(name, text);
        });
    }
}

const GATE: &str = "[gate]\nslots = 1\nbatch_max = 1\n[[gate.check]]\nname = \"test\"\nrun = \"sh ci.sh\"\nfail_fast = \"error:\"\n";

#[test]
fn the_forms_of_a_factory_at_work_are_kept() {
    let Some(mut factory) = Factory::with_gate(GATE) else {
        return;
    };
    let mut filter = Filter::new(&factory);
    let path = factory.repo.path.to_str().expect("UTF-8").to_owned();
    let mut check = |factory: &Factory, name: &str, words: &[&str]| {
        let ran = factory.run(&[words, &["--json"]].concat());
        assert_eq!(ran.code, 0, "{words:?}: {ran:?}");
        filter.check(name, &ran);
    };
    check(&factory, "init", &["init", "--repo", &path]);
    factory.up_with(&[]);
    factory.repo.branch("good", &[("a", "a\n")]);
    factory.repo.branch("bad", &[("bad-x", "x\n")]);
    factory.repo.branch("waits", &[("README", "mine\n")]);
    factory.repo.branch("rival", &[("README", "theirs\n")]);
    let good = factory.offer("good");
    factory.landed(&[&good]);
    check(&factory, "queue_show_landed", &["queue", "show", &good]);
    let bad = factory.offer("bad");
    factory.decided(&[&bad]);
    check(&factory, "queue_show_bounced", &["queue", "show", &bad]);
    check(
        &factory,
        "queue_freeze",
        &["queue", "freeze", "--below", "high", "--reason", "release day"],
    );
    check(
        &factory,
        "queue_add",
        &[
            "queue", "add", "waits", "--title", "A title", "--author", "Me", "--solo",
        ],
    );
    let rival = factory.offer_with("rival", &["--after", "C3"]);
    check(
        &factory,
        "queue_hold",
        &["queue", "hold", &rival, "--reason", "not yet"],
    );
    check(&factory, "queue_release", &["queue", "release", &rival]);
    check(&factory, "queue_priority", &["queue", "priority", &rival, "low"]);
    check(&factory, "queue_list", &["queue", "list"]);
    check(&factory, "dock", &["dock"]);
    check(&factory, "status", &["status"]);
    check(&factory, "queue_cancel", &["queue", "cancel", &rival]);
    check(&factory, "queue_thaw", &["queue", "thaw"]);
    factory.landed(&["C3"]);
    check(&factory, "queue_wait", &["queue", "wait", "C3"]);
    check(&factory, "build_list", &["build", "list"]);
    check(&factory, "build_show", &["build", "show", "B2"]);
    check(&factory, "build_log", &["build", "log", "B2"]);
    check(&factory, "events", &["events", "--change", &bad]);
    check(&factory, "audit", &["audit"]);
    check(&factory, "down", &["down"]);
    factory.kill();
}

#[test]
fn the_forms_that_need_no_factory_are_kept() {
    let factory = Factory::without_boxes(Repo::work_tree);
    let mut filter = Filter::new(&factory);
    let path = factory.repo.path.to_str().expect("UTF-8").to_owned();
    let broken = factory.folder.path().join("broken.toml");
    std::fs::write(&broken, "[gate]\nslotz = 1\n").expect("written");
    for (name, words) in [
        ("config_check", vec!["config", "check", "--repo", &path]),
        (
            "config_check_refused",
            vec!["config", "check", "--file", broken.to_str().expect("UTF-8")],
        ),
        (
            "simulate",
            vec!["simulate", "--changes", "5", "--seeds", "1", "--policy", "serial"],
        ),
        ("exit_codes", vec!["exit-codes"]),
        ("man_pages", vec!["man-pages", "man"]),
    ] {
        filter.check(name, &factory.run(&[&words[..], &["--json"]].concat()));
    }
    let completions = factory.ask(&["completions", "bash"]);
    assert_eq!(completions["shell"], "bash");
    assert!(
        completions["script"]
            .as_str()
            .expect("a text")
            .contains("_gantry")
    );
    let error = factory.run(&["status", "--json"]);
    let said = Ran {
        out: error.err,
        err: String::new(),
        code: error.code,
    };
    filter.check("error", &said);
}

#[test]
fn the_form_of_going_into_the_background_is_kept() {
    let factory = Factory::without_boxes(Repo::work_tree);
    let mut filter = Filter::new(&factory);
    filter.check("up_detach", &factory.run(&["up", "--detach", "--json"]));
    factory.ask(&["down"]);
}
