//! A collection's definition, in one form wherever it comes from.
//!
//! ```text
//!   { ns: "shop.orders", uuid: UUID, type: "collection" | "view" | "timeseries", lost: "why", or not at all,
//!     options: { sorted by name }, indexes: [ { v, key, name, the rest sorted by name }, … sorted by name ] }
//! ```
//!
//! The server's lists (`listCollections`, `listIndexes`) and the oplog (`create`, `createIndexes` and every later edit)
//! must yield the same bytes for the same collection, or a definition would seem to change with each new base. So what
//! is said in several ways is said in one, and what a restore cannot or must not carry over is left out: storage idents,
//! whether a collection is temporary, the index on `_id` (it follows from the collection), a clustered index (it is an
//! option), and flags that say what their absence says. `tests/definitions.rs` compares both ways on a server.

mod edit;

use std::collections::BTreeMap;

use backstay_model::{NamespaceInfo, NamespaceKind, Operator};

use crate::interpret::raw::{self, Element, Result, kind, malformed};
use crate::interpret::scope::{ROLES, USERS};

/// `renameCollection`: the name moves.
pub const RENAME: Operator = Operator(16);
/// `createIndexes` or `commitIndexBuild`: indexes are added, replacing those of the same name.
pub const ADD_INDEXES: Operator = Operator(17);
/// `dropIndexes`: indexes are removed.
pub const DROP_INDEXES: Operator = Operator(18);
/// `collMod`: options or one index change.
pub const MODIFY: Operator = Operator(19);

/// A kind and bytes of its own: a value of a field.
type Value = (u8, Vec<u8>);
/// Fields in the order of their names.
type Fields = BTreeMap<Vec<u8>, Value>;

/// A definition, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    ns: String,
    uuid: [u8; 16],
    /// Why the records cannot be told any more, until a scan shows them and the definition anew.
    lost: Option<String>,
    options: Fields,
    /// By name.
    indexes: BTreeMap<Vec<u8>, Fields>,
}

/// The definition of the collection `ns` with these options and index specifications, as the server's lists or a
/// `create` entry of the oplog give them.
///
/// # Errors
/// When a document is malformed, or an index has no name.
pub fn build<'a>(
    ns: &str,
    uuid: &[u8; 16],
    options: &[u8],
    indexes: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<u8>> {
    let options = options_of(options)?;
    let mut definition = Definition { ns: ns.to_owned(), uuid: *uuid, lost: None, options, indexes: BTreeMap::new() };
    for index in indexes {
        definition.add_index(index)?;
    }
    definition.to_bytes()
}

/// The definition of the collection `ns` when all that is known of it is that its records cannot be told, and `why`.
///
/// # Errors
/// When it would exceed what a document can hold.
pub fn lost(ns: &str, uuid: &[u8; 16], why: &str) -> Result<Vec<u8>> {
    let (options, indexes) = (Fields::new(), BTreeMap::new());
    Definition { ns: ns.to_owned(), uuid: *uuid, lost: Some(why.to_owned()), options, indexes }.to_bytes()
}

/// Applies an edit, the field `o` of its oplog entry, to a definition and writes the new one into `out`, which is
/// cleared first.
///
/// # Errors
/// When the definition or the edit are malformed, or the operator is not one for definitions.
pub fn edit(operator: Operator, definition: &[u8], o: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let mut definition = Definition::read(definition)?;
    definition.edit(operator, o)?;
    *out = definition.to_bytes()?;
    Ok(())
}

/// What the archive needs to know of a definition.
///
/// # Errors
/// When the definition is malformed.
pub fn describe(definition: &[u8]) -> Result<NamespaceInfo> {
    let name = match raw::find(definition, b"ns")?.and_then(|ns| ns.as_str()) {
        Some(ns) => ns.to_owned(),
        None => return Err(malformed("definition", "it has no name")),
    };
    let lost = raw::find(definition, b"lost")?.and_then(|why| why.as_str()).map(str::to_owned);
    Ok(NamespaceInfo { kind: kind_of(&name, definition)?, name, lost })
}

/// Whether the server removes records by their age: a TTL index, or a clustered collection or a time series with such an
/// option.
///
/// # Errors
/// When the definition is malformed.
pub fn expires(definition: &[u8]) -> Result<bool> {
    const AFTER: &[u8] = b"expireAfterSeconds";
    if let Some(options) = raw::find(definition, b"options")?.and_then(|options| options.as_document())
        && raw::find(options, AFTER)?.is_some()
    {
        return Ok(true);
    }
    if let Some(indexes) = raw::find(definition, b"indexes")?.and_then(|indexes| indexes.as_array()) {
        for index in raw::elements(indexes)? {
            if let Some(index) = index?.as_document()
                && raw::find(index, AFTER)?.is_some()
            {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// What stands behind a namespace, by its name and its definition: every database keeps its views in one collection.
fn kind_of(ns: &str, definition: &[u8]) -> Result<NamespaceKind> {
    if matches!(ns, USERS | ROLES) {
        return Ok(NamespaceKind::Accounts);
    }
    if let Some((_, "system.views")) = ns.split_once('.') {
        return Ok(NamespaceKind::Views);
    }
    let options = raw::find(definition, b"options")?.and_then(|options| options.as_document());
    let capped = match options {
        Some(options) => raw::find(options, b"capped")?.is_some_and(|capped| capped.is_true()),
        None => false,
    };
    Ok(if capped { NamespaceKind::Ordered } else { NamespaceKind::Collection })
}

impl Definition {
    /// Takes a definition apart.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn read(bytes: &[u8]) -> Result<Definition> {
        let wrong = |why: &str| malformed("definition", why);
        let NamespaceInfo { name: ns, lost, .. } = describe(bytes)?;
        let uuid = raw::find(bytes, b"uuid")?.and_then(|uuid| uuid.as_binary()?.1.try_into().ok());
        let uuid = uuid.ok_or_else(|| wrong("it has no UUID"))?;
        let options = raw::find(bytes, b"options")?.and_then(|options| options.as_document());
        let options = options_of(options.ok_or_else(|| wrong("it has no options"))?)?;
        let indexes = raw::find(bytes, b"indexes")?.and_then(|indexes| indexes.as_array());
        let mut definition = Definition { ns, uuid, lost, options, indexes: BTreeMap::new() };
        for index in raw::elements(indexes.ok_or_else(|| wrong("it has no indexes"))?)? {
            definition.add_index(index?.as_document().ok_or_else(|| wrong("an index is not a document"))?)?;
        }
        Ok(definition)
    }

    /// Puts it together again.
    ///
    /// # Errors
    /// When it would exceed what a document can hold.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(256);
        let start = raw::open(&mut out);
        raw::put_string(&mut out, b"ns", &self.ns)?;
        let mut uuid = vec![16, 0, 0, 0, UUID];
        uuid.extend_from_slice(&self.uuid);
        raw::put(&mut out, kind::BINARY, b"uuid", &uuid);
        raw::put_string(&mut out, b"type", self.type_name())?;
        if let Some(why) = &self.lost {
            raw::put_string(&mut out, b"lost", why)?;
        }
        let options = raw::put_document(&mut out, kind::DOCUMENT, b"options");
        for (name, (kind, value)) in &self.options {
            raw::put(&mut out, *kind, name, value);
        }
        raw::close(&mut out, options)?;
        let indexes = raw::put_document(&mut out, kind::ARRAY, b"indexes");
        for (place, index) in self.indexes.values().enumerate() {
            raw::put_index(&mut out, kind::DOCUMENT, place);
            put_index_fields(&mut out, index)?;
        }
        raw::close(&mut out, indexes)?;
        raw::close(&mut out, start)?;
        Ok(out)
    }

    fn type_name(&self) -> &'static str {
        if self.options.contains_key(&b"viewOn"[..]) {
            "view"
        } else if self.options.contains_key(&b"timeseries"[..]) {
            "timeseries"
        } else {
            "collection"
        }
    }

    fn add_index(&mut self, specification: &[u8]) -> Result<()> {
        let mut fields = Fields::new();
        for element in raw::elements(specification)? {
            let element = element?;
            match element.name {
                // A clustered index is the collection itself.
                b"clustered" if element.is_true() => return Ok(()),
                b"ns" | b"background" | b"dropDups" | b"clustered" => {}
                b"hidden" | b"unique" | b"sparse" | b"prepareUnique" if !element.is_true() => {}
                name => insert(&mut fields, name, element),
            }
        }
        let Some(name) = fields.get(&b"name"[..]).and_then(name_of) else {
            return Err(malformed("index", "it has no name"));
        };
        if name != b"_id_" {
            self.indexes.insert(name, fields);
        }
        Ok(())
    }
}

/// The subtype of a UUID.
const UUID: u8 = 4;

/// The text of a string value.
fn name_of((kind, value): &Value) -> Option<Vec<u8>> {
    Some(Element { kind: *kind, name: &[], value }.text()?.to_vec())
}

/// Sets a field. The lists show whole numbers as integers whatever type they were given in.
fn insert(fields: &mut Fields, name: &[u8], element: Element<'_>) {
    let value = match element.as_integer() {
        Some(number) => match i32::try_from(number) {
            Ok(number) => (kind::INT32, number.to_le_bytes().to_vec()),
            Err(_) => (kind::INT64, number.to_le_bytes().to_vec()),
        },
        None => (element.kind, element.value.to_vec()),
    };
    fields.insert(name.to_vec(), value);
}

fn put_index_fields(out: &mut Vec<u8>, fields: &Fields) -> Result<()> {
    const FIRST: [&[u8]; 3] = [b"v", b"key", b"name"];
    let start = raw::open(out);
    for name in FIRST {
        if let Some((kind, value)) = fields.get(name) {
            raw::put(out, *kind, name, value);
        }
    }
    for (name, (kind, value)) in fields.iter().filter(|(name, _)| !FIRST.contains(&name.as_slice())) {
        raw::put(out, *kind, name, value);
    }
    raw::close(out, start)
}

fn options_of(document: &[u8]) -> Result<Fields> {
    let mut options = Fields::new();
    for element in raw::elements(document)? {
        let element = element?;
        match element.name {
            b"create" | b"idIndex" | b"autoIndexId" | b"uuid" | b"temp" | b"recordIdsReplicated" | b"ident" => {}
            name => set_option(&mut options, name, element)?,
        }
    }
    Ok(options)
}

/// What the server makes of a capped collection's number of records when it is to have no limit.
const MOST_RECORDS: i32 = i32::MAX;

/// Sets an option, or takes it away when that means the same: `collMod` writes defaults out, `create` does not.
fn set_option(options: &mut Fields, name: &[u8], element: Element<'_>) -> Result<()> {
    if name == b"max" && element.as_integer().is_some_and(|most| most <= 0) {
        insert(options, name, Element { kind: kind::INT32, value: &MOST_RECORDS.to_le_bytes(), ..element });
        return Ok(());
    }
    let is_default = match name {
        b"capped" | b"recordPreImages" => !element.is_true(),
        b"validator" => raw::elements(element.as_document().unwrap_or(element.value))?.next().is_none(),
        b"validationLevel" => element.text() == Some(b"strict"),
        b"validationAction" => element.text() == Some(b"error"),
        b"changeStreamPreAndPostImages" => match element.as_document() {
            Some(inner) => !raw::find(inner, b"enabled")?.is_some_and(|enabled| enabled.is_true()),
            None => false,
        },
        b"expireAfterSeconds" => element.text() == Some(b"off"),
        _ => false,
    };
    if is_default {
        options.remove(name);
    } else {
        insert(options, name, element);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bson::{Document, doc};

    use super::*;

    #[test]
    fn records_expire_by_an_index_or_by_an_option() {
        let bytes = |document: Document| bson::serialize_to_vec(&document).unwrap();
        let expires = |options: Document, index: Document| {
            expires(&build("a.b", &[0; 16], &bytes(options), [&bytes(index)[..]]).unwrap()).unwrap()
        };
        let plain = || doc! { "v": 2, "key": { "x": 1 }, "name": "x_1" };
        assert!(!expires(doc! {}, plain()));
        assert!(expires(doc! {}, doc! { "v": 2, "key": { "x": 1 }, "name": "x_1", "expireAfterSeconds": 60 }));
        assert!(expires(doc! { "timeseries": { "timeField": "t" }, "expireAfterSeconds": 60 }, plain()));
        assert!(!expires(doc! { "expireAfterSeconds": "off" }, plain()));
    }
}
