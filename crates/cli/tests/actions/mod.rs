//! Random actions on a database: documents of every kind, transactions, definitions, moves between tenants.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    missing_docs,
    reason = "each test file uses a part of it"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backstay_testkit::Chance;
use backstay_testkit::generate::update;
use bson::{Bson, Document, doc};
use mongodb::options::ReturnDocument;
use mongodb::{Client, ClientSession};

pub const NAMES: &[&str] = &["c0", "c1", "c2", "c.3"];
pub const TENANTS: &[&str] = &["t1", "t2", "t3"];

/// What acts, and what it has done so far.
pub struct Actions {
    pub client: Client,
    pub chance: Chance,
    /// How many documents were made up.
    pub next: i32,
    /// How many steps the server refused: a validator, a unique index, a name that is taken.
    pub refused: usize,
    pub kinds: BTreeMap<usize, usize>,
}

impl Actions {
    pub fn new(client: Client, seed: u64) -> Actions {
        Actions { client, chance: Chance(seed), next: 0, refused: 0, kinds: BTreeMap::new() }
    }

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
        let mut document = update::record(&mut self.chance, self.next);
        document.insert("_id", odd_id(self.next));
        document.insert("u", self.next);
        if !self.chance.one_in(12) {
            document.insert("tenant", self.chance.pick(TENANTS));
        }
        document
    }

    /// One step; most are single changes.
    pub async fn step(&mut self) {
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

    /// Updates of every operator, pipelines and replacements. A writer's documents are left to it: one that came to another
    /// tenant would be written on after that tenant was brought back, and would stand in the way of its unique values.
    async fn update_by_command(&mut self) -> mongodb::error::Result<()> {
        let (database, name) = self.place();
        let collection = self.collection((database, name));
        let not_a_writers = doc! { "$match": { "_id": { "$not": { "$regex": r"^w\d-" } } } };
        let mut cursor = collection.aggregate([not_a_writers, doc! { "$sample": { "size": 6 } }]).await?;
        let mut updates = Vec::new();
        while cursor.advance().await? {
            let current: Document = bson::deserialize_from_slice(cursor.current().as_bytes())?;
            let number = current.get_i32("u").unwrap_or(1);
            let mut update = update::update(&mut self.chance, number, &current);
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

/// Writes documents of a tenant of its own until told to stop.
pub async fn write(client: Client, tenant: &'static str, stop: Arc<AtomicBool>) -> u64 {
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
