#![allow(clippy::unwrap_used)]
use std::time::Duration;

use super::*;
use crate::conformance::conformance;

fn modern() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap()
}

fn open(url: &str, base_dir: &Path) -> Store {
    let chance: Chance = Arc::new(|bytes| bytes.fill(7));
    Store::open(&Place::read(url, base_dir).unwrap(), &Settings::default(), chance).unwrap()
}

#[test]
fn memory_conforms() {
    modern().block_on(conformance(&Store::memory()));
}

#[test]
fn a_local_folder_conforms() {
    let folder = tempfile::tempdir().unwrap();
    modern().block_on(conformance(&Store::local(folder.path()).unwrap()));
    modern().block_on(conformance(&open("file:new/deep", folder.path())));
}

#[test]
fn a_local_folder_conforms_without_a_runtime() {
    let folder = tempfile::tempdir().unwrap();
    futures::executor::block_on(conformance(&Store::local(folder.path()).unwrap()));
}

/// The way a simulation comes in. Memory behind the trait takes another road than the folder above.
#[test]
fn a_foreign_store_conforms() {
    let foreign = Store::from_object_store(Arc::new(object_store::prefix::PrefixStore::new(InMemory::new(), "below")));
    modern().block_on(conformance(&foreign));
}

#[tokio::test]
async fn looking_does_not_make_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("archive");
    let store = Store::local(&root).unwrap();
    assert!(store.list("").await.unwrap().is_empty());
    assert!(!store.exists("a").await.unwrap());
    assert!(store.sweep_partials(SystemTime::UNIX_EPOCH).await.unwrap().is_empty());
    assert!(!root.exists());
    store.create("a", Bytes::from_static(b"1")).await.unwrap();
    assert_eq!(store.list("").await.unwrap().len(), 1);
    assert_eq!(store.to_string(), format!("folder {}", root.display()));
}

#[tokio::test]
async fn a_root_that_is_a_file_is_told() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("archive"), b"x").unwrap();
    let store = open("file:archive", folder.path());
    let error = store.list("").await.unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert!(store.create("a", Bytes::new()).await.is_err());
}

#[tokio::test]
async fn clones_share_and_handles_see_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (Store::local(folder.path()).unwrap(), Store::local(folder.path()).unwrap());
    one.create("x/y", Bytes::from_static(b"1")).await.unwrap();
    assert_eq!(two.get("x/y").await.unwrap(), "1");
    assert!(matches!(two.create("x/y", Bytes::new()).await, Err(Error::AlreadyExists { .. })));
    two.delete("x/y").await.unwrap();
    assert!(!one.clone().exists("x/y").await.unwrap());
}

/// A cut file is an error for every way of reading beyond the cut, joined ranges included.
#[tokio::test]
async fn a_cut_file_is_short() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::local(folder.path()).unwrap();
    store.create("s", Bytes::from(vec![7; 100])).await.unwrap();
    std::fs::OpenOptions::new().write(true).open(folder.path().join("s")).unwrap().set_len(5).unwrap();
    for ranges in [[0..10, 10..20], [4..6, 0..1], [0..5, 5..6], [90..100, 100..100]] {
        assert!(matches!(store.get_ranges("s", &ranges).await, Err(Error::Short { size: 5, .. })));
    }
    assert_eq!(store.get_range("s", 0..5).await.unwrap().len(), 5);
}

#[tokio::test]
async fn what_an_interrupted_writer_left_is_unseen_and_swept_by_age() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::local(folder.path()).unwrap();
    store.create("v/seg", Bytes::from_static(b"1")).await.unwrap();
    std::fs::write(folder.path().join("v/seg2#1"), b"half").unwrap();
    std::fs::write(folder.path().join("v/seg2#17"), b"half").unwrap();
    std::fs::write(folder.path().join("v/notes#a"), b"not ours").unwrap();
    assert!(!store.exists("v/seg2").await.unwrap());
    let seen = store.list("v").await.unwrap();
    assert!(seen.iter().all(|object| !object.path.contains("seg2")));

    let now = std::fs::metadata(folder.path().join("v/seg2#17")).unwrap().modified().unwrap();
    assert!(store.sweep_partials(now - Duration::from_secs(3600)).await.unwrap().is_empty());
    let swept = store.sweep_partials(now + Duration::from_secs(3600)).await.unwrap();
    assert_eq!(swept, ["v/seg2#1", "v/seg2#17"]);
    assert!(folder.path().join("v/notes#a").exists());
    assert_eq!(store.get("v/seg").await.unwrap(), "1");
    // A left-over does not stand in the way of the next attempt either.
    std::fs::write(folder.path().join("v/seg3#1"), b"half").unwrap();
    store.create("v/seg3", Bytes::from_static(b"whole")).await.unwrap();
    assert_eq!(store.get("v/seg3").await.unwrap(), "whole");
}

#[tokio::test]
async fn listings_carry_the_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::local(folder.path()).unwrap();
    store.create("a", Bytes::new()).await.unwrap();
    let on_disk = std::fs::metadata(folder.path().join("a")).unwrap().modified().unwrap();
    assert_eq!(store.list("").await.unwrap()[0].modified, on_disk);
}
