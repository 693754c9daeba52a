//! What today's indexes and validators would refuse of what comes back: said before anything is written, with what can be
//! done about it; and nothing is said that is not so.

#![allow(clippy::unwrap_used)]

mod shop;

use bson::{Bson, Document, doc};
use mongodb::Collection;
use serde_json::{Value, json};
use shop::{Shop, all};

struct Desk {
    shop: Shop,
    name: &'static str,
    records: Collection<Document>,
    at: String,
}

impl Desk {
    /// A collection of two tenants, backed up, and an instant after that.
    async fn open(name: &'static str, records: Vec<Document>) -> Option<Desk> {
        let shop = shop::open().await?;
        let collection = shop.client.database("shop").collection::<Document>(name);
        collection.insert_many(records).await.unwrap();
        shop.json(&["init"]);
        shop.json(&["backup", "shop"]);
        let at = shop.now().await;
        Some(Desk { shop, name, records: collection, at })
    }

    async fn index(&self, index: Document) {
        let create = doc! { "createIndexes": self.name, "indexes": [index] };
        self.shop.client.database("shop").run_command(create).await.unwrap();
    }

    async fn all(&self) -> Vec<Document> {
        all(&self.shop.client, "shop", self.name).await
    }

    fn restore(&self, more: &[&str], code: i32) -> Value {
        let ns = format!("shop.{}", self.name);
        let args = ["restore", "shop", "--in-place", "--json", "--ns", &ns, "--at", &self.at];
        let run = self.shop.run(&[&args[..], more].concat()).expect_code(code);
        // What was left out on request is missed by the proof, and reported like anything.
        let reports = code == 0 || more.contains(&"--preview") || more.contains(&"skip");
        if reports { run.json() } else { run.json_error() }
    }

    /// The restore and its preview are refused, and nothing is written. Returns the preview's one refusal.
    async fn refused(&self, more: &[&str]) -> Value {
        let before = self.all().await;
        let preview = self.restore(&[&["--preview"], more].concat(), 15);
        let refused = self.restore(&[&["--yes"], more].concat(), 15);
        let message = refused["message"].as_str().unwrap();
        assert!(message.starts_with("nothing was written") && refused["code"] == "check_failed", "{refused}");
        let hint = refused["hint"].as_str().unwrap();
        assert!(hint.contains("--into") && hint.contains("--rename"), "{refused}");
        let over = self.restore(&[&["--yes", "--on-conflict", "overwrite"], more].concat(), 15);
        assert_eq!(over["message"], refused["message"], "nobody else's record is overwritten");
        assert_eq!(self.all().await, before, "nothing was written");
        let refusals = preview["refusals"].as_array().unwrap();
        assert_eq!(refusals.len(), 1, "{preview}");
        assert!(message.contains(refusals[0]["rule"].as_str().unwrap()), "{refused}");
        refusals[0].clone()
    }

    /// Nothing is refused, and all comes back.
    async fn comes_back(&self, then: &[Document], more: &[&str]) -> Value {
        let restored = self.restore(&[&["--yes"], more].concat(), 0);
        assert_eq!((&restored["proof"]["equal"], &restored["skipped"]), (&json!(true), &json!(0)), "{restored}");
        assert_eq!(self.all().await, then);
        restored
    }
}

const T: [&str; 2] = ["--tenant", "t"];

fn person(id: i32, mail: &str) -> Document {
    doc! { "_id": id, "tenant": if id < 100 { "t" } else { "u" }, "mail": mail }
}

#[test]
fn a_unique_index_that_is_new_names_the_records_that_share_a_value() {
    shop::runtime().block_on(async {
        let people = vec![person(1, "a"), person(2, "a"), person(3, "b"), person(4, "b"), person(5, "c")];
        let Some(desk) = Desk::open("people", people).await else { return };
        let then = desk.all().await;
        // Of one pair both come back; of the other one is there still.
        desk.records.delete_many(doc! { "_id": { "$in": [1, 2, 4] } }).await.unwrap();
        desk.records.update_one(doc! { "_id": 5 }, doc! { "$set": { "mail": "d" } }).await.unwrap();
        desk.index(doc! { "name": "mail_1", "key": { "mail": 1 }, "unique": true }).await;
        let found = desk.refused(&T).await;
        assert_eq!((&found["kind"], &found["count"], &found["blocks"]), (&json!("unique"), &json!(2), &json!(true)));
        assert_eq!(found["rule"], "the unique index mail_1");
        let pairs: Vec<(String, String)> = found["examples"].as_array().unwrap().iter().map(pair).collect();
        assert!(pairs.contains(&numbers("2", "1")) && pairs.contains(&numbers("4", "3")), "{found}");
        assert!(found["removal"].as_str().unwrap().contains("dropIndex(\"mail_1\")"), "{found}");
        let ns = ["restore", "shop", "--in-place", "--ns", "shop.people", "--at", &desk.at];
        let seen = desk.shop.run(&[&ns[..], &["--preview"]].concat()).expect_code(15);
        assert!(seen.stdout.contains("refused: shop.people: the unique index mail_1 would refuse 2 records"), "{seen}");

        // Whole, it is the same.
        assert_eq!(desk.refused(&[]).await["count"], 2);
        let skipped = desk.restore(&["--yes", "--on-conflict", "skip"], 15);
        assert_eq!((&skipped["written"], &skipped["skipped"]), (&json!(2), &json!(2)), "{skipped}");
        let now = desk.all().await;
        assert!(now.contains(&person(5, "c")) && now.contains(&person(1, "a")) && !now.contains(&person(2, "a")));
        desk.records.drop_index("mail_1").await.unwrap();
        desk.comes_back(&then, &[]).await;
    });
}

/// The numbers that are the ids of a record and of the one that has its value.
fn pair(example: &Value) -> (String, String) {
    (number(&example["id"]), number(&example["holder"]))
}

fn number(id: &Value) -> String {
    let id: Value = id.as_str().and_then(|id| serde_json::from_str(id).ok()).unwrap_or_default();
    id["$numberInt"].as_str().unwrap_or_default().to_owned()
}

/// The numbers that a pair shows.
fn numbers(record: &str, holder: &str) -> (String, String) {
    (record.to_owned(), holder.to_owned())
}

#[test]
fn a_value_that_another_has_now_is_refused_and_one_that_moves_is_not() {
    shop::runtime().block_on(async {
        let people: Vec<Document> = (1..20).map(|id| person(id, &format!("m{id}"))).collect();
        let Some(desk) = Desk::open("people", people).await else { return };
        desk.index(doc! { "name": "mail_1", "key": { "mail": 1 }, "unique": true }).await;
        let at = desk.shop.now().await;
        let desk = Desk { at, ..desk };
        let then = desk.all().await;
        let set = async |id: i32, mail: &str| {
            desk.records.update_one(doc! { "_id": id }, doc! { "$set": { "mail": mail } }).await.unwrap();
        };
        // Values that go round, one that a record that goes has, and records that change in another field.
        set(1, "x").await;
        set(2, "m1").await;
        set(1, "m2").await;
        desk.records.delete_one(doc! { "_id": 3 }).await.unwrap();
        desk.records.insert_one(person(50, "m3")).await.unwrap();
        desk.records.update_many(doc! { "_id": { "$gt": 10 } }, doc! { "$set": { "more": 1 } }).await.unwrap();
        let moved = desk.all().await;
        desk.comes_back(&then, &T).await;
        // Another tenant has one of them by now.
        set(7, "free").await;
        desk.records.insert_one(person(100, "m7")).await.unwrap();
        let found = desk.refused(&T).await;
        assert_eq!((pair(&found["examples"][0]), &found["count"]), (numbers("7", "100"), &json!(1)), "{found}");
        // Of another tenant's restore it is no business; and whole, that record goes.
        desk.restore(&["--yes", "--tenant", "u"], 0);
        assert_eq!(desk.records.count_documents(doc! { "_id": 100 }).await.unwrap(), 0);
        desk.comes_back(&then, &T).await;
        assert_ne!(moved, then);
    });
}

#[test]
fn a_record_that_was_not_asked_for_keeps_what_it_has() {
    shop::runtime().block_on(async {
        let Some(desk) = Desk::open("people", vec![person(1, "a"), person(2, "b"), person(3, "c")]).await else {
            return;
        };
        desk.index(doc! { "name": "mail_1", "key": { "mail": 1 }, "unique": true }).await;
        let desk = Desk { at: desk.shop.now().await, ..desk };
        desk.records.delete_many(doc! { "_id": { "$in": [1, 3] } }).await.unwrap();
        desk.records.update_one(doc! { "_id": 2 }, doc! { "$set": { "mail": "a" } }).await.unwrap();
        let found = desk.refused(&["--id", "1", "--id", "3"]).await;
        assert_eq!((pair(&found["examples"][0]), &found["count"]), (numbers("1", "2"), &json!(1)), "{found}");
        desk.restore(&["--yes", "--id", "1", "--id", "2", "--id", "3"], 0);
        assert_eq!(desk.all().await, [person(1, "a"), person(2, "b"), person(3, "c")]);
    });
}

#[test]
fn a_validator_that_the_server_cannot_evaluate_stops_nothing() {
    shop::runtime().block_on(async {
        let item = |id: i32, price: Bson| doc! { "_id": id, "tenant": "t", "price": price };
        let items = vec![item(1, "5".into()), item(2, "n/a".into()), item(3, "-6".into())];
        let Some(desk) = Desk::open("items", items).await else { return };
        let then = desk.all().await;
        desk.records.delete_many(doc! {}).await.unwrap();
        let number = doc! { "$expr": { "$gt": [{ "$toInt": "$price" }, 0] } };
        let change = doc! { "collMod": "items", "validator": number };
        desk.shop.client.database("shop").run_command(change).await.unwrap();
        let preview = desk.restore(&["--preview"], 0);
        assert_eq!(preview["refusals"][0]["count"], json!(2), "{preview}");
        desk.comes_back(&then, &T).await;
    });
}

#[test]
fn partial_sparse_and_collated_indexes_refuse_by_their_own_rules() {
    shop::runtime().block_on(async {
        let word = |id: i32, code: &str, live: bool| {
            doc! { "_id": id, "tenant": if id < 100 { "t" } else { "u" }, "code": code, "live": live }
        };
        let words =
            vec![word(1, "Straße", true), word(2, "b", true), word(3, "c", false), doc! { "_id": 4, "tenant": "t" }];
        let Some(desk) = Desk::open("words", words).await else { return };
        let then = desk.all().await;
        desk.records.delete_many(doc! {}).await.unwrap();
        desk.records.insert_one(word(102, "b", false)).await.unwrap();
        desk.records.insert_one(word(103, "c", true)).await.unwrap();
        desk.records.insert_one(doc! { "_id": 104, "tenant": "u" }).await.unwrap();
        let only_live = doc! { "live": true };
        desk.index(
            doc! { "name": "p", "key": { "code": 1 }, "unique": true, "partialFilterExpression": only_live.clone() },
        )
        .await;
        desk.index(doc! { "name": "s", "key": { "none": 1, "neither": 1 }, "unique": true, "sparse": true }).await;
        let mut expected = then.clone();
        expected.extend(desk.all().await);
        desk.comes_back(&expected, &T).await;
        desk.records.delete_many(doc! { "tenant": "t" }).await.unwrap();
        desk.records.update_one(doc! { "_id": 102 }, doc! { "$set": { "live": true } }).await.unwrap();
        assert_eq!(pair(&desk.refused(&T).await["examples"][0]), numbers("2", "102"));
        desk.records.drop_index("p").await.unwrap();

        let collation = doc! { "locale": "de", "strength": 1 };
        desk.index(doc! { "name": "c", "key": { "code": 1 }, "unique": true, "collation": collation, "sparse": true })
            .await;
        desk.records.update_one(doc! { "_id": 102 }, doc! { "$set": { "code": "STRASSE" } }).await.unwrap();
        desk.records.update_one(doc! { "_id": 103 }, doc! { "$set": { "code": "d" } }).await.unwrap();
        let found = desk.refused(&T).await;
        assert_eq!((pair(&found["examples"][0]), &found["count"]), (numbers("1", "102"), &json!(1)), "{found}");
        desk.records.update_one(doc! { "_id": 102 }, doc! { "$set": { "code": "e" } }).await.unwrap();
        desk.restore(&["--yes", "--tenant", "t"], 0);
    });
}

#[test]
fn indexes_that_cannot_hold_what_comes_back_are_named() {
    shop::runtime().block_on(async {
        let place = |id: i32, fields: Document| {
            let mut place = doc! { "_id": id, "tenant": "t" };
            place.extend(fields);
            place
        };
        let shape = doc! { "type": "Polygon", "coordinates": [[[0, 0], [0, 9], [9, 9], [0, 0]]] };
        let places = vec![
            place(1, doc! { "spot": { "type": "Point", "coordinates": [179.5, 10.0] }, "flat": [1, 2] }),
            place(2, doc! { "spot": shape, "flat": [-10, 2], "language": "German" }),
            place(3, doc! { "spot": "nowhere" }),
            place(4, doc! { "spot": { "type": "Point", "coordinates": [600, 10] } }),
            place(5, doc! { "flat": [1000, 0] }),
            place(6, doc! { "language": "klingon", "text": "Qapla'" }),
            place(7, doc! { "tags": ["a", "b"], "more": ["c"] }),
            place(8, doc! { "spot": null, "tags": ["a"], "language": "none" }),
            place(9, doc! { "spot": [8, 9] }),
            place(10, doc! { "flat": "here", "spot": {} }),
            place(11, doc! { "flat": {} }),
            place(12, doc! { "flat": { "home": [1, 2], "work": [3, 4] } }),
            place(13, doc! { "spot": [{ "type": "Point", "coordinates": [1, 2] }, { "type": "Point", "coordinates": [3, 4] }] }),
            place(14, doc! { "spot": [[1, 2], [3, 4]], "flat": [[1, 2], [3, 4]] }),
            place(15, doc! { "flat": [[1, 2], [1000, 0]], "spot": { "x": 1, "y": 2 } }),
            place(16, doc! { "flat": [[1, 2], [], { "x": 3, "y": 4 }], "spot": [8, 9, 10] }),
            place(17, doc! { "flat": [{ "type": "Point" }], "spot": [1] }),
            place(18, doc! { "flat": [180, -180], "spot": [] }),
            place(19, doc! { "flat": [1] }),
            place(20, doc! { "flat": { "type": "Point", "coordinates": [1, 2] }, "spot": 7 }),
            place(21, doc! { "stops": [{ "spot": [1, 2] }, { "spot": { "type": "Point", "coordinates": [3, 4] } }] }),
            place(22, doc! { "stops": [{ "spot": [1, 2] }, { "spot": "nowhere" }] }),
            place(23, doc! { "stops": [{ "spot": null }, { "spot": null }, { "none": 1 }] }),
            place(24, doc! { "stops": [{ "spot": null }, { "spot": [1, 2] }] }),
            place(25, doc! { "stops": [{ "spot": [[1, 2]] }, [{ "spot": "nowhere" }]] }),
            place(26, doc! { "stops": { "spot": [{ "type": "Point", "coordinates": [1, 2] }] } }),
        ];
        let Some(desk) = Desk::open("places", places).await else { return };
        let then = desk.all().await;
        desk.records.delete_many(doc! {}).await.unwrap();
        for (index, ids) in [
            (
                doc! { "name": "i", "key": { "spot": "2dsphere" } },
                vec!["3", "4", "13", "14", "17", "20"],
            ),
            (doc! { "name": "i", "key": { "stops.spot": "2dsphere" } }, vec!["22", "24", "25", "26"]),
            (doc! { "name": "i", "key": { "flat": "2d" } }, vec!["5", "15", "17", "19", "20"]),
            (doc! { "name": "i", "key": { "text": "text" } }, vec!["6"]),
            (doc! { "name": "i", "key": { "tags": "hashed" } }, vec!["7", "8"]),
            (doc! { "name": "i", "key": { "tags": 1, "more": -1 } }, vec!["7"]),
            (
                doc! { "name": "i", "key": { "tags": "hashed" }, "partialFilterExpression": { "language": "none" } },
                vec!["8"],
            ),
        ] {
            desk.index(index.clone()).await;
            let found = desk.refused(&[]).await;
            let named: Vec<String> = found["examples"].as_array().unwrap().iter().map(|one| pair(one).0).collect();
            let named: Vec<&str> = named.iter().map(String::as_str).collect();
            assert_eq!(found["count"], json!(ids.len()), "{index}: {found}");
            assert_eq!((&*named, &found["kind"]), (&ids[..ids.len().min(5)], &json!("index")), "{index}: {found}");
            // The server says the same of every single one.
            for record in &then {
                let said = desk.records.insert_one(record).await;
                let id = record.get_i32("_id").unwrap().to_string();
                assert_eq!(said.is_ok(), !ids.contains(&id.as_str()), "{index}: {record}: {said:?}");
            }
            desk.records.delete_many(doc! {}).await.unwrap();
            desk.records.drop_index("i").await.unwrap();
        }
        desk.comes_back(&then, &[]).await;
        // What was there then refuses nothing.
        desk.records.drop().await.unwrap();
        desk.records.insert_one(place(1, doc! {})).await.unwrap();
        desk.index(doc! { "name": "other", "key": { "tags": 1, "none": 1 } }).await;
        desk.restore(&["--yes", "--id", "8"], 0);
    });
}

#[test]
fn a_validator_of_today_is_gone_past_and_named() {
    shop::runtime().block_on(async {
        let item = |id: i32, price: i32| doc! { "_id": id, "tenant": "t", "price": price };
        let Some(desk) = Desk::open("items", vec![item(1, 5), item(2, -5), item(3, -6)]).await else { return };
        let then = desk.all().await;
        desk.records.delete_many(doc! {}).await.unwrap();
        let validate = async |action: &str| {
            let schema = doc! { "$jsonSchema": { "properties": { "price": { "minimum": 0 } } } };
            let change = doc! { "collMod": "items", "validator": schema, "validationAction": action };
            desk.shop.client.database("shop").run_command(change).await.unwrap();
        };
        validate("warn").await;
        let preview = desk.restore(&["--preview"], 0);
        assert_eq!(preview["refusals"], json!([]), "{preview}");
        validate("error").await;
        assert!(desk.records.insert_one(item(2, -5)).await.is_err());
        let preview = desk.restore(&["--preview"], 0);
        let found = &preview["refusals"][0];
        assert_eq!(
            (&found["kind"], &found["count"], &found["blocks"]),
            (&json!("validator"), &json!(2), &json!(false))
        );
        assert!(found["removal"].as_str().unwrap().contains("moderate"), "{found}");
        let ns = ["restore", "shop", "--in-place", "--yes", "--ns", "shop.items", "--tenant", "t", "--at", &desk.at];
        let restored = desk.shop.run(&ns).ok();
        assert!(restored.stdout.contains("would refuse the next change of 2 records, such as"), "{restored}");
        assert!(restored.stderr.contains("the validator of today"), "before anything is written: {restored}");
        assert_eq!(desk.all().await, then, "it was accepted once");
    });
}

#[test]
fn what_stands_there_under_its_name_is_named_before_anything_is_written() {
    shop::runtime().block_on(async {
        let Some(desk) = Desk::open("a_first", vec![person(1, "a")]).await else { return };
        let database = desk.shop.client.database("shop");
        database.collection("late").insert_one(person(1, "a")).await.unwrap();
        let at = desk.shop.now().await;
        database.collection::<Document>("late").drop().await.unwrap();
        database.run_command(doc! { "create": "late", "viewOn": "a_first", "pipeline": [] }).await.unwrap();
        desk.records.delete_many(doc! {}).await.unwrap();
        let args = ["restore", "shop", "--in-place", "--yes", "--json", "--ns", "shop.*", "--at", &at];
        for more in [&[][..], &["--on-conflict", "skip"]] {
            let refused = desk.shop.run(&[&args[..], more].concat()).expect_code(15).json_error();
            assert!(
                refused["message"]
                    .as_str()
                    .unwrap()
                    .contains("shop.late is to be a collection, and a view has that name today"),
                "{refused}"
            );
            assert!(!refused["hint"].as_str().unwrap().contains("skip"), "{refused}");
            assert!(desk.all().await.is_empty(), "nothing was written anywhere");
        }
    });
}

#[test]
fn into_what_exists_elsewhere_it_is_the_same() {
    shop::runtime().block_on(async {
        let people: Vec<Document> = (1..5).map(|id| person(id, "same")).collect();
        let Some(desk) = Desk::open("people", people).await else { return };
        let other = desk.shop.client.database("other");
        other.collection("people").insert_one(person(1, "same")).await.unwrap();
        let index = doc! { "name": "mail_1", "key": { "mail": 1 }, "unique": true };
        other.run_command(doc! { "createIndexes": "people", "indexes": [index] }).await.unwrap();
        desk.shop.json(&["capture", "shop", "--until", "now"]);
        let uri = desk.shop.set.uri();
        let rename = "shop.people=other.people";
        let into = ["restore", "shop", "--into", &uri, "--rename", rename, "--at", &desk.at, "--yes", "--json"];
        let refused = desk.shop.run(&[&into[..], &["--ns", "shop.people"]].concat()).expect_code(15).json_error();
        assert!(refused["message"].as_str().unwrap().contains("would refuse 3 records"), "{refused}");
        assert_eq!(all(&desk.shop.client, "other", "people").await, [person(1, "same")]);
    });
}
