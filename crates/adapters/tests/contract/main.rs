//! What every engine of boxes promises, asked of each engine that can be started here.
//!
//! The native engine needs none. The daemons of the others are started privately by `engines.sh` and stopped afterwards. `GANTRY_ENGINES_FOLDER` names a folder whose
//! daemons are used and left running instead; `GANTRY_CLAUSE` picks the clauses whose names hold its text.

mod endings;
mod files;
mod isolation;
mod lifetime;
mod limits;
mod mounts;
mod output;
mod services;
mod subject;
mod world;

use std::panic::{self, AssertUnwindSafe};

use subject::{Kind, Subject};

/// One thing an engine promises, and what asks for it.
type Clause = (&'static str, fn(&Subject));

/// Every clause, in the order they are asked.
const CLAUSES: [&[Clause]; 8] = [
    endings::CLAUSES,
    output::CLAUSES,
    files::CLAUSES,
    mounts::CLAUSES,
    isolation::CLAUSES,
    limits::CLAUSES,
    lifetime::CLAUSES,
    services::CLAUSES,
];

/// Asks one engine for every clause, and names all that it does not keep.
fn check(kind: Kind, not_for_it: &[&str]) {
    // Clauses look at the host's processes, and two daemons at once would make both slow.
    let turn = std::env::temp_dir().join("gantry-contract.lock");
    let turn = std::fs::File::create(turn).expect("a file");
    turn.lock().expect("its turn");
    let Some(subject) = Subject::start(kind) else {
        return;
    };
    let wanted = std::env::var("GANTRY_CLAUSE").unwrap_or_default();
    let mut broken = Vec::new();
    let mut kept = 0;
    for (name, clause) in CLAUSES.into_iter().flatten() {
        if not_for_it.contains(name) {
            eprintln!("{}: not asked: {name}", subject.name);
            continue;
        }
        if !name.contains(&wanted) {
            continue;
        }
        eprintln!("{}: {name}", subject.name);
        let asked = panic::catch_unwind(AssertUnwindSafe(|| {
            clause(&subject);
            subject.nothing_is_left();
        }));
        match asked {
            Ok(()) => kept += 1,
            Err(_) => broken.push(*name),
        }
    }
    drop(subject);
    let all: Vec<_> = CLAUSES.into_iter().flatten().map(|(name, _)| *name).collect();
    let unknown: Vec<_> = not_for_it.iter().filter(|name| !all.contains(name)).collect();
    assert!(unknown.is_empty(), "no clause is called {unknown:?}");
    assert!(broken.is_empty(), "{kept} clauses are kept, but not: {broken:#?}");
    assert!(kept > 0, "no clause is called {wanted}");
}

#[test]
fn docker_keeps_the_contract() {
    check(Kind::Docker, &[]);
}

#[test]
fn podman_keeps_the_contract() {
    check(Kind::Podman, &[]);
}

#[test]
fn the_native_engine_keeps_the_contract_on_the_host() {
    check(
        Kind::NativeOnHost,
        &[
            "a daemon that does not answer blames nobody",
            // The host's own directories are as they are.
            "a file is mounted into a directory of the image",
            // /var/tmp is in memory, as nothing of the root is kept; the same clause is asked on an image.
            "closing tells what a box used and wrote",
            // The host may have no httpd; the same clause is asked on an image.
            "a service is found by its name once it is ready, and ends with the box",
        ],
    );
}

#[test]
fn the_native_engine_keeps_the_contract_on_an_image() {
    check(
        Kind::NativeOnImage,
        &["a daemon that does not answer blames nobody"],
    );
}
