//! Schema steps. A step is never edited once released: a change of schema is a new step at the end.

use rusqlite::Connection;

use crate::StoreError;

const STEPS: &[&str] = &["
    CREATE TABLE change (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        version INTEGER NOT NULL,
        branch TEXT NOT NULL,
        head TEXT NOT NULL,
        title TEXT NOT NULL,
        author TEXT NOT NULL,
        priority TEXT NOT NULL,
        solo INTEGER NOT NULL,
        offered_at_ms INTEGER NOT NULL,
        state TEXT NOT NULL,
        reason TEXT,
        reason_text TEXT,
        reason_build INTEGER,
        reason_change INTEGER,
        reason_commit TEXT
    ) STRICT;
    CREATE INDEX change_alive ON change (state) WHERE state NOT IN ('landed', 'cancelled');
    CREATE TABLE change_after (
        change INTEGER NOT NULL REFERENCES change (id),
        prerequisite INTEGER NOT NULL REFERENCES change (id),
        PRIMARY KEY (change, prerequisite)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE event (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        at_ms INTEGER NOT NULL,
        kind TEXT NOT NULL,
        change INTEGER,
        build INTEGER,
        text TEXT NOT NULL
    ) STRICT;
"];

/// Runs the steps the file has not seen, all in one transaction.
pub(crate) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction()?;
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    let Some(pending) = usize::try_from(found).ok().and_then(|seen| STEPS.get(seen..)) else {
        return Err(StoreError::Newer { found, known });
    };
    for step in pending {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", known)?;
    transaction.commit()?;
    Ok(())
}
