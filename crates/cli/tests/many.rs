//! Many processes on one vault: who follows, who scans, who is fenced, and that nothing is lost over it.
#![allow(clippy::unwrap_used)]

mod shop;

use std::time::Duration;

use backstay_testkit::{Running, Signal};
use bson::doc;
use shop::Shop;

/// Waits until a second process is refused, and returns what it says.
async fn refused(shop: &Shop, args: &[&str]) -> serde_json::Value {
    for _ in 0..100 {
        let run = shop.run(args);
        if run.code == 11 {
            return run.json_error();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{args:?} is not refused");
}

fn message(error: &serde_json::Value) -> String {
    assert_eq!(error["code"], "locked", "{error}");
    format!("{}; {}", error["message"].as_str().unwrap(), error["hint"].as_str().unwrap())
}

/// The number of the process that a message names.
fn process(message: &str) -> String {
    let (_, rest) = message.split_once("process ").unwrap_or_else(|| panic!("{message}"));
    rest.split_once(" on ").unwrap_or_else(|| panic!("{message}")).0.to_owned()
}

async fn ended(running: Running) -> backstay_testkit::Run {
    tokio::task::spawn_blocking(move || running.wait(Duration::from_secs(60))).await.unwrap().unwrap()
}

async fn insert(shop: &Shop, numbers: std::ops::Range<i32>) {
    let orders = numbers.map(|n| doc! { "_id": n, "tenant": "t1", "n": n });
    shop.orders().insert_many(orders).await.unwrap();
}

/// Waits until what was written so far is archived, by whoever follows.
async fn archived(shop: &Shop, records: i32) {
    let now = shop.now().await;
    for _ in 0..200 {
        let listed = shop.run(&["ls", "shop", "shop.orders", "--at", &now, "--json"]);
        if listed.code == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let timeline = shop.json(&["ls", "shop", "--at", &now]);
    assert_eq!(timeline["records"], records, "{timeline}");
}

#[test]
fn one_capture_follows_and_the_next_is_told_who_does() {
    shop::runtime().block_on(async {
        let Some(shop) = shop::open().await else { return };
        insert(&shop, 0..10).await;
        shop.json(&["init"]);
        shop.json(&["backup", "shop"]);
        let first = shop.program.spawn(["capture", "shop", "--json"]).unwrap();
        let second = ["capture", "shop", "--json"];
        let mut probe = shop.program.spawn(second).unwrap();
        // Whichever of the two came first follows; the other has been told.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let (following, other) = match probe.has_ended().unwrap() {
            true => (first, probe),
            false => (probe, first),
        };
        let told = message(&ended(other).await.expect_code(11).json_error());
        assert!(told.contains("the capture of `rs0` is held by process "), "{told}");
        assert!(told.contains(" since 20") && told.contains("backstay capture shop --take-over"), "{told}");
        assert!(told.contains("its claim lapses at 20"), "{told}");
        assert_eq!(process(&told), process(&message(&refused(&shop, &second).await)));

        let at_work = &shop.json(&["status"])["sources"][0]["at_work"];
        assert_eq!((&at_work[0]["duty"], at_work[0]["process"].to_string()), (&"capture".into(), process(&told)));

        // A backup and a catching up are in nobody's way.
        insert(&shop, 10..30).await;
        shop.json(&["backup", "shop"]);
        insert(&shop, 30..40).await;
        shop.json(&["capture", "shop", "--until", "now"]);
        insert(&shop, 40..50).await;
        archived(&shop, 50).await;

        // Killed, it holds nobody up, not even for its lease.
        following.kill().unwrap();
        insert(&shop, 50..60).await;
        let mut next = shop.program.spawn(second).unwrap();
        archived(&shop, 60).await;
        assert!(!next.has_ended().unwrap(), "{}", next.stderr());
        assert_ne!(process(&told), process(&message(&refused(&shop, &second).await)));

        // Stopped, it gives its claim back.
        next.signal(Signal::Terminate).unwrap();
        let _ = ended(next).await.ok();
        let mut last = shop.program.spawn(second).unwrap();
        insert(&shop, 60..70).await;
        archived(&shop, 70).await;
        last.signal(Signal::Interrupt).unwrap();
        let _ = ended(last).await.ok();
        let _ = shop.run(&["verify", "shop", "--content"]).ok();
    });
}

#[test]
fn a_capture_that_stalls_is_taken_over_and_fenced() {
    shop::runtime().block_on(async {
        let Some(shop) = shop::open().await else { return };
        insert(&shop, 0..10).await;
        shop.json(&["init"]);
        shop.json(&["backup", "shop"]);
        let mut stalled = shop.program.spawn(["capture", "shop", "--json"]).unwrap();
        insert(&shop, 10..20).await;
        archived(&shop, 20).await;
        insert(&shop, 20..30).await;
        stalled.signal(Signal::Stop).unwrap();

        let held = message(&refused(&shop, &["capture", "shop", "--json"]).await);
        assert_eq!(process(&held), stalled.pid().to_string());
        let mut second = shop.program.spawn(["capture", "shop", "--take-over", "--json"]).unwrap();
        insert(&shop, 30..40).await;
        archived(&shop, 40).await;
        assert!(!second.has_ended().unwrap(), "{}", second.stderr());

        // It wakes up with changes in its hands, and may not commit them.
        insert(&shop, 40..50).await;
        stalled.signal(Signal::Continue).unwrap();
        let fenced = message(&ended(stalled).await.expect_code(11).json_error());
        assert!(fenced.contains("the capture of `rs0` was taken over by process "), "{fenced}");
        assert_ne!(process(&held), process(&fenced));
        insert(&shop, 50..60).await;
        archived(&shop, 60).await;
        second.signal(Signal::Terminate).unwrap();
        let _ = ended(second).await.ok();
        let _ = shop.run(&["verify", "shop", "--content"]).ok();
    });
}

#[test]
fn one_backup_scans_at_a_time() {
    shop::runtime().block_on(async {
        let Some(shop) = shop::open().await else { return };
        let records = (0..3_000).map(|n| doc! { "_id": n, "tenant": "t1", "text": "x".repeat(1_000) });
        shop.orders().insert_many(records).await.unwrap();
        let slow = shop::yaml(&shop.set.uri());
        let (head, tail) = slow.split_once("    uri:").unwrap();
        shop.program.configure(&format!("{head}    pace: {{mbytes_per_second: 0.2}}\n    uri:{tail}")).unwrap();
        shop.json(&["init"]);
        let first = shop.program.spawn(["backup", "shop", "--json"]).unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        shop.program.configure(&shop::yaml(&shop.set.uri())).unwrap();
        let told = message(&shop.run(&["backup", "shop", "--json"]).expect_code(11).json_error());
        assert!(told.contains("the scan of the source is held by process "), "{told}");
        assert!(told.contains("backstay backup shop --take-over"), "{told}");
        assert_eq!(shop.json(&["backup", "shop", "--take-over"])["records"], 3_000);
        let fenced = message(&ended(first).await.expect_code(11).json_error());
        assert!(fenced.contains("the scan of the source was taken over by process "), "{fenced}");
        let _ = shop.run(&["verify", "shop", "--content"]).ok();
        archived_at_rest(&shop).await;
    });
}

async fn archived_at_rest(shop: &Shop) {
    shop.json(&["capture", "shop", "--until", "now"]);
    assert_eq!(shop.json(&["ls", "shop", "--at", "latest"])["records"], 3_000);
}
