//! An object store that can be told to fail.
//!
//! ```text
//!   create, delete    durable steps, numbered from 1     fail_write(n, fault), crash_after(n)
//!   get, head, list   reads, numbered from 1             fail_read(n, fault)
//! ```
//!
//! A crash stops the store dead: the first `n` durable steps have taken effect, and everything after fails until
//! [`FaultyStore::revive`], which stands for starting anew on what is there.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use backstay_store::Store;
use backstay_store::object_store::memory::InMemory;
use backstay_store::object_store::path::Path;
use backstay_store::object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nothing is done, and the answer is a passing failure.
    Unavailable,
    /// It is done, and the answer is a failure.
    LostResponse,
    /// It is done, and the answer is that the object was there before, as when a retry below meets its own first try.
    SayExists,
    /// The answer is that there is no such object.
    SayNotFound,
}

#[derive(Debug, Default)]
struct Plan {
    writes: u64,
    reads: u64,
    failing_writes: BTreeMap<u64, Fault>,
    failing_reads: BTreeMap<u64, Fault>,
    crash_after: Option<u64>,
    crashed: bool,
}

/// A store in memory, with faults on demand. Clones share everything.
#[derive(Clone, Debug, Default)]
pub struct FaultyStore {
    inner: Arc<InMemory>,
    plan: Arc<Mutex<Plan>>,
}

impl FaultyStore {
    /// An empty store without faults.
    pub fn new() -> FaultyStore {
        FaultyStore::default()
    }

    /// The store as the rest of the program sees it.
    pub fn store(&self) -> Store {
        Store::from_object_store(Arc::new(self.clone()))
    }

    /// The same objects, seen without faults.
    pub fn sound(&self) -> Store {
        Store::from_object_store(Arc::clone(&self.inner) as Arc<dyn ObjectStore>)
    }

    /// Lets the durable step number `step` from now on fail, counted from 1.
    pub fn fail_write(&self, step: u64, fault: Fault) {
        let mut plan = self.plan();
        let number = plan.writes + step;
        plan.failing_writes.insert(number, fault);
    }

    /// Lets the read number `read` from now on fail, counted from 1.
    pub fn fail_read(&self, read: u64, fault: Fault) {
        let mut plan = self.plan();
        let number = plan.reads + read;
        plan.failing_reads.insert(number, fault);
    }

    /// Lets `steps` more durable steps take effect, and then nothing any more.
    pub fn crash_after(&self, steps: u64) {
        let mut plan = self.plan();
        plan.crash_after = Some(plan.writes + steps);
        plan.crashed = steps == 0;
    }

    /// Ends the crash and all planned faults.
    pub fn revive(&self) {
        let mut plan = self.plan();
        let (writes, reads) = (plan.writes, plan.reads);
        *plan = Plan { writes, reads, ..Plan::default() };
    }

    /// True once the planned crash has happened.
    pub fn is_crashed(&self) -> bool {
        self.plan().crashed
    }

    /// How many durable steps have taken effect.
    pub fn durable_steps(&self) -> u64 {
        self.plan().writes
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, location: &Path) -> Result<()> {
        let mut plan = self.plan();
        if plan.crashed {
            return Err(failure("the store has crashed"));
        }
        plan.reads += 1;
        let number = plan.reads;
        match plan.failing_reads.remove(&number) {
            None => Ok(()),
            Some(Fault::SayNotFound) => {
                Err(Error::NotFound { path: location.to_string(), source: "it cannot be seen".into() })
            }
            Some(_) => Err(failure("the connection was lost")),
        }
    }

    /// What is to go wrong with the durable step that begins now.
    fn write(&self) -> Result<Option<Fault>> {
        let mut plan = self.plan();
        if plan.crashed {
            return Err(failure("the store has crashed"));
        }
        plan.writes += 1;
        let number = plan.writes;
        plan.crashed = plan.crash_after == Some(number);
        match plan.failing_writes.remove(&number) {
            Some(Fault::Unavailable) => {
                plan.writes -= 1;
                Err(failure("the connection was lost"))
            }
            other => Ok(other),
        }
    }
}

fn failure(why: &'static str) -> Error {
    Error::Generic { store: "faulty", source: why.into() }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a store with faults")
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let fault = self.write()?;
        let done = self.inner.put_opts(location, payload, opts).await?;
        match fault {
            None => Ok(done),
            Some(Fault::SayExists) => {
                Err(Error::AlreadyExists { path: location.to_string(), source: "by the first try".into() })
            }
            Some(_) => Err(failure("the answer was lost")),
        }
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.read(location)?;
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.read(location)?;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        let checked = locations.map(move |location| location.and_then(|path| this.write().map(|_| path)));
        self.inner.delete_stream(checked.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.read(&Path::default()) {
            Ok(()) => self.inner.list(prefix),
            Err(error) => futures::stream::iter([Err(error)]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.read(&Path::default())?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_crash_keeps_what_was_durable_and_nothing_else() {
        let faulty = FaultyStore::new();
        let store = faulty.store();
        faulty.crash_after(1);
        store.create("one", Bytes::from_static(b"1")).await.unwrap();
        assert!(store.create("two", Bytes::from_static(b"2")).await.is_err());
        assert!(store.get("one").await.is_err() && faulty.is_crashed());
        faulty.revive();
        assert_eq!(store.get("one").await.unwrap(), "1");
        assert!(!store.exists("two").await.unwrap());
    }

    #[tokio::test]
    async fn a_lost_response_hides_a_deed() {
        let faulty = FaultyStore::new();
        let store = faulty.store();
        faulty.fail_write(1, Fault::LostResponse);
        faulty.fail_write(2, Fault::Unavailable);
        assert!(store.create("one", Bytes::new()).await.is_err());
        assert!(store.create("two", Bytes::new()).await.is_err());
        assert!(store.exists("one").await.unwrap() && !store.exists("two").await.unwrap());
        faulty.fail_read(1, Fault::SayNotFound);
        assert!(!store.exists("one").await.unwrap());
    }
}
