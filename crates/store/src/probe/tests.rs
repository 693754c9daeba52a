#![allow(clippy::unwrap_used)]
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

use super::*;

const QUICK: Effort = Effort { racers: 6, rounds: 3, lock: Duration::ZERO };

fn now() -> SystemTime {
    // The clock of this machine, as the folder's own times come from it.
    tempfile::tempfile().unwrap().metadata().unwrap().modified().unwrap()
}

fn verdict(report: &Report, name: &str) -> Option<Verdict> {
    report.checks.iter().find(|check| check.check == name).map(|check| check.verdict)
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_storage_is_found_sound_and_left_clean() {
    let folder = tempfile::tempdir().unwrap();
    for store in [Store::memory(), Store::local(folder.path()).unwrap()] {
        let report = probe(&store, [7; 16], QUICK, &now).await.unwrap();
        assert!(report.usable && report.left_behind.is_empty(), "{report:?}");
        for check in &report.checks {
            assert_eq!(check.verdict, Verdict::Kept, "{check:?}");
        }
        assert_eq!(verdict(&report, "lock"), None, "there is nothing to ask about it");
        assert!(report.promises.iter().any(|promise| !promise.kept && !promise.needed));
        assert!(store.list("").await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_is_told() {
    let ahead = || now() + Duration::from_secs(60);
    let report = probe(&Store::memory(), [7; 16], QUICK, &ahead).await.unwrap();
    assert_eq!(verdict(&report, "clock"), Some(Verdict::Broken));
    assert!(report.usable, "one can live with that");
}

/// A store that creates what is there: always, or only when two come at the same time.
#[derive(Debug)]
struct Careless {
    inner: InMemory,
    only_in_races: bool,
}

impl fmt::Display for Careless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a careless store")
    }
}

type Answer<T> = object_store::Result<T>;

#[async_trait]
impl ObjectStore for Careless {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Answer<PutResult> {
        if self.only_in_races {
            let free = self.inner.get_opts(location, GetOptions::new().with_head(true)).await.is_err();
            tokio::time::sleep(Duration::from_millis(5)).await;
            if !free {
                return self.inner.put_opts(location, payload, options).await;
            }
        }
        self.inner.put_opts(location, payload, PutOptions { mode: PutMode::Overwrite, ..options }).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Answer<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Answer<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Answer<Path>>) -> BoxStream<'static, Answer<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Answer<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Answer<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Answer<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn careless_storage_is_found_out() {
    let careless =
        |only_in_races| Store::from_object_store(Arc::new(Careless { inner: InMemory::new(), only_in_races }));
    let report = probe(&careless(false), [7; 16], QUICK, &now).await.unwrap();
    assert_eq!(verdict(&report, "create"), Some(Verdict::Broken));
    assert_eq!(verdict(&report, "race"), Some(Verdict::Broken));
    assert!(!report.usable);
    let report = probe(&careless(true), [7; 16], QUICK, &now).await.unwrap();
    assert_eq!(verdict(&report, "create"), Some(Verdict::Kept));
    assert_eq!(verdict(&report, "race"), Some(Verdict::Broken), "only a race shows it");
    assert!(!report.usable);
}
