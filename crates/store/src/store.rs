//! The façade: a cheap handle to a store.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use crate::cloud::Cloud;
use crate::local::Folder;
use crate::{Chance, Error, Place, Result, Settings, path};

/// A place for objects. Cloning gives another handle to the same place.
#[derive(Clone, Debug)]
pub struct Store(Backend);

#[derive(Clone, Debug)]
enum Backend {
    Folder(Arc<Folder>),
    Cloud(Arc<Cloud>),
    Library(Arc<dyn ObjectStore>),
}

/// An object as listings show it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Object {
    /// Its path.
    pub path: String,
    /// Its length in bytes.
    pub size: u64,
    /// When the store says it was created.
    pub modified: SystemTime,
}

impl Store {
    /// A new, empty store that lives as long as its handles.
    pub fn memory() -> Self {
        Self::from_object_store(Arc::new(InMemory::new()))
    }

    /// The folder `root`, which need not exist: the first create makes it.
    pub fn local(root: &Path) -> Result<Self> {
        Ok(Self(Backend::Folder(Arc::new(Folder::new(root)?))))
    }

    /// The store at a place. Nothing is asked of a cloud yet; settings are for clouds only. `chance` marks what is
    /// created there and spreads the pauses between tries. [`Error::Unsupported`] when the settings do not fit the place.
    pub fn open(place: &Place, settings: &Settings, chance: Chance) -> Result<Self> {
        match place {
            Place::Memory => Ok(Self::memory()),
            Place::Folder(folder) => Self::local(folder),
            Place::Bucket(bucket) => Ok(Self(Backend::Cloud(Arc::new(Cloud::new(bucket.clone(), settings, chance)?)))),
        }
    }

    /// Any store that the library knows or a caller wrote. It must honour [`PutMode::Create`].
    pub fn from_object_store(store: Arc<dyn ObjectStore>) -> Self {
        Self(Backend::Library(store))
    }

    /// The cloud behind this store, if there is one.
    pub(crate) fn cloud(&self) -> Option<&Cloud> {
        match &self.0 {
            Backend::Cloud(cloud) => Some(cloud),
            Backend::Folder(_) | Backend::Library(_) => None,
        }
    }

    /// Creates an object. [`Error::AlreadyExists`] when the path is taken by another's; on any other error whether the
    /// object was created is not known. Returns once the object is durable.
    pub async fn create(&self, path: &str, bytes: Bytes) -> Result<()> {
        let location = path::object(path)?;
        let options = PutOptions::from(PutMode::Create);
        let put = match &self.0 {
            Backend::Cloud(cloud) => return cloud.create(path, bytes).await,
            Backend::Library(store) => store.put_opts(&location, bytes.into(), options).await,
            Backend::Folder(folder) => {
                let name = path.to_owned();
                let library = blocking(folder, move |folder| {
                    folder.prepare(&name)?;
                    folder.library()?.ok_or(Error::NotFound { path: name })
                });
                library.await?.put_opts(&location, bytes.into(), options).await
            }
        };
        put.map(drop).map_err(|source| self.put_error(path, source))
    }

    /// A folder answers at once and for good: what failed there (a sync, say) must never be taken for a lost response
    /// whose object may be believed after reading it back.
    fn put_error(&self, path: &str, source: object_store::Error) -> Error {
        match (&self.0, Error::from_store(path, source)) {
            (Backend::Folder(_), Error::Unavailable { path, source }) => {
                Error::Io { action: "write", path, source: std::io::Error::other(source) }
            }
            (_, error) => error,
        }
    }

    /// The whole object. [`Error::NotFound`].
    pub async fn get(&self, path: &str) -> Result<Bytes> {
        let location = path::object(path)?;
        match &self.0 {
            Backend::Folder(folder) => {
                let path = path.to_owned();
                blocking(folder, move |folder| folder.read(&path)).await
            }
            Backend::Cloud(cloud) => cloud.get(path).await,
            Backend::Library(store) => {
                let failed = |source| Error::from_store(path, source);
                store.get(&location).await.map_err(failed)?.bytes().await.map_err(failed)
            }
        }
    }

    /// The bytes in `range`, exactly. [`Error::NotFound`], [`Error::Short`].
    pub async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes> {
        let mut answers = self.get_ranges(path, std::slice::from_ref(&range)).await?;
        Ok(answers.pop().unwrap_or_default())
    }

    /// The bytes in each of `ranges`, exactly and in the same order; ranges near each other are read together.
    /// [`Error::NotFound`], [`Error::Short`].
    pub async fn get_ranges(&self, path: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let location = path::object(path)?;
        if ranges.iter().any(|range| range.start > range.end) {
            return Err(Error::Unsupported {
                what: format!("reading a range of `{path}` that ends before it starts"),
                hint: "this is a mistake in what points to the object".to_owned(),
            });
        }
        match &self.0 {
            Backend::Folder(folder) => {
                let (path, ranges) = (path.to_owned(), ranges.to_vec());
                blocking(folder, move |folder| folder.read_ranges(&path, &ranges)).await
            }
            Backend::Cloud(cloud) => cloud.get_ranges(path, ranges).await,
            Backend::Library(store) => library_ranges(store.as_ref(), path, &location, ranges).await,
        }
    }

    /// The object's length in bytes. [`Error::NotFound`].
    pub async fn size(&self, path: &str) -> Result<u64> {
        let location = path::object(path)?;
        match &self.0 {
            Backend::Folder(folder) => {
                let path = path.to_owned();
                blocking(folder, move |folder| folder.size(&path)).await
            }
            Backend::Cloud(cloud) => cloud.size(path).await,
            Backend::Library(store) => {
                let meta = store.head(&location).await.map_err(|source| Error::from_store(path, source))?;
                Ok(meta.size)
            }
        }
    }

    /// Whether the object is there.
    pub async fn exists(&self, path: &str) -> Result<bool> {
        match self.size(path).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// All objects under `prefix` (whole parts of a path, or empty for everything), sorted by path.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Object>> {
        self.list_from(prefix, None).await
    }

    /// Like [`Store::list`], without the objects whose paths sort up to and including `start_after`.
    pub async fn list_after(&self, prefix: &str, start_after: &str) -> Result<Vec<Object>> {
        self.list_from(prefix, Some(start_after)).await
    }

    /// The first `count` objects under `prefix`, sorted by path, as far as the store lists in the order of paths. One that
    /// does not may give others; nothing but speed may depend on which.
    pub async fn list_first(&self, prefix: &str, count: usize) -> Result<Vec<Object>> {
        let Backend::Library(store) = &self.0 else {
            let mut objects = self.list(prefix).await?;
            objects.truncate(count);
            return Ok(objects);
        };
        let location = path::prefix(prefix)?;
        let stream = store.list(location.as_ref()).take(count);
        let found: Vec<ObjectMeta> = stream.try_collect().await.map_err(|source| Error::from_store(prefix, source))?;
        let mut objects: Vec<Object> = found.into_iter().map(Object::from).collect();
        objects.sort_unstable_by(|left, right| left.path.cmp(&right.path));
        Ok(objects)
    }

    async fn list_from(&self, prefix: &str, start_after: Option<&str>) -> Result<Vec<Object>> {
        let location = path::prefix(prefix)?;
        let offset = start_after.map(path::object).transpose()?;
        let store: Arc<dyn ObjectStore> = match &self.0 {
            Backend::Cloud(cloud) => {
                let mut objects = cloud.list(prefix, start_after).await?;
                objects.sort_unstable_by(|left, right| left.path.cmp(&right.path));
                return Ok(objects);
            }
            Backend::Library(store) => Arc::clone(store),
            Backend::Folder(folder) => match blocking(folder, Folder::library).await? {
                Some(library) => library,
                None => return Ok(Vec::new()),
            },
        };
        let stream = match &offset {
            Some(offset) => store.list_with_offset(location.as_ref(), offset),
            None => store.list(location.as_ref()),
        };
        let found: Vec<ObjectMeta> = stream.try_collect().await.map_err(|source| Error::from_store(prefix, source))?;
        let mut objects: Vec<Object> = found.into_iter().map(Object::from).collect();
        objects.sort_unstable_by(|left, right| left.path.cmp(&right.path));
        Ok(objects)
    }

    /// Removes an object, durably on a local disk. [`Error::NotFound`] when there is none (where the store can tell in
    /// time: of two concurrent deletes both may succeed).
    pub async fn delete(&self, path: &str) -> Result<()> {
        let location = path::object(path)?;
        match &self.0 {
            Backend::Folder(folder) => {
                let path = path.to_owned();
                blocking(folder, move |folder| folder.delete(&path)).await
            }
            Backend::Cloud(cloud) => cloud.delete(path).await,
            Backend::Library(store) => {
                let failed = |source| Error::from_store(path, source);
                // Most object stores answer a delete of nothing with success.
                store.head(&location).await.map_err(failed)?;
                store.delete(&location).await.map_err(failed)
            }
        }
    }

    /// Removes what interrupted writers left behind before `older_than`, and names it: unfinished files of a folder,
    /// unfinished uploads in parts of S3. They are never visible as objects. A running writer whose file is taken away
    /// gets an error, hence the age.
    pub async fn sweep_partials(&self, older_than: SystemTime) -> Result<Vec<String>> {
        match &self.0 {
            Backend::Folder(folder) => blocking(folder, move |folder| folder.sweep(older_than)).await,
            Backend::Cloud(cloud) => cloud.sweep(older_than).await,
            Backend::Library(_) => Ok(Vec::new()),
        }
    }
}

impl fmt::Display for Store {
    /// The place in words, for messages: `folder /srv/archive`, `s3://bucket/prefix`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Backend::Folder(folder) => write!(f, "folder {}", folder.root().display()),
            Backend::Cloud(cloud) => cloud.place().fmt(f),
            Backend::Library(store) => write!(f, "{store}"),
        }
    }
}

impl From<ObjectMeta> for Object {
    fn from(meta: ObjectMeta) -> Self {
        Self { path: meta.location.to_string(), size: meta.size, modified: meta.last_modified.into() }
    }
}

/// Ranges from a store that may cut them short or refuse them in its own words.
async fn library_ranges(
    store: &dyn ObjectStore,
    path: &str,
    location: &object_store::path::Path,
    ranges: &[Range<u64>],
) -> Result<Vec<Bytes>> {
    // Stores do not take empty ranges.
    let wanted: Vec<Range<u64>> = ranges.iter().filter(|range| !range.is_empty()).cloned().collect();
    let answer = match wanted.as_slice() {
        [] => Ok(Vec::new()),
        _ => store.get_ranges(location, &wanted).await,
    };
    let exact = answer.as_ref().is_ok_and(|read| {
        read.len() == wanted.len()
            && read.iter().zip(&wanted).all(|(bytes, range)| bytes.len() as u64 == range.end - range.start)
    });
    let failed = |source| Error::from_store(path, source);
    if exact && wanted.len() == ranges.len() && !ranges.is_empty() {
        return answer.map_err(failed);
    }
    // The size tells a cut object from a store that failed, and whether empty ranges lie within.
    let size = store.head(location).await.map_err(failed)?.size;
    if let Some(range) = ranges.iter().find(|range| range.end > size) {
        return Err(Error::Short { path: path.to_owned(), wanted: range.end, size });
    }
    let read = answer.map_err(failed)?;
    if !exact {
        return Err(Error::Unavailable { path: path.to_owned(), source: "it gave fewer bytes than asked for".into() });
    }
    let mut read = read.into_iter();
    Ok(ranges
        .iter()
        .map(|range| if range.is_empty() { Bytes::new() } else { read.next().unwrap_or_default() })
        .collect())
}

/// Runs file work where it may block; in place when there is no runtime to leave.
async fn blocking<T: Send + 'static>(
    folder: &Arc<Folder>,
    work: impl FnOnce(&Folder) -> Result<T> + Send + 'static,
) -> Result<T> {
    let folder = Arc::clone(folder);
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return work(&folder) };
    let name = folder.root().display().to_string();
    match runtime.spawn_blocking(move || work(&folder)).await {
        Ok(done) => done,
        Err(source) => Err(Error::Unavailable { path: name, source: source.into() }),
    }
}

#[cfg(test)]
mod tests;
