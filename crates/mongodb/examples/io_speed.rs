//! How fast the contracts read and write, beside the bare driver doing the same on the same server.
//!
//! ```text
//! cargo run --release -p backstay-mongodb --example io_speed [DOCUMENTS]
//! ```
//!
//! Each pair runs three times, turn about; the best times are compared. The server shares the machine.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a benchmark at the edge: it reads the clock")]

use std::time::{Duration, Instant};

use anyhow::Result;
use backstay_model::IdRange;
use backstay_mongodb::{MongoDeployment, Options};
use backstay_source::{EntryBatch, RecordBatch, Source, Start, Target};
use bson::{Document, RawDocumentBuf, doc, rawdoc};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use mongodb::Client;
use mongodb::options::{InsertManyOptions, ReadConcern};

const LANES: usize = 6;
const LOT: usize = 5_000;

#[tokio::main]
async fn main() -> Result<()> {
    let documents: usize = std::env::args().nth(1).map_or(Ok(300_000), |text| text.parse())?;
    let options = backstay_testkit::Options { cache_gb: 1.0, ..Default::default() };
    let set = backstay_testkit::ReplicaSet::start(options).await?;
    let client = set.client().await?;
    let deployment = MongoDeployment::connect(Options { uri: set.uri(), ..Options::default() }).await?;
    let lots = lots(documents);
    let bytes: usize = lots.iter().flatten().map(|order| order.as_bytes().len()).sum();
    println!("{documents} documents, {} MB", bytes / 1_000_000);

    let mut insert = Pair::new("insert");
    for turn in 0..3 {
        let bare = format!("bare{turn}");
        insert.bare(bare_insert(&client, &bare, &lots).await?);
        insert.ours(our_insert(&deployment, &format!("shop.ours{turn}"), &lots).await?);
        if turn < 2 {
            client.database("shop").collection::<Document>(&bare).drop().await?;
            client.database("shop").collection::<Document>(&format!("ours{turn}")).drop().await?;
        }
    }
    insert.print(bytes);

    // Ours reads in the order of ids, which costs the server more than the order on disk: both are the bare driver's.
    let (mut scan, mut by_id) = (Pair::new("scan"), Pair::new("by _id"));
    for _ in 0..3 {
        scan.bare(bare_scan(&client, doc! { "$natural": 1 }).await?);
        by_id.bare(bare_scan(&client, doc! { "_id": 1 }).await?);
        let ours = our_scan(&deployment, bytes, 1).await?;
        scan.ours(ours);
        by_id.ours(ours);
    }
    scan.print(bytes);
    by_id.print(bytes);
    let mut parallel = Pair::new("3 ranges");
    for _ in 0..3 {
        parallel.bare(bare_scan(&client, doc! { "$natural": 1 }).await?);
        parallel.ours(our_scan(&deployment, bytes, 3).await?);
    }
    parallel.print(bytes);

    let oldest = deployment.position().await?.oldest.expect("the oplog tells");
    let start = Start { resume: oldest, through: oldest };
    // Updates make small entries, where the price of each shows.
    let update = doc! { "update": "bare2", "updates": [{ "q": {}, "u": { "$inc": { "n": 1 } }, "multi": true }] };
    client.database("shop").run_command(update).await?;
    let mut tail = Pair::new("oplog");
    let mut entries = 0;
    for _ in 0..3 {
        tail.bare(bare_oplog(&client).await?);
        let (time, count) = our_tail(&deployment, start).await?;
        entries = count;
        tail.ours(time);
    }
    // Entries, not megabytes: the oplog holds six copies of the documents and the updates.
    tail.print_rate(entries, "entries");
    client.shutdown().await;
    Ok(())
}

fn lots(documents: usize) -> Vec<Vec<RawDocumentBuf>> {
    let order = |n: usize| {
        let n = i64::try_from(n).unwrap();
        let mut lines = bson::RawArrayBuf::new();
        for line in 0..4i64 {
            let text = format!("{:032x}", (n * 31 + line).wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64));
            lines.push(rawdoc! { "sku": text.as_str(), "price": n % 977 + line, "note": text.as_str() });
        }
        rawdoc! { "_id": n, "tenant": format!("t{:03}", n % 200), "n": n, "lines": lines, "total": 3.5, "state": "paid" }
    };
    let all: Vec<RawDocumentBuf> = (0..documents).map(order).collect();
    all.chunks(LOT).map(<[_]>::to_vec).collect()
}

async fn bare_insert(client: &Client, name: &str, lots: &[Vec<RawDocumentBuf>]) -> Result<Duration> {
    let start = Instant::now();
    stream::iter(lots)
        .map(|lot| {
            let collection = client.database("shop").collection::<RawDocumentBuf>(name);
            async move {
                let options = InsertManyOptions::builder().ordered(false).build();
                collection.insert_many(lot).with_options(options).await
            }
        })
        .buffer_unordered(LANES)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    Ok(start.elapsed())
}

async fn our_insert(deployment: &MongoDeployment, name: &str, lots: &[Vec<RawDocumentBuf>]) -> Result<Duration> {
    let start = Instant::now();
    stream::iter(lots)
        .map(|lot| async move {
            let mut batch = RecordBatch::default();
            for order in lot {
                batch.push_with(order.as_bytes(), |id| backstay_mongodb::interpret::id_of(order.as_bytes(), id))?;
            }
            let report = deployment.insert(name, &batch).await?;
            assert_eq!((report.written, report.conflicts.len()), (lot.len() as u64, 0));
            anyhow::Ok(())
        })
        .buffer_unordered(LANES)
        .try_for_each(|()| async { Ok(()) })
        .await?;
    Ok(start.elapsed())
}

async fn bare_scan(client: &Client, hint: Document) -> Result<Duration> {
    let start = Instant::now();
    let mut cursor = client
        .database("shop")
        .collection::<Document>("bare2")
        .find(doc! {})
        .hint(mongodb::options::Hint::Keys(hint))
        .batch()
        .await?;
    let mut count = 0;
    while let Some(reply) = cursor.next().await {
        for document in reply?.doc_slices()? {
            count += document?.as_document().map_or(0, |document| document.as_bytes().len());
        }
    }
    assert!(count > 0);
    Ok(start.elapsed())
}

async fn our_scan(deployment: &MongoDeployment, bytes: usize, lanes: usize) -> Result<Duration> {
    let namespaces = Source::namespaces(deployment).await?;
    let namespace = namespaces.iter().find(|namespace| namespace.name == "shop.bare2").unwrap();
    let ranges = if lanes == 1 { vec![IdRange::all()] } else { deployment.split(namespace, 32 << 20).await? };
    let at = deployment.snapshot().await?;
    let start = Instant::now();
    let totals = stream::iter(&ranges).map(|range| async move {
        let mut records = Source::scan(deployment, namespace, range, at).await?;
        let (mut batch, mut total) = (RecordBatch::default(), 0);
        while records.next(&mut batch).await? {
            total += batch.iter().map(|(_, image)| image.len()).sum::<usize>();
        }
        anyhow::Ok(total)
    });
    let totals: Vec<usize> = totals.buffer_unordered(lanes).try_collect().await?;
    assert!(totals.iter().sum::<usize>() >= bytes);
    Ok(start.elapsed())
}

async fn bare_oplog(client: &Client) -> Result<Duration> {
    let start = Instant::now();
    let oplog = client.database("local").collection::<Document>("oplog.rs");
    let mut cursor = oplog.find(doc! {}).read_concern(ReadConcern::majority()).batch().await?;
    let mut count = 0;
    while let Some(reply) = cursor.next().await {
        for document in reply?.doc_slices()? {
            count += document?.as_document().map_or(0, |document| document.as_bytes().len());
        }
    }
    assert!(count > 0);
    Ok(start.elapsed())
}

async fn our_tail(deployment: &MongoDeployment, from: Start) -> Result<(Duration, usize)> {
    let until = deployment.position().await?.committed;
    let start = Instant::now();
    let mut tail = deployment.tail(from).await?;
    let (mut batch, mut count) = (EntryBatch::default(), 0);
    while batch.through < until {
        tail.next(&mut batch).await?;
        count += batch.len();
    }
    Ok((start.elapsed(), count))
}

struct Pair {
    name: &'static str,
    bare: Duration,
    ours: Duration,
}

impl Pair {
    fn new(name: &'static str) -> Pair {
        Pair { name, bare: Duration::MAX, ours: Duration::MAX }
    }

    fn bare(&mut self, time: Duration) {
        self.bare = self.bare.min(time);
    }

    fn ours(&mut self, time: Duration) {
        self.ours = self.ours.min(time);
    }

    fn print(&self, bytes: usize) {
        self.print_rate(bytes / 1_000_000, "MB");
    }

    fn print_rate(&self, amount: usize, unit: &str) {
        let (bare, ours) = (self.bare.as_secs_f64(), self.ours.as_secs_f64());
        let rate = amount as f64 / ours;
        println!("{:8} bare {bare:.2} s, ours {ours:.2} s, ratio {:.2}, {rate:.0} {unit}/s", self.name, ours / bare);
    }
}
