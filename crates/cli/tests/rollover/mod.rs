//! A source whose oplog holds little, and rolls over when somebody wants it to.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    missing_docs,
    reason = "each test file uses a part of it"
)]

use std::time::{Duration, Instant};

use backstay_testkit::{Chance, Options, ReplicaSet};
use bson::{Binary, Document, doc, spec::BinarySubtype};
use mongodb::Client;

use crate::shop::{self, Shop};

/// A shop on a replica set whose oplog holds a megabyte.
pub async fn short_oplog() -> Shop {
    let args = ["--setParameter", "minSnapshotHistoryWindowInSeconds=3600", "--syncdelay", "1"].map(str::to_owned);
    let options = Options { oplog_mb: Some(1), args: args.to_vec(), ..Options::default() };
    let set = ReplicaSet::start(options).await.unwrap();
    let client = set.client().await.unwrap();
    let program = shop::program(&set.uri());
    Shop { set, client, program }
}

/// Fills the oplog, beside what is protected, until it begins after `frontier`.
pub async fn roll_over(client: &Client, frontier: bson::Timestamp) {
    let begun = Instant::now();
    let oplog = client.database("local").collection::<Document>("oplog.rs");
    let ballast = client.database("ballast").collection::<Document>("b");
    let mut chance = Chance(1);
    while oplog.find_one(doc! {}).await.unwrap().unwrap().get_timestamp("ts").unwrap() <= frontier {
        assert!(begun.elapsed() < Duration::from_secs(90), "the oplog does not roll over");
        let noise: Vec<u8> = (0..1 << 17).flat_map(|_| chance.number().to_le_bytes()).collect();
        let noise = Binary { subtype: BinarySubtype::Generic, bytes: noise };
        ballast.replace_one(doc! { "_id": 1 }, doc! { "noise": noise }).upsert(true).await.unwrap();
    }
}
