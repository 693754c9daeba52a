//! Capped collections: what rolled out of them is gone as of the instant it went, and what stays comes back in its
//! natural order, whatever its ids are.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test at the edge: real clock, real server")]

mod scenario;

use backstay_mongodb::Options;
use bson::{Document, doc};
use mongodb::Database;
use scenario::Stage;

/// Ids whose order is not the order of arrival.
fn shuffled(n: i32) -> i32 {
    (n * 7919) % 1009
}

async fn log(database: &Database, name: &str, from: i32, to: i32) {
    let documents = (from..to).map(|n| doc! { "_id": shuffled(n), "n": n, "text": "x".repeat(40) });
    database.collection::<Document>(name).insert_many(documents).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn capped_collections_come_back_in_their_natural_order() {
    if backstay_testkit::require_mongod_since(6, 0).is_none() {
        return;
    }
    let Some(mut stage) = Stage::with(&["enableTestCommands=1"], Options::default()).await else { return };
    let shop = stage.database("shop");
    stage.run("shop", doc! { "create": "log", "capped": true, "size": 1 << 20, "max": 60 }).await;
    stage.run("shop", doc! { "create": "small", "capped": true, "size": 8192 }).await;
    stage.run("shop", doc! { "create": "sv", "capped": true, "size": 8192, "collation": { "locale": "sv" } }).await;
    log(&shop, "log", 0, 50).await;
    log(&shop, "small", 0, 300).await;
    log(&shop, "sv", 0, 10).await;
    log(&shop, "plain", 0, 100).await;
    log(&shop, "plain2", 0, 100).await;
    stage.backup().await;
    stage.moment("as the base found them").await;
    log(&shop, "log", 50, 75).await;
    log(&shop, "small", 300, 320).await;
    log(&shop, "sv", 10, 30).await;
    stage.moment("rolled over by number and by size").await;

    let small = shop.collection::<Document>("log");
    small.update_one(doc! { "_id": shuffled(40) }, doc! { "$set": { "text": "y".repeat(40) } }).await.unwrap();
    small.replace_one(doc! { "_id": shuffled(44) }, doc! { "n": -44, "text": "z".repeat(40) }).await.unwrap();
    small.replace_one(doc! { "_id": shuffled(60) }, doc! { "n": -60, "text": "z".repeat(40) }).await.unwrap();
    small.delete_one(doc! { "_id": shuffled(50) }).await.unwrap();
    small.delete_one(doc! { "_id": shuffled(45) }).await.unwrap();
    stage.moment("updated, replaced and deleted in the middle").await;
    // The same id again is a new record, at the end.
    small.insert_one(doc! { "_id": shuffled(45), "again": true }).await.unwrap();
    small.insert_one(doc! { "_id": "now", "t": bson::Timestamp { time: 0, increment: 0 } }).await.unwrap();
    small.insert_one(doc! { "_id": "after" }).await.unwrap();
    stage.moment("an id that was deleted comes again").await;

    stage.run("shop", doc! { "collMod": "small", "cappedSize": 4096, "cappedMax": 15 }).await;
    stage.moment("a smaller cap, not in effect yet").await;
    log(&shop, "small", 320, 321).await;
    stage.moment("the smaller cap took effect").await;
    stage.run("shop", doc! { "collMod": "small", "cappedSize": 100_000, "cappedMax": 0 }).await;
    log(&shop, "small", 321, 380).await;
    stage.moment("a larger cap").await;

    stage.run("shop", doc! { "convertToCapped": "plain", "size": 4096 }).await;
    log(&shop, "plain", 200, 210).await;
    stage.moment("converted").await;
    stage.run("shop", doc! { "cloneCollectionAsCapped": "plain2", "toCollection": "clone", "size": 100_000 }).await;
    log(&shop, "clone", 200, 210).await;
    stage.moment("cloned as capped").await;
    stage.run("admin", doc! { "renameCollection": "shop.clone", "to": "shop.plain", "dropTarget": true }).await;
    log(&shop, "plain", 210, 215).await;
    stage.moment("renamed over another").await;
    stage.run("admin", doc! { "renameCollection": "shop.plain", "to": "other.plain" }).await;
    stage.moment("renamed into another database").await;
    stage.check_all().await;

    // A second scan finds nothing new, and the order holds from it on as well.
    log(&shop, "log", 80, 90).await;
    stage.moment("after a second scan").await;
    stage.check_all().await;
}
