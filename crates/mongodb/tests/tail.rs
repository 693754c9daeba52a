//! Following a real oplog, or a change stream: every change once, whatever happens to the reader or the server.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test at the edge: real clock, real server")]

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::Result;
use backstay_model::{Body, Tick};
use backstay_mongodb::interpret::id_of;
use backstay_mongodb::{Feed, MongoDeployment, Options};
use backstay_source::{EntryBatch, Error, Source, Start, Tail};
use backstay_testkit::{ReplicaSet, require_mongod};
use bson::{Document, RawDocumentBuf, doc, rawdoc};
use mongodb::{Client, ClientSession};

async fn stage(
    options: backstay_testkit::Options,
    feed: Feed,
) -> Result<Option<(ReplicaSet, Client, MongoDeployment)>> {
    if require_mongod().is_none() {
        return Ok(None);
    }
    let set = ReplicaSet::start(options).await?;
    let client = set.client().await?;
    let include = vec!["shop.*".to_owned()];
    let deployment = MongoDeployment::connect(Options { uri: set.uri(), include, feed, ..Options::default() }).await?;
    Ok(Some((set, client, deployment)))
}

/// What a reader that goes down again and again holds in the end.
#[derive(Default)]
struct Journal {
    entries: Vec<(Tick, Vec<u8>)>,
    through: Tick,
    resume: Tick,
}

impl Journal {
    fn start(at: Tick) -> Journal {
        Journal { entries: Vec::new(), through: at, resume: at }
    }

    async fn tail(&self, deployment: &MongoDeployment) -> backstay_source::Result<Box<dyn Tail>> {
        deployment.tail(Start { resume: self.resume, through: self.through }).await
    }

    /// Takes a batch, or as many as share a tick: half of one is nothing.
    async fn step(&mut self, tail: &mut dyn Tail) -> backstay_source::Result<()> {
        let (mut batch, mut whole) = (EntryBatch::default(), Vec::new());
        loop {
            tail.next(&mut batch).await?;
            assert!(batch.bytes() < 40 << 20, "a batch of {} bytes", batch.bytes());
            for (visible, entry) in batch.iter() {
                assert!(visible > self.through, "{visible} was handed over already: {}", self.through);
                whole.push((visible, entry.to_vec()));
            }
            if !batch.continues {
                break;
            }
            let goes_on = whole.last().expect("something goes on").0;
            assert!(batch.through < goes_on && batch.resume < goes_on, "{goes_on} counts before it is whole");
        }
        for (visible, entry) in whole {
            assert!(visible <= batch.through, "{visible} is above {}", batch.through);
            assert!(self.entries.last().is_none_or(|(last, _)| *last <= visible), "out of order");
            self.entries.push((visible, entry));
        }
        assert!(batch.through >= self.through);
        (self.through, self.resume) = (batch.through, batch.resume);
        Ok(())
    }

    async fn until(&mut self, tail: &mut dyn Tail, target: Tick) -> backstay_source::Result<()> {
        while self.through < target {
            self.step(tail).await?;
        }
        Ok(())
    }

    /// The records that the entries build, by id; only whole images and removals are expected.
    fn replay(&self, deployment: &MongoDeployment) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let interpreter = deployment.interpreter();
        let mut records = BTreeMap::new();
        for (visible, entry) in &self.entries {
            interpreter
                .changes(entry, *visible, 0, &mut |change| {
                    if change.namespace == backstay_model::Incarnation::SYSTEM {
                        return;
                    }
                    match change.body.to_owned() {
                        Body::Image(image) => drop(records.insert(change.id.to_vec(), image)),
                        Body::Tombstone => drop(records.remove(change.id)),
                        Body::Delta(operator, delta) => {
                            let mut image = Vec::new();
                            interpreter.fold(operator, &records[change.id], &delta, &mut image).unwrap();
                            records.insert(change.id.to_vec(), image);
                        }
                    }
                })
                .unwrap();
        }
        records
    }
}

async fn server_has(client: &Client, collection: &str) -> BTreeMap<Vec<u8>, Vec<u8>> {
    use futures::TryStreamExt as _;
    let cursor = client.database("shop").collection::<RawDocumentBuf>(collection).find(doc! {}).await.unwrap();
    let documents: Vec<RawDocumentBuf> = cursor.try_collect().await.unwrap();
    let id = |document: &RawDocumentBuf| {
        let mut id = Vec::new();
        id_of(document.as_bytes(), &mut id).unwrap();
        id
    };
    documents.iter().map(|document| (id(document), document.as_bytes().to_vec())).collect()
}

async fn write_for(client: Client, time: Duration) -> u64 {
    let orders = client.database("shop").collection::<Document>("orders");
    let (start, mut n) = (Instant::now(), 0u64);
    while start.elapsed() < time {
        let id = i64::try_from(n % 500).unwrap();
        n += 1;
        let done = match n % 4 {
            0 => orders.delete_one(doc! { "_id": id }).await.map(drop),
            1 => {
                orders.update_one(doc! { "_id": id }, doc! { "$inc": { "n": 1 }, "$set": { "s": "x" } }).await.map(drop)
            }
            _ => orders.replace_one(doc! { "_id": id }, doc! { "n": id }).upsert(true).await.map(drop),
        };
        // A write that an election broke may or may not be there; the next ones decide.
        if done.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    n
}

async fn every_write_is_seen_once_however_often_the_reader_restarts(feed: Feed) -> Result<()> {
    let Some((_set, client, deployment)) = stage(backstay_testkit::Options::default(), feed).await? else {
        return Ok(());
    };
    let mut journal = Journal::start(deployment.snapshot().await?);
    let writer = tokio::spawn(write_for(client.clone(), Duration::from_secs(6)));
    client.database("other").collection::<Document>("x").insert_one(doc! { "_id": 1 }).await?;
    let mut restarts = 0;
    while !writer.is_finished() {
        let mut tail = journal.tail(&deployment).await?;
        for _ in 0..(restarts % 7) {
            journal.step(&mut *tail).await?;
        }
        restarts += 1;
    }
    let written = writer.await?;
    let target = deployment.position().await?.committed;
    let mut tail = journal.tail(&deployment).await?;
    journal.until(&mut *tail, target).await?;
    assert!(restarts > 10, "{restarts} restarts, {written} writes");
    assert!(journal.entries.iter().all(|(_, entry)| !String::from_utf8_lossy(entry).contains("other.x")));
    let distinct: HashSet<&Vec<u8>> = journal.entries.iter().map(|(_, entry)| entry).collect();
    assert_eq!(distinct.len(), journal.entries.len());
    assert_eq!(journal.replay(&deployment), server_has(&client, "orders").await);
    Ok(())
}

async fn begin(client: &Client) -> Result<ClientSession> {
    let mut session = client.start_session().await?;
    session.start_transaction().await?;
    Ok(session)
}

async fn transactions_come_whole_or_not_at_all(feed: Feed) -> Result<()> {
    let Some((_set, client, deployment)) = stage(backstay_testkit::Options::default(), feed).await? else {
        return Ok(());
    };
    let shop = client.database("shop");
    shop.run_command(doc! { "create": "orders" }).await?;
    let orders = shop.collection::<RawDocumentBuf>("orders");
    let first = deployment.snapshot().await?;
    let mut journal = Journal::start(first);
    let pad = "x".repeat(1 << 20);

    let mut small = begin(&client).await?;
    orders.insert_many([rawdoc! { "_id": 1 }, rawdoc! { "_id": 2 }]).session(&mut small).await?;
    let mut aborted = begin(&client).await?;
    orders.insert_one(rawdoc! { "_id": "never" }).session(&mut aborted).await?;
    let mut large = begin(&client).await?;
    for n in 0..40 {
        orders.insert_one(rawdoc! { "_id": 100 + n, "pad": pad.as_str() }).session(&mut large).await?;
    }
    orders.insert_one(rawdoc! { "_id": "meanwhile" }).await?;
    let mut tail = journal.tail(&deployment).await?;
    journal.until(&mut *tail, deployment.position().await?.committed).await?;
    drop(tail);
    small.commit_transaction().await?;
    aborted.abort_transaction().await?;
    large.commit_transaction().await?;
    orders.insert_one(rawdoc! { "_id": "after" }).await?;
    let target = deployment.position().await?.committed;
    let mut tail = journal.tail(&deployment).await?;
    journal.until(&mut *tail, target).await?;
    let records = journal.replay(&deployment);
    assert_eq!(records.len(), 44);
    assert_eq!(records, server_has(&client, "orders").await);
    let big = journal.entries.iter().filter(|(_, entry)| entry.len() > 1 << 20).map(|(visible, _)| *visible);
    let big: Vec<Tick> = big.collect();
    assert!(big.len() > 2 && big.iter().all(|visible| *visible == big[0]), "{big:?}");

    // From every position within, also in the middle of the chain: the rest is the same.
    let oplog = client.database("local").collection::<Document>("oplog.rs");
    let mut cursor = oplog
        .find(doc! { "ts": { "$gte": bson::Timestamp { time: first.seconds(), increment: first.ordinal() } } })
        .await?;
    let mut positions = Vec::new();
    while cursor.advance().await? {
        let ts = cursor.current().get_timestamp("ts")?;
        positions.push(Tick::new(ts.time, ts.increment));
    }
    for position in positions.into_iter().filter(|position| *position < target) {
        let mut part = Journal::start(position);
        let mut tail = part.tail(&deployment).await?;
        part.until(&mut *tail, target).await?;
        let rest: Vec<_> =
            journal.entries.iter().filter(|(visible, _)| *visible > position && *visible <= target).collect();
        let got: Vec<_> = part.entries.iter().filter(|(visible, _)| *visible <= target).collect();
        assert!(got == rest, "from {position}: {} instead of {}", got.len(), rest.len());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_transaction_is_visible_at_its_commit_tick() -> Result<()> {
    let args = vec!["--setParameter".into(), "enableTestCommands=1".into()];
    let options = backstay_testkit::Options { args, ..Default::default() };
    let Some((_set, client, deployment)) = stage(options, Feed::Oplog).await? else { return Ok(()) };
    let shop = client.database("shop");
    shop.run_command(doc! { "create": "orders" }).await?;
    let orders = shop.collection::<RawDocumentBuf>("orders");
    let mut journal = Journal::start(deployment.snapshot().await?);
    let admin = client.database("admin");
    let majority = doc! { "w": "majority" };
    let mut session = begin(&client).await?;
    orders.insert_one(rawdoc! { "_id": "prepared" }).session(&mut session).await?;
    let prepare = doc! { "prepareTransaction": 1, "writeConcern": majority.clone() };
    let prepared = admin.run_command(prepare).session(&mut session).await?.get_timestamp("prepareTimestamp")?;
    orders.insert_one(rawdoc! { "_id": "between" }).await?;
    let between = deployment.position().await?.committed;

    let mut tail = journal.tail(&deployment).await?;
    for _ in 0..3 {
        journal.step(&mut *tail).await?;
    }
    assert!(journal.through < Tick::new(prepared.time, prepared.increment));
    assert!(journal.replay(&deployment).is_empty());
    // A reader that starts now, after the preparation, knows of it too.
    let mut late = Journal::start(between);
    let mut late_tail = late.tail(&deployment).await?;
    late.step(&mut *late_tail).await?;
    orders.insert_one(rawdoc! { "_id": "held" }).await?;
    let at = deployment.position().await?.committed;
    let commit = doc! {
        "commitTransaction": 1, "writeConcern": majority,
        "commitTimestamp": bson::Timestamp { time: at.seconds(), increment: at.ordinal() },
    };
    admin.run_command(commit).session(&mut session).await?;
    let target = deployment.position().await?.committed;
    drop(tail);
    let mut tail = journal.tail(&deployment).await?;
    journal.until(&mut *tail, target).await?;
    assert_eq!(journal.replay(&deployment).len(), 3);
    let visible = |journal: &Journal, id: &str| {
        let holds = |entry: &[u8]| entry.windows(id.len()).any(|window| window == id.as_bytes());
        journal.entries.iter().find(|(_, entry)| holds(entry)).map(|(visible, _)| *visible)
    };
    assert_eq!(visible(&journal, "prepared"), Some(at));
    late.until(&mut *late_tail, target).await?;
    assert_eq!(visible(&late, "prepared"), Some(at));
    assert_eq!(visible(&late, "held"), Some(at));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_is_gone_or_never_was_is_told() -> Result<()> {
    let options = backstay_testkit::Options { oplog_mb: Some(1), ..Default::default() };
    let Some((set, client, deployment)) = stage(options, Feed::Oplog).await? else { return Ok(()) };
    let start = deployment.snapshot().await?;
    let between = Tick::new(start.seconds() - 1, 4_000_000);
    let error = deployment.tail(Start { resume: between, through: between }).await.err();
    assert!(matches!(error, Some(Error::RolledOver { .. })), "{error:?}");
    let ahead = Tick::new(start.seconds() + 1000, 1);
    let error = deployment.tail(Start { resume: ahead, through: ahead }).await.err();
    assert!(matches!(error, Some(Error::Unavailable { .. })), "{error:?}");

    // A change stream begins anywhere in the history that there is, and goes over to a gap like the oplog.
    let (uri, feed) = (set.uri(), Feed::ChangeStreams);
    let streamed = MongoDeployment::connect(Options { uri, feed, ..Options::default() }).await?;
    let error = streamed.tail(Start { resume: ahead, through: ahead }).await.err();
    assert!(matches!(error, Some(Error::Unavailable { .. })), "{error:?}");
    let mut streamed_behind = streamed.tail(Start { resume: start, through: start }).await?;
    let mut behind = deployment.tail(Start { resume: start, through: start }).await?;
    let pad = "x".repeat(1 << 18);
    let orders = client.database("shop").collection::<Document>("orders");
    let begun = Instant::now();
    let mut n = 0;
    while deployment.position().await?.oldest <= Some(start) {
        assert!(begun.elapsed() < Duration::from_secs(90), "the oplog does not roll over");
        let lot = (0..100).map(|i| doc! { "_id": n * 100 + i, "pad": &pad });
        orders.insert_many(lot).await?;
        n += 1;
    }
    let error = deployment.tail(Start { resume: start, through: start }).await.err();
    assert!(matches!(error, Some(Error::RolledOver { .. })), "{error:?}");
    let error = streamed.tail(Start { resume: start, through: start }).await.err();
    assert!(matches!(error, Some(Error::RolledOver { .. })), "{error:?}");
    for behind in [&mut behind, &mut streamed_behind] {
        let mut batch = EntryBatch::default();
        let error = loop {
            match behind.next(&mut batch).await {
                Ok(()) if batch.through >= deployment.position().await?.committed => break None,
                Ok(()) => {}
                Err(error) => break Some(error),
            }
        };
        assert!(matches!(error, None | Some(Error::RolledOver { .. })), "{error:?}");
    }
    Ok(())
}

async fn elections_and_restarts_lose_nothing(feed: Feed) -> Result<()> {
    let options = backstay_testkit::Options { members: 3, cache_gb: 0.25, ..Default::default() };
    let Some((_set, client, deployment)) = stage(options, feed).await? else { return Ok(()) };
    let mut journal = Journal::start(deployment.snapshot().await?);
    let mut tail = journal.tail(&deployment).await?;
    let writer = tokio::spawn(write_for(client.clone(), Duration::from_secs(12)));
    let mut steps = 0;
    let mut last = Instant::now();
    while !writer.is_finished() {
        journal.step(&mut *tail).await?;
        if last.elapsed() > Duration::from_secs(4) {
            last = Instant::now();
            steps += 1;
            let down = doc! { "replSetStepDown": 5, "secondaryCatchUpPeriodSecs": 2, "force": true };
            let _closes_the_connection = client.database("admin").run_command(down).await;
        }
    }
    writer.await?;
    assert!(steps >= 2);
    let target = deployment.snapshot().await?;
    journal.until(&mut *tail, target).await?;
    assert_eq!(journal.replay(&deployment), server_has(&client, "orders").await);
    Ok(())
}

/// Each test, by either feed.
macro_rules! by_both {
    ($($test:ident),+) => {
        mod by_the_oplog {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() -> super::Result<()> {
                super::$test(super::Feed::Oplog).await
            })+
        }
        mod by_change_streams {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() -> super::Result<()> {
                super::$test(super::Feed::ChangeStreams).await
            })+
        }
    };
}

by_both!(
    every_write_is_seen_once_however_often_the_reader_restarts,
    transactions_come_whole_or_not_at_all,
    elections_and_restarts_lose_nothing
);
