//! The whole path on a real replica set: init, backup, writes, capture, and back to an instant before.

#![allow(clippy::unwrap_used)]

mod shop;

use bson::doc;
use shop::{all, indexes};

#[test]
fn a_tenant_is_rewound_in_place_and_all_is_restored_elsewhere() {
    if backstay_testkit::require_mongod_since(5, 0).is_none() {
        return;
    }
    shop::runtime().block_on(async {
        let Some(shop) = shop::open().await else { return };
        shop.fill(5, 200).await;
        shop.json(&["init"]);
        let backup = shop.json(&["backup", "shop"]);
        assert_eq!(backup["records"], 1001);
        assert_eq!(backup["namespaces"], 2);
        for field in ["source_bytes", "stored_bytes"] {
            assert!(backup[field].as_u64().is_some_and(|bytes| bytes > 0), "{backup}");
        }
        assert!(backup["seconds"].is_f64() && backup["drift"].is_null() && backup["resumed"] == false, "{backup}");

        // Good changes, the instant to come back to, then the accident; another tenant works on.
        shop.orders().update_many(doc! { "tenant": "t1" }, doc! { "$set": { "paid": true } }).await.unwrap();
        shop.orders().delete_one(doc! { "_id": 7 }).await.unwrap();
        let good = shop.now().await;
        shop.orders().update_many(doc! { "tenant": "t2" }, doc! { "$set": { "total": 0 } }).await.unwrap();
        shop.orders().delete_many(doc! { "tenant": "t2", "_id": { "$lt": 400 } }).await.unwrap();
        shop.orders().insert_one(doc! { "_id": 5000, "tenant": "t2", "junk": true }).await.unwrap();
        shop.orders().update_many(doc! { "tenant": "t3" }, doc! { "$inc": { "total": 1 } }).await.unwrap();
        let before = shop.as_of("shop", "orders", &good).await;

        let capture = shop.json(&["capture", "shop", "--until", "now"]);
        assert!(capture["entries"].as_u64().is_some_and(|entries| entries > 500), "{capture}");
        assert!(capture["through"].as_str().is_some_and(|tick| tick.contains(':')), "{capture}");
        assert!(capture["lag_seconds"].is_u64() && capture["gaps"] == 0, "{capture}");
        let timeline = shop.json(&["timeline", "shop"]);
        assert_eq!(timeline["ranges"].as_array().map(Vec::len), Some(1), "{timeline}");
        assert_eq!(timeline["ranges"][0]["from"], backup["at"]);
        assert_eq!(timeline["ranges"][0]["to"], capture["through"]);
        assert_eq!(timeline["ranges"][0]["class"], "exact");
        assert_eq!(timeline["gaps"], serde_json::json!([]));

        // In place: previewed, refused without consent, done, and done again.
        let rewind = ["restore", "shop", "--at", &good, "--tenant", "t2", "--in-place"];
        let preview = shop.json(&[&rewind[..], &["--preview"]].concat());
        assert_eq!(
            preview["plan"],
            serde_json::json!({"insert": 79, "replace": 120, "delete": 1, "unchanged": 0}),
            "{preview}"
        );
        assert_eq!((&preview["written"], &preview["proof"]), (&0.into(), &serde_json::Value::Null));
        let refused = shop.run(&[&rewind[..], &["--json"]].concat()).expect_code(14);
        assert_eq!(refused.json_error()["code"], "denied");
        let restored = shop.json(&[&rewind[..], &["--yes"]].concat());
        assert_eq!(restored["plan"], preview["plan"]);
        assert_eq!((&restored["written"], &restored["skipped"]), (&200.into(), &0.into()));
        assert_eq!(restored["proof"]["equal"], true, "{restored}");
        assert_eq!(restored["proof"]["archive"], restored["proof"]["target"]);
        assert!(restored["id"].as_str().is_some_and(|id| id.len() == 32) && restored["at"] == good.as_str());
        let again = shop.json(&[&rewind[..], &["--yes"]].concat());
        assert_eq!((&again["written"], &again["plan"]["insert"]), (&0.into(), &0.into()), "{again}");
        let of = |documents: &[bson::Document], tenant: &str| -> Vec<bson::Document> {
            documents.iter().filter(|order| order.get_str("tenant").is_ok_and(|of| of == tenant)).cloned().collect()
        };
        let now = all(&shop.client, "shop", "orders").await;
        assert_eq!(of(&now, "t2"), of(&before, "t2"));
        assert_ne!(of(&now, "t3"), of(&before, "t3"), "the others keep what they wrote since");

        // Elsewhere: everything, with its indexes.
        let other = backstay_testkit::ReplicaSet::start(backstay_testkit::Options::default()).await.unwrap();
        let into = other.uri();
        let restored = shop.json(&["restore", "shop", "--at", &good, "--into", &into, "--yes"]);
        assert_eq!(restored["proof"]["equal"], true, "{restored}");
        assert_eq!(restored["proof"]["scope"], "full");
        assert_eq!(restored["proof"]["definitions"], serde_json::json!([]), "{restored}");
        let client = other.client().await.unwrap();
        assert_eq!(all(&client, "shop", "orders").await, before);
        assert_eq!(indexes(&client, "shop", "orders").await, indexes(&shop.client, "shop", "orders").await);
        assert_eq!(all(&client, "tenant_acme", "notes").await, shop.as_of("tenant_acme", "notes", &good).await);

        // Beside the live data, under another name: one tenant.
        let own = shop.set.uri();
        let rename = "shop.orders=shop.orders_then";
        let args = ["restore", "shop", "--at", &good, "--ns", "shop.orders", "--tenant", "t3", "--into", &own];
        let restored = shop.json(&[&args[..], &["--rename", rename, "--yes"]].concat());
        assert_eq!(restored["proof"]["equal"], true, "{restored}");
        assert_eq!(restored["namespaces"][0]["target"], "shop.orders_then");
        assert_eq!(all(&shop.client, "shop", "orders_then").await, of(&before, "t3"));
        let again = shop.json(&[&args[..], &["--rename", rename, "--yes"]].concat());
        assert_eq!((&again["written"], &again["plan"]["unchanged"]), (&0.into(), &200.into()), "{again}");

        let runs = shop.json(&["restores"]);
        assert_eq!(runs["restores"].as_array().map(Vec::len), Some(5), "{runs}");
    });
}

/// Every file of the archive, with its size.
fn files(folder: &std::path::Path) -> std::collections::BTreeMap<std::path::PathBuf, u64> {
    let mut files = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => files.extend(self::files(&entry.path())),
            false => drop(files.insert(entry.path(), entry.metadata().unwrap().len())),
        }
    }
    files
}

#[test]
fn a_restore_without_a_journal_leaves_the_archive_as_it_is() {
    shop::runtime().block_on(async {
        let Some(shop) = shop::open().await else { return };
        shop.fill(3, 20).await;
        shop.json(&["init"]);
        shop.json(&["backup", "shop"]);
        let good = shop.now().await;
        shop.json(&["capture", "shop", "--until", "now"]);
        let before = all(&shop.client, "shop", "orders").await;
        // What is not captured when the restore begins is followed all the same.
        shop.orders().delete_many(doc! { "tenant": "t1" }).await.unwrap();
        shop.orders().update_many(doc! {}, doc! { "$set": { "total": -1 } }).await.unwrap();

        let archive = files(&shop.program.folder().join("archive"));
        let args = ["restore", "shop", "--at", &good, "--in-place", "--no-journal", "--yes"];
        let restored = shop.json(&args);
        assert_eq!((&restored["id"], &restored["proof"]["equal"]), (&"".into(), &true.into()), "{restored}");
        assert_eq!(restored["plan"], serde_json::json!({"insert": 20, "replace": 40, "delete": 0, "unchanged": 0}));
        assert_eq!(all(&shop.client, "shop", "orders").await, before);
        assert_eq!(files(&shop.program.folder().join("archive")), archive);
        assert_eq!(shop.json(&["restores"])["restores"], serde_json::json!([]));
        let said = shop.run(&args).ok().stdout;
        assert!(said.contains("0 writes") && said.contains("in no journal"), "{said}");
    });
}

#[test]
fn what_a_restore_cannot_do_or_keep_is_said() {
    shop::runtime().block_on(async {
        let Some(shop) = shop::open().await else { return };
        shop.fill(2, 10).await;
        let database = shop.client.database("shop");
        let sessions = database.collection::<bson::Document>("sessions");
        sessions
            .insert_one(doc! { "_id": 1, "tenant": "t0", "seen": bson::DateTime::from_millis(4_000_000_000_000) })
            .await
            .unwrap();
        let index = doc! { "key": { "seen": 1 }, "name": "seen_1", "expireAfterSeconds": 86_400 };
        database.run_command(doc! { "createIndexes": "sessions", "indexes": [index] }).await.unwrap();
        shop.json(&["init"]);
        let at = shop.json(&["backup", "shop"])["at"].as_str().unwrap().to_owned();
        sessions.delete_many(doc! {}).await.unwrap();
        shop.orders().delete_many(doc! { "_id": { "$lt": 5 } }).await.unwrap();
        shop.orders().insert_one(doc! { "_id": 4711, "tenant": "t1" }).await.unwrap();

        // Ids that are nowhere: refused when that is all of them, in a preview as well; named otherwise.
        let in_place =
            |more: &[&str]| shop.run(&[&["restore", "shop", "--at", &at, "--in-place", "--json"], more].concat());
        for manner in ["--preview", "--yes"] {
            let nothing = in_place(&["--id", "815", manner]).expect_code(1).json_error();
            assert!(nothing["message"].as_str().is_some_and(|text| text.contains("815")), "{nothing}");
            assert!(nothing["hint"].as_str().is_some_and(|hint| hint.contains("backstay ls shop")), "{nothing}");
        }
        assert_eq!(shop.json(&["restores"])["restores"], serde_json::json!([]));
        let some = in_place(&["--id", "815", "--id", "3", "--preview"]).ok().json();
        assert!(some["notes"].to_string().contains("815") && some["plan"]["insert"] == 1, "{some}");
        // What came since is deleted; run again there is nothing left to do, and no mistake.
        for deleted in [1, 0] {
            let restored = in_place(&["--id", "4711", "--yes"]).ok().json();
            assert_eq!(restored["plan"]["delete"], deleted, "{restored}");
        }

        // What the server will remove again.
        let orders = in_place(&["--ns", "shop.orders", "--preview"]).ok().json();
        assert_eq!(orders["notes"], serde_json::json!([]), "{orders}");
        for manner in ["--preview", "--yes"] {
            let expiring = in_place(&["--ns", "shop.sessions", manner]).ok().json();
            assert!(expiring["notes"].to_string().contains("shop.sessions lets records expire"), "{expiring}");
        }

        // A view stands where a collection is to be made.
        let view = doc! { "create": "then", "viewOn": "orders", "pipeline": [] };
        database.run_command(view).await.unwrap();
        let uri = shop.set.uri();
        let into = [
            "restore",
            "shop",
            "--at",
            &at,
            "--ns",
            "shop.orders",
            "--into",
            &uri,
            "--rename",
            "shop.orders=shop.then",
        ];
        let taken = shop.run(&[&into[..], &["--yes", "--json"]].concat()).expect_code(15).json_error();
        assert!(
            taken["hint"].as_str().is_some_and(|hint| hint.contains("drop or rename what stands there")),
            "{taken}"
        );

        // Both lists of restores are in the same order.
        let listed = shop.json(&["restores"])["restores"].as_array().unwrap().clone();
        let status = shop.json(&["status"])["sources"][0]["restores"].as_array().unwrap().clone();
        let id = |run: &serde_json::Value| run["id"].as_str().unwrap().to_owned();
        assert_eq!(listed.iter().map(id).collect::<Vec<_>>(), status.iter().map(id).collect::<Vec<_>>());
        assert!(listed.len() > 2 && listed[0]["state"] == "proved", "{listed:?}");
    });
}
