//! The door to the git program, tried from the outside in. Owns nothing; must leave no process behind.

use super::*;

fn scratch() -> (tempfile::TempDir, GitProgram) {
    let directory = tempfile::TempDir::new().expect("a scratch directory");
    let program = GitProgram::at(directory.path());
    program
        .succeed(&["init", "--quiet"], &[], MERGE_TIMEOUT)
        .expect("made");
    (directory, program)
}

#[test]
fn the_version_is_read() {
    let version = GitProgram::at("/").version().expect("git is there");
    assert!(version.split('.').count() >= 2, "{version}");
}

#[test]
fn a_program_that_takes_too_long_is_ended_with_all_it_started() {
    let (directory, program) = scratch();
    let mark = directory.path().join("late");
    let alias = format!("alias.slow=!sleep 600; touch {}", mark.display());
    let ran = program.run(&["-c", &alias, "slow"], &[], Duration::from_millis(200));
    // The answer comes only once both streams are closed, so nothing that held them is left.
    assert!(matches!(ran, Err(ProgramError::Timeout { .. })), "{ran:?}");
    assert!(!mark.exists());
}

#[test]
fn a_failure_carries_the_end_of_the_complaint() {
    let (_directory, program) = scratch();
    let error = program.succeed(&["rev-parse", "--verify", "nothing"], &[], MERGE_TIMEOUT);
    let text = error.expect_err("there is no such thing").to_string();
    assert!(
        text.contains("status 128") && text.contains("Needed a single revision"),
        "{text}"
    );
}

#[test]
fn a_person_s_configuration_is_not_read_and_no_transport_program_starts() {
    let (directory, program) = scratch();
    let listed = program
        .succeed(&["config", "--list", "--show-scope"], &[], MERGE_TIMEOUT)
        .expect("listed");
    let listed = String::from_utf8_lossy(&listed).into_owned();
    assert!(
        !listed.contains("global\t") && !listed.contains("system\t"),
        "{listed}"
    );
    let mark = directory.path().join("started");
    let remote = format!("ext::touch {}", mark.display());
    let fetched = program.fetch(OsStr::new(&remote), &["+refs/heads/*:refs/x/*".to_owned()]);
    assert!(matches!(fetched, Err(ProgramError::Failed { .. })), "{fetched:?}");
    assert!(!mark.exists());
}

#[test]
fn an_option_in_the_place_of_a_remote_is_taken_for_a_name() {
    let (directory, program) = scratch();
    let mark = directory.path().join("started");
    let remote = format!("--upload-pack=touch {}", mark.display());
    assert!(program.fetch(OsStr::new(&remote), &[]).is_err());
    assert!(!mark.exists());
}

#[test]
fn names_that_git_gives_to_displaced_files_are_taken_off() {
    let (ours, theirs) = ("1".repeat(40), "2".repeat(40));
    let plain = |path: &str| {
        let path = plain_path(path.as_bytes(), [&ours, &theirs]).to_vec();
        String::from_utf8(path).expect("text")
    };
    assert_eq!(plain(&format!("a/b~{ours}")), "a/b");
    assert_eq!(plain(&format!("a~{theirs}_0")), "a");
    assert_eq!(plain("a~b_0"), "a~b_0");
    assert_eq!(plain("x_1"), "x_1");
}
