//! The vault of one source: its chain, its segments, its keys. Cheap to clone; all handles share one chain.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use backstay_ledger::{
    Chain, Draft, Fact, Head, SegmentInfo, Shape, VaultState, Writer, commit_path, first_id, new_id, next_id,
};
use backstay_model::{Coverage, EntryBatch, Interpreter, Tick, World};
use backstay_seal::{DataKey, KeyKind};
use backstay_segment::{FORMAT, Header, TailWriter};
use backstay_store::Store;
use bytes::Bytes;
use tokio::sync::Mutex;

use crate::anchor::{Anchors, PACE_MS, hash_text};
use crate::claim::Claims;
use crate::keys::Keys;
use crate::run::Run;
use crate::snapshot::{Ahead, RunRef};
use crate::{Error, Limits, Repository, Result, Snapshot};
use backstay_model::hex;

/// How many opened runs are kept at hand.
const RUNS_AT_HAND: usize = 12;

/// The compression of everything that is written. Measured on order documents: level 1 keeps up with a scan on half a
/// core, level 3 stores 12 % less for twice the time.
pub(crate) const LEVEL: i32 = 1;

/// What all handles of a vault share.
pub(crate) struct Inner {
    repository: Repository,
    name: String,
    id: [u8; 16],
    vault_key: Arc<DataKey>,
    pub keys: Keys,
    chain: Mutex<Chain<Writer>>,
    /// Where the newest commit is noted; empty until the chain has been found to hold what is noted there.
    anchors: OnceLock<Anchors>,
    /// When it was noted last.
    anchored_ms: AtomicU64,
    /// The number of the newest commit that was seen.
    seen: AtomicU64,
    runs: Mutex<Vec<([u8; 16], Arc<Run>)>>,
}

impl Inner {
    pub fn store(&self) -> &Store {
        &self.repository.store
    }

    pub fn world(&self) -> &dyn World {
        self.repository.world.as_ref()
    }

    pub fn scratch(&self) -> &std::path::Path {
        &self.repository.scratch
    }

    pub fn limits(&self) -> &Limits {
        &self.repository.limits
    }

    pub fn vault_key(&self) -> &DataKey {
        &self.vault_key
    }

    pub fn segment_path(&self, id: &[u8; 16]) -> String {
        format!("{}{}", self.segment_prefix(), hex(id))
    }

    pub fn segment_prefix(&self) -> String {
        format!("vaults/{}/segments/", self.name)
    }

    /// The header of a new segment: fresh id, which tells when it was begun, and fresh salt.
    pub fn new_header(&self, shape: backstay_segment::Shape) -> Header {
        self.header_with(shape, new_id)
    }

    fn header_with(&self, shape: backstay_segment::Shape, id: impl FnOnce(u64, [u8; 10]) -> [u8; 16]) -> Header {
        let world = self.world();
        let mut random = [0; 10];
        world.fill(&mut random);
        let segment = id(self.seen.load(Ordering::SeqCst), random);
        Header { format: FORMAT, shape, vault: self.id, segment, salt: world.salt() }
    }

    fn saw(&self, state: &VaultState) {
        self.seen.fetch_max(state.head().seq, Ordering::SeqCst);
    }

    /// Reads a whole segment and checks its length against the ledger.
    pub async fn read_whole(&self, info: &SegmentInfo) -> Result<Bytes> {
        let path = self.segment_path(&info.id);
        let file = self.store().get(&path).await?;
        if file.len() as u64 != info.bytes {
            let why = format!("it has {} bytes, the ledger says {}", file.len(), info.bytes);
            return Err(Error::Damaged { object: path, why });
        }
        Ok(file)
    }

    /// Opens a run, or takes it from those at hand.
    pub async fn open_run(&self, reference: &RunRef) -> Result<Arc<Run>> {
        let id = reference.info.id;
        let mut runs = self.runs.lock().await;
        if let Some(at) = runs.iter().position(|(known, _)| *known == id) {
            let entry = runs.remove(at);
            let run = Arc::clone(&entry.1);
            runs.push(entry);
            return Ok(run);
        }
        drop(runs);
        let opened = Run::open(&reference.store, reference.path.clone(), &reference.info, &self.vault_key).await?;
        let run = Arc::new(opened);
        runs = self.runs.lock().await;
        if runs.len() >= RUNS_AT_HAND {
            runs.remove(0);
        }
        runs.push((id, Arc::clone(&run)));
        Ok(run)
    }
}

impl Inner {
    /// Notes the newest commit that was seen. The archive is whole without that, so a failure is only told of.
    fn anchor(&self, head: Head) {
        let Some(anchors) = self.anchors.get() else { return };
        if let Err(error) = anchors.raise(&self.id, &self.name, head) {
            let file = anchors.path().display();
            tracing::warn!(%error, %file, "the newest commit cannot be noted; a chain that is cut short may go unseen");
        }
    }

    /// The same, unless that was done a short while ago.
    fn anchor_now_and_then(&self, head: Head) {
        let now = self.world().elapsed_ms();
        if now.saturating_sub(self.anchored_ms.load(Ordering::SeqCst)) >= PACE_MS {
            self.anchored_ms.store(now, Ordering::SeqCst);
            self.anchor(head);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let head = self.chain.get_mut().state().head();
        self.anchor(head);
    }
}

/// The vault of one source.
#[derive(Clone)]
pub struct Vault {
    pub(crate) inner: Arc<Inner>,
    /// What this handle and its clones have claimed.
    pub(crate) claims: Arc<Claims>,
}

impl Vault {
    pub(crate) async fn open(repository: &Repository, name: &str) -> Result<Vault> {
        let store = repository.store.clone();
        let key_error = |source| Error::Key { object: format!("the vault of `{name}`"), source };
        let trusted = repository.keyring.verifying_key().map_err(key_error)?;
        let id = match Chain::identify(&store, name, &trusted).await {
            Ok(id) => id,
            Err(backstay_ledger::Error::Missing { object }) => {
                let others = store.list(&backstay_ledger::chain_prefix(name)).await?;
                return Err(match others.is_empty() {
                    true => Error::NoVault { name: name.to_owned() },
                    false => Error::Missing { object },
                });
            }
            Err(error) => return Err(error.into()),
        };
        // Asking for a key that is not there would make one, which opens nothing.
        let entries = repository.keyring.entries().map_err(key_error)?;
        if !entries.iter().any(|entry| entry.kind == KeyKind::Vault && entry.vault == Some(id)) {
            return Err(key_error(backstay_seal::Error::NoKey { what: "key of this vault".to_owned() }));
        }
        let vault_key = repository.keyring.vault_key(id, repository.world.now()).map_err(key_error)?;
        let vault_key = Arc::new(vault_key);
        let chain = Chain::load(store, name, Arc::clone(&vault_key), trusted).await?;
        let chain = chain.into_writer(writer(repository, name)?)?;
        let vault = Vault::with(repository, name, id, vault_key, chain);
        vault.check_anchor().await?;
        Ok(vault)
    }

    /// Refuses a chain that has not got the newest commit that this machine has seen of it.
    async fn check_anchor(&self) -> Result<()> {
        let Some(anchors) = Anchors::beside(&self.inner.repository.keyring) else { return Ok(()) };
        let Some((seq, hash)) = anchors.of(&self.inner.id)? else {
            self.inner.anchors.get_or_init(|| anchors);
            return Ok(());
        };
        let head = self.state().await.head();
        let cut = |why: String| {
            let (name, file) = (self.name().to_owned(), anchors.path().display().to_string());
            Err(Error::Cut { name, object: commit_path(self.name(), seq), why, file })
        };
        if head.seq < seq {
            return cut(format!("it ends at commit {}, and commit {seq} has been seen on this machine", head.seq));
        }
        let found = match head.seq == seq {
            true => head.hash,
            false => blake3::hash(&self.inner.store().get(&commit_path(self.name(), seq)).await?).into(),
        };
        if hash_text(&found) != hash {
            return cut(format!("commit {seq} is another one than has been seen on this machine"));
        }
        self.inner.anchors.get_or_init(|| anchors);
        Ok(())
    }

    pub(crate) async fn open_or_create(
        repository: &Repository,
        name: &str,
        kind: &str,
        (identity, stand_in): (&str, Option<&str>),
    ) -> Result<Vault> {
        let vault = match Vault::open(repository, name).await {
            Err(Error::NoVault { .. }) => Vault::create(repository, name, kind, identity).await,
            other => other,
        }?;
        let known = vault.state().await.source().clone();
        if known.kind != kind {
            return Err(Error::OtherSource {
                name: name.to_owned(),
                expected: format!("{} {}", known.kind, known.identity),
                found: format!("{kind} {identity}"),
            });
        }
        vault.check_source(identity, stand_in).await?;
        Ok(vault)
    }

    /// [`Error::OtherSource`] when the source at hand, which goes by `identity`, is not the one that this is the vault of.
    /// `stand_in` is what stands for the identity where it cannot be seen, and then they are the same: so the vault may know it
    /// by either. [`Error::Unidentified`] when the vault knows its identity, and nobody can see that of what is there.
    pub async fn check_source(&self, identity: &str, stand_in: Option<&str>) -> Result<()> {
        let state = self.state().await;
        let known = state.source();
        if known.identity == identity || Some(known.identity.as_str()) == stand_in {
            return Ok(());
        }
        let (name, expected) = (known.name.clone(), format!("{} {}", known.kind, known.identity));
        let found = format!("{} {identity}", known.kind);
        Err(match stand_in == Some(identity) {
            true => Error::Unidentified { name, expected, found },
            false => Error::OtherSource { name, expected, found },
        })
    }

    /// Records that the source, which the vault knows by `stand_in`, goes by `identity`: to be said where its changes go on from
    /// those that are held, since another source may have the same stand-in. A vault that knows its source by anything else
    /// stays as it is.
    pub async fn identify(&self, identity: &str, stand_in: Option<&str>) -> Result<()> {
        let is_news = |state: &VaultState| {
            let known = Some(state.source().identity.as_str());
            known == stand_in && known != Some(identity)
        };
        if !is_news(&*self.state().await) {
            return Ok(());
        }
        let fact = Fact::Identified { identity: identity.to_owned() };
        self.commit(|state| Ok(if is_news(state) { vec![fact.clone()] } else { Vec::new() })).await
    }

    async fn create(repository: &Repository, name: &str, kind: &str, identity: &str) -> Result<Vault> {
        let world = &repository.world;
        let id = world.id();
        let key_error = |source| Error::Key { object: format!("the vault of `{name}`"), source };
        let vault_key = Arc::new(repository.keyring.vault_key(id, world.now()).map_err(key_error)?);
        let opened = Fact::Opened { name: name.to_owned(), kind: kind.to_owned(), identity: identity.to_owned() };
        let created = Chain::create(
            repository.store.clone(),
            name,
            id,
            Arc::clone(&vault_key),
            writer(repository, name)?,
            Draft::from(vec![opened]),
            world.now(),
            &mut |bytes| world.fill(bytes),
        )
        .await;
        match created {
            Ok(chain) => {
                let vault = Vault::with(repository, name, id, vault_key, chain);
                vault.check_anchor().await?;
                Ok(vault)
            }
            Err(backstay_ledger::Error::Exists { .. }) => Vault::open(repository, name).await,
            Err(error) => Err(error.into()),
        }
    }

    fn with(repository: &Repository, name: &str, id: [u8; 16], vault_key: Arc<DataKey>, chain: Chain<Writer>) -> Vault {
        let inner = Inner {
            repository: repository.clone(),
            name: name.to_owned(),
            id,
            vault_key,
            keys: Keys::new(Arc::clone(&repository.keyring), id),
            seen: AtomicU64::new(chain.state().head().seq),
            chain: Mutex::new(chain),
            anchors: OnceLock::new(),
            anchored_ms: AtomicU64::new(repository.world.elapsed_ms()),
            runs: Mutex::default(),
        };
        Vault { inner: Arc::new(inner), claims: Arc::default() }
    }

    /// The source's name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The vault's id.
    pub fn id(&self) -> [u8; 16] {
        self.inner.id
    }

    /// The repository that it lies in.
    pub fn repository(&self) -> &Repository {
        &self.inner.repository
    }

    /// How much is held in memory at a time.
    pub fn limits(&self) -> &Limits {
        self.inner.limits()
    }

    /// The key that opens what belongs to no tenant.
    pub fn vault_key(&self) -> &DataKey {
        &self.inner.vault_key
    }

    /// The state as of the newest commit that this process has seen.
    pub async fn state(&self) -> Arc<VaultState> {
        self.inner.chain.lock().await.snapshot()
    }

    /// Reads what others have committed since, and returns the state.
    pub async fn refresh(&self) -> Result<Arc<VaultState>> {
        let mut chain = self.inner.chain.lock().await;
        chain.refresh().await?;
        self.inner.saw(chain.state());
        Ok(chain.snapshot())
    }

    /// Which instants can be restored.
    pub async fn coverage(&self) -> Coverage {
        self.state().await.coverage()
    }

    /// Commits the facts that `decide` makes of the newest state, under the claims of this handle; asked again each time
    /// another writer was first. No facts, no commit. [`Error::Fenced`] when a claim has been taken over;
    /// [`Error::Conflict`] when what the facts replace is not live any more.
    pub async fn commit(&self, mut decide: impl FnMut(&VaultState) -> Result<Vec<Fact>>) -> Result<()> {
        self.commit_facts(|state| {
            let facts = decide(state)?;
            Ok(if facts.is_empty() { facts } else { [self.under_claims(), facts].concat() })
        })
        .await
    }

    /// Commits just the facts that `decide` makes of the newest state.
    pub(crate) async fn commit_facts(&self, mut decide: impl FnMut(&VaultState) -> Result<Vec<Fact>>) -> Result<()> {
        let world = self.inner.world();
        let mut chain = self.inner.chain.lock().await;
        let done = chain
            .append_with(world.now(), &mut |bytes| world.fill(bytes), |state| decide(state).map(Draft::from))
            .await;
        self.inner.saw(chain.state());
        self.inner.anchor_now_and_then(chain.state().head());
        done.map(drop)
    }

    /// Makes sure that the state is one of the chain, for whoever acts on it otherwise than by a commit.
    pub(crate) async fn confirm(&self) -> Result<()> {
        Ok(self.inner.chain.lock().await.confirm().await?)
    }

    /// Pins the newest state with all changes up to and with `through`.
    pub async fn snapshot(&self, interpreter: Arc<dyn Interpreter>, through: Tick) -> Result<Snapshot> {
        self.forget_shredded()?;
        let state = self.refresh().await?;
        Snapshot::take(Arc::clone(&self.inner), state, interpreter, through, None).await
    }

    /// Pins `state` with all its changes and those of `ahead`, as if they had been captured. Writes nothing to the vault.
    pub async fn snapshot_ahead(
        &self,
        state: Arc<VaultState>,
        interpreter: Arc<dyn Interpreter>,
        ahead: Ahead<'_>,
    ) -> Result<Snapshot> {
        let through = ahead.through;
        Snapshot::take(Arc::clone(&self.inner), state, interpreter, through, Some(ahead)).await
    }

    /// Stores the entries of `batches` as one tail of `stream`; `None` when they hold none. The tail counts only once a
    /// commit names it.
    pub async fn write_tail(&self, stream: &str, batches: Vec<EntryBatch>) -> Result<Option<SegmentInfo>> {
        let header = self.inner.new_header(backstay_segment::Shape::Tail);
        self.write_tail_as(header, stream, batches).await
    }

    /// As [`Vault::write_tail`], for one of several tails that share a tick; `before` is the one before it. One commit must
    /// name them all, and the last must end with that tick: changes are numbered through them.
    pub async fn write_tail_part(
        &self,
        stream: &str,
        batches: Vec<EntryBatch>,
        before: Option<&SegmentInfo>,
    ) -> Result<Option<SegmentInfo>> {
        let header = self.inner.header_with(backstay_segment::Shape::Tail, |seen, random| match before {
            None => first_id(seen, random),
            Some(before) => next_id(&before.id, seen, random),
        });
        self.write_tail_as(header, stream, batches).await
    }

    async fn write_tail_as(
        &self,
        header: Header,
        stream: &str,
        batches: Vec<EntryBatch>,
    ) -> Result<Option<SegmentInfo>> {
        if batches.iter().all(EntryBatch::is_empty) {
            return Ok(None);
        }
        let inner = Arc::clone(&self.inner);
        let path = inner.segment_path(&header.segment);
        let encode = tokio::task::spawn_blocking(move || {
            let mut writer = TailWriter::new(&header, &inner.vault_key, LEVEL)?;
            // Each is let go as soon as it is in the writer.
            for batch in batches {
                for (visible, entry) in batch.iter() {
                    writer.push(visible, entry)?;
                }
            }
            let (entries, raw_bytes, span) = (writer.entries(), writer.raw_bytes(), writer.span());
            Ok((writer.finish()?, entries, raw_bytes, span))
        });
        let encoded: Result<_, backstay_segment::Error> =
            encode.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        let (file, entries, raw_bytes, span) = encoded.map_err(|error| Error::segment(&path, error))?;
        let (first, last) = span.unwrap_or((Tick::ZERO, Tick::ZERO));
        let info = SegmentInfo {
            id: header.segment,
            shape: Shape::Tail,
            bytes: file.len() as u64,
            raw_bytes,
            entries,
            first,
            last,
            hash: blake3::hash(&file).into(),
            covers: Vec::new(),
            scan: None,
            stream: Some(stream.to_owned()),
        };
        self.inner.store().create(&path, Bytes::from(file)).await?;
        Ok(Some(info))
    }

    /// Lets a shredding elsewhere take effect here: nothing is opened or sealed with such a key any more.
    pub(crate) fn forget_shredded(&self) -> Result<()> {
        let key_error = |source| Error::Key { object: format!("the vault of `{}`", self.name()), source };
        self.inner.keys.forget_shredded().map_err(key_error)
    }

    /// Forgets the keys at hand, so that a rotation or a shredding takes effect.
    pub fn forget_keys(&self) {
        self.inner.keys.forget();
    }
}

fn writer(repository: &Repository, name: &str) -> Result<Writer> {
    let key_error = |source| Error::Key { object: format!("the vault of `{name}`"), source };
    let signer = Arc::new(repository.keyring.signing_key().map_err(key_error)?);
    Ok(Writer { signer, id: repository.world.id() })
}
