//! The keys that a record has in an ascending or descending index, as the server makes them.
//!
//! ```text
//!   index { "a.b": 1, "a.c": 1 }     { a: [ { b: 1, c: 2 }, { b: 3 } ] }   ▶   (1, 2)  (3, null)
//! ```
//!
//! An array that fields of the index lead into yields one key for each member, and the members of one array stay together.
//! A record in which they lead into different arrays cannot be indexed. Values are told apart byte by byte, numbers by
//! value; what is missing counts as null. After `src/mongo/db/index/btree_key_generator.cpp` of the server, but for
//! paths that count the members of arrays (`a.0`): what keys those yield is not told.

use crate::interpret::encode_id;
use crate::interpret::raw::{self, Element, kind};

/// More keys of one record than this are not told.
const MOST_KEYS: usize = 1000;

/// The parts of a dotted path.
pub(super) type Path = Vec<Vec<u8>>;

/// The keys of one record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Keys {
    /// All of them, ascending, each once. In each stand the fields' values, one behind the other, see [`components`].
    Told(Vec<Vec<u8>>),
    /// They are not told.
    Untold,
    /// The record cannot be in such an index: the fields lead into more than one array.
    Parallel,
}

/// How far the path of one field was followed.
#[derive(Clone)]
enum Stand<'a> {
    Inside(&'a [u8], &'a [Vec<u8>]),
    /// In front of an array, with what is left of the path behind it.
    Before(&'a [u8], &'a [Vec<u8>]),
    /// At its value, or at its lack.
    Done(Option<Vec<u8>>),
}

/// The path that the name of a field of an index gives.
pub(super) fn path(name: &str) -> Path {
    name.split('.').map(|part| part.as_bytes().to_vec()).collect()
}

/// True for a path that may count the members of arrays (`a.0`).
pub(super) fn counts_members(path: &[Vec<u8>]) -> bool {
    path.iter().skip(1).any(|part| part.iter().all(u8::is_ascii_digit))
}

/// The keys of `record` in an index of `paths`. In a sparse one stand only records that have one of the fields.
pub(super) fn keys(paths: &[Path], sparse: bool, record: &[u8]) -> Keys {
    if paths.iter().any(|path| counts_members(path)) {
        return Keys::Untold;
    }
    let mut keys = Vec::new();
    let stands = paths.iter().map(|path| Stand::Inside(record, path)).collect();
    match expand(stands, sparse, &mut keys) {
        Expanded::All => {
            keys.sort_unstable();
            keys.dedup();
            Keys::Told(keys)
        }
        Expanded::TooMany => Keys::Untold,
        Expanded::Parallel => Keys::Parallel,
    }
}

/// The forms of the fields' values in a key; each is one that `decode_id` reads, as a rule.
pub(super) fn components(mut key: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let Some((length, rest)) = key.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((form, rest)) = rest.split_at_checked(length) else { break };
        found.push(form);
        key = rest;
    }
    found
}

#[derive(PartialEq, Eq)]
enum Expanded {
    All,
    TooMany,
    Parallel,
}

fn expand(mut stands: Vec<Stand<'_>>, sparse: bool, keys: &mut Vec<Vec<u8>>) -> Expanded {
    let mut array: Option<&[u8]> = None;
    for stand in &mut stands {
        if let Stand::Inside(document, path) = stand {
            *stand = follow(document, path);
        }
        if let Stand::Before(found, _) = stand {
            if array.is_some_and(|array| !std::ptr::eq(array, *found)) {
                return Expanded::Parallel;
            }
            array = Some(found);
        }
    }
    let Some(array) = array else {
        let values: Vec<Option<Vec<u8>>> = stands.into_iter().map(done).collect();
        if !sparse || values.iter().any(Option::is_some) {
            let value = |value: Option<Vec<u8>>| value.unwrap_or_else(|| form(kind::NULL, &[]));
            keys.push(values.into_iter().flat_map(value).collect());
        }
        return if keys.len() > MOST_KEYS { Expanded::TooMany } else { Expanded::All };
    };
    let mut members = raw::elements(array).into_iter().flatten().map_while(|member| member.ok()).peekable();
    if members.peek().is_none() {
        // The server's value for the members of an array without any.
        let none = |path: &[Vec<u8>]| Stand::Done(path.is_empty().then(|| form(kind::UNDEFINED, &[])));
        return expand(stands.into_iter().map(|stand| enter(stand, &none)).collect(), sparse, keys);
    }
    for member in members {
        let inside = |path: &'_ [Vec<u8>]| path.is_empty();
        let stands = stands.iter().cloned().map(|stand| match stand {
            Stand::Before(_, path) if inside(path) => Stand::Done(Some(value(&member))),
            Stand::Before(_, path) => match member.as_document() {
                Some(document) => Stand::Inside(document, path),
                None => Stand::Done(None),
            },
            other => other,
        });
        let expanded = expand(stands.collect(), sparse, keys);
        if expanded != Expanded::All {
            return expanded;
        }
    }
    Expanded::All
}

fn enter<'a>(stand: Stand<'a>, by: &dyn Fn(&[Vec<u8>]) -> Stand<'a>) -> Stand<'a> {
    match stand {
        Stand::Before(_, path) => by(path),
        other => other,
    }
}

fn done(stand: Stand<'_>) -> Option<Vec<u8>> {
    match stand {
        Stand::Done(value) => value,
        Stand::Inside(..) | Stand::Before(..) => None,
    }
}

/// Follows a path down to its value or to the first array. Bytes that are not BSON have no values.
fn follow<'a>(mut document: &'a [u8], mut path: &'a [Vec<u8>]) -> Stand<'a> {
    while let Some((name, deeper)) = path.split_first() {
        let Ok(Some(element)) = raw::find(document, name) else { break };
        match (element.kind, deeper) {
            (kind::ARRAY, _) => return Stand::Before(element.value, deeper),
            (_, []) => return Stand::Done(Some(value(&element))),
            (kind::DOCUMENT, _) => (document, path) = (element.value, deeper),
            _ => break,
        }
    }
    Stand::Done(None)
}

fn value(element: &Element<'_>) -> Vec<u8> {
    form(element.kind, element.value)
}

/// A value with its length, equal for equal values.
fn form(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut form = vec![0; 4];
    if encode_id(kind, value, &mut form).is_err() {
        form.truncate(4);
        form.push(kind);
        form.extend_from_slice(value);
    }
    let length = u32::try_from(form.len() - 4).unwrap_or(u32::MAX);
    if let Some(head) = form.first_chunk_mut::<4>() {
        *head = length.to_be_bytes();
    }
    form
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bson::{RawDocumentBuf, rawdoc};

    use super::*;

    fn told(names: &[&str], sparse: bool, record: &RawDocumentBuf) -> Vec<Vec<u8>> {
        let paths: Vec<Path> = names.iter().map(|name| path(name)).collect();
        match keys(&paths, sparse, record.as_bytes()) {
            Keys::Told(keys) => keys,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn equal_values_are_found_wherever_they_stand() {
        let names = ["a", "b.c"];
        let one = told(&names, false, &rawdoc! { "a": 1, "b": { "c": "x" } });
        assert_eq!(one, told(&names, false, &rawdoc! { "b": { "d": 0, "c": "x" }, "a": 1.0 }));
        assert_ne!(one, told(&names, false, &rawdoc! { "a": "x", "b": { "c": 1 } }));
        assert_eq!(told(&names, false, &rawdoc! {}), told(&names, false, &rawdoc! { "a": null, "b": 1 }));
        assert_eq!(components(&one[0]).len(), 2);
    }

    #[test]
    fn members_of_one_array_stay_together() {
        let record = rawdoc! { "a": [{ "b": 1, "c": 2 }, { "b": 3 }, 7] };
        let pair =
            |b: bson::RawBson, c: bson::RawBson| told(&["a.b", "a.c"], false, &rawdoc! { "a": { "b": b, "c": c } });
        let null = bson::RawBson::Null;
        let mut expected = [pair(1.into(), 2.into()), pair(3.into(), null.clone()), pair(null.clone(), null)].concat();
        expected.sort();
        assert_eq!(told(&["a.b", "a.c"], false, &record), expected, "and not the one's b with the other's c");
        assert_eq!(told(&["a"], false, &rawdoc! { "a": [1, 2, 1] }).len(), 2);
        assert_eq!(told(&["a"], false, &rawdoc! { "a": [[1, 2], 1] }).len(), 2, "an array inside is one value");
    }

    #[test]
    fn two_arrays_cannot_be_indexed_together() {
        let paths = [path("a"), path("b")];
        assert_eq!(keys(&paths, false, rawdoc! { "a": [1], "b": [2] }.as_bytes()), Keys::Parallel);
        assert_eq!(told(&["a", "b"], false, &rawdoc! { "a": [1, 2], "b": 2 }).len(), 2);
        let nested = rawdoc! { "a": [{ "b": [1, 2], "c": [3] }] };
        assert_eq!(keys(&[path("a.b"), path("a.c")], false, nested.as_bytes()), Keys::Parallel);
        assert_eq!(keys(&[path("a.0")], false, rawdoc! { "a": [1] }.as_bytes()), Keys::Untold);
    }

    #[test]
    fn a_sparse_index_leaves_out_what_lacks_its_fields() {
        assert!(told(&["a", "b"], true, &rawdoc! { "c": 1 }).is_empty());
        assert_eq!(told(&["a", "b"], true, &rawdoc! { "b": null }).len(), 1);
        assert_eq!(told(&["a"], true, &rawdoc! { "a": [] }).len(), 1);
    }
}
