//! A random workload with transactions on a real server: the records folded from its oplog are the records it holds.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use backstay_model::{BodyRef, Incarnation, Interpreter, TenantHint, Tick};
use backstay_mongodb::interpret::oplog::{Part, header};
use backstay_mongodb::interpret::scope::Include;
use backstay_mongodb::interpret::tenants::{Origin, Rule, Rules};
use backstay_mongodb::interpret::{MongoInterpreter, extjson, id_of};
use backstay_testkit::{Options, RandomServer, generate, soak};
use bson::raw::RawDocumentBuf;
use bson::{Document, doc};
use futures::TryStreamExt as _;
use mongodb::Client;

/// By incarnation and id.
type Records = BTreeMap<(u64, Vec<u8>), Vec<u8>>;

/// The records as the server holds them, by name and id.
async fn held(client: &Client) -> BTreeMap<(String, Vec<u8>), String> {
    let mut held = BTreeMap::new();
    for database in ["a", "b"] {
        for name in client.database(database).list_collection_names().await.unwrap() {
            let collection = client.database(database).collection::<RawDocumentBuf>(&name);
            let records: Vec<_> = collection.find(doc! {}).await.unwrap().try_collect().await.unwrap();
            for record in records {
                let mut id = Vec::new();
                id_of(record.as_bytes(), &mut id).unwrap();
                held.insert((format!("{database}.{name}"), id), extjson::document(record.as_bytes()).unwrap());
            }
        }
    }
    held
}

struct Folding {
    interpreter: MongoInterpreter,
    records: Records,
    definitions: BTreeMap<u64, Vec<u8>>,
    ordinals: BTreeMap<Tick, u32>,
    moved: usize,
}

impl Folding {
    fn play(&mut self, entry: &[u8], visible: Tick) {
        let first = self.ordinals.get(&visible).copied().unwrap_or(0);
        let (interpreter, records, definitions, moved) =
            (&self.interpreter, &mut self.records, &mut self.definitions, &mut self.moved);
        let used = interpreter.changes(entry, visible, first, &mut |change| {
            let mut out = Vec::new();
            if change.namespace == Incarnation::SYSTEM {
                let incarnation = Incarnation::from_record_id(change.id).unwrap().0;
                match change.body {
                    BodyRef::Image(image) => drop(definitions.insert(incarnation, image.to_vec())),
                    BodyRef::Tombstone => {
                        definitions.remove(&incarnation).unwrap();
                        records.retain(|(of, _), _| *of != incarnation);
                    }
                    BodyRef::Delta(operator, delta) => {
                        interpreter.fold(operator, &definitions[&incarnation], delta, &mut out).unwrap();
                        definitions.insert(incarnation, out);
                    }
                }
                return;
            }
            let key = (change.namespace.0, change.id.to_vec());
            let mut scratch = String::new();
            match change.body {
                BodyRef::Image(image) => drop(records.insert(key, image.to_vec())),
                BodyRef::Tombstone => drop(records.remove(&key).unwrap()),
                BodyRef::Delta(operator, delta) => {
                    let before = &records[&key];
                    interpreter.fold(operator, before, delta, &mut out).unwrap();
                    let old = interpreter.tenant(change.name, before, &mut scratch).to_owned();
                    let new = interpreter.tenant(change.name, &out, &mut scratch).to_owned();
                    match change.tenant {
                        TenantHint::Known(tenant) => assert_eq!(tenant.as_str(), new),
                        TenantHint::Kept => assert_eq!(old, new),
                        TenantHint::MayMove => *moved += usize::from(old != new),
                    }
                    records.insert(key, out);
                }
            }
        });
        let used = used.unwrap_or_else(|error| panic!("{error}: {}", extjson::document(entry).unwrap()));
        self.ordinals.insert(visible, first + used);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_folded_from_the_oplog_are_the_servers_records() {
    // Small entries make long chains of small transactions.
    let args = ["--setParameter", "maxNumberOfTransactionOperationsInSingleOplogEntry=3"].map(str::to_owned).to_vec();
    let Some(server) = RandomServer::start(Options { args, ..Options::default() }).await.unwrap() else { return };
    let RandomServer { client, mut chance, seed, set: _set } = server;
    for name in ["x", "y"] {
        client.database("a").create_collection(name).await.unwrap();
        client.database("b").create_collection(name).await.unwrap();
    }
    let mut next = 0;
    for round in 0..250 * soak() {
        let mut session = client.start_session().await.unwrap();
        session.start_transaction().await.unwrap();
        let mut whole = true;
        let times = chance.below(9) + 1;
        for _ in 0..times {
            let database = client.database(chance.pick(&["a", "b"]));
            let collection = database.collection::<Document>(chance.pick(&["x", "y"]));
            let at = chance.below(next as usize + 1) as i32;
            let done = match chance.below(5) {
                0 | 1 => {
                    next += 1;
                    let mut record = generate::update::record(&mut chance, next);
                    record.insert("tenant", chance.pick(&["t1", "t2", "t3"]));
                    collection.insert_one(record).session(&mut session).await.map(drop)
                }
                2 => collection.delete_one(doc! { "_id": at }).session(&mut session).await.map(drop),
                3 => {
                    let tenant = chance.pick(&["t1", "t2", "t3"]);
                    let update = doc! { "$set": { "tenant": tenant }, "$inc": { "counter": 1 } };
                    collection.update_one(doc! { "_id": at }, update).session(&mut session).await.map(drop)
                }
                _ => {
                    let update = doc! { "$push": { "list": chance.small() }, "$set": { "sub.q": chance.small() } };
                    collection.update_many(doc! { "_id": { "$gt": at } }, update).session(&mut session).await.map(drop)
                }
            };
            if done.is_err() {
                whole = false;
                break;
            }
        }
        if whole && !chance.one_in(6) {
            session.commit_transaction().await.unwrap();
        } else {
            let _ = session.abort_transaction().await;
        }
        if round % 50 == 49 {
            let admin = client.database("admin");
            admin.run_command(doc! { "renameCollection": "a.x", "to": "a.y", "dropTarget": true }).await.unwrap();
            client.database("a").create_collection("x").await.unwrap();
        }
        // Several inserts of one retryable command, and the same outside of a transaction.
        let many: Vec<Document> = (0..3).map(|n| doc! { "_id": next + 1 + n, "tenant": "t1" }).collect();
        next += 3;
        client.database("b").collection::<Document>("x").insert_many(many).await.unwrap();
    }
    // One for certain: a seed may move none.
    let moving = client.database("a").collection::<Document>("x");
    moving.insert_one(doc! { "_id": "moves", "tenant": "t1" }).await.unwrap();
    moving.update_one(doc! { "_id": "moves" }, doc! { "$set": { "tenant": "t2" } }).await.unwrap();

    let rules = Rules::compile([
        Rule { ns: "a.*".into(), origin: Origin::Field("tenant".into()) },
        Rule { ns: "{id}.*".into(), origin: Origin::Capture },
    ]);
    let interpreter = MongoInterpreter::new(Include::default(), rules.unwrap());
    let mut folding = Folding {
        interpreter,
        records: Records::new(),
        definitions: BTreeMap::new(),
        ordinals: BTreeMap::new(),
        moved: 0,
    };
    let oplog = client.database("local").collection::<RawDocumentBuf>("oplog.rs");
    let mut entries = oplog.find(doc! {}).await.unwrap();
    let mut open: BTreeMap<(Vec<u8>, i64), Vec<RawDocumentBuf>> = BTreeMap::new();
    let mut longest = 0;
    while let Some(entry) = entries.try_next().await.unwrap() {
        let header = header(entry.as_bytes()).unwrap();
        let key = header.transaction.map(|transaction| (transaction.lsid.to_vec(), transaction.number));
        match (header.part(), key) {
            (Part::Pending, Some(key)) => open.entry(key).or_default().push(entry.clone()),
            (Part::Committing, Some(key)) => {
                let before = open.remove(&key).unwrap_or_default();
                longest = longest.max(before.len() + 1);
                for part in before {
                    folding.play(part.as_bytes(), header.ts);
                }
                folding.play(entry.as_bytes(), header.ts);
            }
            (Part::None, _) => folding.play(entry.as_bytes(), header.ts),
            other => panic!("{other:?}"),
        }
    }
    let folded: BTreeMap<(String, Vec<u8>), String> = folding
        .records
        .iter()
        .map(|((incarnation, id), record)| {
            let name = folding.interpreter.describe(&folding.definitions[incarnation]).unwrap().name;
            ((name, id.clone()), extjson::document(record).unwrap())
        })
        .collect();
    let held = held(&client).await;
    println!("{} records, the longest chain {longest}, {} records moved to another tenant", held.len(), folding.moved);
    assert!(held.len() > 100 && longest > 2 && folding.moved > 0 && open.is_empty());
    assert!(folded == held, "BACKSTAY_SEED={seed}");
}
