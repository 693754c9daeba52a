//! The generated data set: orders of a shop that serves many tenants from one collection.
//!
//! Every document is a pure function of (seed, index): it can be made again, by any thread, in any order. `_id` is
//! the index, so that documents are inserted in the order of their keys. About 700 bytes of BSON each, an array of
//! lines inside, and about as compressible as the data set that the bars were set with (its BSON bytes came to 0.376
//! of them after zstd -1 and 0.304 after -3; these come to 0.344 and 0.302 in one stream, and to 0.38 and 0.36 in
//! blocks of 64 KiB).
//!
//! Exactly one document in a hundred belongs to [`ONE_PERCENT`]; the other tenants are slightly skewed.

use std::sync::Arc;

use bson::spec::BinarySubtype;
use bson::{Binary, DateTime, RawArrayBuf, RawDocumentBuf, cstr};
use serde::Deserialize;

use crate::chance::Chance;
use crate::words;

/// The tenant that owns exactly 1 % of the documents.
pub const ONE_PERCENT: &str = "t100";
/// How many documents one insert carries.
pub const BATCH: u64 = 1000;

/// How many words the notes draw from: so many that zstd -3 finds what -1 does not.
const VOCABULARY: u32 = 4000;
/// Notes have fewer words than this.
const NOTES: u32 = 35;
const ONE_PERCENT_NUMBER: u32 = 100;
/// 2025-01-01T00:00:00Z, in milliseconds.
const FIRST_ORDER: i64 = 1_735_689_600_000;
/// Orders come about twice a minute.
const MILLIS_PER_ORDER: i64 = 31_000;

/// The parameters of a data set, as stored in `bench/inputs/*.json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Inputs {
    /// What it is for.
    pub about: String,
    /// Two data sets with one seed have the same documents, as far as both go.
    pub seed: u64,
    /// How many orders.
    pub documents: u64,
    /// How many tenants; at least 102.
    pub tenants: u32,
    /// The small, often updated collection.
    pub hot: Hot,
}

/// A small collection that is updated often.
#[derive(Clone, Debug, Deserialize)]
pub struct Hot {
    /// How many documents.
    pub documents: u64,
    /// How many updates.
    pub updates: u64,
}

impl Inputs {
    /// Order number `index`.
    pub fn order(&self, index: u64) -> RawDocumentBuf {
        let mut chance = Chance::of(self.seed, index);
        let chance = &mut chance;
        let id = i64::try_from(index).expect("a data set has less than 2^63 documents");
        let created = FIRST_ORDER + id * MILLIS_PER_ORDER + i64::from(chance.below(30_000));
        let status = chance.pick_skewed(words::STATUSES);

        let mut order = RawDocumentBuf::new();
        order.append(cstr!("_id"), id);
        order.append(cstr!("tenant"), tenant(self.tenants, index, chance).as_str());
        order.append(cstr!("number"), format!("A{:07}-{:04}", index, chance.below(10_000)).as_str());
        order.append(cstr!("request"), uuid(chance));
        order.append(cstr!("status"), status);
        order.append(cstr!("created"), DateTime::from_millis(created));
        order.append(cstr!("updated"), DateTime::from_millis(created + i64::from(chance.below(600_000_000))));
        order.append(cstr!("version"), 1_i32);
        order.append(cstr!("customer"), customer(chance));
        order.append(cstr!("address"), address(chance));
        let (lines, cents) = lines(chance);
        order.append(cstr!("lines"), lines);
        order.append(cstr!("total"), euros(cents));
        order.append(cstr!("paid"), status != "new" && status != "cancelled");
        if status != "new" {
            order.append(cstr!("tracking"), format!("{:016X}", chance.bits()).as_str());
        }
        order.append(cstr!("notes"), notes(chance).as_str());
        order
    }

    /// Batch `number` of the first `count` documents, or `None` past the last.
    pub fn batch(&self, number: u64, count: u64) -> Option<Vec<RawDocumentBuf>> {
        let start = number.checked_mul(BATCH)?;
        let end = start.saturating_add(BATCH).min(count);
        (start < end).then(|| (start..end).map(|index| self.order(index)).collect())
    }

    /// The first `count` documents, made once and held in memory: about 700 MB for a million.
    pub fn hold(&self, count: u64) -> Held {
        let batches = (0..).map_while(|number| self.batch(number, count)).map(Arc::new).collect::<Vec<_>>();
        let bytes =
            batches.iter().flat_map(|batch| batch.iter()).map(|document| document.as_bytes().len() as u64).sum();
        Held { batches: Arc::new(batches), bytes }
    }
}

/// Documents in memory, ready to be inserted.
#[derive(Clone)]
pub struct Held {
    /// In batches of [`BATCH`].
    pub batches: Arc<Vec<Arc<Vec<RawDocumentBuf>>>>,
    /// BSON bytes of all.
    pub bytes: u64,
}

fn tenant(tenants: u32, index: u64, chance: &mut Chance) -> String {
    if index % 100 == 37 {
        return ONE_PERCENT.to_owned();
    }
    // All numbers but the one above, the low ones somewhat more often.
    let draw = if chance.below(3) == 0 { chance.skewed(tenants - 1) } else { chance.below(tenants - 1) };
    let number = if draw >= ONE_PERCENT_NUMBER { draw + 1 } else { draw };
    format!("t{number:03}")
}

fn customer(chance: &mut Chance) -> RawDocumentBuf {
    let (first, last) = (chance.pick(words::FIRST), chance.pick(words::LAST));
    let id = chance.below(4_000_000);
    let mut customer = RawDocumentBuf::new();
    customer.append(cstr!("id"), uuid(chance));
    customer.append(cstr!("name"), format!("{first} {last}").as_str());
    let mail = format!("{}.{}{}@example.com", first.to_lowercase(), last.to_lowercase(), id % 1000);
    customer.append(cstr!("email"), mail.as_str());
    customer
}

fn address(chance: &mut Chance) -> RawDocumentBuf {
    let mut address = RawDocumentBuf::new();
    let street = format!("{} {}", chance.pick(words::STREETS), 1 + chance.skewed(120));
    address.append(cstr!("street"), street.as_str());
    address.append(cstr!("city"), chance.pick(words::CITIES));
    address.append(cstr!("zip"), format!("{:05}", chance.below(100_000)).as_str());
    address.append(cstr!("country"), chance.pick_skewed(words::COUNTRIES));
    address
}

/// One to three lines, and their sum in cents.
fn lines(chance: &mut Chance) -> (RawArrayBuf, u32) {
    let mut lines = RawArrayBuf::new();
    let mut sum = 0;
    for _ in 0..=chance.below(3) {
        let quantity = 1 + chance.skewed(5);
        let cents = 95 + 5 * chance.skewed(8000);
        sum += quantity * cents;
        let mut line = RawDocumentBuf::new();
        line.append(cstr!("sku"), format!("SKU-{:06}", chance.below(1_000_000)).as_str());
        let title = format!("{} {}", word(chance), chance.pick(words::NOUNS));
        line.append(cstr!("title"), title.as_str());
        line.append(cstr!("qty"), i32::try_from(quantity).expect("a quantity is small"));
        line.append(cstr!("price"), euros(cents));
        lines.push(line);
    }
    (lines, sum)
}

/// One of [`VOCABULARY`] words of two to four syllables.
fn word(chance: &mut Chance) -> String {
    let word = &mut Chance::of(u64::from(VOCABULARY), u64::from(chance.skewed(VOCABULARY)));
    (0..2 + word.below(3)).map(|_| word.pick(words::SYLLABLES)).collect()
}

fn notes(chance: &mut Chance) -> String {
    let mut notes = String::new();
    for index in 0..chance.below(NOTES) {
        if index > 0 {
            notes.push(' ');
        }
        notes.push_str(&word(chance));
    }
    notes
}

fn uuid(chance: &mut Chance) -> Binary {
    let bytes = [chance.bits().to_le_bytes(), chance.bits().to_le_bytes()].concat();
    Binary { subtype: BinarySubtype::Uuid, bytes }
}

fn euros(cents: u32) -> f64 {
    f64::from(cents) / 100.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn inputs() -> Inputs {
        serde_json::from_str(include_str!("../inputs/standard.json")).unwrap()
    }

    #[test]
    fn a_document_depends_on_nothing_but_seed_and_index() {
        let inputs = inputs();
        assert_eq!(inputs.order(4711), inputs.order(4711));
        assert_ne!(inputs.order(4711).as_bytes(), inputs.order(4712).as_bytes());
    }

    #[test]
    fn one_tenant_owns_exactly_one_percent() {
        let inputs = inputs();
        let held = inputs.hold(20_000);
        let documents = held.batches.iter().flat_map(|batch| batch.iter());
        let owned = documents.filter(|document| document.get_str("tenant").unwrap() == ONE_PERCENT).count();
        assert_eq!(owned, 200);
    }

    /// The bars were set with 700 bytes a document, 0.376 of them after zstd -1 and 0.304 after -3.
    #[test]
    fn size_and_compressibility_are_those_of_the_bars() {
        let inputs = inputs();
        let held = inputs.hold(20_000);
        let mut stream = Vec::new();
        for document in held.batches.iter().flat_map(|batch| batch.iter()) {
            stream.extend_from_slice(document.as_bytes());
        }
        let ratio = |level| zstd::bulk::compress(&stream, level).unwrap().len() as f64 / stream.len() as f64;
        let (size, fast, better) = (held.bytes as f64 / 20_000.0, ratio(1), ratio(3));
        println!("{size:.0} bytes a document, zstd -1 {fast:.3}, zstd -3 {better:.3}");
        assert!((665.0..735.0).contains(&size), "{size}");
        assert!((0.33..0.40).contains(&fast), "{fast}");
        assert!((0.28..0.33).contains(&better), "{better}");
    }
}
