#![allow(clippy::unwrap_used)]

use backstay_model::{Body, Break, Incarnation, Interpreter as _, TenantHint, Version};
use bson::spec::BinarySubtype;
use bson::{Binary, Bson, Document, Timestamp, doc};

use super::*;
use crate::interpret::MongoInterpreter;
use crate::interpret::scope::Include;
use crate::interpret::tenants::{Origin, Rule, Rules};

const AT: Tick = Tick::new(9, 1);

fn bytes(document: &Document) -> Vec<u8> {
    bson::serialize_to_vec(document).unwrap()
}

fn uuid_of(byte: u8) -> Bson {
    Bson::Binary(Binary { subtype: BinarySubtype::Uuid, bytes: vec![byte; 16] })
}

/// An event of `shop.orders`, as MongoDB 6.0.5 sends it.
fn event(kind: &str, more: Document) -> Document {
    let mut event = doc! {
        "_id": { "_data": "826B02459F000000052B0229296E04" }, "operationType": kind,
        "clusterTime": Timestamp { time: 9, increment: 1 }, "collectionUUID": uuid_of(7), "ns": { "db": "shop", "coll": "orders" },
    };
    event.extend(more);
    event
}

fn entry(op: &str, o: Document, o2: Option<Document>) -> Document {
    let ns = if op == "c" { "shop.$cmd" } else { "shop.orders" };
    let mut entry = doc! { "op": op, "ns": ns, "ui": uuid_of(7), "o": o, "ts": Timestamp { time: 9, increment: 1 } };
    if let Some(o2) = o2 {
        entry.insert("o2", o2);
    }
    entry
}

fn interpreter() -> MongoInterpreter {
    let rules = [Rule { ns: "shop.*".into(), origin: Origin::Field("tenant".into()) }];
    let include = Include::compile(["shop.*"]).unwrap();
    MongoInterpreter::new(include, Rules::compile(rules).unwrap())
}

type Changes = Vec<(Incarnation, String, Vec<u8>, Version, Body, TenantHint)>;

fn changes(entry: &Document) -> Result<Changes> {
    let mut found = Changes::new();
    let used = interpreter().changes(&bytes(entry), AT, 0, &mut |change| {
        let tenant = change.tenant.clone();
        let (name, id) = (change.name.to_owned(), change.id.to_vec());
        found.push((change.namespace, name, id, change.version, change.body.to_owned(), tenant));
    })?;
    assert_eq!(used as usize, found.len());
    Ok(found)
}

#[test]
fn an_event_changes_what_its_oplog_entry_changes() {
    let key = || doc! { "_id": 1 };
    let record = doc! { "_id": 1, "tenant": "a", "z": [1, { "y": 2 }], "$odd": 1 };
    let diff = doc! { "$v": 2, "diff": { "u": { "tenant": "b" }, "sz": { "a": true, "u0": 5 } } };
    let index = doc! { "v": 2, "key": { "a": 1 }, "name": "a_1", "unique": true };
    let pairs = [
        (
            event("insert", doc! { "fullDocument": record.clone(), "documentKey": key() }),
            entry("i", record.clone(), Some(key())),
        ),
        (
            event("replace", doc! { "fullDocument": record.clone(), "documentKey": key() }),
            entry("u", record, Some(key())),
        ),
        (
            event("update", doc! { "documentKey": key(), "rawUpdateDescription": diff.clone() }),
            entry("u", diff, Some(key())),
        ),
        (event("delete", doc! { "documentKey": key() }), entry("d", key(), None)),
        (event("drop", doc! {}), entry("c", doc! { "drop": "orders" }, None)),
        (
            event("create", doc! { "operationDescription": { "capped": true, "size": 4096, "idIndex": { "v": 2 } } }),
            entry("c", doc! { "create": "orders", "capped": true, "size": 4096, "idIndex": { "v": 2 } }, None),
        ),
        (
            event(
                "rename",
                doc! { "to": {}, "operationDescription": { "to": { "db": "shop", "coll": "x.y" }, "dropTarget": uuid_of(8) } },
            ),
            entry("c", doc! { "renameCollection": "shop.orders", "to": "shop.x.y", "dropTarget": uuid_of(8) }, None),
        ),
        (
            event("dropIndexes", doc! { "operationDescription": { "indexes": [index.clone()] } }),
            entry("c", doc! { "dropIndexes": "orders", "index": "a_1" }, Some(index)),
        ),
        (event("startIndexBuild", doc! {}), entry("c", doc! { "startIndexBuild": "orders" }, None)),
    ];
    for (event, entry) in pairs {
        assert!(is_event(&bytes(&event)) && !is_event(&bytes(&entry)));
        assert_eq!(changes(&event).unwrap(), changes(&entry).unwrap(), "{event}");
        assert_eq!(interpreter().break_at(&bytes(&event)), None, "{event}");
    }
}

#[test]
fn an_edit_of_a_definition_gives_what_its_oplog_entry_gives() {
    let definition = crate::interpret::definition::build("shop.orders", &[7; 16], &bytes(&doc! {}), []).unwrap();
    let folded = |entry: &Document, definition: &[u8]| {
        let Body::Delta(operator, delta) = changes(entry).unwrap().remove(0).4 else { panic!("{entry}") };
        let mut out = Vec::new();
        interpreter().fold(operator, definition, &delta, &mut out).unwrap();
        out
    };
    let index = |name: &str| doc! { "v": 2, "key": { name: 1 }, "name": name };
    let both = event("createIndexes", doc! { "operationDescription": { "indexes": [index("a"), index("b")] } });
    let built = entry("c", doc! { "commitIndexBuild": "orders", "indexes": [index("a"), index("b")] }, None);
    let with_indexes = folded(&both, &definition);
    assert_eq!(with_indexes, folded(&built, &definition));
    let hide = doc! { "index": { "name": "a", "hidden": true }, "validator": { "x": 1 } };
    let mut command = doc! { "collMod": "orders" };
    command.extend(hide.clone());
    let modified = folded(&event("modify", doc! { "operationDescription": hide }), &with_indexes);
    assert_eq!(modified, folded(&entry("c", command, None), &with_indexes));
    assert_ne!(modified, with_indexes);
}

#[test]
fn a_view_is_a_record_of_a_collection_that_its_database_names() {
    let view = |kind: &str, description: Document| {
        let mut event = event(kind, doc! { "operationDescription": description });
        event.remove("collectionUUID");
        event
    };
    let created = changes(&view("create", doc! { "viewOn": "orders", "pipeline": [] })).unwrap();
    let views = crate::interpret::oplog::incarnation(&views_uuid("shop"));
    assert_ne!(views, crate::interpret::oplog::incarnation(&views_uuid("shop2")));
    assert!(is_made_of_a_name(views) && !is_made_of_a_name(Incarnation(0x1234_5678_9abc_4def)));
    let [definition, record] = &created[..] else { panic!("{created:?}") };
    assert_eq!((definition.0, &definition.2[..]), (Incarnation::SYSTEM, &views.record_id()[..]));
    assert_eq!((record.0, record.1.as_str()), (views, "shop.system.views"));
    let image = bytes(&doc! { "_id": "shop.orders", "viewOn": "orders", "pipeline": [] });
    assert_eq!(record.4, Body::Image(image));
    let dropped = changes(&view("drop", doc! {})).unwrap();
    assert_eq!((&dropped[0].2, &dropped[0].4), (&record.2, &Body::Tombstone));
    let database = doc! { "operationType": "dropDatabase", "clusterTime": Timestamp { time: 9, increment: 1 }, "ns": { "db": "shop" } };
    let gone = changes(&database).unwrap();
    assert_eq!((&gone[0].2[..], &gone[0].4), (&views.record_id()[..], &Body::Tombstone));
}

#[test]
fn what_cannot_be_followed_is_named_and_breaks_the_feed() {
    let breaks = |event: &Document| match interpreter().break_at(&bytes(event)) {
        Some(Break::Untold(why)) => why,
        other => panic!("{event}: {other:?}"),
    };
    let words = breaks(&event("reshardCollection", doc! {}));
    assert!(words.contains("reshardCollection") && words.contains("shop.orders"), "{words}");
    let mut invalid = event("invalidate", doc! {});
    invalid.remove("ns");
    assert!(breaks(&invalid).contains("invalidate"));
    let mut view = event("create", doc! { "operationDescription": {} });
    view.remove("collectionUUID");
    assert!(breaks(&view).contains("neither a collectionUUID nor a viewOn"));
    let from_outside =
        doc! { "ns": { "db": "other", "coll": "x" }, "operationDescription": { "to": { "db": "shop", "coll": "y" } } };
    assert!(breaks(&event("rename", from_outside)).contains("other.x"));
    let elsewhere = event("somethingNew", doc! { "ns": { "db": "other", "coll": "x" } });
    assert_eq!(interpreter().break_at(&bytes(&elsewhere)), None, "nothing of it is protected");
}

#[test]
fn a_name_is_compared_without_being_put_together() {
    let raw = bytes(&event("insert", doc! { "fullDocument": { "_id": 1 } }));
    let event = Event::read(&raw).unwrap();
    assert_eq!(event.namespace(), "shop.orders");
    assert!(event.is_in("shop.orders"));
    for other in ["", "shop", "shop.", "shop.orders2", "shop2.orders", "shoporders", "op.orders"] {
        assert!(!event.is_in(other), "{other}");
    }
}

#[test]
fn a_change_that_does_not_say_what_it_must_is_an_error_when_it_is_read() {
    for (kind, more) in [
        ("update", doc! { "documentKey": { "_id": 1 }, "updateDescription": { "updatedFields": {} } }),
        ("insert", doc! { "documentKey": { "_id": 1 } }),
        ("delete", doc! {}),
    ] {
        assert!(Event::read(&bytes(&event(kind, more.clone()))).is_err(), "{kind}");
    }
    assert!(Event::read(&bytes(&doc! { "operationType": "drop" })).is_err());
}
