//! The recorded facts: appended in the transaction that makes them true, read by sequence number.

use gantry_core::event::{Fact, FactKind};
use gantry_core::id::{BuildId, ChangeId, RepositoryId};
use gantry_core::time::Timestamp;
use rusqlite::{Transaction, params};

use crate::row::{counted, stored};
use crate::{Store, StoreError};

/// A fact with its place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Counts up from 1, without reuse; gaps may occur.
    pub sequence: u64,
    /// The fact.
    pub fact: Fact,
}

pub(crate) fn append(transaction: &Transaction<'_>, facts: &[Fact]) -> Result<(), StoreError> {
    let mut statement = transaction
        .prepare_cached("INSERT INTO event (at_ms, kind, repository, change, build, text, evidence) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
    for fact in facts {
        statement.execute(params![
            fact.at.as_millis(),
            fact.kind.as_str(),
            stored(fact.repository.number()),
            fact.change.map(|id| stored(id.number())),
            fact.build.map(|id| stored(id.number())),
            fact.text,
            fact.evidence.join("\n"),
        ])?;
    }
    Ok(())
}

impl Store {
    /// Returns the facts after a sequence number; 0 reads from the start.
    ///
    /// Shape: oldest first, at most `most`. Errors: [`StoreError::Impossible`] for a row no gantry wrote,
    /// [`StoreError::Sqlite`].
    pub fn load_facts_after(&self, sequence: u64, most: u32) -> Result<Vec<Recorded>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT sequence, at_ms, kind, repository, change, build, text, evidence FROM event
             WHERE sequence > ?1 ORDER BY sequence LIMIT ?2",
        )?;
        read_all(&mut statement.query(params![stored(sequence), most])?)
    }

    /// Returns the facts about one change.
    ///
    /// Shape: oldest first, the newest `most` of them. Errors: as [`Store::load_facts_after`].
    pub fn load_facts_of(&self, change: ChangeId, most: u32) -> Result<Vec<Recorded>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT sequence, at_ms, kind, repository, change, build, text, evidence FROM event
             WHERE change = ?1 ORDER BY sequence DESC LIMIT ?2",
        )?;
        let mut facts = read_all(&mut statement.query(params![stored(change.number()), most])?)?;
        facts.reverse();
        Ok(facts)
    }

    /// Returns the sequence number of the last fact, 0 if there is none.
    ///
    /// Errors: [`StoreError::Sqlite`].
    pub fn last_fact(&self) -> Result<u64, StoreError> {
        let last: i64 =
            self.connection
                .query_row("SELECT coalesce(max(sequence), 0) FROM event", [], |row| {
                    row.get(0)
                })?;
        number(last, 0, "sequence")
    }
}

fn read_all(rows: &mut rusqlite::Rows<'_>) -> Result<Vec<Recorded>, StoreError> {
    let mut facts = Vec::new();
    while let Some(row) = rows.next()? {
        let sequence = number(row.get(0)?, 0, "sequence")?;
        let kind: String = row.get(2)?;
        let change: Option<i64> = row.get(4)?;
        let build: Option<i64> = row.get(5)?;
        let evidence: String = row.get(7)?;
        facts.push(Recorded {
            sequence,
            fact: Fact {
                at: Timestamp::from_millis(row.get(1)?),
                kind: FactKind::parse(&kind).ok_or_else(|| StoreError::Impossible {
                    table: "event",
                    row: sequence,
                    column: "kind",
                    value: kind,
                })?,
                repository: RepositoryId::new(number(row.get(3)?, sequence, "repository")?),
                change: change
                    .map(|n| number(n, sequence, "change"))
                    .transpose()?
                    .map(ChangeId::new),
                build: build
                    .map(|n| number(n, sequence, "build"))
                    .transpose()?
                    .map(BuildId::new),
                text: row.get(6)?,
                evidence: lines(&evidence),
            },
        });
    }
    Ok(facts)
}

/// Splits lines that were joined for storage; nothing stored is no line.
pub(crate) fn lines(text: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    text.split('\n').map(str::to_owned).collect()
}

fn number(value: i64, row: u64, column: &'static str) -> Result<u64, StoreError> {
    counted(value, "event", row, column)
}
