//! The whole way by change streams: definitions of all kinds, transactions, a change of the feed, and what they do not show.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test at the edge: real clock, real server")]

mod scenario;

use std::sync::Arc;

use async_trait::async_trait;
use backstay_engine::{CaptureOptions, Error, Monitor, Scope, Until, capture};
use backstay_model::{IdRange, Interpreter, Protection, Tick};
use backstay_mongodb::interpret::tenants::{Origin, Rule};
use backstay_mongodb::{Feed, MongoDeployment, Options};
use backstay_source::{Capabilities, Namespace, Position, Records, Result, Source, Start, Tail, Topology};
use backstay_testkit::{Chance, generate, seed, soak};
use bson::{Document, doc};
use scenario::Stage;

fn streamed() -> Options {
    Options { feed: Feed::ChangeStreams, ..Options::default() }
}

/// The source as it is followed from now on.
async fn follow_by(stage: &mut Stage, feed: Feed) {
    let options = Options { uri: stage.source.uri(), feed, ..Options::default() };
    stage.from = MongoDeployment::connect(options).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_of_every_kind_come_back() {
    let Some(mut stage) = Stage::with(&[], streamed()).await else { return };
    let put = async |stage: &Stage, name: &str, from: i32| {
        let documents = (from..from + 5).map(|n| doc! { "_id": n, "n": { "of": n }, "l": [n] });
        stage.database("shop").collection::<Document>(name).insert_many(documents).await.unwrap();
    };
    put(&stage, "a", 0).await;
    stage.run("shop", doc! { "create": "v1", "viewOn": "a", "pipeline": [{ "$match": { "_id": 1 } }] }).await;
    stage.backup().await;
    stage.moment("the base").await;
    stage.run("shop", doc! { "create": "c", "capped": true, "size": 4096, "max": 7 }).await;
    put(&stage, "c", 0).await;
    put(&stage, "c", 10).await;
    stage.run("shop", doc! { "create": "clustered", "clusteredIndex": { "key": { "_id": 1 }, "unique": true } }).await;
    stage
        .run(
            "shop",
            doc! { "create": "collated", "collation": { "locale": "de" }, "validator": { "n": { "$exists": true } } },
        )
        .await;
    put(&stage, "collated", 0).await;
    stage.moment("made").await;
    let index = |keys: Document, name: &str| doc! { "key": keys, "name": name };
    let indexes =
        [index(doc! { "n.of": 1 }, "one"), index(doc! { "l": -1, "n": 1 }, "two"), index(doc! { "x": "text" }, "text")];
    stage.run("shop", doc! { "createIndexes": "a", "indexes": indexes.to_vec() }).await;
    stage.run("shop", doc! { "createIndexes": "empty", "indexes": [index(doc! { "e": 1 }, "e")] }).await;
    stage.moment("indexes").await;
    stage.run("shop", doc! { "collMod": "a", "index": { "name": "one", "hidden": true } }).await;
    stage.run("shop", doc! { "collMod": "collated", "validator": {}, "validationLevel": "moderate" }).await;
    stage.run("shop", doc! { "dropIndexes": "a", "index": ["two"] }).await;
    stage.moment("changed").await;
    stage.run("shop", doc! { "dropIndexes": "a", "index": "*" }).await;
    stage
        .run("shop", doc! { "create": "v2", "viewOn": "v1", "pipeline": [], "collation": { "locale": "simple" } })
        .await;
    stage.run("shop", doc! { "collMod": "v1", "viewOn": "a", "pipeline": [{ "$match": { "_id": 2 } }] }).await;
    stage.run("other", doc! { "create": "v", "viewOn": "nothing", "pipeline": [] }).await;
    stage.moment("views").await;
    stage.run("shop", doc! { "drop": "v1" }).await;
    stage.run("admin", doc! { "renameCollection": "shop.a", "to": "shop.b" }).await;
    put(&stage, "a", 50).await;
    stage.run("admin", doc! { "renameCollection": "shop.a", "to": "shop.b", "dropTarget": true }).await;
    stage.run("admin", doc! { "renameCollection": "shop.b", "to": "third.b" }).await;
    stage.run("third", doc! { "convertToCapped": "b", "size": 8192 }).await;
    stage.moment("renamed").await;
    stage.run("shop", doc! { "aggregate": "collated", "pipeline": [{ "$out": "sums" }], "cursor": {} }).await;
    stage.run("shop", doc! { "create": "weather", "timeseries": { "timeField": "t", "metaField": "m" } }).await;
    let weather = stage.database("shop").collection::<Document>("weather");
    for n in 0..20 {
        let t = bson::DateTime::from_millis(1_700_000_000_000 + n * 60_000);
        weather.insert_one(doc! { "t": t, "m": n % 3, "v": n }).await.unwrap();
    }
    stage.moment("a time series").await;
    stage.run("other", doc! { "dropDatabase": 1 }).await;
    stage.run("third", doc! { "dropDatabase": 1 }).await;
    stage.moment("two databases dropped").await;
    stage.run("other", doc! { "create": "v", "viewOn": "x", "pipeline": [] }).await;
    stage.run("shop", doc! { "drop": "sums" }).await;
    stage.moment("and one made again").await;
    stage.check_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_views_of_a_dropped_database_stay_gone_when_it_is_made_again() {
    let Some(mut stage) = Stage::with(&[], streamed()).await else { return };
    let orders = stage.database("shop").collection::<Document>("orders");
    let view = |name: &str, n: i32| doc! { "create": name, "viewOn": "orders", "pipeline": [{ "$match": { "n": n } }] };
    orders.insert_one(doc! { "_id": 0, "n": 0 }).await.unwrap();
    stage.run("shop", view("scanned", 0)).await;
    stage.run("shop", view("scanned too", 0)).await;
    stage.backup().await;
    stage.moment("the base").await;
    stage.run("shop", view("followed", 1)).await;
    stage.moment("one more").await;
    // Some of it is sorted when the database goes, and some is not.
    stage.capture().await;
    stage.compact().await;
    stage.run("shop", view("in the tails", 2)).await;
    stage.moment("two more").await;
    stage.run("shop", doc! { "dropDatabase": 1 }).await;
    stage.moment("dropped").await;
    orders.insert_one(doc! { "_id": 0, "n": 9 }).await.unwrap();
    stage.moment("a database without views").await;
    stage.run("shop", view("new", 3)).await;
    stage.run("shop", view("scanned too", 4)).await;
    stage.moment("with others").await;
    stage.capture().await;
    stage.run("shop", doc! { "dropDatabase": 1 }).await;
    orders.insert_one(doc! { "_id": 1, "n": 9 }).await.unwrap();
    stage.run("shop", view("followed", 5)).await;
    stage.moment("and again").await;
    stage.capture().await;
    assert_eq!(stage.backup().await.drift, Some(0));
    stage.check_all().await;
    // In place, to whenever there were views: backwards over the drops, and forwards again.
    for number in [5, 2, 1, 0, 6, 1, 5] {
        stage.capture().await;
        let moment = &stage.moments[number];
        assert!(stage.rewind(moment.at, Scope::default()).await.unwrap().proof.unwrap().equal);
        scenario::assert_same(&scenario::show(&stage.client).await, &moment.content, &moment.label);
    }
}

/// A source in which a view is made whenever somebody has listed what there is.
struct Busy(MongoDeployment, mongodb::Client);

#[async_trait]
impl Source for Busy {
    fn interpreter(&self) -> Arc<dyn Interpreter> {
        self.0.interpreter()
    }

    fn protection(&self) -> Protection {
        self.0.protection()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn discover(&self) -> Result<Topology> {
        self.0.discover().await
    }

    async fn position(&self) -> Result<Position> {
        self.0.position().await
    }

    async fn snapshot(&self) -> Result<Tick> {
        self.0.snapshot().await
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        let found = self.0.namespaces().await;
        let view = doc! { "create": "second", "viewOn": "orders", "pipeline": [] };
        self.1.database("shop").run_command(view).await.unwrap();
        found
    }

    async fn split(&self, namespace: &Namespace, bytes: u64) -> Result<Vec<IdRange>> {
        self.0.split(namespace, bytes).await
    }

    async fn scan(&self, namespace: &Namespace, range: &IdRange, at: Tick) -> Result<Box<dyn Records>> {
        Source::scan(&self.0, namespace, range, at).await
    }

    async fn tail(&self, start: Start) -> Result<Box<dyn Tail>> {
        self.0.tail(start).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_views_of_a_database_that_was_dropped_in_a_gap_stay_gone_though_others_come_while_it_is_scanned() {
    let Some(mut stage) = Stage::with(&[], streamed()).await else { return };
    let orders = stage.database("shop").collection::<Document>("orders");
    orders.insert_one(doc! { "_id": 0 }).await.unwrap();
    stage.run("shop", doc! { "create": "first", "viewOn": "orders", "pipeline": [] }).await;
    stage.backup().await;
    stage.moment("the first life").await;
    stage.capture().await;
    stage.run("shop", doc! { "dropDatabase": 1 }).await;
    orders.insert_one(doc! { "_id": 1 }).await.unwrap();
    // Other rules are a gap, and a scan.
    let tenants = vec![Rule { ns: "{id}.nothing".to_owned(), origin: Origin::Capture }];
    let options = Options { uri: stage.source.uri(), tenants, ..streamed() };
    stage.from = MongoDeployment::connect(options).await.unwrap();
    let busy = Busy(stage.from.clone(), stage.client.clone());
    let options = CaptureOptions { until: Until::Now, ..CaptureOptions::default() };
    assert_eq!(capture(stage.vault(), &busy, options, &Monitor::default()).await.unwrap().gaps, 1);
    stage.moment("the second").await;
    stage.check_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_under_other_tenant_rules_is_gone_on_from_also_when_it_is_among_the_first_events() {
    let rule = |ns: &str, origin| Rule { ns: ns.to_owned(), origin };
    let tenants = vec![rule("{id}.*", Origin::Capture)];
    let Some(mut stage) = Stage::with(&[], Options { tenants, ..streamed() }).await else { return };
    let a = stage.database("one").collection::<Document>("a");
    a.insert_one(doc! { "_id": 0 }).await.unwrap();
    stage.backup().await;
    // Nothing but what the server notes for itself lies before them.
    scenario::instant(&stage.client).await;
    a.insert_one(doc! { "_id": 1 }).await.unwrap();
    stage
        .run("one", doc! { "aggregate": "a", "pipeline": [{ "$out": { "db": "two", "coll": "b" } }], "cursor": {} })
        .await;
    stage.run("admin", doc! { "renameCollection": "one.a", "to": "two.a" }).await;
    stage.moment("renamed").await;
    stage.capture().await;
    assert_eq!(stage.vault().state().await.coverage().gaps, []);
    stage.check_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_of_every_instant_a_random_workload_is_what_the_server_says() {
    let parameters = &["maxNumberOfTransactionOperationsInSingleOplogEntry=3"];
    let Some(mut stage) = Stage::with(parameters, streamed()).await else { return };
    let seed = seed();
    println!("BACKSTAY_SEED={seed}");
    let mut chance = Chance(seed);
    let orders = stage.database("shop").collection::<Document>("orders");
    orders.insert_one(doc! { "_id": 0 }).await.unwrap();
    stage.backup().await;
    stage.moment("the base").await;
    let mut next = 0;
    for round in 0..80 * soak() {
        let mut session = stage.client.start_session().await.unwrap();
        session.start_transaction().await.unwrap();
        let mut whole = true;
        for _ in 0..=chance.below(9) {
            let at = i32::try_from(chance.below(next as usize + 1)).unwrap();
            let by_id = doc! { "_id": at };
            let done = match chance.below(5) {
                0 | 1 => {
                    next += 1;
                    let record = generate::update::record(&mut chance, next);
                    orders.insert_one(record).session(&mut session).await.map(drop)
                }
                2 => orders.delete_one(by_id).session(&mut session).await.map(drop),
                3 => {
                    let update = doc! { "$set": { "sub.q": chance.small() }, "$unset": { "b": 1 } };
                    orders.update_one(by_id, update).session(&mut session).await.map(drop)
                }
                _ => {
                    let update = doc! { "$push": { "list": chance.small() }, "$inc": { "counter": 1 } };
                    orders.update_many(doc! { "_id": { "$gt": at } }, update).session(&mut session).await.map(drop)
                }
            };
            if done.is_err() {
                whole = false;
                break;
            }
        }
        match whole && !chance.one_in(5) {
            true => session.commit_transaction().await.unwrap(),
            false => drop(session.abort_transaction().await),
        }
        orders
            .replace_one(doc! { "_id": -1 }, doc! { "round": i32::try_from(round).unwrap() })
            .upsert(true)
            .await
            .unwrap();
        if chance.one_in(15) {
            stage.capture().await;
        }
    }
    stage.moment("the end").await;
    stage.capture().await;
    let (from, to) = (stage.moments[0].at, stage.moments[1].at);
    stage.compare_every_instant(from, to, "shop", "orders").await;
    stage.check_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_goes_on_by_the_other_feed_after_a_scan() {
    let Some(mut stage) = Stage::open().await else { return };
    let orders = stage.database("shop").collection::<Document>("orders");
    orders.insert_many((0..50).map(|n| doc! { "_id": n, "n": n })).await.unwrap();
    stage.run("shop", doc! { "create": "few", "viewOn": "orders", "pipeline": [{ "$limit": 3 }] }).await;
    stage.backup().await;
    stage.moment("by the oplog, the base").await;
    orders.update_many(doc! {}, doc! { "$inc": { "n": 1 } }).await.unwrap();
    stage.moment("by the oplog").await;
    stage.capture().await;
    let gaps = async |stage: &Stage| stage.vault().state().await.coverage().gaps;
    for (feed, words) in [
        (Feed::ChangeStreams, "changes are followed by change-streams now"),
        (Feed::Oplog, "changes are no longer followed by change-streams"),
    ] {
        let before = gaps(&stage).await.len();
        follow_by(&mut stage, feed).await;
        // Seen by nobody yet: the scan finds it.
        orders.delete_one(doc! { "_id": before as i32 }).await.unwrap();
        stage.capture().await;
        let found = gaps(&stage).await;
        assert_eq!(found.len(), before + 1);
        assert!(found[before].cause.contains(words) && found[before].resumes.is_some(), "{:?}", found[before]);
        orders.update_many(doc! { "_id": { "$lt": 20 } }, doc! { "$set": { "by": words } }).await.unwrap();
        stage
            .run("shop", doc! { "collMod": "few", "viewOn": "orders", "pipeline": [{ "$match": { "by": words } }] })
            .await;
        stage.run("shop", doc! { "create": words, "viewOn": "few", "pipeline": [] }).await;
        stage.moment(words).await;
        stage.capture().await;
        assert_eq!(gaps(&stage).await.len(), before + 1, "once is enough");
    }
    stage.check_all().await;
    // In place, to a time of the other feed.
    let moment = &stage.moments[2];
    assert!(stage.rewind(moment.at, Scope::default()).await.unwrap().proof.unwrap().equal);
    scenario::assert_same(&scenario::show(&stage.client).await, &moment.content, "in place");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_stream_keeps_quiet_about_is_told_or_found_by_a_scan() {
    let include = vec!["*".to_owned(), "admin.system.users".to_owned()];
    let Some(mut stage) = Stage::with(&[], Options { include, ..streamed() }).await else { return };
    let orders = stage.database("shop").collection::<Document>("orders");
    orders.insert_one(doc! { "_id": 0 }).await.unwrap();
    stage.run("shop", doc! { "createUser": "ann", "pwd": "secret", "roles": [] }).await;
    stage.backup().await;
    // Users: there, and not to be had. The rest is.
    stage.run("shop", doc! { "createUser": "bob", "pwd": "secret", "roles": [] }).await;
    orders.insert_one(doc! { "_id": 1 }).await.unwrap();
    stage.moment("one").await;
    stage.capture().await;
    let named = std::sync::Arc::new(|name: &str| name == "admin.system.users");
    let users = Scope { namespaces: Some(named.clone()), named: Some(named), ..Scope::default() };
    match stage.restore(stage.moments[0].at, users).await {
        Err(Error::Archive(backstay_archive::Error::Untold { name, why, .. })) => {
            assert_eq!((name.as_str(), why.contains("users and roles")), ("admin.system.users", true), "{why}");
        }
        other => panic!("{other:?}"),
    }
    stage.check(&stage.moments[0], "beside the users").await;
    // An atomic `applyOps`: the scan finds what it wrote.
    let insert = |id: i32| doc! { "op": "i", "ns": "shop.orders", "o": { "_id": id } };
    stage.run("admin", doc! { "applyOps": [insert(7), insert(8)] }).await;
    assert_eq!(stage.backup().await.drift, Some(2));
    stage.moment("found").await;
    stage.capture().await;
    stage.check(&stage.moments[1], "after the scan").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_no_reply_can_hold_is_a_gap() {
    let Some(mut stage) = Stage::with(&[], streamed()).await else { return };
    let orders = stage.database("shop").collection::<Document>("orders");
    orders.insert_one(doc! { "_id": 0 }).await.unwrap();
    stage.backup().await;
    stage.moment("before").await;
    stage.capture().await;
    // Its id stands twice in the oplog entry, and twice more in the event's token, in hexadecimal.
    let (id, pad) = ("i".repeat(100_000), "x".repeat(16_690_000 - 100_000 - 200));
    orders.insert_one(doc! { "_id": id, "pad": pad }).await.unwrap();
    stage.capture().await;
    let gaps = stage.vault().state().await.coverage().gaps;
    assert!(gaps.len() == 1 && gaps[0].cause.contains("more than 16 MiB") && gaps[0].resumes.is_some(), "{gaps:?}");
    orders.insert_one(doc! { "_id": 2 }).await.unwrap();
    stage.moment("after").await;
    stage.check_all().await;
}

/// Lets the server refuse the next `times` of these commands of the program, for a reason that is no reason of anybody's.
async fn refuse(stage: &Stage, commands: &[&str], times: i32) {
    const GRAPH_CONTAINS_CYCLE: i32 = 5;
    let data = doc! { "failCommands": commands.to_vec(), "errorCode": GRAPH_CONTAINS_CYCLE, "appName": "backstay" };
    stage.run("admin", doc! { "configureFailPoint": "failCommand", "mode": { "times": times }, "data": data }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_no_stream_opens_at_is_a_gap_and_a_server_that_opens_none_is_an_error() {
    let Some(mut stage) = Stage::with(&["enableTestCommands=1"], streamed()).await else { return };
    let orders = stage.database("shop").collection::<Document>("orders");
    orders.insert_one(doc! { "_id": 0 }).await.unwrap();
    stage.backup().await;
    orders.insert_one(doc! { "_id": 1 }).await.unwrap();
    stage.moment("before").await;
    stage.capture().await;
    let gaps = async |stage: &Stage| stage.vault().state().await.coverage().gaps;
    // No stream at all: nothing is lost, and it is said what to look at.
    refuse(&stage, &["aggregate"], 1000).await;
    orders.insert_one(doc! { "_id": 2 }).await.unwrap();
    stage.moment("beside the error").await;
    let options = CaptureOptions { until: Until::Now, ..CaptureOptions::default() };
    let refused = capture(stage.vault(), &stage.from, options, &Monitor::default()).await;
    match refused {
        Err(Error::Source(backstay_source::Error::Refused { why, .. })) => {
            assert!(why.contains("opens no change stream") && why.contains("feed: oplog"), "{why}");
        }
        other => panic!("{other:?}"),
    }
    refuse(&stage, &[], 0).await;
    stage.capture().await;
    assert_eq!(gaps(&stage).await, []);
    // A cursor that ends for such a reason, and another that goes on from there.
    refuse(&stage, &["getMore"], 1).await;
    stage.run("admin", doc! { "appendOplogNote": 1, "data": {} }).await;
    stage.try_capture().await;
    assert_eq!(gaps(&stage).await, []);
    // Cursors that open, and never go on.
    refuse(&stage, &["getMore"], 1000).await;
    let options = CaptureOptions { until: Until::Cancelled, ..CaptureOptions::default() };
    let refused = capture(stage.vault(), &stage.from, options, &Monitor::default()).await;
    assert!(matches!(refused, Err(Error::Source(backstay_source::Error::Refused { .. }))), "{refused:?}");
    refuse(&stage, &[], 0).await;
    assert_eq!(gaps(&stage).await, []);
    // Not at this place, for each member and each place that is as good: at any other.
    orders.insert_one(doc! { "_id": 3 }).await.unwrap();
    refuse(&stage, &["aggregate"], 2).await;
    stage.capture().await;
    let found = gaps(&stage).await;
    assert!(found.len() == 1 && found[0].resumes.is_some(), "{found:?}");
    assert!(found[0].cause.contains("could not show what came after"), "{found:?}");
    orders.insert_one(doc! { "_id": 4 }).await.unwrap();
    stage.moment("after").await;
    stage.check_all().await;
}
