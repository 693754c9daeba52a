//! A bucket in a cloud.
//!
//! ```text
//!   create ── create.rs   conditional put; large ones in parts (S3); knows its own object again after a lost answer
//!   get …  ── read.rs     exact ranges, several at once; goes on where a broken answer stopped
//!   list, delete ── here
//!      each: try, and try again (retry.rs) ──► object_store ──► wire.rs ──► the network
//!                                          └─► s3.rs: what the library cannot say
//! ```
//!
//! The library's own retries are switched off: two loops around one request multiply, and only here is it known what a
//! second create may mean.

mod azure;
mod build;
mod create;
mod pace;
mod read;
mod retry;
mod s3;
mod trouble;
mod wire;

use std::sync::Arc;
use std::time::SystemTime;

use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

pub(crate) use s3::{S3, Version};
pub(crate) use wire::Wire;

use self::trouble::Failure;
use crate::{Bucket, Chance, Error, Object, Patience, Result, path};

/// A bucket, and how it is reached.
pub(crate) struct Cloud {
    place: Bucket,
    library: Arc<dyn ObjectStore>,
    /// The same, for listings.
    pages: Arc<dyn PaginatedListStore>,
    /// What only S3 can do, when this is S3.
    s3: Option<S3>,
    azure: Option<azure::Azure>,
    wire: Arc<Wire>,
    patience: Patience,
    chance: Chance,
}

impl std::fmt::Debug for Cloud {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cloud({})", self.place)
    }
}

impl Cloud {
    /// The bucket.
    pub fn place(&self) -> &Bucket {
        &self.place
    }

    pub fn s3(&self) -> Option<&S3> {
        self.s3.as_ref()
    }

    pub fn wire(&self) -> &Wire {
        &self.wire
    }

    /// The bucket's URL without the prefix, for messages.
    fn bucket(&self) -> String {
        Bucket { prefix: String::new(), ..self.place.clone() }.to_string()
    }

    /// Where `path` lies in the bucket.
    pub fn location(&self, path: &str) -> Result<Path> {
        path::object(path)?;
        match self.place.prefix.as_str() {
            "" => path::object(path),
            prefix => Path::parse(format!("{prefix}/{path}"))
                .map_err(|_| Error::InvalidPath { path: path.to_owned(), why: "the store cannot take it" }),
        }
    }

    /// The path of what lies at `key`; `None` when that is not below the prefix.
    pub fn path_of<'k>(&self, key: &'k str) -> Option<&'k str> {
        match self.place.prefix.as_str() {
            "" => Some(key),
            prefix => key.strip_prefix(prefix)?.strip_prefix('/'),
        }
        .filter(|path| !path.is_empty())
    }

    /// What an answer of the library means.
    fn failure(&self, path: &str, source: object_store::Error) -> Failure {
        Failure::of(&self.bucket(), path, source)
    }

    /// All objects below a prefix that sort behind `start_after`, in no particular order. Each page is tried again by
    /// itself.
    pub async fn list(&self, prefix: &str, start_after: Option<&str>) -> Result<Vec<Object>> {
        path::prefix(prefix)?;
        let below = match (self.place.prefix.as_str(), prefix.trim_end_matches('/')) {
            ("", "") => String::new(),
            (prefix, "") | ("", prefix) => format!("{prefix}/"),
            (place, prefix) => format!("{place}/{prefix}/"),
        };
        let offset = match start_after {
            Some(path) => page_offset(self.location(path)?.as_ref(), &below).map(str::to_owned),
            None => None,
        };
        let mut objects: Vec<Object> = Vec::new();
        let mut page_token: Option<String> = None;
        loop {
            let ask = || async {
                let (offset, page_token) = (offset.clone(), page_token.clone());
                let options = PaginatedListOptions { offset, page_token, ..PaginatedListOptions::default() };
                let below = Some(below.as_str()).filter(|below| !below.is_empty());
                self.pages.list_paginated(below, options).await.map_err(|error| self.failure(prefix, error))
            };
            let page = self.retry(ask).await?;
            for meta in page.result.objects {
                // What a console shows as a folder is an object with the folder's name and a slash.
                let Some(path) = self.path_of(meta.location.as_ref()).filter(|_| !meta.location.is_root()) else {
                    continue;
                };
                if meta.location.as_ref().starts_with(&below) && start_after.is_none_or(|after| path > after) {
                    let modified = SystemTime::from(meta.last_modified);
                    objects.push(Object { path: path.to_owned(), size: meta.size, modified });
                }
            }
            match page.page_token {
                None => return Ok(objects),
                same if same == page_token => {
                    let why = "it gives the same page of a listing again and again";
                    return Err(Failure::passing(prefix, why).error);
                }
                next => page_token = next,
            }
        }
    }

    /// Removes an object. [`Error::NotFound`] when there is none.
    pub async fn delete(&self, path: &str) -> Result<()> {
        let location = self.location(path)?;
        // Most object stores answer a delete of nothing with success.
        self.size(path).await?;
        // Where it is not there any more, the request before this one did it, or somebody else has.
        self.retry(|| async {
            match &self.azure {
                Some(azure) => azure.delete(path, location.as_ref()).await.map(drop),
                None => match self.library.delete(&location).await {
                    Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                    Err(error) => Err(self.failure(path, error)),
                },
            }
        })
        .await
    }

    /// Removes the parts of uploads that were begun before `older_than` and never completed, and names their objects.
    pub async fn sweep(&self, older_than: SystemTime) -> Result<Vec<String>> {
        let Some(s3) = &self.s3 else { return Ok(Vec::new()) };
        let mut swept = Vec::new();
        for upload in self.retry(|| s3.uploads(&self.place.prefix)).await? {
            let Some(path) = self.path_of(&upload.key).filter(|_| upload.begun < older_than) else { continue };
            self.retry(|| s3.abort(&upload.key, &upload.id)).await?;
            swept.push(path.to_owned());
        }
        swept.sort();
        swept.dedup();
        Ok(swept)
    }
}

/// From where to ask for pages, so that nothing behind `start_after` is missed by services that list the folders of a
/// store of their own one after another. They agree with the order of bytes except where a `-` or `.` in one name meets
/// a `/` in another. `None`: from the beginning, and what is not wanted is left out here.
fn page_offset<'k>(start_after: &'k str, below: &str) -> Option<&'k str> {
    let own = start_after.strip_prefix(below).unwrap_or(start_after);
    (!own.contains(|c| c < '/')).then_some(start_after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_safe_in_both_orders() {
        assert_eq!(page_offset("p-q/a/chain/0007", "p-q/a/chain/"), Some("p-q/a/chain/0007"));
        assert_eq!(page_offset("p/l/b/1", "p/"), Some("p/l/b/1"));
        assert_eq!(page_offset("p/l/b-c", "p/l/"), None);
        assert_eq!(page_offset("p/l/b.c/d", "p/"), None);
    }
}
