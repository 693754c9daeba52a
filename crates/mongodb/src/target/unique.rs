//! Which unique values a record takes up, by the unique indexes of its collection.
//!
//! ```text
//!   { a: 1, b: [2, 3] }   index { a: 1, b: 1 } unique   ▶   (index, 1, 2)  (index, 1, 3)
//! ```
//!
//! Only a hint of which write waits for which: the server's indexes decide. Values are told apart as [`keys`](super::keys)
//! says; an index with a collation finds more of them equal. A partial index is taken for one of all records that have one
//! of its fields.

use backstay_source::{Result, UniqueValues};
use bson::RawDocument;

use super::keys::{Keys, Path, keys, path};
use crate::catalog::cut;
use crate::connect::Connection;

struct UniqueIndex {
    paths: Vec<Path>,
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
        let paths = key.iter().filter_map(|element| Some(path(element.ok()?.0.as_str()))).collect();
        let sparse = is("sparse") || matches!(index.get("partialFilterExpression"), Ok(Some(_)));
        Some(UniqueIndex { paths, sparse })
    }

    /// The values of `record`, each behind the index's number.
    fn values(&self, number: u32, record: &[u8]) -> Vec<Vec<u8>> {
        match keys(&self.paths, self.sparse, record) {
            Keys::Told(keys) => keys.into_iter().map(|key| [&number.to_be_bytes()[..], &key].concat()).collect(),
            Keys::Untold | Keys::Parallel => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bson::rawdoc;

    use super::*;

    #[test]
    fn what_is_not_in_an_index_takes_nothing_up() {
        for index in [
            rawdoc! { "key": { "a": 1 }, "unique": true, "sparse": true },
            rawdoc! { "key": { "a": 1 }, "unique": true, "partialFilterExpression": { "a": { "$exists": true } } },
        ] {
            let index = UniqueIndex::read(&index).unwrap();
            assert!(index.values(0, rawdoc! { "b": 1 }.as_bytes()).is_empty());
            let (one, other) = (rawdoc! { "a": 1 }, rawdoc! { "a": 1.0, "b": 2 });
            assert_eq!(index.values(0, one.as_bytes()).len(), 1);
            assert_eq!(index.values(0, one.as_bytes()), index.values(0, other.as_bytes()));
            assert_ne!(index.values(0, one.as_bytes()), index.values(1, one.as_bytes()));
        }
        assert!(UniqueIndex::read(&rawdoc! { "key": { "a": 1 } }).is_none());
    }
}
