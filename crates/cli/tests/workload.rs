//! Whole random workloads on a real replica set, followed while they run, and brought back as of random instants: what
//! comes back is what the server itself answered at that cluster time, byte for byte, and what it said of its
//! collections and indexes right then.
//!
//! ```text
//!   main loop   documents of every kind, transactions, definitions, moves between tenants       seeded
//!   beside it   two writers; backup in the middle; capture, killed and started again; compact
//!   instants    a cluster time, the server's snapshot read at it, its definitions
//! ```
//!
//! `BACKSTAY_SEED` runs one seed, `BACKSTAY_SOAK` many more.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test takes a new seed each time")]

#[path = "../../mongodb/tests/generate/mod.rs"]
mod generate;
#[path = "../../mongodb/tests/generate/update.rs"]
mod random_update;
mod shop;
mod witness;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use backstay_testkit::{Backstay, Options, ReplicaSet, Running, Signal, require_mongod};
use bson::{Bson, Document, Timestamp, doc};
use generate::Chance;
use mongodb::options::ReturnDocument;
use mongodb::{Client, ClientSession};
use serde_json::Value;
use witness::{Content, as_of, assert_same, definitions, instant, text};

const DATABASES: &[&str] = &["shop", "tenant_a", "tenant_b"];
const NAMES: &[&str] = &["c0", "c1", "c2", "c.3"];
const TENANTS: &[&str] = &["t1", "t2", "t3"];
/// What the writers beside the main loop write: documents of their own tenants.
const WRITERS: &[&str] = &["w1", "w2"];
const STEPS: usize = 260;
/// Instants that are brought back, for each seed.
const RESTORED: usize = 5;

type Definitions = BTreeMap<String, (Document, Vec<Document>)>;

/// An instant, and what the server said of it.
struct Moment {
    at: Timestamp,
    content: Content,
    definitions: Definitions,
}

struct Workload {
    client: Client,
    uri: String,
    program: Backstay,
    chance: Chance,
    next: i32,
    capture: Option<Running>,
    backed_up: bool,
    moments: Vec<Moment>,
    rewinds: usize,
    /// How many steps the server refused: a validator, a unique index, a name that is taken.
    refused: usize,
    kinds: BTreeMap<usize, usize>,
}

impl Workload {
    fn database(&mut self) -> &'static str {
        self.chance.pick(&["shop", "shop", "shop", "tenant_a", "tenant_b"])
    }

    fn place(&mut self) -> (&'static str, &'static str) {
        (self.database(), self.chance.pick(NAMES))
    }

    fn collection(&self, (database, name): (&str, &str)) -> mongodb::Collection<Document> {
        self.client.database(database).collection(name)
    }

    fn id(&mut self) -> Bson {
        let number = 1 + i32::try_from(self.chance.below(usize::try_from(self.next).unwrap() + 1)).unwrap();
        odd_id(number)
    }

    fn document(&mut self) -> Document {
        self.next += 1;
        let mut document = random_update::record(&mut self.chance, self.next);
        document.insert("_id", odd_id(self.next));
        document.insert("u", self.next);
        if !self.chance.one_in(12) {
            document.insert("tenant", self.chance.pick(TENANTS));
        }
        document
    }

    async fn step(&mut self) {
        let kind = self.chance.below(40);
        let done = match kind {
            0..=19 => self.change().await,
            20..=23 => self.transaction().await,
            24..=29 => self.define().await,
            30..=33 => self.update_by_command().await,
            _ => self.many().await,
        };
        *self.kinds.entry(kind / 4).or_default() += 1;
        self.refused += usize::from(done.is_err());
    }

    /// One document.
    async fn change(&mut self) -> mongodb::error::Result<()> {
        let place = self.place();
        let (collection, id) = (self.collection(place), self.id());
        match self.chance.below(8) {
            0..=3 => collection.insert_one(self.document()).await.map(drop),
            4 => collection.delete_one(doc! { "_id": id }).await.map(drop),
            5 => {
                let mut document = self.document();
                document.remove("_id");
                collection.replace_one(doc! { "_id": id }, document).await.map(drop)
            }
            6 => {
                let update = doc! { "$set": { "tenant": self.chance.pick(TENANTS) }, "$inc": { "moves": 1 } };
                collection.update_one(doc! { "_id": id }, update).upsert(self.chance.one_in(4)).await.map(drop)
            }
            _ if self.chance.one_in(2) => collection.find_one_and_delete(doc! { "_id": id }).await.map(drop),
            _ => {
                let update = doc! { "$push": { "found": self.chance.small() }, "$unset": { "gone": 1 } };
                let found = collection.find_one_and_update(doc! { "_id": id }, update);
                found.return_document(ReturnDocument::After).await.map(drop)
            }
        }
    }

    /// Updates of every operator, pipelines and replacements.
    async fn update_by_command(&mut self) -> mongodb::error::Result<()> {
        let (database, name) = self.place();
        let collection = self.collection((database, name));
        let pattern = doc! { "$sample": { "size": 6 } };
        let mut cursor = collection.aggregate([pattern]).await?;
        let mut updates = Vec::new();
        while cursor.advance().await? {
            let current: Document = bson::deserialize_from_slice(cursor.current().as_bytes())?;
            let number = current.get_i32("u").unwrap_or(1);
            let mut update = random_update::update(&mut self.chance, number, &current);
            // The generator's own ids are plain numbers.
            if let Ok(query) = update.get_document_mut("q") {
                query.insert("_id", current.get("_id").unwrap());
            }
            if let Ok(replacement) = update.get_document_mut("u")
                && replacement.keys().next().is_some_and(|key| !key.starts_with('$'))
            {
                replacement.remove("_id");
                replacement.insert("u", number);
                replacement.insert("tenant", self.chance.pick(TENANTS));
            }
            updates.push(update);
        }
        if updates.is_empty() {
            return Ok(());
        }
        let update = doc! { "update": name, "updates": updates, "ordered": false };
        self.client.database(database).run_command(update).await.map(drop)
    }

    /// Many documents in one command.
    async fn many(&mut self) -> mongodb::error::Result<()> {
        let place = self.place();
        let collection = self.collection(place);
        let from = i32::try_from(self.chance.below(usize::try_from(self.next).unwrap() + 1)).unwrap();
        let some = doc! { "u": { "$gte": from, "$lt": from + 30 } };
        match self.chance.below(5) {
            0 => {
                let documents: Vec<Document> = (0..1 + self.chance.below(40)).map(|_| self.document()).collect();
                collection.insert_many(documents).ordered(false).await.map(drop)
            }
            1 => collection.delete_many(some).await.map(drop),
            2 => {
                let update = doc! { "$inc": { "n2": 1 }, "$set": { "sub.z": self.chance.small() } };
                collection.update_many(some, update).await.map(drop)
            }
            3 => {
                let stages = vec![doc! { "$set": { "tenant": self.chance.pick(TENANTS), "was": "$tenant" } }];
                collection.update_many(some, stages).await.map(drop)
            }
            _ => collection.update_many(some, vec![doc! { "$unset": "str" }]).await.map(drop),
        }
    }

    /// Several documents of several collections at one instant, or not at all.
    async fn transaction(&mut self) -> mongodb::error::Result<()> {
        let mut session = self.client.start_session().await?;
        session.start_transaction().await?;
        let done = self.in_transaction(&mut session).await;
        match done.is_ok() && !self.chance.one_in(4) {
            true => session.commit_transaction().await,
            false => session.abort_transaction().await.and(done),
        }
    }

    async fn in_transaction(&mut self, session: &mut ClientSession) -> mongodb::error::Result<()> {
        for _ in 0..1 + self.chance.below(9) {
            let (place, id) = (self.place(), self.id());
            let collection = self.collection(place);
            match self.chance.below(4) {
                0 | 1 => collection.insert_one(self.document()).session(&mut *session).await.map(drop)?,
                2 => collection.delete_one(doc! { "_id": id }).session(&mut *session).await.map(drop)?,
                _ => {
                    let update = doc! { "$set": { "tenant": self.chance.pick(TENANTS) }, "$inc": { "tx": 1 } };
                    let some = doc! { "u": { "$lt": self.chance.small() * 9 } };
                    collection.update_many(some, update).session(&mut *session).await.map(drop)?;
                }
            }
        }
        Ok(())
    }

    /// Collections, indexes, views.
    async fn define(&mut self) -> mongodb::error::Result<()> {
        let (database, name) = self.place();
        let handle = self.client.database(database);
        let command = match self.chance.below(16) {
            0 => doc! { "create": name },
            1 => doc! { "create": name, "collation": { "locale": "de", "strength": 2 } },
            2 => doc! { "create": name, "validator": { "n": { "$exists": true } }, "validationAction": "warn" },
            3 => {
                doc! { "create": format!("view_{name}"), "viewOn": name, "pipeline": [{ "$match": { "tenant": "t1" } }] }
            }
            4 => doc! { "collMod": name, "validator": { "$jsonSchema": { "required": ["_id"] } } },
            5 => doc! { "drop": name },
            6 => doc! { "drop": format!("view_{name}") },
            7 => doc! { "dropIndexes": name, "index": "*" },
            8 => doc! { "dropIndexes": name, "index": "n_1" },
            9 => index(name, doc! { "key": { "n": 1 }, "name": "n_1" }),
            10 => index(
                name,
                doc! { "key": { "u": 1, "tenant": -1 }, "name": "unique", "unique": true, "partialFilterExpression": { "u": { "$gt": 0 } } },
            ),
            11 => index(name, doc! { "key": { "when": 1 }, "name": "ttl", "expireAfterSeconds": 100_000_000 }),
            12 => {
                index(name, doc! { "key": { "str": 1 }, "name": "fr", "collation": { "locale": "fr" }, "sparse": true })
            }
            13 => doc! { "collMod": name, "index": { "name": "ttl", "expireAfterSeconds": 200_000_000 } },
            14 => {
                let (to, to_database) = (self.chance.pick(NAMES), self.database());
                let (from, to) = (format!("{database}.{name}"), format!("{to_database}.{to}"));
                let rename = doc! { "renameCollection": from, "to": to, "dropTarget": self.chance.one_in(2) };
                return self.client.database("admin").run_command(rename).await.map(drop);
            }
            _ if self.chance.one_in(6) => doc! { "dropDatabase": 1 },
            _ => doc! { "create": name },
        };
        handle.run_command(command).await.map(drop)
    }

    // ------------------------------------------------------------------------------------- what runs beside it

    fn json(&self, args: &[&str]) -> Value {
        self.program.run([args, &["--json"]].concat()).unwrap().ok().json()
    }

    /// Starts capture, stops it or kills it, or compacts.
    fn operate(&mut self) {
        let running = self.capture.take();
        self.capture = match (running, self.chance.below(4)) {
            (None, _) => Some(self.program.spawn(["capture", "shop"]).unwrap()),
            (Some(mut running), 0) => {
                running.signal(Signal::Terminate).unwrap();
                // 143: the signal came before the program had begun to listen for it.
                let run = running.wait(Duration::from_secs(60)).unwrap();
                assert!(run.code == 0 || run.code == 143, "{run:?}");
                None
            }
            (Some(running), 1) => {
                running.kill().unwrap();
                None
            }
            (Some(mut running), 2) => {
                assert!(!running.has_ended().unwrap(), "capture ended by itself: {}", running.stderr());
                self.json(&["compact", "shop"]);
                Some(running)
            }
            (running, _) => running,
        };
    }

    async fn remember(&mut self) {
        // The writers make a collection by writing into it: an instant counts when nothing was made or dropped around it.
        let (now, at) = loop {
            let before = definitions(&self.client, DATABASES).await;
            let at = instant(&self.client).await;
            if definitions(&self.client, DATABASES).await == before {
                break (before, at);
            }
        };
        let collections: Vec<String> = now
            .iter()
            .filter(|(_, (entry, _))| entry.get_str("type").unwrap() == "collection")
            .map(|(name, _)| name.clone())
            .collect();
        let content = as_of(&self.client, &collections, at).await;
        self.moments.push(Moment { at, content, definitions: now });
    }

    /// Rewinds one tenant to an instant that is covered, while the writers go on.
    async fn rewind(&mut self) {
        let from = self.moments.len() - 1 - self.chance.below(self.moments.len().min(3));
        let tenant = self.chance.pick(TENANTS);
        let at = text(self.moments[from].at);
        let args =
            ["restore", "shop", "--at", &at, "--tenant", tenant, "--ns", "shop.*", "--in-place", "--yes", "--json"];
        let run = self.program.run(args).unwrap();
        let nothing = run.code == 1 && run.stdout.contains("no namespace that existed");
        if nothing || run.code == 2 && run.stdout.contains("tenant") {
            return;
        }
        let report = run.ok().json();
        assert_eq!(report["proof"]["equal"], true, "{report}");
        assert_eq!(report["skipped"], 0, "{report}");
        self.rewinds += 1;
        let moment = &self.moments[from];
        let names: Vec<String> = moment.definitions.keys().filter(|name| name.starts_with("shop.c")).cloned().collect();
        let now = as_of(&self.client, &names, instant(&self.client).await).await;
        let nobody = Vec::new();
        for name in &names {
            let (then, now) = (moment.content.get(name).unwrap_or(&nobody), now.get(name).unwrap_or(&nobody));
            let of = |documents: &[Vec<u8>]| -> Vec<Vec<u8>> {
                documents.iter().filter(|document| owner(document) == Some(tenant.to_owned())).cloned().collect()
            };
            let (wanted, found) = (of(then), of(now));
            for document in &wanted {
                assert!(found.contains(document), "{name}: {tenant} lacks {:?} of {at}", read(document));
            }
            // What is the tenant's now and was another's then is left as it is.
            let others: Vec<Bson> = then.iter().filter(|document| !wanted.contains(document)).map(|d| key(d)).collect();
            for document in found.iter().filter(|document| !wanted.contains(document)) {
                assert!(others.contains(&key(document)), "{name}: {tenant} has {:?} since {at}", read(document));
            }
        }
    }

    // ------------------------------------------------------------------------------------------ what comes back

    async fn compare(&mut self, target: &ReplicaSet) {
        let client = target.client().await.unwrap();
        let first = self.json(&["timeline", "shop"])["ranges"][0]["from"].as_str().unwrap().to_owned();
        let first: backstay_model::Tick = first.parse().unwrap();
        let mut moments = std::mem::take(&mut self.moments);
        moments.retain(|moment| backstay_model::Tick::new(moment.at.time, moment.at.increment) >= first);
        assert!(moments.len() > 3, "too few instants are covered");
        while moments.len() > RESTORED {
            moments.remove(self.chance.below(moments.len()));
        }
        for moment in moments {
            let at = text(moment.at);
            witness::clear(&client, DATABASES).await;
            let run =
                self.program.run(["restore", "shop", "--at", &at, "--into", &target.uri(), "--yes", "--json"]).unwrap();
            assert!([0, 15].contains(&run.code), "{run}");
            assert_same(&witness::now(&client, DATABASES).await, &moment.content, &at);
            let found = definitions(&client, DATABASES).await;
            for (name, (entry, indexes)) in &moment.definitions {
                let Some((found_entry, found_indexes)) = found.get(name) else {
                    panic!("{name} is missing as of {at}")
                };
                assert_eq!((found_entry, found_indexes), (entry, indexes), "{name} as of {at}");
            }
            let names = |all: &Definitions| all.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(&found), names(&moment.definitions), "as of {at}");
            let restored = run.ok().json();
            assert_eq!(restored["proof"]["equal"], true, "{restored}");
            assert_eq!(restored["proof"]["definitions"], serde_json::json!([]), "{restored}");
            self.look(&moment, &at);
        }
    }

    /// `ls` and `get` say the same.
    fn look(&mut self, moment: &Moment, at: &str) {
        let listing = self.json(&["ls", "shop", "--at", at]);
        let namespaces = listing["namespaces"].as_array().unwrap();
        for (name, (entry, _)) in &moment.definitions {
            if entry.get_str("type").unwrap() == "view" {
                continue;
            }
            let found = namespaces.iter().find(|namespace| namespace["namespace"] == name.as_str()).unwrap();
            let documents = moment.content.get(name).map_or(&[][..], Vec::as_slice);
            assert_eq!(found["records"], documents.len(), "{name} as of {at}: {found}");
            assert_eq!(found["bytes"], documents.iter().map(Vec::len).sum::<usize>(), "{name} as of {at}");
            if documents.is_empty() || !self.chance.one_in(3) {
                continue;
            }
            let document = &documents[self.chance.below(documents.len())];
            let id = key(document).into_canonical_extjson().to_string();
            let got = self.json(&["get", "shop", name, &id, "--at", at]);
            let Ok(Bson::Document(got)) = Bson::try_from(got["document"].clone()) else { panic!("{got}") };
            assert!(bson::serialize_to_vec(&got).unwrap() == *document, "{name} {id} as of {at}: {got}");
        }
    }
}

fn index(name: &str, definition: Document) -> Document {
    doc! { "createIndexes": name, "indexes": [definition] }
}

/// An id of any type, always the same for a number.
fn odd_id(number: i32) -> Bson {
    match number % 9 {
        0 => Bson::String(format!("id-{number}")),
        1 => doc! { "b": number, "a": "x" }.into(),
        2 => Bson::Double(f64::from(number) + 0.5),
        3 => Bson::Int64(i64::from(number) << 33),
        4 => Bson::DateTime(bson::DateTime::from_millis(i64::from(number))),
        5 => Bson::Binary(bson::Binary { subtype: 5.into(), bytes: number.to_be_bytes().repeat(4) }),
        _ => Bson::Int32(number),
    }
}

fn read(document: &[u8]) -> Document {
    bson::deserialize_from_slice(document).unwrap()
}

fn key(document: &[u8]) -> Bson {
    read(document).remove("_id").unwrap()
}

fn owner(document: &[u8]) -> Option<String> {
    bson::RawDocument::from_bytes(document).unwrap().get_str("tenant").ok().map(str::to_owned)
}

/// Writes documents of a tenant of its own until told to stop.
async fn write(client: Client, tenant: &'static str, stop: Arc<AtomicBool>) -> u64 {
    let mut chance = Chance(u64::from(tenant.as_bytes()[1]));
    let mut written = 0;
    while !stop.load(Ordering::SeqCst) {
        let collection = client.database("shop").collection::<Document>(chance.pick(NAMES));
        let id = format!("{tenant}-{}", chance.below(200));
        let done = match chance.below(4) {
            0 => collection.delete_one(doc! { "_id": id }).await.map(drop),
            1 => collection
                .replace_one(doc! { "_id": id }, doc! { "tenant": tenant, "v": written })
                .upsert(true)
                .await
                .map(drop),
            _ => {
                let update =
                    doc! { "$set": { "tenant": tenant }, "$inc": { "v": 1 }, "$push": { "l": chance.small() } };
                collection.update_one(doc! { "_id": id }, update).upsert(true).await.map(drop)
            }
        };
        // A collection that is dropped or renamed meanwhile refuses; others do not.
        written += i64::from(done.is_ok());
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    u64::try_from(written).unwrap()
}

async fn run(seed: u64, set: &ReplicaSet, target: &ReplicaSet) {
    println!("BACKSTAY_SEED={seed}");
    let client = set.client().await.unwrap();
    witness::clear(&client, DATABASES).await;
    let program = shop::program(&set.uri());
    let mut work = Workload {
        client,
        uri: set.uri(),
        program,
        chance: Chance(seed),
        next: 0,
        capture: None,
        backed_up: false,
        moments: Vec::new(),
        rewinds: 0,
        refused: 0,
        kinds: BTreeMap::new(),
    };
    work.json(&["init"]);
    for name in NAMES {
        work.client.database("shop").create_collection(*name).await.unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = WRITERS
        .iter()
        .map(|tenant| tokio::task::spawn(write(work.client.clone(), tenant, Arc::clone(&stop))))
        .collect();
    for step in 0..STEPS {
        work.step().await;
        if step == STEPS / 3 {
            // While it reads, documents and definitions change beneath it.
            let mut backup = work.program.spawn(["backup", "shop"]).unwrap();
            while !backup.has_ended().unwrap() {
                work.step().await;
            }
            backup.wait(Duration::from_secs(60)).unwrap().ok();
            work.backed_up = true;
        }
        if work.backed_up && work.chance.one_in(12) {
            work.operate();
        }
        if work.backed_up && work.chance.one_in(14) {
            work.remember().await;
        }
        if work.moments.len() > 2 && work.chance.one_in(60) {
            work.rewind().await;
        }
    }
    work.remember().await;
    work.rewind().await;
    work.remember().await;
    stop.store(true, Ordering::SeqCst);
    let mut written = 0;
    for writer in writers {
        written += writer.await.unwrap();
    }
    if let Some(capture) = work.capture.take() {
        capture.kill().unwrap();
    }
    work.json(&["capture", "shop", "--until", "now"]);
    let timeline = work.json(&["timeline", "shop"]);
    assert_eq!(
        (timeline["ranges"].as_array().unwrap().len(), &timeline["gaps"]),
        (1, &serde_json::json!([])),
        "{timeline}"
    );
    work.compare(target).await;
    assert_eq!(work.json(&["backup", "shop"])["drift"], 0, "of {}", work.uri);
    let verified = work.json(&["verify", "shop", "--content"]);
    assert_eq!(verified["problems"], serde_json::json!([]), "{verified}");
    println!(
        "{} documents, {written} writes beside, {} rewinds, {} steps refused, {:?}",
        work.next, work.rewinds, work.refused, work.kinds
    );
    assert!(work.rewinds > 0 && work.refused < STEPS / 2);
}

#[test]
fn a_random_workload_comes_back_as_of_random_instants() {
    shop::runtime().block_on(async {
        if require_mongod().is_none() {
            return;
        }
        let parameters =
            ["minSnapshotHistoryWindowInSeconds=3600", "maxNumberOfTransactionOperationsInSingleOplogEntry=3"];
        let args =
            parameters.iter().flat_map(|parameter| ["--setParameter".to_owned(), (*parameter).to_owned()]).collect();
        let set = ReplicaSet::start(Options { args, ..Options::default() }).await.unwrap();
        let target = ReplicaSet::start(Options { name: "rs1".into(), ..Options::default() }).await.unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
        let random = u64::try_from(now & u128::from(u64::MAX)).unwrap();
        let seeds: Vec<u64> = match std::env::var("BACKSTAY_SEED").ok().and_then(|seed| seed.parse().ok()) {
            Some(seed) => vec![seed],
            None => [1, 2, random].into_iter().chain((0..witness::soak() as u64 - 1).map(|n| random + 1 + n)).collect(),
        };
        for seed in seeds {
            run(seed, &set, &target).await;
        }
    });
}
