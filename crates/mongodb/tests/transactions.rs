//! Transactions of all forms: as of every instant all of one or none of it, whatever it consists of in the oplog.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test at the edge: real clock, real server")]

mod scenario;

use backstay_archive::Limits;
use backstay_engine::{CaptureOptions, Until};
use backstay_mongodb::Options;
use bson::{Document, Timestamp, doc};
use mongodb::options::ReturnDocument;
use mongodb::{ClientSession, Collection};
use scenario::Stage;

const PARAMETERS: &[&str] = &[
    "enableTestCommands=1",
    "maxNumberOfTransactionOperationsInSingleOplogEntry=3",
    "transactionLifetimeLimitSeconds=600",
];

async fn begin(stage: &Stage) -> ClientSession {
    let mut session = stage.client.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    session
}

/// Inserts, updates and deletes, the same record among them more than once.
async fn work(orders: &Collection<Document>, session: &mut ClientSession, tag: &str, times: i32) {
    for n in 0..times {
        let id = format!("{tag}-{n}");
        orders.insert_one(doc! { "_id": &id, "n": n }).session(&mut *session).await.unwrap();
        orders.update_one(doc! { "_id": &id }, doc! { "$inc": { "n": 100 } }).session(&mut *session).await.unwrap();
        if n % 3 == 0 {
            orders.delete_one(doc! { "_id": &id }).session(&mut *session).await.unwrap();
        }
        if n % 6 == 0 {
            orders.insert_one(doc! { "_id": &id, "again": n }).session(&mut *session).await.unwrap();
        }
    }
    let tagged = doc! { "$push": { "seen": tag } };
    orders.update_one(doc! { "_id": format!("base-{tag}") }, tagged).session(&mut *session).await.unwrap();
}

async fn prepare(stage: &Stage, session: &mut ClientSession) -> Timestamp {
    let prepare = doc! { "prepareTransaction": 1, "writeConcern": { "w": "majority" } };
    let reply = stage.database("admin").run_command(prepare).session(session).await.unwrap();
    reply.get_timestamp("prepareTimestamp").unwrap()
}

async fn commit_at(stage: &Stage, session: &mut ClientSession, at: Timestamp) {
    let commit = doc! { "commitTransaction": 1, "writeConcern": { "w": "majority" }, "commitTimestamp": at };
    stage.database("admin").run_command(commit).session(session).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_a_transaction_or_none_of_it() {
    let Some(mut stage) = Stage::with(PARAMETERS, Options::default()).await else { return };
    let orders = stage.database("shop").collection::<Document>("orders");
    let bases = ["a", "b", "c", "d", "p", "q", "r", "s", "never"].map(|tag| doc! { "_id": format!("base-{tag}") });
    orders.insert_many(bases).await.unwrap();
    // Open and, some of them, prepared before the base is read.
    let mut before = begin(&stage).await;
    work(&orders, &mut before, "a", 4).await;
    let mut prepared_before = begin(&stage).await;
    work(&orders, &mut prepared_before, "p", 5).await;
    stage.moment("before, nothing is committed").await;
    stage.backup().await;
    stage.moment("two are open").await;
    before.commit_transaction().await.unwrap();
    stage.moment("one that was open when the base was read is committed").await;

    // Interleaved chains, one of them aborted.
    let (mut b, mut c, mut never) = (begin(&stage).await, begin(&stage).await, begin(&stage).await);
    work(&orders, &mut b, "b", 10).await;
    work(&orders, &mut c, "c", 10).await;
    work(&orders, &mut never, "never", 10).await;
    c.commit_transaction().await.unwrap();
    stage.moment("the one that began later is committed").await;
    never.abort_transaction().await.unwrap();
    b.commit_transaction().await.unwrap();
    stage.moment("interleaved").await;

    // Prepared: visible at the commit's tick, nothing at the preparation's.
    let mut q = begin(&stage).await;
    work(&orders, &mut q, "q", 7).await;
    prepare(&stage, &mut q).await;
    orders.insert_one(doc! { "_id": "while it is prepared" }).await.unwrap();
    // Capture goes as far as it can, and starts anew later.
    stage.try_capture().await;
    let at = scenario::instant(&stage.client).await;
    let at = Timestamp { time: at.seconds(), increment: at.ordinal() };
    orders.insert_one(doc! { "_id": "after the tick that it is given" }).await.unwrap();
    commit_at(&stage, &mut q, at).await;
    stage.moment("a prepared one is committed").await;
    let mut r = begin(&stage).await;
    work(&orders, &mut r, "r", 3).await;
    prepare(&stage, &mut r).await;
    let abort = doc! { "abortTransaction": 1, "writeConcern": { "w": "majority" } };
    stage.database("admin").run_command(abort).session(&mut r).await.unwrap();
    stage.moment("a prepared one is aborted").await;
    let p = prepare(&stage, &mut prepared_before).await;
    commit_at(&stage, &mut prepared_before, p).await;
    stage.moment("prepared long after it began").await;

    // Capture is restarted while one is open whose entries come later.
    let mut d = begin(&stage).await;
    work(&orders, &mut d, "d", 10).await;
    stage.capture().await;
    stage.moment("still open").await;
    d.commit_transaction().await.unwrap();
    let mut s = begin(&stage).await;
    work(&orders, &mut s, "s", 10).await;
    prepare(&stage, &mut s).await;
    stage.try_capture().await;
    commit_at(&stage, &mut s, scenario::timestamp(scenario::instant(&stage.client).await)).await;
    stage.moment("all are done").await;
    stage.check_all().await;

    // Every instant between the first moment and the last shows whole transactions: what the server itself answers.
    let labels: Vec<_> = stage.moments.iter().map(|moment| moment.at).collect();
    stage.compare_every_instant(labels[1], *labels.last().unwrap(), "shop", "orders").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_larger_than_an_entry_and_than_the_memory_for_sorting() {
    // In its smallest cache the server has no room for such a transaction.
    let parameters = &["transactionLifetimeLimitSeconds=600"];
    let Some(mut stage) = Stage::with_cache(1.0, parameters, Options::default()).await else { return };
    let orders = stage.database("shop").collection::<Document>("orders");
    orders.insert_one(doc! { "_id": 0 }).await.unwrap();
    stage.backup().await;
    // Sorting and reading are given far less than the transaction takes.
    let limits = Limits { tail_budget: 4 << 20, ..Limits::default() };
    stage.limit(limits).await;
    let mut chance = 1u64;
    let mut noise = || {
        let mut bytes = vec![0u8; 700_000];
        for byte in &mut bytes {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (chance >> 33) as u8;
        }
        bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes }
    };
    stage.moment("before").await;
    let mut session = begin(&stage).await;
    for n in 0..90 {
        orders.insert_one(doc! { "_id": n + 1, "noise": noise() }).session(&mut session).await.unwrap();
        if n % 10 == 9 {
            // Beginning and end of the chain change the same records.
            let update = doc! { "$set": { "late": n }, "$unset": { "noise": 1 } };
            orders.update_one(doc! { "_id": n % 7 }, update).session(&mut session).await.unwrap();
            orders.delete_one(doc! { "_id": n - 3 }).session(&mut session).await.unwrap();
        }
    }
    stage.moment("open").await;
    session.commit_transaction().await.unwrap();
    stage.moment("committed").await;
    orders.update_many(doc! { "_id": { "$lt": 10 } }, doc! { "$set": { "after": 1 } }).await.unwrap();
    stage.moment("after").await;
    stage.check_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_looks_like_a_transaction_and_is_none() {
    let Some(mut stage) = Stage::with(PARAMETERS, Options::default()).await else { return };
    let orders = stage.database("shop").collection::<Document>("orders");
    orders.insert_many((0..20).map(|n| doc! { "_id": n, "n": 1 })).await.unwrap();
    stage.backup().await;
    stage.moment("base").await;
    // Retryable writes, and the images that findAndModify keeps for them.
    orders.insert_many((20..40).map(|n| doc! { "_id": n })).await.unwrap();
    for n in 0..6 {
        let found = orders.find_one_and_update(doc! { "_id": n }, doc! { "$inc": { "n": 5 }, "$push": { "l": n } });
        let which = if n % 2 == 0 { ReturnDocument::After } else { ReturnDocument::Before };
        found.return_document(which).await.unwrap();
        orders.find_one_and_delete(doc! { "_id": n + 10 }).await.unwrap();
        orders.find_one_and_replace(doc! { "_id": n + 20 }, doc! { "replaced": n }).await.unwrap();
    }
    stage.moment("retryable").await;
    // `applyOps` as a command: atomic, not atomic, nested, and with commands in it.
    let insert = |id: &str| doc! { "op": "i", "ns": "shop.orders", "o": { "_id": id } };
    let nested = doc! { "op": "c", "ns": "admin.$cmd", "o": { "applyOps": [insert("nested"), { "op": "d", "ns": "shop.orders", "o": { "_id": 25 } }] } };
    let update = doc! { "op": "u", "ns": "shop.orders", "o2": { "_id": 30 }, "o": { "$v": 2, "diff": { "i": { "by": "applyOps" } } } };
    // Without an `idIndex`, the server would make one of the version before 3.4, which no restore makes.
    let id_index = doc! { "v": 2, "key": { "_id": 1 }, "name": "_id_" };
    let create = doc! { "op": "c", "ns": "shop.$cmd", "o": { "create": "made", "idIndex": id_index } };
    for command in [
        doc! { "applyOps": [insert("one"), insert("two")] },
        doc! { "applyOps": [insert("three"), update] },
        doc! { "applyOps": [insert("four"), nested] },
        doc! { "applyOps": [create, { "op": "i", "ns": "shop.made", "o": { "_id": 1 } }] },
        doc! { "applyOps": [{ "op": "n", "ns": "", "o": { "msg": "nothing" } }] },
    ] {
        let label = command.to_string();
        let done = stage.database("admin").run_command(command).await;
        stage.moment(&format!("{label} {}", if done.is_ok() { "" } else { "(refused)" })).await;
        println!("{label}: {done:?}");
    }
    // Collections and indexes made within a transaction.
    let mut session = begin(&stage).await;
    let fresh = stage.database("shop").collection::<Document>("fresh");
    fresh.insert_one(doc! { "_id": 1 }).session(&mut session).await.unwrap();
    let index = doc! { "createIndexes": "indexed", "indexes": [{ "key": { "a": 1 }, "name": "a" }] };
    stage.database("shop").run_command(index).session(&mut session).await.unwrap();
    for n in 0..10 {
        fresh.insert_one(doc! { "_id": 10 + n }).session(&mut session).await.unwrap();
    }
    stage.moment("made within a transaction that is open").await;
    session.commit_transaction().await.unwrap();
    stage.moment("and committed").await;
    stage.check_all().await;
    let _ = (CaptureOptions::default(), Until::Now);
}
