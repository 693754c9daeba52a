//! What every store must do, as one function that any store can be put through.
//!
//! It panics with the broken rule. It writes under `conformance/` and removes what it wrote, so it may also be pointed
//! at a real store, for instance by a command that probes a bucket before trusting it.

use std::ops::Range;

use bytes::Bytes;
use futures::future::join_all;

use crate::{Error, Store};

const RACERS: usize = 16;

/// Puts `store` through every rule; panics at the first that it breaks.
pub async fn conformance(store: &Store) {
    created_objects_are_readable_at_once(store).await;
    nothing_is_created_twice(store).await;
    one_racer_wins(store).await;
    ranges_are_exact(store).await;
    empty_objects_are_objects(store).await;
    listings_are_sorted_and_whole(store).await;
    deleted_objects_are_gone(store).await;
    bad_paths_are_refused(store).await;
    let left = store.list("conformance").await.expect("listing works");
    assert!(left.is_empty(), "the rules clean up after themselves, but {} objects are left", left.len());
}

async fn put(store: &Store, path: &str, bytes: &'static [u8]) {
    store.create(path, Bytes::from_static(bytes)).await.expect("an object can be created");
}

async fn remove(store: &Store, path: &str) {
    store.delete(path).await.expect("an object can be deleted");
}

fn missing<T>(answer: crate::Result<T>, path: &str) -> bool {
    matches!(answer, Err(Error::NotFound { path: named }) if named == path)
}

async fn created_objects_are_readable_at_once(store: &Store) {
    let path = "conformance/read/after/create";
    assert!(missing(store.get(path).await, path), "reading nothing names the missing object");
    assert!(missing(store.size(path).await, path), "the size of nothing names the missing object");
    assert!(!store.exists(path).await.expect("existence can be asked"), "nothing does not exist");
    put(store, path, b"hello").await;
    assert_eq!(store.get(path).await.expect("it can be read"), "hello");
    assert_eq!(store.size(path).await.expect("it has a size"), 5);
    assert!(store.exists(path).await.expect("existence can be asked"));
    let parent = "conformance/read/after";
    assert!(missing(store.get(parent).await, parent), "what is above an object is not an object");
    assert!(missing(store.delete(parent).await, parent), "what is above an object cannot be deleted");
    remove(store, path).await;
}

async fn nothing_is_created_twice(store: &Store) {
    let path = "conformance/once";
    put(store, path, b"first").await;
    let again = store.create(path, Bytes::from_static(b"second")).await;
    assert!(matches!(again, Err(Error::AlreadyExists { path: named }) if named == path), "a second create is refused");
    assert_eq!(store.get(path).await.expect("it can be read"), "first", "a refused create changes nothing");
    remove(store, path).await;
}

async fn one_racer_wins(store: &Store) {
    for round in 0..4 {
        let path = format!("conformance/race/{round}/head");
        let racers = (0..RACERS).map(|racer| {
            let (store, path) = (store.clone(), path.clone());
            // Tasks of their own where there is a runtime, so that they truly run at once.
            async move {
                let create = async move { store.create(&path, Bytes::from(format!("{racer:04096}"))).await };
                match tokio::runtime::Handle::try_current() {
                    Ok(runtime) => runtime.spawn(create).await.expect("a racer does not panic"),
                    Err(_) => create.await,
                }
            }
        });
        let results = join_all(racers).await;
        let winners: Vec<usize> = (0..RACERS).filter(|racer| results[*racer].is_ok()).collect();
        assert_eq!(winners.len(), 1, "exactly one of {RACERS} creates succeeds");
        for result in results {
            let fair = matches!(&result, Ok(()) | Err(Error::AlreadyExists { .. }));
            assert!(
                fair,
                "a loser is told that the object exists, not: {}",
                result.err().map_or(String::new(), |e| e.to_string())
            );
        }
        let content = store.get(&path).await.expect("the winner's object can be read");
        assert_eq!(content, format!("{:04096}", winners[0]), "the object is the winner's, whole");
        remove(store, &path).await;
    }
}

async fn ranges_are_exact(store: &Store) {
    let path = "conformance/ranges";
    let content: Vec<u8> = (0..100_000u32).map(|at| (at % 251) as u8).collect();
    store.create(path, Bytes::from(content.clone())).await.expect("an object can be created");
    let ranges: [Range<u64>; 7] = [99_990..100_000, 0..1, 10..20, 20..30, 15..25, 50_000..50_000, 60_000..99_000];
    let read = store.get_ranges(path, &ranges).await.expect("ranges can be read");
    assert_eq!(read.len(), ranges.len(), "as many answers as ranges");
    for (bytes, range) in read.iter().zip(&ranges) {
        assert_eq!(bytes.as_ref(), &content[range.start as usize..range.end as usize], "bytes {range:?}");
        let alone = store.get_range(path, range.clone()).await.expect("a range can be read");
        assert_eq!(&alone, bytes, "a range alone gives the same bytes, {range:?}");
    }
    assert!(store.get_ranges(path, &[]).await.expect("no ranges can be read").is_empty());
    for past in [99_999..100_001, 100_000..100_001, 200_000..200_010, 100_001..100_001] {
        let wanted = past.end;
        let told = |answer: crate::Result<()>| matches!(answer, Err(Error::Short { path: named, wanted: end, size: 100_000 }) if named == path && end == wanted);
        let alone = store.get_range(path, past.clone()).await.map(drop);
        let said = alone.as_ref().map_or_else(ToString::to_string, |()| "bytes".to_owned());
        assert!(told(alone), "a range past the end is short, {past:?}, not: {said}");
        let joined = store.get_ranges(path, &[0..10, 99_000..100_000, past.clone()]).await;
        assert!(told(joined.map(drop)), "a range past the end is short among others, {past:?}");
    }
    #[allow(clippy::reversed_empty_ranges)]
    let backwards = store.get_range(path, 9..8).await;
    assert!(backwards.is_err(), "a range that ends before it starts is refused");
    let nowhere = "conformance/nowhere";
    assert!(missing(store.get_range(nowhere, 0..1).await, nowhere), "a range of nothing names the missing object");
    assert!(missing(store.get_range(nowhere, 0..0).await, nowhere), "so does an empty one");
    remove(store, path).await;
}

async fn empty_objects_are_objects(store: &Store) {
    let path = "conformance/empty";
    put(store, path, b"").await;
    assert!(store.get(path).await.expect("it can be read").is_empty());
    assert_eq!(store.size(path).await.expect("it has a size"), 0);
    assert!(store.get_range(path, 0..0).await.expect("its only range can be read").is_empty());
    assert!(matches!(store.get_range(path, 0..1).await, Err(Error::Short { size: 0, .. })));
    assert!(matches!(store.create(path, Bytes::new()).await, Err(Error::AlreadyExists { .. })));
    let listed = store.list("conformance").await.expect("it is listed");
    assert!(listed.len() == 1 && listed[0].path == path, "it is listed alone, not {listed:?}");
    remove(store, path).await;
}

async fn listings_are_sorted_and_whole(store: &Store) {
    // `-` sorts before `/` and `0` after it: a walk of folders alone would give another order.
    let sorted = [
        "conformance/l/a",
        "conformance/l/b-c",
        "conformance/l/b/1",
        "conformance/l/b/2",
        "conformance/l/b0",
        "conformance/l2/x",
    ];
    for path in sorted.iter().rev() {
        put(store, path, b"12").await;
    }
    let list = |prefix: &'static str| async move {
        let found = store.list(prefix).await.expect("listing works");
        assert!(found.iter().all(|object| object.size == 2), "sizes are listed");
        found.into_iter().map(|object| object.path).collect::<Vec<_>>()
    };
    assert_eq!(list("conformance").await, sorted);
    assert_eq!(list("conformance/l").await, sorted[..5], "a prefix is whole parts of a path");
    assert_eq!(list("conformance/l/").await, sorted[..5], "with or without a slash");
    assert_eq!(list("conformance/l/b").await, sorted[2..4]);
    assert_eq!(list("conformance/nowhere").await, [""; 0], "nothing is listed as nothing");
    for at in 0..sorted.len() {
        let after = store.list_after("conformance", sorted[at]).await.expect("listing works");
        let after: Vec<String> = after.into_iter().map(|object| object.path).collect();
        assert_eq!(after, sorted[at + 1..], "after {}", sorted[at]);
    }
    let between = store.list_after("conformance/l", "conformance/l/b.5").await.expect("listing works");
    assert_eq!(between.len(), 3, "the place to start after need not exist");
    for path in sorted {
        remove(store, path).await;
    }
}

async fn deleted_objects_are_gone(store: &Store) {
    let path = "conformance/gone";
    put(store, path, b"1").await;
    remove(store, path).await;
    assert!(missing(store.get(path).await, path), "a deleted object cannot be read");
    assert!(missing(store.get_range(path, 0..1).await, path), "nor a part of it");
    assert!(missing(store.delete(path).await, path), "nor deleted again");
    assert!(store.list("conformance").await.expect("listing works").is_empty(), "nor listed");
    put(store, path, b"2").await;
    assert_eq!(store.get(path).await.expect("its name can be used again"), "2");
    remove(store, path).await;
}

async fn bad_paths_are_refused(store: &Store) {
    for path in ["", "/conformance", "conformance//x", "conformance/../x", "conformance/x#1", "conformance/x y"] {
        let refused = |answer: crate::Result<()>| matches!(answer, Err(Error::InvalidPath { .. }));
        assert!(refused(store.create(path, Bytes::new()).await), "creating `{path}` is refused");
        assert!(refused(store.get(path).await.map(drop)), "reading `{path}` is refused");
        assert!(refused(store.delete(path).await), "deleting `{path}` is refused");
    }
}
