//! Capped collections in place: what comes back stands behind the others, and nothing is pushed out for it unsaid.

#![allow(clippy::unwrap_used)]

mod rollover;
mod shop;
mod witness;

use backstay_testkit::{Options, ReplicaSet, require_mongod};
use bson::{Document, doc};
use mongodb::Client;
use rollover::{roll_over, short_oplog};
use serde_json::json;
use shop::{Shop, all};
use witness::instant;

/// A shop with a full capped collection of two tenants, backed up, and an instant after that. Ids do not ascend as records
/// arrive.
async fn full_log() -> Option<(Shop, String)> {
    let shop = shop::open().await?;
    let database = shop.client.database("shop");
    database.run_command(doc! { "create": "log", "capped": true, "size": 1 << 20, "max": 60 }).await.unwrap();
    fill(&shop, 0, 60).await;
    shop.json(&["init"]);
    shop.json(&["backup", "shop"]);
    let at = shop.now().await;
    Some((shop, at))
}

async fn fill(shop: &Shop, from: i32, to: i32) {
    let records = (from..to).map(|n| doc! { "_id": (n * 7919) % 1009, "n": n, "tenant": format!("t{}", n % 2) });
    shop.client.database("shop").collection::<Document>("log").insert_many(records).await.unwrap();
}

const REWIND: [&str; 8] = ["restore", "shop", "--ns", "shop.log", "--in-place", "--yes", "--json", "--at"];

/// The numbers of a collection in the order in which they stand.
async fn numbers(client: &Client, name: &str) -> Vec<i32> {
    let find = doc! { "find": name, "batchSize": 1000, "singleBatch": true };
    let reply = client.database("shop").run_command(find).await.unwrap();
    let batch = reply.get_document("cursor").unwrap().get_array("firstBatch").unwrap();
    batch.iter().map(|record| record.as_document().unwrap().get_i32("n").unwrap()).collect()
}

#[test]
fn what_was_pushed_out_comes_back_behind_the_others_and_an_undo_takes_it_back() {
    if backstay_testkit::require_mongod_since(5, 0).is_none() {
        return;
    }
    shop::runtime().block_on(async {
        let Some((shop, at)) = full_log().await else { return };
        let then = all(&shop.client, "shop", "log").await;
        fill(&shop, 60, 85).await;
        let before = all(&shop.client, "shop", "log").await;
        for proof in ["changed", "full"] {
            let restored = shop.run(&[&REWIND, &[at.as_str(), "--proof", proof][..]].concat()).ok().json();
            assert_eq!(
                restored["plan"],
                json!({"insert": 25, "replace": 0, "delete": 25, "unchanged": 0}),
                "{restored}"
            );
            assert_eq!(restored["proof"]["equal"], true, "{restored}");
            assert!(restored["notes"].to_string().contains("behind the others"), "{restored}");
            assert_eq!(all(&shop.client, "shop", "log").await, then, "nothing was pushed out for it");
            assert_eq!(numbers(&shop.client, "log").await[..35], (25..60).collect::<Vec<_>>());
            let undone = shop.json(&["undo", restored["id"].as_str().unwrap(), "--yes"]);
            assert_eq!(undone["proof"]["equal"], true, "{undone}");
            assert_eq!(all(&shop.client, "shop", "log").await, before);
        }
    });
}

#[test]
fn what_would_push_others_out_is_refused_before_anything_is_written() {
    if backstay_testkit::require_mongod_since(6, 0).is_none() {
        return;
    }
    shop::runtime().block_on(async {
        let Some((shop, at)) = full_log().await else { return };
        fill(&shop, 60, 70).await;
        // One tenant's records went, and the other's took their place.
        let log = shop.client.database("shop").collection::<Document>("log");
        log.delete_many(doc! { "tenant": "t0", "n": { "$gte": 60 } }).await.unwrap();
        let late = (0..5).map(|n| doc! { "_id": 2000 + n, "n": 2000 + n, "tenant": "t1" });
        log.insert_many(late).await.unwrap();
        let before = numbers(&shop.client, "log").await;
        assert_eq!(before.len(), 60);
        for preview in [&["--preview"][..], &[]] {
            let args = [&REWIND, &[at.as_str(), "--tenant", "t0"][..], preview].concat();
            let run = shop.run(&args).expect_code(15);
            assert_eq!(numbers(&shop.client, "log").await, before);
            if !preview.is_empty() {
                assert_eq!(run.json()["refusals"][0]["kind"], "room", "{run}");
                continue;
            }
            let refused = run.json_error();
            let message = refused["message"].as_str().unwrap();
            assert!(message.contains("nothing was written") && message.contains("oldest"), "{refused}");
            assert!(refused["hint"].as_str().is_some_and(|hint| hint.contains("cappedSize")), "{refused}");
        }
        // With a larger cap it fits.
        let wider = doc! { "collMod": "log", "cappedSize": 1 << 20, "cappedMax": 100 };
        shop.client.database("shop").run_command(wider).await.unwrap();
        let restored = shop.run(&[&REWIND, &[at.as_str(), "--tenant", "t0"][..]].concat()).ok().json();
        assert_eq!(restored["proof"]["equal"], true, "{restored}");
        let after = numbers(&shop.client, "log").await;
        assert_eq!((&after[..60], after.len()), (&before[..], 65));
    });
}

#[test]
fn what_a_gap_hid_keeps_its_place() {
    if backstay_testkit::require_mongod_since(5, 0).is_none() {
        return;
    }
    shop::runtime().block_on(async {
        if require_mongod().is_none() {
            return;
        }
        let shop = short_oplog().await;
        let database = shop.client.database("shop");
        database.run_command(doc! { "create": "log", "capped": true, "size": 1 << 20, "max": 60 }).await.unwrap();
        fill(&shop, 0, 40).await;
        shop.json(&["init"]);
        shop.json(&["backup", "shop"]);
        // One collection is filled on in the gap, and one is made in it.
        fill(&shop, 40, 80).await;
        let log = database.collection::<Document>("log");
        log.update_one(doc! { "n": 50 }, doc! { "$inc": { "n": 1000 } }).await.unwrap();
        database.run_command(doc! { "create": "late", "capped": true, "size": 1 << 20 }).await.unwrap();
        let late = (0..30).map(|n| doc! { "_id": (n * 7919) % 1009, "n": n, "tenant": "t1" });
        database.collection::<Document>("late").insert_many(late).await.unwrap();
        roll_over(&shop.client, instant(&shop.client).await).await;
        shop.json(&["capture", "shop", "--until", "now"]);
        assert_eq!(shop.json(&["timeline", "shop"])["gaps"].as_array().map(Vec::len), Some(1));
        fill(&shop, 80, 90).await;
        let at = shop.now().await;
        shop.json(&["capture", "shop", "--until", "now"]);

        let into = ReplicaSet::start(Options::default()).await.unwrap();
        for compact in [false, true] {
            if compact {
                shop.json(&["compact", "shop"]);
            }
            let client = into.client().await.unwrap();
            client.database("shop").drop().await.unwrap();
            shop.json(&["restore", "shop", "--at", &at, "--into", &into.uri(), "--yes"]);
            for name in ["log", "late"] {
                assert_eq!(numbers(&client, name).await, numbers(&shop.client, name).await, "{name}");
            }
        }
    });
}
