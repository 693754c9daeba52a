//! Random values and documents, from a seed.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test's own tools; each test uses some of them, and a new seed each time"
)]

use bson::{Bson, Document, doc};

/// A small seeded generator (SplitMix64).
#[derive(Clone)]
pub struct Chance(pub u64);

impl Chance {
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.number() % limit as u64) as usize
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    pub fn small(&mut self) -> i32 {
        self.below(12) as i32 - 4
    }
}

/// The seed of this run: `BACKSTAY_SEED`, or another one each time.
pub fn seed() -> u64 {
    let given = std::env::var("BACKSTAY_SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64
    })
}

/// How many times larger than usual the run is: `BACKSTAY_SOAK`.
pub fn soak() -> usize {
    match std::env::var("BACKSTAY_SOAK") {
        Ok(times) if !times.is_empty() && times != "0" => times.parse::<usize>().unwrap_or(10).max(2),
        _ => 1,
    }
}

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

pub const PLAIN_NAMES: &[&str] =
    &["a", "aa", "aaa", "b", "c", "d", "u", "i", "s", "l", "sd", "sa", "s0", "u0", "0", "1", "10", "é"];

pub fn text(chance: &mut Chance) -> String {
    (0..chance.below(12)).map(|_| chance.pick(&["a", "b", "z", " ", "\0", "é", "\u{1F600}", ".", "$"])).collect()
}

pub fn decimal(text: &str) -> Bson {
    Bson::Decimal128(text.parse().unwrap())
}

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

pub fn bytes(chance: &mut Chance, length: usize) -> Vec<u8> {
    (0..length).map(|_| chance.number() as u8).collect()
}

pub fn binary(chance: &mut Chance) -> Bson {
    let length = *chance.pick(&[&0, &1, &3, &16, &254, &255, &300]);
    let subtype = *chance.pick(&[&0u8, &2, &5, &9, &128]);
    Bson::Binary(bson::Binary { subtype: subtype.into(), bytes: bytes(chance, length) })
}

pub fn object_id(chance: &mut Chance) -> Bson {
    Bson::ObjectId(bson::oid::ObjectId::from_bytes(std::array::from_fn(|_| chance.number() as u8)))
}

pub fn date(chance: &mut Chance) -> Bson {
    let shift = chance.below(64);
    Bson::DateTime(bson::DateTime::from_millis(chance.number() as i64 >> shift))
}

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

pub fn value(chance: &mut Chance, depth: usize) -> Bson {
    match chance.below(if depth == 0 { 1 } else { 4 }) {
        1 => Bson::Document(document(chance, depth - 1, ODD_NAMES)),
        2 => Bson::Array((0..chance.below(5)).map(|_| value(chance, depth - 1)).collect()),
        _ => scalar(chance),
    }
}

pub fn document(chance: &mut Chance, depth: usize, names: &[&str]) -> Document {
    (0..chance.below(7)).map(|_| (chance.pick(names).to_owned(), value(chance, depth))).collect()
}
