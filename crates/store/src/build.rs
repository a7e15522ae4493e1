//! Builds: insert with the changes they make `Testing`, read, and end once.

use std::time::Duration;

use gantry_core::event::Fact;
use gantry_core::id::{BuildId, ChangeId, CommitId, RepositoryId, TreeId};
use gantry_core::queue::build::{Build, BuildMember, BuildOrder, BuildState, CheckRun, Ending};
use gantry_core::queue::change::Change;
use gantry_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::row::{BuildColumns, counted, ending, purpose, purpose_word, stored, trouble_of};
use crate::{Saved, Store, StoreError, change, event_log};

impl Store {
    /// Stores a build as prepared (or as passed, if it reuses a verdict) together with the changes it tests.
    ///
    /// Shape: `facts` is asked for the facts once the number is known. Errors: [`StoreError::Sqlite`], and nothing
    /// is written. `None` if one of the changes was written by somebody else meanwhile.
    pub fn insert_build(
        &mut self,
        order: BuildOrder,
        changes: &[Change],
        facts: impl FnOnce(BuildId) -> Vec<Fact>,
    ) -> Result<Option<Build>, StoreError> {
        let state = match order.reuses {
            Some(_) => BuildState::Ended(Ending::Passed),
            None => BuildState::Prepared,
        };
        let ended_at = order.reuses.map(|_| order.prepared_at);
        let transaction = self.connection.transaction()?;
        transaction
            .prepare_cached(
                "INSERT INTO build (repository, base, candidate, tree, gate, sandbox, purpose, reuses, prepared_at_ms,
                     ended_at_ms, state, counts) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 1)",
            )?
            .execute(params![
                stored(order.repository.number()),
                order.base.to_string(),
                order.candidate.to_string(),
                order.tree.to_string(),
                order.gate,
                order.sandbox,
                purpose_word(order.purpose),
                order.reuses.map(|id| stored(id.number())),
                order.prepared_at.as_millis(),
                ended_at.map(Timestamp::as_millis),
                BuildColumns::of(state).state,
            ])?;
        let number = transaction.last_insert_rowid();
        let id = BuildId::new(counted(number, "build", 0, "id")?);
        insert_members(&transaction, number, &order.members)?;
        if change::save(&transaction, changes, &facts(id))? == Saved::Lost {
            return Ok(None);
        }
        transaction.commit()?;
        Ok(Some(Build {
            id,
            order,
            state,
            started_at: None,
            ended_at,
            counts: true,
            checks: Vec::new(),
        }))
    }

    /// Stores a build that ended before the database was lost, under its old number; one that is there stays as it is.
    ///
    /// Errors: [`StoreError::Sqlite`], and nothing is written.
    pub fn restore_build(&mut self, build: &Build) -> Result<(), StoreError> {
        let (order, columns) = (&build.order, BuildColumns::of(build.state));
        let transaction = self.connection.transaction()?;
        let written = transaction.execute(
            "INSERT OR IGNORE INTO build (id, repository, base, candidate, tree, gate, sandbox, purpose, reuses,
                 prepared_at_ms, ended_at_ms, state, trouble, counts)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, 0)",
            params![
                stored(build.id.number()),
                stored(order.repository.number()),
                order.base.to_string(),
                order.candidate.to_string(),
                order.tree.to_string(),
                order.gate,
                order.sandbox,
                purpose_word(order.purpose),
                order.reuses.map(|id| stored(id.number())),
                order.prepared_at.as_millis(),
                build.ended_at.map(Timestamp::as_millis),
                columns.state,
                columns.trouble,
            ],
        )?;
        if written == 1 {
            insert_members(&transaction, stored(build.id.number()), &order.members)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Writes where a build is now (state, times, whether it counts, its checks), with changes and facts.
    ///
    /// Errors: [`StoreError::Sqlite`]. [`Saved::Lost`] if it had ended before in another way: a build ends once.
    pub fn save_build(
        &mut self,
        build: &Build,
        changes: &[Change],
        facts: &[Fact],
    ) -> Result<Saved, StoreError> {
        let columns = BuildColumns::of(build.state);
        let transaction = self.connection.transaction()?;
        let written = transaction
            .prepare_cached(
                "UPDATE build SET state = ?2, trouble = ?3, started_at_ms = ?4, ended_at_ms = ?5, counts = ?6
                 WHERE id = ?1 AND (state IN ('prepared', 'running') OR state = ?2)",
            )?
            .execute(params![
                stored(build.id.number()),
                columns.state,
                columns.trouble,
                build.started_at.map(Timestamp::as_millis),
                build.ended_at.map(Timestamp::as_millis),
                build.counts,
            ])?;
        if written == 0 || change::save(&transaction, changes, facts)? == Saved::Lost {
            return Ok(Saved::Lost);
        }
        insert_checks(&transaction, build)?;
        transaction.commit()?;
        Ok(Saved::Saved)
    }

    /// Takes builds out of the planner's sight, together with changes and facts.
    ///
    /// Errors: [`StoreError::Sqlite`], and nothing is written.
    pub fn discount_builds(
        &mut self,
        builds: &[BuildId],
        changes: &[Change],
        facts: &[Fact],
    ) -> Result<Saved, StoreError> {
        let transaction = self.connection.transaction()?;
        for build in builds {
            transaction
                .prepare_cached("UPDATE build SET counts = 0 WHERE id = ?1")?
                .execute([stored(build.number())])?;
        }
        if change::save(&transaction, changes, facts)? == Saved::Lost {
            return Ok(Saved::Lost);
        }
        transaction.commit()?;
        Ok(Saved::Saved)
    }

    /// Returns the build, or `None` if there never was one of that number.
    ///
    /// Errors: [`StoreError::Impossible`] for a row no gantry wrote, [`StoreError::Sqlite`].
    pub fn load_build(&self, id: BuildId) -> Result<Option<Build>, StoreError> {
        self.connection
            .prepare_cached("SELECT * FROM build WHERE id = ?1")?
            .query_row([stored(id.number())], RawBuild::read)
            .optional()?
            .map(|raw| raw.build(&self.connection))
            .transpose()
    }

    /// Returns the builds of a repository that count.
    ///
    /// Shape: oldest first, without their checks' output. Errors: as [`Store::load_build`].
    pub fn load_counting_builds(&self, repository: RepositoryId) -> Result<Vec<Build>, StoreError> {
        self.builds(
            "SELECT * FROM build WHERE counts = 1 AND repository = ?1 ORDER BY id",
            params![stored(repository.number())],
        )
    }

    /// Returns builds below a number.
    ///
    /// Shape: newest first, at most `most`. Errors: as [`Store::load_build`].
    pub fn load_builds_below(
        &self,
        repository: RepositoryId,
        below: BuildId,
        most: u32,
    ) -> Result<Vec<Build>, StoreError> {
        self.builds(
            "SELECT * FROM build WHERE repository = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3",
            params![stored(repository.number()), stored(below.number()), most],
        )
    }

    /// Returns the builds a change was a member of.
    ///
    /// Shape: oldest first. Errors: as [`Store::load_build`].
    pub fn load_builds_of(&self, change: ChangeId) -> Result<Vec<Build>, StoreError> {
        self.builds(
            "SELECT build.* FROM build JOIN build_member ON build_member.build = build.id
             WHERE build_member.change = ?1 ORDER BY build.id",
            params![stored(change.number())],
        )
    }

    /// Returns a build of this repository that ran and passed on the same tree, gate and box, if there is one.
    ///
    /// Errors: as [`Store::load_build`].
    pub fn find_passed(
        &self,
        repository: RepositoryId,
        tree: TreeId,
        gate: &str,
        sandbox: &str,
    ) -> Result<Option<BuildId>, StoreError> {
        let found: Option<i64> = self
            .connection
            .prepare_cached(
                "SELECT id FROM build WHERE tree = ?1 AND gate = ?2 AND sandbox = ?3 AND repository = ?4
                     AND state = 'passed' AND reuses IS NULL ORDER BY id DESC LIMIT 1",
            )?
            .query_row(
                params![tree.to_string(), gate, sandbox, stored(repository.number())],
                |row| row.get(0),
            )
            .optional()?;
        found
            .map(|id| counted(id, "build", 0, "id").map(BuildId::new))
            .transpose()
    }

    /// Returns a number above every build's, for lists that start with the newest.
    #[must_use]
    pub const fn after_all_builds() -> BuildId {
        BuildId::new(i64::MAX as u64)
    }

    fn builds(&self, sql: &str, values: impl rusqlite::Params) -> Result<Vec<Build>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let raws = statement
            .query_map(values, RawBuild::read)?
            .collect::<Result<Vec<_>, _>>()?;
        raws.into_iter().map(|raw| raw.build(&self.connection)).collect()
    }
}

fn insert_members(
    transaction: &Transaction<'_>,
    build: i64,
    members: &[BuildMember],
) -> Result<(), StoreError> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO build_member (build, position, change, head, commit_id, tree) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for (position, member) in members.iter().enumerate() {
        statement.execute(params![
            build,
            stored(position as u64),
            stored(member.change.number()),
            member.head.to_string(),
            member.commit.to_string(),
            member.tree.to_string(),
        ])?;
    }
    Ok(())
}

fn insert_checks(transaction: &Transaction<'_>, build: &Build) -> Result<(), StoreError> {
    let mut statement = transaction.prepare_cached(
        "INSERT OR REPLACE INTO check_run (build, position, name, ending, trouble, detail, duration_ms, evidence)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for (position, check) in build.checks.iter().enumerate() {
        statement.execute(params![
            stored(build.id.number()),
            stored(position as u64),
            check.name,
            check.ending.as_str(),
            trouble_of(check.ending),
            check.detail,
            i64::try_from(check.duration.as_millis()).unwrap_or(i64::MAX),
            check.evidence.join("\n"),
        ])?;
    }
    Ok(())
}

struct RawBuild {
    id: i64,
    repository: i64,
    texts: [String; 6],
    reuses: Option<i64>,
    prepared_at_ms: i64,
    started_at_ms: Option<i64>,
    ended_at_ms: Option<i64>,
    state: String,
    trouble: Option<String>,
    counts: bool,
}

const TEXTS: [&str; 6] = ["base", "candidate", "tree", "gate", "sandbox", "purpose"];

impl RawBuild {
    fn read(row: &Row<'_>) -> Result<Self, rusqlite::Error> {
        let mut texts: [String; 6] = Default::default();
        for (text, column) in texts.iter_mut().zip(TEXTS) {
            *text = row.get(column)?;
        }
        Ok(Self {
            id: row.get("id")?,
            repository: row.get("repository")?,
            texts,
            reuses: row.get("reuses")?,
            prepared_at_ms: row.get("prepared_at_ms")?,
            started_at_ms: row.get("started_at_ms")?,
            ended_at_ms: row.get("ended_at_ms")?,
            state: row.get("state")?,
            trouble: row.get("trouble")?,
            counts: row.get("counts")?,
        })
    }

    fn build(self, connection: &Connection) -> Result<Build, StoreError> {
        let number = counted(self.id, "build", 0, "id")?;
        let started_at = self.started_at_ms.map(Timestamp::from_millis);
        let state = match (self.state.as_str(), started_at) {
            ("prepared", _) => Some(BuildState::Prepared),
            ("running", Some(since)) => Some(BuildState::Running { since }),
            (word, _) => ending(word, self.trouble.as_deref()).map(BuildState::Ended),
        };
        let [base, candidate, tree, gate, sandbox, what_for] = self.texts;
        Ok(Build {
            id: BuildId::new(number),
            order: BuildOrder {
                repository: RepositoryId::new(counted(self.repository, "build", number, "repository")?),
                base: object(number, "base", &base)?,
                members: load_members(connection, self.id, number)?,
                candidate: object(number, "candidate", &candidate)?,
                tree: object(number, "tree", &tree)?,
                gate,
                sandbox,
                purpose: purpose(&what_for).ok_or_else(|| impossible(number, "purpose", &what_for))?,
                reuses: self
                    .reuses
                    .map(|id| counted(id, "build", number, "reuses").map(BuildId::new))
                    .transpose()?,
                prepared_at: Timestamp::from_millis(self.prepared_at_ms),
            },
            state: state.ok_or_else(|| impossible(number, "state", &self.state))?,
            started_at,
            ended_at: self.ended_at_ms.map(Timestamp::from_millis),
            counts: self.counts,
            checks: load_checks(connection, self.id, number)?,
        })
    }
}

fn impossible(row: u64, column: &'static str, value: &str) -> StoreError {
    StoreError::Impossible {
        table: "build",
        row,
        column,
        value: value.to_owned(),
    }
}

fn object<T: std::str::FromStr>(row: u64, column: &'static str, text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|_| impossible(row, column, text))
}

fn load_members(connection: &Connection, id: i64, number: u64) -> Result<Vec<BuildMember>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT change, head, commit_id, tree FROM build_member WHERE build = ?1 ORDER BY position",
    )?;
    let mut rows = statement.query([id])?;
    let mut members = Vec::new();
    while let Some(row) = rows.next()? {
        let texts: [String; 3] = [row.get(1)?, row.get(2)?, row.get(3)?];
        members.push(BuildMember {
            change: ChangeId::new(counted(row.get(0)?, "build_member", number, "change")?),
            head: object::<CommitId>(number, "head", &texts[0])?,
            commit: object::<CommitId>(number, "commit_id", &texts[1])?,
            tree: object::<TreeId>(number, "tree", &texts[2])?,
        });
    }
    Ok(members)
}

fn load_checks(connection: &Connection, id: i64, number: u64) -> Result<Vec<CheckRun>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT name, ending, trouble, detail, duration_ms, evidence FROM check_run WHERE build = ?1 ORDER BY position",
    )?;
    let mut rows = statement.query([id])?;
    let mut checks = Vec::new();
    while let Some(row) = rows.next()? {
        let word: String = row.get(1)?;
        let trouble: Option<String> = row.get(2)?;
        let evidence: String = row.get(5)?;
        checks.push(CheckRun {
            name: row.get(0)?,
            ending: ending(&word, trouble.as_deref()).ok_or_else(|| impossible(number, "ending", &word))?,
            detail: row.get(3)?,
            duration: Duration::from_millis(counted(row.get(4)?, "check_run", number, "duration_ms")?),
            evidence: event_log::lines(&evidence),
        });
    }
    Ok(checks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_core::id::BranchName;
    use gantry_core::queue::build::Trouble;
    use gantry_core::queue::planner::Purpose;

    fn order(purpose: Purpose) -> BuildOrder {
        let commit = CommitId::from_bytes([5; 20]);
        let tree = TreeId::from_bytes([6; 20]);
        let member = |number| BuildMember {
            change: ChangeId::new(number),
            head: commit,
            commit,
            tree,
        };
        BuildOrder {
            repository: RepositoryId::new(1),
            base: commit,
            members: vec![member(9), member(4)],
            candidate: commit,
            tree,
            gate: "g".into(),
            sandbox: "native".into(),
            purpose,
            reuses: None,
            prepared_at: Timestamp::from_millis(3),
        }
    }

    fn store() -> Store {
        let mut store = Store::in_memory().expect("opens");
        let main = BranchName::parse("main").expect("a name");
        store.insert_repository("r", "/r", &main, false).expect("inserts");
        store
    }

    fn insert(store: &mut Store, purpose: Purpose) -> Build {
        let build = store
            .insert_build(order(purpose), &[], |_| vec![])
            .expect("inserts");
        build.expect("no change was named")
    }

    #[test]
    fn a_build_reads_back_with_its_members_in_order_and_its_checks() {
        let mut store = store();
        for purpose in [Purpose::Land, Purpose::Split, Purpose::Retry, Purpose::Control] {
            let mut build = insert(&mut store, purpose);
            assert_eq!(store.load_build(build.id).expect("reads").as_ref(), Some(&build));
            let since = Timestamp::from_millis(5);
            build.state = BuildState::Running { since };
            build.started_at = Some(since);
            assert_eq!(store.save_build(&build, &[], &[]).expect("writes"), Saved::Saved);
            build.state = BuildState::Ended(Ending::Trouble(Trouble::OutOfDisk));
            build.ended_at = Some(Timestamp::from_millis(8));
            build.checks = vec![CheckRun {
                name: "test".into(),
                ending: Ending::Failed,
                detail: "exit 1".into(),
                duration: Duration::from_millis(70),
                evidence: vec!["a".into(), "b".into()],
            }];
            assert_eq!(store.save_build(&build, &[], &[]).expect("writes"), Saved::Saved);
            assert_eq!(store.load_build(build.id).expect("reads"), Some(build));
        }
    }

    #[test]
    fn a_verdict_is_never_overwritten_by_another() {
        let mut store = store();
        let mut build = insert(&mut store, Purpose::Land);
        build.state = BuildState::Ended(Ending::Failed);
        assert_eq!(store.save_build(&build, &[], &[]).expect("writes"), Saved::Saved);
        let late = Build {
            state: BuildState::Ended(Ending::Passed),
            ..build.clone()
        };
        assert_eq!(store.save_build(&late, &[], &[]).expect("answers"), Saved::Lost);
        assert_eq!(store.load_build(build.id).expect("reads"), Some(build));
    }

    #[test]
    fn only_a_build_that_ran_and_passed_on_the_same_tree_gate_and_box_is_found() {
        let mut store = store();
        let mut build = insert(&mut store, Purpose::Land);
        let find = |store: &Store, gate: &str| {
            let tree = TreeId::from_bytes([6; 20]);
            store
                .find_passed(RepositoryId::new(1), tree, gate, "native")
                .expect("reads")
        };
        assert_eq!(find(&store, "g"), None, "it has not ended");
        build.state = BuildState::Ended(Ending::Passed);
        assert_eq!(store.save_build(&build, &[], &[]).expect("writes"), Saved::Saved);
        assert_eq!(find(&store, "g"), Some(build.id));
        assert_eq!(find(&store, "another gate"), None);
    }
}
