//! The edits of a definition, each the field `o` of its oplog entry.

use backstay_model::{InterpretError, Operator};

use super::{ADD_INDEXES, DROP_INDEXES, Definition, Fields, MODIFY, RENAME, insert, set_option};
use crate::interpret::raw::{self, Element, Result, kind, malformed};

impl Definition {
    pub(super) fn edit(&mut self, operator: Operator, o: &[u8]) -> Result<()> {
        match operator {
            RENAME => self.rename(o),
            ADD_INDEXES => self.add_indexes(o),
            DROP_INDEXES => self.drop_indexes(o),
            MODIFY => self.modify(o),
            Operator(other) => {
                Err(InterpretError::Unknown { what: "edit of a definition", name: format!("operator {other}") })
            }
        }
    }

    fn rename(&mut self, o: &[u8]) -> Result<()> {
        match raw::find(o, b"to")?.and_then(|to| to.as_str()) {
            Some(to) => {
                self.ns = to.to_owned();
                Ok(())
            }
            None => Err(malformed("renameCollection", "it has no new name")),
        }
    }

    /// `createIndexes` is a specification with the command's name before it, or has one as `spec`; `commitIndexBuild` has a
    /// list of them.
    fn add_indexes(&mut self, o: &[u8]) -> Result<()> {
        if let Some(indexes) = raw::find(o, b"indexes")?.and_then(|indexes| indexes.as_array()) {
            for index in raw::elements(indexes)? {
                let index = index?.as_document();
                self.add_index(index.ok_or_else(|| malformed("commitIndexBuild", "an index is not a document"))?)?;
            }
            return Ok(());
        }
        if let Some(specification) = raw::find(o, b"spec")?.and_then(|spec| spec.as_document()) {
            return self.add_index(specification);
        }
        let mut specification = Vec::with_capacity(o.len());
        let start = raw::open(&mut specification);
        for element in raw::elements(o)?.skip(1) {
            let element = element?;
            raw::put(&mut specification, element.kind, element.name, element.value);
        }
        raw::close(&mut specification, start)?;
        self.add_index(&specification)
    }

    fn drop_indexes(&mut self, o: &[u8]) -> Result<()> {
        let Some(index) = raw::find(o, b"index")? else { return Err(malformed("dropIndexes", "it names no index")) };
        if let Some(names) = index.as_array() {
            for name in raw::elements(names)? {
                self.drop_index(name?);
            }
        } else {
            self.drop_index(index);
        }
        Ok(())
    }

    /// By name, by key, or all.
    fn drop_index(&mut self, index: Element<'_>) {
        match index.text() {
            Some(b"*") => self.indexes.clear(),
            Some(name) => {
                self.indexes.remove(name);
            }
            None => self.indexes.retain(|_, fields| !has_key(fields, index.value)),
        }
    }

    fn modify(&mut self, o: &[u8]) -> Result<()> {
        for element in raw::elements(o)? {
            let element = element?;
            match element.name {
                b"index" => {
                    let changes = element.as_document();
                    self.modify_index(changes.ok_or_else(|| malformed("collMod", "its index is not a document"))?)?;
                }
                b"cappedSize" => {
                    let size = element.as_integer().map(|size| capped_size(size).to_le_bytes());
                    let value = size.as_ref().map_or(element, |value| Element { kind: kind::INT64, value, ..element });
                    insert(&mut self.options, b"size", value);
                }
                b"cappedMax" => set_option(&mut self.options, b"max", element)?,
                b"timeseries" => self.modify_time_series(element)?,
                b"validator"
                | b"validationLevel"
                | b"validationAction"
                | b"expireAfterSeconds"
                | b"recordPreImages"
                | b"changeStreamPreAndPostImages"
                | b"viewOn"
                | b"pipeline" => {
                    set_option(&mut self.options, element.name, element)?;
                }
                // The command's name, and what concerns only how it ran.
                _ => {}
            }
        }
        Ok(())
    }

    /// Time series take a new granularity; the fields that are not named stay.
    fn modify_time_series(&mut self, changes: Element<'_>) -> Result<()> {
        let Some(changes) = changes.as_document() else {
            return Err(malformed("collMod", "its time series options are not a document"));
        };
        let Some((_, options)) = self.options.get(&b"timeseries"[..]) else { return Ok(()) };
        let mut out = Vec::with_capacity(options.len() + changes.len());
        let start = raw::open(&mut out);
        let granularity = raw::find(changes, b"granularity")?.and_then(|granularity| granularity.text());
        let span = granularity.and_then(bucket_span).map(i32::to_le_bytes);
        for old in raw::elements(options)? {
            let old = old?;
            let new = match (raw::find(changes, old.name)?, &span) {
                (Some(new), _) => new,
                (None, Some(span)) if old.name == b"bucketMaxSpanSeconds" => {
                    Element { kind: kind::INT32, value: span, ..old }
                }
                _ => old,
            };
            raw::put(&mut out, new.kind, new.name, new.value);
        }
        for new in raw::elements(changes)? {
            let new = new?;
            if raw::find(options, new.name)?.is_none() {
                raw::put(&mut out, new.kind, new.name, new.value);
            }
        }
        raw::close(&mut out, start)?;
        self.options.insert(b"timeseries".to_vec(), (kind::DOCUMENT, out));
        Ok(())
    }

    fn modify_index(&mut self, changes: &[u8]) -> Result<()> {
        let name = raw::find(changes, b"name")?.and_then(|name| name.text());
        let key = raw::find(changes, b"keyPattern")?.and_then(|key| key.as_document());
        let index = match (name, key) {
            (Some(name), _) => self.indexes.get_mut(name),
            (None, Some(key)) => self.indexes.values_mut().find(|fields| has_key(fields, key)),
            (None, None) => return Err(malformed("collMod", "it names no index")),
        };
        let Some(fields) = index else { return Ok(()) };
        for element in raw::elements(changes)? {
            let element = element?;
            match element.name {
                b"hidden" | b"prepareUnique" | b"unique" => {
                    if element.is_true() {
                        insert(fields, element.name, element);
                    } else {
                        fields.remove(element.name);
                    }
                    if element.name == b"unique" {
                        fields.remove(&b"prepareUnique"[..]);
                    }
                }
                b"forceNonUnique" if element.is_true() => {
                    fields.remove(&b"unique"[..]);
                }
                b"expireAfterSeconds" => insert(fields, element.name, element),
                _ => {}
            }
        }
        Ok(())
    }
}

/// How many seconds a bucket of a time series spans at most, by its granularity
/// (`src/mongo/db/timeseries/timeseries_options.cpp`).
fn bucket_span(granularity: &[u8]) -> Option<i32> {
    match granularity {
        b"seconds" => Some(3600),
        b"minutes" => Some(86_400),
        b"hours" => Some(2_592_000),
        _ => None,
    }
}

/// What the server makes of a capped collection's size: at least 4 KiB, in steps of 256 bytes.
fn capped_size(asked: i64) -> i64 {
    asked.max(4096).saturating_add(255) & !255
}

fn has_key(fields: &Fields, key: &[u8]) -> bool {
    fields.get(&b"key"[..]).is_some_and(|(_, value)| value == key)
}
