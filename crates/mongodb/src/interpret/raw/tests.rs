#![allow(clippy::unwrap_used)]

use bson::{Bson, doc};
use proptest::prelude::*;

use super::*;

fn sample() -> Vec<u8> {
    let document = doc! {
        "_id": bson::oid::ObjectId::from_bytes([1; 12]), "d": 1.5, "s": "text", "doc": { "x": 1 }, "a": [1, "b"],
        "bin": bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: vec![1, 2] },
        "u": Bson::Undefined, "b": true, "date": bson::DateTime::from_millis(5), "n": Bson::Null,
        "r": bson::Regex { pattern: bson::raw::CString::try_from("a+").unwrap(), options: bson::raw::CString::try_from("i").unwrap() },
        "code": Bson::JavaScriptCode("f()".into()), "sym": Bson::Symbol("sym".into()),
        "cws": Bson::JavaScriptCodeWithScope(bson::JavaScriptCodeWithScope { code: "f()".into(), scope: doc! {"y": 2} }),
        "i": 7, "ts": bson::Timestamp { time: 9, increment: 3 }, "l": 8i64,
        "dec": "1.25".parse::<bson::Decimal128>().unwrap(), "min": Bson::MinKey, "max": Bson::MaxKey,
    };
    bson::serialize_to_vec(&document).unwrap()
}

#[test]
fn every_kind_is_walked_and_written_back_the_same() {
    let document = sample();
    validate(&document).unwrap();
    let mut out = Vec::new();
    let start = open(&mut out);
    for element in elements(&document).unwrap() {
        let element = element.unwrap();
        put(&mut out, element.kind, element.name, element.value);
    }
    close(&mut out, start).unwrap();
    assert_eq!(out, document);
    assert_eq!(find(&document, b"i").unwrap().unwrap().as_integer(), Some(7));
    assert_eq!(find(&document, b"ts").unwrap().unwrap().as_timestamp(), Some(9 << 32 | 3));
    let scoped = find(&document, b"cws").unwrap().unwrap();
    assert_eq!(scoped.code_with_scope().unwrap().0, b"f()");
}

#[test]
fn names_of_every_length_are_found() {
    for length in 0..40 {
        let name = "é".repeat(length / 2) + if length % 2 == 1 { "\u{1}" } else { "" };
        let document = bson::serialize_to_vec(&doc! { &name: 5, "after": 6 }).unwrap();
        assert_eq!(find(&document, name.as_bytes()).unwrap().unwrap().as_integer(), Some(5));
        assert_eq!(find(&document, b"after").unwrap().unwrap().as_integer(), Some(6));
    }
}

#[test]
fn nesting_without_end_is_refused() {
    let mut document = vec![5, 0, 0, 0, 0];
    for _ in 0..300 {
        let mut outer = Vec::new();
        let start = open(&mut outer);
        put(&mut outer, kind::DOCUMENT, b"x", &document);
        close(&mut outer, start).unwrap();
        document = outer;
    }
    assert!(validate(&document).is_err());
}

#[test]
fn an_index_is_named_in_decimal() {
    for index in [0, 9, 10, 12345, usize::MAX] {
        assert_eq!(write::index_name(index, &mut [0; 20]), index.to_string().as_bytes());
    }
}

proptest! {
    #[test]
    fn any_bytes_are_walked_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = validate(&bytes);
    }

    #[test]
    fn a_damaged_document_is_walked_without_a_panic(at in 0usize..400, byte in any::<u8>(), cut in 0usize..400) {
        let mut document = sample();
        let length = document.len();
        document[at % length] = byte;
        let _ = validate(&document);
        let _ = validate(&document[..cut.min(length)]);
    }
}
