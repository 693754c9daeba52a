//! Unique values that changed hands since: a restore in place gives each back to whom it belonged, whoever waits for
//! whom; and what cannot be given back costs nobody anything else.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a client works beside the program")]

mod shop;
mod witness;

use std::time::Duration;

use bson::{Document, doc};
use mongodb::Collection;
use serde_json::{Value, json};
use shop::{Shop, all};

/// More records than are compared at a time.
const MANY: i32 = 5000;

/// A shop whose `seats` have unique numbers, backed up, and an instant after that.
async fn seats(count: i32, options: Document) -> Option<(Shop, Collection<Document>, String)> {
    let shop = shop::open().await?;
    let database = shop.client.database("shop");
    let mut create = doc! { "create": "seats" };
    create.extend(options);
    database.run_command(create).await.unwrap();
    let seats = database.collection::<Document>("seats");
    let index = doc! { "name": "unique", "key": { "seat": 1, "row": 1 }, "unique": true };
    database.run_command(doc! { "createIndexes": "seats", "indexes": [index] }).await.unwrap();
    let records = (0..count).map(|n| doc! { "_id": n, "tenant": "t", "seat": n, "row": 1, "pad": "x".repeat(20) });
    seats.insert_many(records).await.unwrap();
    shop.json(&["init"]);
    shop.json(&["backup", "shop"]);
    let at = shop.now().await;
    Some((shop, seats, at))
}

async fn set(seats: &Collection<Document>, id: i32, seat: i32) {
    let done = seats.update_one(doc! { "_id": id }, doc! { "$set": { "seat": seat } }).await.unwrap();
    assert_eq!(done.modified_count, 1);
}

/// Gives each of these records the seat of the next, the last that of the first.
async fn rotate(seats: &Collection<Document>, ids: &[i32]) {
    for (place, id) in ids.iter().enumerate() {
        set(seats, *id, -1 - i32::try_from(place).unwrap()).await;
    }
    for (place, id) in ids.iter().enumerate() {
        set(seats, *id, ids[(place + 1) % ids.len()]).await;
    }
}

const REWIND: [&str; 7] = ["restore", "shop", "--ns", "shop.seats", "--in-place", "--yes", "--at"];

fn rewind(shop: &Shop, at: &str, more: &[&str]) -> Value {
    let restored = shop.json(&[&REWIND, &[at][..], more].concat());
    assert_eq!((&restored["proof"]["equal"], &restored["skipped"]), (&json!(true), &json!(0)), "{restored}");
    restored
}

#[test]
fn values_that_were_exchanged_come_back_and_are_exchanged_again_by_an_undo() {
    shop::runtime().block_on(async {
        let Some((shop, seats, at)) = seats(20, doc! {}).await else { return };
        let then = all(&shop.client, "shop", "seats").await;
        rotate(&seats, &[1, 2]).await;
        rotate(&seats, &[5, 3, 9]).await;
        // One of a cycle also waits at the end of a chain.
        seats.delete_one(doc! { "_id": 15 }).await.unwrap();
        set(&seats, 14, 15).await;
        let before = all(&shop.client, "shop", "seats").await;
        let preview = shop.json(&[&REWIND, &[&at, "--preview"][..]].concat());
        assert_eq!(all(&shop.client, "shop", "seats").await, before, "a preview writes nothing");
        let restored = rewind(&shop, &at, &[]);
        assert_eq!((&restored["plan"], &restored["written"]), (&preview["plan"], &json!(7)), "{restored}");
        assert_eq!(all(&shop.client, "shop", "seats").await, then);
        let again = rewind(&shop, &at, &[]);
        assert_eq!(again["written"], 0, "{again}");

        let undone = shop.json(&["undo", restored["id"].as_str().unwrap(), "--yes"]);
        assert_eq!((&undone["proof"]["equal"], &undone["written"]), (&json!(true), &json!(7)), "{undone}");
        assert_eq!(all(&shop.client, "shop", "seats").await, before);
        // By comparing everything, in the archive's order.
        rewind(&shop, &at, &["--proof", "full"]);
        assert_eq!(all(&shop.client, "shop", "seats").await, then);
    });
}

#[test]
fn values_move_between_records_that_are_compared_far_apart() {
    shop::runtime().block_on(async {
        let Some((shop, seats, at)) = seats(MANY, doc! {}).await else { return };
        let then = all(&shop.client, "shop", "seats").await;
        // All of them are compared; chains upwards and downwards, and cycles across.
        rotate(&seats, &[10, MANY - 10]).await;
        rotate(&seats, &[20, MANY / 2, MANY - 20]).await;
        seats.delete_one(doc! { "_id": MANY - 1 }).await.unwrap();
        set(&seats, 0, MANY - 1).await;
        set(&seats, MANY - 2, 0).await;
        seats.delete_one(doc! { "_id": 1 }).await.unwrap();
        set(&seats, MANY - 3, 1).await;
        set(&seats, 2, MANY - 3).await;
        seats.update_many(doc! {}, doc! { "$set": { "pad": "y" } }).await.unwrap();
        let later = shop.now().await;
        let moved = all(&shop.client, "shop", "seats").await;
        rewind(&shop, &at, &[]);
        assert_eq!(all(&shop.client, "shop", "seats").await, then);
        rewind(&shop, &later, &[]);
        assert_eq!(all(&shop.client, "shop", "seats").await, moved);
    });
}

#[test]
fn a_chain_through_all_records_is_followed_to_its_end() {
    shop::runtime().block_on(async {
        let Some((shop, seats, at)) = seats(MANY, doc! {}).await else { return };
        let then = all(&shop.client, "shop", "seats").await;
        // Every record takes its neighbour's number, the last one first; backwards it is the first one first.
        for id in (0..MANY).rev().step_by(500) {
            let some = doc! { "_id": { "$gt": id - 500, "$lte": id } };
            seats.update_many(some.clone(), doc! { "$inc": { "seat": 1_000_000 } }).await.unwrap();
            seats.update_many(some, doc! { "$inc": { "seat": -999_999 } }).await.unwrap();
        }
        let up = shop.now().await;
        let moved = all(&shop.client, "shop", "seats").await;
        let restored = rewind(&shop, &at, &[]);
        assert_eq!(restored["written"], MANY);
        assert_eq!(all(&shop.client, "shop", "seats").await, then);
        rewind(&shop, &up, &[]);
        assert_eq!(all(&shop.client, "shop", "seats").await, moved);
    });
}

#[test]
fn a_value_that_somebody_else_took_is_a_conflict_and_costs_nothing_else() {
    shop::runtime().block_on(async {
        let Some((shop, seats, at)) = seats(20, doc! {}).await else { return };
        let then = all(&shop.client, "shop", "seats").await;
        rotate(&seats, &[1, 2]).await;
        rotate(&seats, &[5, 3, 9]).await;
        set(&seats, 12, 112).await;
        // Another tenant's record, which is no part of the restore, takes a value of a cycle and one of a plain record.
        seats.delete_one(doc! { "_id": 7 }).await.unwrap();
        seats.insert_one(doc! { "_id": 100, "tenant": "other", "seat": 12, "row": 1 }).await.unwrap();
        seats.insert_one(doc! { "_id": 101, "tenant": "other", "seat": 7, "row": 1 }).await.unwrap();
        let of_tenant = ["--tenant", "t"];
        let before = all(&shop.client, "shop", "seats").await;
        let refused =
            shop.run(&[&REWIND, &[at.as_str(), "--json"][..], &of_tenant].concat()).expect_code(15).json_error();
        let message = refused["message"].as_str().unwrap();
        assert!(message.contains("the unique index unique would refuse 2 records"), "{refused}");
        assert_eq!(all(&shop.client, "shop", "seats").await, before, "nothing was written");

        let mut expected = then.clone();
        expected.retain(|seat| seat.get_i32("_id").ok() != Some(7));
        expected.iter_mut().filter(|seat| seat.get_i32("_id").ok() == Some(12)).for_each(|seat| {
            seat.insert("seat", 112);
        });
        for (id, seat) in [(100, 12), (101, 7)] {
            expected.push(doc! { "_id": id, "tenant": "other", "seat": seat, "row": 1 });
        }
        let skip = [&REWIND, &[at.as_str(), "--json", "--on-conflict", "skip"][..], &of_tenant].concat();
        let skipped = shop.run(&skip).json();
        assert_eq!((&skipped["written"], &skipped["skipped"]), (&json!(5), &json!(2)), "{skipped}");
        assert_eq!(all(&shop.client, "shop", "seats").await, expected, "the others are as they were");
        let over = [&REWIND, &[at.as_str(), "--json", "--on-conflict", "overwrite"][..], &of_tenant].concat();
        let _ = shop.run(&over).expect_code(15).json_error();
        assert_eq!(all(&shop.client, "shop", "seats").await, expected, "nobody else's record is overwritten");
        // Once it is free, nothing is in the way.
        seats.delete_many(doc! { "tenant": "other" }).await.unwrap();
        rewind(&shop, &at, &of_tenant);
        assert_eq!(all(&shop.client, "shop", "seats").await, then);
    });
}

#[test]
fn a_cycle_that_one_of_its_values_was_taken_from_stays_as_it_is() {
    shop::runtime().block_on(async {
        let Some((shop, seats, at)) = seats(20, doc! {}).await else { return };
        let index = doc! { "name": "code", "key": { "code": 1 }, "unique": true, "sparse": true };
        shop.client.database("shop").run_command(doc! { "createIndexes": "seats", "indexes": [index] }).await.unwrap();
        set(&seats, 4, 104).await;
        seats.update_one(doc! { "_id": 1 }, doc! { "$set": { "code": "a" } }).await.unwrap();
        let then_code = shop.now().await;
        rotate(&seats, &[1, 2, 3]).await;
        rotate(&seats, &[8, 9]).await;
        seats.update_one(doc! { "_id": 1 }, doc! { "$unset": { "code": 1 } }).await.unwrap();
        seats.insert_one(doc! { "_id": 100, "tenant": "other", "seat": 100, "row": 1, "code": "a" }).await.unwrap();
        let before = all(&shop.client, "shop", "seats").await;
        let args = [&REWIND, &[then_code.as_str(), "--tenant", "t", "--on-conflict", "skip", "--json"][..]].concat();
        let skipped = shop.run(&args).json();
        assert_eq!((&skipped["written"], &skipped["skipped"]), (&json!(2), &json!(3)), "{skipped}");
        let after = all(&shop.client, "shop", "seats").await;
        for (before, after) in before.iter().zip(&after) {
            let exchanged = matches!(before.get_i32("_id"), Ok(8 | 9));
            assert_eq!(before != after, exchanged, "{before} {after}");
        }
        seats.delete_one(doc! { "_id": 100 }).await.unwrap();
        // It was not there then: a whole restore names it, and is not equal.
        seats.drop_index("code").await.unwrap();
        rewind(&shop, &at, &[]);
    });
}

#[test]
fn values_that_are_equal_by_a_collation_only_are_exchanged_too() {
    shop::runtime().block_on(async {
        let collation = doc! { "collation": { "locale": "en", "strength": 1 } };
        let Some((shop, seats, _)) = seats(20, collation).await else { return };
        let text = |seat: &str| doc! { "$set": { "seat": seat } };
        seats.update_one(doc! { "_id": 1 }, text("A")).await.unwrap();
        seats.update_one(doc! { "_id": 2 }, text("B")).await.unwrap();
        seats.insert_one(doc! { "_id": "name", "tenant": "t", "seat": "n" }).await.unwrap();
        let then = all(&shop.client, "shop", "seats").await;
        let at = shop.now().await;
        seats.update_one(doc! { "_id": 1 }, text("x")).await.unwrap();
        seats.update_one(doc! { "_id": 2 }, text("a")).await.unwrap();
        seats.update_one(doc! { "_id": 1 }, text("b")).await.unwrap();
        rotate(&seats, &[5, 6, 7]).await;
        // The same id by the collation, other bytes: another record.
        seats.delete_one(doc! { "_id": "name" }).await.unwrap();
        seats.insert_one(doc! { "_id": "NAME", "tenant": "t", "seat": "n" }).await.unwrap();
        rewind(&shop, &at, &[]);
        assert_eq!(all(&shop.client, "shop", "seats").await, then);
    });
}

#[test]
fn where_nothing_can_be_exchanged_the_conflict_says_why() {
    shop::runtime().block_on(async {
        // No server lets a transaction write into a capped collection.
        let Some((shop, seats, at)) = seats(20, doc! { "capped": true, "size": 1 << 20 }).await else { return };
        rotate(&seats, &[1, 2]).await;
        set(&seats, 5, 105).await;
        set(&seats, 6, 5).await;
        let refused = shop.run(&[&REWIND, &[at.as_str(), "--json"][..]].concat()).expect_code(1).json_error();
        let message = refused["message"].as_str().unwrap();
        assert!(message.contains("2 records") && message.contains("transaction"), "{refused}");
        let now = all(&shop.client, "shop", "seats").await;
        let seat = |id: usize| now[id].get_i32("seat").unwrap();
        assert_eq!([1, 2, 5, 6].map(seat), [2, 1, 5, 6], "the chain is followed, the cycle stays");
    });
}

#[test]
fn dying_at_any_moment_leaves_nobody_without_a_record() {
    shop::runtime().block_on(async {
        let Some((shop, seats, at)) = seats(600, doc! {}).await else { return };
        let then = all(&shop.client, "shop", "seats").await;
        let mut killed = 0;
        // A transaction of a client that died is given up sooner than after a minute.
        let sooner = doc! { "setParameter": 1, "transactionLifetimeLimitSeconds": 3 };
        shop.client.database("admin").run_command(sooner).await.unwrap();
        for round in 0..8u64 {
            for pair in 0..60 {
                rotate(&seats, &[pair, 400 + pair]).await;
            }
            let running = shop.program.spawn([&REWIND, &[at.as_str()][..]].concat()).unwrap();
            tokio::time::sleep(Duration::from_millis(150 + 40 * round)).await;
            killed += usize::from(running.kill().unwrap().code != 0);
            assert_eq!(seats.count_documents(doc! {}).await.unwrap(), 600, "round {round}");
            rewind(&shop, &at, &[]);
            assert_eq!(all(&shop.client, "shop", "seats").await, then, "round {round}");
        }
        assert!(killed > 0, "it was always done before");
        // Between two steps.
        rotate(&seats, &[1, 2]).await;
        let args = [&REWIND, &[at.as_str()][..]].concat();
        assert!(!witness::die_at("restore.partition-written", &shop.program, &args));
        assert_ne!(all(&shop.client, "shop", "seats").await, then, "both wait for each other");
        assert!(!witness::die_at("restore.exchanged", &shop.program, &args));
        assert_eq!(all(&shop.client, "shop", "seats").await, then, "exchanged, and not proved yet");
        rewind(&shop, &at, &[]);
        assert_eq!(all(&shop.client, "shop", "seats").await, then);
    });
}
