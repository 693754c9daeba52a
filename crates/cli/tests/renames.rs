//! Entries of the oplog that cannot be archived behind the one before them, on a real server: a collection that comes under
//! protection by its new name, one whose new name other tenant rules hold for, and changes that no entry describes.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test waits for a real server")]

mod shop;
mod witness;

use std::collections::BTreeMap;

use backstay_testkit::{Options, ReplicaSet, require_mongod};
use bson::{Document, doc};
use mongodb::Collection;
use serde_json::Value;
use shop::Shop;
use witness::{Content, as_of, assert_same, instant, now, text};

const DATABASES: &[&str] = &["shop"];
const ORDERS: [&str; 1] = ["shop.orders"];

struct Rig {
    shop: Shop,
    into: ReplicaSet,
    target: mongodb::Client,
}

/// A shop with ten orders of two tenants, protected by `include` and `tenants`, and backed up.
async fn start(args: &[&str], include: &str, tenants: &str) -> Option<Rig> {
    require_mongod()?;
    let args = args.iter().map(|&arg| arg.to_owned()).collect();
    let set = ReplicaSet::start(Options { args, ..Options::default() }).await.unwrap();
    let client = set.client().await.unwrap();
    let program = shop::program(&set.uri());
    let yaml = format!(
        "repository:\n  url: file:./archive\nkeyring:\n  file: ./backstay.keys\nsources:\n  shop:\n    kind: mongodb\n    \
         uri: {}\n    include: {include}\n    tenants: {tenants}\n",
        set.uri()
    );
    program.configure(&yaml).unwrap();
    let shop = Shop { set, client, program };
    shop.orders().insert_many(orders(0, 10, "old")).await.unwrap();
    let into = ReplicaSet::start(Options::default()).await.unwrap();
    let target = into.client().await.unwrap();
    shop.json(&["init"]);
    Some(Rig { shop, into, target })
}

fn orders(from: i32, to: i32, what: &str) -> Vec<Document> {
    (from..to).map(|n| doc! { "_id": n, "tenant": format!("t{}", n % 2), "what": what, "n": n }).collect()
}

impl Rig {
    fn collection(&self, name: &str) -> Collection<Document> {
        self.shop.client.database("shop").collection(name)
    }

    async fn rename(&self, from: &str, to: &str) {
        let rename =
            doc! { "renameCollection": format!("shop.{from}"), "to": format!("shop.{to}"), "dropTarget": true };
        self.shop.client.database("admin").run_command(rename).await.unwrap();
    }

    /// An instant, and what the server says stood in the shop then.
    async fn instant(&self) -> (String, Content) {
        let at = instant(&self.shop.client).await;
        let names: Vec<String> = witness::names(&self.shop.client, "shop").await;
        let names: Vec<String> = names.into_iter().map(|name| format!("shop.{name}")).collect();
        (text(at), as_of(&self.shop.client, &names, at).await)
    }

    fn capture(&self) -> Value {
        self.shop.json(&["capture", "shop", "--until", "now"])
    }

    fn gaps(&self) -> Vec<Value> {
        self.shop.json(&["timeline", "shop"])["gaps"].as_array().unwrap().clone()
    }

    /// Restores side by side, and compares with what the server said.
    async fn check(&self, at: &str, was: &Content) {
        witness::clear(&self.target, DATABASES).await;
        let args = ["restore", "shop", "--at", at, "--into", &self.into.uri(), "--yes"];
        assert_eq!(self.shop.json(&args)["proof"]["equal"], true);
        assert_same(&now(&self.target, DATABASES).await, was, at);
    }

    /// How many orders `ls` counts of each tenant.
    fn tenants(&self, at: &str) -> BTreeMap<String, u64> {
        let listing = self.shop.json(&["ls", "shop", "--at", at]);
        let namespaces = listing["namespaces"].as_array().unwrap();
        let orders = namespaces.iter().find(|listed| listed["namespace"] == "shop.orders").unwrap();
        let count =
            |tenant: &Value| (tenant["tenant"].as_str().unwrap().to_owned(), tenant["records"].as_u64().unwrap());
        orders["tenants"].as_array().unwrap().iter().map(count).collect()
    }

    /// What the last command says of an instant that cannot be had.
    fn refused(&self, args: &[&str]) -> Value {
        self.shop.run(&[args, &["--json"]].concat()).expect_code(16).json_error()
    }
}

fn only(content: &Content, names: &[&str]) -> Content {
    content.iter().filter(|(name, _)| names.contains(&name.as_str())).map(|(n, d)| (n.clone(), d.clone())).collect()
}

fn counts<const N: usize>(expected: [(&str, u64); N]) -> BTreeMap<String, u64> {
    expected.into_iter().map(|(tenant, records)| (tenant.to_owned(), records)).collect()
}

const BY_FIELD: &str = "[{ ns: \"*\", field: tenant }]";

#[test]
fn a_collection_that_is_renamed_to_a_protected_name_is_scanned_and_the_gap_is_named() {
    if backstay_testkit::require_mongod_since(5, 0).is_none() {
        return;
    }
    shop::runtime().block_on(async {
        let Some(rig) = start(&[], "[\"shop.orders\"]", BY_FIELD).await else { return };
        let shop = &rig.shop;
        shop.json(&["backup", "shop"]);
        let (first, was_first) = rig.instant().await;
        rig.capture();
        rig.collection("staging").insert_many(orders(0, 20, "new")).await.unwrap();
        rig.rename("staging", "orders").await;
        shop.orders().update_one(doc! { "_id": 3 }, doc! { "$set": { "what": "updated" } }).await.unwrap();
        shop.orders().insert_one(doc! { "_id": 100, "tenant": "t1" }).await.unwrap();
        let (second, was_second) = rig.instant().await;
        assert_eq!(was_second["shop.orders"].len(), 21);
        // The scan is to be of later than that.
        instant(&shop.client).await;

        // A preview of what a capture would have to scan for says so, and writes nothing.
        let preview = ["restore", "shop", "--at", &first, "--in-place", "--preview"];
        let preview = shop.json(&preview);
        assert!(preview["notes"].to_string().contains("compared whole namespaces"), "{preview}");
        assert_eq!(rig.capture()["gaps"], 1);
        let [gap] = &rig.gaps()[..] else { panic!("{:?}", rig.gaps()) };
        let cause = gap["cause"].as_str().unwrap();
        assert!(cause.contains("shop.staging") && cause.contains("shop.orders"), "{gap}");
        assert!(gap["to"].is_string(), "{gap}");
        let refused = rig.refused(&["restore", "shop", "--at", &second, "--into", &rig.into.uri(), "--yes"]);
        assert!(refused["message"].as_str().unwrap().contains(gap["to"].as_str().unwrap()), "{refused}");
        rig.refused(&["get", "shop", "shop.orders", "3", "--at", &second]);

        shop.orders().update_many(doc! { "n": { "$lt": 5 } }, doc! { "$inc": { "n": 1000 } }).await.unwrap();
        let (third, was_third) = rig.instant().await;
        rig.capture();
        for _ in 0..2 {
            rig.check(&first, &only(&was_first, &ORDERS)).await;
            rig.check(&third, &only(&was_third, &ORDERS)).await;
            assert_eq!(rig.tenants(&third), counts([("t0", 10), ("t1", 11)]));
            shop.json(&["compact", "shop"]);
        }
        assert_eq!(shop.json(&["backup", "shop"])["drift"], 0);

        // Out of protection and back; and from another database, which the server does by a temporary name.
        rig.rename("orders", "aside").await;
        rig.collection("aside").update_many(doc! {}, doc! { "$set": { "what": "unseen" } }).await.unwrap();
        rig.rename("aside", "orders").await;
        assert_eq!(rig.capture()["gaps"], 1);
        let other = shop.client.database("other").collection::<Document>("orders");
        other.insert_many(orders(0, 7, "other")).await.unwrap();
        let rename = doc! { "renameCollection": "other.orders", "to": "shop.orders", "dropTarget": true };
        shop.client.database("admin").run_command(rename).await.unwrap();
        shop.orders().update_one(doc! { "_id": 3 }, doc! { "$set": { "what": "updated" } }).await.unwrap();
        let (fourth, was_fourth) = rig.instant().await;
        assert_eq!(rig.capture()["gaps"], 0);
        rig.check(&fourth, &only(&was_fourth, &ORDERS)).await;
        assert_eq!(rig.gaps().len(), 2);

        // A live instant, from a gap that the command itself closes: the accident is taken back.
        shop.orders().delete_many(doc! { "tenant": "t1" }).await.unwrap();
        let in_place = shop.json(&["restore", "shop", "--at", &fourth, "--in-place", "--yes"]);
        assert_eq!(in_place["proof"]["equal"], true, "{in_place}");
        assert_same(&only(&now(&shop.client, DATABASES).await, &ORDERS), &only(&was_fourth, &ORDERS), "in place");
        shop.json(&["verify", "shop", "--content"]);
    });
}

#[test]
fn changes_that_no_entry_describes_are_a_gap_and_scanned() {
    shop::runtime().block_on(async {
        let parameters = ["--setParameter", "enableTestCommands=1"];
        let Some(rig) = start(&parameters, "[\"shop.*\"]", BY_FIELD).await else { return };
        let shop = &rig.shop;
        let database = shop.client.database("shop");
        database.run_command(doc! { "create": "log", "capped": true, "size": 1 << 20, "max": 60 }).await.unwrap();
        rig.collection("log").insert_many(orders(0, 50, "old")).await.unwrap();
        shop.json(&["backup", "shop"]);
        // A capped collection cannot be read as of an instant: what stands there now is what stood there.
        let (first, was_first) = (instant(&shop.client).await, now(&shop.client, DATABASES).await);
        rig.capture();
        // What is not protected is nobody's business.
        let other = shop.client.database("other");
        other.run_command(doc! { "create": "log", "capped": true, "size": 1 << 20 }).await.unwrap();
        other.run_command(doc! { "emptycapped": "log" }).await.unwrap();
        assert_eq!(rig.capture()["gaps"], 0);
        database.run_command(doc! { "emptycapped": "log" }).await.unwrap();
        rig.collection("log").insert_one(doc! { "_id": "new", "tenant": "t1" }).await.unwrap();
        let second = text(instant(&shop.client).await);
        instant(&shop.client).await;
        assert_eq!(rig.capture()["gaps"], 1);
        let [gap] = &rig.gaps()[..] else { panic!("{:?}", rig.gaps()) };
        let cause = gap["cause"].as_str().unwrap();
        assert!(cause.contains("emptycapped") && cause.contains("shop.log"), "{gap}");
        rig.refused(&["restore", "shop", "--at", &second, "--into", &rig.into.uri(), "--yes"]);
        let third = instant(&shop.client).await;
        rig.capture();
        rig.check(&text(first), &was_first).await;
        let was_third = now(&shop.client, DATABASES).await;
        assert_eq!(was_third["shop.log"].len(), 1);
        rig.check(&text(third), &was_third).await;
        assert_eq!(shop.json(&["backup", "shop"])["drift"], 0);
    });
}

const ORDERS_BY_FIELD: &str = "[{ ns: \"shop.orders\", field: tenant }, { ns: \"*\", fixed: shared }]";

/// After `swap` has put orders in place that stood under a name for which other rules hold: they are each tenant's own, from that
/// very instant on, and before it what was is what it was.
async fn orders_belong_to_their_tenants(rig: &Rig, first: (String, Content), expected: BTreeMap<String, u64>) {
    let shop = &rig.shop;
    let at_once = instant(&shop.client).await;
    shop.orders().update_one(doc! { "_id": 3 }, doc! { "$set": { "what": "updated" } }).await.unwrap();
    shop.orders().update_one(doc! { "_id": 4 }, doc! { "$set": { "tenant": "t1" } }).await.unwrap();
    shop.orders().update_one(doc! { "_id": 4 }, doc! { "$set": { "tenant": "t0" } }).await.unwrap();
    let (second, was_second) = rig.instant().await;
    // It dies when they are filed and the entry is not archived yet: that is found done.
    assert!(!witness::die_at("capture.reassigned", &shop.program, &["capture", "shop", "--until", "now"]));
    assert_eq!(rig.capture()["gaps"], 0);
    assert_eq!(rig.gaps(), [] as [Value; 0]);
    for _ in 0..2 {
        assert_eq!(rig.tenants(&text(at_once)), expected);
        assert_eq!(rig.tenants(&second), expected);
        assert_eq!(rig.tenants(&first.0), counts([("t0", 5), ("t1", 5)]));
        rig.check(&first.0, &first.1).await;
        rig.check(&second, &was_second).await;
        shop.json(&["compact", "shop"]);
    }

    // The accident that befalls one tenant is taken back for that one.
    let the_others = shop.orders().find_one(doc! { "_id": 0 }).await.unwrap().unwrap();
    shop.orders().update_many(doc! { "tenant": "t1" }, doc! { "$set": { "what": "bad" } }).await.unwrap();
    shop.orders().delete_many(doc! { "_id": { "$in": [5, 7] } }).await.unwrap();
    shop.orders().insert_one(doc! { "_id": "bogus", "tenant": "t1" }).await.unwrap();
    shop.orders().update_one(doc! { "_id": 0 }, doc! { "$set": { "what": "the other's" } }).await.unwrap();
    let in_place = shop.json(&["restore", "shop", "--at", &second, "--tenant", "t1", "--in-place", "--yes"]);
    assert_eq!(in_place["proof"]["equal"], true, "{in_place}");
    shop.orders().replace_one(doc! { "_id": 0 }, the_others).await.unwrap();
    assert_same(&now(&shop.client, DATABASES).await, &was_second, "in place");
    assert_eq!(shop.json(&["backup", "shop"])["drift"], 0);
    shop.json(&["verify", "shop", "--content"]);

    // What was each tenant's own goes with its key.
    let at = shop.now().await;
    rig.capture();
    shop.json(&["key", "shred", "--tenant", "t1", "--yes"]);
    assert_eq!(rig.tenants(&at), counts([("t0", expected["t0"])]));
    assert_ne!(shop.run(&["get", "shop", "shop.orders", "1", "--at", &at]).code, 0);
}

#[test]
fn a_collection_that_is_renamed_under_other_tenant_rules_belongs_to_their_tenants() {
    if backstay_testkit::require_mongod_since(5, 0).is_none() {
        return;
    }
    shop::runtime().block_on(async {
        let Some(rig) = start(&[], "[\"shop.*\"]", ORDERS_BY_FIELD).await else { return };
        rig.shop.json(&["backup", "shop"]);
        let first = rig.instant().await;
        rig.collection("staging").insert_many(orders(0, 20, "new")).await.unwrap();
        rig.rename("staging", "orders").await;
        orders_belong_to_their_tenants(&rig, first, counts([("t0", 10), ("t1", 10)])).await;
    });
}

#[test]
fn what_an_aggregation_puts_out_belongs_to_the_tenants_of_its_name() {
    if backstay_testkit::require_mongod_since(5, 0).is_none() {
        return;
    }
    shop::runtime().block_on(async {
        let Some(rig) = start(&[], "[\"shop.*\"]", ORDERS_BY_FIELD).await else { return };
        rig.shop.json(&["backup", "shop"]);
        let first = rig.instant().await;
        for _ in 0..2 {
            let pipeline = [doc! { "$set": { "rebuilt": 1 } }, doc! { "$out": "orders" }];
            rig.shop.orders().aggregate(pipeline).await.unwrap();
        }
        orders_belong_to_their_tenants(&rig, first, counts([("t0", 5), ("t1", 5)])).await;
    });
}

#[test]
fn under_the_same_rules_a_rename_is_nothing_but_a_rename() {
    if backstay_testkit::require_mongod_since(5, 0).is_none() {
        return;
    }
    shop::runtime().block_on(async {
        let Some(rig) = start(&[], "[\"shop.*\"]", BY_FIELD).await else { return };
        let shop = &rig.shop;
        shop.json(&["backup", "shop"]);
        rig.collection("staging").insert_many(orders(0, 20, "new")).await.unwrap();
        rig.rename("staging", "orders").await;
        shop.orders().aggregate([doc! { "$set": { "rebuilt": 1 } }, doc! { "$out": "orders" }]).await.unwrap();
        let (at, was) = rig.instant().await;
        // Nothing is sorted or scanned for it.
        assert!(witness::die_at("capture.reassigned", &shop.program, &["capture", "shop", "--until", "now"]));
        assert_eq!(rig.gaps(), [] as [Value; 0]);
        rig.check(&at, &was).await;
        assert_eq!(rig.tenants(&at), counts([("t0", 10), ("t1", 10)]));
    });
}
