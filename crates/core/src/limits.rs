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
/// The most artifacts one run may keep; a further upload fails with the number.
pub const RUN_ARTIFACTS_MAX: usize = 500;
/// The most files one artifact may hold; an upload of more fails.
pub const ARTIFACT_FILES_MAX: usize = 100_000;
/// The most bytes one artifact may hold, before compression; an upload or download of more fails.
pub const ARTIFACT_BYTES_MAX: u64 = 10 * 1024 * 1024 * 1024;
/// The most bytes of one file that a download writes into a box at once; a larger file goes in parts.
pub const DELIVERY_PART_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The longest an artifact is kept unless its upload says less, in days; a larger wish is cut to it.
pub const ARTIFACT_RETENTION_DAYS_MAX: u32 = 90;
/// The longest key of a cache, in characters; a longer one fails the step.
pub const CACHE_KEY_CHARS_MAX: usize = 512;
/// The most keys a step may look for: one and nine to restore from.
pub const CACHE_KEYS_MAX: usize = 10;
/// The most bytes of one cache before compression; more are not saved, with a warning.
pub const CACHE_ENTRY_BYTES_MAX: u64 = 10 * 1024 * 1024 * 1024;
/// The most files of one cache; more are not saved, with a warning.
pub const CACHE_ENTRY_FILES_MAX: usize = 1_000_000;
/// The most entries of one scope that are looked at; eviction keeps a store below it.
pub const CACHE_SCOPE_ENTRIES_MAX: usize = 10_000;
/// The longest a command that moves a cache or looks for a toolchain in a box may take.
pub const BOX_CHORE_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// The most bytes of such a command's answer that are read; a longer answer fails the step.
pub const BOX_CHORE_OUTPUT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The most links of a box that are followed through one another when files are looked for.
pub const SEARCH_LINKS_DEPTH_MAX: usize = 16;
/// The most links of a box that one search follows in all; a search that meets more fails.
pub const SEARCH_LINKS_MAX: usize = 10_000;
/// The most files and directories one search in a box looks at; a search that meets more fails.
pub const SEARCH_FILES_MAX: usize = 2_000_000;
/// The most files a mirrored action may have.
pub const MIRROR_FILES_MAX: usize = 50_000;
/// The most bytes a mirrored action may have.
pub const MIRROR_BYTES_MAX: u64 = 512 * 1024 * 1024;
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
/// The longest request to a running job, in bytes; a longer one is not answered.
pub const JOB_REQUEST_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// The longest event of a job, in bytes; a watcher that meets a longer one gives up.
pub const JOB_EVENT_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How many may watch one job; a further watcher gets what happened so far and no more.
pub const JOB_WATCHERS_MAX: usize = 64;
/// How long a job waits for a watcher that does not read, or a caller that does not ask, before it drops it.
pub const JOB_WATCHER_WAIT: Duration = Duration::from_secs(5);
/// How long an answer of a running job may take.
pub const JOB_ANSWER_WAIT: Duration = Duration::from_secs(10);
/// How long a job goes on without a word from whoever wants its result; then it ends itself.
pub const JOB_LEASE: Duration = Duration::from_secs(15 * 60);
/// How often whoever wants a job's result says so.
pub const JOB_RENEW_INTERVAL: Duration = Duration::from_secs(60);
/// The most paths a receipt names of what a box wrote; the rest is counted.
pub const RECEIPT_PATHS_MAX: usize = 50;
/// The longest secret, in bytes; a longer one is refused.
pub const SECRET_BYTES_MAX: u64 = 64 * 1024;
/// The largest credential that is handed in and taken back, in bytes; a larger one is refused.
pub const AUTH_BYTES_MAX: u64 = 1024 * 1024;
/// The largest order of a build's process, in bytes; a larger one is refused by it.
pub const JOB_ORDER_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// How long a build's process may take until it listens; then it counts as not started.
pub const JOB_START_WAIT: Duration = Duration::from_secs(20);
/// How long a build's process may take to end after its last word; then it is killed.
pub const JOB_END_WAIT: Duration = Duration::from_secs(20);
/// How many secrets, each line of one counted, are masked at most; with one more the output is ended, not let through.
pub const MASK_SECRETS_MAX: usize = 10_000;
/// The longest secret that is masked, in bytes (GitHub allows 48 KiB); a longer one is refused and the output ended.
pub const MASK_SECRET_BYTES_MAX: usize = 64 * 1024;
/// Bytes of all forms of all secrets that a masker keeps; beyond that the output is ended, not let through.
pub const MASK_PATTERN_BYTES_MAX: usize = 32 * 1024 * 1024;
/// A form of a secret shorter than this proves nothing where it is found in an image or an artifact; it is masked only.
pub const SECRET_FOUND_BYTES_MIN: usize = 6;
/// How long a box whose command failed is kept for a look, if that was asked for; then it ends.
pub const BOX_KEEP: Duration = Duration::from_secs(8 * 60 * 60);
/// A line of a secret shorter than this proves nothing where it is found, nor does one with white space in it.
pub const SECRET_LINE_FOUND_BYTES_MIN: usize = 20;
/// How many bytes of a workflow job's log are kept: the first half and the last half; the middle is counted.
pub const JOB_LOG_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// A step that writes more than this is ended: it is a flood, not a log. Trouble, no verdict. Units: bytes.
pub const STEP_OUTPUT_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// How long a workflow job may take unless it says otherwise. Source: GitHub's default.
pub const JOB_TIMEOUT: Duration = Duration::from_secs(360 * 60);
/// How long a step that is cancelled or timed out may take to end. Source: GitHub's `cancel` steps.
pub const STEP_GRACE: Duration = Duration::from_millis(7_500);
/// How long a cancelled job may go on with steps that want to run all the same.
pub const JOB_CANCEL_GRACE: Duration = Duration::from_secs(30);
/// How many annotations of a workflow job are kept.
pub const JOB_ANNOTATIONS_MAX: usize = 1_000;
/// How many bytes a file of a step's commands (`GITHUB_ENV` and its kin) may have; the step fails by a larger one.
pub const COMMAND_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How many background steps of a job run at once. Source: GitHub's limit.
pub const BACKGROUND_STEPS_MAX: usize = 10;
/// How deep composite actions may nest. Source: GitHub's limit.
pub const ACTION_DEPTH_MAX: usize = 10;
/// How many bytes an `action.yml` may have.
pub const ACTION_FILE_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// How long a service beside a workflow job may take to become ready unless its options say otherwise.
pub const SERVICE_READY_WITHIN: Duration = Duration::from_secs(120);
/// The most entries one layer of an image may have; a larger one is refused.
pub const IMAGE_ENTRIES_MAX: u64 = 2_000_000;
/// The most bytes one layer may have when unpacked, whatever it is when packed; a larger one is refused.
pub const IMAGE_LAYER_BYTES_MAX: u64 = 64 * 1024 * 1024 * 1024;
/// The most layers one image may have: an overlay of more is slow, and other engines take 127.
pub const IMAGE_LAYERS_MAX: usize = 127;
/// The most bytes a manifest, an index or a configuration of an image may have.
pub const IMAGE_DOCUMENT_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// The longest path in a layer, in bytes: what the kernel takes in one call.
pub const IMAGE_PATH_BYTES_MAX: usize = 4095;
/// The most bytes of extended headers (long names, attributes) before one entry of a layer.
pub const IMAGE_HEADER_BYTES_MAX: u64 = 1024 * 1024;
/// How many things left out of a layer are named; the rest is counted.
pub const IMAGE_NOTES_MAX: usize = 50;
/// How long a registry may take to answer, and how long it may send nothing; then the pull fails, or goes on where it
/// was cut.
pub const REGISTRY_TIMEOUT: Duration = Duration::from_secs(60);
/// How often in a row a download that was cut is gone on with; each try has to bring something.
pub const REGISTRY_RESUMES_MAX: u32 = 10;
/// Names a box's receipt counts; what it wrote beyond is not counted.
pub const RECEIPT_FILES_MAX: usize = 1_000_000;
/// Connections the proxy of one box serves at once; a further one waits.
pub const BOX_PROXY_CONNECTIONS_MAX: usize = 128;
/// Hosts a box's receipt names.
pub const RECEIPT_HOSTS_MAX: usize = 1_000;
/// How many files may differ from a repository's warm checkout until a box gets a new one.
pub const BOX_LAYER_FILES_MAX: usize = 1_000;
/// The most workflow files of a commit that are read; those behind them by name are not there.
pub const WORKFLOW_FILES_MAX: usize = 256;
/// The largest workflow file that is read, in bytes; a larger one is no workflow.
pub const WORKFLOW_FILE_BYTES_MAX: u64 = 1024 * 1024;
/// The most boxes of one run that live at once, whatever is asked for.
pub const WORKFLOW_SLOTS_MAX: usize = 64;
/// How long jobs of a cancelled run may go on with steps that want to run all the same; then their boxes are ended.
pub const WORKFLOW_CANCEL_GRACE: Duration = Duration::from_secs(30);
/// How many bytes of one line of an agent program's output are looked at; of a longer line the members that fit are
/// read and the rest is counted.
pub const AGENT_LINE_BYTES_MAX: usize = 256 * 1024;
/// How many bytes of one text in such a line are looked at; the rest is counted.
pub const AGENT_STRING_BYTES_MAX: usize = 64 * 1024;
/// How many characters of what an agent says one event keeps; the rest is cut with an ellipsis.
pub const AGENT_TEXT_CHARS_MAX: usize = 16 * 1024;
/// How long an agent program may say nothing before its run is ended as silent, unless its lane says otherwise.
pub const AGENT_SILENCE_MAX: Duration = Duration::from_secs(10 * 60);
/// The same while one of its tools is at work: a build or a test suite says nothing for long.
pub const AGENT_TOOL_SILENCE_MAX: Duration = Duration::from_secs(60 * 60);
/// How long a run may take in all unless its lane says otherwise; then it is ended as timed out.
pub const AGENT_WALL_MAX: Duration = Duration::from_secs(4 * 60 * 60);
/// How long an agent program may live on after it said that it is done; then it is ended, and its word counts.
pub const AGENT_LINGER_MAX: Duration = Duration::from_secs(15);
/// How often a run that failed for a passing reason is tried again before it needs a person.
pub const AGENT_TRIES_MAX: u32 = 6;
/// How often a run that met a provider's limit is tried again; each waits until the limit begins anew.
pub const AGENT_LIMIT_TRIES_MAX: u32 = 20;
/// Wait before the first new try of a run; doubled for each further one.
pub const AGENT_RETRY_WAIT: Duration = Duration::from_secs(15);
/// The longest wait between tries, where the provider names no instant.
pub const AGENT_RETRY_WAIT_MAX: Duration = Duration::from_secs(30 * 60);
