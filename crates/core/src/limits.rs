//! Every bound of gantry, with its unit. Reaching one has a written outcome, named beside it.

use std::time::Duration;

/// The most changes one candidate may hold, whatever a repository asks for. More wait for the next batch.
pub const BATCH_CHANGES_MAX: usize = 64;
/// The most changes that may be open at once in one repository; a further offer is refused with the number.
pub const OPEN_CHANGES_MAX: usize = 20_000;
/// How many builds may run at once in one repository, whatever is asked for.
pub const SLOTS_MAX: usize = 256;
/// How often a build that gave no verdict (interrupted, no disk, could not start) is started again before the
/// line stops with the reason and waits for a person or for room.
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
