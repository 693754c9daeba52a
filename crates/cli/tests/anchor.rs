//! An archive whose newest commits were cut off is seen for what it is, on a machine that has seen them.
#![allow(clippy::unwrap_used, reason = "a test")]

mod shop;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use bson::doc;
use shop::Shop;

/// The commits, ascending.
fn commits(shop: &Shop) -> Vec<PathBuf> {
    let folder = shop.program.folder().join("archive/vaults/shop/chain");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files
        .retain(|file| file.file_name().is_some_and(|name| name.to_string_lossy().bytes().all(|b| b.is_ascii_digit())));
    files.sort();
    files
}

/// Makes another commit.
async fn go_on(shop: &Shop, id: i32) {
    shop.orders().insert_one(doc! { "_id": id, "tenant": "t1" }).await.unwrap();
    shop.json(&["capture", "shop", "--until", "now"]);
}

#[test]
fn a_chain_that_was_cut_is_refused_and_named() {
    shop::runtime().block_on(async {
        let Some(shop) = shop::open().await else { return };
        shop.fill(2, 20).await;
        shop.json(&["init"]);
        shop.json(&["backup", "shop"]);
        go_on(&shop, 1000).await;
        go_on(&shop, 1001).await;
        let note = shop.program.folder().join("backstay.keys.anchors");
        assert_eq!(fs::metadata(&note).unwrap().permissions().mode() & 0o777, 0o600);
        let seen = fs::read(&note).unwrap();

        // The newest commit is cut off.
        let newest = commits(&shop).pop().unwrap();
        let seq: u64 = newest.file_name().unwrap().to_string_lossy().parse().unwrap();
        let aside = shop.program.folder().join("aside");
        fs::rename(&newest, &aside).unwrap();
        let verified = shop.run(&["verify", "shop", "--json"]).expect_code(15).json();
        let problem = &verified["problems"][0];
        assert_eq!(problem["kind"], "cut", "{verified}");
        assert!(problem["object"].as_str().unwrap().ends_with(&format!("{seq:020}")), "{verified}");
        let before = commits(&shop).len();
        for args in [&["ls", "shop"][..], &["capture", "shop", "--until", "now"], &["backup", "shop"]] {
            let refused = shop.run(&[args, &["--json"]].concat()).expect_code(15).json_error();
            let message = refused["message"].as_str().unwrap();
            assert!(message.contains("`shop`") && message.contains(&format!("commit {seq}")), "{refused}");
        }
        assert_eq!((commits(&shop).len(), fs::read(&note).unwrap()), (before, seen.clone()));

        // Put back, it is whole again; without the note, as on another machine, nothing is known to be missing.
        fs::rename(&aside, &newest).unwrap();
        shop.json(&["verify", "shop"]);
        fs::rename(&newest, &aside).unwrap();
        fs::remove_file(&note).unwrap();
        shop.json(&["verify", "shop"]);

        // What somebody else went on with instead is not what was seen, however long it has become.
        go_on(&shop, 1002).await;
        go_on(&shop, 1003).await;
        assert!(commits(&shop).len() > before);
        fs::write(&note, &seen).unwrap();
        for _ in 0..2 {
            let refused = shop.run(&["ls", "shop", "--json"]).expect_code(15).json_error();
            assert!(refused["message"].as_str().unwrap().contains("another one"), "{refused}");
        }
        assert_eq!(fs::read(&note).unwrap(), seen);
    });
}
