//! What can go wrong between Backstay and a database; each variant is a decision for the caller.

use backstay_model::{InterpretError, Tick};

/// The result of talking to a database.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong; the variant says what can be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A passing fault: a lost connection, an election. The same call may be tried again.
    #[error("{what}: {why}")]
    Unavailable {
        /// What was being done.
        what: String,
        /// What the database or the network answered.
        why: String,
    },
    /// The snapshot is no longer held by the server: take a new tick for the rest of the range.
    #[error("the server no longer holds the snapshot at {0}")]
    SnapshotTooOld(Tick),
    /// The change feed no longer reaches back to where it should be resumed: a gap.
    #[error("the change feed starts at {oldest}, after the position {wanted} to resume from")]
    RolledOver {
        /// Where the feed should have been resumed.
        wanted: Tick,
        /// The oldest position that it still holds.
        oldest: Tick,
    },
    /// The change feed cannot show what comes after a position, and goes on behind it: a gap.
    #[error("the change feed cannot be read after {after}: {why}")]
    Unshown {
        /// The last position that was read.
        after: Tick,
        /// What the database answered.
        why: String,
    },
    /// The namespace was dropped, renamed or replaced while it was read.
    #[error("{name} was dropped, renamed or replaced while it was read")]
    NamespaceChanged {
        /// Its name when the reading began.
        name: String,
    },
    /// The credentials do not allow it.
    #[error("{what}: not permitted: {why}")]
    Denied {
        /// What was being done.
        what: String,
        /// What the database answered.
        why: String,
    },
    /// The database refuses what was asked, and will refuse it again.
    #[error("{what}: {why}")]
    Refused {
        /// What was being done.
        what: String,
        /// What the database answered.
        why: String,
    },
    /// A namespace cannot be created: something else stands there under that name.
    #[error("{what}: {why}")]
    Occupied {
        /// What was being done.
        what: String,
        /// What the database answered.
        why: String,
    },
    /// What does not fit in memory cannot be put off to the scratch folder of this machine.
    #[error("{what}: {why}")]
    Scratch {
        /// What was to be put off, and where.
        what: String,
        /// Why it cannot.
        why: String,
    },
    /// The configuration of the source cannot work.
    #[error("{what}: {why}")]
    Configuration {
        /// What is configured.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The database sent bytes that cannot be understood.
    #[error(transparent)]
    Interpret(#[from] InterpretError),
}
