//! What indexes of shapes and points hold, as the server reads a record for them.
//!
//! ```text
//!   index { "a.spot": "2dsphere" }     { a: [ { spot: P }, { spot: Q } ] }   ▶   P, Q       arrays on the way are entered
//!   index { spot: "2dsphere" }         { spot: [ P, Q ] }                    ▶   [ P, Q ]   one at the end is one value
//! ```
//!
//! On a sphere a value is a shape, or two numbers, and the server says of each by itself whether it is one: a condition on
//! the record would be met by a single member of an array. On a plane it is a pair of numbers within bounds, or several in an
//! array or document, which is decided here. After `src/mongo/db/index/expression_keys_private.cpp` of the server
//! (`getS2Keys`, `get2DKeys`) and `src/mongo/db/geo/hash.cpp`. What paths that count the members of arrays (`a.0`) lead to
//! is not told.

use std::collections::BTreeSet;

use backstay_source::Result;
use bson::{Document, doc};

use crate::interpret::raw::{self, Element, kind};

/// A value of its own: its kind and bytes.
pub(super) type Value<'r> = (u8, &'r [u8]);

/// What a record is to have indexed on a sphere.
pub(super) enum Spheres<'r> {
    /// Each of these is to be a shape; the server tells.
    Values(Vec<Value<'r>>),
    /// One of them is none, whatever the server says.
    Refused,
}

/// What of a record goes into an index on a sphere.
pub(super) fn on_sphere<'r>(path: &[Vec<u8>], record: &'r [u8]) -> Spheres<'r> {
    let mut found = BTreeSet::new();
    collect(path, record, &mut found);
    let is_nothing = |value: &Value<'_>| match value.0 {
        kind::NULL | kind::UNDEFINED => true,
        kind::DOCUMENT | kind::ARRAY => first(value.1).is_none(),
        _ => false,
    };
    if found.len() == 1 && found.iter().all(is_nothing) {
        return Spheres::Values(Vec::new());
    }
    let is_refused = |value: &Value<'_>| match value.0 {
        kind::DOCUMENT => false,
        kind::ARRAY => pair(value.1).is_none(),
        _ => true,
    };
    match found.iter().any(is_refused) {
        true => Spheres::Refused,
        false => Spheres::Values(found.into_iter().collect()),
    }
}

/// A value as a document of its own, with a number: `{_id: 7, v: …}`.
pub(super) fn alone(number: usize, (part, value): Value<'_>) -> Result<Vec<u8>> {
    let mut document = Vec::with_capacity(value.len() + 32);
    let open = raw::open(&mut document);
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    raw::put(&mut document, kind::INT64, b"_id", &number.to_le_bytes());
    raw::put(&mut document, part, b"v", value);
    raw::close(&mut document, open)?;
    Ok(document)
}

/// What such a document meets when the server knows no shape in it: it is not within a cap that reaches around the whole
/// sphere.
pub(super) fn no_shape() -> Document {
    doc! { "$nor": [{ "v": { "$geoWithin": { "$centerSphere": [[0, 0], 4] } } }] }
}

/// True when an index on a plane can hold a record: all of its points lie within these bounds.
pub(super) fn fits_plane(path: &[Vec<u8>], (least, most): (f64, f64), record: &[u8]) -> bool {
    let mut found = BTreeSet::new();
    collect(path, record, &mut found);
    let is_point = |value: &[u8]| pair(value).is_some_and(|(x, y)| [x, y].iter().all(|at| (least..=most).contains(at)));
    found.iter().all(|(part, value)| {
        let Some(head) = first(value).filter(|_| matches!(*part, kind::DOCUMENT | kind::ARRAY)) else { return true };
        if number(&head).is_some() {
            return is_point(value);
        }
        raw::elements(value).into_iter().flatten().map_while(|member| member.ok()).all(|member| {
            matches!(member.kind, kind::DOCUMENT | kind::ARRAY)
                && (first(member.value).is_none() || is_point(member.value))
        })
    })
}

/// The values at the end of a path; arrays on the way are entered.
fn collect<'r>(path: &[Vec<u8>], record: &'r [u8], found: &mut BTreeSet<Value<'r>>) {
    let Some((name, deeper)) = path.split_first() else { return };
    let Ok(Some(element)) = raw::find(record, name) else { return };
    match element.kind {
        _ if deeper.is_empty() => {
            found.insert((element.kind, element.value));
        }
        kind::DOCUMENT => collect(deeper, element.value, found),
        kind::ARRAY => {
            let members = raw::elements(element.value).into_iter().flatten().map_while(|member| member.ok());
            members.filter_map(|member| member.as_document()).for_each(|member| collect(deeper, member, found));
        }
        _ => {}
    }
}

fn first(document: &[u8]) -> Option<Element<'_>> {
    raw::elements(document).ok()?.next()?.ok()
}

/// The first two members, when they are numbers.
fn pair(document: &[u8]) -> Option<(f64, f64)> {
    let mut members = raw::elements(document).ok()?;
    let (x, y) = (members.next()?.ok()?, members.next()?.ok()?);
    Some((number(&x)?, number(&y)?))
}

/// A number; of a decimal only that it is one is told, and it counts as 0.
#[allow(clippy::cast_precision_loss, reason = "places on a plane")]
pub(super) fn number(element: &Element<'_>) -> Option<f64> {
    match element.kind {
        kind::DOUBLE => element.eight().map(f64::from_le_bytes),
        kind::DECIMAL128 => Some(0.0),
        _ => element.as_integer().map(|number| number as f64),
    }
}
