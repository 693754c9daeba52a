//! Entries of the oplog and events of change streams: what they change, and when that becomes visible.

use backstay_model::{BodyRef, Incarnation, Interpreter as _, Tick};
use backstay_mongodb::interpret::event::Event;
use backstay_mongodb::interpret::raw::{self, kind};
use backstay_mongodb::interpret::{decode_id, encode_id, id_of, oplog};

use crate::forge::Forge;
use crate::ids::INTERPRETER;

/// One entry.
pub(crate) fn entry(bytes: &[u8]) {
    let mut forge = Forge::new(bytes);
    let entry = one(&mut forge);
    if let Ok(header) = oplog::header(&entry) {
        header.part();
    }
    read(&entry);
}

/// One event.
pub(crate) fn event(bytes: &[u8]) {
    let event = one_event(&mut Forge::new(bytes));
    if let Ok(event) = Event::read(&event) {
        assert!(!event.is_of_record() || event.uuid.is_some());
    }
    read(&event);
}

/// What an entry of either family changes.
fn read(entry: &[u8]) {
    let interpreter = &*INTERPRETER;
    // Whatever it says, nobody panics of it.
    let _ = interpreter.break_at(entry);
    let visible = Tick::new(9, 9);
    let (mut next, mut scratch, mut folded) = (3, String::new(), Vec::new());
    let read = interpreter.changes(entry, visible, 3, &mut |change| {
        assert_eq!((change.version.tick, change.version.ordinal), (visible, next));
        next += 1;
        if change.namespace == Incarnation::SYSTEM {
            assert!(Incarnation::from_record_id(change.id).is_some());
        } else {
            let (kind, value) = decode_id(change.id).expect("an id that was written is read");
            let mut again = Vec::new();
            encode_id(kind, &value, &mut again).expect("what was read is written");
            assert_eq!(again, change.id);
        }
        match change.body {
            BodyRef::Image(image) if change.namespace == Incarnation::SYSTEM => {
                interpreter.describe(image).expect("a definition describes itself");
            }
            BodyRef::Image(image) => {
                // A replacement's own may be another than the one that its entry is about: no server writes such.
                id_of(image, &mut Vec::new()).expect("an image has an id");
                interpreter.tenant(change.name, image, &mut scratch);
            }
            BodyRef::Delta(operator, delta) => {
                // Whatever comes of it.
                let _ = interpreter.fold(operator, &[5, 0, 0, 0, 0], delta, &mut folded);
            }
            BodyRef::Tombstone => {}
        }
    });
    if let Ok(used) = read {
        assert_eq!(used, next - 3);
    }
}

/// Several, one after the other.
pub(crate) fn tail(bytes: &[u8]) {
    let mut forge = Forge::new(bytes);
    let mut entries = Vec::new();
    while !forge.is_empty() && entries.len() < 32 {
        entries.push(one(&mut forge));
    }
    let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
    backstay_mongodb::fuzz_tail(&entries);
}

/// A document, or one with the fields that every entry has.
fn one(forge: &mut Forge<'_>) -> Vec<u8> {
    let order = forge.byte();
    if order & 1 == 0 {
        return forge.document();
    }
    let mut out = Vec::new();
    let start = raw::open(&mut out);
    raw::put(&mut out, kind::TIMESTAMP, b"ts", &[forge.byte(), 0, 0, 0, forge.byte(), 0, 0, 0]);
    raw::put_string(&mut out, b"op", forge.text()).expect("it is small");
    raw::put_string(&mut out, b"ns", forge.text()).expect("it is small");
    if order & 2 == 0 {
        raw::put(&mut out, kind::BINARY, b"ui", &[&[16, 0, 0, 0, 4][..], &[1; 16]].concat());
    }
    raw::put(&mut out, kind::DOCUMENT, b"o", &forge.document());
    if order & 4 == 0 {
        raw::put(&mut out, kind::DOCUMENT, b"o2", &forge.document());
    }
    if order & 8 != 0 {
        raw::put(&mut out, kind::DOCUMENT, b"lsid", &[8, 0, 0, 0, kind::NULL, b'a' + (order >> 6), 0, 0]);
        raw::put(&mut out, kind::INT64, b"txnNumber", &[order >> 5 & 1, 0, 0, 0, 0, 0, 0, 0]);
        let previous = raw::put_document(&mut out, kind::DOCUMENT, b"prevOpTime");
        raw::put(&mut out, kind::TIMESTAMP, b"ts", &[0, 0, 0, 0, forge.byte(), 0, 0, 0]);
        raw::close(&mut out, previous).expect("it is small");
    }
    raw::close(&mut out, start).expect("it is small");
    out
}

/// The kinds of events.
const KINDS: &[&str] = &[
    "insert",
    "update",
    "replace",
    "delete",
    "create",
    "modify",
    "drop",
    "createIndexes",
    "dropIndexes",
    "rename",
    "dropDatabase",
    "invalidate",
];

/// A document, or one with the fields that every event has.
fn one_event(forge: &mut Forge<'_>) -> Vec<u8> {
    let order = forge.byte();
    if order & 1 == 0 {
        return forge.document();
    }
    let kind_of = usize::from(forge.byte());
    let mut out = Vec::new();
    let start = raw::open(&mut out);
    let name = match KINDS.get(kind_of % 16) {
        Some(kind) => kind,
        None => forge.text(),
    };
    raw::put_string(&mut out, b"operationType", name).expect("it is small");
    raw::put(&mut out, kind::TIMESTAMP, b"clusterTime", &[forge.byte(), 0, 0, 0, forge.byte(), 0, 0, 0]);
    if order & 2 == 0 {
        raw::put(&mut out, kind::BINARY, b"collectionUUID", &[&[16, 0, 0, 0, 4][..], &[1; 16]].concat());
    }
    let ns = raw::put_document(&mut out, kind::DOCUMENT, b"ns");
    raw::put_string(&mut out, b"db", forge.text()).expect("it is small");
    if order & 4 == 0 {
        raw::put_string(&mut out, b"coll", forge.text()).expect("it is small");
    }
    raw::close(&mut out, ns).expect("it is small");
    for (bit, field) in
        ["fullDocument", "documentKey", "rawUpdateDescription", "operationDescription"].iter().enumerate()
    {
        if order >> (bit + 3) & 1 == 0 {
            raw::put(&mut out, kind::DOCUMENT, field.as_bytes(), &forge.document());
        }
    }
    raw::close(&mut out, start).expect("it is small");
    out
}
