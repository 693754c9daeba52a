//! Reading a chain: from the newest checkpoint on, every commit checked, every link checked, all facts folded.
//!
//! ```text
//!   newest checkpoint ──► state after commit c     (none that is sound: from the first commit)
//!   list after c ──► newest ──► get 32 at a time ──► parse, place, open ──► link, fold ──► VaultState
//!                                                          signature: of the newest
//! ```
//!
//! **One signature vouches for everything before it.** The newest commit is signed over the hash of the one before it, and
//! so on to the first: whoever changes any of them must find a second BLAKE3 preimage or sign anew. So loading checks
//! every hash and one signature; where something does not fit, signatures decide what to call it.
//! [`verify_chain`](crate::verify_chain) checks every signature by itself, and every commit below the checkpoints.
//!
//! A hole in the numbers is found by asking for each number up to the newest that is listed, not by trusting the list:
//! a listing made while others commit may miss one that is there.

use std::sync::Arc;

use backstay_seal::{DataKey, Signer};
use backstay_store::Store;
use futures::{StreamExt, TryStreamExt, stream};

use crate::commit::{Commit, Hash, Id};
use crate::error::{Error, Result};
use crate::fact::Fact;
use crate::path::{chain_prefix, commit_path, parse_seq};
use crate::shortcut;
use crate::state::{Head, Refusal, VaultState};
use backstay_model::hex;

/// How many commits are asked for at a time.
pub(crate) const READ_AHEAD: usize = 32;

/// How far behind a reader must be for a checkpoint to be worth looking for: two times the least distance of two.
const FAR: u64 = 512;

/// A chain that can be read.
#[derive(Clone, Copy, Debug)]
pub struct Reader;

/// What makes a chain writable: who writes, and with which key it signs.
#[derive(Clone, Debug)]
pub struct Writer {
    /// Signs the commits.
    pub signer: Arc<Signer>,
    /// The writer's id: one for each process or job, random. For people who ask later who did it.
    pub id: Id,
}

/// The chain of one vault, and its state as of the newest commit that was read.
#[derive(Debug)]
pub struct Chain<Mode = Reader> {
    pub(crate) store: Store,
    pub(crate) name: String,
    pub(crate) key: Arc<DataKey>,
    pub(crate) trusted: [u8; 32],
    pub(crate) state: Arc<VaultState>,
    pub(crate) mode: Mode,
}

impl Chain<Reader> {
    /// Reads and checks the chain of the vault called `vault`, from its newest sound checkpoint on; a damaged one is
    /// passed over. `trusted` is the public key that must have signed every commit.
    ///
    /// [`Error::Missing`] (of the first commit when there is no such vault), [`Error::Corrupt`], [`Error::Foreign`],
    /// [`Error::WrongKey`], [`Error::Newer`]: each names the commit.
    pub async fn load(store: Store, vault: &str, key: Arc<DataKey>, trusted: [u8; 32]) -> Result<Chain<Reader>> {
        let (object, first) = genesis(&store, vault, &trusted).await?;
        let facts = first.open(&object, &key)?;
        let mut state = VaultState::open(first.skeleton.vault, &facts, head_of(&first))
            .map_err(|refusal| refused(&object, &refusal))?;
        if let Some(newer) = shortcut::newest(&store, vault, &state, &key, &trusted).await? {
            state = newer;
        }
        let mut chain = Chain { store, name: vault.to_owned(), key, trusted, state: Arc::new(state), mode: Reader };
        chain.refresh().await?;
        Ok(chain)
    }

    /// The id of the vault called `vault`, from its first commit; for finding its key. [`Error::Missing`] when there is
    /// no such vault.
    pub async fn identify(store: &Store, vault: &str, trusted: &[u8; 32]) -> Result<Id> {
        let (_, first) = genesis(store, vault, trusted).await?;
        Ok(first.skeleton.vault)
    }

    /// Makes it writable. [`Error::WrongSigner`] when its commits would not be trusted.
    pub fn into_writer(self, writer: Writer) -> Result<Chain<Writer>> {
        if writer.signer.public_key() != self.trusted {
            return Err(Error::WrongSigner { vault: self.name });
        }
        let Chain { store, name, key, trusted, state, mode: Reader } = self;
        Ok(Chain { store, name, key, trusted, state, mode: writer })
    }
}

impl<Mode> Chain<Mode> {
    /// The state as of the newest commit that was read.
    pub fn state(&self) -> &VaultState {
        &self.state
    }

    /// The same, to keep: it does not move when the chain does.
    pub fn snapshot(&self) -> Arc<VaultState> {
        Arc::clone(&self.state)
    }

    /// The vault's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The store that it lies in.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The key that opens its commits.
    pub fn vault_key(&self) -> &Arc<DataKey> {
        &self.key
    }

    /// Reads the commits that are new; true when there were any. After an error the state is the one before.
    pub async fn refresh(&mut self) -> Result<bool> {
        let head = self.state.head().seq;
        let listed = self.store.list_after(&chain_prefix(&self.name), &commit_path(&self.name, head)).await?;
        let newest = listed.iter().filter_map(|object| parse_seq(&self.name, &object.path)).max();
        let Some(newest) = newest.filter(|newest| *newest > head) else { return Ok(false) };

        let shortcut = match newest - head > FAR {
            true => shortcut::newest(&self.store, &self.name, &self.state, &self.key, &self.trusted).await?,
            false => None,
        };
        let mut state = shortcut.unwrap_or_else(|| VaultState::clone(&self.state));
        let vault = state.vault();
        let mut commits = stream::iter(state.head().seq + 1..=newest)
            .map(|seq| read(&self.store, &self.name, vault, seq, &self.key, &self.trusted))
            .buffered(READ_AHEAD);
        let mut last: Option<(String, Commit)> = None;
        while let Some((object, commit, facts)) = commits.try_next().await? {
            let before = state.head();
            if commit.skeleton.prev != before.hash {
                if let Some((object, last)) = &last {
                    last.authenticate(object, &self.trusted)?;
                }
                commit.authenticate(&object, &self.trusted)?;
                return Err(replaced(&self.name, before.seq));
            }
            state.fold(&facts, head_of(&commit)).map_err(|refusal| refused(&object, &refusal))?;
            last = Some((object, commit));
        }
        drop(commits);
        if let Some((object, newest)) = last {
            newest.authenticate(&object, &self.trusted)?;
        }
        self.state = Arc::new(state);
        Ok(true)
    }
}

/// Reads commit `seq` and checks all of it but its signature and its link to the one before.
pub(crate) async fn read(
    store: &Store,
    name: &str,
    vault: Id,
    seq: u64,
    key: &DataKey,
    trusted: &[u8; 32],
) -> Result<(String, Commit, Vec<Fact>)> {
    let object = commit_path(name, seq);
    let commit = fetch(store, &object).await?;
    if commit.signer() != trusted {
        commit.authenticate(&object, trusted)?;
    }
    match check_place(&object, &commit, Some(vault), seq).and_then(|()| commit.open(&object, key)) {
        Ok(facts) => Ok((object, commit, facts)),
        Err(error) => {
            // An altered commit may look like one from elsewhere.
            commit.authenticate(&object, trusted)?;
            Err(error)
        }
    }
}

/// Reads the first commit of a vault and checks what can be checked without a key.
async fn genesis(store: &Store, name: &str, trusted: &[u8; 32]) -> Result<(String, Commit)> {
    let object = commit_path(name, 0);
    let commit = fetch(store, &object).await?;
    commit.authenticate(&object, trusted)?;
    check_place(&object, &commit, None, 0)?;
    check_genesis(&object, &commit, name)?;
    Ok((object, commit))
}

pub(crate) async fn fetch(store: &Store, object: &str) -> Result<Commit> {
    let bytes = store.get(object).await.map_err(|error| match error {
        backstay_store::Error::NotFound { .. } => Error::Missing { object: object.to_owned() },
        other => Error::Store(other),
    })?;
    Commit::parse(object, &bytes)
}

/// A sound commit is still foreign when it was made for another vault or another number.
pub(crate) fn check_place(object: &str, commit: &Commit, vault: Option<Id>, seq: u64) -> Result<()> {
    let foreign = |why| Err(Error::Foreign { object: object.to_owned(), why });
    if vault.is_some_and(|vault| vault != commit.skeleton.vault) {
        return foreign(format!("it was made for the vault with the id {}", hex(&commit.skeleton.vault)));
    }
    if commit.skeleton.seq != seq {
        return foreign(format!("it was made as commit {} of its vault", commit.skeleton.seq));
    }
    Ok(())
}

/// The first commit follows none and names the vault, so that a whole chain cannot be moved to another vault's place.
pub(crate) fn check_genesis(object: &str, commit: &Commit, name: &str) -> Result<()> {
    if commit.skeleton.prev != [0; 32] {
        return Err(Error::Corrupt { object: object.to_owned(), why: "the first commit follows another".to_owned() });
    }
    match &commit.skeleton.name {
        Some(made_for) if made_for == name => Ok(()),
        Some(other) => {
            Err(Error::Foreign { object: object.to_owned(), why: format!("it was made for the vault `{other}`") })
        }
        None => Err(Error::Corrupt { object: object.to_owned(), why: "it does not name its vault".to_owned() }),
    }
}

/// The next commit vouches for other content at `seq` than is there.
pub(crate) fn replaced(name: &str, seq: u64) -> Error {
    let why = format!("it was replaced: {} was made upon other content", commit_path(name, seq.saturating_add(1)));
    Error::Corrupt { object: commit_path(name, seq), why }
}

pub(crate) fn head_of(commit: &Commit) -> Head {
    let hash: Hash = commit.hash;
    Head { seq: commit.skeleton.seq, hash, written_at: commit.skeleton.written_at }
}

pub(crate) fn refused(object: &str, refusal: &Refusal) -> Error {
    Error::Corrupt { object: object.to_owned(), why: refusal.to_string() }
}
