//! A source whose oplog nobody lets us read: backed up, followed by change streams, interrupted, and brought back as of random
//! instants, by a user without any right on `local`.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test waits for a real server")]

mod actions;
mod rollover;
mod shop;
mod witness;

use std::time::Duration;

use actions::{Actions, NAMES};
use backstay_testkit::{Options, ReplicaSet, Signal, seed};
use bson::doc;
use rollover::roll_over;
use serde_json::Value;
use witness::{Content, as_of, assert_same, definitions, instant, now, text};

const DATABASES: &[&str] = &["shop", "tenant_a", "tenant_b"];

/// The verdicts of `doctor`, by check.
fn verdict<'v>(found: &'v Value, check: &str) -> Vec<&'v str> {
    let checks = found["checks"].as_array().unwrap().iter();
    checks.filter(|found| found["check"] == check).map(|found| found["verdict"].as_str().unwrap()).collect()
}

#[test]
fn without_a_right_on_local_the_way_around_is_named_and_goes() {
    shop::runtime().block_on(async {
        let Some((shop, uri)) = shop::with_credentials(Options::default()).await else { return };
        shop.fill(2, 10).await;
        shop.json(&["init"]);
        // By the oplog: refused, with the setting that helps.
        let yaml = shop::yaml(&uri);
        let refused = shop.run(&["backup", "shop", "--json"]).expect_code(1).json_error();
        assert!(refused["message"].as_str().unwrap().contains("feed: change-streams"), "{refused}");
        let found = shop.run(&["doctor", "--json"]).expect_code(15).json();
        assert_eq!(verdict(&found, "shop: oplog"), ["fail"], "{found}");
        // By change streams.
        shop.program.configure(&shop::followed_by("change-streams", &yaml)).unwrap();
        let found = shop.run(&["doctor", "--json"]).ok().json();
        assert_eq!(verdict(&found, "shop: change streams"), ["ok"], "{found}");
        assert_eq!(verdict(&found, "shop: not shown"), ["warn"], "{found}");
        shop.client.database("shop").create_collection("few").view_on("orders").await.unwrap();
        let series = doc! { "create": "weather", "timeseries": { "timeField": "t" } };
        shop.client.database("shop").run_command(series).await.unwrap();
        let weather = shop.client.database("shop").collection::<bson::Document>("weather");
        weather.insert_one(doc! { "t": bson::DateTime::now(), "v": 1 }).await.unwrap();
        shop.json(&["backup", "shop"]);
        weather.insert_one(doc! { "t": bson::DateTime::now(), "v": 2 }).await.unwrap();
        shop.orders().update_many(doc! {}, doc! { "$inc": { "total": 1 } }).await.unwrap();
        let at = shop.now().await;
        shop.json(&["capture", "shop", "--until", "now"]);
        let timeline = shop.json(&["timeline", "shop"]);
        assert_eq!(timeline["protected"][0]["feed"], "change-streams", "{timeline}");
        let status = shop.json(&["status"]);
        assert!(status["sources"][0]["hidden"][0].as_str().unwrap().contains("users"), "{status}");
        assert_eq!(shop.json(&["ls", "shop", "--at", &at])["namespaces"].as_array().unwrap().len(), 4);
        let into = ReplicaSet::start(Options { name: "rs1".into(), ..Options::default() }).await.unwrap();
        let restored = shop.json(&["restore", "shop", "--at", &at, "--into", &into.uri(), "--yes"]);
        assert_eq!(restored["proof"]["equal"], true, "{restored}");
        let target = into.client().await.unwrap();
        let target = target.database("shop").collection::<bson::Document>("weather");
        assert_eq!(target.count_documents(doc! {}).await.unwrap(), 2);
        // With less, `doctor` says what is missing; records are followed all the same.
        let less = uri.replace("backup:", "reader:");
        shop.program.configure(&shop::followed_by("change-streams", &shop::yaml(&less))).unwrap();
        let found = shop.run(&["doctor", "--json"]).json();
        assert!(verdict(&found, "shop: privileges").contains(&"warn"), "{found}");
        assert!(found.to_string().contains("system.views"), "{found}");
    });
}

#[test]
fn a_set_that_was_known_by_its_name_comes_to_be_known_by_its_id() {
    shop::runtime().block_on(async {
        let Some((shop, uri)) = shop::with_credentials(Options::default()).await else { return };
        shop.fill(2, 10).await;
        let follow_as = |user: &str| {
            let uri = uri.replace("backup:", &format!("{user}:"));
            shop.program.configure(&shop::followed_by("change-streams", &shop::yaml(&uri))).unwrap();
        };
        let identity = || shop.json(&["status"])["sources"][0]["identity"].as_str().unwrap().to_owned();
        let narrow = doc! { "createUser": "narrow", "pwd": "secret", "roles": [{ "role": "read", "db": "shop" }] };
        shop.client.database("admin").run_command(narrow).await.unwrap();
        shop.json(&["init"]);
        // Without the right to see the set's id.
        follow_as("reader");
        shop.json(&["backup", "shop"]);
        assert_eq!(identity(), "mongodb rs0");
        shop.orders().delete_one(doc! { "_id": 3 }).await.unwrap();
        // Without the right to follow: what is missing is said.
        follow_as("narrow");
        let denied = shop.run(&["capture", "shop", "--until", "now", "--json"]).json_error();
        assert!(denied["message"].as_str().unwrap().contains("readAnyDatabase"), "{denied}");
        // With both.
        follow_as("backup");
        let found = shop.run(&["doctor", "--json"]).json();
        assert_eq!(verdict(&found, "shop: archive"), ["ok"], "{found}");
        let at = shop.json(&["timeline", "shop"])["ranges"][0]["to"].as_str().unwrap().to_owned();
        follow_as("root");
        shop.json(&["restore", "shop", "--at", &at, "--ns", "shop.orders", "--in-place", "--preview"]);
        follow_as("backup");
        assert_eq!(identity(), "mongodb rs0", "whoever looks writes nothing");
        // Nothing was seen before the first change that shows that the history goes on.
        shop.json(&["capture", "shop", "--until", "now"]);
        shop.now().await;
        shop.json(&["capture", "shop", "--until", "now"]);
        let id = identity();
        assert!(id.len() == "mongodb ".len() + 24, "{id}");
        assert_eq!(shop.json(&["timeline", "shop"])["gaps"], serde_json::json!([]));
        assert_eq!(shop.json(&["backup", "shop"])["drift"], 0);
        // And not the other way round.
        follow_as("reader");
        for command in [&["capture", "shop", "--until", "now", "--json"][..], &["backup", "shop", "--json"]] {
            let refused = shop.run(command).expect_code(2).json_error();
            assert!(refused["message"].as_str().unwrap().contains("do not show which one it is"), "{refused}");
            assert!(refused.to_string().contains("replSetGetConfig"), "{refused}");
        }
        assert_eq!(identity(), id);
        // Nor is it taken for another one, which may be written to.
        let less = uri.replace("backup:", "reader:");
        let own = shop.run(&["drill", "shop", "--into", &less, "--json"]).expect_code(2).json_error();
        assert!(own["message"].as_str().unwrap().contains("may be the source itself"), "{own}");
        assert!(own.to_string().contains("replSetGetConfig"), "{own}");
        let roles = ["readWriteAnyDatabase", "backup", "restore"];
        let writer = doc! { "createUser": "writer", "pwd": "secret", "roles": roles.to_vec() };
        shop.client.database("admin").run_command(writer).await.unwrap();
        let less = uri.replace("backup:", "writer:");
        let own = shop.run(&["restore", "shop", "--at", &at, "--into", &less, "--yes", "--json"]);
        let own = own.expect_code(2).json_error();
        assert!(own["message"].as_str().unwrap().contains("may be the source itself"), "{own}");
        assert_eq!(shop.json(&["verify", "shop"])["problems"], serde_json::json!([]));
    });
}

#[test]
fn a_random_workload_comes_back_by_change_streams() {
    shop::runtime().block_on(async {
        let parameters =
            ["minSnapshotHistoryWindowInSeconds=3600", "maxNumberOfTransactionOperationsInSingleOplogEntry=3"];
        let args =
            parameters.iter().flat_map(|parameter| ["--setParameter".to_owned(), (*parameter).to_owned()]).collect();
        let options = Options { args, ..Options::default() };
        let Some((shop, uri)) = shop::with_credentials(options).await else { return };
        let target = ReplicaSet::start(Options { name: "rs1".into(), ..Options::default() }).await.unwrap();
        let into = target.client().await.unwrap();
        shop.program.configure(&shop::followed_by("change-streams", &shop::yaml(&uri))).unwrap();
        shop.json(&["init"]);
        for name in NAMES {
            shop.client.database("shop").create_collection(*name).await.unwrap();
        }
        let seed = seed();
        println!("BACKSTAY_SEED={seed}");
        let mut actions = Actions::new(shop.client.clone(), seed);
        for _ in 0..60 {
            actions.step().await;
        }
        // While it reads, documents and definitions change beneath it.
        let mut backup = shop.program.spawn(["backup", "shop"]).unwrap();
        while !backup.has_ended().unwrap() {
            actions.step().await;
        }
        backup.wait(Duration::from_secs(60)).unwrap().ok();
        let mut moments = Vec::new();
        for round in 0..6 {
            let mut capture = shop.program.spawn(["capture", "shop"]).unwrap();
            for _ in 0..30 {
                actions.step().await;
            }
            let at = instant(&shop.client).await;
            let defined = definitions(&shop.client, DATABASES).await;
            let names: Vec<String> = defined
                .iter()
                .filter(|(_, (entry, _))| entry.get_str("type").unwrap() == "collection")
                .map(|(name, _)| name.clone())
                .collect();
            moments.push((at, as_of(&shop.client, &names, at).await, defined));
            if round % 2 == 0 {
                capture.kill().unwrap();
            } else {
                assert!(!capture.has_ended().unwrap(), "{}", capture.stderr());
                capture.signal(Signal::Terminate).unwrap();
                let run = capture.wait(Duration::from_secs(60)).unwrap();
                assert!(run.code == 0 || run.code == 143, "{run:?}");
            }
        }
        shop.json(&["capture", "shop", "--until", "now"]);
        let timeline = shop.json(&["timeline", "shop"]);
        assert_eq!(timeline["gaps"], serde_json::json!([]), "{timeline}");
        for (at, content, defined) in &moments {
            let at = text(*at);
            witness::clear(&into, DATABASES).await;
            let restored = shop.json(&["restore", "shop", "--at", &at, "--into", &target.uri(), "--yes"]);
            assert_same(&now(&into, DATABASES).await, content, &at);
            assert_eq!(&definitions(&into, DATABASES).await, defined, "as of {at}");
            assert_eq!(restored["proof"]["equal"], true, "{restored}");
        }
        assert_eq!(shop.json(&["backup", "shop"])["drift"], 0);
        let verified = shop.json(&["verify", "shop", "--content"]);
        assert_eq!(verified["problems"], serde_json::json!([]), "{verified}");
        println!("{} documents, {} steps refused, {:?}", actions.next, actions.refused, actions.kinds);
    });
}

#[test]
fn a_history_that_is_lost_is_a_gap() {
    shop::runtime().block_on(async {
        let args = ["--setParameter", "minSnapshotHistoryWindowInSeconds=3600", "--syncdelay", "1"].map(str::to_owned);
        let options = Options { oplog_mb: Some(1), args: args.to_vec(), ..Options::default() };
        let Some((shop, uri)) = shop::with_credentials(options).await else { return };
        shop.program.configure(&shop::followed_by("change-streams", &shop::yaml(&uri))).unwrap();
        shop.fill(4, 100).await;
        shop.json(&["init"]);
        shop.json(&["backup", "shop"]);
        shop.orders().delete_one(doc! { "_id": 3 }).await.unwrap();
        let early = instant(&shop.client).await;
        let namespaces = ["shop.orders".to_owned()];
        let was: Content = as_of(&shop.client, &namespaces, early).await;
        shop.json(&["capture", "shop", "--until", "now"]);
        shop.orders().delete_one(doc! { "_id": 4 }).await.unwrap();
        let between = instant(&shop.client).await;
        roll_over(&shop.client, between).await;
        shop.json(&["capture", "shop", "--until", "now"]);
        let timeline = shop.json(&["timeline", "shop"]);
        let gaps = timeline["gaps"].as_array().unwrap();
        assert_eq!((gaps.len(), timeline["ranges"].as_array().unwrap().len()), (1, 2), "{timeline}");
        assert!(gaps[0]["cause"].as_str().unwrap().contains("rolled over"), "{timeline}");
        assert_eq!(shop.run(&["ls", "shop", "--at", &text(between)]).code, 16);
        let into = ReplicaSet::start(Options { name: "rs1".into(), ..Options::default() }).await.unwrap();
        let target = into.client().await.unwrap();
        for (at, content) in [(early, was), (instant(&shop.client).await, now(&shop.client, &["shop"]).await)] {
            shop.json(&["capture", "shop", "--until", "now"]);
            witness::clear(&target, DATABASES).await;
            shop.json(&["restore", "shop", "--at", &text(at), "--ns", "shop.*", "--into", &into.uri(), "--yes"]);
            assert_same(&now(&target, &["shop"]).await, &content, &text(at));
        }
    });
}
