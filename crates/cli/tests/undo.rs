//! Restores taken back on a real replica set: in place and elsewhere, once and twice, and with somebody in between.

#![allow(clippy::unwrap_used)]

mod shop;
mod witness;

use backstay_testkit::{Options, ReplicaSet};
use bson::doc;
use serde_json::{Value, json};
use shop::{Shop, all};

const DATABASES: &[&str] = &["shop", "tenant_acme"];

/// A shop with a base, an instant, and an accident to tenant t2 after it.
async fn damaged() -> Option<(Shop, String)> {
    let shop = shop::open().await?;
    shop.fill(4, 50).await;
    shop.json(&["init"]);
    shop.json(&["backup", "shop"]);
    let at = shop.now().await;
    shop.orders().update_many(doc! { "tenant": "t2" }, doc! { "$set": { "total": 0 } }).await.unwrap();
    shop.orders().delete_many(doc! { "tenant": "t2", "_id": { "$lt": 80 } }).await.unwrap();
    shop.orders().insert_one(doc! { "_id": 5000, "tenant": "t2", "new": true }).await.unwrap();
    Some((shop, at))
}

fn restore(shop: &Shop, args: &[&str]) -> String {
    let restored = shop.json(&[&["restore", "shop", "--yes"], args].concat());
    assert_eq!(restored["proof"]["equal"], true, "{restored}");
    restored["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_restore_in_place_is_taken_back() {
    shop::runtime().block_on(async {
        let Some((shop, at)) = damaged().await else { return };
        let before = witness::now(&shop.client, DATABASES).await;
        let id = restore(&shop, &["--at", &at, "--tenant", "t2", "--ns", "shop.*", "--in-place"]);
        let restored = witness::now(&shop.client, DATABASES).await;
        assert_ne!(restored, before);

        let preview = shop.json(&["undo", &id, "--preview"]);
        assert_eq!(preview["plan"], json!({"insert": 1, "replace": 30, "delete": 20, "unchanged": 0}), "{preview}");
        assert_eq!((&preview["preview"], &preview["id"], &preview["undoes"]), (&true.into(), &"".into(), &json!(id)));
        witness::assert_same(&witness::now(&shop.client, DATABASES).await, &restored, "a preview");
        let refused = shop.run(&["undo", &id, "--json"]).expect_code(14).json_error();
        assert!(refused["message"].as_str().is_some_and(|text| text.contains(&id)), "{refused}");

        // The first digits of an id will do.
        let undone = shop.json(&["undo", &id[..12], "--yes"]);
        assert_eq!((&undone["plan"], &undone["written"]), (&preview["plan"], &51.into()), "{undone}");
        assert_eq!((&undone["proof"]["equal"], &undone["conflicts"]), (&true.into(), &0.into()), "{undone}");
        witness::assert_same(&witness::now(&shop.client, DATABASES).await, &before, "after the undo");
        let again = shop.json(&["undo", &id, "--yes"]);
        assert_eq!((&again["already"], &again["written"]), (&undone["id"], &0.into()), "{again}");
        let of_undo = shop.run(&["undo", undone["id"].as_str().unwrap(), "--yes", "--json"]).expect_code(1);
        assert!(of_undo.json_error()["message"].as_str().is_some_and(|text| text.contains("run that restore again")));
        let runs = shop.json(&["restores"]);
        assert_eq!(runs["restores"][1]["undoes"], json!(id), "{runs}");
        assert!(shop.run(&["restores", &id]).ok().stdout.contains("taken back by"));
        let unknown = shop.run(&["undo", "zz", "--yes"]).expect_code(1);
        assert!(unknown.stderr.contains("no restore"), "{unknown}");
    });
}

#[test]
fn what_somebody_changed_since_is_a_conflict() {
    shop::runtime().block_on(async {
        let Some((shop, at)) = damaged().await else { return };
        let damaged = all(&shop.client, "shop", "orders").await;
        let id = restore(&shop, &["--at", &at, "--tenant", "t2", "--ns", "shop.*", "--in-place"]);
        // An order that the restore put right, one that it brought back, and one that it had nothing to do with.
        shop.orders().update_one(doc! { "_id": 82 }, doc! { "$set": { "by": "somebody" } }).await.unwrap();
        shop.orders().delete_one(doc! { "_id": 6 }).await.unwrap();
        shop.orders().update_one(doc! { "_id": 1 }, doc! { "$set": { "by": "somebody" } }).await.unwrap();
        let changed = all(&shop.client, "shop", "orders").await;

        let conflict = shop.run(&["undo", &id, "--yes", "--json"]).expect_code(1).json_error();
        let message = conflict["message"].as_str().unwrap();
        assert!(message.contains("82") && message.contains("shop.orders"), "{conflict}");
        assert_eq!(all(&shop.client, "shop", "orders").await, changed, "nothing was written");
        let preview = shop.json(&["undo", &id, "--preview"]);
        assert_eq!(
            preview["conflicting"],
            json!([{"namespace": "shop.orders", "id": "{\"$numberInt\":\"82\"}", "why": "it was changed since"}])
        );

        let undone = shop.json(&["undo", &id, "--yes", "--on-conflict", "skip"]);
        assert_eq!((&undone["skipped"], &undone["conflicts"]), (&1.into(), &1.into()), "{undone}");
        let now = all(&shop.client, "shop", "orders").await;
        let mut expected = damaged;
        for order in &mut expected {
            let id = order.get_i32("_id").unwrap();
            if id == 82 || id == 1 {
                order.clone_from(changed.iter().find(|other| other.get_i32("_id").ok() == Some(id)).unwrap());
            }
        }
        assert_eq!(now, expected);

        // What was left is overwritten when that is asked for.
        let undone = shop.json(&["undo", &id, "--yes", "--on-conflict", "overwrite"]);
        assert_eq!((&undone["written"], &undone["proof"]["equal"]), (&1.into(), &true.into()), "{undone}");
        let order = shop.orders().find_one(doc! { "_id": 82 }).await.unwrap().unwrap();
        assert_eq!(order.get_i32("total").unwrap(), 0);
    });
}

#[test]
fn what_a_restore_created_goes_and_what_somebody_works_with_stays() {
    shop::runtime().block_on(async {
        let Some((shop, at)) = damaged().await else { return };
        shop.json(&["capture", "shop", "--until", "now"]);
        let other = ReplicaSet::start(Options { name: "rs1".into(), ..Options::default() }).await.unwrap();
        let client = other.client().await.unwrap();
        let into = other.uri();
        let first = restore(&shop, &["--at", &at, "--into", &into]);
        let wrong_place = shop.run(&["undo", &first, "--yes", "--json"]).expect_code(2).json_error();
        assert!(wrong_place["hint"].as_str().is_some_and(|hint| hint.contains("--into")), "{wrong_place}");
        let undone = shop.json(&["undo", &first, "--into", &into, "--yes"]);
        assert_eq!(undone["dropped"].as_array().map(Vec::len), Some(2), "{undone}");
        assert!(witness::now(&client, DATABASES).await.is_empty());

        let second = restore(&shop, &["--at", &at, "--into", &into]);
        client.database("tenant_acme").collection("notes").insert_one(doc! { "_id": "mine" }).await.unwrap();
        let index = mongodb::IndexModel::builder().keys(doc! { "mine": 1 }).build();
        client.database("shop").collection::<bson::Document>("orders").create_index(index).await.unwrap();
        let worked_with = witness::now(&client, DATABASES).await;
        let refused = shop.run(&["undo", &second, "--into", &into, "--yes", "--json"]).expect_code(1).json_error();
        assert!(refused["message"].as_str().is_some_and(|text| text.contains("in 2 places")), "{refused}");
        let skipped = shop.json(&["undo", &second, "--into", &into, "--yes", "--on-conflict", "skip"]);
        assert_eq!((&skipped["skipped"], &skipped["dropped"]), (&2.into(), &json!([])), "{skipped}");
        witness::assert_same(&witness::now(&client, DATABASES).await, &worked_with, "what somebody works with");

        // Beside the live data, under another name: the source's own deployment is known.
        let own = shop.set.uri();
        let rename = ["--ns", "shop.orders", "--into", &own, "--rename", "shop.orders=shop.orders_then"];
        let third = restore(&shop, &[&["--at", &at][..], &rename].concat());
        shop.json(&["undo", &third, "--yes"]);
        assert_eq!(witness::names(&shop.client, "shop").await, ["orders"]);
    });
}

#[test]
fn a_restore_that_died_is_taken_back() {
    shop::runtime().block_on(async {
        let Some((shop, at)) = damaged().await else { return };
        shop.client.database("tenant_acme").drop().await.unwrap();
        let before = witness::now(&shop.client, DATABASES).await;
        for point in ["restore.journaled", "restore.partition-written", "restore.partition-written:2"] {
            let args = ["restore", "shop", "--at", &at, "--in-place", "--yes"];
            assert!(!witness::die_at(point, &shop.program, &args), "{point}");
            let runs = shop.json(&["restores"]);
            let runs = runs["restores"].as_array().unwrap();
            let is_undone = |run: &Value| runs.iter().any(|other| other["undoes"] == run["id"]);
            let died = runs.iter().find(|run| run["state"] == "begun" && !is_undone(run)).unwrap();
            let id = died["id"].as_str().unwrap();
            let undone = shop.json(&["undo", id, "--yes"]);
            assert_eq!(undone["proof"]["equal"], true, "{point}: {undone}");
            witness::assert_same(&witness::now(&shop.client, DATABASES).await, &before, point);
        }
    });
}

#[test]
fn what_others_write_after_a_restore_is_theirs() {
    shop::runtime().block_on(async {
        let Some(shop) = shop::open().await else { return };
        shop.fill(2, 20).await;
        shop.orders().update_many(doc! {}, doc! { "$set": { "locked": false } }).await.unwrap();
        shop.json(&["init"]);
        shop.json(&["backup", "shop"]);
        let at = shop.now().await;
        shop.orders().update_one(doc! { "_id": 2 }, doc! { "$set": { "total": 0 } }).await.unwrap();
        let before = witness::now(&shop.client, DATABASES).await;
        let id = restore(&shop, &["--at", &at, "--ns", "shop.*", "--in-place"]);
        for locked in [true, false] {
            shop.orders().update_one(doc! { "_id": 5 }, doc! { "$set": { "locked": locked } }).await.unwrap();
        }
        shop.orders().insert_one(doc! { "_id": "tmp" }).await.unwrap();
        shop.orders().delete_one(doc! { "_id": "tmp" }).await.unwrap();
        let undone = shop.json(&["undo", &id, "--yes"]);
        assert_eq!((&undone["written"], &undone["proof"]["equal"]), (&1.into(), &true.into()), "{undone}");
        witness::assert_same(&witness::now(&shop.client, DATABASES).await, &before, "after the undo");
    });
}

#[test]
fn an_undo_that_can_take_nothing_back_says_so() {
    shop::runtime().block_on(async {
        let Some((shop, at)) = damaged().await else { return };
        shop.json(&["capture", "shop", "--until", "now"]);
        let other = ReplicaSet::start(Options { name: "rs1".into(), ..Options::default() }).await.unwrap();
        let into = other.uri();
        restore(&shop, &["--at", &at, "--ns", "shop.orders", "--into", &into]);
        let both = restore(&shop, &["--at", &at, "--into", &into]);
        let partly = shop.run(&["undo", &both, "--into", &into, "--yes"]).expect_code(3);
        assert!(partly.stdout.contains("taken back in part") && partly.stdout.contains("shop.orders"), "{partly}");
        let again = restore(&shop, &["--at", &at, "--ns", "shop.orders", "--into", &into]);
        for how in ["--preview", "--yes"] {
            let refused = shop.run(&["undo", &again, "--into", &into, how, "--json"]).expect_code(1).json_error();
            assert!(refused["message"].as_str().is_some_and(|text| text.contains("archived nowhere")), "{refused}");
        }
        assert!(!shop.run(&["restores", &again]).ok().stdout.contains("taken back"));
    });
}

#[test]
fn what_would_be_refused_of_an_undo_is_named_before_anything_is_written() {
    shop::runtime().block_on(async {
        let Some(shop) = shop::open().await else { return };
        let database = shop.client.database("shop");
        let people = database.collection::<bson::Document>("people");
        let index = doc! { "name": "mail_1", "key": { "mail": 1 }, "unique": true };
        database.run_command(doc! { "createIndexes": "people", "indexes": [index] }).await.unwrap();
        let person = |id: i32, mail: &str| doc! { "_id": id, "tenant": "t", "mail": mail };
        people.insert_many([person(1, "a"), person(2, "c"), person(3, "d"), person(4, "e")]).await.unwrap();
        shop.json(&["init"]);
        shop.json(&["backup", "shop"]);
        let at = shop.now().await;
        let set = async |id: i32, mail: &str| {
            people.update_one(doc! { "_id": id }, doc! { "$set": { "mail": mail } }).await.unwrap();
        };
        // One has another value, two exchange theirs, and one is new.
        set(1, "b").await;
        set(2, "x").await;
        set(3, "c").await;
        set(2, "d").await;
        people.insert_one(person(0, "new")).await.unwrap();
        let before = all(&shop.client, "shop", "people").await;
        let id = restore(&shop, &["--at", &at, "--ns", "shop.people", "--in-place"]);
        people.insert_one(person(9, "b")).await.unwrap();
        let restored = all(&shop.client, "shop", "people").await;

        let preview = shop.run(&["undo", &id, "--preview", "--json"]).expect_code(15).json();
        let found = &preview["refusals"][0];
        assert_eq!(preview["refusals"].as_array().map(Vec::len), Some(1), "{preview}");
        assert_eq!((&found["kind"], &found["count"]), (&json!("unique"), &json!(1)), "{preview}");
        let example = &found["examples"][0];
        assert!(example["id"].as_str().unwrap().contains('1'), "{preview}");
        assert!(example["holder"].as_str().unwrap().contains('9'), "{preview}");
        let seen = shop.run(&["undo", &id, "--preview"]).expect_code(15);
        assert!(seen.stdout.contains("refused: shop.people: the unique index mail_1"), "{seen}");
        let refused = shop.run(&["undo", &id, "--yes", "--json"]).expect_code(15).json_error();
        assert!(refused["message"].as_str().unwrap().starts_with("nothing was written"), "{refused}");
        let hint = refused["hint"].as_str().unwrap();
        assert!(hint.contains("skip") && !hint.contains("--into"), "{refused}");
        assert_eq!(all(&shop.client, "shop", "people").await, restored, "nothing was written");
        assert_eq!(shop.json(&["restores"])["restores"].as_array().map(Vec::len), Some(1), "and nothing journaled");

        people.delete_one(doc! { "_id": 9 }).await.unwrap();
        let undone = shop.json(&["undo", &id, "--yes"]);
        assert_eq!(undone["proof"]["equal"], true, "{undone}");
        assert_eq!(all(&shop.client, "shop", "people").await, before);
    });
}
