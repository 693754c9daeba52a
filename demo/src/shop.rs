//! The shop: orders and customers of fifty tenants in two shared collections.
//!
//! Every document is a pure function of its kind, its number and its revision, so that anybody who knows how often a
//! document was changed knows every byte of it. A change sets the fields that depend on the revision, in place, and
//! leaves the rest alone.

use std::fmt;

use anyhow::{Context as _, Result};
use bson::{Bson, DateTime, Document, RawArrayBuf, RawBsonRef, RawDocument, RawDocumentBuf, cstr, doc};

/// The database.
pub const DATABASE: &str = "shop";
/// The tenant that has the accident.
pub const VICTIM: &str = "acme";
/// Who shares the collections; document `n` belongs to tenant `n` modulo their number.
pub const TENANTS: [&str; 50] = [
    "acme", "aldus", "amber", "argos", "aspen", "basil", "birch", "borea", "brook", "cedar", "clove", "coral", "delta",
    "dunes", "ember", "fable", "ferns", "fjord", "flint", "gable", "glade", "grove", "hazel", "heron", "holly", "iris",
    "ivory", "jade", "juno", "karst", "kelp", "larch", "linen", "lotus", "maple", "mirth", "north", "oasis", "olive",
    "onyx", "pearl", "quill", "raven", "robin", "sable", "sorrel", "thyme", "umber", "willow", "zephyr",
];

const STATUSES: [&str; 5] = ["new", "paid", "packed", "shipped", "delivered"];
const GOODS: [&str; 12] =
    ["lamp", "kettle", "blanket", "stool", "mirror", "basket", "clock", "teapot", "vase", "rug", "desk", "mug"];
const COLOURS: [&str; 8] = ["amber", "black", "cream", "green", "indigo", "red", "silver", "white"];
const FIRST: [&str; 10] = ["Ada", "Bruno", "Carla", "Dmitri", "Elif", "Finn", "Hana", "Luca", "Noor", "Zoe"];
const LAST: [&str; 10] = ["Bauer", "Cohen", "Dubois", "Garcia", "Hansen", "Ito", "Kaya", "Novak", "Okafor", "Rossi"];
const CITIES: [&str; 10] =
    ["Aarhus", "Bologna", "Cork", "Dresden", "Ghent", "Lisbon", "Nantes", "Riga", "Tampere", "Vienna"];
/// 2026-01-01T00:00:00Z, in milliseconds.
const OPENING: i64 = 1_767_225_600_000;
const MILLIS_PER_ORDER: i64 = 97_000;
const MILLIS_PER_CHANGE: i64 = 3_600_000;

/// The two kinds of document.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// In `shop.orders`; its `_id` is its number.
    Order,
    /// In `shop.customers`; its `_id` is a text such as `c-000042`.
    Customer,
}

impl Kind {
    /// Both.
    pub const ALL: [Kind; 2] = [Kind::Order, Kind::Customer];

    /// How many there are before anything happens.
    pub fn count(self) -> u32 {
        match self {
            Kind::Order => 250_000,
            Kind::Customer => 50_000,
        }
    }

    /// The name of the collection.
    pub fn collection(self) -> &'static str {
        match self {
            Kind::Order => "orders",
            Kind::Customer => "customers",
        }
    }

    /// The indexes of the collection beside the one on `_id`, as `createIndexes` takes them.
    pub fn indexes(self) -> Vec<Bson> {
        let indexes = match self {
            Kind::Order => vec![
                doc! { "key": { "tenant": 1, "placed": -1 }, "name": "tenant_placed" },
                doc! { "key": { "status": 1 }, "name": "status" },
            ],
            Kind::Customer => vec![doc! { "key": { "tenant": 1, "email": 1 }, "name": "tenant_email", "unique": true }],
        };
        indexes.into_iter().map(Bson::from).collect()
    }

    /// The `_id` of document `number`.
    pub fn id(self, number: u32) -> Bson {
        match self {
            Kind::Order => Bson::Int64(number.into()),
            Kind::Customer => Bson::String(customer_id(number)),
        }
    }

    /// The number of a document that was read from the collection.
    ///
    /// # Errors
    /// When its `_id` is none that the shop has made.
    pub fn number(self, document: &RawDocument) -> Result<u32> {
        let id = document.get("_id")?.context("a document has no _id")?;
        let number = match (self, id) {
            (Kind::Order, RawBsonRef::Int64(number)) => u32::try_from(number).ok(),
            (Kind::Customer, RawBsonRef::String(text)) => text.strip_prefix("c-").and_then(|n| n.parse().ok()),
            _ => None,
        };
        number.with_context(|| format!("{} has a document that the shop never made: _id {id:?}", self.collection()))
    }

    /// Document `number` after `revision` writes; the first is its insert.
    pub fn document(self, number: u32, revision: u32) -> RawDocumentBuf {
        match self {
            Kind::Order => order(number, revision),
            Kind::Customer => customer(number, revision),
        }
    }

    /// The update that makes revision `revision` of document `number` out of the one before.
    pub fn change(self, number: u32, revision: u32) -> Document {
        match self {
            Kind::Order => doc! { "$set": {
                "status": status(number, revision), "revision": i64::from(revision), "touched": touched(number, revision),
            } },
            Kind::Customer => doc! { "$set": {
                "points": points(number, revision), "revision": i64::from(revision),
            } },
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.collection())
    }
}

/// Whose document `number` is, of either kind.
pub fn tenant(number: u32) -> &'static str {
    pick(&TENANTS, u64::from(number))
}

fn order(number: u32, revision: u32) -> RawDocumentBuf {
    let facts = mix(u64::from(number));
    let mut order = RawDocumentBuf::new();
    order.append(cstr!("_id"), i64::from(number));
    order.append(cstr!("tenant"), tenant(number));
    // A customer of the same tenant: their number divides the number of customers.
    order.append(cstr!("customer"), customer_id(number % Kind::Customer.count()).as_str());
    order.append(cstr!("status"), status(number, revision));
    order.append(cstr!("revision"), i64::from(revision));
    order.append(cstr!("placed"), DateTime::from_millis(OPENING + i64::from(number) * MILLIS_PER_ORDER));
    order.append(cstr!("touched"), touched(number, revision));
    let mut lines = RawArrayBuf::new();
    let mut total = 0;
    for line in 0..=facts % 3 {
        let facts = mix(facts ^ line);
        let (quantity, cents) = (1 + small(facts >> 8, 4), 295 + 5 * small(facts >> 16, 4000));
        total += quantity * cents;
        let mut entry = RawDocumentBuf::new();
        entry.append(cstr!("sku"), format!("{:08X}", facts >> 32).as_str());
        let title = format!("{} {}", pick(&COLOURS, facts >> 24), pick(&GOODS, facts >> 40));
        entry.append(cstr!("title"), title.as_str());
        entry.append(cstr!("quantity"), quantity);
        entry.append(cstr!("cents"), cents);
        lines.push(entry);
    }
    order.append(cstr!("lines"), lines);
    order.append(cstr!("total"), total);
    order
}

fn customer(number: u32, revision: u32) -> RawDocumentBuf {
    let facts = mix(u64::from(number) ^ u64::MAX);
    let (first, last) = (pick(&FIRST, facts), pick(&LAST, facts >> 8));
    let mut address = RawDocumentBuf::new();
    address.append(cstr!("city"), pick(&CITIES, facts >> 16));
    address.append(cstr!("zip"), format!("{:05}", small(facts >> 24, 100_000)).as_str());
    let mut customer = RawDocumentBuf::new();
    customer.append(cstr!("_id"), customer_id(number).as_str());
    customer.append(cstr!("tenant"), tenant(number));
    customer.append(cstr!("name"), format!("{first} {last}").as_str());
    let email = format!("{}.{}.{number}@example.com", first.to_lowercase(), last.to_lowercase());
    customer.append(cstr!("email"), email.as_str());
    customer.append(cstr!("address"), address);
    customer.append(cstr!("points"), points(number, revision));
    customer.append(cstr!("revision"), i64::from(revision));
    customer
}

fn customer_id(number: u32) -> String {
    format!("c-{number:06}")
}

fn status(number: u32, revision: u32) -> &'static str {
    pick(&STATUSES, mix(u64::from(number) << 32 | u64::from(revision)))
}

fn touched(number: u32, revision: u32) -> DateTime {
    let placed = OPENING + i64::from(number) * MILLIS_PER_ORDER;
    DateTime::from_millis(placed + i64::from(revision) * MILLIS_PER_CHANGE)
}

fn points(number: u32, revision: u32) -> i32 {
    small(mix(u64::from(number) << 32 | u64::from(revision)), 1000)
}

fn pick(words: &[&'static str], bits: u64) -> &'static str {
    let count = words.len() as u64;
    words[(bits % count) as usize]
}

fn small(bits: u64, below: u64) -> i32 {
    i32::try_from(bits % below).expect("what is drawn here is below 100,000")
}

/// 64 bits that look like chance but follow from `z` (the finaliser of SplitMix64).
pub fn mix(z: u64) -> u64 {
    let z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_document_knows_its_number() {
        for kind in Kind::ALL {
            assert_eq!(kind.number(&kind.document(4711, 3)).unwrap(), 4711);
        }
    }

    #[test]
    fn a_change_sets_exactly_what_depends_on_the_revision() {
        for kind in Kind::ALL {
            let mut changed = Document::try_from(&*kind.document(42, 1)).unwrap();
            for (field, value) in kind.change(42, 2).get_document("$set").unwrap() {
                assert!(changed.insert(field, value.clone()).is_some(), "{field} is new");
            }
            assert_eq!(changed, Document::try_from(&*kind.document(42, 2)).unwrap());
        }
    }

    #[test]
    fn an_order_and_its_customer_have_one_tenant() {
        assert_eq!(Kind::Customer.count() as usize % TENANTS.len(), 0);
        assert_eq!(TENANTS.iter().filter(|name| **name == VICTIM).count(), 1);
    }
}
