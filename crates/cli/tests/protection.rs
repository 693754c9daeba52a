//! What is protected changes between runs: nothing seems covered that was not, and nothing that was covered is lost.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test waits for a real server")]

mod shop;
mod witness;

use std::collections::BTreeMap;

use backstay_testkit::{Options, ReplicaSet};
use bson::{Document, doc};
use serde_json::Value;
use shop::Shop;
use witness::{Content, as_of, assert_same, instant, now, text};

const DATABASES: &[&str] = &["shop"];

fn protect(shop: &Shop, include: &str, tenants: &str) {
    let yaml = format!(
        "repository:\n  url: file:./archive\nkeyring:\n  file: ./backstay.keys\nsources:\n  shop:\n    kind: mongodb\n    \
         uri: {}\n    include: {include}\n    tenants: {tenants}\n",
        shop.set.uri()
    );
    shop.program.configure(&yaml).unwrap();
}

fn only(content: &Content, names: &[&str]) -> Content {
    content.iter().filter(|(name, _)| names.contains(&name.as_str())).map(|(n, d)| (n.clone(), d.clone())).collect()
}

async fn start() -> Option<(Shop, ReplicaSet, mongodb::Client)> {
    let shop = shop::open().await?;
    shop.fill(4, 60).await;
    let items = (0..50).map(|n| doc! { "_id": n, "tenant": "t1", "region": format!("r{}", n % 2), "left": n });
    shop.client.database("shop").collection("items").insert_many(items).await.unwrap();
    let into = ReplicaSet::start(Options::default()).await.unwrap();
    let target = into.client().await.unwrap();
    Some((shop, into, target))
}

fn gaps(timeline: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    timeline["gaps"].as_array().unwrap().iter().map(|gap| (text(&gap["from"]), text(&gap["to"]))).collect()
}

#[test]
fn what_is_included_later_is_not_covered_before_and_what_is_excluded_not_after() {
    shop::runtime().block_on(async {
        let Some((shop, into, target)) = start().await else { return };
        let both = ["shop.items".to_owned(), "shop.orders".to_owned()];
        let items = shop.client.database("shop").collection::<Document>("items");
        protect(&shop, "[\"shop.orders\"]", "[{ ns: \"shop.*\", field: tenant }]");
        shop.json(&["init"]);
        shop.json(&["backup", "shop"]);
        shop.orders().update_many(doc! { "tenant": "t1" }, doc! { "$inc": { "total": 1 } }).await.unwrap();
        let first = instant(&shop.client).await;
        let was_first = as_of(&shop.client, &both, first).await;
        shop.json(&["capture", "shop", "--until", "now"]);
        items.update_many(doc! {}, doc! { "$inc": { "left": 100 } }).await.unwrap();
        shop.orders().delete_many(doc! { "tenant": "t2" }).await.unwrap();
        shop.json(&["capture", "shop", "--until", "now"]);
        let unchanged = shop.json(&["timeline", "shop"]);
        assert_eq!(gaps(&unchanged), []);

        // Wider. Until that is taken up, what was captured is read as it was captured.
        protect(&shop, "[\"shop.*\"]", "[{ ns: \"shop.*\", field: tenant }]");
        let before = shop.json(&["ls", "shop", "--at", &text(first)]);
        assert!(!before.to_string().contains("shop.items"), "{before}");
        items.delete_many(doc! { "_id": { "$lt": 5 } }).await.unwrap();
        assert!(!witness::die_at("capture.gap-opened", &shop.program, &["capture", "shop", "--until", "now"]));
        let open = shop.json(&["timeline", "shop"]);
        assert!(open["gaps"][0]["to"].is_null(), "{open}");
        shop.json(&["capture", "shop", "--until", "now"]);
        items.update_many(doc! {}, doc! { "$inc": { "left": 1 } }).await.unwrap();
        let second = instant(&shop.client).await;
        let was_second = as_of(&shop.client, &both, second).await;
        items.delete_one(doc! { "_id": 7 }).await.unwrap();
        shop.json(&["capture", "shop", "--until", "now"]);
        let timeline = shop.json(&["timeline", "shop"]);
        let wide = gaps(&timeline);
        assert_eq!((wide.len(), timeline["protected"].as_array().unwrap().len()), (1, 2), "{timeline}");
        let cause = timeline["gaps"][0]["cause"].as_str().unwrap();
        assert!(cause.contains("include was shop.orders, and is shop.* now"), "{timeline}");
        assert!(shop.run(&["timeline", "shop"]).ok().stdout.contains("protected after"));

        // What was not protected is refused by name, and left out where everything is meant.
        let restore = |at: &str, ns: &str| {
            shop.run(&["restore", "shop", "--at", at, "--ns", ns, "--into", &into.uri(), "--yes", "--json"])
        };
        let refused = restore(&text(first), "shop.items").expect_code(16).json_error();
        assert!(refused["message"].as_str().unwrap().contains(&wide[0].1), "{refused}");
        assert_eq!(shop.run(&["ls", "shop", "shop.items", "--at", &text(first)]).code, 16);
        assert!(now(&target, DATABASES).await.is_empty());
        for (at, was) in [(first, only(&was_first, &["shop.orders"])), (second, was_second.clone())] {
            witness::clear(&target, DATABASES).await;
            assert_eq!(restore(&text(at), "shop.*").ok().json()["proof"]["equal"], true);
            assert_same(&now(&target, DATABASES).await, &was, &text(at));
        }

        // Narrower again, by a backup this time.
        protect(&shop, "[\"shop.items\"]", "[{ ns: \"shop.*\", field: tenant }]");
        shop.orders().update_many(doc! {}, doc! { "$set": { "unseen": true } }).await.unwrap();
        let backup = shop.json(&["backup", "shop"]);
        assert!(backup["drift"].is_null(), "{backup}");
        items.update_many(doc! {}, doc! { "$inc": { "left": 1 } }).await.unwrap();
        let third = instant(&shop.client).await;
        let was_third = as_of(&shop.client, &both, third).await;
        shop.json(&["capture", "shop", "--until", "now"]);
        let narrow = gaps(&shop.json(&["timeline", "shop"]));
        let refused = restore(&text(third), "shop.orders").expect_code(16).json_error();
        assert!(refused["message"].as_str().unwrap().contains(&narrow[1].0), "{refused}");
        for (at, was) in [
            (first, only(&was_first, &["shop.orders"])),
            (second, was_second),
            (third, only(&was_third, &["shop.items"])),
        ] {
            witness::clear(&target, DATABASES).await;
            assert_eq!(restore(&text(at), "shop.*").ok().json()["proof"]["equal"], true);
            assert_same(&now(&target, DATABASES).await, &was, &text(at));
        }
        shop.json(&["compact", "shop"]);
        assert_eq!(shop.json(&["backup", "shop"])["drift"], 0);
        shop.json(&["verify", "shop", "--content"]);
    });
}

/// How many records `ls` counts of each tenant.
fn tenants(shop: &Shop, at: &str, names: &[&str]) -> BTreeMap<String, u64> {
    let count = |name: &&str| {
        let listing = shop.json(&["ls", "shop", "--at", at, "--tenant", name]);
        let namespaces = listing["namespaces"].as_array().unwrap().clone();
        ((*name).to_owned(), namespaces.iter().map(|listed| listed["records"].as_u64().unwrap()).sum())
    };
    names.iter().map(count).collect()
}

#[test]
fn under_other_tenant_rules_a_record_is_neither_lost_nor_doubled() {
    shop::runtime().block_on(async {
        let Some((shop, into, target)) = start().await else { return };
        let items = shop.client.database("shop").collection::<Document>("items");
        protect(&shop, "[\"shop.items\"]", "[{ ns: \"shop.*\", field: tenant }]");
        shop.json(&["init"]);
        shop.json(&["backup", "shop"]);
        items.insert_one(doc! { "_id": 100, "tenant": "t2", "region": "r0", "left": 0 }).await.unwrap();
        items.update_many(doc! { "region": "r0" }, doc! { "$inc": { "left": 100 } }).await.unwrap();
        let first = instant(&shop.client).await;
        shop.json(&["capture", "shop", "--until", "now"]);
        let old = BTreeMap::from([("t1".to_owned(), 50), ("t2".to_owned(), 1)]);
        assert_eq!(tenants(&shop, &text(first), &["t1", "t2"]), old);

        protect(&shop, "[\"shop.items\"]", "[{ ns: \"shop.*\", field: region }]");
        assert_eq!(tenants(&shop, &text(first), &["t1", "t2"]), old);
        shop.json(&["capture", "shop", "--until", "now"]);
        items.update_many(doc! { "_id": { "$lt": 10 } }, doc! { "$inc": { "left": 1 } }).await.unwrap();
        items.delete_one(doc! { "_id": 11 }).await.unwrap();
        items.insert_one(doc! { "_id": 101, "tenant": "t3", "region": "r1", "left": 0 }).await.unwrap();
        let second = instant(&shop.client).await;
        let was_second = as_of(&shop.client, &["shop.items".to_owned()], second).await;
        shop.json(&["capture", "shop", "--until", "now"]);
        let new = BTreeMap::from([("r0".to_owned(), 26), ("r1".to_owned(), 25)]);
        for _ in 0..2 {
            assert_eq!(tenants(&shop, &text(first), &["t1", "t2"]), old);
            assert_eq!(tenants(&shop, &text(second), &["r0", "r1"]), new);
            let all = shop.json(&["ls", "shop", "--at", &text(second)]);
            assert_eq!(all["namespaces"][0]["records"], 51, "{all}");
            shop.json(&["compact", "shop"]);
        }

        // Both of them by themselves, and side by side.
        for tenant in ["r0", "r1"] {
            let at = text(second);
            let args = ["restore", "shop", "--at", &at, "--tenant", tenant, "--into", &into.uri(), "--yes"];
            assert_eq!(shop.json(&args)["proof"]["equal"], true);
        }
        assert_same(&now(&target, DATABASES).await, &was_second, "by tenant");

        // In place, as of then: whose a live record is is decided by the rules as of then, so that nobody else's goes.
        items.insert_one(doc! { "_id": 102, "tenant": "t2", "region": "r0", "left": 1 }).await.unwrap();
        let at = text(first);
        let in_place = shop.json(&["restore", "shop", "--at", &at, "--tenant", "t2", "--in-place", "--yes"]);
        assert_eq!(in_place["proof"]["equal"], true, "{in_place}");
        assert_eq!(items.count_documents(doc! { "_id": 102 }).await.unwrap(), 0);
        assert_eq!(items.count_documents(doc! { "tenant": { "$in": ["t1", "t3"] } }).await.unwrap(), 50);
        shop.json(&["verify", "shop", "--content"]);
    });
}

#[test]
fn what_is_not_followed_any_more_is_compared_when_a_restore_only_reads_the_archive() {
    shop::runtime().block_on(async {
        let Some((shop, _into, _target)) = start().await else { return };
        let items = shop.client.database("shop").collection::<Document>("items");
        let rules = "[{ ns: \"shop.*\", field: tenant }]";
        protect(&shop, "[\"shop.*\"]", rules);
        shop.json(&["init"]);
        let at = shop.json(&["backup", "shop"])["at"].as_str().unwrap().to_owned();
        protect(&shop, "[\"shop.orders\"]", rules);
        items.update_many(doc! {}, doc! { "$set": { "left": -1 } }).await.unwrap();
        let args = ["restore", "shop", "--at", &at, "--ns", "shop.items", "--in-place", "--json"];
        let preview = shop.run(&[&args[..], &["--preview"]].concat()).ok().json();
        assert_eq!(preview["plan"]["replace"], 50, "{preview}");
        let restored = shop.run(&[&args[..], &["--no-journal", "--yes"]].concat()).ok().json();
        assert_eq!((&restored["written"], &restored["proof"]["equal"]), (&50.into(), &true.into()), "{restored}");
        assert_eq!(items.count_documents(doc! { "left": -1 }).await.unwrap(), 0);
    });
}
