//! Members whose oplogs reach back differently far: changes are lost only when nobody holds them any more.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test at the edge: real clock, real server")]

use backstay_model::Tick;
use backstay_mongodb::{MongoDeployment, Options};
use backstay_source::{EntryBatch, Error, Source, Start};
use backstay_testkit::{ReplicaSet, require_mongod};
use bson::{Document, doc};

/// The oldest entry of one member's oplog.
async fn oldest(set: &ReplicaSet, member: usize) -> Tick {
    let client = set.direct_client(member).await.unwrap();
    let oplog = client.database("local").collection::<Document>("oplog.rs");
    let entry = oplog.find_one(doc! {}).sort(doc! { "$natural": 1 }).await.unwrap().unwrap();
    let ts = entry.get_timestamp("ts").unwrap();
    Tick::new(ts.time, ts.increment)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_member_that_was_synchronised_anew_does_not_hold_is_read_from_another() {
    if require_mongod().is_none() {
        return;
    }
    let mut set = ReplicaSet::start(backstay_testkit::Options::default()).await.unwrap();
    let client = set.client().await.unwrap();
    let records = client.database("shop").collection::<Document>("records");
    records.insert_one(doc! { "_id": 0 }).await.unwrap();
    let include = vec!["shop.*".to_owned()];
    let options = Options { uri: set.uri(), include: include.clone(), ..Options::default() };
    let start = MongoDeployment::connect(options).await.unwrap().position().await.unwrap().committed;
    records.insert_many((1..=20).map(|n| doc! { "_id": n })).await.unwrap();

    set.add_member().await.unwrap();
    assert!(oldest(&set, 0).await < start && start < oldest(&set, 1).await, "the second member's oplog is shorter");
    records.insert_one(doc! { "_id": 21 }).await.unwrap();
    let wanted = Options { uri: set.uri(), include: include.clone(), ..Options::default() };
    let deployment = MongoDeployment::connect(wanted).await.unwrap();
    let until = deployment.snapshot().await.unwrap();
    let mut tail = deployment.tail(Start { resume: start, through: start }).await.unwrap();
    let (mut through, mut entries) = (start, 0);
    let mut batch = EntryBatch::default();
    while through < until {
        tail.next(&mut batch).await.unwrap();
        through = batch.through;
        entries +=
            batch.iter().filter(|(_, entry)| entry.windows(8).any(|window| window == b"\x02op\0\x02\0\0\0")).count();
    }
    assert!(entries >= 21, "{entries} entries");

    // A position that nobody ever held is lost for all of them.
    let never = Start { resume: Tick::new(start.seconds() - 1_000_000, 1), through: start };
    let lost = deployment.tail(never).await;
    assert!(matches!(lost, Err(Error::RolledOver { .. })), "{:?}", lost.err());

    // One member alone is asked for nothing but what it has.
    let alone = Options { uri: set.direct_uri(1), include, ..Options::default() };
    let alone = MongoDeployment::connect(alone).await.unwrap();
    let lost = alone.tail(Start { resume: start, through: start }).await;
    assert!(matches!(lost, Err(Error::RolledOver { .. })), "{:?}", lost.err());
}
