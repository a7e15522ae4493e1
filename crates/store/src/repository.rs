//! Repositories: insert, read, and what is known about their targets.

use gantry_core::event::Fact;
use gantry_core::id::{BranchName, CommitId, RepositoryId};
use gantry_core::queue::change::Priority;
use gantry_core::repository::{Freeze, Repository};
use gantry_core::time::Timestamp;
use rusqlite::{Row, params};

use crate::row::{counted, stored};
use crate::{Store, StoreError, event_log};

impl Store {
    /// Stores a repository, not frozen and its target not yet looked at.
    ///
    /// Errors: [`StoreError::Sqlite`], also if the name, or the path with the same target, is there already.
    pub fn insert_repository(
        &mut self,
        name: &str,
        path: &str,
        target: &BranchName,
        served: bool,
    ) -> Result<Repository, StoreError> {
        self.connection.execute(
            "INSERT INTO repository (name, path, target, served, frozen) VALUES (?1, ?2, ?3, ?4, 0)",
            params![name, path, target.as_str(), served],
        )?;
        let number = self.connection.last_insert_rowid();
        Ok(Repository {
            id: RepositoryId::new(counted(number, "repository", 0, "id")?),
            name: name.to_owned(),
            path: path.to_owned(),
            target: target.clone(),
            served,
            known_tip: None,
            frozen: None,
        })
    }

    /// Returns every repository.
    ///
    /// Shape: oldest first. Errors: [`StoreError::Impossible`] for a row no gantry wrote, [`StoreError::Sqlite`].
    pub fn load_repositories(&self) -> Result<Vec<Repository>, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT * FROM repository ORDER BY id")?;
        let mut rows = statement.query([])?;
        let mut repositories = Vec::new();
        while let Some(row) = rows.next()? {
            repositories.push(read(row)?);
        }
        Ok(repositories)
    }

    /// Writes what may change of a repository (where its target is known to be, its freeze) with the facts.
    ///
    /// Errors: [`StoreError::Sqlite`], and nothing is written.
    pub fn save_repository(&mut self, repository: &Repository, facts: &[Fact]) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        let frozen = repository.frozen.as_ref();
        transaction.execute(
            "UPDATE repository SET known_tip = ?2, frozen = ?3, frozen_below = ?4, frozen_author = ?5,
                 frozen_reason = ?6, frozen_at_ms = ?7 WHERE id = ?1",
            params![
                stored(repository.id.number()),
                repository.known_tip.map(|tip| tip.to_string()),
                frozen.is_some(),
                frozen.and_then(|f| f.below).map(Priority::as_str),
                frozen.map(|f| &f.author),
                frozen.map(|f| &f.reason),
                frozen.map(|f| f.since.as_millis()),
            ],
        )?;
        event_log::append(&transaction, facts)?;
        transaction.commit()?;
        Ok(())
    }
}

fn read(row: &Row<'_>) -> Result<Repository, StoreError> {
    let number = counted(row.get("id")?, "repository", 0, "id")?;
    let impossible = |column, value: String| StoreError::Impossible {
        table: "repository",
        row: number,
        column,
        value,
    };
    let target: String = row.get("target")?;
    let known_tip: Option<String> = row.get("known_tip")?;
    let known_tip = known_tip
        .map(|tip| tip.parse::<CommitId>().map_err(|_| impossible("known_tip", tip)))
        .transpose()?;
    let below: Option<String> = row.get("frozen_below")?;
    let below = below
        .map(|word| Priority::parse(&word).ok_or_else(|| impossible("frozen_below", word)))
        .transpose()?;
    let missing = |column| impossible(column, "nothing".to_owned());
    let frozen = if row.get("frozen")? {
        let author: Option<String> = row.get("frozen_author")?;
        let reason: Option<String> = row.get("frozen_reason")?;
        let since: Option<i64> = row.get("frozen_at_ms")?;
        Some(Freeze {
            below,
            author: author.ok_or_else(|| missing("frozen_author"))?,
            reason: reason.ok_or_else(|| missing("frozen_reason"))?,
            since: Timestamp::from_millis(since.ok_or_else(|| missing("frozen_at_ms"))?),
        })
    } else {
        None
    };
    Ok(Repository {
        id: RepositoryId::new(number),
        name: row.get("name")?,
        path: row.get("path")?,
        target: BranchName::parse(&target).map_err(|_| impossible("target", target))?,
        served: row.get("served")?,
        known_tip,
        frozen,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freeze_survives_with_its_author_and_reason() {
        let mut store = Store::in_memory().expect("opens");
        let main = BranchName::parse("main").expect("a name");
        let mut repository = store
            .insert_repository("one", "/x", &main, true)
            .expect("inserts");
        repository.known_tip = Some(CommitId::from_bytes([3; 20]));
        repository.frozen = Some(Freeze {
            below: Some(Priority::High),
            author: "ada".into(),
            reason: "release\nday".into(),
            since: Timestamp::from_millis(9),
        });
        store.save_repository(&repository, &[]).expect("writes");
        assert_eq!(
            store.load_repositories().expect("reads"),
            vec![repository.clone()]
        );
        repository.frozen = None;
        store.save_repository(&repository, &[]).expect("writes");
        assert_eq!(store.load_repositories().expect("reads"), vec![repository]);
        assert!(
            store.insert_repository("one", "/y", &main, true).is_err(),
            "names are unique"
        );
    }
}
