//! An oplog that rolls over while nobody follows it: a gap with its cause, scanned over, and everything else as it was.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test waits for a real server")]

mod rollover;
mod shop;
mod witness;

use backstay_testkit::{Options, ReplicaSet, require_mongod};
use bson::doc;
use rollover::{roll_over, short_oplog};
use witness::{as_of, assert_same, instant, now, text};

const DATABASES: &[&str] = &["shop"];

#[test]
fn an_oplog_that_rolled_over_is_a_gap_that_is_named_scanned_over_and_never_restored_into() {
    if backstay_testkit::require_mongod_since(5, 0).is_none() {
        return;
    }
    shop::runtime().block_on(async {
        if require_mongod().is_none() {
            return;
        }
        let shop = short_oplog().await;
        shop.fill(4, 100).await;
        shop.json(&["init"]);
        shop.json(&["backup", "shop"]);
        shop.orders().update_many(doc! { "tenant": "t1" }, doc! { "$inc": { "total": 1 } }).await.unwrap();
        shop.orders().delete_one(doc! { "_id": 3 }).await.unwrap();
        let namespaces = ["shop.orders".to_owned()];
        let early = instant(&shop.client).await;
        let was_early = as_of(&shop.client, &namespaces, early).await;
        shop.json(&["capture", "shop", "--until", "now"]);

        // Nobody follows, and the oplog moves on.
        shop.orders().update_many(doc! { "tenant": "t2" }, doc! { "$set": { "lost": true } }).await.unwrap();
        shop.orders().delete_many(doc! { "tenant": "t3", "_id": { "$lt": 100 } }).await.unwrap();
        shop.orders().insert_one(doc! { "_id": 9000, "tenant": "t1", "lost": true }).await.unwrap();
        let between = instant(&shop.client).await;
        roll_over(&shop.client, between).await;
        // Dying right after the gap was written down leaves it open: named, and nothing beyond it on offer.
        assert!(!witness::die_at("capture.gap-opened", &shop.program, &["capture", "shop", "--until", "now"]));
        let timeline = shop.json(&["timeline", "shop"]);
        assert!(timeline["gaps"][0]["to"].is_null() && timeline["ranges"].as_array().unwrap().len() == 1, "{timeline}");
        shop.json(&["capture", "shop", "--until", "now"]);

        let timeline = shop.json(&["timeline", "shop"]);
        let gaps = timeline["gaps"].as_array().unwrap();
        assert_eq!((gaps.len(), timeline["ranges"].as_array().unwrap().len()), (1, 2), "{timeline}");
        assert!(gaps[0]["cause"].as_str().unwrap().contains("rolled over"), "{timeline}");
        let (from, to) = (gaps[0]["from"].as_str().unwrap(), gaps[0]["to"].as_str().unwrap());

        // Within the gap: refused, with the nearest instants; nothing is written.
        let into = ReplicaSet::start(Options::default()).await.unwrap();
        let target = into.client().await.unwrap();
        let inside = text(between);
        let refused = shop.run(&["restore", "shop", "--at", &inside, "--into", &into.uri(), "--yes", "--json"]);
        let error = refused.expect_code(16).json_error();
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(from) && message.contains(to), "{error}");
        assert!(now(&target, DATABASES).await.is_empty());
        assert_eq!(shop.run(&["ls", "shop", "--at", &inside]).code, 16);

        // Life goes on after it.
        shop.orders().update_many(doc! { "tenant": "t0" }, doc! { "$set": { "later": true } }).await.unwrap();
        let late = instant(&shop.client).await;
        shop.orders().delete_many(doc! { "tenant": "t0" }).await.unwrap();
        let was_late = as_of(&shop.client, &namespaces, late).await;
        shop.json(&["capture", "shop", "--until", "now"]);
        for (at, was) in [(early, &was_early), (late, &was_late)] {
            witness::clear(&target, DATABASES).await;
            let at = text(at);
            let restored =
                shop.json(&["restore", "shop", "--at", &at, "--ns", "shop.*", "--into", &into.uri(), "--yes"]);
            assert_eq!(restored["proof"]["equal"], true, "{restored}");
            assert_same(&now(&target, DATABASES).await, was, &at);
        }
        for edge in [from, to] {
            witness::clear(&target, DATABASES).await;
            let restored =
                shop.json(&["restore", "shop", "--at", edge, "--ns", "shop.*", "--into", &into.uri(), "--yes"]);
            assert_eq!(restored["proof"]["equal"], true, "{restored}");
        }
        // The history of a record says that there is a gap in it, and where.
        let history = shop.json(&["get", "shop", "shop.orders", "5", "--history"]);
        let lines = history.as_array().unwrap();
        let gap = lines.iter().position(|line| line["op"] == "gap").unwrap();
        assert!(gap > 0 && lines[gap]["at"] == from && lines[gap]["resumes"] == to, "{history}");
        assert!(lines[gap]["cause"].as_str().unwrap().contains("rolled over"), "{history}");

        let drift = shop.json(&["backup", "shop"]);
        assert_eq!(drift["drift"], 0, "{drift}");
        shop.json(&["verify", "shop", "--content"]);
    });
}
