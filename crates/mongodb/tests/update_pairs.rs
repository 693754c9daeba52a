//! The update appliers against a real server: its own results, byte for byte.
//!
//! Random records are updated once each by random commands; the oplog entry is applied to the record as it was and the
//! result compared with the record as it is. `BACKSTAY_SEED` repeats a run, `BACKSTAY_SOAK` enlarges it.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use backstay_mongodb::interpret::{extjson, update};
use backstay_testkit::{Chance, Options, RandomServer, generate, soak};
use bson::raw::{RawDocument, RawDocumentBuf};
use bson::{Bson, Document, Timestamp, doc};
use futures::TryStreamExt as _;
use mongodb::{Client, Collection};

const RECORDS: i32 = 1000;

async fn records(collection: &Collection<RawDocumentBuf>) -> HashMap<i32, RawDocumentBuf> {
    let mut all = HashMap::new();
    let mut cursor = collection.find(doc! {}).await.unwrap();
    while let Some(record) = cursor.try_next().await.unwrap() {
        all.insert(record.get_i32("_id").unwrap(), record);
    }
    all
}

async fn operation_time(client: &Client) -> Timestamp {
    client.database("admin").run_command(doc! { "ping": 1 }).await.unwrap().get_timestamp("operationTime").unwrap()
}

async fn updates_since(client: &Client, since: Timestamp, ns: &str) -> Vec<RawDocumentBuf> {
    let oplog = client.database("local").collection::<RawDocumentBuf>("oplog.rs");
    let filter = doc! { "ts": { "$gt": since }, "ns": ns, "op": "u" };
    oplog.find(filter).await.unwrap().try_collect().await.unwrap()
}

fn show(document: &RawDocument) -> String {
    extjson::document(document.as_bytes()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_update_yields_the_servers_own_bytes() {
    let Some(server) = RandomServer::start(Options::default()).await.unwrap() else { return };
    let RandomServer { client, mut chance, seed, set: _set } = server;
    let wanted = 30_000 * soak();
    let mut pairs = 0;
    let mut forms: HashMap<&str, usize> = HashMap::new();
    let mut round = 0;
    while pairs < wanted {
        let name = format!("c{}", round / 4);
        let collection = client.database("t").collection::<RawDocumentBuf>(&name);
        if round % 4 == 0 {
            let new: Vec<Document> = (0..RECORDS).map(|id| generate::update::record(&mut chance, id)).collect();
            client.database("t").collection::<Document>(&name).insert_many(new).await.unwrap();
        }
        let before = records(&collection).await;
        let since = operation_time(&client).await;
        let updates: Vec<Document> = before
            .iter()
            .map(|(id, record)| {
                let current = bson::deserialize_from_slice(record.as_bytes()).unwrap();
                generate::update::update(&mut chance, *id, &current)
            })
            .collect();
        let report = client
            .database("t")
            .run_command(doc! { "update": &name, "updates": updates.clone(), "ordered": false })
            .await
            .unwrap();
        let after = records(&collection).await;
        let mut changed = 0;
        let mut out = Vec::new();
        for entry in updates_since(&client, since, &format!("t.{name}")).await {
            let id = entry.get_document("o2").unwrap().get_i32("_id").unwrap();
            let o = entry.get_document("o").unwrap();
            *forms
                .entry(match update::form(o.as_bytes()).unwrap() {
                    update::Form::Replacement => "replacement",
                    update::Form::Paths => "$v: 1",
                    update::Form::Diff => "$v: 2",
                })
                .or_default() += 1;
            update::apply(before[&id].as_bytes(), o.as_bytes(), &mut out).unwrap();
            assert!(
                out == after[&id].as_bytes(),
                "BACKSTAY_SEED={seed} round {round}\nbefore {}\nentry  {}\nours   {}\nserver {}",
                show(&before[&id]),
                show(&entry),
                extjson::document(&out).unwrap_or_default(),
                show(&after[&id])
            );
            // Harmless when applied again.
            let once = out.clone();
            update::apply(&once, o.as_bytes(), &mut out).unwrap();
            assert!(out == once, "BACKSTAY_SEED={seed}: not the same when applied twice: {}", show(&entry));
            changed += 1;
        }
        if round == 0 {
            let errors = report.get_array("writeErrors").map(Vec::as_slice).unwrap_or_default();
            println!("{} of {} commands were refused in the first round", errors.len(), updates.len());
        }
        assert!(
            changed > 200,
            "too few updates took effect: {changed}; {:?}",
            report.get_array("writeErrors").ok().and_then(|e| e.first())
        );
        pairs += changed;
        round += 1;
    }
    println!("{pairs} pairs in {round} rounds: {forms:?}");
}

/// A `$v: 1` entry as servers up to 4.4 log it: paths in the order in which they were applied, none below another.
fn paths_entry(chance: &mut Chance) -> Document {
    let paths = [
        "a",
        "b",
        "grid.0",
        "grid.1.2",
        "grid.2.0",
        "n",
        "new.a",
        "new.b.c",
        "nums.0",
        "nums.7",
        "objs.0.k",
        "objs.1.v",
        "objs.3",
        "s.x",
        "str.below",
        "sub.new",
        "sub.w",
        "sub.x",
        "sub.y.list.1",
        "sub.y.new.a",
        "sub.y.z",
    ];
    let (mut set, mut unset) = (Document::new(), Document::new());
    for path in paths {
        match chance.below(8) {
            0 => drop(set.insert(path, generate::value(chance, 1))),
            1 => drop(unset.insert(path, true)),
            _ => {}
        }
    }
    let mut o = doc! { "$v": 1 };
    if !unset.is_empty() {
        o.insert("$unset", unset);
    }
    if o.len() == 1 {
        set.entry("a").or_insert(Bson::Int32(1));
    }
    if !set.is_empty() {
        o.insert("$set", set);
    }
    o
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_by_paths_yield_the_servers_own_bytes() {
    let Some(server) = RandomServer::start(Options::default()).await.unwrap() else { return };
    let RandomServer { client, mut chance, seed, set: _set } = server;
    let database = client.database("t");
    let collection = database.collection::<RawDocumentBuf>("c");
    let new: Vec<Document> = (0..RECORDS).map(|id| generate::update::record(&mut chance, id)).collect();
    database.collection::<Document>("c").insert_many(new).await.unwrap();
    for _ in 0..3 * soak() {
        let before = records(&collection).await;
        let entries: Vec<(i32, Document)> = (0..RECORDS).map(|id| (id, paths_entry(&mut chance))).collect();
        let operations: Vec<Document> =
            entries.iter().map(|(id, o)| doc! { "op": "u", "ns": "t.c", "o2": { "_id": *id }, "o": o }).collect();
        for some in operations.chunks(100) {
            client.database("admin").run_command(doc! { "applyOps": some.to_vec() }).await.unwrap();
        }
        let after = records(&collection).await;
        let mut out = Vec::new();
        for (id, o) in entries {
            let o = RawDocumentBuf::try_from(&o).unwrap();
            update::apply(before[&id].as_bytes(), o.as_bytes(), &mut out).unwrap();
            assert!(
                out == after[&id].as_bytes(),
                "BACKSTAY_SEED={seed}\nbefore {}\nentry  {}\nours   {}\nserver {}",
                show(&before[&id]),
                show(&o),
                extjson::document(&out).unwrap_or_default(),
                show(&after[&id])
            );
        }
    }
}
