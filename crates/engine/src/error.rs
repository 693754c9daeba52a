//! What can go wrong in a verb; each variant is a decision for the caller.

use backstay_model::Tick;

use crate::restore::{Refusal, sentences};

/// The result of a verb.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database failed or refused.
    #[error(transparent)]
    Source(#[from] backstay_source::Error),
    /// The archive failed or refused.
    #[error(transparent)]
    Archive(#[from] backstay_archive::Error),
    /// There is nothing to follow on from.
    #[error("nothing of `{source_name}` has been backed up yet")]
    NoBase {
        /// The source's name.
        source_name: String,
    },
    /// The feed says at an instant that records change, and not how, time and again while the source is scanned.
    #[error("the change feed cannot be followed past {at}: {cause}")]
    Unfollowable {
        /// The instant.
        at: Tick,
        /// What stands there.
        cause: String,
    },
    /// Nothing in the archive is what was asked for.
    #[error("{0}")]
    NothingSelected(String),
    /// Namespaces cannot be restored under the names that were given.
    #[error("{why}")]
    WrongNames {
        /// What is wrong.
        why: String,
        /// What to give instead.
        instead: String,
    },
    /// Records changed while they were being restored, or others hold their unique values, and the policy is to stop.
    #[error("{count} records of {namespace} could not be written as planned; the first is {first}: {why}")]
    Conflict {
        /// The namespace's name in the target.
        namespace: String,
        /// How many writes did not take effect.
        count: usize,
        /// The id of the first.
        first: String,
        /// Why it did not.
        why: String,
    },
    /// Something of what would be written would be refused, and the policy is to stop. Nothing was written.
    #[error("nothing was written, because not all of it would be accepted today: {}", sentences(refusals))]
    Refused {
        /// What would be refused, and by what.
        refusals: Vec<Refusal>,
        /// True when the same can be written under other names instead.
        elsewhere: bool,
    },
    /// A restore that cannot be taken back.
    #[error("the restore {run} cannot be taken back: {why}")]
    NotUndoable {
        /// Its id.
        run: String,
        /// Why not.
        why: String,
    },
    /// What a restore wrote was changed since, and the policy is to stop. Nothing was written.
    #[error(
        "somebody changed since what the restore wrote, in {count} places; the first is {}{namespace}: {why}",
        if first.is_empty() { String::new() } else { format!("{first} of ") }
    )]
    ChangedSince {
        /// How many records and namespaces.
        count: u64,
        /// The namespace of the first.
        namespace: String,
        /// The id of the first; empty when it is the namespace itself.
        first: String,
        /// What became of it.
        why: String,
    },
    /// The target does not hold what was restored.
    #[error("the target's content differs from the archive's as of {at}")]
    NotProved {
        /// The instant.
        at: Tick,
    },
    /// The keys of a tenant that was named were destroyed.
    #[error("the keys of tenant {tenant} were shredded: nothing of it can be restored")]
    Shredded {
        /// The tenant.
        tenant: String,
    },
    /// A run's journal cannot be read.
    #[error("{object}: {why}")]
    Journal {
        /// The object.
        object: String,
        /// What is wrong.
        why: String,
    },
    /// The caller asked to stop. What was committed stays.
    #[error("cancelled")]
    Cancelled,
}
