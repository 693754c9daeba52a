//! A store in memory that counts what is asked of it, and lists from where it is told without looking at the rest.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::Mutex;

use async_trait::async_trait;
use backstay_store::object_store::memory::InMemory;
use backstay_store::object_store::path::Path;
use backstay_store::object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

/// What was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Requests {
    pub lists: u64,
    pub reads: u64,
    pub writes: u64,
    /// The most at one time.
    pub at_once: u64,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Bytes>,
    requests: Requests,
    running: u64,
}

/// The store.
#[derive(Debug, Default)]
pub struct Counting(Mutex<State>);

impl Counting {
    /// What was asked for since this was asked last.
    pub fn take(&self) -> Requests {
        std::mem::take(&mut self.0.lock().unwrap().requests)
    }

    fn begin(&self, count: impl Fn(&mut Requests) -> &mut u64) {
        let mut state = self.0.lock().unwrap();
        *count(&mut state.requests) += 1;
        state.running += 1;
        state.requests.at_once = state.requests.at_once.max(state.running);
    }

    fn end(&self) {
        self.0.lock().unwrap().running -= 1;
    }

    fn under(&self, prefix: Option<&Path>, after: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.begin(|requests| &mut requests.lists);
        self.end();
        let prefix = prefix.map(|prefix| format!("{prefix}/")).unwrap_or_default();
        let from = match after {
            Some(after) => Bound::Excluded(after.to_string()),
            None => Bound::Included(prefix.clone()),
        };
        let state = self.0.lock().unwrap();
        let inside = state.objects.range((from, Bound::Unbounded)).take_while(|(path, _)| path.starts_with(&prefix));
        let listed: Vec<_> = inside
            .map(|(path, bytes)| {
                let (location, size) = (Path::from(path.as_str()), bytes.len() as u64);
                let last_modified = std::time::UNIX_EPOCH.into();
                Ok(ObjectMeta { location, last_modified, size, e_tag: None, version: None })
            })
            .collect();
        stream::iter(listed).boxed()
    }
}

impl fmt::Display for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a store that counts")
    }
}

fn no(operation: &str) -> Error {
    Error::NotImplemented { operation: operation.to_owned(), implementer: "counting".to_owned() }
}

#[async_trait]
impl ObjectStore for Counting {
    async fn put_opts(&self, location: &Path, payload: PutPayload, _: PutOptions) -> Result<PutResult> {
        self.begin(|requests| &mut requests.writes);
        self.end();
        let path = location.to_string();
        let mut state = self.0.lock().unwrap();
        if state.objects.contains_key(&path) {
            return Err(Error::AlreadyExists { path, source: "there is such an object".into() });
        }
        state.objects.insert(path, Bytes::from(payload));
        Ok(PutResult { e_tag: None, version: None, extensions: Default::default() })
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(no("uploads in parts"))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.begin(|requests| &mut requests.reads);
        tokio::task::yield_now().await;
        self.end();
        let library = InMemory::new();
        let found = self.0.lock().unwrap().objects.get(location.as_ref()).cloned();
        if let Some(bytes) = found {
            library.put_opts(location, bytes.into(), PutOptions::default()).await?;
        }
        library.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let deleted = locations.try_collect::<Vec<Path>>();
        let paths = futures::executor::block_on(deleted).unwrap();
        for path in &paths {
            self.0.lock().unwrap().objects.remove(path.as_ref());
        }
        stream::iter(paths.into_iter().map(Ok)).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.under(prefix, None)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.under(prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(no("listing folders"))
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(no("copying"))
    }
}
