//! The whole factory on one thread: the store and every line. Owns what people may ask of it.

use gantry_adapters::git::GitError;
use gantry_core::event::{Fact, FactKind};
use gantry_core::id::{BranchName, ChangeId, CommitId, RepositoryId};
use gantry_core::limits::{OPEN_CHANGES_MAX, REASON_CHARS_MAX, TITLE_CHARS_MAX};
use gantry_core::queue::change::{
    CancelReason, Change, ChangeEvent, ChangeState, HoldReason, IllegalTransition, Priority, Source,
};
use gantry_core::queue::order::{Cycle, Entry, plan_order};
use gantry_core::repository::Freeze;
use gantry_core::time::Timestamp;
use gantry_store::{NewChange, Saved, Store, StoreError};

use crate::boxes::{BoxReport, Boxes};
use crate::forge::Forge;
use crate::line::{Line, LineError};

/// The store and the lines.
#[derive(Debug)]
pub struct Factory<F, B> {
    store: Store,
    lines: Vec<Line<F, B>>,
}

/// A change to be offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferRequest {
    /// The branch or topic.
    pub branch: BranchName,
    /// Which of the two.
    pub source: Source,
    /// The commit: needed for a topic; for a branch, what it must be at.
    pub head: Option<CommitId>,
    /// One line for people; the subject of the head if not given.
    pub title: Option<String>,
    /// Who offers it; the author of the head if not given.
    pub author: Option<String>,
    /// How urgent; as before, or normal, if not given.
    pub priority: Option<Priority>,
    /// Lands alone.
    pub solo: bool,
    /// What has to land before it.
    pub after: Vec<ChangeId>,
}

/// Why something that was asked for is not done.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No repository of that name.
    #[error("there is no repository {name:?}; known are: {known}")]
    NoRepository {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// More than one repository, and none was named.
    #[error("this factory has more than one repository: name one with --repository ({known})")]
    WhichRepository {
        /// What there is.
        known: String,
    },
    /// No change of that number.
    #[error("there is no change {0}; `gantry queue list --all` shows them")]
    NoChange(ChangeId),
    /// No such branch.
    #[error("there is no branch {branch:?} in {repository}; `git branch --all` lists them")]
    NoBranch {
        /// What was asked for.
        branch: String,
        /// Where.
        repository: String,
    },
    /// The branch is at another commit than was said.
    #[error(
        "branch {branch} is at {actual}, not at {expected}: look at it again, then offer it with that commit"
    )]
    HeadMoved {
        /// The branch.
        branch: String,
        /// Where it is.
        actual: CommitId,
        /// Where it was said to be.
        expected: CommitId,
    },
    /// The target cannot be offered to itself.
    #[error("{0} is the target itself; offer another branch")]
    IsTarget(BranchName),
    /// Too many open changes.
    #[error("{OPEN_CHANGES_MAX} changes are open already: cancel some, or wait until some have landed")]
    TooMany,
    /// A prerequisite ended without landing.
    #[error("{0} ended without landing, so nothing can land after it")]
    AfterEnded(ChangeId),
    /// A prerequisite is another repository's.
    #[error("{0} is a change of another repository: nothing here can wait for it")]
    AfterElsewhere(ChangeId),
    /// The prerequisites make a circle.
    #[error(transparent)]
    Cycle(#[from] Cycle),
    /// The state does not allow it.
    #[error("{change} is {state}: {why}")]
    NotNow {
        /// Which change.
        change: ChangeId,
        /// Where it is.
        state: &'static str,
        /// What follows from that.
        why: &'static str,
    },
    /// Somebody else wrote at the same moment, several times over.
    #[error("somebody else changed it at the same moment; try again")]
    Raced,
    /// Nothing is frozen.
    #[error("{0} is not frozen")]
    NotFrozen(String),
    /// The store is in the way.
    #[error("the database is in the way")]
    Store(#[from] StoreError),
    /// The repository is in the way.
    #[error("the repository is in the way")]
    Git(#[from] GitError),
    /// A line is in the way.
    #[error(transparent)]
    Line(#[from] LineError),
}

impl<F: Forge, B: Boxes> Factory<F, B> {
    /// Makes a factory without lines.
    pub fn new(store: Store) -> Self {
        Self {
            store,
            lines: Vec::new(),
        }
    }

    /// Adds a line.
    pub fn add_line(&mut self, line: Line<F, B>) {
        self.lines.push(line);
    }

    /// The store, for reading.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Gives the store back; the lines and what they remember are gone.
    pub fn into_store(self) -> Store {
        self.store
    }

    /// The store and the lines, for wiring and views.
    pub fn parts(&mut self) -> (&mut Store, &mut Vec<Line<F, B>>) {
        (&mut self.store, &mut self.lines)
    }

    /// Does everything that can be done now in every line. Returns when to come back by itself.
    pub fn reconcile(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.lines
            .iter_mut()
            .filter_map(|line| line.reconcile(&mut self.store, now))
            .min()
    }

    /// Hands a build's report to its line.
    pub fn report(&mut self, repository: RepositoryId, report: BoxReport, now: Timestamp) {
        if let Some(line) = self
            .lines
            .iter_mut()
            .find(|line| line.repository.id == repository)
        {
            line.report(&mut self.store, report, now);
        }
    }

    /// Finds the line by name, or the only one.
    ///
    /// Errors: [`AskError::NoRepository`], [`AskError::WhichRepository`].
    pub fn line_named(&self, name: Option<&str>) -> Result<usize, AskError> {
        let known = || {
            let names: Vec<&str> = self
                .lines
                .iter()
                .map(|line| line.repository.name.as_str())
                .collect();
            if names.is_empty() {
                "none; `gantry init --repo PATH` adds one".to_owned()
            } else {
                names.join(", ")
            }
        };
        match name {
            Some(name) => self
                .lines
                .iter()
                .position(|line| line.repository.name == name)
                .ok_or_else(|| AskError::NoRepository {
                    name: name.to_owned(),
                    known: known(),
                }),
            None if self.lines.len() == 1 => Ok(0),
            None if self.lines.is_empty() => Err(AskError::NoRepository {
                name: String::new(),
                known: known(),
            }),
            None => Err(AskError::WhichRepository { known: known() }),
        }
    }

    fn line_of(&mut self, change: &Change) -> Result<(&mut Store, &mut Line<F, B>), AskError> {
        let id = change.id;
        let line = self
            .lines
            .iter_mut()
            .find(|line| line.repository.id == change.repository);
        let line = line.ok_or(AskError::NoChange(id))?;
        Ok((&mut self.store, line))
    }

    /// Returns a change, whatever became of it.
    ///
    /// Errors: [`AskError::NoChange`], [`AskError::Store`].
    pub fn change(&self, id: ChangeId) -> Result<Change, AskError> {
        self.store.load_change(id)?.ok_or(AskError::NoChange(id))
    }

    /// Offers a change, or moves the head of one that is open under the same name.
    ///
    /// Errors: every [`AskError`] that names a branch, a commit or a prerequisite; nothing is written then.
    pub fn offer(&mut self, at: usize, request: OfferRequest, now: Timestamp) -> Result<Change, AskError> {
        let line = &mut self.lines[at];
        let store = &mut self.store;
        let repository = line.repository.id;
        if request.source == Source::Branch && request.branch == line.repository.target {
            return Err(AskError::IsTarget(request.branch));
        }
        let head = find_head(line, &request)?;
        let alive = store.load_alive_changes(repository)?;
        let known = alive
            .iter()
            .find(|c| c.branch == request.branch && c.source == request.source);
        check_after(store, repository, &alive, known.map(|change| change.id), &request)?;
        let (subject, author) = line.forge().subject_and_author(head)?;
        if let Some(known) = known {
            return renew(line, store, known.clone(), head, &request, now);
        }
        if alive.len() >= OPEN_CHANGES_MAX {
            return Err(AskError::TooMany);
        }
        let title = request
            .title
            .filter(|title| !title.trim().is_empty())
            .unwrap_or(subject);
        let title = if title.is_empty() {
            request.branch.to_string()
        } else {
            title
        };
        let change = store.insert_change(NewChange {
            id: None,
            repository,
            source: request.source,
            branch: request.branch,
            head,
            title: one_line(&title, TITLE_CHARS_MAX),
            author: one_line(&request.author.unwrap_or(author), TITLE_CHARS_MAX),
            priority: request.priority.unwrap_or_default(),
            solo: request.solo,
            after: request.after,
            offered_at: now,
            state: ChangeState::Queued,
        })?;
        line.keep_offer(&change);
        Ok(change)
    }

    /// Takes a change out. If landing won the race, the answer says so.
    ///
    /// Errors: [`AskError::NotNow`] if it has landed, is landing, or was cancelled.
    pub fn cancel(&mut self, id: ChangeId, now: Timestamp) -> Result<Change, AskError> {
        self.step(
            id,
            ChangeEvent::Cancel(CancelReason::ByHand),
            FactKind::ChangeCancelled,
            "cancelled by hand",
            now,
        )
    }

    /// Holds a change with a person's reason.
    ///
    /// Errors: [`AskError::NotNow`].
    pub fn hold(&mut self, id: ChangeId, reason: &str, now: Timestamp) -> Result<Change, AskError> {
        let text = one_line(reason, REASON_CHARS_MAX);
        let event = ChangeEvent::Hold(HoldReason::ByHand { text: text.clone() });
        self.step(
            id,
            event,
            FactKind::ChangeHeld,
            &format!("held by hand: {text}"),
            now,
        )
    }

    /// Lets a held change go on, or a bounced one be tried again.
    ///
    /// Errors: [`AskError::NotNow`].
    pub fn release(&mut self, id: ChangeId, now: Timestamp) -> Result<Change, AskError> {
        self.step(
            id,
            ChangeEvent::Release,
            FactKind::ChangeReleased,
            "released by hand",
            now,
        )
    }

    /// Changes how urgent a change is.
    ///
    /// Errors: [`AskError::NotNow`] if it has ended.
    pub fn set_priority(
        &mut self,
        id: ChangeId,
        priority: Priority,
        now: Timestamp,
    ) -> Result<Change, AskError> {
        let mut change = self.change(id)?;
        if change.state.is_terminal() {
            return Err(not_now(&change));
        }
        change.priority = priority;
        let (store, line) = self.line_of(&change)?;
        let text = format!("priority is {} now", priority.as_str());
        save_one(line, store, &change, FactKind::ChangePriority, &text, now)?;
        self.change(id)
    }

    /// Freezes a line, whole or below a priority.
    ///
    /// Errors: [`AskError::Store`].
    pub fn freeze(&mut self, at: usize, freeze: Freeze) -> Result<(), AskError> {
        let line = &mut self.lines[at];
        let freeze = Freeze {
            author: one_line(&freeze.author, TITLE_CHARS_MAX),
            reason: one_line(&freeze.reason, REASON_CHARS_MAX),
            ..freeze
        };
        let what = freeze.below.map_or("everything".to_owned(), |below| {
            format!("what is below {}", below.as_str())
        });
        let fact = Fact {
            at: freeze.since,
            kind: FactKind::QueueFrozen,
            repository: line.repository.id,
            change: None,
            build: None,
            text: format!("{} froze {what}: {}", freeze.author, freeze.reason),
            evidence: Vec::new(),
        };
        let frozen = gantry_core::repository::Repository {
            frozen: Some(freeze),
            ..line.repository.clone()
        };
        self.store.save_repository(&frozen, &[fact])?;
        line.repository = frozen;
        Ok(())
    }

    /// Ends a freeze.
    ///
    /// Errors: [`AskError::NotFrozen`], [`AskError::Store`].
    pub fn thaw(&mut self, at: usize, author: &str, now: Timestamp) -> Result<(), AskError> {
        let line = &mut self.lines[at];
        if line.repository.frozen.is_none() {
            return Err(AskError::NotFrozen(line.repository.name.clone()));
        }
        let fact = Fact {
            at: now,
            kind: FactKind::QueueThawed,
            repository: line.repository.id,
            change: None,
            build: None,
            text: format!("{author} thawed the queue"),
            evidence: Vec::new(),
        };
        let thawed = gantry_core::repository::Repository {
            frozen: None,
            ..line.repository.clone()
        };
        self.store.save_repository(&thawed, &[fact])?;
        line.repository = thawed;
        Ok(())
    }

    fn step(
        &mut self,
        id: ChangeId,
        event: ChangeEvent,
        kind: FactKind,
        text: &str,
        now: Timestamp,
    ) -> Result<Change, AskError> {
        let mut change = self.change(id)?;
        if event == ChangeEvent::Release
            && matches!(
                change.state,
                ChangeState::Held(HoldReason::SilentRevert { .. } | HoldReason::ByHand { .. })
            )
        {
            change.waived = Some(change.head);
        }
        change
            .take(event, now)
            .map_err(|IllegalTransition { .. }| not_now_of(&self.store, id))?;
        let (store, line) = self.line_of(&change)?;
        save_one(line, store, &change, kind, text, now)?;
        self.change(id)
    }
}

fn not_now_of(store: &Store, id: ChangeId) -> AskError {
    match store.load_change(id) {
        Ok(Some(change)) => not_now(&change),
        Ok(None) => AskError::NoChange(id),
        Err(error) => error.into(),
    }
}

fn not_now(change: &Change) -> AskError {
    AskError::NotNow {
        change: change.id,
        state: change.state.as_str(),
        why: match change.state {
            ChangeState::Landing { .. } => {
                "its landing has begun and cannot be taken back; wait a moment and look again"
            }
            ChangeState::Landed(_) => "it is on the target; to take it out, offer a change that reverts it",
            ChangeState::Cancelled(_) => "it was taken out; offer the branch again",
            ChangeState::Held(_) | ChangeState::Bounced(_) => {
                "it waits for a person already; release or cancel it"
            }
            ChangeState::Open | ChangeState::Queued | ChangeState::Testing => {
                "it goes on by itself; hold or cancel it"
            }
        },
    }
}

fn save_one<F: Forge, B: Boxes>(
    line: &mut Line<F, B>,
    store: &mut Store,
    change: &Change,
    kind: FactKind,
    text: &str,
    now: Timestamp,
) -> Result<(), AskError> {
    let fact = Fact {
        at: now,
        kind,
        repository: change.repository,
        change: Some(change.id),
        build: None,
        text: text.to_owned(),
        evidence: Vec::new(),
    };
    if store.save_changes(std::slice::from_ref(change), &[fact])? == Saved::Lost {
        return Err(AskError::Raced);
    }
    line.keep_offer(change);
    Ok(())
}

fn find_head<F: Forge, B: Boxes>(
    line: &mut Line<F, B>,
    request: &OfferRequest,
) -> Result<CommitId, AskError> {
    let repository = line.repository.path.clone();
    let missing = || AskError::NoBranch {
        branch: request.branch.to_string(),
        repository,
    };
    match request.source {
        Source::Topic => request.head.ok_or_else(missing),
        Source::Branch => {
            let actual = line
                .forge()
                .branches()?
                .get(&request.branch)
                .copied()
                .ok_or_else(missing)?;
            match request.head {
                Some(expected) if expected != actual => Err(AskError::HeadMoved {
                    branch: request.branch.to_string(),
                    actual,
                    expected,
                }),
                _ => Ok(actual),
            }
        }
    }
}

/// Refuses prerequisites that do not exist, have ended without landing, or make a circle.
fn check_after(
    store: &Store,
    repository: RepositoryId,
    alive: &[Change],
    known: Option<ChangeId>,
    request: &OfferRequest,
) -> Result<(), AskError> {
    for id in &request.after {
        let prerequisite = store.load_change(*id)?.ok_or(AskError::NoChange(*id))?;
        if prerequisite.repository != repository {
            return Err(AskError::AfterElsewhere(*id));
        }
        if matches!(
            prerequisite.state,
            ChangeState::Cancelled(_) | ChangeState::Bounced(_)
        ) {
            return Err(AskError::AfterEnded(*id));
        }
    }
    let this = known.unwrap_or(ChangeId::new(u64::MAX));
    let mut entries: Vec<Entry> = alive
        .iter()
        .filter(|change| change.id != this)
        .map(|change| Entry {
            change: change.id,
            priority: change.priority,
            after: change.after.clone(),
        })
        .collect();
    let before = alive
        .iter()
        .find(|change| change.id == this)
        .map(|change| change.after.clone());
    entries.push(Entry {
        change: this,
        priority: Priority::Normal,
        after: before
            .into_iter()
            .flatten()
            .chain(request.after.iter().copied())
            .collect(),
    });
    plan_order(&entries)?;
    Ok(())
}

/// Takes another offer of a change that is open already.
fn renew<F: Forge, B: Boxes>(
    line: &mut Line<F, B>,
    store: &mut Store,
    known: Change,
    head: CommitId,
    request: &OfferRequest,
    now: Timestamp,
) -> Result<Change, AskError> {
    let mut next = known.clone();
    if head != known.head {
        next.head = head;
        next.take(ChangeEvent::NewHead, now)
            .map_err(|_| not_now(&known))?;
    } else if matches!(known.state, ChangeState::Bounced(_)) {
        next.take(ChangeEvent::Release, now)
            .map_err(|_| not_now(&known))?;
    }
    if let Some(title) = &request.title {
        next.title = one_line(title, TITLE_CHARS_MAX);
    }
    if let Some(author) = &request.author {
        next.author = one_line(author, TITLE_CHARS_MAX);
    }
    next.priority = request.priority.unwrap_or(known.priority);
    next.solo |= request.solo;
    for id in &request.after {
        if !next.after.contains(id) {
            next.after.push(*id);
        }
    }
    if next == known {
        return Ok(known);
    }
    let (kind, text) = if head == known.head {
        (FactKind::ChangeOffered, "offered again".to_owned())
    } else {
        (
            FactKind::ChangeHeadMoved,
            format!("{} moved to {}", known.branch, head.short()),
        )
    };
    save_one(line, store, &next, kind, &text, now)?;
    store.load_change(known.id)?.ok_or(AskError::NoChange(known.id))
}

/// Makes one line of a person's text: control characters become spaces, too long a text ends with an ellipsis.
fn one_line(text: &str, most: usize) -> String {
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let clean = clean.trim();
    if clean.chars().count() <= most {
        return clean.to_owned();
    }
    clean.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}
