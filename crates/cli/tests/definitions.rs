//! Definitions on a real replica set: what a restore defines, also when it was cut short, and what it says when they differ.

#![allow(clippy::unwrap_used)]

mod shop;
mod witness;

use backstay_testkit::{Options, ReplicaSet};
use bson::doc;
use shop::{Shop, all, indexes};

async fn command(shop: &Shop, command: bson::Document) {
    shop.client.database("shop").run_command(command).await.unwrap();
}

#[test]
fn a_selective_restore_that_died_defines_what_it_created() {
    shop::runtime().block_on(async {
        let Some(shop) = shop::open().await else { return };
        shop.fill(3, 40).await;
        command(&shop, doc! { "create": "capped", "capped": true, "size": 100_000, "max": 60 }).await;
        let capped = shop.client.database("shop").collection("capped");
        capped.insert_many((0..20).map(|n| doc! { "_id": n, "tenant": "t1", "n": n })).await.unwrap();
        shop.json(&["init"]);
        shop.json(&["backup", "shop"]);
        let at = shop.now().await;
        shop.json(&["capture", "shop", "--until", "now"]);
        let there = witness::definitions(&shop.client, &["shop"]).await;
        for point in ["restore.partition-written", "restore.partition-written:2", "restore.indexes-built"] {
            let other = ReplicaSet::start(Options { name: "rs1".into(), ..Options::default() }).await.unwrap();
            let into = other.uri();
            let args = ["restore", "shop", "--at", &at, "--tenant", "t1", "--ns", "shop.*", "--into", &into, "--yes"];
            assert!(!witness::die_at(point, &shop.program, &args), "{point}");
            let restored = shop.json(&args);
            assert_eq!(restored["proof"]["equal"], true, "{point}: {restored}");
            let client = other.client().await.unwrap();
            assert_eq!(witness::definitions(&client, &["shop"]).await, there, "{point}");
            assert_eq!(indexes(&client, "shop", "orders").await, indexes(&shop.client, "shop", "orders").await);
            assert_eq!(all(&client, "shop", "orders").await.len(), 40);
        }
    });
}

#[test]
fn options_that_changed_since_are_not_proved() {
    shop::runtime().block_on(async {
        let Some(shop) = shop::open().await else { return };
        shop.fill(2, 20).await;
        shop.json(&["init"]);
        shop.json(&["backup", "shop"]);
        let at = shop.now().await;
        shop.orders().delete_one(doc! { "_id": 1 }).await.unwrap();
        let validator = doc! { "total": { "$exists": true } };
        command(&shop, doc! { "collMod": "orders", "validator": &validator }).await;
        let rewind = ["restore", "shop", "--at", &at, "--in-place", "--yes"];
        let run = shop.run(&rewind).expect_code(15);
        assert!(run.stdout.contains("NOT EQUAL") && run.stdout.contains("validator"), "{run}");
        assert!(run.stdout.contains("next: ") && !run.stdout.contains("proved: "), "{run}");
        assert_eq!(all(&shop.client, "shop", "orders").await.len(), 40, "the records are back");
        let again = shop.run(&[&rewind[..], &["--json"]].concat()).expect_code(15).json();
        assert_eq!((&again["proof"]["equal"], &again["written"]), (&false.into(), &0.into()), "{again}");
        assert_eq!(again["proof"]["archive"], again["proof"]["target"]);
        let id = again["id"].as_str().unwrap();
        assert!(shop.run(&["restores", id]).ok().stdout.contains("definitions differ"));
        // As it was, and done again.
        command(&shop, doc! { "collMod": "orders", "validator": {} }).await;
        assert_eq!(shop.json(&rewind)["proof"]["equal"], true);

        // Into a collection of another kind.
        let other = ReplicaSet::start(Options { name: "rs1".into(), ..Options::default() }).await.unwrap();
        let database = other.client().await.unwrap().database("shop");
        database.run_command(doc! { "create": "orders", "capped": true, "size": 1_000_000 }).await.unwrap();
        let into = other.uri();
        let run = shop.run(&["restore", "shop", "--at", &at, "--ns", "shop.orders", "--into", &into, "--yes"]);
        let run = run.expect_code(15);
        assert!(run.stdout.contains("capped"), "{run}");
    });
}
