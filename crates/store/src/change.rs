//! Changes: insert, read, and writes that name the version they read.

use gantry_core::event::{Fact, FactKind};
use gantry_core::id::{BranchName, ChangeId, CommitId, RepositoryId};
use gantry_core::queue::change::{Change, ChangeState, Priority, Source};
use gantry_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, named_params, params};

use crate::row::{StateColumns, counted, impossible, stored};
use crate::{Store, StoreError, event_log};

/// A change that has no number yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewChange {
    /// Its number, if it had one before the database was lost.
    pub id: Option<ChangeId>,
    /// The repository whose target it is offered for.
    pub repository: RepositoryId,
    /// Where the head is looked up.
    pub source: Source,
    /// The branch or topic it was offered as.
    pub branch: BranchName,
    /// The commit offered.
    pub head: CommitId,
    /// One line for people.
    pub title: String,
    /// Who offered it.
    pub author: String,
    /// How urgent it is.
    pub priority: Priority,
    /// Whether it must be tested and landed alone.
    pub solo: bool,
    /// Changes that have to land before it.
    pub after: Vec<ChangeId>,
    /// When it was offered.
    pub offered_at: Timestamp,
    /// Where it starts.
    pub state: ChangeState,
}

/// What became of a guarded write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Saved {
    /// All of it is on the disk; each change's version is one higher.
    Saved,
    /// Somebody else wrote first, or there is no such change: nothing was written; load and decide again.
    Lost,
}

impl Store {
    /// Stores a new change with the fact that it was offered, and returns it with its number and version 1.
    ///
    /// Errors: [`StoreError::Sqlite`], also if a change in `after` does not exist.
    pub fn insert_change(&mut self, new: NewChange) -> Result<Change, StoreError> {
        let transaction = self.connection.transaction()?;
        let columns = StateColumns::of(&new.state);
        transaction.execute(
            "INSERT INTO change (id, version, repository, branch, source, head, title, author, priority, solo,
                                 offered_at_ms, since_ms,
                                 state, reason, reason_text, reason_build, reason_change, reason_commit)
             VALUES (:id, 1, :repository, :branch, :source, :head, :title, :author, :priority, :solo,
                     :offered_at_ms, :offered_at_ms,
                     :state, :reason, :text, :build, :change, :commit)",
            named_params! {
                ":id": new.id.map(|id| stored(id.number())), ":repository": stored(new.repository.number()),
                ":source": new.source.as_str(),
                ":branch": new.branch.as_str(), ":head": new.head.to_string(), ":title": new.title,
                ":author": new.author, ":priority": new.priority.as_str(), ":solo": new.solo,
                ":offered_at_ms": new.offered_at.as_millis(), ":state": columns.state,
                ":reason": columns.reason, ":text": columns.text, ":build": columns.build,
                ":change": columns.change, ":commit": columns.commit,
            },
        )?;
        let number = transaction.last_insert_rowid();
        for prerequisite in &new.after {
            transaction.execute(
                "INSERT INTO change_after (change, prerequisite) VALUES (?1, ?2)",
                params![number, stored(prerequisite.number())],
            )?;
        }
        let id = ChangeId::new(counted(number, "change", 0, "id")?);
        let offered = Fact {
            at: new.offered_at,
            kind: FactKind::ChangeOffered,
            repository: new.repository,
            change: Some(id),
            build: None,
            text: new.title.clone(),
            evidence: Vec::new(),
        };
        event_log::append(&transaction, &[offered])?;
        transaction.commit()?;
        Ok(Change {
            id,
            version: 1,
            repository: new.repository,
            branch: new.branch,
            source: new.source,
            head: new.head,
            waived: None,
            title: new.title,
            author: new.author,
            priority: new.priority,
            solo: new.solo,
            after: new.after,
            offered_at: new.offered_at,
            since: new.offered_at,
            state: new.state,
        })
    }

    /// Writes what may change of each change (head, title, author, priority, solo, waived, state) and appends the facts that this
    /// makes true: all of it in one transaction, or nothing if any change no longer has the version given.
    ///
    /// Errors: [`StoreError::Sqlite`], and nothing is written. A lost race is [`Saved::Lost`].
    pub fn save_changes(&mut self, changes: &[Change], facts: &[Fact]) -> Result<Saved, StoreError> {
        let transaction = self.connection.transaction()?;
        if save(&transaction, changes, facts)? == Saved::Lost {
            return Ok(Saved::Lost);
        }
        transaction.commit()?;
        Ok(Saved::Saved)
    }

    /// Returns the change, or `None` if there never was one of that number.
    ///
    /// Errors: [`StoreError::Impossible`] for a row no gantry wrote, [`StoreError::Sqlite`].
    pub fn load_change(&self, id: ChangeId) -> Result<Option<Change>, StoreError> {
        let raw = self
            .connection
            .prepare_cached("SELECT * FROM change WHERE id = ?1")?
            .query_row([stored(id.number())], RawChange::read)
            .optional()?;
        raw.map(|raw| raw.change(&self.connection)).transpose()
    }

    /// Returns every change of a repository that is not landed or cancelled.
    ///
    /// Shape: oldest first. Errors: as [`Store::load_change`].
    pub fn load_alive_changes(&self, repository: RepositoryId) -> Result<Vec<Change>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT * FROM change WHERE state NOT IN ('landed', 'cancelled') AND repository = ?1 ORDER BY id",
        )?;
        let raws = statement
            .query_map([stored(repository.number())], RawChange::read)?
            .collect::<Result<Vec<_>, _>>()?;
        raws.into_iter().map(|raw| raw.change(&self.connection)).collect()
    }

    /// Returns changes of a repository below a number, whatever became of them.
    ///
    /// Shape: newest first, at most `most`. Errors: as [`Store::load_change`].
    pub fn load_changes_below(
        &self,
        repository: RepositoryId,
        below: ChangeId,
        most: u32,
    ) -> Result<Vec<Change>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT * FROM change WHERE repository = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3",
        )?;
        let raws = statement
            .query_map(
                params![stored(repository.number()), stored(below.number()), most],
                RawChange::read,
            )?
            .collect::<Result<Vec<_>, _>>()?;
        raws.into_iter().map(|raw| raw.change(&self.connection)).collect()
    }

    /// Returns what landed at or after an instant.
    ///
    /// Shape: in the order in which it landed. Errors: as [`Store::load_change`].
    pub fn load_landed_since(
        &self,
        repository: RepositoryId,
        since: Timestamp,
    ) -> Result<Vec<(ChangeId, Timestamp)>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT id, since_ms FROM change WHERE repository = ?1 AND state = 'landed' AND since_ms >= ?2
             ORDER BY since_ms, id",
        )?;
        let mut rows = statement.query(params![stored(repository.number()), since.as_millis()])?;
        let mut landed = Vec::new();
        while let Some(row) = rows.next()? {
            let id = counted(row.get(0)?, "change", 0, "id")?;
            landed.push((ChangeId::new(id), Timestamp::from_millis(row.get(1)?)));
        }
        Ok(landed)
    }

    /// Returns the last so many changes that landed by a build or were sent back, for base rates.
    ///
    /// Shape: newest first, at most `most`. Errors: as [`Store::load_change`].
    pub fn load_judged_changes(
        &self,
        repository: RepositoryId,
        most: u32,
    ) -> Result<Vec<Change>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT * FROM change WHERE repository = ?1 AND state IN ('landed', 'bounced') ORDER BY id DESC LIMIT ?2",
        )?;
        let raws = statement
            .query_map(params![stored(repository.number()), most], RawChange::read)?
            .collect::<Result<Vec<_>, _>>()?;
        raws.into_iter().map(|raw| raw.change(&self.connection)).collect()
    }
}

/// Writes changes and facts inside a transaction that the caller commits; [`Saved::Lost`] leaves it to be rolled back.
pub(crate) fn save(
    transaction: &Transaction<'_>,
    changes: &[Change],
    facts: &[Fact],
) -> Result<Saved, StoreError> {
    for change in changes {
        if !update(transaction, change)? {
            return Ok(Saved::Lost);
        }
        for prerequisite in &change.after {
            transaction
                .prepare_cached("INSERT OR IGNORE INTO change_after (change, prerequisite) VALUES (?1, ?2)")?
                .execute(params![stored(change.id.number()), stored(prerequisite.number())])?;
        }
    }
    event_log::append(transaction, facts)?;
    Ok(Saved::Saved)
}

/// Says whether the row still had the version given.
fn update(transaction: &Transaction<'_>, change: &Change) -> Result<bool, StoreError> {
    let columns = StateColumns::of(&change.state);
    let written = transaction
        .prepare_cached(
            "UPDATE change SET version = version + 1, head = :head, title = :title, author = :author,
                 priority = :priority, solo = :solo, waived = :waived, since_ms = :since_ms, state = :state, reason = :reason, reason_text = :text, reason_build = :build,
                 reason_change = :change, reason_commit = :commit
             WHERE id = :id AND version = :version",
        )?
        .execute(named_params! {
            ":id": stored(change.id.number()), ":version": stored(change.version),
            ":head": change.head.to_string(), ":title": change.title, ":author": change.author,
            ":waived": change.waived.map(|head| head.to_string()), ":since_ms": change.since.as_millis(),
            ":priority": change.priority.as_str(), ":solo": change.solo, ":state": columns.state,
            ":reason": columns.reason, ":text": columns.text, ":build": columns.build,
            ":change": columns.change, ":commit": columns.commit,
        })?;
    Ok(written == 1)
}

struct RawChange {
    id: i64,
    version: i64,
    repository: i64,
    branch: String,
    source: String,
    head: String,
    waived: Option<String>,
    title: String,
    author: String,
    priority: String,
    solo: bool,
    offered_at_ms: i64,
    since_ms: i64,
    state: StateColumns,
}

impl RawChange {
    fn read(row: &Row<'_>) -> Result<Self, rusqlite::Error> {
        Ok(Self {
            id: row.get("id")?,
            version: row.get("version")?,
            repository: row.get("repository")?,
            branch: row.get("branch")?,
            source: row.get("source")?,
            head: row.get("head")?,
            waived: row.get("waived")?,
            title: row.get("title")?,
            author: row.get("author")?,
            priority: row.get("priority")?,
            solo: row.get("solo")?,
            offered_at_ms: row.get("offered_at_ms")?,
            since_ms: row.get("since_ms")?,
            state: StateColumns::read(row)?,
        })
    }

    fn change(self, connection: &Connection) -> Result<Change, StoreError> {
        let number = counted(self.id, "change", 0, "id")?;
        let after = connection
            .prepare_cached("SELECT prerequisite FROM change_after WHERE change = ?1 ORDER BY prerequisite")?
            .query_map([self.id], |row| row.get::<_, i64>(0))?
            .map(|prerequisite| {
                counted(prerequisite?, "change_after", number, "prerequisite").map(ChangeId::new)
            })
            .collect::<Result<_, StoreError>>()?;
        Ok(Change {
            id: ChangeId::new(number),
            version: counted(self.version, "change", number, "version")?,
            repository: RepositoryId::new(counted(self.repository, "change", number, "repository")?),
            source: Source::parse(&self.source).ok_or_else(|| impossible(number, "source", self.source))?,
            waived: self
                .waived
                .map(|waived| waived.parse().map_err(|_| impossible(number, "waived", waived)))
                .transpose()?,
            branch: BranchName::parse(&self.branch).map_err(|_| impossible(number, "branch", self.branch))?,
            head: self
                .head
                .parse()
                .map_err(|_| impossible(number, "head", self.head))?,
            title: self.title,
            author: self.author,
            priority: Priority::parse(&self.priority)
                .ok_or_else(|| impossible(number, "priority", self.priority))?,
            solo: self.solo,
            after,
            offered_at: Timestamp::from_millis(self.offered_at_ms),
            since: Timestamp::from_millis(self.since_ms),
            state: self.state.state(number)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_core::id::BuildId;
    use gantry_core::queue::change::{BounceReason, CancelReason, HoldReason, LandedBy};

    fn with_repository(mut store: Store) -> Store {
        let added = store
            .insert_repository("r", "/r.git", &BranchName::parse("main").expect("a name"), false)
            .expect("inserts");
        assert_eq!(added.id, RepositoryId::new(1));
        store
    }

    fn new_change(state: ChangeState) -> NewChange {
        NewChange {
            id: None,
            repository: RepositoryId::new(1),
            source: Source::Branch,
            branch: BranchName::parse("quo\"te/'x").expect("a legal name"),
            head: CommitId::from_bytes([3; 20]),
            title: "Robert'); DROP TABLE change;--\n<b>".into(),
            author: "ada".into(),
            priority: Priority::High,
            solo: true,
            after: vec![],
            offered_at: Timestamp::from_millis(-5),
            state,
        }
    }

    fn every_state() -> Vec<ChangeState> {
        let (build, commit) = (BuildId::new(9), CommitId::from_bytes([1; 20]));
        let with = ChangeId::new(4);
        vec![
            ChangeState::Open,
            ChangeState::Queued,
            ChangeState::Testing,
            ChangeState::Landing { build },
            ChangeState::Landed(LandedBy::Build { build, commit }),
            ChangeState::Landed(LandedBy::AlreadyIn),
            ChangeState::Held(HoldReason::ByHand { text: String::new() }),
            ChangeState::Held(HoldReason::SilentRevert { undoes: commit }),
            ChangeState::Held(HoldReason::DependencyEnded { dependency: with }),
            ChangeState::Bounced(BounceReason::CheckFailed { build }),
            ChangeState::Bounced(BounceReason::FailsTogether { build, with }),
            ChangeState::Bounced(BounceReason::TimedOut { build }),
            ChangeState::Bounced(BounceReason::Conflict {
                culprit: None,
                paths: vec![],
            }),
            ChangeState::Bounced(BounceReason::Conflict {
                culprit: Some(commit),
                paths: vec!["a b".into(), "c".into()],
            }),
            ChangeState::Cancelled(CancelReason::ByHand),
            ChangeState::Cancelled(CancelReason::BranchDeleted),
            ChangeState::Cancelled(CancelReason::Retargeted),
        ]
    }

    #[test]
    fn every_state_survives_a_restart_with_its_reason() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let path = folder.path().join("gantry.db");
        let mut store = with_repository(Store::open(&path).expect("opens"));
        let written: Vec<Change> = every_state()
            .into_iter()
            .map(|state| store.insert_change(new_change(state)).expect("inserts"))
            .collect();
        drop(store);
        let store = Store::open(&path).expect("opens again");
        for change in &written {
            assert_eq!(
                store.load_change(change.id).expect("reads").as_ref(),
                Some(change)
            );
        }
        let alive: Vec<_> = written
            .into_iter()
            .filter(|change| !change.state.is_terminal())
            .collect();
        assert_eq!(
            store.load_alive_changes(RepositoryId::new(1)).expect("reads"),
            alive
        );
    }

    fn fact(kind: FactKind, change: ChangeId) -> Fact {
        Fact {
            at: Timestamp::from_millis(7),
            kind,
            repository: RepositoryId::new(1),
            change: Some(change),
            build: Some(BuildId::new(2)),
            text: "because".into(),
            evidence: vec!["line 1".into(), String::new()],
        }
    }

    #[test]
    fn the_second_writer_of_a_version_loses_and_writes_nothing() {
        let mut store = with_repository(Store::in_memory().expect("opens"));
        let read = store
            .insert_change(new_change(ChangeState::Queued))
            .expect("inserts");
        let other = store
            .insert_change(new_change(ChangeState::Queued))
            .expect("inserts");
        let seen = store.load_facts_after(0, 100).expect("reads").len() as u64;
        let first = Change {
            state: ChangeState::Testing,
            ..read.clone()
        };
        let second = Change {
            state: ChangeState::Cancelled(CancelReason::ByHand),
            ..read
        };
        let with_second = Change {
            state: ChangeState::Cancelled(CancelReason::ByHand),
            ..other.clone()
        };
        assert_eq!(
            store
                .save_changes(std::slice::from_ref(&first), &[])
                .expect("writes"),
            Saved::Saved
        );
        let facts = [fact(FactKind::ChangeCancelled, second.id)];
        assert_eq!(
            store
                .save_changes(&[with_second, second], &facts)
                .expect("answers"),
            Saved::Lost
        );
        let kept = store.load_change(first.id).expect("reads").expect("is there");
        assert_eq!((kept.version, kept.state), (2, ChangeState::Testing));
        assert_eq!(
            store.load_change(other.id).expect("reads"),
            Some(other),
            "the whole write is void"
        );
        assert_eq!(
            store.load_facts_after(seen, 100).expect("reads"),
            vec![],
            "its facts too"
        );
    }

    #[test]
    fn facts_are_read_back_in_order_from_any_place() {
        let mut store = with_repository(Store::in_memory().expect("opens"));
        let change = store
            .insert_change(new_change(ChangeState::Queued))
            .expect("inserts");
        let facts: Vec<Fact> = FactKind::ALL.iter().map(|kind| fact(*kind, change.id)).collect();
        assert_eq!(store.save_changes(&[], &facts).expect("writes"), Saved::Saved);
        let all = store.load_facts_after(0, 100).expect("reads");
        assert_eq!(all[0].fact.kind, FactKind::ChangeOffered);
        assert_eq!(all[1..].iter().map(|r| r.fact.clone()).collect::<Vec<_>>(), facts);
        let rest = store.load_facts_after(all[3].sequence, 2).expect("reads");
        assert_eq!(rest, all[4..6]);
    }

    #[test]
    fn a_number_is_never_used_twice() {
        let mut store = with_repository(Store::in_memory().expect("opens"));
        let first = store
            .insert_change(new_change(ChangeState::Open))
            .expect("inserts")
            .id;
        store
            .connection
            .execute("DELETE FROM change", [])
            .expect("deletes");
        let second = store
            .insert_change(new_change(ChangeState::Open))
            .expect("inserts")
            .id;
        assert_ne!(first, second);
    }

    #[test]
    fn prerequisites_are_kept_and_must_exist() {
        let mut store = with_repository(Store::in_memory().expect("opens"));
        let first = store
            .insert_change(new_change(ChangeState::Queued))
            .expect("inserts")
            .id;
        let mut next = new_change(ChangeState::Queued);
        next.after = vec![first];
        let next = store.insert_change(next).expect("inserts").id;
        assert_eq!(
            store.load_change(next).expect("reads").expect("is there").after,
            vec![first]
        );
        let mut lost = new_change(ChangeState::Queued);
        lost.after = vec![ChangeId::new(99)];
        assert!(store.insert_change(lost).is_err());
        assert_eq!(
            store
                .load_alive_changes(RepositoryId::new(1))
                .expect("reads")
                .len(),
            2,
            "the refused change left no row"
        );
    }

    #[test]
    fn an_impossible_row_is_refused_by_table_row_and_column() {
        let mut store = with_repository(Store::in_memory().expect("opens"));
        let id = store
            .insert_change(new_change(ChangeState::Queued))
            .expect("inserts")
            .id;
        store
            .connection
            .execute("UPDATE change SET state = 'landed'", [])
            .expect("updates");
        let refused = store.load_change(id).expect_err("no reason is stored");
        assert_eq!(
            refused.to_string(),
            "change row 1: column state holds \"landed ()\", which cannot be"
        );
    }

    #[test]
    fn a_database_of_a_later_gantry_is_not_touched() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let path = folder.path().join("gantry.db");
        drop(Store::open(&path).expect("opens"));
        let raw = Connection::open(&path).expect("opens");
        raw.pragma_update(None, "user_version", 99).expect("updates");
        assert!(matches!(
            Store::open(&path),
            Err(StoreError::Newer { found: 99, .. })
        ));
    }
}
