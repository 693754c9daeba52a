//! Drills on real servers: what is exercised is compared, timed and gone afterwards, and a damaged archive is found out.

#![allow(clippy::unwrap_used)]

mod shop;
mod witness;

use backstay_testkit::{Options, ReplicaSet};
use bson::doc;
use serde_json::json;

#[test]
fn a_drill_passes_leaves_nothing_and_finds_damage() {
    shop::runtime().block_on(async {
        let Some(shop) = shop::open().await else { return };
        shop.fill(4, 50).await;
        shop.json(&["init"]);
        let at = shop.json(&["backup", "shop"])["at"].as_str().unwrap().to_owned();
        let scratch = ReplicaSet::start(Options { name: "rs1".into(), ..Options::default() }).await.unwrap();
        let client = scratch.client().await.unwrap();
        client.database("shop").collection("orders").insert_one(doc! { "_id": "mine" }).await.unwrap();
        let databases = || async {
            let mut names = client.list_database_names().await.unwrap();
            names.retain(|name| !["admin", "config", "local"].contains(&name.as_str()));
            names
        };

        let nowhere = shop.run(&["drill", "shop", "--json"]).expect_code(2).json_error();
        assert!(nowhere["hint"].as_str().is_some_and(|hint| hint.contains("--into")), "{nowhere}");
        let own = shop.set.uri();
        let itself = shop.run(&["drill", "shop", "--into", &own, "--json"]).expect_code(2).json_error();
        assert!(itself["message"].as_str().is_some_and(|text| text.contains("the source itself")), "{itself}");

        let into = scratch.uri();
        let passed = shop.json(&["drill", "shop", "--into", &into]);
        assert_eq!(
            (&passed["passed"], &passed["records"], &passed["left"]),
            (&true.into(), &201.into(), &json!([])),
            "{passed}"
        );
        assert_eq!(passed["proof"]["equal"], true);
        assert!(passed["seconds"].is_f64() && passed["records_per_second"].is_f64(), "{passed}");
        assert_eq!(databases().await, ["shop"], "nothing is left, and nothing else is touched");
        let mine = client.database("shop").collection::<bson::Document>("orders");
        assert_eq!(mine.count_documents(doc! {}).await.unwrap(), 1);

        // By configuration, one tenant, kept to be looked at.
        shop.program.configure(&format!("{}drill:\n  into: {into}\n", shop::yaml(&own))).unwrap();
        let kept = shop.json(&["drill", "shop", "--at", &at, "--tenant", "t1", "--keep"]);
        assert_eq!((&kept["passed"], &kept["records"]), (&true.into(), &50.into()), "{kept}");
        let name = kept["left"].as_array().unwrap().iter().find(|name| name.as_str().unwrap().contains("_shop.orders"));
        let (database, _) = name.unwrap().as_str().unwrap().split_once('.').unwrap();
        let own = database.strip_suffix("shop").unwrap();
        let there = shop::all(&client, database, "orders").await;
        assert_eq!(there.len(), 50);
        let text = shop.run(&["drill", "shop", "--tenant", "t2"]).ok().stdout;
        assert!(text.starts_with("drill passed") && text.contains("left there: backstay_drill_"), "{text}");
        let runs = shop.json(&["restores"]);
        assert!(
            runs["restores"]
                .as_array()
                .unwrap()
                .iter()
                .all(|run| run["selection"].as_str().unwrap().starts_with("drill of"))
        );

        // A block of the archive that was altered is found, named, and exit code 15.
        let segments = walk(&shop.program.folder().join("archive/vaults"));
        let largest = segments.into_iter().max_by_key(|path| std::fs::metadata(path).unwrap().len()).unwrap();
        let mut bytes = std::fs::read(&largest).unwrap();
        let middle = bytes.len() / 3;
        bytes[middle] ^= 1;
        std::fs::set_permissions(&largest, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::write(&largest, bytes).unwrap();
        let failed = shop.run(&["drill", "shop", "--json"]).expect_code(15).json_error();
        assert_eq!(failed["code"], "check_failed");
        assert!(failed["message"].as_str().is_some_and(|text| text.contains("segments/")), "{failed}");
        let names = databases().await;
        assert!(names.iter().all(|name| name == "shop" || name.starts_with(own)), "{names:?}");
    });
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(walk(&path));
        } else if path.to_string_lossy().contains("/segments/") {
            files.push(path);
        }
    }
    files
}
