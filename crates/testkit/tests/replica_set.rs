//! Real replica sets start, take writes, survive a kill and go away.
#![allow(clippy::unwrap_used)]

use backstay_testkit::{Options, ReplicaSet, require_mongod};
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
