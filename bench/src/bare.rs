//! The baselines: the same bytes moved by the bare driver, with nothing kept and nothing checked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result};
use backstay_testkit::ReplicaSet;
use bson::{Bson, Document, RawDocumentBuf, Timestamp, doc};
use futures::StreamExt as _;
use mongodb::{Client, Collection};
use tokio::task::JoinSet;

use crate::orders::{Held, Inputs};

/// The database and the collection that hold the orders.
pub const DATABASE: &str = "shop";
/// See [`DATABASE`].
pub const COLLECTION: &str = "orders";

/// Concurrent inserts; more gain nothing on two cores.
const LANES: usize = 6;
/// Statements in one update command.
const STATEMENTS: usize = 500;

/// What a scan saw.
pub struct Scan {
    /// Wall time.
    pub seconds: f64,
    /// Documents or oplog entries.
    pub count: u64,
    /// Their BSON bytes and the batches' own.
    pub bytes: u64,
}

pub fn orders(client: &Client) -> Collection<RawDocumentBuf> {
    client.database(DATABASE).collection(COLLECTION)
}

/// Concurrent unordered inserts of documents in memory; seconds.
pub async fn insert(client: &Client, held: &Held) -> Result<f64> {
    let batches = Arc::clone(&held.batches);
    insert_batches(client, move |number| batches.get(usize::try_from(number).ok()?).cloned()).await
}

/// The same for documents that are made on the way, for data sets that memory should not hold; seconds.
pub async fn insert_made(client: &Client, inputs: &Inputs) -> Result<f64> {
    let inputs = inputs.clone();
    insert_batches(client, move |number| inputs.batch(number, inputs.documents).map(Arc::new)).await
}

async fn insert_batches<F>(client: &Client, batch: F) -> Result<f64>
where
    F: Fn(u64) -> Option<Arc<Vec<RawDocumentBuf>>> + Send + Sync + 'static,
{
    let start = Instant::now();
    let (batch, next) = (Arc::new(batch), Arc::new(AtomicU64::new(0)));
    let mut lanes = JoinSet::new();
    for _ in 0..LANES {
        let (batch, next, orders) = (Arc::clone(&batch), Arc::clone(&next), orders(client));
        lanes.spawn(async move {
            while let Some(documents) = batch(next.fetch_add(1, Ordering::Relaxed)) {
                orders.insert_many(documents.iter()).ordered(false).await?;
            }
            Ok::<_, mongodb::error::Error>(())
        });
    }
    finish(lanes).await?;
    Ok(start.elapsed().as_secs_f64())
}

/// The two secondary indexes of the data set; seconds.
pub async fn build_indexes(client: &Client) -> Result<f64> {
    let start = Instant::now();
    let command = doc! {
        "createIndexes": COLLECTION,
        "indexes": [
            { "key": { "tenant": 1, "created": -1 }, "name": "tenant_created" },
            { "key": { "status": 1, "updated": 1 }, "name": "status_updated" },
        ],
    };
    client.database(DATABASE).run_command(command).await?;
    Ok(start.elapsed().as_secs_f64())
}

/// All orders through one cursor of raw batches.
pub async fn scan(client: &Client) -> Result<Scan> {
    drain(&orders(client), doc! {}).await
}

/// The oplog after `from`, up to and with `to`.
pub async fn scan_oplog(client: &Client, from: Timestamp, to: Timestamp) -> Result<Scan> {
    let oplog = client.database("local").collection::<RawDocumentBuf>("oplog.rs");
    drain(&oplog, doc! { "ts": { "$gt": from, "$lte": to } }).await
}

async fn drain(collection: &Collection<RawDocumentBuf>, filter: Document) -> Result<Scan> {
    let start = Instant::now();
    let mut cursor = collection.find(filter).batch().await?;
    let (mut count, mut bytes) = (0, 0);
    while let Some(batch) = cursor.next().await {
        let batch = batch?;
        bytes += batch.as_raw_document().as_bytes().len() as u64;
        for document in batch.doc_slices()? {
            document?;
            count += 1;
        }
    }
    Ok(Scan { seconds: start.elapsed().as_secs_f64(), count, bytes })
}

/// Updates of the orders below `documents`, number `from` to `to` of them, each to one document.
pub async fn update(client: &Client, seed: u64, documents: u64, from: u64, to: u64) -> Result<()> {
    let next = Arc::new(AtomicU64::new(from));
    let mut lanes = JoinSet::new();
    for _ in 0..LANES {
        let (next, database) = (Arc::clone(&next), client.database(DATABASE));
        lanes.spawn(async move {
            loop {
                let start = next.fetch_add(STATEMENTS as u64, Ordering::Relaxed);
                let numbers = start..to.min(start + STATEMENTS as u64);
                if numbers.is_empty() {
                    return Ok::<_, mongodb::error::Error>(());
                }
                let statements: Vec<Bson> = numbers.map(|number| statement(seed, documents, number)).collect();
                let concern = doc! { "w": "majority" };
                let command =
                    doc! { "update": COLLECTION, "updates": statements, "ordered": false, "writeConcern": concern };
                database.run_command(command).await?;
            }
        });
    }
    finish(lanes).await
}

pub fn statement(seed: u64, documents: u64, number: u64) -> Bson {
    let mut chance = crate::chance::Chance::of(!seed, number);
    let id = i64::try_from(chance.bits() % documents).expect("a remainder of a small number");
    let change = doc! {
        "$inc": { "version": 1 },
        "$set": {
            "status": chance.pick(crate::words::STATUSES),
            "updated": bson::DateTime::from_millis(1_767_225_600_000 + i64::from(chance.below(1 << 30))),
            "lines.0.qty": 1 + i64::from(chance.below(9)),
        },
    };
    Bson::from(doc! { "q": { "_id": id }, "u": change })
}

/// The time of the newest entry in the oplog; exact while nothing else writes.
pub async fn newest_tick(client: &Client) -> Result<Timestamp> {
    let hello = client.database("admin").run_command(doc! { "hello": 1 }).await?;
    let written = hello.get_document("lastWrite")?.get_document("opTime")?;
    written.get_timestamp("ts").context("the server's hello has no lastWrite.opTime.ts")
}

/// Waits until the server has written out what was done to it: what it does afterwards is done for whoever is measured.
/// Else it goes on for seconds, on the processors that are measured, and some runs pay for what was loaded or damaged
/// before them and others do not.
pub async fn settle(client: &Client) -> Result<()> {
    client.database("admin").run_command(doc! { "fsync": 1 }).await?;
    Ok(())
}

/// Damages 1 % of the orders, spread evenly: every 200th is changed, and every 200th deleted. Returns both counts.
pub async fn damage(client: &Client) -> Result<(u64, u64)> {
    let orders = orders(client);
    let bad = doc! { "$set": { "status": "oops", "total": -1.0 } };
    let changed = orders.update_many(doc! { "_id": { "$mod": [200, 7] } }, bad).await?.modified_count;
    let deleted = orders.delete_many(doc! { "_id": { "$mod": [200, 107] } }).await?.deleted_count;
    Ok((changed, deleted))
}

/// The sum of all orders' `version` fields: 1 each, and 1 more for each update.
pub async fn sum_of_versions(client: &Client) -> Result<i64> {
    let pipeline = vec![doc! { "$group": { "_id": null, "sum": { "$sum": { "$toLong": "$version" } } } }];
    let mut cursor = orders(client).aggregate(pipeline).await?;
    let sum = cursor.next().await.context("there are no orders")??;
    Ok(sum.get_i64("sum")?)
}

async fn finish(mut lanes: JoinSet<Result<(), mongodb::error::Error>>) -> Result<()> {
    while let Some(lane) = lanes.join_next().await {
        lane??;
    }
    Ok(())
}

/// A new, empty server with the cache size that all measurements use.
pub async fn server(oplog_mb: u32) -> Result<ReplicaSet> {
    server_with(2.0, oplog_mb).await
}

/// The same with a cache of its own size.
pub async fn server_with(cache_gb: f32, oplog_mb: u32) -> Result<ReplicaSet> {
    let options = backstay_testkit::Options { cache_gb, oplog_mb: Some(oplog_mb), ..Default::default() };
    ReplicaSet::start(options).await
}

/// From now on the server keeps old versions of records for so many seconds; by default 300.
pub async fn keep_history(client: &Client, seconds: i32) -> Result<()> {
    let parameter = doc! { "setParameter": 1, "minSnapshotHistoryWindowInSeconds": seconds };
    client.database("admin").run_command(parameter).await?;
    Ok(())
}
