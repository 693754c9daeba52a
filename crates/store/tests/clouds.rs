//! Every cloud keeps the same rules as a folder and as memory: the one suite, against real servers.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(clippy::disallowed_methods, reason = "a real server keeps real time")]

mod mock;
mod rig;

use std::path::Path;
use std::sync::OnceLock;
use std::time::SystemTime;

use backstay_store::conformance::conformance;
use backstay_store::{Credentials, Error, Limits, Place, Settings, Store};
use backstay_testkit::{Azurite, Keeping, SeaweedFs, Server};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use rig::{azurite, google, open, seaweed};
use tokio::time::Instant;

/// One server for all tests of this process; it dies with the process.
fn weed() -> Option<&'static SeaweedFs> {
    static SERVER: OnceLock<SeaweedFs> = OnceLock::new();
    Server::SeaweedFs.require()?;
    Some(SERVER.get_or_init(|| SeaweedFs::start().unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_conforms() {
    let Some(server) = weed() else { return };
    server.make_bucket("plain", Keeping::Newest).unwrap();
    conformance(&open("s3://plain", &seaweed(server.address()))).await;
    conformance(&open("s3://plain/a/prefix", &seaweed(server.address()))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_with_versions_conforms() {
    let Some(server) = weed() else { return };
    server.make_bucket("versions", Keeping::Versions).unwrap();
    conformance(&open("s3://versions/p", &seaweed(server.address()))).await;
    server.make_bucket("locks", Keeping::Locks).unwrap();
    conformance(&open("s3://locks/p", &seaweed(server.address()))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn azure_conforms() {
    if Server::Azurite.require().is_none() {
        return;
    }
    let server = Azurite::start().unwrap();
    server.make_container("container").unwrap();
    conformance(&open("az://container", &azurite(server.address()))).await;
    let sas = Credentials::Account { name: Azurite::ACCOUNT.into(), key: None, sas: Some(Azurite::SAS.into()) };
    let store = open("az://container/a/prefix", &Settings { credentials: sas, ..azurite(server.address()) });
    conformance(&store).await;
    long_listings_are_whole(&store, 60).await;
    let nowhere = open("az://nowhere", &azurite(server.address()));
    assert!(matches!(nowhere.exists("a").await, Err(Error::NoBucket { .. })));
    assert!(matches!(nowhere.list("").await, Err(Error::NoBucket { .. })));
    wrong_keys_are_denied(&open(
        "az://container",
        &Settings {
            credentials: Credentials::Account {
                name: Azurite::ACCOUNT.into(),
                key: Some("d3Jvbmc=".into()),
                sas: None,
            },
            ..azurite(server.address())
        },
    ))
    .await;
}

/// Against our own mock of its API: no server that can be fetched speaks it well enough.
#[tokio::test(flavor = "multi_thread")]
async fn google_conforms() {
    let server = mock::google();
    conformance(&open("gs://bucket", &google(server.address()))).await;
    let store = open("gs://bucket/a/prefix", &google(server.address()));
    conformance(&store).await;
    long_listings_are_whole(&store, 350).await;
    let nowhere = open("gs://nowhere", &google(server.address()));
    assert!(matches!(nowhere.list("").await, Err(Error::NoBucket { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn long_listings_of_s3_are_whole() {
    let Some(server) = weed() else { return };
    server.make_bucket("listings", Keeping::Newest).unwrap();
    long_listings_are_whole(&open("s3://listings/p", &seaweed(server.address())), 2_100).await;
}

/// More objects than a page holds.
async fn long_listings_are_whole(store: &Store, count: u32) {
    let paths: Vec<String> = (0..count).map(|number| format!("long/{number:06}")).collect();
    let puts = paths.iter().map(|path| store.create(path, Bytes::from_static(b"x")));
    futures::stream::iter(puts).buffer_unordered(32).try_collect::<Vec<()>>().await.unwrap();
    let listed: Vec<String> = store.list("long").await.unwrap().into_iter().map(|object| object.path).collect();
    assert!(listed == paths, "{} of {count}", listed.len());
    let middle = paths.len() / 2;
    let after = store.list_after("long", &paths[middle]).await.unwrap();
    assert_eq!(after.len(), paths.len() - middle - 1);
    assert_eq!(after[0].path, paths[middle + 1]);
}

/// An object in parts has the same rules as a small one.
#[tokio::test(flavor = "multi_thread")]
async fn large_objects_of_s3_conform() {
    let Some(server) = weed() else { return };
    server.make_bucket("large", Keeping::Newest).unwrap();
    let store = open("s3://large/p", &seaweed(server.address()));
    let content: Vec<u8> = (0..70u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let bytes = Bytes::from(content);
    store.create("big", bytes.clone()).await.unwrap();
    assert!(store.get("big").await.unwrap() == bytes);
    let again = store.create("big", bytes.slice(1..)).await;
    assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
    assert!(store.get("big").await.unwrap() == bytes, "a refused create changes nothing");
    let range = (20 << 20) - 5..(60 << 20) + 5;
    let read = store.get_range("big", range.clone()).await.unwrap();
    assert!(read == bytes[range.start as usize..range.end as usize]);
    // What was refused is not left lying around.
    assert_eq!(store.sweep_partials(SystemTime::now() + std::time::Duration::from_secs(60)).await.unwrap(), [""; 0]);
}

async fn wrong_keys_are_denied(store: &Store) {
    let start = Instant::now();
    assert!(matches!(store.get("a").await, Err(Error::Denied { .. })));
    let denied = store.create("a", Bytes::new()).await.unwrap_err();
    assert!(matches!(denied, Error::Denied { .. }), "{denied}");
    assert!(start.elapsed().as_secs() < 5, "asking again would not help");
}

#[tokio::test]
async fn what_is_wrong_with_the_place_is_told() {
    let Some(server) = weed() else { return };
    server.make_bucket("errors", Keeping::Newest).unwrap();
    let settings = seaweed(server.address());
    let nowhere = open("s3://nowhere", &settings);
    for error in [
        nowhere.create("a", Bytes::new()).await.unwrap_err(),
        nowhere.list("").await.unwrap_err(),
        nowhere.get("a").await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::NoBucket { .. }), "{error}");
        assert_eq!(error.to_string(), "there is no bucket s3://nowhere");
    }
    let wrong = Credentials::Keys { id: SeaweedFs::KEY_ID.into(), secret: "wrong".into(), token: None };
    wrong_keys_are_denied(&open("s3://errors", &Settings { credentials: wrong, ..settings.clone() })).await;
    let google = Settings { credentials: Credentials::ServiceAccount("{}".into()), ..settings };
    let place = Place::read("s3://errors", Path::new("/")).unwrap();
    let error = Store::open(&place, &google, rig::chance()).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
}

#[tokio::test]
async fn an_address_where_nobody_answers_is_told() {
    let settings = seaweed(([127, 0, 0, 1], 9).into());
    let error = open("s3://bucket", &settings).get("a").await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("no connection to 127.0.0.1:9"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_kept() {
    let Some(server) = weed() else { return };
    server.make_bucket("limits", Keeping::Newest).unwrap();
    let mut settings = seaweed(server.address());
    open("s3://limits", &settings).create("a", Bytes::from(vec![7; 4 << 20])).await.unwrap();

    settings.limits = Limits { requests_per_second: Some(20.0), bytes_per_second: None };
    let (store, start) = (open("s3://limits", &settings), Instant::now());
    futures::future::join_all((0..25).map(|_| store.size("a"))).await;
    let took = start.elapsed().as_secs_f64();
    assert!((0.9..2.5).contains(&took), "25 requests at 20 a second took {took} s");

    settings.limits = Limits { requests_per_second: None, bytes_per_second: Some(4e6) };
    let store = open("s3://limits", &settings);
    let start = Instant::now();
    store.create("b", Bytes::from(vec![8; 4 << 20])).await.unwrap();
    let took = start.elapsed().as_secs_f64();
    assert!((0.7..3.0).contains(&took), "sending 4 MiB at 4 MB/s took {took} s");
    let start = Instant::now();
    assert_eq!(store.get("b").await.unwrap().len(), 4 << 20);
    let took = start.elapsed().as_secs_f64();
    assert!((0.7..3.0).contains(&took), "reading 4 MiB at 4 MB/s took {took} s");
}
