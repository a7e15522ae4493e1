//! Schema steps. A step is never edited once released: a change of schema is a new step at the end.

use rusqlite::Connection;

use crate::StoreError;

const STEPS: &[&str] = &["
    CREATE TABLE repository (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        path TEXT NOT NULL,
        target TEXT NOT NULL,
        served INTEGER NOT NULL,
        known_tip TEXT,
        frozen INTEGER NOT NULL,
        frozen_below TEXT,
        frozen_author TEXT,
        frozen_reason TEXT,
        frozen_at_ms INTEGER,
        UNIQUE (path, target)
    ) STRICT;
    CREATE TABLE change (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        version INTEGER NOT NULL,
        repository INTEGER NOT NULL REFERENCES repository (id),
        branch TEXT NOT NULL,
        source TEXT NOT NULL,
        head TEXT NOT NULL,
        waived TEXT,
        title TEXT NOT NULL,
        author TEXT NOT NULL,
        priority TEXT NOT NULL,
        solo INTEGER NOT NULL,
        offered_at_ms INTEGER NOT NULL,
        since_ms INTEGER NOT NULL,
        state TEXT NOT NULL,
        reason TEXT,
        reason_text TEXT,
        reason_build INTEGER,
        reason_change INTEGER,
        reason_commit TEXT
    ) STRICT;
    CREATE INDEX change_alive ON change (repository) WHERE state NOT IN ('landed', 'cancelled');
    CREATE INDEX change_repository ON change (repository);
    CREATE INDEX change_landed ON change (repository, since_ms) WHERE state = 'landed';
    CREATE TABLE change_after (
        change INTEGER NOT NULL REFERENCES change (id),
        prerequisite INTEGER NOT NULL REFERENCES change (id),
        PRIMARY KEY (change, prerequisite)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE event (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        at_ms INTEGER NOT NULL,
        kind TEXT NOT NULL,
        repository INTEGER NOT NULL,
        change INTEGER,
        build INTEGER,
        text TEXT NOT NULL,
        evidence TEXT NOT NULL
    ) STRICT;
    CREATE INDEX event_change ON event (change) WHERE change IS NOT NULL;
    CREATE TABLE build (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        repository INTEGER NOT NULL REFERENCES repository (id),
        base TEXT NOT NULL,
        candidate TEXT NOT NULL,
        tree TEXT NOT NULL,
        gate TEXT NOT NULL,
        sandbox TEXT NOT NULL,
        purpose TEXT NOT NULL,
        reuses INTEGER,
        prepared_at_ms INTEGER NOT NULL,
        started_at_ms INTEGER,
        ended_at_ms INTEGER,
        state TEXT NOT NULL,
        trouble TEXT,
        counts INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX build_counts ON build (repository) WHERE counts = 1;
    CREATE INDEX build_tree ON build (tree);
    CREATE INDEX build_recent ON build (repository, id);
    CREATE TABLE build_member (
        build INTEGER NOT NULL REFERENCES build (id),
        position INTEGER NOT NULL,
        change INTEGER NOT NULL,
        head TEXT NOT NULL,
        commit_id TEXT NOT NULL,
        tree TEXT NOT NULL,
        PRIMARY KEY (build, position)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX build_member_change ON build_member (change);
    CREATE TABLE check_run (
        build INTEGER NOT NULL REFERENCES build (id),
        position INTEGER NOT NULL,
        name TEXT NOT NULL,
        ending TEXT NOT NULL,
        trouble TEXT,
        detail TEXT NOT NULL,
        duration_ms INTEGER NOT NULL,
        evidence TEXT NOT NULL,
        PRIMARY KEY (build, position)
    ) STRICT, WITHOUT ROWID;
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
