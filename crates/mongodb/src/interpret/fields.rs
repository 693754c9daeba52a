//! Which fields records have: paths, the types of their values, and how many records have each.
//!
//! ```text
//!   { _id: 1, lines: [ { sku: "a" }, { sku: 7 } ] }      _id          int 1
//!                                                        lines        array 1
//!                                                        lines[]      object 2
//!                                                        lines[].sku  string 1, int 1
//! ```
//!
//! A record counts once for a path however often its arrays repeat it; types count values. Memory is bounded: what comes
//! after the first [`MOST_PATHS`] paths is only counted, and what lies deeper than [`MOST_LEVELS`] is not looked into.
//! Names that are not UTF-8 show replacement characters.

use std::collections::BTreeMap;

use crate::interpret::raw::{self, Element, Result, kind};

/// How many paths are told apart. Keys that are data (ids as names of fields) would fill any number.
pub const MOST_PATHS: usize = 1000;
/// How deep records are looked into.
pub const MOST_LEVELS: usize = 12;

/// What is known of one path.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Field {
    /// How many records have it.
    pub records: u64,
    /// How many values there are of each type, by the server's names of types (`$type`).
    pub types: BTreeMap<&'static str, u64>,
    /// The last record that was counted.
    last: u64,
}

/// The fields of many records.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fields {
    /// How many records were looked at.
    pub records: u64,
    /// By path.
    pub paths: BTreeMap<String, Field>,
    /// How many values were left out, because there are too many paths.
    pub left_out: u64,
}

impl Fields {
    /// Looks at one more record.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn add(&mut self, record: &[u8]) -> Result<()> {
        self.records += 1;
        self.look_into(record, &mut String::new(), 0)
    }

    fn look_into(&mut self, document: &[u8], path: &mut String, level: usize) -> Result<()> {
        for element in raw::elements(document)? {
            let element = element?;
            let end = path.len();
            if end > 0 {
                path.push('.');
            }
            path.push_str(&String::from_utf8_lossy(element.name));
            self.value(&element, path, level)?;
            path.truncate(end);
        }
        Ok(())
    }

    fn value(&mut self, element: &Element<'_>, path: &mut String, level: usize) -> Result<()> {
        self.count(path, type_name(element.kind));
        if level + 1 >= MOST_LEVELS {
            return Ok(());
        }
        if let Some(document) = element.as_document() {
            return self.look_into(document, path, level + 1);
        }
        if let Some(array) = element.as_array() {
            let end = path.len();
            path.push_str("[]");
            for item in raw::elements(array)? {
                self.value(&item?, path, level + 1)?;
            }
            path.truncate(end);
        }
        Ok(())
    }

    fn count(&mut self, path: &str, type_name: &'static str) {
        if !self.paths.contains_key(path) {
            if self.paths.len() >= MOST_PATHS {
                self.left_out += 1;
                return;
            }
            self.paths.insert(path.to_owned(), Field::default());
        }
        let Some(field) = self.paths.get_mut(path) else { return };
        if field.last != self.records {
            field.last = self.records;
            field.records += 1;
        }
        *field.types.entry(type_name).or_default() += 1;
    }
}

/// The server's name of a type: <https://www.mongodb.com/docs/manual/reference/bson-types/>.
fn type_name(of: u8) -> &'static str {
    match of {
        kind::DOUBLE => "double",
        kind::STRING => "string",
        kind::DOCUMENT => "object",
        kind::ARRAY => "array",
        kind::BINARY => "binData",
        kind::UNDEFINED => "undefined",
        kind::OBJECT_ID => "objectId",
        kind::BOOL => "bool",
        kind::DATE => "date",
        kind::NULL => "null",
        kind::REGEX => "regex",
        kind::DB_POINTER => "dbPointer",
        kind::CODE => "javascript",
        kind::SYMBOL => "symbol",
        kind::CODE_WITH_SCOPE => "javascriptWithScope",
        kind::INT32 => "int",
        kind::TIMESTAMP => "timestamp",
        kind::INT64 => "long",
        kind::DECIMAL128 => "decimal",
        kind::MAX_KEY => "maxKey",
        kind::MIN_KEY => "minKey",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bson::{Bson, Document, doc};

    use super::*;

    fn fields(records: &[Document]) -> Fields {
        let mut fields = Fields::default();
        for record in records {
            fields.add(&bson::serialize_to_vec(record).unwrap()).unwrap();
        }
        fields
    }

    #[test]
    fn a_record_counts_once_and_its_values_each() {
        let found = fields(&[
            doc! { "_id": 1, "lines": [{ "sku": "a" }, { "sku": 7 }, 3.5] },
            doc! { "_id": 2_i64, "at": Bson::Null, "sub": { "x": true } },
        ]);
        let shown: Vec<String> =
            found.paths.iter().map(|(path, field)| format!("{path} {} {:?}", field.records, field.types)).collect();
        assert_eq!(
            shown,
            [
                "_id 2 {\"int\": 1, \"long\": 1}",
                "at 1 {\"null\": 1}",
                "lines 1 {\"array\": 1}",
                "lines[] 1 {\"double\": 1, \"object\": 2}",
                "lines[].sku 1 {\"int\": 1, \"string\": 1}",
                "sub 1 {\"object\": 1}",
                "sub.x 1 {\"bool\": 1}",
            ]
        );
    }

    #[test]
    fn keys_that_are_data_do_not_fill_the_memory() {
        let many: Document = (0..5000).map(|n| (format!("k{n}"), Bson::from(n))).collect();
        let found = fields(&[many]);
        assert_eq!((found.paths.len(), found.left_out), (MOST_PATHS, 4000));
        let mut deep = doc! { "end": 1 };
        for _ in 0..100 {
            deep = doc! { "d": deep };
        }
        assert_eq!(fields(&[deep]).paths.len(), MOST_LEVELS);
    }

    #[test]
    fn cut_bytes_are_an_error() {
        assert!(Fields::default().add(&[9, 0, 0, 0, 0x10, b'a', 0, 1]).is_err());
    }
}
