//! Every bound of gantry, with its unit. Reaching one has a written outcome, named beside it.

use std::time::Duration;

/// The most changes one candidate may hold, whatever a repository asks for. More wait for the next batch.
pub const BATCH_CHANGES_MAX: usize = 64;
/// The most changes that may be open at once in one repository; a further offer is refused with the number.
pub const OPEN_CHANGES_MAX: usize = 20_000;
/// How many builds may run at once in one repository, whatever is asked for.
pub const SLOTS_MAX: usize = 256;
/// How often the wait doubles for a build that gave no verdict (no disk, could not start); from then on it is tried
/// again every [`BUILD_RETRY_WAIT_MAX`], and the reason is shown meanwhile.
pub const BUILD_TRIES_MAX: u32 = 5;
/// Wait before the first new try of a build without a verdict; doubled for each further try.
pub const BUILD_RETRY_WAIT: Duration = Duration::from_secs(2);
/// The longest wait between tries.
pub const BUILD_RETRY_WAIT_MAX: Duration = Duration::from_secs(300);
/// How many bytes of a check's output are kept: the first half and the last half; the middle is counted.
pub const CHECK_OUTPUT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// A check that writes this many times its output limit is ended: it is a flood, not a log. Trouble, no verdict.
pub const CHECK_OUTPUT_FLOOD_FACTOR: u64 = 64;
/// How long a check that is being ended may take to end itself before it is killed.
pub const BOX_GRACE: Duration = Duration::from_secs(2);
/// How many processes a box may hold; a further fork fails inside it.
pub const BOX_PROCESSES_MAX: u64 = 4096;
/// How many files each process of a box may hold open.
pub const BOX_OPEN_FILES_MAX: u64 = 16_384;
/// A check that fails while less than this is free on the disk of the boxes says nothing about the tree.
pub const BOX_DISK_FREE_BYTES_MIN: u64 = 4 * 1024 * 1024;
/// The most paths of written files that a receipt names; the rest is counted.
pub const RECEIPT_PATHS_MAX: usize = 1_000;
/// The longest a title may be; the rest is cut with an ellipsis.
pub const TITLE_CHARS_MAX: usize = 200;
/// The default wall time of a check.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// How many direct pushes in a row may overtake candidates before contention is reported as an event.
pub const CONTENTION_PUSHES: u32 = 3;
/// Lines of a failing check's output that a bounce carries.
pub const EVIDENCE_LINES_MAX: usize = 20;
/// Longest line of evidence; the rest is cut.
pub const EVIDENCE_LINE_CHARS_MAX: usize = 400;
/// Passes of a check from which its usual duration is known well enough to doubt one that is far shorter.
pub const SHORT_PASS_HISTORY_MIN: usize = 5;
/// A check whose usual duration is below this is never doubted.
pub const SHORT_PASS_USUAL_MIN: Duration = Duration::from_secs(60);
/// A pass that took less than one part in so many of the usual duration is run again.
pub const SHORT_PASS_PARTS: u32 = 20;
/// How many ended builds durations and rates are learnt from.
pub const LEARN_BUILDS_MAX: u32 = 200;
/// How many builds keep their logs; older ones keep their evidence lines only.
pub const BUILD_LOGS_MAX: usize = 2_000;
/// How long after its control runs failed a target is tried again without having moved.
pub const BROKEN_BASE_RETRY_WAIT: Duration = Duration::from_secs(15 * 60);
/// The longest time in which a line does not look at everything again, whoever forgot to wake it.
pub const LOOK_AGAIN_INTERVAL: Duration = Duration::from_secs(60);
/// How often refs that people may move are looked at.
pub const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// How many landings a bounced change is tried against to name the one it does not work with; with more it is said
/// to fail alone.
pub const TRACE_LANDINGS_MAX: usize = 256;
/// How often boxes of one tree may be killed from inside or flood their log before that counts as a failed check.
pub const SAME_TREE_TROUBLE_MAX: usize = 3;
/// How old a pass of the target's own tree may be to speak for the host when a change fails; an older one is made anew
/// by a control run before anybody is bounced.
pub const CONTROL_AGE_MAX: Duration = Duration::from_secs(30 * 60);
/// Rounds of planning in one reconciliation; more wait for the next one, which follows at once.
pub const PLAN_ROUNDS_MAX: usize = 1_000;
/// The most bytes of `.gantry.toml` that are read; a larger one is refused.
pub const GATE_FILE_BYTES_MAX: usize = 1024 * 1024;
/// The most checks a gate may have.
pub const GATE_CHECKS_MAX: usize = 64;
/// The longest time limit a check may have.
pub const CHECK_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// The most facts one answer holds; the rest is asked for with the last sequence number.
pub const FACTS_PAGE_MAX: u32 = 1_000;
/// The most paths of a conflict that are kept; the rest is counted.
pub const CONFLICT_PATHS_MAX: usize = 20;
/// The longest text a person may give as a reason, in characters; the rest is cut.
pub const REASON_CHARS_MAX: usize = 2_000;
