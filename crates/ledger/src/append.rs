//! Writing a chain: one create-if-absent per commit, at the number after the head.
//!
//! ```text
//!   draft ──► fold (conflict? fenced? nonsense?) ──► create seq = head + 1 ──┬─ made, or ours (a lost response) ──┐
//!                                                                            └─ another's ──► refresh, Overtaken   │
//!                                                   new head ◄── nothing after it but what was made upon it? ◄─────┘
//! ```
//!
//! **Winning is not enough.** On a store with versions a create succeeds over a delete marker, and a writer that slept may
//! find the name it aims for collected. Either way the chain has gone on without it, so the commits after it are still
//! there, and none was made upon this one. Every win is therefore followed by a look at what is listed after it; only
//! then is the commit acknowledged. What is found beside the chain is left where it is, as evidence.
//!
//! When the store fails otherwise, the commit may have been made. That is harmless: the next append finds it, reports
//! [`Error::Overtaken`], and whoever decides again sees its facts in the state.
//!
//! The fold, not the look, decides what a commit may say: whether the segments that it replaces are still live, whether
//! what it adds was begun above the floor, whether its claim is the newest. Every reader folds the same way.

use std::sync::Arc;

use backstay_seal::DataKey;
use backstay_store::Store;
use bytes::Bytes;

use crate::Chance;
use crate::chain::{Chain, Writer, fetch};
use crate::commit::{self, Hash, Id, Parts};
use crate::error::{Error, Result};
use crate::fact::Fact;
use crate::path::{chain_prefix, commit_path, parse_seq};
use crate::state::{Head, Moment, Refusal, VaultState};

/// The facts of a commit to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// In the order in which they are folded: segments before the frontier that they reach.
    pub facts: Vec<Fact>,
}

impl From<Vec<Fact>> for Draft {
    fn from(facts: Vec<Fact>) -> Draft {
        Draft { facts }
    }
}

impl Chain<Writer> {
    /// Makes the first commit of a new vault called `name`. `draft` begins with [`Fact::Opened`]; `vault` is the new
    /// vault's random id, for which `key` was made. [`Error::Exists`] when the name is taken.
    #[allow(clippy::too_many_arguments)]
    pub async fn create(
        store: Store,
        name: &str,
        vault: Id,
        key: Arc<DataKey>,
        writer: Writer,
        draft: Draft,
        now_unix: u64,
        chance: &mut Chance<'_>,
    ) -> Result<Chain<Writer>> {
        let exists = || Error::Exists { vault: name.to_owned() };
        // A chain whose first commit was lost must not get a new one.
        if !store.list(&chain_prefix(name)).await?.is_empty() {
            return Err(exists());
        }
        let parts = Parts {
            vault,
            seq: 0,
            prev: [0; 32],
            writer: writer.id,
            commit: draw(chance),
            salt: draw(chance),
            written_at: now_unix,
            name: Some(name),
            facts: &draft.facts,
        };
        let bytes = commit::encode(&parts, &key, &writer.signer)?;
        let head = Head { seq: 0, hash: blake3::hash(&bytes).into(), written_at: now_unix };
        let state = VaultState::open(vault, &draft.facts, head).map_err(cannot)?;
        match publish(&store, &commit_path(name, 0), &bytes).await? {
            Outcome::Made => {
                let trusted = writer.signer.public_key();
                Ok(Chain { store, name: name.to_owned(), key, trusted, state: Arc::new(state), mode: writer })
            }
            Outcome::Lost => Err(exists()),
        }
    }

    /// Commits the draft upon the state as it is, and returns the commit's number. An empty draft is not written; the
    /// answer is then the head's number.
    ///
    /// - [`Error::Overtaken`]: another writer was first; the state is refreshed, and the draft must be decided again.
    /// - [`Error::Conflict`]: a segment that the draft removes is not live, one that it adds already is or was begun below
    ///   the floor, or a stream that it claims was claimed meanwhile.
    /// - [`Error::Fenced`]: the claim under which it is made has been taken over.
    /// - [`Error::Nonsense`]: the draft contradicts the state.
    /// - [`Error::Beside`]: the commit was created, but beside the chain: what stood in its place has vanished.
    /// - [`Error::Store`]: the commit may or may not have been made; the next append tells.
    pub async fn append(&mut self, draft: Draft, now_unix: u64, chance: &mut Chance<'_>) -> Result<u64> {
        let before = self.state.head();
        if draft.facts.is_empty() {
            return Ok(before.seq);
        }
        let full = || Error::Nonsense { why: "the chain has no number left".to_owned() };
        let seq = before.seq.checked_add(1).ok_or_else(full)?;
        let parts = Parts {
            vault: self.state.vault(),
            seq,
            prev: before.hash,
            writer: self.mode.id,
            commit: draw(chance),
            salt: draw(chance),
            written_at: now_unix,
            name: None,
            facts: &draft.facts,
        };
        let bytes = commit::encode(&parts, &self.key, &self.mode.signer)?;
        Arc::make_mut(&mut self.state).check(&draft.facts, Moment { seq, written_at: now_unix }).map_err(cannot)?;

        let object = commit_path(&self.name, seq);
        match publish(&self.store, &object, &bytes).await? {
            Outcome::Made => {
                let head = Head { seq, hash: blake3::hash(&bytes).into(), written_at: now_unix };
                self.look_beyond(seq, &head.hash).await?;
                // Not before: this future may be dropped while the store is at work.
                Arc::make_mut(&mut self.state).fold(&draft.facts, head).map_err(cannot)?;
                self.checkpoint(chance).await;
                Ok(seq)
            }
            Outcome::Lost => {
                self.refresh().await?;
                tracing::debug!(object, "overtaken by another writer");
                Err(Error::Overtaken { object })
            }
        }
    }

    /// Makes sure that the newest commit that was read is one of the chain, and not one that was made in the place of another
    /// that had vanished: whoever acts on the state otherwise than by a commit upon it must ask. [`Error::Beside`].
    pub async fn confirm(&self) -> Result<()> {
        let head = self.state.head();
        self.look_beyond(head.seq, &head.hash).await
    }

    /// Makes sure that the chain goes on from the commit `seq`, if it goes on at all. What a listing shows in the midst of
    /// others' commits may have holes, so the next commit is asked for by its name.
    async fn look_beyond(&self, seq: u64, ours: &Hash) -> Result<()> {
        let object = commit_path(&self.name, seq);
        let listed = self.store.list_after(&chain_prefix(&self.name), &object).await?;
        let Some(next) = listed.iter().filter_map(|object| parse_seq(&self.name, &object.path)).min() else {
            return Ok(());
        };
        let beside = |why| Err(Error::Beside { object: object.clone(), why });
        let follower = commit_path(&self.name, seq + 1);
        match fetch(&self.store, &follower).await {
            Ok(follower) if follower.skeleton.prev == *ours => Ok(()),
            Ok(_) => beside(format!("{follower} was made upon another commit")),
            Err(Error::Missing { .. }) => {
                beside(format!("{} is there, but nothing between", commit_path(&self.name, next)))
            }
            Err(error) => Err(error),
        }
    }

    /// Appends what `decide` makes of the newest state, deciding again each time that another writer was first.
    pub async fn append_with<E: From<Error>>(
        &mut self,
        now_unix: u64,
        chance: &mut Chance<'_>,
        mut decide: impl FnMut(&VaultState) -> Result<Draft, E>,
    ) -> Result<u64, E> {
        loop {
            let draft = decide(&self.state)?;
            match self.append(draft, now_unix, chance).await {
                // Somebody else made progress, so the writers together do.
                Err(Error::Overtaken { .. }) => {}
                done => return done.map_err(E::from),
            }
        }
    }
}

enum Outcome {
    /// The object is there, with our bytes.
    Made,
    /// The object is there, with another's.
    Lost,
}

/// Creates the object, and looks before it believes that it could not.
async fn publish(store: &Store, object: &str, bytes: &Bytes) -> Result<Outcome> {
    use backstay_store::Error as Failed;
    match store.create(object, bytes.clone()).await {
        Ok(()) => Ok(Outcome::Made),
        // Taken, perhaps by our own request whose answer was lost and which was sent again below us; or no answer at all.
        Err(failed @ (Failed::AlreadyExists { .. } | Failed::Unavailable { .. })) => match store.get(object).await {
            // A commit carries a random id, so equal bytes are ours.
            Ok(found) if found == *bytes => Ok(Outcome::Made),
            Ok(_) => Ok(Outcome::Lost),
            Err(_) => Err(failed.into()),
        },
        Err(failed) => Err(failed.into()),
    }
}

fn cannot(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Conflict(why) => Error::Conflict { why },
        Refusal::Fenced { stream, by } => Error::Fenced { stream, by: Box::new(by) },
        Refusal::Nonsense(why) => Error::Nonsense { why },
    }
}

pub(crate) fn draw<const N: usize>(chance: &mut Chance<'_>) -> [u8; N] {
    let mut bytes = [0; N];
    chance(&mut bytes);
    bytes
}
