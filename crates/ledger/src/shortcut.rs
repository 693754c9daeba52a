//! Finding the newest checkpoint that is sound, and making new ones.
//!
//! ```text
//!   list, newest first ──► get ──► parse, authenticate, open ──► is its commit there, with the hash it names? ──► state
//!                           │            │                              │
//!                           └── not so: the next older one ◄────────────┘  no: that is damage to the chain, and an error
//! ```

use backstay_seal::DataKey;
use backstay_store::Store;

use crate::Chance;
use crate::append::draw;
use crate::chain::{Chain, Writer, fetch};
use crate::checkpoint::{self, Checkpoint};
use crate::commit::Id;
use crate::error::{Error, Result};
use crate::path::{checkpoint_path, checkpoint_prefix, commit_path, parse_checkpoint};
use crate::state::VaultState;

/// How many checkpoints are listed. If all of these are damaged, the chain is read from the start.
const CANDIDATES: usize = 16;

/// The state of the newest sound checkpoint above the head of `known`.
pub(crate) async fn newest(
    store: &Store,
    name: &str,
    known: &VaultState,
    key: &DataKey,
    trusted: &[u8; 32],
) -> Result<Option<VaultState>> {
    let listed = store.list_first(&checkpoint_prefix(name), CANDIDATES).await?;
    let seqs = listed.iter().filter_map(|object| parse_checkpoint(name, &object.path));
    for seq in seqs.take_while(|seq| *seq > known.head().seq) {
        let object = checkpoint_path(name, seq);
        match open(store, name, known.vault(), seq, key, trusted).await {
            Ok(state) => {
                holds(store, name, &state, trusted).await?;
                return Ok(Some(state));
            }
            Err(error) => tracing::warn!(object, %error, "a checkpoint cannot be used; taking an older one"),
        }
    }
    Ok(None)
}

pub(crate) async fn open(
    store: &Store,
    name: &str,
    vault: Id,
    seq: u64,
    key: &DataKey,
    trusted: &[u8; 32],
) -> Result<VaultState> {
    let object = checkpoint_path(name, seq);
    let bytes = store.get(&object).await?;
    Checkpoint::parse(&object, &bytes, (name, Some(vault), seq), trusted)?.open(&object, key)
}

/// The chain must still have the commit that the checkpoint was made of: else it was cut off, or has another history.
async fn holds(store: &Store, name: &str, state: &VaultState, trusted: &[u8; 32]) -> Result<()> {
    let head = state.head();
    let object = commit_path(name, head.seq);
    let commit = fetch(store, &object).await?;
    if commit.hash == head.hash {
        return Ok(());
    }
    commit.authenticate(&object, trusted)?;
    let why = format!("it was replaced: {} was made of other content", checkpoint_path(name, head.seq));
    Err(Error::Corrupt { object, why })
}

impl Chain<Writer> {
    /// Makes the checkpoint of the newest commit, when one is due. Failing costs the next reader time and nothing else,
    /// so it is not an error of whoever committed.
    pub(crate) async fn checkpoint(&self, chance: &mut Chance<'_>) {
        if !checkpoint::is_due(&self.state) {
            return;
        }
        let object = checkpoint_path(&self.name, self.state.head().seq);
        let random = (self.mode.id, draw(chance), draw(chance));
        let made = match checkpoint::encode(&self.state, &self.name, random, &self.key, &self.mode.signer) {
            Ok(bytes) => self.store.create(&object, bytes).await.map_err(Error::from),
            Err(error) => Err(error),
        };
        if let Err(error) = made {
            tracing::warn!(object, %error, "no checkpoint was made; the next one will do");
        }
    }
}
