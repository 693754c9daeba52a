//! What can go wrong in the archive; each variant is a decision for the caller.

use backstay_ledger::{Holder, utc};
use backstay_model::{InterpretError, Tick};

use crate::Duty;

/// The result of an operation on the archive.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no repository at this place.
    #[error("there is no repository at {place}")]
    NoRepository {
        /// Where it was looked for.
        place: String,
    },
    /// There is a repository already.
    #[error("there is a repository at {place} already")]
    RepositoryExists {
        /// Where.
        place: String,
    },
    /// Nothing of this source has been archived yet.
    #[error("the archive holds nothing of source `{name}` yet")]
    NoVault {
        /// The source's name.
        name: String,
    },
    /// The vault belongs to another deployment than the one at hand.
    #[error("the archive of `{name}` belongs to {expected}, but the source at hand is {found}")]
    OtherSource {
        /// The source's name.
        name: String,
        /// What the vault was opened for.
        expected: String,
        /// What is there now.
        found: String,
    },
    /// The source at hand does not show which one it is: whether the vault is its own cannot be told.
    #[error(
        "the archive of `{name}` belongs to {expected}, and the source at hand goes by {found}: its credentials do not \
         show which one it is"
    )]
    Unidentified {
        /// The source's name.
        name: String,
        /// What the vault belongs to.
        expected: String,
        /// What stands for the identity of what is there now.
        found: String,
    },
    /// The instant cannot be restored.
    #[error("{at} cannot be restored: {why}")]
    NotCovered {
        /// The instant asked for.
        at: Tick,
        /// Why not.
        why: String,
        /// The nearest instant before that can be.
        before: Option<Tick>,
        /// The nearest instant after that can be.
        after: Option<Tick>,
    },
    /// The records of a namespace, as of an instant, cannot be told: the source changed them in a way that it did not log.
    #[error("what {name} held at {at} cannot be told: {why}")]
    Untold {
        /// The namespace's name then.
        name: String,
        /// The instant asked for.
        at: Tick,
        /// What happened to it.
        why: String,
        /// The nearest instant before at which it can be told.
        before: Option<Tick>,
        /// The nearest instant after at which it can be told.
        after: Option<Tick>,
    },
    /// An object is damaged, missing or not what the ledger says.
    #[error("{object}: {why}")]
    Damaged {
        /// The object's path.
        object: String,
        /// What is wrong with it.
        why: String,
    },
    /// An object of the archive is missing.
    #[error("{object} is missing")]
    Missing {
        /// The object's path.
        object: String,
    },
    /// A key that is needed is not there or does not fit.
    #[error("{object}: {source}")]
    Key {
        /// What was to be opened.
        object: String,
        /// What the keyring says.
        source: backstay_seal::Error,
    },
    /// Somebody else works on the same thing.
    #[error("{0}")]
    Conflict(String),
    /// What was to be claimed is held by a process that was heard of lately.
    #[error("{duty} is held by {holder} since {}, last heard of at {}", utc(*since), utc(*seen))]
    Held {
        /// What it does.
        duty: Duty,
        /// Who holds it.
        holder: Holder,
        /// Since when, in seconds since the Unix epoch.
        since: u64,
        /// When it last committed.
        seen: u64,
        /// When it counts as gone, if nothing more is heard of it.
        lapses: u64,
    },
    /// Another process has claimed what this one did. What was committed before stays; nothing more can be.
    #[error("{duty} was taken over by {holder} at {}: this process has stopped writing", utc(*since))]
    Fenced {
        /// What it did.
        duty: Duty,
        /// Who does it now.
        holder: Holder,
        /// Since when, in seconds since the Unix epoch.
        since: u64,
    },
    /// The chain lacks commits that were seen before: its newest were cut off, or an older copy took its place.
    #[error("the chain of `{name}` was cut short: {why} ({file})")]
    Cut {
        /// The vault's name.
        name: String,
        /// The path of the commit that was seen.
        object: String,
        /// What is there instead.
        why: String,
        /// Where it is noted what was seen.
        file: String,
    },
    /// Archived bytes of the source cannot be interpreted.
    #[error("{object}: {source}")]
    Interpret {
        /// Where the bytes are.
        object: String,
        /// What the interpreter says.
        source: InterpretError,
    },
    /// Tails cannot be put off to the scratch folder to be sorted.
    #[error("the scratch folder {folder} cannot be used: {why}")]
    Scratch {
        /// The folder.
        folder: String,
        /// What it answered.
        why: String,
    },
    /// The storage failed.
    #[error(transparent)]
    Store(backstay_store::Error),
    /// The ledger refused or is damaged.
    #[error(transparent)]
    Ledger(backstay_ledger::Error),
}

impl From<backstay_store::Error> for Error {
    fn from(error: backstay_store::Error) -> Error {
        match error {
            backstay_store::Error::NotFound { path, .. } => Error::Missing { object: path },
            other => Error::Store(other),
        }
    }
}

impl From<backstay_ledger::Error> for Error {
    fn from(error: backstay_ledger::Error) -> Error {
        match error {
            backstay_ledger::Error::Store(store) => store.into(),
            backstay_ledger::Error::Missing { object } => Error::Missing { object },
            backstay_ledger::Error::Corrupt { object, why } => Error::Damaged { object, why },
            backstay_ledger::Error::Seal(source) => Error::Key { object: "the ledger".to_owned(), source },
            backstay_ledger::Error::WrongKey { object } => Error::Key { object, source: no_key("key of this vault") },
            backstay_ledger::Error::WrongSigner { vault } => {
                Error::Key { object: format!("the vault of `{vault}`"), source: no_key("signing key of this vault") }
            }
            backstay_ledger::Error::Fenced { stream, by } => {
                Error::Fenced { duty: Duty::of(&stream), holder: by.holder.clone(), since: by.since }
            }
            error @ (backstay_ledger::Error::Overtaken { .. } | backstay_ledger::Error::Conflict { .. }) => {
                Error::Conflict(error.to_string())
            }
            other => Error::Ledger(other),
        }
    }
}

fn no_key(what: &str) -> backstay_seal::Error {
    backstay_seal::Error::NoKey { what: format!("{what}; it may belong to another installation") }
}

impl Error {
    /// What a segment's decoder found wrong in `object`.
    pub(crate) fn segment(object: &str, error: backstay_segment::Error) -> Error {
        match error {
            backstay_segment::Error::Sealed { source: source @ backstay_seal::Error::Tampered { .. }, part } => {
                Error::Damaged { object: object.to_owned(), why: format!("{part}: {source}") }
            }
            backstay_segment::Error::Sealed { source, .. } => Error::Key { object: object.to_owned(), source },
            other => Error::Damaged { object: object.to_owned(), why: other.to_string() },
        }
    }

    /// What the interpreter found wrong in `object`.
    pub(crate) fn interpret(object: &str, source: InterpretError) -> Error {
        Error::Interpret { object: object.to_owned(), source }
    }
}
