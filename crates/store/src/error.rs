//! What can go wrong with the database. A lost race is not in here: it is an outcome.

/// Why the database could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite said no: disk full, corrupt file, locked for too long.
    #[error("the database refused")]
    Sqlite(#[from] rusqlite::Error),
    /// The file was written by a later gantry.
    #[error(
        "the database has schema {found}, this gantry knows up to {known}: run the newer gantry, or restore a backup"
    )]
    Newer {
        /// The schema found.
        found: i64,
        /// The last schema this program knows.
        known: i64,
    },
    /// A row that no gantry would have written.
    #[error("{table} row {row}: column {column} holds {value:?}, which cannot be")]
    Impossible {
        /// The table.
        table: &'static str,
        /// The row's key.
        row: u64,
        /// The column.
        column: &'static str,
        /// What it holds.
        value: String,
    },
}
