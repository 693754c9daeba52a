#![allow(clippy::unwrap_used)]

use backstay_model::{Body, Break, InterpretError, Interpreter as _, Tenant, TenantHint, Tick};
use bson::{Binary, Bson, Document, Timestamp, doc};
use proptest::prelude::*;

use super::*;
use crate::interpret::MongoInterpreter;
use crate::interpret::scope::Include;
use crate::interpret::tenants::{Origin, Rule, Rules};

mod releases;

fn uuid_of(byte: u8) -> Bson {
    Bson::Binary(Binary { subtype: bson::spec::BinarySubtype::Uuid, bytes: vec![byte; 16] })
}

fn bytes(document: &Document) -> Vec<u8> {
    bson::serialize_to_vec(document).unwrap()
}

/// An entry with the fields that every one has, then `more`.
fn entry(op: &str, ns: &str, o: Document, more: Document) -> Vec<u8> {
    let mut entry = doc! { "op": op, "ns": ns, "ui": uuid_of(1), "o": o, "ts": Timestamp { time: 5, increment: 2 }, "t": 1i64, "v": 2i64,
    "wall": bson::DateTime::from_millis(0) };
    entry.extend(more);
    bytes(&entry)
}

fn interpreter() -> MongoInterpreter {
    let rule = |ns: &str, origin| Rule { ns: ns.to_owned(), origin };
    let rules =
        Rules::compile([rule("shop.*", Origin::Field("tenant".into())), rule("t_{id}.*", Origin::Capture)]).unwrap();
    MongoInterpreter::new(Include::compile(["shop.*", "t_*.*"]).unwrap(), rules)
}

#[derive(Debug, PartialEq)]
struct Seen {
    namespace: u64,
    name: String,
    ordinal: u32,
    body: Body,
    tenant: TenantHint,
}

fn read(entry: &[u8]) -> std::result::Result<Vec<Seen>, InterpretError> {
    let mut seen = Vec::new();
    let used = interpreter().changes(entry, Tick::new(9, 9), 3, &mut |change| {
        assert_eq!(change.version.tick, Tick::new(9, 9));
        seen.push(Seen {
            namespace: change.namespace.0,
            name: change.name.to_owned(),
            ordinal: change.version.ordinal,
            body: change.body.to_owned(),
            tenant: change.tenant,
        });
    })?;
    assert_eq!(used as usize, seen.len());
    Ok(seen)
}

const ONES: u64 = 0x0101_0101_0101_0101;

fn known(name: &str) -> TenantHint {
    TenantHint::Known(Tenant::new(name))
}

#[test]
fn an_insert_is_an_image_of_its_owner() {
    let record = doc! { "_id": 1, "tenant": "a" };
    let seen = read(&entry("i", "shop.c", record.clone(), doc! {})).unwrap();
    let expected = Seen {
        namespace: ONES,
        name: "shop.c".into(),
        ordinal: 3,
        body: Body::Image(bytes(&record)),
        tenant: known("a"),
    };
    assert_eq!(seen, [expected]);
}

#[test]
fn an_update_may_move_its_record_only_when_it_touches_the_tenant() {
    for (ns, o, tenant) in [
        ("shop.c", doc! { "$v": 2, "diff": { "u": { "n": 1 } } }, TenantHint::Kept),
        ("shop.c", doc! { "$v": 2, "diff": { "u": { "tenant": 1 } } }, TenantHint::MayMove),
        ("shop.c", doc! { "$v": 2, "diff": { "stenant": { "u": { "x": 1 } } } }, TenantHint::MayMove),
        ("shop.c", doc! { "$v": 1, "$unset": { "tenant": true } }, TenantHint::MayMove),
        ("shop.c", doc! { "_id": 1, "tenant": "b" }, known("b")),
        ("shop.c", doc! { "tenant": "b" }, known("b")),
        // As a pipeline that rebuilds its record may leave it: logged so, and stored with the id in front.
        ("shop.c", doc! { "tenant": "b", "_id": 1 }, known("b")),
        ("t_x.c", doc! { "$v": 2, "diff": { "u": { "tenant": 1 } } }, known("x")),
    ] {
        let seen = read(&entry("u", ns, o.clone(), doc! { "o2": { "_id": 1 } })).unwrap();
        assert_eq!(seen[0].tenant, tenant, "{o}");
        if !o.contains_key("$v") {
            assert_eq!(seen[0].body, Body::Image(bytes(&doc! { "_id": 1, "tenant": "b" })));
        }
    }
    assert_eq!(read(&entry("d", "shop.c", doc! { "_id": 1 }, doc! {})).unwrap()[0].tenant, TenantHint::Kept);
    assert_eq!(read(&entry("d", "t_x.c", doc! { "_id": 1 }, doc! {})).unwrap()[0].tenant, known("x"));
}

#[test]
fn what_is_not_protected_yields_nothing() {
    for ns in ["config.transactions", "admin.system.users", "local.x", "other.c"] {
        assert_eq!(read(&entry("i", ns, doc! { "_id": 1 }, doc! {})).unwrap(), []);
    }
    assert_eq!(read(&entry("n", "", doc! { "msg": "periodic noop" }, doc! {})).unwrap(), []);
    assert_eq!(read(&entry("c", "other.$cmd", doc! { "drop": "c" }, doc! {})).unwrap(), []);
}

#[test]
fn an_unknown_kind_is_named() {
    // Where it says which collection it changes, that one is lost from then on, and its definition says why.
    let catalog = doc! { "ns": "shop.c", "md": { "ns": "shop.c", "options": { "uuid": uuid_of(2) } } };
    for (op, ns, o, collection, why) in [
        ("c", "shop.$cmd", doc! { "emptycapped": "c" }, 1, "emptycapped"),
        ("c", "shop.$cmd", doc! { "yetToCome": "c", "more": 1 }, 1, "yetToCome"),
        ("q", "shop.c", doc! {}, 1, "op q"),
        (
            "c",
            "shop.$cmd",
            doc! { "renameCollection": "other.c", "to": "shop.c" },
            1,
            "renameCollection of other.c, whose records are not held, to shop.c",
        ),
        (
            "c",
            "shop.$cmd",
            doc! { "importCollection": "shop.c", "dryRun": false, "catalogEntry": &catalog },
            1,
            "importCollection",
        ),
    ] {
        let [seen] = &read(&entry(op, ns, o, doc! {})).unwrap()[..] else { panic!("{why}: one change") };
        assert_eq!((seen.namespace, &seen.tenant), (0, &TenantHint::Known(Tenant::system())), "{why}");
        let Body::Image(definition) = &seen.body else { panic!("{why}: {:?}", seen.body) };
        assert_eq!(*definition, crate::interpret::definition::lost("shop.c", &[collection; 16], why).unwrap());
        assert_eq!(interpreter().describe(definition).unwrap().lost.as_deref(), Some(why));
    }
    // An import has no `ui`: the collection's UUID stands in its catalog entry.
    let without_ui = |op: &str, ns: &str, o: Document| {
        bytes(&doc! { "op": op, "ns": ns, "o": o, "ts": Timestamp { time: 5, increment: 2 } })
    };
    let import = doc! { "importCollection": "shop.c", "dryRun": false, "catalogEntry": &catalog };
    let [seen] = &read(&without_ui("c", "shop.$cmd", import)).unwrap()[..] else { panic!("one change") };
    let lost = crate::interpret::definition::lost("shop.c", &[2; 16], "importCollection").unwrap();
    assert_eq!(seen.body, Body::Image(lost));
    let dry = doc! { "importCollection": "shop.c", "dryRun": true, "catalogEntry": &catalog };
    assert_eq!(read(&without_ui("c", "shop.$cmd", dry)).unwrap(), []);

    // Where it does not, nothing can be told any more.
    for (op, ns, o, name) in [
        ("c", "shop.$cmd", doc! { "importCollection": "shop.c" }, "importCollection"),
        ("c", "shop.$cmd", doc! { "importCollection": "c" }, "importCollection"),
        ("c", "shop.$cmd", doc! { "emptycapped": "c" }, "emptycapped"),
        ("c", "shop.$cmd", doc! { "yetToCome": 1 }, "yetToCome"),
        ("q", "shop.$cmd", doc! {}, "op q"),
        ("q", "shop.c", doc! {}, "op q"),
        ("q", "", doc! {}, "op q"),
        (
            "c",
            "shop.$cmd",
            doc! { "renameCollection": "other.c", "to": "shop.c" },
            "renameCollection of other.c, whose records are not held, to shop.c",
        ),
    ] {
        let error = read(&without_ui(op, ns, o)).unwrap_err();
        assert_eq!(error, InterpretError::Unknown { what: "oplog entry", name: name.into() });
    }
}

#[test]
fn what_cannot_be_archived_as_it_is_is_found() {
    let rename = |from: &str, to: &str| {
        entry("c", "shop.$cmd", doc! { "renameCollection": from, "to": to, "dropTarget": uuid_of(2) }, doc! {})
    };
    let untold = |entry: &[u8]| match interpreter().break_at(entry) {
        Some(Break::Untold(cause)) => cause,
        other => panic!("{other:?}"),
    };
    assert_eq!(untold(&rename("other.c", "shop.c")), "other.c, which is not protected, was renamed to shop.c");
    let renamed = Break::Renamed { namespace: backstay_model::Incarnation(ONES), name: "t_x.c".into() };
    assert_eq!(interpreter().break_at(&rename("shop.c", "t_x.c")), Some(renamed));
    for (from, to) in [("shop.c", "shop.d"), ("shop.c", "other.c"), ("other.c", "other.d"), ("t_x.c", "t_x.d")] {
        assert_eq!(interpreter().break_at(&rename(from, to)), None, "{from} {to}");
    }
    let inner =
        doc! { "op": "c", "ns": "shop.$cmd", "ui": uuid_of(1), "o": { "renameCollection": "shop.c", "to": "t_x.c" } };
    let insert = doc! { "op": "i", "ns": "shop.c", "ui": uuid_of(1), "o": { "_id": 1 } };
    let together = entry("c", "admin.$cmd", doc! { "applyOps": [&insert, inner] }, doc! {});
    assert_eq!(untold(&together), "shop.c was renamed to t_x.c together with other changes");
    let cleared = entry("c", "shop.$cmd", doc! { "emptycapped": "c" }, doc! {});
    assert_eq!(untold(&cleared), "the oplog entry emptycapped changes records of shop.c, and does not say which");
    let anywhere = entry("c", "shop.$cmd", doc! { "yetToCome": 1 }, doc! {});
    assert_eq!(untold(&anywhere), "the oplog entry yetToCome changes records, and does not say where");
    let malformed =
        entry("c", "shop.$cmd", doc! { "renameCollection": "shop.a", "to": "shop.b", "dropTarget": true }, doc! {});
    assert!(untold(&malformed).starts_with("malformed oplog entry"));
    let other = entry("c", "other.$cmd", doc! { "emptycapped": "c" }, doc! {});
    let many = entry("c", "admin.$cmd", doc! { "applyOps": [insert] }, doc! {});
    for entry in samples().into_iter().chain([other, many]) {
        assert_eq!(interpreter().break_at(&entry), None);
    }
}

#[test]
fn operations_inside_an_entry_count_on() {
    let inner =
        |id: i32, collection: u8| doc! { "op": "i", "ns": "shop.c", "ui": uuid_of(collection), "o": { "_id": id } };
    let nested = doc! { "op": "c", "ns": "admin.$cmd", "o": { "applyOps": [inner(2, 2)] } };
    let seen =
        read(&entry("c", "admin.$cmd", doc! { "applyOps": [inner(1, 1), nested, inner(3, 1)] }, doc! {})).unwrap();
    let places: Vec<_> = seen.iter().map(|seen| (seen.namespace, seen.ordinal)).collect();
    assert_eq!(places, [(ONES, 3), (ONES * 2, 4), (ONES, 5)]);
}

#[test]
fn a_renaming_over_another_ends_that_one() {
    let o = doc! { "renameCollection": "shop.a", "to": "shop.b", "dropTarget": uuid_of(2), "stayTemp": false };
    let seen = read(&entry("c", "shop.$cmd", o, doc! {})).unwrap();
    assert_eq!(seen[0].body, Body::Tombstone);
    assert!(matches!(seen[1].body, Body::Delta(crate::interpret::definition::RENAME, _)));
    assert!(seen.iter().all(|seen| seen.namespace == 0 && seen.tenant == TenantHint::Known(Tenant::system())));
    let away = doc! { "renameCollection": "shop.a", "to": "other.b" };
    assert_eq!(read(&entry("c", "shop.$cmd", away, doc! {})).unwrap()[0].body, Body::Tombstone);
}

#[test]
fn the_header_tells_the_parts_of_transactions() {
    let session = doc! { "lsid": { "id": uuid_of(7) }, "txnNumber": 4i64, "prevOpTime": { "ts": Timestamp { time: 5, increment: 1 }, "t": 1i64 } };
    let with = |o: Document, more: Document| {
        let mut all = session.clone();
        all.extend(more);
        entry("c", "admin.$cmd", o, all)
    };
    let none: Vec<Document> = Vec::new();
    let at = Timestamp { time: 8, increment: 1 };
    for (entry, part) in [
        (with(doc! { "applyOps": &none }, doc! {}), Part::Committing),
        (with(doc! { "applyOps": &none, "partialTxn": true }, doc! {}), Part::Pending),
        (with(doc! { "applyOps": &none, "count": 5i64 }, doc! {}), Part::Committing),
        (with(doc! { "applyOps": &none, "prepare": true }, doc! {}), Part::Pending),
        (with(doc! { "commitTransaction": 1, "commitTimestamp": at }, doc! {}), Part::Commit(Tick::new(8, 1))),
        (with(doc! { "abortTransaction": 1 }, doc! {}), Part::Abort),
        (with(doc! { "applyOps": &none }, doc! { "multiOpType": 1 }), Part::None),
        (entry("c", "admin.$cmd", doc! { "applyOps": &none }, doc! {}), Part::None),
        (entry("i", "shop.c", doc! { "_id": 1 }, session.clone()), Part::None),
    ] {
        let header = header(&entry).unwrap();
        assert_eq!(header.part(), part, "{header:?}");
        assert_eq!((header.ts, header.ui), (Tick::new(5, 2), Some(&[1; 16])));
    }
    let one = with(doc! { "applyOps": none }, doc! {});
    let header = header(&one).unwrap();
    assert_eq!(header.prev_op_time, Tick::new(5, 1));
    assert_eq!(header.transaction.map(|transaction| transaction.number), Some(4));
}

fn samples() -> Vec<Vec<u8>> {
    let inner = doc! { "op": "u", "ns": "shop.c", "ui": uuid_of(1), "o": { "$v": 2, "diff": { "u": { "tenant": 1 } } }, "o2": { "_id": 1 } };
    vec![
        entry("i", "shop.c", doc! { "_id": { "a": [1, 2.5] }, "tenant": "a" }, doc! {}),
        entry("u", "shop.c", doc! { "$v": 1, "$set": { "a.b": 1 } }, doc! { "o2": { "_id": 1 } }),
        entry("c", "admin.$cmd", doc! { "applyOps": [inner] }, doc! { "lsid": { "id": uuid_of(7) }, "txnNumber": 1 }),
        entry(
            "c",
            "shop.$cmd",
            doc! { "create": "c", "idIndex": { "v": 2, "key": { "_id": 1 }, "name": "_id_" } },
            doc! {},
        ),
        entry("c", "shop.$cmd", doc! { "createIndexes": "c", "v": 2, "key": { "a": 1 }, "name": "a_1" }, doc! {}),
        entry("c", "shop.$cmd", doc! { "collMod": "c", "index": { "name": "a_1", "hidden": true } }, doc! {}),
    ]
}

proptest! {
    #[test]
    fn damaged_entries_are_read_without_a_panic(which in 0usize..6, at in 0usize..400, byte in any::<u8>(), cut in 0usize..400) {
        let mut entry = samples()[which].clone();
        let length = entry.len();
        entry[at % length] = byte;
        let interpreter = interpreter();
        let definition = crate::interpret::definition::build("shop.c", &[1; 16], &[5, 0, 0, 0, 0], []).unwrap();
        for entry in [&entry[..], &entry[..cut.min(length)]] {
            let _ = header(entry);
            let _ = interpreter.break_at(entry);
            let mut out = Vec::new();
            let _ = interpreter.changes(entry, Tick::ZERO, 0, &mut |change| {
                let _ = interpreter.display_id(change.id);
                match change.body {
                    backstay_model::BodyRef::Delta(operator, delta) => {
                        let _ = interpreter.fold(operator, &definition, delta, &mut out);
                        let _ = interpreter.describe(&out);
                    }
                    backstay_model::BodyRef::Image(image) => {
                        let _ = interpreter.display_record(image);
                    }
                    backstay_model::BodyRef::Tombstone => {}
                }
            });
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(entry in proptest::collection::vec(any::<u8>(), 0..200)) {
        let interpreter = interpreter();
        let _ = header(&entry);
        let _ = interpreter.break_at(&entry);
        let _ = interpreter.changes(&entry, Tick::ZERO, 0, &mut |_| {});
        let _ = interpreter.display_id(&entry);
        let _ = interpreter.display_record(&entry);
        let _ = interpreter.describe(&entry);
        let _ = interpreter.tenant("shop.c", &entry, &mut String::new());
        for operator in [1, 2, 16, 17, 18, 19, 99] {
            let _ = interpreter.fold(backstay_model::Operator(operator), &entry, &entry, &mut Vec::new());
        }
    }
}
