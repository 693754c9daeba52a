//! Which unique values a record takes up, by the unique indexes of its collection.
//!
//! ```text
//!   { a: 1, b: [2, 3] }   index { a: 1, b: 1 } unique   ▶   (index, 1, 2)  (index, 1, 3)
//! ```
//!
//! Only a hint of which write waits for which: the server's indexes decide. Values are told apart byte by byte, numbers by
//! value; an index with a collation finds more of them equal. A partial index is taken for one of all records that have one of
//! its fields.

use backstay_source::{Result, UniqueValues};
use bson::RawDocument;

use crate::catalog::cut;
use crate::connect::Connection;
use crate::interpret::encode_id;
use crate::interpret::raw::{self, Element, kind};

/// More values of one index than this are not told: a record with arrays in two fields cannot be indexed anyhow.
const MOST_VALUES: usize = 1000;

struct UniqueIndex {
    paths: Vec<Vec<Vec<u8>>>,
    /// Records without any of the fields are not in it.
    sparse: bool,
}

impl Connection {
    /// Which unique values records of `name` take up, besides their ids.
    pub(crate) async fn unique_values(&self, name: &str) -> Result<UniqueValues> {
        let (database, collection) = cut(name)?;
        let indexes = self.indexes(database, collection).await?.unwrap_or_default();
        let indexes: Vec<UniqueIndex> = indexes.iter().filter_map(|index| UniqueIndex::read(index)).collect();
        Ok(Box::new(move |record| {
            let numbered = (0u32..).zip(&indexes);
            numbered.flat_map(|(number, index)| index.values(number, record)).collect()
        }))
    }
}

impl UniqueIndex {
    fn read(index: &RawDocument) -> Option<UniqueIndex> {
        let is = |option: &str| index.get_bool(option).unwrap_or(false);
        let key = index.get_document("key").ok().filter(|_| is("unique"))?;
        let split = |path: &str| path.split('.').map(|part| part.as_bytes().to_vec()).collect();
        let paths = key.iter().filter_map(|element| Some(split(element.ok()?.0.as_str()))).collect();
        let sparse = is("sparse") || matches!(index.get("partialFilterExpression"), Ok(Some(_)));
        Some(UniqueIndex { paths, sparse })
    }

    /// The values of `record`, each behind the index's number.
    fn values(&self, number: u32, record: &[u8]) -> Vec<Vec<u8>> {
        let mut values = vec![number.to_be_bytes().to_vec()];
        let mut missing = 0;
        for path in &self.paths {
            let mut found = Vec::new();
            collect(record, path, &mut found);
            if found.is_empty() {
                missing += 1;
                found.push(encoded(kind::NULL, &[]));
            }
            if values.len().saturating_mul(found.len()) > MOST_VALUES {
                return Vec::new();
            }
            let longer = |value: &Vec<u8>| {
                let value = value.clone();
                found.iter().map(move |next| [&value[..], next].concat()).collect::<Vec<_>>()
            };
            values = values.iter().flat_map(longer).collect();
        }
        if self.sparse && missing == self.paths.len() { Vec::new() } else { values }
    }
}

/// The values at `path`, those of arrays one by one. Bytes that are not BSON have none.
fn collect(document: &[u8], path: &[Vec<u8>], found: &mut Vec<Vec<u8>>) {
    let Some((name, deeper)) = path.split_first() else { return };
    let Ok(Some(element)) = raw::find(document, name) else { return };
    match (element.kind, deeper) {
        (kind::ARRAY, _) => {
            for member in raw::elements(element.value).into_iter().flatten().map_while(|member| member.ok()) {
                match deeper {
                    [] => found.push(value(&member)),
                    _ => member.as_document().into_iter().for_each(|inner| collect(inner, deeper, found)),
                }
            }
        }
        (_, []) => found.push(value(&element)),
        (kind::DOCUMENT, _) => collect(element.value, deeper, found),
        _ => {}
    }
}

fn value(element: &Element<'_>) -> Vec<u8> {
    encoded(element.kind, element.value)
}

/// A value with its length, equal for equal values.
fn encoded(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut form = Vec::with_capacity(value.len() + 2);
    if encode_id(kind, value, &mut form).is_err() {
        form.clear();
        form.push(kind);
        form.extend_from_slice(value);
    }
    let length = u32::try_from(form.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length[..], &form].concat()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bson::{RawDocumentBuf, rawdoc};

    use super::*;

    fn values(index: &RawDocumentBuf, record: &RawDocumentBuf) -> Vec<Vec<u8>> {
        UniqueIndex::read(index).unwrap().values(0, record.as_bytes())
    }

    #[test]
    fn equal_values_are_found_wherever_they_stand() {
        let index = rawdoc! { "key": { "a": 1, "b.c": -1 }, "unique": true };
        let one = values(&index, &rawdoc! { "a": 1, "b": { "c": "x" } });
        assert_eq!(one, values(&index, &rawdoc! { "b": { "d": 0, "c": "x" }, "a": 1.0 }));
        assert_ne!(one, values(&index, &rawdoc! { "a": "x", "b": { "c": 1 } }));
        let many = values(&index, &rawdoc! { "a": 1, "b": [{ "c": "x" }, { "c": ["y", "z"] }, 7] });
        assert_eq!(many.len(), 3);
        assert_eq!(many[0], one[0]);
        assert_eq!(values(&index, &rawdoc! {}), values(&index, &rawdoc! { "a": null, "b": 1 }), "nothing is null");
    }

    #[test]
    fn what_is_not_in_an_index_takes_nothing_up() {
        for index in [
            rawdoc! { "key": { "a": 1 }, "unique": true, "sparse": true },
            rawdoc! { "key": { "a": 1 }, "unique": true, "partialFilterExpression": { "a": { "$exists": true } } },
        ] {
            assert!(values(&index, &rawdoc! { "b": 1 }).is_empty());
            assert_eq!(values(&index, &rawdoc! { "a": 1 }).len(), 1);
        }
        assert!(UniqueIndex::read(&rawdoc! { "key": { "a": 1 } }).is_none());
    }
}
