//! Scans of a real server: everything, in order, as of the instant asked for.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test at the edge: real clock, real server")]

use std::ops::Bound;

use anyhow::Result;
use backstay_model::{IdRange, Tick};
use backstay_mongodb::interpret::id_of;
use backstay_mongodb::{MongoDeployment, Options};
use backstay_source::{Error, Namespace, RecordBatch, Records, Source, Target};
use backstay_testkit::{ReplicaSet, require_mongod};
use bson::{Bson, Document, RawDocumentBuf, doc};
use futures::TryStreamExt as _;
use mongodb::Client;

struct Stage {
    set: ReplicaSet,
    client: Client,
    deployment: MongoDeployment,
}

async fn stage() -> Result<Option<Stage>> {
    if require_mongod().is_none() {
        return Ok(None);
    }
    let set = ReplicaSet::start(backstay_testkit::Options::default()).await?;
    let client = set.client().await?;
    let deployment = MongoDeployment::connect(Options { uri: set.uri(), ..Options::default() }).await?;
    Ok(Some(Stage { set, client, deployment }))
}

async fn namespace(deployment: &MongoDeployment, name: &str) -> Namespace {
    let all = Source::namespaces(deployment).await.unwrap();
    all.into_iter().find(|namespace| namespace.name == name).unwrap()
}

async fn all(mut records: Box<dyn Records>) -> backstay_source::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let (mut batch, mut found) = (RecordBatch::default(), Vec::new());
    while records.next(&mut batch).await? {
        found.extend(batch.iter().map(|(id, image)| (id.to_vec(), image.to_vec())));
    }
    Ok(found)
}

async fn server_has(client: &Client, database: &str, collection: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let cursor = client.database(database).collection::<RawDocumentBuf>(collection).find(doc! {}).await.unwrap();
    let documents: Vec<RawDocumentBuf> = cursor.try_collect().await.unwrap();
    let mut records: Vec<_> = documents.iter().map(|document| (id(document), document.as_bytes().to_vec())).collect();
    records.sort();
    records
}

fn id(document: &RawDocumentBuf) -> Vec<u8> {
    let mut id = Vec::new();
    id_of(document.as_bytes(), &mut id).unwrap();
    id
}

fn ids_of_every_kind() -> Vec<Bson> {
    let mut ids = vec![
        Bson::MinKey,
        Bson::Null,
        Bson::MaxKey,
        true.into(),
        false.into(),
        f64::NAN.into(),
        f64::NEG_INFINITY.into(),
        Bson::DateTime(bson::DateTime::from_millis(-5)),
        Bson::Timestamp(bson::Timestamp { time: 7, increment: 1 }),
        Bson::Decimal128("1.25".parse().unwrap()),
        Bson::JavaScriptCode("f()".into()),
    ];
    for n in -20i32..20 {
        ids.push(n.into());
        ids.push(Bson::Double(f64::from(n) + 0.5));
        ids.push(format!("text{n}").into());
        ids.push(doc! { "a": n, "b": "x" }.into());
        ids.push(Bson::ObjectId(bson::oid::ObjectId::from_bytes([u8::try_from(n + 20).unwrap(); 12])));
        let bytes = vec![1; usize::try_from(n + 20).unwrap()];
        ids.push(Bson::Binary(bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes }));
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_finds_what_the_server_has_and_ranges_share_it_out() -> Result<()> {
    let Some(Stage { set: _set, client, deployment }) = stage().await? else { return Ok(()) };
    let mixed = client.database("shop").collection::<Document>("mixed");
    let pad = "x".repeat(3_000);
    mixed.insert_many(ids_of_every_kind().into_iter().map(|id| doc! { "_id": id, "pad": &pad })).await?;
    let at = deployment.snapshot().await?;
    let namespace = namespace(&deployment, "shop.mixed").await;
    let expected = server_has(&client, "shop", "mixed").await;
    let whole = all(Source::scan(&deployment, &namespace, &IdRange::all(), at).await?).await?;
    assert!(whole == expected, "{} records instead of {}", whole.len(), expected.len());

    for bytes in [10_000, 100_000, 100_000_000] {
        let ranges = deployment.split(&namespace, bytes).await?;
        let mut parts = Vec::new();
        for range in &ranges {
            let part = all(Source::scan(&deployment, &namespace, range, at).await?).await?;
            let within = expected.iter().filter(|(id, _)| range.contains(id));
            assert!(part.iter().eq(within.clone()), "{range:?}: {} instead of {}", part.len(), within.count());
            parts.extend(part);
        }
        assert!(parts == expected, "{} ranges of {bytes}", ranges.len());
        assert_eq!(ranges.len() > 10, bytes == 10_000, "{}", ranges.len());
        assert_eq!(ranges.len() == 1, bytes == 100_000_000, "{}", ranges.len());
    }

    // Every id as every kind of bound.
    for (place, (id, _)) in expected.iter().enumerate() {
        let ranges = [
            (IdRange { from: Bound::Included(id.clone()), to: Bound::Unbounded }, &expected[place..]),
            (IdRange { from: Bound::Excluded(id.clone()), to: Bound::Unbounded }, &expected[place + 1..]),
            (IdRange { from: Bound::Unbounded, to: Bound::Included(id.clone()) }, &expected[..=place]),
            (IdRange { from: Bound::Unbounded, to: Bound::Excluded(id.clone()) }, &expected[..place]),
            (IdRange::only(id), &expected[place..=place]),
        ];
        for (range, expected) in ranges {
            let found = all(Source::scan(&deployment, &namespace, &range, at).await?).await?;
            assert!(found == expected, "{range:?}: {} instead of {}", found.len(), expected.len());
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_at_a_tick_sees_nothing_later_and_nothing_else() -> Result<()> {
    if backstay_testkit::require_mongod_since(5, 0).is_none() {
        return Ok(());
    }
    let Some(Stage { set: _set, client, deployment }) = stage().await? else { return Ok(()) };
    let orders = client.database("shop").collection::<Document>("orders");
    orders.insert_many((0..500).map(|n| doc! { "_id": n, "v": 1 })).await?;
    let namespace = namespace(&deployment, "shop.orders").await;
    let (at, before) = (deployment.snapshot().await?, server_has(&client, "shop", "orders").await);
    orders.update_many(doc! {}, doc! { "$set": { "v": 2 } }).await?;
    orders.delete_many(doc! { "_id": { "$lt": 100 } }).await?;
    orders.insert_one(doc! { "_id": 1000 }).await?;
    assert!(all(Source::scan(&deployment, &namespace, &IdRange::all(), at).await?).await? == before);
    let later = deployment.snapshot().await?;
    assert!(later > at);
    let now = all(Source::scan(&deployment, &namespace, &IdRange::all(), later).await?).await?;
    assert!(now == server_has(&client, "shop", "orders").await);

    let ancient = Tick::new(at.seconds() - 100_000, 1);
    let error = Source::scan(&deployment, &namespace, &IdRange::all(), ancient).await.err();
    assert!(matches!(error, Some(Error::SnapshotTooOld(_))), "{error:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_collection_of_the_same_name_is_not_taken_for_the_first() -> Result<()> {
    let Some(Stage { set: _set, client, deployment }) = stage().await? else { return Ok(()) };
    let orders = client.database("shop").collection::<Document>("orders");
    orders.insert_one(doc! { "_id": 1 }).await?;
    let namespace = namespace(&deployment, "shop.orders").await;
    orders.drop().await?;
    let at = deployment.snapshot().await?;
    let gone = Source::scan(&deployment, &namespace, &IdRange::all(), at).await;
    assert!(matches!(gone.err(), Some(Error::NamespaceChanged { .. })));
    orders.insert_one(doc! { "_id": 2 }).await?;
    let at = deployment.snapshot().await?;
    let other = Source::scan(&deployment, &namespace, &IdRange::all(), at).await;
    assert!(matches!(other.err(), Some(Error::NamespaceChanged { .. })));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn collations_and_clusters_are_read_in_the_order_of_ids() -> Result<()> {
    if backstay_testkit::require_mongod_since(6, 0).is_none() {
        return Ok(());
    }
    let Some(Stage { set: _set, client, deployment }) = stage().await? else { return Ok(()) };
    let shop = client.database("shop");
    shop.run_command(doc! { "create": "words", "collation": { "locale": "en" } }).await?;
    let clustered = doc! { "create": "clustered", "clusteredIndex": { "key": { "_id": 1 }, "unique": true } };
    shop.run_command(clustered).await?;
    for name in ["words", "clustered"] {
        let words = ["b", "B", "a", "A", "é", "z", "Z", "10", "9"];
        shop.collection::<Document>(name).insert_many(words.map(|word| doc! { "_id": word })).await?;
        let at = deployment.snapshot().await?;
        let full = format!("shop.{name}");
        let namespace = namespace(&deployment, &full).await;
        let expected = server_has(&client, "shop", name).await;
        let found = all(Source::scan(&deployment, &namespace, &IdRange::all(), at).await?).await?;
        assert!(found == expected, "{name}");
        let middle =
            IdRange { from: Bound::Excluded(expected[2].0.clone()), to: Bound::Included(expected[6].0.clone()) };
        let found = all(Source::scan(&deployment, &namespace, &middle, at).await?).await?;
        assert!(found == expected[3..=6], "{name}");
        let live = all(Target::scan(&deployment, &full, &middle, None).await?).await?;
        assert!(live == expected[3..=6], "{name}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_holds_every_acknowledged_write() -> Result<()> {
    let Some(Stage { mut set, client, deployment }) = stage().await? else { return Ok(()) };
    let orders = client.database("shop").collection::<Document>("orders");
    orders.insert_one(doc! { "_id": -1 }).await?;
    let namespace = namespace(&deployment, "shop.orders").await;
    for n in 0..20i32 {
        orders.insert_one(doc! { "_id": n }).await?;
        let at = deployment.snapshot().await?;
        let found = all(Source::scan(&deployment, &namespace, &IdRange::all(), at).await?).await?;
        assert_eq!(found.len(), usize::try_from(n)? + 2);
    }
    // Straight after a restart.
    client.clone().shutdown().await;
    set.restart().await?;
    let deployment = MongoDeployment::connect(Options { uri: set.uri(), ..Options::default() }).await?;
    let at = deployment.snapshot().await?;
    assert_eq!(all(Source::scan(&deployment, &namespace, &IdRange::all(), at).await?).await?.len(), 21);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_leave_out_the_servers_own_and_name_views() -> Result<()> {
    let Some(Stage { set, client, deployment }) = stage().await? else { return Ok(()) };
    let shop = client.database("shop");
    for n in 0..30 {
        shop.run_command(doc! { "create": format!("c{n:02}") }).await?;
    }
    shop.run_command(doc! { "create": "cheap", "viewOn": "c01", "pipeline": [] }).await?;
    client.database("other").run_command(doc! { "create": "x" }).await?;
    let names = |all: Vec<Namespace>| all.into_iter().map(|namespace| namespace.name).collect::<Vec<_>>();
    let found = names(Source::namespaces(&deployment).await?);
    let mut expected: Vec<String> = (0..30).map(|n| format!("shop.c{n:02}")).collect();
    expected.insert(0, "other.x".into());
    expected.push("shop.system.views".into());
    assert_eq!(found, expected);
    let include = vec!["shop.c0*".to_owned()];
    let some = MongoDeployment::connect(Options { uri: set.uri(), include, ..Options::default() }).await?;
    assert_eq!(Source::namespaces(&some).await?.len(), 10);
    assert_eq!(some.definitions().await?.len(), 32);
    let topology = some.discover().await?;
    assert!(topology.product.starts_with("MongoDB "), "{}", topology.product);
    assert_eq!((topology.streams, topology.identity.len()), (vec!["rs0".to_owned()], 24));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_is_told_at_once() -> Result<()> {
    let uri = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=500".to_owned();
    let error = MongoDeployment::connect(Options { uri, ..Options::default() }).await.err().unwrap();
    assert!(matches!(error, Error::Unavailable { .. }));
    let text = error.to_string();
    assert!(text.contains("127.0.0.1:1") && !text.contains("TopologyDescription") && !text.contains("Kind"), "{text}");
    for options in [
        Options { uri: "nonsense".into(), ..Options::default() },
        Options { uri: "mongodb://h/".into(), include: vec![String::new()], ..Options::default() },
    ] {
        let error = MongoDeployment::connect(options).await.err().unwrap();
        assert!(matches!(error, Error::Configuration { .. }), "{error}");
    }
    Ok(())
}
