//! Every kind of index and every form of `collMod`, as of instants between the changes.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test at the edge: real clock, real server")]

#[macro_use]
mod scenario;

use backstay_mongodb::Feed;
use bson::{Document, doc};
use scenario::Stage;

async fn records(stage: &Stage, name: &str) {
    let documents = (0..30).map(|n| {
        doc! {
            "_id": n, "a": n % 7, "b": -n, "u": n, "s": format!("text {n}"), "tags": ["x", n % 3],
            "place": { "type": "Point", "coordinates": [f64::from(n), f64::from(-n)] }, "flat": [n, n + 1],
            "when": bson::DateTime::from_millis(4_000_000_000_000 + i64::from(n)),
        }
    });
    stage.database("shop").collection::<Document>(name).insert_many(documents).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_index_comes_back() {
    if backstay_testkit::require_mongod_since(6, 0).is_none() {
        return;
    }
    let Some(mut stage) = Stage::open().await else { return };
    stage.run("shop", doc! { "create": "plain" }).await;
    stage.run("shop", doc! { "create": "sv", "collation": { "locale": "sv", "strength": 2 } }).await;
    records(&stage, "plain").await;
    records(&stage, "sv").await;
    stage.backup().await;
    stage.moment("none").await;
    for collection in ["plain", "sv"] {
        for index in [
            doc! { "key": { "a": 1, "b": -1 }, "name": "compound" },
            doc! { "key": { "a": 1.0, "s": -1i64 }, "name": "numbers of other kinds" },
            doc! { "key": { "u": 1 }, "name": "u", "unique": true, "partialFilterExpression": { "u": { "$exists": true }, "a": { "$gt": 1.0 } } },
            doc! { "key": { "u": -1 }, "name": "hidden", "hidden": true },
            doc! { "key": { "missing": 1 }, "name": "sparse", "sparse": true, "unique": true },
            doc! { "key": { "when": 1 }, "name": "ttl", "expireAfterSeconds": 3600 },
            doc! { "key": { "when": -1 }, "name": "ttl2", "expireAfterSeconds": 1e6, "background": true },
            doc! { "key": { "a": "hashed" }, "name": "hashed" },
            doc! { "key": { "a": "hashed", "b": 1 }, "name": "compound hashed" },
            doc! { "key": { "$**": 1 }, "name": "wildcard", "wildcardProjection": { "tags": 0, "s": 0 } },
            doc! { "key": { "tags.$**": 1 }, "name": "wildcard below" },
            doc! { "key": { "place": "2dsphere" }, "name": "sphere" },
            doc! { "key": { "place": "2dsphere", "a": 1 }, "name": "sphere2", "2dsphereIndexVersion": 2 },
            doc! { "key": { "s": 1 }, "name": "de", "collation": { "locale": "de", "numericOrdering": true } },
            doc! { "key": { "s": 1 }, "name": "simple", "collation": { "locale": "simple" } },
            doc! { "key": { "s": -1 }, "name": "engine", "storageEngine": { "wiredTiger": { "configString": "" } } },
            doc! { "key": { "b": 1 }, "name": "old", "v": 1 },
            doc! { "key": { "prepared": 1 }, "name": "prepared", "prepareUnique": true },
        ] {
            stage.run("shop", doc! { "createIndexes": collection, "indexes": [index] }).await;
        }
    }
    stage.moment("nearly all").await;
    for index in [
        doc! { "key": { "s": "text", "extra": 1 }, "name": "text", "weights": { "s": 3, "other": 5 }, "default_language": "german", "language_override": "lang" },
        doc! { "key": { "flat": "2d" }, "name": "flat", "bits": 20, "min": -500.0, "max": 500.5 },
        doc! { "key": { "flat": "2d", "a": 1 }, "name": "flat2", "min": -500, "max": 500 },
    ] {
        stage.run("shop", doc! { "createIndexes": "plain", "indexes": [index] }).await;
    }
    stage
        .run("shop", doc! { "createIndexes": "all text", "indexes": [{ "key": { "$**": "text" }, "name": "t" }] })
        .await;
    stage.moment("all").await;

    for index in [
        doc! { "name": "compound", "hidden": true },
        doc! { "keyPattern": { "u": -1 }, "hidden": false },
        doc! { "keyPattern": { "when": 1 }, "expireAfterSeconds": 5000 },
        doc! { "name": "compound hashed", "hidden": true },
        doc! { "name": "de", "prepareUnique": true },
        doc! { "name": "de", "unique": true },
        doc! { "name": "prepared", "prepareUnique": false },
        doc! { "name": "numbers of other kinds", "expireAfterSeconds": 9 },
    ] {
        let label = index.to_string();
        // A compound index cannot expire anything: such a change is refused, and nothing is logged.
        let refused = stage.database("shop").run_command(doc! { "collMod": "plain", "index": index }).await.is_err();
        stage.moment(&format!("{label}{}", if refused { " (refused)" } else { "" })).await;
    }
    stage.run("shop", doc! { "dropIndexes": "plain", "index": ["hashed", "text"] }).await;
    stage.run("shop", doc! { "dropIndexes": "plain", "index": { "$**": 1 } }).await;
    stage.moment("some dropped").await;
    stage.run("shop", doc! { "dropIndexes": "sv", "index": "*" }).await;
    stage.moment("all of one dropped").await;
    stage.check_all().await;
}

async fn every_option_comes_back_through_every_change_of_it(feed: Feed) {
    if backstay_testkit::require_mongod_since(6, 0).is_none() {
        return;
    }
    let Some(mut stage) = Stage::open_by(feed).await else { return };
    let clustered = doc! { "key": { "_id": 1 }, "unique": true };
    for create in [
        doc! { "create": "plain" },
        doc! { "create": "checked", "validator": { "n": { "$gt": 1 } }, "validationAction": "warn" },
        doc! { "create": "schema", "validator": { "$jsonSchema": { "required": ["a"], "properties": { "a": { "bsonType": "int" } } } }, "validationLevel": "moderate" },
        doc! { "create": "images", "changeStreamPreAndPostImages": { "enabled": true } },
        doc! { "create": "clustered", "clusteredIndex": clustered.clone(), "expireAfterSeconds": 1_000_000_000 },
        doc! { "create": "named", "clusteredIndex": { "key": { "_id": 1 }, "unique": true, "name": "by id", "v": 2 }, "collation": { "locale": "fr" } },
        doc! { "create": "engine", "storageEngine": { "wiredTiger": { "configString": "block_compressor=zlib" } }, "indexOptionDefaults": { "storageEngine": { "wiredTiger": { "configString": "prefix_compression=false" } } } },
        doc! { "create": "view", "viewOn": "plain", "pipeline": [{ "$match": { "n": 1 } }] },
    ] {
        stage.run("shop", create).await;
    }
    stage.database("shop").collection::<Document>("plain").insert_one(doc! { "_id": 1, "n": 1 }).await.unwrap();
    stage.database("shop").collection::<Document>("clustered").insert_one(doc! { "_id": 1, "n": 1 }).await.unwrap();
    stage.backup().await;
    stage.moment("as created").await;
    for change in [
        doc! { "collMod": "plain", "validator": { "n": { "$type": "int" } }, "validationLevel": "moderate" },
        doc! { "collMod": "plain", "validationAction": "warn" },
        doc! { "collMod": "plain", "validationLevel": "off" },
        doc! { "collMod": "plain", "validator": {}, "validationLevel": "strict", "validationAction": "error" },
        doc! { "collMod": "checked", "validator": {} },
        doc! { "collMod": "schema", "validator": { "$expr": { "$gt": ["$a", 1.0] } }, "validationAction": "warn" },
        doc! { "collMod": "images", "changeStreamPreAndPostImages": { "enabled": false } },
        doc! { "collMod": "plain", "changeStreamPreAndPostImages": { "enabled": true } },
        doc! { "collMod": "plain", "recordPreImages": false },
        doc! { "collMod": "clustered", "expireAfterSeconds": 2_000_000_000 },
        doc! { "collMod": "clustered", "expireAfterSeconds": "off" },
        doc! { "collMod": "clustered", "expireAfterSeconds": 3_000_000_000i64 },
        doc! { "collMod": "view", "viewOn": "schema", "pipeline": [] },
        doc! { "collMod": "view", "viewOn": "plain", "pipeline": [{ "$project": { "x": 1.0 } }, { "$match": {} }] },
    ] {
        let label = change.to_string();
        let refused = stage.database("shop").run_command(change).await.is_err();
        stage.moment(&format!("{label}{}", if refused { " (refused)" } else { "" })).await;
    }
    stage.check_all().await;
    let refused: Vec<_> = stage.moments.iter().filter(|moment| moment.label.ends_with("(refused)")).collect();
    assert!(refused.len() < 4, "{:?}", refused.iter().map(|moment| &moment.label).collect::<Vec<_>>());
}

by_both!(every_option_comes_back_through_every_change_of_it);
