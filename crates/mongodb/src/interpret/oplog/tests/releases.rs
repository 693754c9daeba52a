//! Entries as the releases of the server write them, so that what no test can run against is decoded at least.
//!
//! Forms after the server's own descriptions: `src/mongo/db/repl/oplog_entry.idl` of the releases that are named, the manual's
//! release notes, and for those that can be run, what their oplogs hold. See docs/reference/versions.md.

use super::*;
use crate::interpret::definition::{self, ADD_INDEXES, MODIFY};
use crate::interpret::update;

fn one(op: &str, ns: &str, o: Document, more: Document) -> Seen {
    let mut seen = read(&entry(op, ns, o, more)).unwrap();
    assert_eq!(seen.len(), 1, "{seen:?}");
    seen.remove(0)
}

fn command(o: Document, more: Document) -> Seen {
    one("c", "shop.$cmd", o, more)
}

/// What a definition becomes.
fn edited(o: Document) -> Document {
    let Seen { body: Body::Delta(operator, delta), .. } = command(o, doc! {}) else { panic!("no edit") };
    let before = definition::build("shop.c", &[1; 16], &bytes(&doc! {}), []).unwrap();
    let mut after = Vec::new();
    definition::edit(operator, &before, &delta, &mut after).unwrap();
    Document::try_from(bson::RawDocument::from_bytes(&after).unwrap()).unwrap()
}

fn index_names(definition: &Document) -> Vec<&str> {
    let indexes = definition.get_array("indexes").unwrap();
    indexes.iter().map(|index| index.as_document().unwrap().get_str("name").unwrap()).collect()
}

#[test]
fn up_to_4_4_updates_are_paths_and_entries_may_have_a_hash() {
    let update = doc! { "$v": 1, "$set": { "a.b": 2, "list.1": "x" }, "$unset": { "gone": true } };
    let seen = one("u", "shop.c", update, doc! { "o2": { "_id": 1 }, "h": 7_i64 });
    let Body::Delta(operator, delta) = seen.body else { panic!("{seen:?}") };
    assert_eq!(form_of(operator), Some(update::Form::Paths));
    let (image, mut out) = (doc! { "_id": 1, "a": { "b": 1 }, "list": [1, 2], "gone": 0 }, Vec::new());
    update::apply_paths(&bytes(&image), &delta, &mut out).unwrap();
    assert_eq!(out, bytes(&doc! { "_id": 1, "a": { "b": 2 }, "list": [1, "x"] }));
    // Before 4.2 a modification had no `$v`.
    let old = one("u", "shop.c", doc! { "$set": { "a": 1 } }, doc! { "o2": { "_id": 1 } });
    assert!(matches!(old.body, Body::Delta(operator, _) if form_of(operator) == Some(update::Form::Paths)));
}

#[test]
fn from_5_0_updates_are_diffs() {
    let diff = doc! { "$v": 2, "diff": { "d": { "gone": false }, "u": { "a": 2 }, "i": { "new": 3 }, "slist": { "a": true, "u1": "x" } } };
    let seen = one("u", "shop.c", diff, doc! { "o2": { "_id": 1 } });
    let Body::Delta(operator, delta) = seen.body else { panic!("{seen:?}") };
    let (image, mut out) = (doc! { "_id": 1, "a": 1, "list": [1, 2], "gone": 0 }, Vec::new());
    assert_eq!(form_of(operator), Some(update::Form::Diff));
    update::apply_diff(&bytes(&image), &delta, &mut out).unwrap();
    assert_eq!(out, bytes(&doc! { "_id": 1, "a": 2, "list": [1, "x"], "new": 3 }));
    // Later the end of a binary value may be replaced. What follows a version that is known is not guessed at.
    let splice = doc! { "$v": 2, "diff": { "b": { "data": { "o": 1, "d": Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: vec![9] } } } } };
    let seen = one("u", "shop.c", splice, doc! { "o2": { "_id": 1 } });
    let Body::Delta(_, delta) = seen.body else { panic!("{seen:?}") };
    let data =
        |bytes: Vec<u8>| doc! { "_id": 1, "data": Binary { subtype: bson::spec::BinarySubtype::Generic, bytes } };
    update::apply_diff(&bytes(&data(vec![1, 2, 3])), &delta, &mut out).unwrap();
    assert_eq!(out, bytes(&data(vec![1, 9])), "what is behind it goes");
    let later = entry("u", "shop.c", doc! { "$v": 3, "diff": {} }, doc! { "o2": { "_id": 1 } });
    let Body::Image(definition) = read(&later).unwrap().remove(0).body else { panic!("no definition") };
    assert_eq!(definition::describe(&definition).unwrap().lost.as_deref(), Some("$v: 3"));
}

#[test]
fn indexes_are_built_in_as_many_forms_as_there_were() {
    let index = || doc! { "v": 2, "key": { "a": 1 }, "name": "a_1" };
    let mut flat = doc! { "createIndexes": "c" };
    flat.extend(index());
    let from_4_4 = doc! { "commitIndexBuild": "c", "indexBuildUUID": uuid_of(3), "indexes": [index()] };
    // Apart from the command's own fields, as releases after 8.0 may put it.
    let apart = doc! { "createIndexes": "c", "spec": index() };
    for o in [flat, from_4_4, apart] {
        let seen = command(o.clone(), doc! { "o2": { "indexIdent": "index-1", "directoryPerDB": false } });
        assert!(matches!(seen.body, Body::Delta(ADD_INDEXES, _)), "{seen:?}");
        assert_eq!(index_names(&edited(o.clone())), ["a_1"], "{o}");
    }
    for o in [
        doc! { "startIndexBuild": "c", "indexBuildUUID": uuid_of(3), "indexes": [index()] },
        doc! { "abortIndexBuild": "c", "indexBuildUUID": uuid_of(3), "indexes": [index()], "cause": { "ok": false } },
    ] {
        assert_eq!(read(&entry("c", "shop.$cmd", o, doc! {})).unwrap(), []);
    }
}

#[test]
fn what_is_said_of_storage_is_no_part_of_a_definition() {
    // 8.0: the version of the features that the operation saw, and where the files lie.
    let idents =
        doc! { "catalogId": 5_i64, "ident": "collection-5", "idIndexIdent": "index-6", "directoryPerDB": false };
    let context = doc! { "OFCV": "8.0" };
    let o =
        doc! { "create": "c", "idIndex": { "v": 2, "key": { "_id": 1 }, "name": "_id_" }, "recordIdsReplicated": true };
    let later = command(o, doc! { "o2": idents, "versionContext": context.clone() });
    let plain = command(doc! { "create": "c", "idIndex": { "v": 2, "key": { "_id": 1 }, "name": "_id_" } }, doc! {});
    assert_eq!(later, plain);
    let replicated =
        doc! { "rid": 9_i64, "versionContext": context, "fromMigrate": false, "checkExistenceForDiffInsert": true };
    let seen = one("i", "shop.c", doc! { "_id": 1, "tenant": "a" }, replicated);
    assert_eq!((seen.name.as_str(), seen.tenant), ("shop.c", known("a")));
}

#[test]
fn many_inserts_in_one_entry_are_each_their_own() {
    // 8.0: what `bulkWrite` and retryable inserts log together; it is no transaction, though it looks like one.
    let insert = |id: i32, ns: &str| doc! { "op": "i", "ns": ns, "ui": uuid_of(1), "o": { "_id": id }, "o2": { "_id": id }, "stmtId": id };
    let session = doc! { "lsid": { "id": uuid_of(7) }, "txnNumber": 4_i64, "stmtId": [0, 1], "multiOpType": 1,
    "prevOpTime": { "ts": Timestamp { time: 0, increment: 0 }, "t": -1_i64 } };
    let many = entry(
        "c",
        "admin.$cmd",
        doc! { "applyOps": [insert(1, "shop.c"), insert(2, "shop.d"), insert(3, "other.c")] },
        session,
    );
    assert_eq!(header(&many).unwrap().part(), Part::None);
    let names: Vec<String> = read(&many).unwrap().into_iter().map(|seen| seen.name).collect();
    assert_eq!(names, ["shop.c", "shop.d"]);
}

#[test]
fn options_change_in_every_form() {
    let prepared = doc! { "collMod": "c", "index": { "name": "a_1", "prepareUnique": true } };
    let images = doc! { "collMod": "c", "changeStreamPreAndPostImages": { "enabled": true } };
    for o in [prepared, images] {
        let seen = command(o, doc! { "o2": { "collectionOptions_old": { "uuid": uuid_of(1) } } });
        assert!(matches!(seen.body, Body::Delta(MODIFY, _)), "{seen:?}");
    }
    let action = edited(doc! { "collMod": "c", "validator": { "a": 1 }, "validationAction": "errorAndLog" });
    let options = action.get_document("options").unwrap();
    assert_eq!(options.get_str("validationAction").ok(), Some("errorAndLog"), "8.1");
}

#[test]
fn what_changes_records_unsaid_ends_what_can_be_told_of_them() {
    for o in [
        // After 8.0: the buckets of a time series take the name of its view, or give it back.
        doc! { "upgradeDowngradeViewlessTimeseries": "c", "isUpgrade": true },
        doc! { "truncateRange": "shop.c", "minRecordId": 1_i64, "maxRecordId": 2_i64 },
    ] {
        let entry = entry("c", "shop.$cmd", o.clone(), doc! {});
        assert!(matches!(interpreter().break_at(&entry), Some(Break::Untold(_))), "{o}");
    }
    // Containers, keys and catalogs are the server's own.
    for op in ["ci", "cu", "cd", "xi", "km"] {
        assert_eq!(read(&entry(op, "shop.c", doc! { "k": 1 }, doc! {})).unwrap(), [], "{op}");
    }
    for o in [
        doc! { "createDatabaseMetadata": "shop", "db": { "_id": "shop" } },
        doc! { "dropDatabaseMetadata": "shop" },
        doc! { "dropIdent": "index-1" },
        doc! { "setMultikeyMetadata": "c" },
        doc! { "modifyCollectionShardingIndexCatalog": "c" },
    ] {
        assert_eq!(interpreter().break_at(&entry("c", "shop.$cmd", o.clone(), doc! {})), None, "{o}");
    }
}
