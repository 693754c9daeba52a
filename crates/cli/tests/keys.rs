//! The keyring on a real archive: pass phrases, rotation, a tenant's own keyring, and shredding.

#![allow(clippy::unwrap_used)]

mod shop;

use backstay_testkit::Backstay;
use bson::doc;
use serde_json::Value;

fn with(program: &Backstay, variables: &[(&str, &str)]) -> Backstay {
    // The same folder, other variables: a second program in it.
    let mut other = Backstay::new(env!("CARGO_BIN_EXE_backstay")).unwrap();
    let yaml = std::fs::read_to_string(program.folder().join("backstay.yaml")).unwrap();
    let folder = program.folder().display().to_string();
    other
        .configure(
            &yaml
                .replace("file:./archive", &format!("file:{folder}/archive"))
                .replace("file: ./backstay.keys", &format!("file: {folder}/backstay.keys")),
        )
        .unwrap();
    for (name, value) in variables {
        other = other.env(name, value);
    }
    other
}

#[test]
fn a_pass_phrase_guards_the_keyring() {
    shop::runtime().block_on(async {
        let Some(shop) = shop::open().await else { return };
        shop.fill(2, 5).await;
        let first = with(&shop.program, &[("BACKSTAY_PASSPHRASE", "open sesame")]);
        assert_eq!(first.run(["init", "--json"]).unwrap().ok().json()["passphrase"], true);
        first.run(["backup", "shop"]).unwrap().ok();
        let none = shop.run(&["timeline", "shop", "--json"]).expect_code(12).json_error();
        assert_eq!(none["code"], "wrong_key");
        assert!(none["hint"].as_str().is_some_and(|hint| hint.contains("BACKSTAY_PASSPHRASE")), "{none}");
        let wrong = with(&shop.program, &[("BACKSTAY_PASSPHRASE", "open barley")]);
        let refused = wrong.run(["timeline", "shop", "--json"]).unwrap().expect_code(12).json_error();
        assert!(refused["hint"].as_str().is_some_and(|hint| hint.contains("BACKSTAY_PASSPHRASE")), "{refused}");
        let _ = wrong.run(["timeline", "shop"]).unwrap().expect_code(12);

        let rotating = [("BACKSTAY_PASSPHRASE", "open sesame"), ("BACKSTAY_NEW_PASSPHRASE", "other words")];
        with(&shop.program, &rotating).run(["key", "rotate"]).unwrap().ok();
        let _ = first.run(["timeline", "shop"]).unwrap().expect_code(12);
        with(&shop.program, &[("BACKSTAY_PASSPHRASE", "other words")]).run(["timeline", "shop"]).unwrap().ok();
    });
}

#[test]
fn a_shredded_tenant_is_gone_and_the_others_are_not() {
    shop::runtime().block_on(async {
        let Some(shop) = shop::open().await else { return };
        shop.fill(3, 10).await;
        shop.json(&["init"]);
        shop.json(&["backup", "shop"]);
        shop.orders().update_many(doc! {}, doc! { "$set": { "seen": true } }).await.unwrap();
        let at = shop.now().await;
        shop.json(&["capture", "shop", "--until", "now"]);

        let keys = shop.json(&["key", "list"]);
        let of = |keys: &Value, tenant: &str| -> Vec<(u64, String)> {
            let keys = keys["keys"].as_array().unwrap().iter().filter(|key| key["tenant"] == tenant);
            keys.map(|key| (key["generation"].as_u64().unwrap(), key["state"].as_str().unwrap().to_owned())).collect()
        };
        assert_eq!(of(&keys, "t1"), [(1, "active".to_owned())]);
        shop.json(&["key", "rotate", "--tenant", "t1"]);
        let rotated = of(&shop.json(&["key", "list"]), "t1");
        assert_eq!(rotated, [(1, "retired".to_owned()), (2, "active".to_owned())]);
        let unknown = shop.run(&["key", "rotate", "--tenant", "t9", "--json"]).expect_code(1).json_error();
        assert!(unknown["hint"].as_str().is_some_and(|hint| hint.contains("t1")), "{unknown}");

        shop.json(&["key", "export", "--tenant", "t1", "--to", "t1.keys"]);
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(shop.program.folder().join("t1.keys")).unwrap().permissions(),
        );
        assert_eq!(mode & 0o777, 0o600);

        let _ = shop.run(&["key", "shred", "--tenant", "t2"]).expect_code(14);
        let shredded = shop.json(&["key", "shred", "--tenant", "t2", "--yes"]);
        assert_eq!(shredded["keys"], 1, "{shredded}");
        assert!(shredded["tails"].as_u64().is_some_and(|tails| tails > 0), "{shredded}");
        let lost = shop.run(&["ls", "shop", "--at", &at, "--tenant", "t2", "--json"]).expect_code(12).json_error();
        assert!(lost["message"].as_str().is_some_and(|text| text.contains("were shredded")), "{lost}");
        let kept = shop.json(&["restore", "shop", "--at", &at, "--tenant", "t1", "--in-place", "--preview"]);
        assert_eq!(kept["plan"]["insert"], 0, "{kept}");
        assert_eq!(shop.json(&["ls", "shop", "--at", &at, "--tenant", "t0"])["records"], 10);

        // Everything at once leaves the tenant out and says so; its live records are not taken for surplus.
        let all = shop.json(&["restore", "shop", "--at", &at, "--in-place", "--preview"]);
        assert_eq!((&all["plan"]["insert"], &all["plan"]["delete"]), (&0.into(), &0.into()), "{all}");
        assert!(all["notes"][0].as_str().is_some_and(|note| note.contains("t2")), "{all}");

        // Life goes on: what is captured later can be sorted.
        shop.orders().update_many(doc! { "_id": { "$lt": 6 } }, doc! { "$set": { "later": true } }).await.unwrap();
        shop.json(&["capture", "shop", "--until", "now"]);
        let whole = |when: &str| {
            let at = shop.json(&["timeline", "shop"])["ranges"][0]["to"].as_str().unwrap().to_owned();
            let all = shop.json(&["ls", "shop", "--at", &at]);
            assert!(all["records"].as_u64().is_some_and(|records| records >= 20), "{when}: {all}");
            let all = shop.json(&["restore", "shop", "--at", &at, "--in-place", "--preview"]);
            assert_eq!((&all["plan"]["replace"], &all["plan"]["delete"]), (&0.into(), &0.into()), "{when}: {all}");
            assert_eq!(shop.json(&["verify", "shop", "--content"])["problems"], Value::Array(Vec::new()), "{when}");
        };
        whole("in the tail");
        shop.json(&["compact", "shop"]);
        whole("sorted");

        // The tenant itself is refused by name, and nothing of what it has now is deleted.
        let named = ["restore", "shop", "--at", "latest", "--tenant", "t2", "--in-place", "--yes", "--json"];
        let refused = shop.run(&named).expect_code(12).json_error();
        assert!(refused["message"].as_str().is_some_and(|text| text.contains("shredded")), "{refused}");

        // A record that is updated upon what nobody can read lives, though it cannot be shown.
        shop.orders().update_one(doc! { "_id": 2 }, doc! { "$set": { "total": 5 } }).await.unwrap();
        shop.json(&["capture", "shop", "--until", "now"]);
        let untold = shop.run(&["get", "shop", "shop.orders", "2", "--json"]).expect_code(12).json_error();
        assert!(untold["message"].as_str().is_some_and(|text| text.contains("cannot be told")), "{untold}");
        assert!(untold["hint"].as_str().is_some_and(|hint| hint.contains("backstay backup shop")), "{untold}");
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        shop.json(&["backup", "shop"]);
        assert_eq!(shop.json(&["get", "shop", "shop.orders", "2"])["document"]["total"]["$numberInt"], "5");
    });
}

#[test]
fn an_older_keyring_that_was_put_back_is_found_out() {
    shop::runtime().block_on(async {
        let Some(shop) = shop::open().await else { return };
        shop.fill(1, 5).await;
        shop.json(&["init"]);
        shop.json(&["backup", "shop"]);
        let keyring = shop.program.folder().join("backstay.keys");
        let older = std::fs::read(&keyring).unwrap();
        shop.orders().insert_one(doc! { "_id": "new", "tenant": "later" }).await.unwrap();
        shop.json(&["capture", "shop", "--until", "now"]);
        shop.json(&["compact", "shop"]);
        let checks = |healthy: bool| {
            let run = shop.run(&["doctor", "--json"]);
            assert_eq!(run.code == 0, healthy, "{run:?}");
            let checks = run.json()["checks"].clone();
            checks.as_array().unwrap().iter().find(|check| check["check"] == "shop: keys").unwrap().clone()
        };
        assert_eq!(checks(true)["verdict"], "ok");
        std::fs::write(&keyring, older).unwrap();
        let found = checks(false);
        assert!(found["verdict"] == "fail" && found["detail"].as_str().unwrap().contains("later"), "{found}");
        assert!(found["hint"].as_str().unwrap().contains("older"), "{found}");
    });
}

#[test]
fn a_shredding_is_uncertain_until_the_next_scan_and_no_longer() {
    shop::runtime().block_on(async {
        let Some(shop) = shop::open().await else { return };
        shop.fill(3, 10).await;
        shop.json(&["init"]);
        shop.json(&["backup", "shop"]);
        shop.orders().delete_many(doc! { "tenant": "t2" }).await.unwrap();
        shop.json(&["capture", "shop", "--until", "now"]);
        shop.json(&["key", "shred", "--tenant", "t2", "--yes"]);
        let bogus = async |from: i32| {
            let orders = (from..from + 50).map(|n| doc! { "_id": n, "tenant": "t0", "bogus": true });
            shop.orders().insert_many(orders).await.unwrap();
        };

        // As of now nobody knows what may have been the tenant's.
        let uncertain = shop.now().await;
        bogus(1000).await;
        let rewind = |at: &str| {
            let args = ["restore", "shop", "--at", at, "--tenant", "t0", "--in-place", "--yes"];
            let text = args.map(str::to_owned);
            text.to_vec()
        };
        let json = |mut args: Vec<String>, code: i32| {
            args.push("--json".to_owned());
            shop.run(&args.iter().map(String::as_str).collect::<Vec<_>>()).expect_code(code).json()
        };
        let restored = json(rewind(&uncertain), 3);
        assert_eq!((&restored["plan"]["delete"], &restored["undecided"]), (&0.into(), &50.into()), "{restored}");
        let notes = restored["notes"].to_string();
        assert!(notes.contains("may have belonged to a tenant whose key was shredded (t2)"), "{notes}");
        assert!(!notes.contains("outside of the selection"), "{notes}");
        let text = rewind(&uncertain);
        let run = shop.run(&text.iter().map(String::as_str).collect::<Vec<_>>()).expect_code(3);
        assert!(run.stdout.contains("not decided: 50 records"), "{run}");

        // The tenant comes back, and is restored as of then.
        shop.orders().insert_one(doc! { "_id": 7000, "tenant": "t2", "total": 1 }).await.unwrap();
        let back = shop.now().await;
        shop.orders().update_one(doc! { "_id": 7000 }, doc! { "$set": { "total": 0 } }).await.unwrap();
        shop.json(&["capture", "shop", "--until", "now"]);
        let args = ["restore", "shop", "--at", &back, "--tenant", "t2", "--in-place", "--yes"];
        let restored = shop.json(&args);
        assert_eq!(
            (&restored["plan"]["replace"], &restored["proof"]["equal"]),
            (&1.into(), &true.into()),
            "{restored}"
        );

        // It is listed again, and only as of when it had come back.
        let listing = shop.run(&["ls", "shop", "--tenant", "t2", "--json"]).ok();
        assert!(listing.stderr.contains("since its key was shredded"), "{listing}");
        assert_eq!(listing.json()["records"], 1, "{listing}");
        let before = shop.run(&["ls", "shop", "--tenant", "t2", "--at", &uncertain, "--json"]).expect_code(12);
        assert_eq!(before.json_error()["code"], "wrong_key");

        // A scan that begins in a later second settles everything after it.
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        shop.json(&["backup", "shop"]);
        let certain = shop.now().await;
        bogus(2000).await;
        let restored = json(rewind(&certain), 0);
        assert_eq!((&restored["plan"]["delete"], &restored["undecided"]), (&50.into(), &0.into()), "{restored}");
        assert_eq!(restored["notes"], Value::Array(Vec::new()), "{restored}");
        assert_eq!(restored["proof"]["equal"], true, "{restored}");
    });
}
