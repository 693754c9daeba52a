//! A replica set whose members fail: what a primary alone holds is never taken for what is, and a feed that falls silent is
//! looked for elsewhere.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test at the edge: real clock, real server")]

use std::time::{Duration, Instant};

use backstay_model::{RecordBatch, Tick};
use backstay_mongodb::{MongoDeployment, Options, ReadFrom};
use backstay_source::{EntryBatch, Source, Start, Tail};
use backstay_testkit::{Passage, ReplicaSet, require_mongod};
use bson::{Document, doc};
use mongodb::Client;

const CALM: Duration = Duration::from_secs(60);

async fn three() -> Option<ReplicaSet> {
    require_mongod()?;
    let options = backstay_testkit::Options { members: 3, cache_gb: 0.25, doors: true, ..Default::default() };
    Some(ReplicaSet::start(options).await.unwrap())
}

/// Connected, and quick to notice that a member is gone.
async fn connect(set: &ReplicaSet, read: ReadFrom) -> MongoDeployment {
    connect_with(set, read, "").await
}

/// The same with more parameters of the connection string.
async fn connect_with(set: &ReplicaSet, read: ReadFrom, more: &str) -> MongoDeployment {
    let uri = format!("{}&heartbeatFrequencyMS=500&connectTimeoutMS=1000{more}", set.uri());
    MongoDeployment::connect(Options { uri, include: vec!["shop.*".to_owned()], read, ..Options::default() })
        .await
        .unwrap()
}

/// The number of the member that takes writes, and a client of it alone.
async fn primary(set: &ReplicaSet) -> (usize, Client) {
    let begun = Instant::now();
    loop {
        for member in 0..3 {
            let client = set.direct_client(member).await.unwrap();
            let hello = client.database("admin").run_command(doc! { "hello": 1 }).await.unwrap();
            if hello.get_bool("isWritablePrimary").unwrap() {
                return (member, client);
            }
        }
        assert!(begun.elapsed() < CALM, "there is no primary");
    }
}

async fn names(deployment: &MongoDeployment) -> Result<Vec<String>, backstay_source::Error> {
    Ok(deployment.namespaces().await?.into_iter().map(|namespace| namespace.name).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collection_that_is_rolled_back_is_never_listed() {
    let Some(mut set) = three().await else { return };
    let client = set.client().await.unwrap();
    client.database("shop").collection::<Document>("kept").insert_one(doc! { "_id": 1 }).await.unwrap();
    let deployment = connect(&set, ReadFrom::Primary).await;
    let kept = vec!["shop.kept".to_owned()];
    assert_eq!(names(&deployment).await.unwrap(), kept);
    // A primary notices after a second that it is alone; on a busy machine that may be before it was given anything.
    for attempt in 1..=5 {
        let (alone, direct) = primary(&set).await;
        let others: Vec<usize> = (0..3).filter(|member| *member != alone).collect();
        for other in &others {
            set.kill_member(*other).await.unwrap();
        }
        let create = doc! { "create": "lost", "writeConcern": { "w": 1, "j": true } };
        let created = direct.database("shop").run_command(create).await.is_ok();
        let listed = tokio::task::spawn({
            let deployment = connect_again(&deployment);
            async move { names(&deployment).await }
        });
        tokio::time::sleep(Duration::from_millis(200)).await;
        set.kill_member(alone).await.unwrap();
        for other in &others {
            set.start_member(*other).await.unwrap();
        }
        match listed.await.unwrap() {
            Ok(listed) => assert_eq!(listed, kept, "what no majority held was listed"),
            Err(error) => assert!(matches!(error, backstay_source::Error::Unavailable { .. }), "{error}"),
        }
        client.database("shop").collection::<Document>("kept").insert_one(doc! { "_id": 1 + attempt }).await.unwrap();
        set.start_member(alone).await.unwrap();
        set.wait_until_ready().await.unwrap();
        assert_eq!(names(&deployment).await.unwrap(), kept);
        if created {
            return;
        }
    }
    panic!("the primary never took a write that was lost");
}

/// The same deployment for another task.
fn connect_again(deployment: &MongoDeployment) -> MongoDeployment {
    deployment.as_protected_by(&deployment.protection()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn definitions_wait_for_a_majority_and_changes_of_records_do_not() {
    let Some(set) = three().await else { return };
    let client = set.client().await.unwrap();
    client.database("shop").collection::<Document>("kept").insert_one(doc! { "_id": 1 }).await.unwrap();
    let deployment = connect(&set, ReadFrom::Primary).await;
    // What the set changes for its own sake when it is new is done.
    assert_eq!(names(&deployment).await.unwrap(), ["shop.kept"]);
    // Members that are locked vote and take nothing in: the primary stays, and nobody has what it takes.
    let (first, direct) = primary(&set).await;
    let mut others = Vec::new();
    for member in (0..3).filter(|member| *member != first) {
        others.push(set.direct_client(member).await.unwrap().database("admin"));
    }
    for other in &others {
        other.run_command(doc! { "fsync": 1, "lock": true }).await.unwrap();
    }
    let shop = direct.database("shop");
    let one = doc! { "w": 1 };
    shop.run_command(doc! { "insert": "kept", "documents": [{ "_id": 2 }], "writeConcern": &one }).await.unwrap();
    assert_eq!(names(&deployment).await.unwrap(), ["shop.kept"]);
    shop.run_command(doc! { "create": "unsure", "writeConcern": &one }).await.unwrap();
    let error = names(&deployment).await.unwrap_err();
    assert!(error.to_string().contains("a majority of the members does not have that yet"), "{error}");
    for other in &others {
        other.run_command(doc! { "fsyncUnlock": 1 }).await.unwrap();
    }
    assert_eq!(names(&deployment).await.unwrap(), ["shop.kept", "shop.unsure"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_a_fault_cuts_short_is_asked_again() {
    let Some(set) = three().await else { return };
    let client = set.client().await.unwrap();
    client.database("shop").collection::<Document>("kept").insert_one(doc! { "_id": 1 }).await.unwrap();
    let deployment = connect(&set, ReadFrom::Asked).await;
    for _ in 0..3 {
        assert_eq!(names(&deployment).await.unwrap(), ["shop.kept"]);
        (0..3).for_each(|member| set.door(member).unwrap().set(Passage::Cut, Passage::Open));
        let (listed, ()) = tokio::join!(names(&deployment), async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            (0..3).for_each(|member| set.door(member).unwrap().set(Passage::Open, Passage::Open));
        });
        assert_eq!(listed.unwrap(), ["shop.kept"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_is_being_built_is_not_there_yet() {
    let Some(mut set) = three().await else { return };
    let client = set.client().await.unwrap();
    let records = client.database("shop").collection::<Document>("records");
    records.insert_many((0..20).map(|n| doc! { "_id": n, "n": n })).await.unwrap();
    let deployment = connect(&set, ReadFrom::Asked).await;
    let (first, _) = primary(&set).await;
    // A build is only committed when every voting member is done with it.
    let away = (first + 1) % 3;
    set.kill_member(away).await.unwrap();
    let definition = async || deployment.namespaces().await.unwrap().remove(0).definition;
    let before = definition().await;
    let building = {
        let shop = client.database("shop");
        let index = doc! { "createIndexes": "records", "indexes": [{ "key": { "n": 1 }, "name": "n_1" }] };
        tokio::task::spawn(async move { shop.run_command(index).await })
    };
    let begun = Instant::now();
    let list = doc! { "listIndexes": "records" };
    while client.database("shop").run_command(list.clone()).await.unwrap().to_string().matches("n_1").count() == 0 {
        assert!(begun.elapsed() < CALM, "the build does not begin");
    }
    assert!(definition().await == before, "an index that is being built counts");
    set.start_member(away).await.unwrap();
    building.await.unwrap().unwrap();
    assert!(definition().await != before, "an index that was built does not count");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_falls_silent_is_read_from_another_member() {
    let Some(set) = three().await else { return };
    let client = set.client().await.unwrap();
    let records = client.database("shop").collection::<Document>("records");
    records.insert_one(doc! { "_id": 0 }).await.unwrap();
    let deployment = connect(&set, ReadFrom::Asked).await;
    let start = deployment.position().await.unwrap().committed;
    let mut tail = deployment.tail(Start { resume: start, through: start }).await.unwrap();
    records.insert_one(doc! { "_id": 1 }).await.unwrap();
    read_through(tail.as_mut(), deployment.snapshot().await.unwrap()).await;

    // Whichever secondary it is: its connections stand, and nothing comes any more.
    let (first, direct) = primary(&set).await;
    for member in (0..3).filter(|member| *member != first) {
        set.door(member).unwrap().set(Passage::Silent, Passage::Open);
    }
    let insert = doc! { "insert": "records", "documents": [{ "_id": 2 }], "writeConcern": { "w": "majority" } };
    let reply = direct.database("shop").run_command(insert).await.unwrap();
    let written = reply.get_timestamp("operationTime").unwrap();
    read_through(tail.as_mut(), Tick::new(written.time, written.increment)).await;
}

/// A secondary, which gets the tag `use: backup`.
async fn tagged_secondary(set: &ReplicaSet, client: &Client) -> usize {
    let (first, _) = primary(set).await;
    let tagged = (first + 1) % 3;
    let admin = client.database("admin");
    let reply = admin.run_command(doc! { "replSetGetConfig": 1 }).await.unwrap();
    let mut config = reply.get_document("config").unwrap().clone();
    config.insert("version", config.get_i32("version").unwrap() + 1);
    let member = config.get_array_mut("members").unwrap()[tagged].as_document_mut().unwrap();
    member.insert("tags", doc! { "use": "backup" });
    // It stays a secondary whatever happens to the others.
    member.insert("priority", 0);
    admin.run_command(doc! { "replSetReconfig": config }).await.unwrap();
    tagged
}

const TAGGED: &str = "&readPreference=secondaryPreferred&readPreferenceTags=use:backup&maxStalenessSeconds=120";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_read_from_the_member_that_the_connection_string_asks_for() {
    let Some(set) = three().await else { return };
    let client = set.client().await.unwrap();
    let records = client.database("shop").collection::<Document>("records");
    records.insert_many((0..100).map(|n| doc! { "_id": n })).await.unwrap();
    let tagged = tagged_secondary(&set, &client).await;
    let deployment = connect_with(&set, ReadFrom::Asked, TAGGED).await;
    let namespace = deployment.namespaces().await.unwrap().remove(0);
    let at = deployment.snapshot().await.unwrap();
    let questions = async || {
        let mut asked = Vec::new();
        for member in 0..3 {
            let admin = set.direct_client(member).await.unwrap().database("admin");
            let status = admin.run_command(doc! { "serverStatus": 1 }).await.unwrap();
            asked.push(status.get_document("opcounters").unwrap().get("query").cloned());
        }
        asked
    };
    let before = questions().await;
    for _ in 0..5 {
        let mut scan = deployment.scan_unordered(&namespace, at).await.unwrap();
        let (mut batch, mut seen) = (RecordBatch::default(), 0);
        while scan.next(&mut batch).await.unwrap() {
            seen += batch.len();
        }
        assert_eq!(seen, 100);
    }
    let after = questions().await;
    for member in 0..3 {
        assert_eq!(
            before[member] != after[member],
            member == tagged,
            "member {member} of {tagged}: {before:?} {after:?}"
        );
    }
}

/// The member copies the data anew: its oplog begins later than the feed stands, and for a while it has none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_synchronised_anew_costs_the_feed_nothing() {
    let Some(mut set) = three().await else { return };
    let client = set.client().await.unwrap();
    let records = client.database("shop").collection::<Document>("records");
    records.insert_one(doc! { "_id": 0 }).await.unwrap();
    let tagged = tagged_secondary(&set, &client).await;
    let deployment = connect_with(&set, ReadFrom::Asked, TAGGED).await;
    let begun = deployment.position().await.unwrap().committed;
    let start = Start { resume: begun, through: begun };
    let mut tail = deployment.tail(start).await.unwrap();
    records.insert_one(doc! { "_id": 1 }).await.unwrap();
    let mut entries = read_through(tail.as_mut(), deployment.snapshot().await.unwrap()).await;
    set.empty_member(tagged).await.unwrap();
    records.insert_one(doc! { "_id": 2 }).await.unwrap();
    entries += read_through(tail.as_mut(), deployment.snapshot().await.unwrap()).await;
    set.wait_until_ready().await.unwrap();
    records.insert_one(doc! { "_id": 3 }).await.unwrap();
    let end = deployment.snapshot().await.unwrap();
    entries += read_through(tail.as_mut(), end).await;
    assert_eq!(entries, 3, "each insert once");

    // Whoever begins at a place that the member does not hold any more reads it from another.
    let mut again = deployment.tail(start).await.unwrap();
    assert_eq!(read_through(again.as_mut(), end).await, 3);
}

/// Reads on, and counts the entries of records.
async fn read_through(tail: &mut dyn Tail, until: Tick) -> usize {
    let (begun, mut through, mut inserts) = (Instant::now(), Tick::ZERO, 0);
    let mut batch = EntryBatch::default();
    while through < until {
        assert!(begun.elapsed() < CALM, "the feed stands at {through}, before {until}");
        tail.next(&mut batch).await.unwrap();
        through = batch.through;
        let is_insert = |raw: &[u8]| Document::from_reader(raw).unwrap().get_str("op").is_ok_and(|op| op == "i");
        inserts += batch.iter().filter(|(_, raw)| is_insert(raw)).count();
    }
    inserts
}
