//! What stands in the way of a whole restore besides the records. It is said before anything is written, or it is no obstacle.

#![allow(clippy::unwrap_used)]

mod shop;

use bson::{Document, doc};
use serde_json::json;
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

fn restore(at: &str) -> [&str; 8] {
    ["restore", "shop", "--in-place", "--json", "--ns", "shop.*", "--at", at]
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
