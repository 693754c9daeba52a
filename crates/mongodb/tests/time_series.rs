//! Time series: their buckets come back byte for byte, and with them what the series shows.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test at the edge: real clock, real server")]

mod scenario;

use backstay_engine::Scope;
use backstay_mongodb::Options;
use bson::{DateTime, Document, doc};
use mongodb::Database;
use scenario::{Stage, assert_same, clear, show};

/// Measurements of several sensors; `step` is seconds between them.
async fn measure(database: &Database, name: &str, from: i64, to: i64, step: i64) {
    let documents = (from..to).map(|n| {
        let at = DateTime::from_millis(1_700_000_000_000 + n * step * 1000);
        #[allow(clippy::cast_precision_loss)]
        let mut document = doc! { "t": at, "m": { "city": format!("c{}", n % 3), "n": n % 2 }, "v": n as f64 / 3.0 };
        if n % 4 == 0 {
            document.insert("other", format!("text {n}"));
        }
        document
    });
    database.collection::<Document>(name).insert_many(documents).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_come_back_byte_for_byte() {
    if backstay_testkit::require_mongod_since(6, 0).is_none() {
        return;
    }
    let Some(mut stage) = Stage::open().await else { return };
    let shop = stage.database("shop");
    for create in [
        doc! { "create": "weather", "timeseries": { "timeField": "t", "metaField": "m", "granularity": "minutes" }, "expireAfterSeconds": 1_700_000_000 },
        doc! { "create": "plain", "timeseries": { "timeField": "t" } },
        doc! { "create": "sv", "timeseries": { "timeField": "t", "metaField": "m" }, "collation": { "locale": "sv" } },
    ] {
        stage.run("shop", create).await;
    }
    for name in ["weather", "plain", "sv"] {
        measure(&shop, name, 0, 40, 60).await;
    }
    stage
        .run("shop", doc! { "create": "hot", "viewOn": "weather", "pipeline": [{ "$match": { "v": { "$gt": 5 } } }] })
        .await;
    stage.backup().await;
    stage.moment("as the base found them").await;
    for name in ["weather", "plain", "sv"] {
        measure(&shop, name, 40, 60, 60).await;
    }
    stage.moment("open buckets grew").await;
    // More than 1,000 in a bucket, and out of order: buckets are closed, compressed, reopened.
    measure(&shop, "plain", 0, 2500, 1).await;
    measure(&shop, "weather", 3000, 3100, 86_400).await;
    measure(&shop, "weather", 30, 50, 60).await;
    stage.moment("buckets were closed and compressed").await;
    stage.run("shop", doc! { "createIndexes": "weather", "indexes": [{ "key": { "m.city": 1, "t": -1 }, "name": "city" }, { "key": { "v": 1 }, "name": "v" }] }).await;
    stage.moment("indexes").await;
    stage.run("shop", doc! { "collMod": "weather", "index": { "name": "v", "hidden": true } }).await;
    stage.run("shop", doc! { "collMod": "weather", "timeseries": { "granularity": "hours" } }).await;
    stage.run("shop", doc! { "collMod": "weather", "expireAfterSeconds": "off" }).await;
    stage.moment("modified").await;
    measure(&shop, "weather", 0, 30, 3600).await;
    let weather = shop.collection::<Document>("weather");
    let deleted = weather.delete_many(doc! { "m": { "city": "c1", "n": 0 } }).await;
    let updated = weather.update_many(doc! { "m.city": "c2" }, doc! { "$set": { "m.city": "c9" } }).await;
    println!("deleted {deleted:?}, updated {updated:?}");
    stage.moment("measurements by meta deleted and updated").await;
    stage.run("shop", doc! { "drop": "weather" }).await;
    stage.moment("dropped").await;
    stage.run("shop", doc! { "create": "weather", "timeseries": { "timeField": "t" } }).await;
    measure(&shop, "weather", 0, 5, 60).await;
    stage.moment("made again, otherwise").await;
    stage.check_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_of_a_series_stands_for_its_buckets() {
    let options = Options { include: vec!["shop.weather".into(), "shop.orders".into()], ..Options::default() };
    let Some(mut stage) = Stage::with(&[], options).await else { return };
    let shop = stage.database("shop");
    stage.run("shop", doc! { "create": "weather", "timeseries": { "timeField": "t", "metaField": "m" } }).await;
    stage.run("shop", doc! { "create": "other", "timeseries": { "timeField": "t" } }).await;
    measure(&shop, "weather", 0, 10, 60).await;
    measure(&shop, "other", 0, 10, 60).await;
    stage.backup().await;
    measure(&shop, "weather", 10, 20, 60).await;
    stage.run("shop", doc! { "createIndexes": "weather", "indexes": [{ "key": { "m": 1 }, "name": "m" }] }).await;
    stage.moment("two series, one protected").await;
    stage.capture().await;
    clear(&stage.target_client).await;
    let report = stage.restore(stage.moments[0].at, Scope::default()).await.unwrap();
    assert!(report.proof.unwrap().equal);
    let mut expected = stage.moments[0].content.clone();
    let found = show(&stage.target_client).await;
    expected.remove("shop.other");
    expected.remove("shop.system.buckets.other");
    // The views of a database are one collection; the server keeps the definition of the series in it.
    let views = "shop.system.views";
    assert_eq!(found[views].documents.len(), 1);
    expected.insert(views.to_owned(), found[views].clone());
    assert_same(&found, &expected, "one series");
}
