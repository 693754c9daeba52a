//! Writes small real inputs, as the product and a server make them, for a fuzzer to start from:
//! `cargo run -p backstay-fuzz --example seeds FOLDER` fills FOLDER/{target}/.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;

use bson::{Binary, Bson, Document, Timestamp, doc, spec::BinarySubtype};

fn main() {
    let folder = std::env::args().nth(1).expect("the folder to write into");
    let folder = Path::new(&folder);
    let write = |target: &str, number: usize, bytes: &[u8]| {
        let folder = folder.join(target);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("seed-{number:02}")), bytes).unwrap();
    };
    let samples = [backstay_segment::fuzzing::samples(), backstay_ledger::fuzzing::samples()].concat();
    for (number, (target, bytes)) in samples.iter().enumerate() {
        write(target, number, bytes);
    }
    for (target, texts) in texts() {
        for (number, text) in texts.iter().enumerate() {
            write(target, number, text.as_bytes());
        }
    }
    for (number, document) in documents().iter().enumerate() {
        write("bson_walk", number, &one(document));
        write("record_id", number, &[&[1][..], &one(&doc! { "_id": document.clone() })].concat());
        let mut id = vec![0];
        backstay_mongodb::interpret::id_of(&raw(&doc! { "_id": document.clone() }), &mut id).unwrap();
        write("record_id", number + 50, &id);
        write(
            "extended_json",
            number,
            backstay_mongodb::interpret::extjson::document(&raw(document)).unwrap().as_bytes(),
        );
        write("filter", number, &[one(document), br#"{"a":{"$gte":{"$numberInt":"1"}}}"#.to_vec()].concat());
    }
    for (number, entry) in entries().iter().enumerate() {
        write("oplog_entry", number, &[&[0][..], &one(entry)].concat());
    }
    for (number, event) in events().iter().enumerate() {
        write("stream_event", number, &[&[0][..], &one(event)].concat());
    }
    let all: Vec<u8> = entries().iter().flat_map(|entry| [&[0][..], &one(entry)].concat()).collect();
    write("oplog_tail", 0, &all);
    for (number, (image, update)) in diffs().iter().enumerate() {
        write("update_diff", number, &[one(image), one(update)].concat());
    }
    let (image, set) = (doc! { "_id": 1, "a": { "b": [1, { "c": 2 }] } }, doc! { "a.b.1.c": 3, "a.b.3": 4, "x.y": 5 });
    write("update_paths", 0, &[one(&image), one(&set), one(&doc! { "a.b.0": true, "z": true })].concat());
    definitions(&write);
    for (number, answer) in ANSWERS.iter().enumerate() {
        write("store_answer", number, answer.as_bytes());
    }
}

/// Events of a change stream, as MongoDB 6.0.5 sends them.
fn events() -> Vec<Document> {
    let event = |kind: &str, more: Document| {
        let ns = doc! { "db": "shop", "coll": "orders" };
        let mut event = doc! { "_id": { "_data": "826B02459F000000052B0229296E04" }, "operationType": kind };
        event.extend(doc! { "clusterTime": Timestamp { time: 9, increment: 1 }, "collectionUUID": uuid(7), "ns": ns });
        event.extend(more);
        event
    };
    let key = doc! { "_id": 1 };
    let index = doc! { "v": 2, "key": { "a": 1 }, "name": "a_1" };
    let mut view = event("create", doc! { "operationDescription": { "viewOn": "orders", "pipeline": [] } });
    view.remove("collectionUUID");
    let session = doc! { "lsid": { "id": uuid(1) }, "txnNumber": 3_i64 };
    vec![
        event("insert", doc! { "fullDocument": { "_id": 1, "tenant": "a" }, "documentKey": key.clone() }),
        event("replace", doc! { "fullDocument": { "_id": 1, "tenant": "b" }, "documentKey": key.clone() }),
        event(
            "update",
            doc! { "documentKey": key.clone(), "rawUpdateDescription": { "$v": 2, "diff": { "u": { "tenant": "c" } } } },
        ),
        event("delete", [session, doc! { "documentKey": key }].into_iter().flatten().collect()),
        event("create", doc! { "operationDescription": { "capped": true, "size": 4096 } }),
        event("createIndexes", doc! { "operationDescription": { "indexes": [index.clone()] } }),
        event("dropIndexes", doc! { "operationDescription": { "indexes": [index] } }),
        event("modify", doc! { "operationDescription": { "index": { "name": "a_1", "hidden": true } } }),
        event(
            "rename",
            doc! { "operationDescription": { "to": { "db": "shop", "coll": "old" }, "dropTarget": uuid(8) } },
        ),
        event("drop", doc! {}),
        event("dropDatabase", doc! {}),
        event("invalidate", doc! {}),
        view,
    ]
}

fn raw(document: &Document) -> Vec<u8> {
    bson::serialize_to_vec(document).unwrap()
}

/// As `backstay_fuzz` takes a document as it is.
fn one(document: &Document) -> Vec<u8> {
    let raw = raw(document);
    [&[0][..], &u16::try_from(raw.len()).unwrap().to_le_bytes(), &raw].concat()
}

fn uuid(byte: u8) -> Bson {
    Bson::Binary(Binary { subtype: BinarySubtype::Uuid, bytes: vec![byte; 16] })
}

fn documents() -> Vec<Document> {
    let regex = |text: &str| bson::raw::CString::try_from(text).unwrap();
    vec![
        doc! {},
        doc! { "_id": 1, "tenant": "a", "customer": { "a": uuid(3) }, "lines": [{ "sku": "x", "n": 2_i64 }, [], {}] },
        doc! { "a": 1.5, "b": 0.1, "c": f64::INFINITY, "d": -3.0, "e": "1.25E-7".parse::<bson::Decimal128>().unwrap() },
        doc! { "a": Bson::Undefined, "b": true, "c": bson::DateTime::from_millis(-5), "d": Bson::Null, "e": uuid(1) },
        doc! { "a": bson::Regex { pattern: regex("a+"), options: regex("i") }, "b": Bson::Symbol("s".into()) },
        doc! { "a": Bson::JavaScriptCode("f()".into()), "b": Timestamp { time: 9, increment: 3 }, "c": Bson::MinKey },
        doc! { "a": Bson::JavaScriptCodeWithScope(bson::JavaScriptCodeWithScope { code: "f".into(), scope: doc! {"y": 2} }) },
        doc! { "a": bson::oid::ObjectId::from_bytes([1; 12]), "b": "t\0u", "c": i64::MAX, "d": i32::MIN, "e": Bson::MaxKey },
    ]
}

fn entries() -> Vec<Document> {
    let entry = |second: u32, op: &str, ns: &str, o: Document, more: Document| {
        let mut entry =
            doc! { "lsid": { "id": uuid(9) }, "txnNumber": 1_i64, "op": op, "ns": ns, "ui": uuid(1), "o": o };
        if !more.contains_key("prevOpTime") {
            entry = doc! { "op": op, "ns": ns, "ui": uuid(1), "o": entry.get_document("o").unwrap().clone() };
        }
        entry.extend(more);
        entry.extend(doc! { "ts": Timestamp { time: second, increment: 1 }, "t": 1_i64, "v": 2_i64 });
        entry
    };
    let previous = |second: u32| doc! { "prevOpTime": { "ts": Timestamp { time: second, increment: 1 }, "t": 1_i64 } };
    let ops = doc! { "applyOps": [
        { "op": "i", "ns": "shop.orders", "ui": uuid(1), "o": { "_id": 7, "tenant": "a" }, "o2": { "_id": 7 } },
        { "op": "d", "ns": "shop.orders", "ui": uuid(1), "o": { "_id": 8 } },
    ] };
    let with = |more: Document| [ops.clone(), more].into_iter().flatten().collect::<Document>();
    let v2 = doc! { "$v": 2, "diff": { "u": { "n": 1 }, "stenant": { "d": { "x": false } } } };
    let v1 = doc! { "$v": 1, "$set": { "a.b": 1 }, "$unset": { "tenant": true } };
    vec![
        entry(2, "i", "shop.orders", doc! { "_id": 1, "tenant": "a" }, doc! { "o2": { "_id": 1 } }),
        entry(3, "u", "shop.orders", v2, doc! { "o2": { "_id": 1 } }),
        entry(4, "u", "t_a.orders", v1, doc! { "o2": { "_id": 1 } }),
        entry(5, "u", "shop.orders", doc! { "tenant": "b", "_id": 1 }, doc! { "o2": { "_id": 1 } }),
        entry(6, "d", "shop.orders", doc! { "_id": 1 }, doc! {}),
        entry(7, "n", "", doc! { "msg": "new primary" }, doc! {}),
        entry(8, "c", "admin.$cmd", with(doc! { "partialTxn": true }), previous(0)),
        entry(9, "c", "admin.$cmd", with(doc! { "prepare": true }), previous(8)),
        entry(10, "i", "shop.orders", doc! { "_id": 9 }, doc! {}),
        entry(
            11,
            "c",
            "admin.$cmd",
            doc! { "commitTransaction": 1, "commitTimestamp": Timestamp { time: 9, increment: 1 } },
            previous(9),
        ),
        entry(12, "c", "admin.$cmd", doc! { "abortTransaction": 1 }, previous(11)),
        entry(13, "c", "shop.$cmd", doc! { "create": "orders", "capped": true, "size": 4096 }, doc! {}),
        entry(14, "c", "shop.$cmd", doc! { "drop": "orders" }, doc! {}),
        entry(
            15,
            "c",
            "shop.$cmd",
            doc! { "renameCollection": "shop.orders", "to": "shop.new", "dropTarget": uuid(4) },
            doc! {},
        ),
        entry(
            16,
            "c",
            "shop.$cmd",
            doc! { "createIndexes": "orders", "v": 2, "key": { "a": 1 }, "name": "a_1" },
            doc! {},
        ),
        entry(17, "c", "shop.$cmd", doc! { "dropIndexes": "orders", "index": "a_1" }, doc! {}),
        entry(18, "c", "shop.$cmd", doc! { "collMod": "orders", "index": { "name": "a_1", "hidden": true } }, doc! {}),
        entry(
            19,
            "c",
            "shop.$cmd",
            doc! { "importCollection": "shop.orders", "catalogEntry": { "md": { "options": { "uuid": uuid(2) } } } },
            doc! {},
        ),
        entry(20, "c", "shop.$cmd", doc! { "emptycapped": "orders" }, doc! {}),
    ]
}

fn diffs() -> Vec<(Document, Document)> {
    let binary = |bytes: &[u8]| Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() };
    vec![
        (
            doc! { "_id": 1, "a": 1, "b": 2, "c": 3 },
            doc! { "d": { "a": false }, "u": { "b": 20, "y": 1 }, "i": { "x": 1, "c": 30 } },
        ),
        (
            doc! { "_id": 1, "a": [1, 2, 3], "b": [1], "c": [1, { "x": 1 }], "d": { "e": { "a": 1 } } },
            doc! {
                "sa": { "a": true, "l": 1 }, "sb": { "a": true, "l": 3 },
                "sc": { "a": true, "s1": { "u": { "x": 2 } }, "u3": 9 }, "sd": { "se": { "i": { "b": 1 } } },
            },
        ),
        (
            doc! { "_id": 1, "a": { "b": binary(b"hello") }, "c": binary(b"x") },
            doc! { "b": { "c": { "o": 1, "d": binary(b"y") } }, "sa": { "b": { "b": { "o": 2, "d": binary(b"y") } } } },
        ),
        (doc! { "_id": 1, "a": 1 }, doc! { "i": { "b": 2, "_id": 1 } }),
    ]
}

fn definitions(write: &dyn Fn(&str, usize, &[u8])) {
    let options = doc! { "capped": true, "size": 4096, "max": 0, "validator": { "a": 1 }, "validationLevel": "strict" };
    let series = doc! { "timeseries": { "timeField": "t", "granularity": "seconds", "bucketMaxSpanSeconds": 3600 } };
    let index = doc! { "v": 2, "key": { "a": 1 }, "name": "a_1", "unique": true, "expireAfterSeconds": 5.0 };
    let edits = [
        doc! { "renameCollection": "shop.orders", "to": "shop.new" },
        doc! { "createIndexes": "orders", "v": 2, "key": { "b": 1 }, "name": "b_1" },
        doc! { "dropIndexes": "orders", "index": ["a_1", "b_1"] },
        doc! { "collMod": "orders", "cappedSize": 5000, "index": { "name": "a_1", "forceNonUnique": true } },
        doc! { "collMod": "orders", "timeseries": { "granularity": "hours" }, "validationAction": "error" },
        doc! { "commitIndexBuild": "orders", "indexes": [{ "v": 2, "key": { "c": 1 }, "name": "c_1", "hidden": true }] },
    ];
    for (number, made) in [options, series].iter().enumerate() {
        let mut bytes = [&[1][..], &one(made), &[1], &one(&index)].concat();
        for (order, edit) in [0, 1, 2, 3, 3, 1].iter().zip(&edits) {
            write("definition", number * 10 + usize::from(*order), &[&bytes[..], &[*order], &one(edit)].concat());
        }
        bytes.extend([&[3][..], &one(&edits[4]), &[1], &one(&edits[5])].concat());
        write("definition", number * 10 + 9, &bytes);
    }
}

fn texts() -> Vec<(&'static str, Vec<String>)> {
    let keyring = concat!(
        r#"{"format":1,"id":"00112233445566778899aabbccddeeff","kek":{"kind":"file","key":"#,
        r#""0101010101010101010101010101010101010101010101010101010101010101"},"verifying":"#,
        r#""0202020202020202020202020202020202020202020202020202020202020202","entries":[{"id":"#,
        r#""00112233445566778899aabbccddeef0","kind":"tenant","vault":"00112233445566778899aabbccddeef1","tenant":"YQ==","#,
        r#""generation":1,"created":5,"state":"active","wrapped":"AAAA"},{"id":"00112233445566778899aabbccddeef2","kind":"#,
        r#""signing","generation":2,"created":6,"state":"shredded","shredded":7}],"seal":"#,
        r#""0303030303030303030303030303030303030303030303030303030303030303"}"#
    );
    let hex = "00112233445566778899aabbccddeeff";
    let anchors =
        format!(r#"{{"format":1,"anchors":[{{"vault":"{hex}","name":"shop","seq":7,"hash":"{hex}{hex}"}}]}}"#);
    let marker =
        format!(r#"{{"format":1,"repository":"{hex}","verifying_key":"{hex}{hex}","signature":"{hex}{hex}{hex}"}}"#);
    let run = format!(
        r#"{{"id":"{}","source":"shop","began":5,"at":"5:1","target":"in-place","selection":"all","commit":7,"state":"proved","plan":{{"insert":1,"replace":2,"delete":3,"unchanged":4}},"written":6,"proof":null,"error":null,"milliseconds":8,"before":"4:0","terms":{{"tenants":["a"],"namespaces":["shop.*"],"ids":[],"filter":null}},"namespaces":[{{"namespace":"a.b","target":"a.c","create":true}}],"undoes":null}}"#,
        "ab".repeat(16)
    );
    let config = include_str!("../../crates/cli/tests/fixtures/backstay.yaml").to_owned();
    let bucket = concat!(
        "repository:\n  url: s3://b/p\n  endpoint: http://127.0.0.1:1\n  region: r\n  access_key_id: a\n",
        "  secret_access_key_file: f\n  limits: {requests_per_second: 1.5, mbytes_per_second: 2}\nkeyring: &k\n",
        "  file: k\nsources:\n  a: {kind: mongodb, uri_command: x, tenants: [{ns: '*', fixed: t}]}\ndrill: {into: y}\n"
    );
    let path = "vaults/shop/chain/00000000000000000007";
    let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    vec![
        ("seal_keyring", vec![keyring.to_owned()]),
        ("seal_text", strings(&[hex, "YQ==", "00000001"])),
        ("archive_anchors", vec![anchors]),
        ("archive_marker", vec![marker]),
        ("engine_journal", vec![run]),
        ("cli_config", vec![config, bucket.to_owned()]),
        ("ledger_names", strings(&[path, "vaults/shop/checkpoints/18446744073709551103-512"])),
        (
            "store_names",
            strings(&["s3://bucket/a/b", "file:./archive", "file:///srv/a", "az://c", "gs://b/", "memory:", path]),
        ),
        (
            "extended_json",
            strings(&[
                "7",
                r#""a""#,
                r#"{"$oid":"010101010101010101010101"}"#,
                r#"{"$date":{"$numberLong":"-5"}}"#,
                r#"{"$date":"2026-11-21T14:03:05.5Z"}"#,
                r#"{"$numberDecimal":"1.5E-7"}"#,
                r#"{"$binary":{"base64":"AAAA","subType":"04"}}"#,
                r#"{"$uuid":"00112233-4455-6677-8899-aabbccddeeff"}"#,
                r#"{"$timestamp":{"t":9,"i":3}}"#,
                r#"{"$regularExpression":{"pattern":"a","options":"i"}}"#,
                r#"{"$code":"f","$scope":{"a":1}}"#,
                r#"{"$dbPointer":{"$ref":"a.b","$id":{"$oid":"010101010101010101010101"}}}"#,
                r#"{"$minKey":1}"#,
                r#"{"$numberDouble":"-0.0"}"#,
                r#"[1.5,null,true,{"$symbol":"s"},{"$undefined":true}]"#,
            ]),
        ),
        (
            "filter",
            strings(&[
                "\0\x05\0\x05\0\0\0\0{}",
                "\0\x05\0\x05\0\0\0\0{\"$and\":[{\"a.b\":{\"$in\":[1,null]}},{\"$nor\":[{\"c\":{\"$size\":2}}]}]}",
                "\0\x05\0\x05\0\0\0\0{\"a.0\":{\"$elemMatch\":{\"b\":{\"$gt\":1}}},\"x\":{\"$not\":{\"$type\":[\"int\",2]}}}",
                "\0\x05\0\x05\0\0\0\0{\"a\":{\"$all\":[1,2],\"$nin\":[3],\"$exists\":true,\"$ne\":4}}",
            ]),
        ),
        (
            "protection",
            strings(&[
                "shop.*\nt_?.x\n\n{\"ns\":\"shop.*\",\"field\":\"a.b\"}\n{\"ns\":\"t_{id}.*\"}\n{\"ns\":\"*\",\"fixed\":\"t\"}",
            ]),
        ),
    ]
}

const ANSWERS: [&str; 7] = [
    "\x30<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><UploadId>u</UploadId></InitiateMultipartUploadResult>",
    "\x31<CompleteMultipartUploadResult><ETag>\"x\"</ETag></CompleteMultipartUploadResult>",
    "\x32<ListMultipartUploadsResult><IsTruncated>false</IsTruncated><Upload><Key>a</Key><UploadId>u</UploadId><Initiated>2026-11-21T14:03:05.000Z</Initiated></Upload></ListMultipartUploadsResult>",
    "\x33<?xml version=\"1.0\"?><ListVersionsResult><IsTruncated>true</IsTruncated><NextKeyMarker>m</NextKeyMarker><Version><Key>a</Key><VersionId>v</VersionId></Version><DeleteMarker><Key>a</Key><VersionId>w</VersionId></DeleteMarker></ListVersionsResult>",
    "\x34<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
    "\x35<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>",
    "\x22<Error><Code>SlowDown</Code><Message>Reduce &amp; wait</Message></Error>",
];
