//! Transactions far larger than an entry of the oplog, and than what the program may hold in memory: captured and read
//! exactly, within a bound on memory that does not grow with them.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test waits for a real server")]

mod shop;
mod witness;

use std::time::Duration;

use backstay_testkit::{Backstay, Chance, Options, ReplicaSet, Run, require_mongod, soak};
use bson::{Binary, Document, doc, spec::BinarySubtype};
use mongodb::{ClientSession, Collection};
use shop::Shop;
use witness::{as_of, assert_same, instant, text};

const MIB: usize = 1 << 20;
/// What a transaction writes: beyond any single entry, and twelve times the budget of what is kept in memory of it. In the
/// long form of the tests more, which must change nothing.
fn transaction() -> usize {
    if soak() > 1 { 500 * MIB } else { 200 * MIB }
}

const RECORD: usize = MIB / 2;
/// What a capture may take, whatever the transactions are: replies, batches and tails of 16 MiB at a time, each a few times
/// over. Held whole in memory, a transaction of 200 MiB took 936 MiB.
const CAPTURE_PEAK: usize = 320 * MIB;
/// The same for whoever reads or sorts: 48 MiB of tails at a time.
const READER_PEAK: usize = 480 * MIB;

/// Runs to the end, and tells how much memory was resident at most.
fn watched(program: &Backstay, args: &[&str]) -> (Run, usize) {
    let mut running = program.spawn(args).unwrap();
    let mut peak = 0;
    while !running.has_ended().unwrap() {
        peak = peak.max(high_water_mark(running.pid()));
        std::thread::sleep(Duration::from_millis(5));
    }
    let run = running.wait(Duration::from_secs(1)).unwrap().ok();
    println!("{}: at most {} MiB resident", run.line, peak / MIB);
    (run, peak)
}

/// `VmHWM` of a process in bytes; 0 when it is gone.
fn high_water_mark(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|value| value.trim().trim_end_matches("kB").trim().parse::<usize>().ok());
    kib.unwrap_or_default() * 1024
}

fn noise(chance: &mut Chance) -> Binary {
    let bytes = (0..RECORD / 8).flat_map(|_| chance.number().to_le_bytes()).collect();
    Binary { subtype: BinarySubtype::Generic, bytes }
}

/// Writes records of that many bytes in all, and changes the first of them again at its very end.
async fn write(orders: &Collection<Document>, session: &mut ClientSession, tag: &str) {
    let mut chance = Chance(7);
    let count = i32::try_from(transaction() / RECORD).unwrap();
    for n in 0..count {
        let record =
            doc! { "_id": format!("{tag}-{n}"), "tenant": format!("t{}", n % 3), "n": n, "noise": noise(&mut chance) };
        orders.insert_one(record).session(&mut *session).await.unwrap();
    }
    for n in 0..40 {
        let id = doc! { "_id": format!("{tag}-{n}") };
        match n % 4 {
            0 => drop(orders.delete_one(id).session(&mut *session).await.unwrap()),
            1 => {
                let change = doc! { "$set": { "tenant": "t9", "late": n } };
                orders.update_one(id, change).session(&mut *session).await.unwrap();
            }
            _ => {
                let change = doc! { "$inc": { "n": 1000 }, "$unset": { "noise": 1 } };
                orders.update_one(id, change).session(&mut *session).await.unwrap();
            }
        }
    }
    orders.update_one(doc! { "_id": 1 }, doc! { "$set": { "last": tag } }).session(&mut *session).await.unwrap();
}

#[test]
fn a_transaction_of_two_hundred_mebibytes_takes_no_more_memory_than_others() {
    shop::runtime().block_on(async {
        if require_mongod().is_none() {
            return;
        }
        let parameters = ["transactionLifetimeLimitSeconds=600", "minSnapshotHistoryWindowInSeconds=3600"];
        let args = parameters.iter().flat_map(|parameter| ["--setParameter".to_owned(), (*parameter).to_owned()]);
        let args = args.collect();
        let options =
            Options { oplog_mb: Some(4000), cache_gb: if soak() > 1 { 12.0 } else { 6.0 }, args, ..Options::default() };
        let set = ReplicaSet::start(options).await.unwrap();
        let client = set.client().await.unwrap();
        let program = shop::program(&set.uri());
        let shop = Shop { set, client, program };
        shop.fill(4, 100).await;
        shop.json(&["init"]);
        shop.json(&["backup", "shop"]);
        let orders = shop.orders();

        let mut aborted = shop.client.start_session().await.unwrap();
        aborted.start_transaction().await.unwrap();
        orders.update_one(doc! { "_id": 2 }, doc! { "$set": { "never": 1 } }).session(&mut aborted).await.unwrap();
        let mut session = shop.client.start_session().await.unwrap();
        session.start_transaction().await.unwrap();
        write(&orders, &mut session, "big").await;
        orders.update_one(doc! { "_id": 3 }, doc! { "$set": { "meanwhile": 1 } }).await.unwrap();
        let open = instant(&shop.client).await;
        session.commit_transaction().await.unwrap();
        aborted.abort_transaction().await.unwrap();
        orders.update_one(doc! { "_id": "big-7" }, doc! { "$set": { "after": 1 } }).await.unwrap();
        let done = instant(&shop.client).await;

        let (_, peak) = watched(&shop.program, &["capture", "shop", "--until", "now", "--json"]);
        assert!(peak > 0 && peak < CAPTURE_PEAK, "capture took {} MiB", peak / MIB);

        // Nothing of it just before, all of it just after: from the tails, and from sorted runs.
        let namespaces = ["shop.orders".to_owned()];
        for state in ["tails", "runs"] {
            for at in [open, done] {
                let expected = as_of(&shop.client, &namespaces, at).await;
                shop.client.database("restored").collection::<Document>("orders").drop().await.unwrap();
                let (uri, at_text) = (shop.set.uri(), text(at));
                let restore = ["restore", "shop", "--at", &at_text, "--ns", "shop.orders", "--into", &uri];
                let rename = ["--rename", "shop.orders=restored.orders", "--yes", "--json"];
                let (_, peak) = watched(&shop.program, &[&restore[..], &rename[..]].concat());
                assert!(peak < READER_PEAK, "a restore took {} MiB", peak / MIB);
                let into = ["restored.orders".to_owned()];
                let found = as_of(&shop.client, &into, instant(&shop.client).await).await;
                let found = found.into_values().map(|documents| (namespaces[0].clone(), documents)).collect();
                assert_same(&found, &expected, &format!("as of {at_text} from {state}"));
            }
            let (_, peak) = watched(&shop.program, &["compact", "shop", "--json"]);
            assert!(peak < READER_PEAK, "sorting took {} MiB", peak / MIB);
        }
        let verified = shop.json(&["verify", "shop", "--content"]);
        assert_eq!(verified["problems"], serde_json::json!([]), "{verified}");
        assert_eq!(shop.json(&["backup", "shop"])["drift"], 0);
    });
}
