//! Real replica sets start, take writes, survive a kill and go away.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test waits for real servers")]

use std::time::{Duration, Instant};

use backstay_testkit::{Options, Passage, ReplicaSet, require_mongod};
use bson::{Document, doc};
use mongodb::Client;
use mongodb::options::{ReadPreference, SelectionCriteria, WriteConcern};

async fn insert(client: &Client, id: i32, concern: WriteConcern) {
    let orders = client.database("shop").collection::<Document>("orders");
    orders.insert_one(doc! { "_id": id, "tenant": "t001" }).write_concern(concern).await.unwrap();
}

async fn count(client: &Client) -> u64 {
    client.database("shop").collection::<Document>("orders").count_documents(doc! {}).await.unwrap()
}

#[tokio::test]
async fn one_member_survives_kill_and_restart() {
    if require_mongod().is_none() {
        return;
    }
    let options = Options { oplog_mb: Some(50), ..Options::default() };
    let mut set = ReplicaSet::start(options).await.unwrap();
    let client = set.client().await.unwrap();
    insert(&client, 1, WriteConcern::majority()).await;
    assert_eq!(count(&client).await, 1);

    set.kill().await.unwrap();
    set.restart().await.unwrap();
    insert(&client, 2, WriteConcern::majority()).await;
    assert_eq!(count(&client).await, 2);

    set.restart().await.unwrap();
    assert_eq!(count(&set.client().await.unwrap()).await, 2);
    set.stop().await.unwrap();
}

#[tokio::test]
async fn three_members_replicate_and_elect() {
    if require_mongod().is_none() {
        return;
    }
    let options = Options { members: 3, cache_gb: 0.25, ..Options::default() };
    let mut set = ReplicaSet::start(options).await.unwrap();
    let client = set.client().await.unwrap();
    // On all three, so that whichever secondary answers has it.
    insert(&client, 1, WriteConcern::nodes(3)).await;
    let orders = client.database("shop").collection::<Document>("orders");
    let secondary = SelectionCriteria::ReadPreference(ReadPreference::Secondary { options: None });
    let found = orders.find_one(doc! { "_id": 1 }).selection_criteria(secondary).await.unwrap();
    assert_eq!(found.unwrap().get_str("tenant").unwrap(), "t001");

    set.kill_member(0).await.unwrap();
    insert(&client, 2, WriteConcern::majority()).await;
    set.start_member(0).await.unwrap();
    assert_eq!(count(&client).await, 2);
}

#[tokio::test]
async fn a_door_cuts_clients_off_and_lets_members_replicate() {
    if require_mongod().is_none() {
        return;
    }
    let options = Options { members: 3, cache_gb: 0.25, doors: true, ..Options::default() };
    let set = ReplicaSet::start(options).await.unwrap();
    let patient = Client::with_uri_str(format!("{}&heartbeatFrequencyMS=500", set.uri())).await.unwrap();
    let hasty = Client::with_uri_str(format!("{}&serverSelectionTimeoutMS=500", set.uri())).await.unwrap();
    insert(&patient, 1, WriteConcern::nodes(3)).await;
    let every = |clients, members| (0..3).for_each(|member| set.door(member).unwrap().set(clients, members));

    // Past the door the set goes on as if nothing were.
    every(Passage::Cut, Passage::Open);
    assert!(hasty.database("shop").run_command(doc! { "ping": 1 }).await.is_err());
    set.wait_until_ready().await.unwrap();

    // What is held up arrives later.
    every(Passage::Open, Passage::Open);
    insert(&patient, 2, WriteConcern::nodes(3)).await;
    every(Passage::Silent, Passage::Open);
    let late = {
        let client = patient.clone();
        tokio::spawn(async move { insert(&client, 3, WriteConcern::nodes(3)).await })
    };
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!late.is_finished());
    every(Passage::Open, Passage::Open);
    late.await.unwrap();

    // Nobody follows anybody: there is no primary any more.
    every(Passage::Open, Passage::Cut);
    let begun = Instant::now();
    let is_primary = async || {
        for member in 0..3 {
            let client = set.direct_client(member).await.unwrap();
            let hello = client.database("admin").run_command(doc! { "hello": 1 }).await.unwrap();
            if hello.get_bool("isWritablePrimary").unwrap() {
                return true;
            }
        }
        false
    };
    while is_primary().await {
        assert!(begun.elapsed() < Duration::from_secs(20), "cut off from all others, a member is still the primary");
    }
    every(Passage::Open, Passage::Open);
    set.wait_until_ready().await.unwrap();
    insert(&patient, 4, WriteConcern::nodes(3)).await;
    assert_eq!(count(&patient).await, 4);
}
