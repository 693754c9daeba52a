//! Hidden unique indexes: the server upholds them and answers no question by them, so that every question about who has a
//! value is a walk over the collection.

#![allow(clippy::unwrap_used)]

mod shop;

use bson::{Document, doc};
use serde_json::Value;
use shop::Shop;

const PEOPLE: i32 = 6000;

fn person(id: i32, mail: &str, kind: i32) -> Document {
    doc! { "_id": id, "tenant": if id < PEOPLE { "t" } else { "u" }, "mail": mail, "kind": kind }
}

async fn open(index: Document) -> Option<(Shop, String)> {
    backstay_testkit::require_mongod_since(4, 4)?;
    let shop = shop::open().await?;
    let database = shop.client.database("shop");
    database.run_command(doc! { "createIndexes": "people", "indexes": [index] }).await.unwrap();
    let people = database.collection::<Document>("people");
    people.insert_many((0..PEOPLE).map(|id| person(id, &format!("m{id}"), id % 7))).await.unwrap();
    people.insert_many((PEOPLE..PEOPLE + 50).map(|id| person(id, &format!("m{id}"), 0))).await.unwrap();
    shop.json(&["init"]);
    shop.json(&["backup", "shop"]);
    let at = shop.now().await;
    people.delete_many(doc! { "tenant": "t" }).await.unwrap();
    Some((shop, at))
}

async fn take(shop: &Shop, id: i32, mail: &str) {
    let people = shop.client.database("shop").collection::<Document>("people");
    people.update_one(doc! { "_id": id }, doc! { "$set": { "mail": mail } }).await.unwrap();
}

/// How many walks over a collection the server has begun.
async fn walks(shop: &Shop) -> i64 {
    let status = shop.client.database("admin").run_command(doc! { "serverStatus": 1 }).await.unwrap();
    let executor = status.get_document("metrics").unwrap().get_document("queryExecutor").unwrap();
    executor.get_document("collectionScans").unwrap().get_i64("total").unwrap()
}

fn preview(shop: &Shop, at: &str, code: i32) -> Value {
    let args = ["restore", "shop", "--in-place", "--preview", "--json", "--tenant", "t", "--at", at];
    shop.run(&args).expect_code(code).json()
}

/// What the preview's one refusal names: how many records, and the pairs of a record and who has its value.
fn named(preview: &Value) -> (u64, Vec<(String, String)>) {
    let found = &preview["refusals"][0];
    let number = |id: &Value| -> String { id.as_str().unwrap().chars().filter(char::is_ascii_digit).collect() };
    let pair = |example: &Value| (number(&example["id"]), number(&example["holder"]));
    (found["count"].as_u64().unwrap(), found["examples"].as_array().unwrap().iter().map(pair).collect())
}

fn digits(id: i32) -> String {
    format!("{{\"$numberInt\":\"{id}\"}}").chars().filter(char::is_ascii_digit).collect()
}

#[test]
fn who_has_a_value_is_asked_for_all_records_at_once() {
    shop::runtime().block_on(async {
        let index = doc! { "name": "m", "key": { "mail": 1, "kind": 1 }, "unique": true, "hidden": true };
        let Some((shop, at)) = open(index).await else { return };
        let before = walks(&shop).await;
        assert_eq!(preview(&shop, &at, 0)["refusals"], serde_json::json!([]));
        let begun = walks(&shop).await - before;
        assert!(begun <= 4, "{begun} walks over a collection for {PEOPLE} records");
        // One has the mail of another with the same kind; one of another kind.
        take(&shop, PEOPLE + 1, "m7").await;
        take(&shop, PEOPLE + 2, "m8").await;
        let found = preview(&shop, &at, 15);
        assert_eq!(named(&found), (1, vec![(digits(7), digits(PEOPLE + 1))]), "{found}");
    });
}

#[test]
fn a_collation_is_the_servers_to_apply() {
    shop::runtime().block_on(async {
        let collation = doc! { "locale": "de", "strength": 1 };
        let index = doc! { "name": "m", "key": { "mail": 1 }, "unique": true, "hidden": true, "collation": collation };
        let Some((shop, at)) = open(index).await else { return };
        take(&shop, PEOPLE + 1, "M7").await;
        take(&shop, PEOPLE + 2, "m 8").await;
        let before = walks(&shop).await;
        let found = preview(&shop, &at, 15);
        assert_eq!(named(&found), (1, vec![(digits(7), digits(PEOPLE + 1))]), "{found}");
        let begun = walks(&shop).await - before;
        assert!(begun <= 4, "{begun} walks over a collection for {PEOPLE} records");
    });
}
