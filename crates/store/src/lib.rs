//! The only SQL of gantry. Owns the database file, its migrations and the mapping between rows and the core's
//! types; it decides nothing.

mod build;
mod change;
mod error;
mod event_log;
mod migrate;
mod repository;
mod row;

use std::path::Path;

use rusqlite::Connection;

pub use change::{NewChange, Saved};
pub use error::StoreError;
pub use event_log::Recorded;
pub use row::StateColumns;

/// The factory's database.
///
/// One writer: whoever holds the `Store` by `&mut` writes; every write is one transaction that is on the disk
/// when the call returns (`synchronous=FULL`).
#[derive(Debug)]
pub struct Store {
    connection: Connection,
}

impl Store {
    /// Opens the database, making it if it is not there, and brings it to the present schema.
    ///
    /// Errors: [`StoreError::Newer`] if a later gantry wrote it; [`StoreError::Sqlite`] for the rest.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::prepare(Connection::open(path)?)
    }

    /// Opens a database that lives in memory, for the simulation of whole days.
    ///
    /// Errors: [`StoreError::Sqlite`].
    pub fn in_memory() -> Result<Self, StoreError> {
        Self::prepare(Connection::open_in_memory()?)
    }

    /// Opens an existing database for reading, beside the one that writes.
    ///
    /// Errors: [`StoreError::Sqlite`], also if there is none.
    pub fn open_to_read(path: &Path) -> Result<Self, StoreError> {
        let connection = Connection::open_with_flags(
            path,
            rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.execute_batch("PRAGMA busy_timeout = 5000;")?;
        steady(&connection)?;
        Ok(Self { connection })
    }

    fn prepare(mut connection: Connection) -> Result<Self, StoreError> {
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
             PRAGMA busy_timeout = 5000;",
        )?;
        migrate::migrate(&mut connection)?;
        steady(&connection)?;
        Ok(Self { connection })
    }
}

/// Keeps prepared statements prepared: without this SQLite plans some of them anew for each value bound.
fn steady(connection: &Connection) -> Result<(), StoreError> {
    connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    Ok(())
}

/// More than this crate has statements.
const STATEMENTS_KEPT: usize = 64;
