//! Many processes and one object store, and between them a network on which every request waits for its turn.
//!
//! ```text
//!   process 0 ─┐                              ┌─ done, answered
//!   process 1 ─┼─▶ waiting ──▶ Fate ──────────┼─ done, the answer is lost, or says that it was there before
//!   process 2 ─┘  one is let go at a time     ├─ not done, and the answer is a failure
//!                                             └─ answered with a failure, and done later: `deliver`
//! ```
//!
//! Whoever drives the processes ([`crate::cast`]) says whose request is next and what becomes of it; nothing else moves.
//! What takes effect is told to a [`Witness`] in the order in which it does. The answer to a request waits for a turn of its
//! own, so that others can act between a deed and its answer, and so that a process can die there.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use backstay_store::Store;
use backstay_store::object_store::path::Path;
use backstay_store::object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, memory::InMemory,
};
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use tokio::sync::oneshot;

use crate::Chance;

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is done, and answered.
    Done,
    /// It is not done, and the answer is a failure.
    Refused,
    /// It is done, and the answer is a failure.
    AnswerLost,
    /// It is done, and the answer is that there was such an object, or none, before: a try below was lost and made again.
    Repeated,
    /// The answer is a failure, and it is done later.
    Late,
    /// It is done twice, the second time later.
    Doubled,
}

/// What a request asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    /// Create an object.
    Create,
    /// Delete one.
    Delete,
    /// Read one, or a part of it.
    Read,
    /// List names.
    List,
    /// Nothing: the process waits.
    Rest,
    /// The answer to a request that was done.
    Answer,
}

/// A request that waits.
pub struct Waiting {
    /// Whose it is.
    pub process: usize,
    /// What it asks for.
    pub verb: Verb,
    /// Of which object or prefix.
    pub path: String,
    turn: oneshot::Sender<(Fate, u64)>,
}

/// Something that took effect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Deed {
    /// An object was created, or written over.
    Put(String, Bytes),
    /// An object was deleted.
    Deleted(String),
}

/// Is told of every deed at once.
pub type Witness = dyn FnMut(&Deed) + Send;

/// A request on its way after its answer.
enum Straggler {
    Create(String, Bytes),
    Delete(String),
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, (Bytes, u64)>,
    now: u64,
    waiting: Vec<Waiting>,
    stragglers: Vec<Straggler>,
    witness: Option<Box<Witness>>,
    overwrites: bool,
}

impl State {
    /// Creates, unless there is such an object.
    fn create(&mut self, path: &str, bytes: &Bytes) -> bool {
        if self.objects.contains_key(path) && !self.overwrites {
            return false;
        }
        self.objects.insert(path.to_owned(), (bytes.clone(), self.now));
        self.tell(&Deed::Put(path.to_owned(), bytes.clone()));
        true
    }

    fn delete(&mut self, path: &str) -> bool {
        let there = self.objects.remove(path).is_some();
        if there {
            self.tell(&Deed::Deleted(path.to_owned()));
        }
        there
    }

    fn tell(&mut self, deed: &Deed) {
        if let Some(witness) = &mut self.witness {
            witness(deed);
        }
    }

    fn under(&self, prefix: &str) -> BTreeMap<String, (usize, u64)> {
        let inside = self.objects.iter().filter(|(path, _)| path.starts_with(prefix));
        inside.map(|(path, (bytes, at))| (path.clone(), (bytes.len(), *at))).collect()
    }
}

/// One store and the network around it. Clones share everything.
#[derive(Clone, Default)]
pub struct Wire(Arc<Mutex<State>>);

impl Wire {
    /// An empty store.
    pub fn new() -> Wire {
        Wire::default()
    }

    /// A store that breaks its promise: a create writes over what is there.
    pub fn that_overwrites() -> Wire {
        let wire = Wire::default();
        wire.state().overwrites = true;
        wire
    }

    /// The store as `process` sees it: every request waits for its turn.
    pub fn store(&self, process: usize) -> Store {
        Store::from_object_store(Arc::new(End { wire: self.clone(), process: Some(process) }))
    }

    /// The store without the network.
    pub fn sound(&self) -> Store {
        Store::from_object_store(Arc::new(End { wire: self.clone(), process: None }))
    }

    /// Who is told of every deed from now on.
    pub fn watch(&self, witness: Box<Witness>) {
        self.state().witness = Some(witness);
    }

    /// Sets the clock by which objects are dated, in seconds since the Unix epoch.
    pub fn set_clock(&self, unix: u64) {
        self.state().now = unix;
    }

    /// Waits for a turn, and asks for nothing.
    pub async fn rest(&self, process: usize) {
        self.turn(process, Verb::Rest, "").await;
    }

    /// Who waits for what, in the order in which they began to.
    pub fn waiting(&self) -> Vec<(usize, Verb, String)> {
        self.state().waiting.iter().map(|one| (one.process, one.verb, one.path.clone())).collect()
    }

    /// Whether a process waits for a turn.
    pub fn waits(&self, process: usize) -> bool {
        self.state().waiting.iter().any(|one| one.process == process)
    }

    /// Lets the request at this place among those that wait go, and says what becomes of it. `seed` decides what a listing
    /// shows of what happens while it is made.
    pub fn let_go(&self, place: usize, fate: Fate, seed: u64) {
        let waiting = self.state().waiting.remove(place);
        // Nobody hears it whose process has died.
        let _ = waiting.turn.send((fate, seed));
    }

    /// Forgets what a process that has died waits for. What it sent before may still arrive.
    pub fn forget(&self, process: usize) {
        self.state().waiting.retain(|one| one.process != process);
    }

    /// How many requests are still on their way after their answer.
    pub fn stragglers(&self) -> usize {
        self.state().stragglers.len()
    }

    /// Lets one of those arrive.
    pub fn deliver(&self, place: usize) {
        let mut state = self.state();
        match state.stragglers.remove(place) {
            Straggler::Create(path, bytes) => drop(state.create(&path, &bytes)),
            Straggler::Delete(path) => drop(state.delete(&path)),
        }
    }

    /// Takes an object away, as a stranger or a rule of the bucket would. The witness is not told.
    pub fn erase(&self, path: &str) -> Option<Bytes> {
        self.state().objects.remove(path).map(|(bytes, _)| bytes)
    }

    /// Puts an object back where it was. The witness is not told.
    pub fn put_back(&self, path: &str, bytes: Bytes) {
        let mut state = self.state();
        let now = state.now;
        state.objects.insert(path.to_owned(), (bytes, now));
    }

    /// Whether an object is there.
    pub fn holds(&self, path: &str) -> bool {
        self.state().objects.contains_key(path)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn turn(&self, process: usize, verb: Verb, path: &str) -> (Fate, u64) {
        let (turn, mine) = oneshot::channel();
        self.state().waiting.push(Waiting { process, verb, path: path.to_owned(), turn });
        match mine.await {
            Ok(turn) => turn,
            // Its process is dead: it waits for ever, and is dropped.
            Err(_) => std::future::pending().await,
        }
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a simulated network")
    }
}

/// One process's end of the network; none stands outside of it.
#[derive(Clone, Debug)]
struct End {
    wire: Wire,
    process: Option<usize>,
}

fn failure() -> Error {
    Error::Generic { store: "wire", source: "the connection was lost".into() }
}

impl End {
    /// Waits for a turn; the fate of a request that is sent outside of the network is known.
    async fn turn(&self, verb: Verb, path: &str) -> (Fate, u64) {
        match self.process {
            Some(process) => self.wire.turn(process, verb, path).await,
            None => (Fate::Done, 0),
        }
    }

    async fn answer(&self, path: &str) {
        self.turn(Verb::Answer, path).await;
    }

    /// Carries a write out as its fate says; the answer is what the deed said, twice.
    async fn write(
        &self,
        verb: Verb,
        path: &str,
        deed: impl Fn(&mut State) -> bool,
        straggler: impl FnOnce() -> Straggler,
    ) -> Result<bool> {
        let (fate, _) = self.turn(verb, path).await;
        let done = {
            let mut state = self.wire.state();
            match fate {
                Fate::Done | Fate::AnswerLost => deed(&mut state),
                Fate::Repeated => {
                    deed(&mut state);
                    deed(&mut state)
                }
                Fate::Doubled => {
                    let done = deed(&mut state);
                    state.stragglers.push(straggler());
                    done
                }
                Fate::Late => {
                    state.stragglers.push(straggler());
                    false
                }
                Fate::Refused => false,
            }
        };
        self.answer(path).await;
        match fate {
            Fate::Refused | Fate::AnswerLost | Fate::Late => Err(failure()),
            Fate::Done | Fate::Repeated | Fate::Doubled => Ok(done),
        }
    }

    /// What is under a prefix. Each name that came or went while the listing was made is shown or not, by chance.
    async fn names(&self, prefix: String) -> Result<Vec<ObjectMeta>> {
        let (fate, seed) = self.turn(Verb::List, &prefix).await;
        let before = self.wire.state().under(&prefix);
        self.answer(&prefix).await;
        if fate != Fate::Done {
            return Err(failure());
        }
        let after = self.wire.state().under(&prefix);
        let mut chance = Chance::new(seed);
        let mut names: BTreeMap<&String, &(usize, u64)> = before.iter().chain(&after).collect();
        names.retain(|name, _| before.contains_key(*name) == after.contains_key(*name) || chance.once_in(2));
        Ok(names.into_iter().map(|(name, (size, at))| meta(name, *size, *at)).collect())
    }
}

fn meta(path: &str, size: usize, at: u64) -> ObjectMeta {
    let last_modified = (UNIX_EPOCH + Duration::from_secs(at)).into();
    ObjectMeta { location: Path::from(path), last_modified, size: size as u64, e_tag: None, version: None }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a store behind a network")
    }
}

#[async_trait]
impl ObjectStore for End {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if opts.mode != PutMode::Create {
            return Err(Error::NotImplemented {
                operation: "writing over an object".into(),
                implementer: "wire".into(),
            });
        }
        let (path, bytes) = (location.to_string(), Bytes::from(payload));
        let late = || Straggler::Create(path.clone(), bytes.clone());
        match self.write(Verb::Create, &path, |state| state.create(&path, &bytes), late).await? {
            true => Ok(PutResult { e_tag: None, version: None, extensions: Default::default() }),
            false => Err(Error::AlreadyExists { path, source: "there is such an object".into() }),
        }
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(Error::NotImplemented { operation: "uploads in parts".into(), implementer: "wire".into() })
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let path = location.to_string();
        let (fate, _) = self.turn(Verb::Read, &path).await;
        let found = self.wire.state().objects.get(&path).cloned();
        if fate != Fate::Done {
            return Err(failure());
        }
        // How a part of an object is asked for and answered is the library's.
        let library = InMemory::new();
        if let Some((bytes, _)) = found {
            library.put_opts(location, bytes.into(), PutOptions::default()).await?;
        }
        library.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let whole = self.get_opts(location, GetOptions::default()).await?.bytes().await?;
        let part = |range: &Range<u64>| {
            let (from, to) = (usize::try_from(range.start).ok()?, usize::try_from(range.end).ok()?);
            whole.get(from..to.min(whole.len())).map(|part| whole.slice_ref(part))
        };
        ranges.iter().map(|range| part(range).ok_or_else(failure)).collect()
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        let delete = move |location: Path| {
            let this = this.clone();
            async move {
                let path = location.to_string();
                let late = || Straggler::Delete(path.clone());
                this.write(Verb::Delete, &path, |state| state.delete(&path), late).await?;
                Ok(location)
            }
        };
        locations.and_then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (this, prefix) = (self.clone(), prefix.map(|prefix| format!("{prefix}/")).unwrap_or_default());
        let names = async move { this.names(prefix).await.map(|names| stream::iter(names.into_iter().map(Ok))) };
        stream::once(names).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(Error::NotImplemented { operation: "listing folders".into(), implementer: "wire".into() })
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(Error::NotImplemented { operation: "copying".into(), implementer: "wire".into() })
    }
}
