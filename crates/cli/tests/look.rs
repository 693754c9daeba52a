//! Looking into the archive: lists, records, histories, differences; and what keeps it: verify, compact, status, doctor.

#![allow(clippy::unwrap_used)]

mod shop;

use bson::doc;
use serde_json::{Value, json};

#[test]
fn records_are_listed_shown_and_compared() {
    if backstay_testkit::require_mongod_since(5, 0).is_none() {
        return;
    }
    shop::runtime().block_on(async {
        let Some(shop) = shop::open().await else { return };
        shop.fill(4, 25).await;
        shop.json(&["init"]);
        let first = shop.json(&["backup", "shop"])["at"].as_str().unwrap().to_owned();
        let orders = shop.orders();
        orders.update_one(doc! { "_id": 8 }, doc! { "$set": { "total": 1, "lines.0.sku": "a" } }).await.unwrap();
        orders.update_one(doc! { "_id": 8 }, doc! { "$inc": { "total": 41 } }).await.unwrap();
        let middle = shop.now().await;
        orders.delete_one(doc! { "_id": 8 }).await.unwrap();
        orders.insert_one(doc! { "_id": "o-9", "tenant": "t1", "big": 5_000_000_000_i64 }).await.unwrap();
        shop.client.database("shop").run_command(doc! { "create": "empty" }).await.unwrap();
        shop.json(&["capture", "shop", "--until", "now"]);

        // ls
        let listing = shop.json(&["ls", "shop"]);
        assert_eq!((&listing["records"], &listing["namespaces"][0]["namespace"]), (&101.into(), &"shop.empty".into()));
        let orders_then = &shop.json(&["ls", "shop", "--at", &first, "--tenant", "t0"])["namespaces"];
        assert_eq!(orders_then.as_array().map(Vec::len), Some(1), "{orders_then}");
        assert_eq!(orders_then[0]["tenants"][0]["tenant"], "t0");
        assert_eq!(orders_then[0]["records"], 25);
        let ids = shop.run(&["ls", "shop", "shop.orders", "--tenant", "t1", "--json"]).ok().json_lines();
        assert_eq!(ids.len(), 26);
        assert_eq!(ids[0], json!({"id": {"$numberInt": "1"}, "tenant": "t1", "bytes": ids[0]["bytes"]}));
        assert_eq!(ids[25]["id"], "o-9");
        let text = shop.run(&["ls", "shop"]).ok().stdout;
        assert!(text.contains("shop.orders") && text.contains("acme"), "{text}");

        // get
        let record = shop.json(&["get", "shop", "shop.orders", "8", "--at", &middle]);
        let document: bson::Bson = record["document"].clone().try_into().unwrap();
        assert_eq!(document.as_document(), shop.as_of("shop", "orders", &middle).await.get(8));
        assert_eq!(record["document"]["total"], json!({"$numberInt": "42"}));
        let history = shop.json(&["get", "shop", "shop.orders", "8", "--history"]);
        let ops: Vec<&str> = history.as_array().unwrap().iter().map(|past| past["op"].as_str().unwrap()).collect();
        assert_eq!(ops, ["image", "update", "update", "delete"]);
        assert!(history.as_array().unwrap().windows(2).all(|pair| tick(&pair[0]["at"]) < tick(&pair[1]["at"])));
        assert_eq!(history[2]["document"], record["document"]);
        assert_eq!(history[3]["document"], Value::Null);
        let gone = shop.run(&["get", "shop", "shop.orders", "8", "--json"]).expect_code(1).json_error();
        assert!(gone["message"].as_str().is_some_and(|text| text.contains("it was gone since")), "{gone}");
        let unknown = shop.run(&["get", "shop", "shop.order", "8", "--json"]).expect_code(1).json_error();
        assert!(unknown["hint"].as_str().is_some_and(|hint| hint.contains("shop.orders")), "{unknown}");
        let never = shop.run(&["get", "shop", "shop.orders", "4711"]).expect_code(1);
        assert!(never.stderr.contains("holds no version"), "{never}");

        // diff
        let lines = shop.run(&["diff", "shop", "--from", &first, "--to", "latest", "--json"]).ok().json_lines();
        let (summary, changes) = lines.split_last().unwrap();
        assert_eq!(summary["message_type"], "summary");
        assert_eq!((&summary["inserted"], &summary["changed"], &summary["deleted"]), (&1.into(), &0.into(), &1.into()));
        assert_eq!((&changes[0]["namespace"], &changes[0]["id"]), (&"shop.empty".into(), &Value::Null));
        let deleted = changes.iter().find(|change| change["change"] == "delete").unwrap();
        assert_eq!(deleted["id"], json!({"$numberInt": "8"}));
        assert_eq!((&deleted["after"], &deleted["before"]["total"]), (&Value::Null, &json!({"$numberInt": "24"})));
        let filter = r#"{"total": 42}"#;
        let some = shop.json(&["diff", "shop", "--from", &first, "--to", &middle, "--id", "8"]);
        assert_eq!(some["changed"], 1);
        let some = shop.json(&["diff", "shop", "--from", &first, "--to", &middle, "--where", filter]);
        assert_eq!((&some["inserted"], &some["changed"]), (&1.into(), &0.into()), "{some}");
        orders.update_one(doc! { "_id": 9 }, doc! { "$set": { "seen": true } }).await.unwrap();
        let live = shop.json(&["diff", "shop", "--from", "latest", "--to", "live", "--tenant", "t1"]);
        assert_eq!((&live["inserted"], &live["changed"], &live["deleted"]), (&0.into(), &1.into(), &0.into()));
        let text = shop.run(&["diff", "shop", "--from", &first, "--to", &middle]).ok().stdout;
        assert!(text.contains("~ shop.orders {\"$numberInt\":\"8\"}: total 24 → 42"), "{text}");

        // A record of a namespace that was dropped and made anew.
        orders.drop().await.unwrap();
        orders.insert_one(doc! { "_id": 9, "tenant": "t1", "again": true }).await.unwrap();
        shop.json(&["capture", "shop", "--until", "now"]);
        let history = shop.json(&["get", "shop", "shop.orders", "9", "--history"]);
        let ops: Vec<&str> = history.as_array().unwrap().iter().map(|past| past["op"].as_str().unwrap()).collect();
        assert_eq!(ops, ["image", "update", "drop", "image"], "{history}");
    });
}

#[test]
fn names_steer_no_terminal_and_ids_are_shown_as_they_are() {
    shop::runtime().block_on(async {
        let Some(shop) = shop::open().await else { return };
        let tenant = "t\u{1b}[31m\nin all";
        let odd = shop.client.database("shop").collection::<bson::Document>("odd\u{1b}]0;x\u{7}\u{9b}");
        let cents: bson::Decimal128 = "1.10".parse().unwrap();
        odd.insert_one(doc! { "_id": -0.0, "tenant": tenant }).await.unwrap();
        odd.insert_one(doc! { "_id": cents, "tenant": tenant }).await.unwrap();
        odd.insert_one(doc! { "_id": "o\u{9b}2J\u{7f}", "tenant": tenant, "note\u{9b}": 1 }).await.unwrap();
        shop.json(&["init"]);
        let at = shop.json(&["backup", "shop"])["at"].as_str().unwrap().to_owned();
        odd.update_many(doc! {}, doc! { "$set": { "note\u{9b}": 2 } }).await.unwrap();
        shop.json(&["capture", "shop", "--until", "now"]);

        let name = format!("shop.{}", odd.name());
        let id = "\"o\u{9b}2J\u{7f}\"";
        let restore = ["restore", "shop", "--at", &at, "--tenant", tenant, "--in-place"];
        for (args, code) in [
            (&["ls", "shop"][..], 0),
            (&["ls", "shop", &name], 0),
            (&["ls", "shop", "shop.od"], 1),
            (&["ls", "shop", "--tenant", "t\u{1b}"], 1),
            (&["get", "shop", &name, id], 0),
            (&["get", "shop", &name, id, "--history"], 0),
            (&["get", "shop", &name, "\"\u{9b}\""], 1),
            (&["diff", "shop", "--from", &at, "--to", "latest"], 0),
            (&["schema", "shop"], 0),
            (&[&restore[..], &["--preview"]].concat(), 0),
            (&restore[..], 14),
            (&[&restore[..], &["--yes"]].concat(), 0),
            (&["restores"], 0),
            (&["status"], 0),
            (&["key", "list"], 0),
        ] {
            let run = shop.run(args).expect_code(code);
            let all = format!("{}{}", run.stdout, run.stderr);
            assert!(!all.chars().any(|c| c.is_control() && c != '\n'), "{run}");
            assert!(!all.lines().any(|line| line.starts_with("in all") && line.contains("--")), "{run}");
        }
        let text = shop.run(&["ls", "shop"]).ok().stdout;
        assert!(text.contains("t\\u001b[31m\\nin all") && text.contains("shop.odd\\u001b]0;x\\u0007\\u009b"), "{text}");

        // Programs read what is there; and an id is shown in the form in which it was written.
        assert_eq!(shop.json(&["ls", "shop"])["namespaces"][0]["namespace"], name.as_str());
        let lines = shop.run(&["ls", "shop", &name, "--json"]).ok().json_lines();
        let ids: Vec<&Value> = lines.iter().map(|line| &line["id"]).collect();
        let expected = [json!({"$numberDouble": "-0.0"}), json!({"$numberDecimal": "1.10"}), json!("o\u{9b}2J\u{7f}")];
        assert_eq!(ids, expected.iter().collect::<Vec<_>>());
        assert_eq!(lines[0]["tenant"], tenant);
        let changes = shop.run(&["diff", "shop", "--from", &at, "--to", "latest", "--json"]).ok().json_lines();
        assert!(changes.iter().any(|change| change["id"] == expected[1]), "{changes:?}");
    });
}

fn tick(text: &Value) -> (u64, u64) {
    let (seconds, ordinal) = text.as_str().unwrap().split_once(':').unwrap();
    (seconds.parse().unwrap(), ordinal.parse().unwrap())
}

#[test]
fn the_archive_is_verified_compacted_and_diagnosed() {
    shop::runtime().block_on(async {
        let Some(shop) = shop::open().await else { return };
        let early = shop.run(&["doctor", "--json"]).expect_code(15).json();
        assert_eq!(verdicts(&early, "keyring"), ["fail"], "{early}");
        shop.fill(3, 20).await;
        shop.json(&["init"]);
        let empty = shop.json(&["status"]);
        assert_eq!(
            (&empty["sources"][0]["archived"], &empty["sources"][0]["tails"]["segments"]),
            (&false.into(), &0.into())
        );
        shop.json(&["backup", "shop"]);
        shop.orders().update_many(doc! { "tenant": "t0" }, doc! { "$set": { "late": true } }).await.unwrap();
        let good = shop.now().await;
        shop.orders().delete_many(doc! { "tenant": "t0" }).await.unwrap();
        shop.json(&["capture", "shop", "--until", "now"]);

        let status = shop.json(&["status"]);
        let source = &status["sources"][0];
        assert_eq!((&source["source"], &source["archived"]), (&"shop".into(), &true.into()));
        assert!(source["tails"]["segments"].as_u64().is_some_and(|tails| tails > 0), "{status}");
        assert!(source["lag_seconds"].is_u64() && source["stored_bytes"].is_u64(), "{status}");
        assert!(shop.run(&["status"]).ok().stdout.contains("protected"));
        let doctor = shop.json(&["doctor"]);
        assert_eq!(doctor["healthy"], true, "{doctor}");
        for check in ["configuration", "keyring", "repository", "shop: connection", "shop: oplog", "shop: clock"] {
            assert_eq!(verdicts(&doctor, check), ["ok"], "{check} in {doctor}");
        }

        // Sorting changes no answer.
        let args = ["restore", "shop", "--at", &good, "--tenant", "t0", "--in-place", "--preview"];
        let before = shop.json(&args)["plan"].clone();
        assert_eq!(before["insert"], 20);
        let compacted = shop.json(&["compact", "shop"]);
        assert!(compacted["tails"].as_u64().is_some_and(|tails| tails > 0), "{compacted}");
        assert_eq!(shop.json(&args)["plan"], before);
        assert_eq!(shop.json(&["compact", "shop"])["tails"].as_u64().map(|tails| tails < 3), Some(true));

        let sound = shop.json(&["verify", "shop", "--content"]);
        assert_eq!(sound["problems"], json!([]), "{sound}");
        assert!(sound["checked"].as_u64().is_some_and(|checked| checked > 3));
        shop.json(&["verify", "shop", "--sample", "1/2"]);

        // A second backup finds no drift.
        let again = shop.json(&["backup", "shop"]);
        assert_eq!((&again["drift"], &again["records"]), (&0.into(), &41.into()), "{again}");

        // One flipped bit is found and named.
        let segments = shop.program.folder().join("archive/vaults/shop/segments");
        let victim = std::fs::read_dir(&segments)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .max_by_key(|path| std::fs::metadata(path).unwrap().len());
        let victim = victim.unwrap();
        let mut bytes = std::fs::read(&victim).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let mut permissions = std::fs::metadata(&victim).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
        std::fs::set_permissions(&victim, permissions).unwrap();
        std::fs::write(&victim, bytes).unwrap();
        let found = shop.run(&["verify", "shop", "--json"]).expect_code(15).json();
        let name = victim.file_name().unwrap().to_str().unwrap();
        let problem = &found["problems"][0];
        assert!(problem["object"].as_str().is_some_and(|object| object.ends_with(name)), "{found}");
        assert!(problem["kind"].is_string() && problem["detail"].is_string(), "{found}");
    });
}

fn verdicts<'a>(doctor: &'a Value, check: &str) -> Vec<&'a str> {
    let checks = doctor["checks"].as_array().unwrap().iter();
    checks.filter(|found| found["check"] == check).filter_map(|found| found["verdict"].as_str()).collect()
}
