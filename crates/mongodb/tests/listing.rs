//! Collections that change their names while the source is listed: what is there is listed, by whatever name.
//!
//! ```text
//!   listCollections ──▶ held ── a is renamed to b, another a is made ──▶ listIndexes(a)
//! ```
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test at the edge: real clock, real server")]

mod scenario;

use backstay_mongodb::Options;
use backstay_source::{Namespace, Source as _};
use bson::{Document, doc};
use mongodb::Client;
use scenario::Stage;

/// How long the server waits before it answers what is held, in milliseconds.
const HELD: i32 = 2_000;

async fn stage(options: Options) -> Option<Stage> {
    let stage = Stage::with(&["enableTestCommands=1"], options).await?;
    for name in ["a", "dropped", "kept"] {
        put(&stage.client, name, 0, 20).await;
        let index = doc! { "createIndexes": name, "indexes": [{ "key": { "of": 1 }, "name": name }] };
        stage.run("shop", index).await;
    }
    Some(stage)
}

async fn put(client: &Client, name: &str, from: i32, to: i32) {
    let documents = (from..to).map(|n| doc! { "_id": n, "of": name });
    client.database("shop").collection::<Document>(name).insert_many(documents).await.unwrap();
}

/// Lets the server wait when it is next asked for the indexes of three collections. Returns how often it has waited.
async fn hold(client: &Client) -> i32 {
    let data = doc! { "failCommands": ["listIndexes"], "blockConnection": true, "blockTimeMS": HELD };
    let hold = doc! { "configureFailPoint": "failCommand", "mode": { "times": 3 }, "data": data };
    client.database("admin").run_command(hold).await.unwrap().get_i32("count").unwrap()
}

/// When the server waits, a collection is renamed, and its old name is free, or passes to another one.
async fn rename(client: &Client, waited: i32, passes: bool) {
    let admin = client.database("admin");
    let held = doc! { "waitForFailPoint": "failCommand", "timesEntered": waited + 3, "maxTimeMS": 60_000 };
    admin.run_command(held).await.unwrap();
    admin.run_command(doc! { "renameCollection": "shop.a", "to": "shop.b" }).await.unwrap();
    client.database("shop").run_command(doc! { "drop": "dropped" }).await.unwrap();
    put(client, "b", 20, 30).await;
    if passes {
        put(client, "a", 100, 110).await;
    }
}

fn find<'n>(namespaces: &'n [Namespace], name: &str) -> Option<&'n Namespace> {
    namespaces.iter().find(|namespace| namespace.name == name)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_is_renamed_while_it_is_listed_is_listed() {
    let Some(stage) = stage(Options::default()).await else { return };
    let before = stage.from.namespaces().await.unwrap();
    let waited = hold(&stage.client).await;
    let (listed, ()) = tokio::join!(stage.from.namespaces(), rename(&stage.client, waited, true));
    let (listed, after) = (listed.unwrap(), stage.from.namespaces().await.unwrap());
    let renamed = find(&listed, "shop.b").expect("the collection that was renamed is not listed");
    assert_eq!(renamed.incarnation, find(&before, "shop.a").unwrap().incarnation);
    assert!(renamed.definition == find(&after, "shop.b").unwrap().definition);
    assert_eq!(find(&listed, "shop.kept"), find(&after, "shop.kept"));
    assert!(find(&listed, "shop.dropped").is_none());
    // The other one, which has the name now, may be listed or not: it was made after the listing began.
    if let Some(other) = find(&listed, "shop.a") {
        assert_eq!(Some(other.incarnation), find(&after, "shop.a").map(|now| now.incarnation));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_renamed_out_of_what_is_protected_is_not_listed() {
    let include = ["shop.a", "shop.dropped", "shop.kept"].map(str::to_owned).to_vec();
    let Some(stage) = stage(Options { include, ..Options::default() }).await else { return };
    let before = stage.from.namespaces().await.unwrap();
    let waited = hold(&stage.client).await;
    let (listed, ()) = tokio::join!(stage.from.namespaces(), rename(&stage.client, waited, true));
    let gone = find(&before, "shop.a").unwrap().incarnation;
    assert!(listed.unwrap().iter().all(|namespace| namespace.incarnation != gone));
}

async fn comes_back(passes: bool) {
    let Some(mut stage) = stage(Options::default()).await else { return };
    let client = stage.client.clone();
    let waited = hold(&client).await;
    tokio::join!(stage.backup(), rename(&client, waited, passes));
    stage.moment("renamed while it was listed").await;
    put(&client, "b", 30, 35).await;
    stage.run("shop", doc! { "createIndexes": "b", "indexes": [{ "key": { "m": 1 }, "name": "m" }] }).await;
    stage.moment("and changed since").await;
    stage.check_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_is_renamed_while_a_backup_lists_it_comes_back() {
    comes_back(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_whose_name_passes_to_another_while_a_backup_lists_it_comes_back() {
    comes_back(true).await;
}
