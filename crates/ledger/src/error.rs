//! What can go wrong with a ledger. Each variant is something a caller can decide on.

use crate::claim::Claim;
use crate::text::utc;

/// The result of an operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a chain could not be read or a commit could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A commit that must be there is not: it was deleted, or the vault does not exist. Retrying cannot help.
    #[error("the commit {object} is missing")]
    Missing {
        /// The commit's path.
        object: String,
    },

    /// A commit's content is damaged, was altered, or contradicts the commits before it. Retrying cannot help.
    #[error("the commit {object} is damaged: {why}")]
    Corrupt {
        /// The commit's path.
        object: String,
        /// What is wrong with it.
        why: String,
    },

    /// A whole and signed commit that does not belong here: another key signed it, or it was copied from another place.
    #[error("the commit {object} does not belong here: {why}")]
    Foreign {
        /// The commit's path.
        object: String,
        /// Where it seems to come from.
        why: String,
    },

    /// A sound commit that the given vault key does not open.
    #[error("the vault key does not open the commit {object}; the keyring may belong to another installation")]
    WrongKey {
        /// The commit's path.
        object: String,
    },

    /// A commit that a newer program wrote.
    #[error("the commit {object} was written by a newer version: {what}")]
    Newer {
        /// The commit's path.
        object: String,
        /// What this version does not know.
        what: String,
    },

    /// A vault of this name is already there.
    #[error("the vault `{vault}` already exists")]
    Exists {
        /// The vault's name.
        vault: String,
    },

    /// The signing key is not the one that this chain is verified with.
    #[error("the signing key is not the one that the vault `{vault}` trusts")]
    WrongSigner {
        /// The vault's name.
        vault: String,
    },

    /// Another writer committed first. The state has been refreshed and is not the one the draft was made for:
    /// decide again on the new state.
    #[error("another writer made the commit {object} first")]
    Overtaken {
        /// The path of the commit that was lost.
        object: String,
    },

    /// What the draft is made from is not there any more (its inputs were replaced), or what it adds is already there.
    #[error("the commit cannot be made: {why}")]
    Conflict {
        /// Which segment, and why.
        why: String,
    },

    /// The claim under which the commit was to be made has been taken over; nothing was written. Whoever holds the stream
    /// now goes on; this process must stop.
    #[error("`{stream}` was taken over by {} at {}: this process must not write to it any more", by.holder, utc(by.since))]
    Fenced {
        /// The stream.
        stream: String,
        /// The claim that is the newest.
        by: Box<Claim>,
    },

    /// The commit was created where the chain had long gone on: what stood there was deleted, or the store hides it. The
    /// commit counts for nothing. Deciding again on a chain that is loaded anew is safe.
    #[error("the commit {object} was made beside the chain and counts for nothing: {why}")]
    Beside {
        /// The commit's path.
        object: String,
        /// How that was seen.
        why: String,
    },

    /// The draft contradicts the state; a mistake of the caller that no retry cures.
    #[error("the commit makes no sense: {why}")]
    Nonsense {
        /// What contradicts what.
        why: String,
    },

    /// The store failed. After [`Chain::append`](crate::Chain::append) the commit may or may not have been made.
    #[error(transparent)]
    Store(#[from] backstay_store::Error),

    /// The cipher library failed.
    #[error(transparent)]
    Seal(#[from] backstay_seal::Error),
}
