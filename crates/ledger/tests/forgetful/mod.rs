//! A store in memory that does what it is asked and then says something else.
#![allow(clippy::unwrap_used)]

use std::fmt;
use std::ops::Range;
use std::sync::Mutex;

use backstay_store::object_store::memory::InMemory;
use backstay_store::object_store::path::Path;
use backstay_store::object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use bytes::Bytes;
use futures::stream::BoxStream;

/// What it answers to a create that it has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lie {
    /// That the object was there before: a retry below us met its own first try.
    Exists,
    /// A failure.
    Fail,
    /// A failure, and again when the object is read next.
    FailAndHide,
}

#[derive(Debug, Default)]
pub struct Forgetful {
    inner: InMemory,
    create: Mutex<Option<Lie>>,
    hide: Mutex<bool>,
}

impl Forgetful {
    pub fn next_create(&self, lie: Lie) {
        *self.create.lock().unwrap() = Some(lie);
    }
}

fn lost() -> Error {
    Error::Generic { store: "forgetful", source: "the answer was lost".into() }
}

impl fmt::Display for Forgetful {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("forgetful")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Forgetful {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let done = self.inner.put_opts(location, payload, opts).await?;
        match self.create.lock().unwrap().take() {
            None => Ok(done),
            Some(Lie::Exists) => {
                Err(Error::AlreadyExists { path: location.to_string(), source: "by the first try".into() })
            }
            Some(Lie::Fail) => Err(lost()),
            Some(Lie::FailAndHide) => {
                *self.hide.lock().unwrap() = true;
                Err(lost())
            }
        }
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if std::mem::take(&mut *self.hide.lock().unwrap()) {
            return Err(lost());
        }
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
