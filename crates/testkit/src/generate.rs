//! Random values, documents and updates of every kind that a server takes, from a seed.
//!
//! Small values come often, so that they collide; odd ones often enough that a run meets each: field names with dots and
//! dollars, numbers at the ends of their ranges, types that few use any more.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "a test's own tool: any bits will do, and what is written here is valid"
)]

pub mod update;

use bson::{Bson, Document, doc};

use crate::Chance;

/// Field names, odd ones among them.
pub const ODD_NAMES: &[&str] = &[
    "",
    "a",
    "aa",
    "aaa",
    "b",
    "c",
    "d",
    "u",
    "i",
    "s",
    "l",
    "sd",
    "sa",
    "su",
    "s0",
    "s$x",
    "u0",
    "0",
    "1",
    "10",
    "a.b",
    "$x",
    ".",
    "é",
    "a field of a longer name",
];

/// Field names that an update can address.
pub const PLAIN_NAMES: &[&str] =
    &["a", "aa", "aaa", "b", "c", "d", "u", "i", "s", "l", "sd", "sa", "s0", "u0", "0", "1", "10", "é"];

/// A short text.
pub fn text(chance: &mut Chance) -> String {
    (0..chance.below(12)).map(|_| chance.pick(&["a", "b", "z", " ", "\0", "é", "\u{1F600}", ".", "$"])).collect()
}

/// A decimal number; `text` must be one.
pub fn decimal(text: &str) -> Bson {
    Bson::Decimal128(text.parse().unwrap())
}

/// A number of any type.
pub fn number(chance: &mut Chance) -> Bson {
    match chance.below(9) {
        0 => Bson::Int32(chance.small()),
        1 => Bson::Int64(i64::from(chance.small())),
        2 => Bson::Double(f64::from(chance.small()) / 2.0),
        3 => Bson::Double(*chance.pick(&[
            &0.1,
            &-0.0,
            &1e300,
            &-1e-300,
            &f64::NAN,
            &f64::INFINITY,
            &f64::NEG_INFINITY,
            &5e-324,
            &1e15,
        ])),
        4 => {
            let shift = chance.below(64);
            Bson::Int64(chance.number() as i64 >> shift)
        }
        5 => Bson::Int32(chance.number() as i32),
        6 => Bson::Double(f64::from_bits(chance.number())),
        7 => decimal(&format!("{}E{}", chance.small(), chance.small())),
        _ => decimal(chance.pick(&[
            "0.1",
            "1E+6000",
            "-1E-6100",
            "NaN",
            "Infinity",
            "-Infinity",
            "-0",
            "1.10",
            "9999999999999999999999999999999999",
            "9E-330",
            "0.5000000000000000000000000000000001",
        ])),
    }
}

/// Random bytes.
pub fn bytes(chance: &mut Chance, length: usize) -> Vec<u8> {
    (0..length).map(|_| chance.number() as u8).collect()
}

/// Bytes of some subtype.
pub fn binary(chance: &mut Chance) -> Bson {
    let length = *chance.pick(&[&0, &1, &3, &16, &254, &255, &300]);
    let subtype = *chance.pick(&[&0u8, &2, &5, &9, &128]);
    Bson::Binary(bson::Binary { subtype: subtype.into(), bytes: bytes(chance, length) })
}

/// An object id.
pub fn object_id(chance: &mut Chance) -> Bson {
    Bson::ObjectId(bson::oid::ObjectId::from_bytes(std::array::from_fn(|_| chance.number() as u8)))
}

/// A date, near or far.
pub fn date(chance: &mut Chance) -> Bson {
    let shift = chance.below(64);
    Bson::DateTime(bson::DateTime::from_millis(chance.number() as i64 >> shift))
}

/// A timestamp that is not empty.
pub fn timestamp(chance: &mut Chance) -> Bson {
    Bson::Timestamp(bson::Timestamp { time: chance.below(3) as u32 + 1, increment: chance.number() as u32 })
}

/// A value of a type that few use any more, or that is rare.
pub fn rarity(chance: &mut Chance) -> Bson {
    let code = |chance: &mut Chance| chance.pick(&["f()", "", "g(x)"]).to_owned();
    match chance.below(7) {
        0 => Bson::Symbol(text(chance)),
        1 => Bson::JavaScriptCode(code(chance)),
        2 => {
            let code = code(chance);
            Bson::JavaScriptCodeWithScope(bson::JavaScriptCodeWithScope { code, scope: doc! { "x": chance.small() } })
        }
        3 => {
            let pattern = chance.pick(&["a+", "", "^b"]).to_owned();
            let options = chance.pick(&["", "i", "im"]).to_owned();
            Bson::RegularExpression(bson::Regex {
                pattern: pattern.try_into().unwrap(),
                options: options.try_into().unwrap(),
            })
        }
        4 => {
            let id = object_id(chance).as_object_id().unwrap().to_hex();
            let name = chance.pick(&["db.c", "db.longer", "a.b"]);
            Bson::try_from(serde_json::json!({ "$dbPointer": { "$ref": name, "$id": { "$oid": id } } })).unwrap()
        }
        5 => chance.pick(&[&Bson::MinKey, &Bson::MaxKey]).clone(),
        _ => Bson::Undefined,
    }
}

/// A value that holds no others.
pub fn scalar(chance: &mut Chance) -> Bson {
    match chance.below(16) {
        0..=4 => number(chance),
        5..=7 => Bson::String(text(chance)),
        8 => Bson::Null,
        9 => Bson::Boolean(chance.one_in(2)),
        10 => object_id(chance),
        11 => date(chance),
        12 => timestamp(chance),
        13 => binary(chance),
        _ => rarity(chance),
    }
}

/// A value, nested up to `depth`.
pub fn value(chance: &mut Chance, depth: usize) -> Bson {
    match chance.below(if depth == 0 { 1 } else { 4 }) {
        1 => Bson::Document(document(chance, depth - 1, ODD_NAMES)),
        2 => Bson::Array((0..chance.below(5)).map(|_| value(chance, depth - 1)).collect()),
        _ => scalar(chance),
    }
}

/// A document with fields of these names, nested up to `depth`.
pub fn document(chance: &mut Chance, depth: usize, names: &[&str]) -> Document {
    (0..chance.below(7)).map(|_| (chance.pick(names).to_owned(), value(chance, depth))).collect()
}
