//! What stands in the way of a whole restore besides the records: indexes under other names, views and collections that
//! changed places, caps. It is said before anything is written, or it is no obstacle.

#![allow(clippy::unwrap_used)]

mod shop;

use bson::{Document, doc};
use serde_json::{Value, json};
use shop::{Shop, all, indexes};

/// A shop whose collections `a` and `z` hold a record each, the first and the last to be restored.
async fn shop() -> Option<Shop> {
    let shop = shop::open().await?;
    for name in ["a", "z"] {
        insert(&shop, name, 1).await;
    }
    Some(shop)
}

async fn insert(shop: &Shop, name: &str, id: i32) {
    let record = doc! { "_id": id, "tenant": "t", "mail": format!("m{id}") };
    shop.client.database("shop").collection::<Document>(name).insert_one(record).await.unwrap();
}

async fn command(shop: &Shop, command: Document) {
    shop.client.database("shop").run_command(command).await.unwrap();
}

async fn backed_up(shop: &Shop) -> String {
    shop.json(&["init"]);
    shop.json(&["backup", "shop"]);
    shop.now().await
}

/// Empties both, so that a restore has something to do before and behind whatever is in its way.
async fn damage(shop: &Shop) {
    for name in ["a", "z"] {
        shop.client.database("shop").collection::<Document>(name).delete_many(doc! {}).await.unwrap();
    }
}

async fn assert_untouched(shop: &Shop) {
    for name in ["a", "z"] {
        assert!(all(&shop.client, "shop", name).await.is_empty(), "nothing was written to {name}");
    }
}

async fn count(shop: &Shop, name: &str) -> u64 {
    shop.client.database("shop").collection::<Document>(name).count_documents(doc! {}).await.unwrap()
}

fn restore(at: &str) -> [&str; 8] {
    ["restore", "shop", "--in-place", "--json", "--ns", "shop.*", "--at", at]
}

/// A restore of everything is refused, as its preview says. Returns the refusals of the preview.
async fn refused(shop: &Shop, at: &str) -> Vec<Value> {
    let preview = shop.run(&[&restore(at)[..], &["--preview"]].concat()).expect_code(15).json();
    let refused = shop.run(&[&restore(at)[..], &["--yes"]].concat()).expect_code(15).json_error();
    assert_untouched(shop).await;
    let refusals = preview["refusals"].as_array().unwrap().clone();
    for refusal in refusals.iter().filter(|refusal| refusal["blocks"] == true) {
        assert!(refused["message"].as_str().unwrap().contains(refusal["rule"].as_str().unwrap()), "{refused}");
    }
    refusals
}

#[test]
fn an_index_that_stands_there_under_another_name_is_left_and_named() {
    shop::runtime().block_on(async {
        let Some(shop) = shop().await else { return };
        let index = async |index: Document| command(&shop, doc! { "createIndexes": "a", "indexes": [index] }).await;
        index(doc! { "name": "mail_1", "key": { "mail": 1 }, "unique": true }).await;
        index(doc! { "name": "tag_1", "key": { "tag": 1 } }).await;
        index(doc! { "name": "kind", "key": { "kind": 1 } }).await;
        index(doc! { "name": "words", "key": { "text": "text" } }).await;
        let at = backed_up(&shop).await;
        let then = indexes(&shop.client, "shop", "a").await;
        for name in ["mail_1", "tag_1", "kind", "words"] {
            command(&shop, doc! { "dropIndexes": "a", "index": name }).await;
        }
        index(doc! { "name": "by_mail", "key": { "mail": 1 }, "unique": true }).await;
        index(doc! { "name": "kind", "key": { "kind": -1 } }).await;
        index(doc! { "name": "other_words", "key": { "note": "text" } }).await;
        damage(&shop).await;
        let mail = "the index mail_1 is called by_mail";
        let preview = shop.run(&[&restore(&at)[..], &["--preview"]].concat()).ok().json();
        for said in [mail, "the index kind differs", "the index words is missing"] {
            let note = preview["notes"].as_array().unwrap().iter().find(|note| note.as_str().unwrap().contains(said));
            assert!(note.is_some_and(|note| note.as_str().unwrap().contains("shop.a")), "{said}: {preview}");
        }
        assert!(!preview.to_string().contains("tag_1"), "it is built: {preview}");
        let run = shop.run(&[&restore(&at)[..], &["--yes"]].concat()).expect_code(15);
        assert!(run.stderr.contains(mail), "before anything is written: {run}");
        let restored = run.json();
        let proof = &restored["proof"];
        assert_eq!((&proof["equal"], &proof["archive"]), (&json!(false), &proof["target"]), "{restored}");
        let differs = proof["definitions"].to_string();
        assert!(differs.contains(mail) && !differs.contains("tag_1"), "{restored}");
        for name in ["a", "z"] {
            assert_eq!(all(&shop.client, "shop", name).await.len(), 1, "all records are back");
        }
        let names = |indexes: &[Document]| -> Vec<String> {
            indexes.iter().map(|index| index.get_str("name").unwrap().to_owned()).collect()
        };
        let now = indexes(&shop.client, "shop", "a").await;
        assert_eq!(names(&now), ["_id_", "by_mail", "kind", "other_words", "tag_1"]);
        // What is in the way is taken away, and the same restore makes it what it was.
        for name in ["by_mail", "kind", "other_words"] {
            command(&shop, doc! { "dropIndexes": "a", "index": name }).await;
        }
        assert_eq!(shop.run(&[&restore(&at)[..], &["--yes"]].concat()).ok().json()["proof"]["equal"], true);
        assert_eq!(indexes(&shop.client, "shop", "a").await, then);
    });
}

#[test]
fn a_view_whose_name_a_collection_has_today_is_named_before_anything_is_written() {
    shop::runtime().block_on(async {
        let Some(shop) = shop().await else { return };
        let view = |name: &str| doc! { "create": name, "viewOn": "a", "pipeline": [] };
        command(&shop, view("few")).await;
        command(&shop, view("some")).await;
        let at = backed_up(&shop).await;
        for others in [true, false] {
            for name in if others { &["few"][..] } else { &["some"] } {
                command(&shop, doc! { "drop": name }).await;
            }
            if others {
                command(&shop, doc! { "create": "few" }).await;
                insert(&shop, "few", 7).await;
            } else {
                command(&shop, doc! { "drop": "system.views" }).await;
            }
            damage(&shop).await;
            let found = refused(&shop, &at).await;
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!((&found[0]["kind"], &found[0]["count"]), (&json!("occupied"), &json!(1)), "{found:?}");
            assert_eq!(found[0]["examples"][0]["id"].as_str().unwrap().trim_matches('"'), "shop.few", "{found:?}");
            assert!(found[0]["removal"].as_str().unwrap().contains("renameCollection"), "{found:?}");
            assert_eq!(count(&shop, "few").await, 1);
        }
        // Left out on request, the rest comes back.
        let args = [&restore(&at)[..], &["--yes", "--on-conflict", "skip"]].concat();
        let skipped = shop.run(&args).expect_code(15).json();
        assert_eq!((&skipped["skipped"], &skipped["written"]), (&json!(1), &json!(3)), "{skipped}");
        command(&shop, doc! { "drop": "few" }).await;
        assert_eq!(shop.run(&[&restore(&at)[..], &["--yes"]].concat()).ok().json()["proof"]["equal"], true);
        assert_eq!(count(&shop, "few").await, 1, "the record of what it stands on");
    });
}

#[test]
fn a_view_whose_name_a_time_series_has_today_is_named_and_the_series_stays() {
    if backstay_testkit::require_mongod_since(5, 0).is_none() {
        return;
    }
    shop::runtime().block_on(async {
        let Some(shop) = shop().await else { return };
        let view = doc! { "create": "few", "viewOn": "a", "pipeline": [], "collation": { "locale": "de" } };
        command(&shop, view).await;
        let at = backed_up(&shop).await;
        command(&shop, doc! { "drop": "few" }).await;
        command(&shop, doc! { "create": "few", "timeseries": { "timeField": "t" } }).await;
        let measured = doc! { "t": bson::DateTime::from_millis(5_000), "n": 1 };
        shop.client.database("shop").collection("few").insert_one(measured).await.unwrap();
        damage(&shop).await;
        let found = refused(&shop, &at).await;
        assert_eq!((found.len(), &found[0]["kind"]), (1, &json!("occupied")), "{found:?}");
        for policy in ["skip", "overwrite"] {
            let args = [&restore(&at)[..], &["--yes", "--on-conflict", policy]].concat();
            let run = shop.run(&args).expect_code(15);
            assert_eq!(count(&shop, "few").await, 1, "what it holds is not dropped for a view: {run}");
        }
    });
}

#[test]
fn a_cap_without_room_is_one_refusal_among_the_others() {
    shop::runtime().block_on(async {
        let Some(shop) = shop().await else { return };
        command(&shop, doc! { "create": "log", "capped": true, "size": 1 << 20, "max": 5 }).await;
        for id in 0..5 {
            insert(&shop, "log", id).await;
        }
        insert(&shop, "z", 2).await;
        let at = backed_up(&shop).await;
        let log = shop.client.database("shop").collection::<Document>("log");
        log.insert_many((10..15).map(|id| doc! { "_id": id, "tenant": "u" })).await.unwrap();
        let z = shop.client.database("shop").collection::<Document>("z");
        z.update_many(doc! {}, doc! { "$set": { "mail": "same" } }).await.unwrap();
        let then = all(&shop.client, "shop", "log").await;
        damage(&shop).await;
        z.insert_one(doc! { "_id": 9, "tenant": "u", "mail": "m2" }).await.unwrap();
        command(
            &shop,
            doc! { "createIndexes": "z", "indexes": [{ "name": "i", "key": { "mail": 1 }, "unique": true }] },
        )
        .await;
        let args = ["restore", "shop", "--in-place", "--json", "--ns", "shop.*", "--tenant", "t", "--at", &at];
        for more in [&["--preview"][..], &["--yes"], &["--yes", "--on-conflict", "skip"]] {
            let run = shop.run(&[&args[..], more].concat()).expect_code(15);
            if more == ["--preview"] {
                let refusals = run.json()["refusals"].as_array().unwrap().clone();
                let kinds: Vec<&Value> = refusals.iter().map(|refusal| &refusal["kind"]).collect();
                assert_eq!(kinds, ["room", "unique"], "{refusals:?}");
                assert!(refusals[0]["removal"].as_str().unwrap().contains("cappedSize"), "{refusals:?}");
                continue;
            }
            let refused = run.json_error();
            let message = refused["message"].as_str().unwrap();
            assert!(message.contains("shop.log") && message.contains("oldest"), "{refused}");
            assert!(message.contains("shop.z: the unique index i"), "{refused}");
            assert!(refused["hint"].as_str().unwrap().contains("cappedSize"), "{refused}");
            assert_eq!(all(&shop.client, "shop", "log").await, then, "nothing was pushed out");
        }
    });
}
