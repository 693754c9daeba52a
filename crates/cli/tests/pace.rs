//! Kindness to a real server: a limit is kept, slow writes hold a scan up, and closed hours are waited for.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "which hours are closed depends on the hour")]

mod shop;

use std::time::Duration;

use backstay_testkit::Signal;
use bson::{Document, doc};

/// How many collections of 200 kB there are, and with it how many batches a scan reads.
const COLLECTIONS: usize = 5;

async fn fill(shop: &shop::Shop) {
    for number in 0..COLLECTIONS {
        let records = (0..200).map(|n| doc! { "_id": n, "tenant": "t1", "text": "x".repeat(1000) });
        let collection = shop.client.database("shop").collection::<Document>(&format!("c{number}"));
        collection.insert_many(records).await.unwrap();
    }
}

fn configure(shop: &shop::Shop, pace: &str) {
    let yaml = shop::yaml(&shop.set.uri());
    let (head, tail) = yaml.split_once("    uri:").unwrap();
    shop.program.configure(&format!("{head}    pace: {{{pace}}}\n    uri:{tail}")).unwrap();
}

/// Backs up and returns how long reading waited, in seconds.
fn waited(shop: &shop::Shop) -> f64 {
    let summary = shop.json(&["backup", "shop"]);
    assert!(summary["records"].as_u64().unwrap() >= 200 * COLLECTIONS as u64, "{summary}");
    summary["waited_seconds"].as_f64().unwrap()
}

#[test]
fn a_source_is_read_no_faster_than_it_bears() {
    shop::runtime().block_on(async {
        let Some(shop) = shop::open().await else { return };
        fill(&shop).await;
        configure(&shop, "mbytes_per_second: 1");
        shop.json(&["init"]);
        let limited = waited(&shop);
        assert!((0.5..30.0).contains(&limited), "1 MB at 1 MB/s: {limited}");

        // Nobody writes: there is nobody to wait for.
        configure(&shop, "latency_target_ms: 5, latency_ceiling_ms: 10");
        assert!(waited(&shop) < 0.1);

        // Writes of 30 ms each, and a limit that makes the scan long enough to see them.
        let writes = shop.client.database("other").collection::<Document>("slow");
        writes.insert_one(doc! { "_id": 1 }).await.unwrap();
        let mut writers = tokio::task::JoinSet::new();
        writers.spawn(async move {
            loop {
                let slowly = doc! { "_id": 1, "$where": "sleep(30) || true" };
                writes.update_one(slowly, doc! { "$inc": { "n": 1 } }).await.unwrap();
            }
        });
        configure(&shop, "mbytes_per_second: 1, latency_target_ms: 5, latency_ceiling_ms: 10");
        let held_up = tokio::task::block_in_place(|| waited(&shop));
        writers.abort_all();
        assert!(held_up > limited + 1.0, "{held_up} with slow writes, {limited} without");
    });
}

#[test]
fn hours_are_kept_unless_it_is_to_be_now() {
    shop::runtime().block_on(async {
        let Some(shop) = shop::open().await else { return };
        fill(&shop).await;
        // An hour of the day that is neither this one nor the next.
        let hour = (jiff::Zoned::now().hour() + 12) % 24;
        configure(&shop, &format!("off_peak: [\"{hour:02}:00-{hour:02}:59\"]"));
        shop.json(&["init"]);
        let mut waiting = shop.program.spawn(["backup", "shop", "--json"]).unwrap();
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert!(!waiting.has_ended().unwrap(), "it waits");
        waiting.signal(Signal::Terminate).unwrap();
        let stopped = waiting.wait(Duration::from_secs(20)).unwrap();
        assert_ne!(stopped.code, 0, "{stopped}");
        let summary = shop.json(&["backup", "shop", "--now"]);
        assert!(summary["waited_seconds"].as_f64().unwrap() < 1.0, "{summary}");
    });
}
