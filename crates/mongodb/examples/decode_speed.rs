//! How long the pure half takes per entry: `cargo run --release -p backstay-mongodb --example decode_speed`.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a benchmark reads the clock and may stop at once")]

use std::hint::black_box;
use std::time::Instant;

use backstay_model::{Interpreter as _, Tick};
use backstay_mongodb::interpret::scope::Include;
use backstay_mongodb::interpret::tenants::{Origin, Rule, Rules};
use backstay_mongodb::interpret::{MongoInterpreter, encode_id, oplog, raw, update};
use bson::{Binary, Document, Timestamp, doc};

const TIMES: u32 = 300_000;

fn measure(what: &str, mut once: impl FnMut()) {
    for _ in 0..TIMES / 10 {
        once();
    }
    let start = Instant::now();
    for _ in 0..TIMES {
        once();
    }
    println!("{what:42} {:>8.1} ns", start.elapsed().as_nanos() as f64 / f64::from(TIMES));
}

/// An order of about 700 bytes.
fn order() -> Document {
    let lines: Vec<Document> =
        (0..6).map(|n| doc! { "sku": format!("sku-{n:06}"), "quantity": n, "price": 12.5 }).collect();
    doc! {
        "_id": bson::oid::ObjectId::from_bytes([7; 12]), "tenant": "tenant-042", "number": 123_456i64, "status": "paid",
        "created": bson::DateTime::from_millis(1_700_000_000_000), "customer": { "name": "A customer", "city": "A city", "zip": "12345" },
        "lines": lines, "total": 75.0, "note": "x".repeat(100), "tags": ["a", "b", "c"], "seen": 3, "version": 1,
    }
}

fn main() {
    let bytes = |document: &Document| bson::serialize_to_vec(document).unwrap();
    let ui = Binary { subtype: bson::spec::BinarySubtype::Uuid, bytes: vec![3; 16] };
    let o = doc! { "$v": 2, "diff": { "u": { "status": "sent", "seen": 4 }, "i": { "sent": 1 }, "slines": { "a": true, "s2": { "u": { "quantity": 9 } } } } };
    let update_entry = bytes(&doc! {
        "op": "u", "ns": "shop.orders", "ui": ui.clone(), "o": o.clone(), "o2": { "_id": bson::oid::ObjectId::from_bytes([7; 12]) },
        "ts": Timestamp { time: 1, increment: 1 }, "t": 1i64, "v": 2i64, "wall": bson::DateTime::from_millis(0),
    });
    let insert_entry = bytes(&doc! {
        "lsid": { "id": ui.clone(), "uid": ui.clone() }, "txnNumber": 5i64, "op": "i", "ns": "shop.orders", "ui": ui, "o": order(),
        "ts": Timestamp { time: 1, increment: 1 }, "t": 1i64, "v": 2i64, "wall": bson::DateTime::from_millis(0), "stmtId": 0,
        "prevOpTime": { "ts": Timestamp { time: 0, increment: 0 }, "t": -1i64 },
    });
    let (image, o) = (bytes(&order()), bytes(&o));
    println!("record of {} bytes, update entry of {} bytes", image.len(), update_entry.len());

    measure("header of an update", || drop(black_box(oplog::header(black_box(&update_entry)))));
    measure("header of an insert", || drop(black_box(oplog::header(black_box(&insert_entry)))));
    let rules = Rules::compile([Rule { ns: "shop.*".into(), origin: Origin::Field("tenant".into()) }]).unwrap();
    let interpreter = MongoInterpreter::new(Include::default(), rules);
    for (what, entry) in [("changes of an update", &update_entry), ("changes of an insert", &insert_entry)] {
        measure(what, || {
            let used = interpreter.changes(black_box(entry), Tick::ZERO, 0, &mut |change| drop(black_box(change)));
            black_box(used).unwrap();
        });
    }
    let mut out = Vec::new();
    for (what, id) in [
        ("id of an ObjectId", doc! { "_id": bson::oid::ObjectId::from_bytes([7; 12]) }),
        ("id of a 32-bit integer", doc! { "_id": 123_456 }),
        ("id of a 64-bit integer", doc! { "_id": 1_234_567_890_123i64 }),
        ("id of a string of 24", doc! { "_id": "abcdefghijklmnopqrstuvwx" }),
        ("id of a double with a fraction", doc! { "_id": 0.1 }),
        ("id of a document", doc! { "_id": { "tenant": "a", "n": 7 } }),
    ] {
        let id = bytes(&id);
        let id = raw::find(&id, b"_id").unwrap().unwrap();
        measure(what, || {
            out.clear();
            encode_id(black_box(id.kind), black_box(id.value), &mut out).unwrap();
            black_box(&out);
        });
    }
    measure("$v: 2 applied", || {
        update::apply(black_box(&image), black_box(&o), &mut out).unwrap();
        black_box(&out);
    });
    let o = bytes(&doc! { "$v": 1, "$set": { "status": "sent", "seen": 4, "sent": 1, "lines.2.quantity": 9 } });
    measure("$v: 1 applied", || {
        update::apply(black_box(&image), black_box(&o), &mut out).unwrap();
        black_box(&out);
    });
}
