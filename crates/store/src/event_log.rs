//! The recorded facts: appended in the transaction that makes them true, read by sequence number.

use gantry_core::event::{Fact, FactKind};
use gantry_core::id::{BuildId, ChangeId};
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
        .prepare_cached("INSERT INTO event (at_ms, kind, change, build, text) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for fact in facts {
        statement.execute(params![
            fact.at.as_millis(),
            fact.kind.as_str(),
            fact.change.map(|id| stored(id.number())),
            fact.build.map(|id| stored(id.number())),
            fact.text,
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
            "SELECT sequence, at_ms, kind, change, build, text FROM event
             WHERE sequence > ?1 ORDER BY sequence LIMIT ?2",
        )?;
        let mut rows = statement.query(params![stored(sequence), most])?;
        let mut facts = Vec::new();
        while let Some(row) = rows.next()? {
            let sequence = number(row.get(0)?, 0, "sequence")?;
            let kind: String = row.get(2)?;
            let change: Option<i64> = row.get(3)?;
            let build: Option<i64> = row.get(4)?;
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
                    change: change
                        .map(|n| number(n, sequence, "change"))
                        .transpose()?
                        .map(ChangeId::new),
                    build: build
                        .map(|n| number(n, sequence, "build"))
                        .transpose()?
                        .map(BuildId::new),
                    text: row.get(5)?,
                },
            });
        }
        Ok(facts)
    }
}

fn number(value: i64, row: u64, column: &'static str) -> Result<u64, StoreError> {
    counted(value, "event", row, column)
}
