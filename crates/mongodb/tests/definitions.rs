//! Definitions folded from a real server's oplog against those built from its lists.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use backstay_model::{Body, BodyRef, Incarnation, Interpreter as _, Tick};
use backstay_mongodb::interpret::{MongoInterpreter, definition, extjson, oplog};
use backstay_testkit::{Options, ReplicaSet, require_mongod};
use bson::raw::RawDocumentBuf;
use bson::{Bson, Document, doc};
use futures::TryStreamExt as _;
use mongodb::{Client, Database};

type Definitions = BTreeMap<String, String>;

async fn run(database: &Database, command: Document) {
    let shown = command.to_string();
    database.run_command(command).await.unwrap_or_else(|error| panic!("{shown}: {error}"));
}

async fn listed(client: &Client) -> Definitions {
    let mut definitions = Definitions::new();
    for name in client.list_database_names().await.unwrap() {
        if oplog::is_internal(&name) {
            continue;
        }
        let database = client.database(&name);
        let collections: Vec<Document> =
            database.run_cursor_command(doc! { "listCollections": 1 }).await.unwrap().try_collect().await.unwrap();
        for collection in collections {
            let Ok(uuid) = collection.get_document("info").unwrap().get("uuid").ok_or(()) else { continue };
            let Bson::Binary(uuid) = uuid else { panic!("a UUID") };
            let short = collection.get_str("name").unwrap();
            let indexes: Vec<Document> =
                database.run_cursor_command(doc! { "listIndexes": short }).await.unwrap().try_collect().await.unwrap();
            let indexes: Vec<Vec<u8>> = indexes.iter().map(|index| bson::serialize_to_vec(index).unwrap()).collect();
            let options = bson::serialize_to_vec(collection.get_document("options").unwrap()).unwrap();
            let ns = format!("{name}.{short}");
            let uuid: [u8; 16] = uuid.bytes.as_slice().try_into().unwrap();
            let built = definition::build(&ns, &uuid, &options, indexes.iter().map(Vec::as_slice)).unwrap();
            assert_eq!(definition::Definition::read(&built).unwrap().to_bytes().unwrap(), built);
            definitions.insert(ns, extjson::document(&built).unwrap());
        }
    }
    definitions
}

async fn folded(client: &Client) -> Definitions {
    let interpreter = MongoInterpreter::default();
    let oplog = client.database("local").collection::<RawDocumentBuf>("oplog.rs");
    let mut entries = oplog.find(doc! {}).await.unwrap();
    let mut definitions: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    while let Some(entry) = entries.try_next().await.unwrap() {
        let mut edits = Vec::new();
        let read = interpreter.changes(entry.as_bytes(), Tick::ZERO, 0, &mut |change| {
            if change.namespace == Incarnation::SYSTEM {
                edits.push((change.id.to_vec(), change.body.to_owned()));
            }
        });
        read.unwrap_or_else(|error| panic!("{error}: {}", extjson::document(entry.as_bytes()).unwrap()));
        for (id, body) in edits {
            match body.as_ref() {
                BodyRef::Image(image) => drop(definitions.insert(id, image.to_vec())),
                BodyRef::Tombstone => assert!(definitions.remove(&id).is_some(), "an unknown incarnation is dropped"),
                BodyRef::Delta(operator, delta) => {
                    let mut out = Vec::new();
                    interpreter.fold(operator, &definitions[&id], delta, &mut out).unwrap();
                    // Harmless when applied again: a base may show it already.
                    let once = out.clone();
                    interpreter.fold(operator, &once, delta, &mut out).unwrap();
                    assert_eq!(out, once, "{}", Body::Delta(operator, delta.to_vec()) == body);
                    definitions.insert(id, out);
                }
            }
        }
    }
    let shown = definitions
        .values()
        .map(|definition| (interpreter.describe(definition).unwrap().name, extjson::document(definition).unwrap()));
    shown.collect()
}

async fn compare(client: &Client) {
    let (folded, listed) = (folded(client).await, listed(client).await);
    for (name, definition) in &listed {
        assert_eq!(folded.get(name), Some(definition), "\nfolded from the oplog, then listed by the server: {name}");
    }
    assert_eq!(folded.keys().collect::<Vec<_>>(), listed.keys().collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oplog_and_the_servers_lists_yield_the_same_definitions() {
    if backstay_testkit::require_mongod_since(6, 0).is_none() {
        return;
    }
    if require_mongod().is_none() {
        return;
    }
    let set = ReplicaSet::start(Options::default()).await.unwrap();
    let client = set.client().await.unwrap();
    let shop = client.database("shop");
    run(&shop, doc! { "create": "plain" }).await;
    run(&shop, doc! { "create": "swedish", "collation": { "locale": "sv", "strength": 2 } }).await;
    run(&shop, doc! { "create": "checked", "validator": { "n": { "$gt": 1 } }, "validationAction": "warn" }).await;
    run(&shop, doc! { "create": "checked2", "validator": { "$jsonSchema": { "required": ["a"] } }, "validationLevel": "moderate" }).await;
    run(&shop, doc! { "create": "capped", "capped": true, "size": 5000, "max": 10 }).await;
    run(&shop, doc! { "create": "clustered", "clusteredIndex": { "key": { "_id": 1 }, "unique": true }, "expireAfterSeconds": 99 }).await;
    run(&shop, doc! { "create": "images", "changeStreamPreAndPostImages": { "enabled": true } }).await;
    run(&shop, doc! { "create": "weather", "timeseries": { "timeField": "t", "metaField": "m", "granularity": "minutes" }, "expireAfterSeconds": 3600 }).await;
    run(&shop, doc! { "create": "view", "viewOn": "plain", "pipeline": [] }).await;
    run(&shop, doc! { "create": "engine", "storageEngine": { "wiredTiger": { "configString": "block_compressor=zlib" } }, "indexOptionDefaults": { "storageEngine": { "wiredTiger": {} } } }).await;
    client.database("other").collection::<Document>("implicit").insert_one(doc! { "a": 1 }).await.unwrap();
    compare(&client).await;

    // Indexes of several kinds, on an empty collection and on one with records.
    shop.collection::<Document>("plain").insert_one(doc! { "n": 1, "t": "x" }).await.unwrap();
    for collection in ["plain", "swedish", "checked", "engine"] {
        let indexes = vec![
            doc! { "key": { "b": -1, "a": 1 }, "name": "b_-1_a_1" },
            doc! { "key": { "u": 1 }, "name": "u", "unique": true, "partialFilterExpression": { "u": { "$exists": true } } },
            doc! { "key": { "ttl": 1 }, "name": "ttl", "expireAfterSeconds": 60 },
            doc! { "key": { "ttl2": 1 }, "name": "ttl2", "expireAfterSeconds": 60.0, "background": true },
            doc! { "key": { "s": 1 }, "name": "s", "sparse": true, "hidden": true },
            doc! { "key": { "s2": 1 }, "name": "s2", "sparse": false, "unique": false },
            doc! { "key": { "h": "hashed" }, "name": "h" },
            doc! { "key": { "$**": 1 }, "name": "wild", "wildcardProjection": { "x": 0 } },
            doc! { "key": { "g": "2dsphere" }, "name": "g" },
            doc! { "key": { "c": 1 }, "name": "c", "collation": { "locale": "de" } },
            doc! { "key": { "c": 1 }, "name": "c_simple", "collation": { "locale": "simple" } },
        ];
        run(&shop, doc! { "createIndexes": collection, "indexes": indexes }).await;
    }
    let others = vec![
        doc! { "key": { "t": "text" }, "name": "t", "weights": { "t": 3 } },
        doc! { "key": { "g2": "2d" }, "name": "g2", "bits": 20 },
    ];
    run(&shop, doc! { "createIndexes": "plain", "indexes": others }).await;
    run(&shop, doc! { "createIndexes": "weather", "indexes": [{ "key": { "m.city": 1, "t": 1 }, "name": "city" }] })
        .await;
    compare(&client).await;

    for index in [
        doc! { "name": "b_-1_a_1", "hidden": true },
        doc! { "keyPattern": { "s": 1 }, "hidden": false },
        doc! { "keyPattern": { "ttl": 1 }, "expireAfterSeconds": 5000 },
        doc! { "name": "c", "prepareUnique": true },
        doc! { "name": "c", "unique": true },
        doc! { "name": "s2", "prepareUnique": true },
        doc! { "name": "s2", "prepareUnique": false },
        doc! { "name": "s2", "expireAfterSeconds": 77 },
    ] {
        let shown = index.to_string();
        run(&shop, doc! { "collMod": "plain", "index": index }).await;
        println!("{shown}");
        compare(&client).await;
    }
    run(&shop, doc! { "collMod": "plain", "validator": { "n": { "$type": "int" } }, "validationLevel": "moderate" })
        .await;
    run(&shop, doc! { "collMod": "checked", "validator": {}, "validationAction": "error" }).await;
    run(&shop, doc! { "collMod": "checked2", "validationLevel": "off" }).await;
    run(&shop, doc! { "collMod": "images", "changeStreamPreAndPostImages": { "enabled": false } }).await;
    run(&shop, doc! { "collMod": "capped", "cappedSize": 9000, "cappedMax": 20 }).await;
    run(&shop, doc! { "collMod": "clustered", "expireAfterSeconds": 5 }).await;
    compare(&client).await;
    run(&shop, doc! { "collMod": "clustered", "expireAfterSeconds": "off" }).await;
    run(&shop, doc! { "collMod": "weather", "timeseries": { "granularity": "hours" } }).await;
    run(&shop, doc! { "collMod": "weather", "expireAfterSeconds": 7200 }).await;
    compare(&client).await;

    run(&shop, doc! { "dropIndexes": "plain", "index": "h" }).await;
    run(&shop, doc! { "dropIndexes": "plain", "index": { "ttl2": 1 } }).await;
    run(&shop, doc! { "dropIndexes": "plain", "index": ["g", "g2"] }).await;
    run(&shop, doc! { "dropIndexes": "swedish", "index": "*" }).await;
    compare(&client).await;

    let admin = client.database("admin");
    run(&admin, doc! { "renameCollection": "shop.plain", "to": "shop.renamed" }).await;
    run(&admin, doc! { "renameCollection": "shop.checked2", "to": "shop.checked", "dropTarget": true }).await;
    run(&admin, doc! { "renameCollection": "shop.engine", "to": "other.engine" }).await;
    run(&shop, doc! { "convertToCapped": "swedish", "size": 10_000 }).await;
    run(&shop, doc! { "aggregate": "renamed", "pipeline": [{ "$out": "out" }], "cursor": {} }).await;
    run(&shop, doc! { "aggregate": "renamed", "pipeline": [{ "$out": "out" }], "cursor": {} }).await;
    run(&shop, doc! { "drop": "images" }).await;
    run(&shop, doc! { "drop": "weather" }).await;
    compare(&client).await;

    run(&client.database("other"), doc! { "dropDatabase": 1 }).await;
    compare(&client).await;
    assert!(listed(&client).await.len() > 4);
}
