//! Offers by push: `git push <repository> HEAD:refs/for/main/<topic>`, by path and over HTTP.

use std::process::Output;

use crate::factory::{Factory, text};
use crate::repo::Repo;

struct Served {
    factory: Factory,
    /// Where people work; the served repository is a copy of it.
    work: Repo,
}

impl Served {
    fn new() -> Option<Self> {
        let mut factory = Factory::new()?;
        let work = factory.repo.clone();
        let path = work.path.to_str().expect("UTF-8");
        let added = factory.ask(&["init", "--repo", path, "--serve", "--name", "acme"]);
        assert_eq!(added["served"], true);
        factory.repo = Repo {
            path: text(&added["path"]).into(),
        };
        factory.up_with(&["--listen", "127.0.0.1:0"]);
        Some(Self { factory, work })
    }

    fn path(&self) -> String {
        self.factory.repo.path.to_str().expect("UTF-8").to_owned()
    }

    fn address(&self) -> String {
        std::fs::read_to_string(self.factory.data().join("address"))
            .expect("it listens")
            .trim()
            .to_owned()
    }

    fn token(&self) -> String {
        std::fs::read_to_string(self.factory.data().join("token"))
            .expect("a token")
            .trim()
            .to_owned()
    }

    /// Where HTTP clients push, with this password.
    fn url(&self, password: &str) -> String {
        format!("http://x:{password}@{}/git/acme.git", self.address())
    }

    fn push(&self, to: &str, options: &[&str], refspec: &str) -> Output {
        let mut words = vec!["push"];
        for option in options {
            words.extend(["-o", option]);
        }
        self.work.try_git(&[&words[..], &[to, refspec]].concat(), b"")
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_push_to_refs_for_offers_a_change_and_says_where_to_see_it() {
    let Some(served) = Served::new() else { return };
    let head = served.work.branch("work", &[("a", "a\n")]);
    let options = ["title=A better title", "priority=high", "solo"];
    let pushed = served.push(&served.path(), &options, "work:refs/for/main/my/topic");
    assert!(pushed.status.success(), "{}", said(&pushed));
    assert!(
        said(&pushed).contains("gantry queue show C1"),
        "{}",
        said(&pushed)
    );
    served.factory.landed(&["C1"]);
    let shown = served.factory.show("C1");
    assert_eq!(text(&shown["branch"]), "my/topic");
    assert_eq!(text(&shown["head"]), head);
    assert_eq!(text(&shown["title"]), "A better title");
    assert_eq!(
        (&shown["priority"], &shown["solo"], &shown["source"]),
        (&"high".into(), &true.into(), &"topic".into())
    );
    assert_eq!(served.factory.repo.file("main", "a"), b"a\n");
    let refs = served.factory.repo.git(&["for-each-ref", "refs/for"]);
    assert_eq!(refs, "", "the push makes no ref of its own");
}

#[test]
fn pushing_a_topic_again_moves_its_head_and_the_old_one_never_lands() {
    let Some(served) = Served::new() else { return };
    served.work.branch("work", &[("wait", "old"), ("old", "o\n")]);
    let path = served.path();
    assert!(
        served
            .push(&path, &[], "work:refs/for/main/topic")
            .status
            .success()
    );
    served.factory.until_reason("C1", "testing");
    let head = served.work.branch("work", &[("new", "n\n")]);
    let again = served.push(&path, &[], "work:refs/for/main/topic");
    assert!(said(&again).contains("C1"), "the same change: {}", said(&again));
    served.factory.open("old");
    served.factory.landed(&["C1"]);
    assert_eq!(text(&served.factory.show("C1")["head"]), head);
    assert!(!served.factory.repo.has("main", "old"));
}

#[test]
fn pushes_that_cannot_be_offers_are_refused_with_the_reason() {
    let Some(served) = Served::new() else { return };
    served.work.branch("work", &[("a", "a\n")]);
    let path = served.path();
    for (options, refspec, reason) in [
        (&["prio=high"][..], "work:refs/for/main/x", "prio"),
        (&["priority=highest"], "work:refs/for/main/x", "highest"),
        (&["after=C9"], "work:refs/for/main/x", "C9"),
        (&["after=nonsense"], "work:refs/for/main/x", "nonsense"),
        (&[], "work:refs/for/other/x", "refs/for/main/TOPIC"),
        (&[], "work:refs/for/main", "refs/for/main/TOPIC"),
        (&[], ":refs/for/main/x", "gantry queue cancel"),
        (&[], "work:refs/gantry/changes/C1", "refs/gantry"),
        (&[], "work:refs/gantry/journal", "refs/gantry"),
        (&[], ":refs/gantry/journal", "refs/gantry"),
    ] {
        let pushed = served.push(&path, options, refspec);
        assert!(!pushed.status.success(), "{refspec}");
        assert!(said(&pushed).contains(reason), "{refspec}: {}", said(&pushed));
    }
    assert!(
        served.factory.ask(&["queue", "list", "--all"])["changes"]
            .as_array()
            .expect("a list")
            .is_empty()
    );
    let listed = served.work.git(&["ls-remote", &path]);
    assert!(!listed.contains("refs/gantry"), "{listed}");
    assert!(
        served
            .factory
            .repo
            .git(&["for-each-ref"])
            .contains("refs/gantry/journal"),
        "it is there, though"
    );
}

#[test]
fn without_the_daemon_an_offer_is_refused_and_nothing_is_lost() {
    let Some(mut served) = Served::new() else { return };
    served.work.branch("work", &[("a", "a\n")]);
    served.factory.down();
    assert!(
        !served.factory.data().join("address").exists(),
        "nobody listens there any more"
    );
    let path = served.path();
    let pushed = served.push(&path, &[], "work:refs/for/main/x");
    assert!(!pushed.status.success());
    assert!(said(&pushed).contains("gantry up"), "{}", said(&pushed));
    served.factory.up_with(&[]);
    assert!(served.push(&path, &[], "work:refs/for/main/x").status.success());
    served.factory.landed(&["C1"]);
}

#[test]
fn over_http_everybody_reads_and_the_token_writes() {
    let Some(served) = Served::new() else { return };
    served
        .work
        .branch("work", &[("a", "a\n"), ("large", &"x y z ".repeat(700_000))]);
    served.work.git(&["config", "http.postBuffer", "70000"]);
    let open = format!("http://{}/git/acme.git", served.address());
    assert!(served.work.git(&["ls-remote", &open]).contains("refs/heads/main"));
    for url in [open.clone(), served.url("wrong"), served.url(&"0".repeat(64))] {
        let pushed = served.push(&url, &[], "work:refs/for/main/x");
        assert!(!pushed.status.success(), "{url}");
    }
    let pushed = served.push(
        &served.url(&served.token()),
        &["title=Over HTTP"],
        "work:refs/for/main/x",
    );
    assert!(pushed.status.success(), "{}", said(&pushed));
    assert!(said(&pushed).contains("C1"), "{}", said(&pushed));
    served.factory.landed(&["C1"]);
    served.work.git(&["fetch", "-q", &open, "main"]);
    assert_eq!(served.work.rev("FETCH_HEAD"), served.factory.tip());
    let clone = served.factory.folder.path().join("clone");
    served
        .work
        .git(&["clone", "-q", &open, clone.to_str().expect("UTF-8")]);
    assert!(clone.join("large").exists());
    for missing in ["../repo", "none.git", "%2e%2e/repo", "acme.git/../../data/token"] {
        let url = format!("http://{}/git/{missing}", served.address());
        assert!(
            !served.work.try_git(&["ls-remote", &url], b"").status.success(),
            "{missing}"
        );
    }
}

#[test]
fn remote_callers_of_the_api_need_the_token() {
    let Some(served) = Served::new() else { return };
    let ask = |authorization: &str| {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(served.address()).expect("it listens");
        write!(
            stream,
            "GET /v1/status HTTP/1.1\r\nhost: x\r\n{authorization}connection: close\r\n\r\n"
        )
        .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        answer
    };
    assert!(ask("").starts_with("HTTP/1.1 401"));
    assert!(ask("authorization: Bearer nonsense\r\n").starts_with("HTTP/1.1 401"));
    assert!(ask(&format!("authorization: Bearer {}\r\n", served.token())).starts_with("HTTP/1.1 200"));
}

#[test]
fn a_served_repository_survives_a_lost_database() {
    let Some(mut served) = Served::new() else { return };
    served.work.branch("work", &[("a", "a\n")]);
    let path = served.path();
    assert!(served.push(&path, &[], "work:refs/for/main/x").status.success());
    served.factory.landed(&["C1"]);
    served.factory.kill();
    for name in ["gantry.db", "gantry.db-wal", "gantry.db-shm"] {
        // The last two are there only while somebody writes.
        drop(std::fs::remove_file(served.factory.data().join(name)));
    }
    let work = served.work.path.to_str().expect("UTF-8").to_owned();
    served
        .factory
        .ask(&["init", "--repo", &work, "--serve", "--name", "acme"]);
    served.factory.up_with(&[]);
    assert_eq!(served.factory.state("C1"), "landed");
    served.factory.proven();
}
