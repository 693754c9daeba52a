//! Namespaces by definition: creating them, their indexes, and comparing what is there.
//!
//! A definition is the archive's form of what the server lists (see `interpret/definition.rs`): `options` are those of the
//! `create` command, `indexes` those of `createIndexes`. Not carried over: the name, the UUID (another life), and what the
//! server derives by itself.

use std::collections::BTreeMap;

use backstay_source::{Error, Result};
use bson::{Document, RawDocumentBuf, doc};

use super::{majority, views};
use crate::catalog::{BUCKETS, cut};
use crate::command::Command;
use crate::connect::Connection;
use crate::failure::{code, translate, words};
use crate::interpret::raw::{self, Element, kind, malformed};

/// The cap of a capped collection that is being filled. A cap that was lowered takes effect with the next insert: until
/// then the collection holds more than it may, and so must what is restored.
const WIDE: i64 = 1 << 49;
/// The first version of the server whose `collMod` changes a cap.
const CHANGES_CAPS: i32 = 6;
/// What the server says of an index that it does not build beside those that are there: the same by another name; another by
/// the same name.
const NOT_BESIDE: [i32; 2] = [85, 86];
/// `CannotCreateIndex`: too many of them, or of a kind of which there is but one; and of one that it does not build at all.
const NOT_BUILT: i32 = 67;
/// The index of the ids, which every collection has.
pub(super) const ID_INDEX: &str = "_id_";

impl Connection {
    /// Creates the namespace `name`; the definition's secondary indexes are left for later.
    pub(crate) async fn create(&self, name: &str, definition: &[u8]) -> Result<()> {
        let (database, collection) = cut(name)?;
        if views::holds_views(name) {
            // The server makes it with the first view.
            return Ok(());
        }
        let wide = WIDE.to_le_bytes();
        let mut options = fields(part(definition, b"options")?)?;
        if is_capped(&options) && self.changes_caps().await? {
            options.insert(b"size", Element { kind: kind::INT64, name: b"size", value: &wide });
            options.remove(&b"max"[..]);
        }
        let (collection, options) = match collection.strip_prefix(BUCKETS) {
            // A time series: its buckets come with it, and most of their options.
            Some(series) if options.contains_key(&b"timeseries"[..]) => {
                let kept = [&b"timeseries"[..], b"expireAfterSeconds", b"collation"];
                (series, options.into_iter().filter(|(name, _)| kept.contains(name)).collect())
            }
            _ => (collection, options),
        };
        let mut command = Command::new(&doc! { "create": collection, "writeConcern": majority() })?;
        for element in options.values() {
            command = command.element(element);
        }
        self.define(database, command.finish()?, &format!("creating {name}")).await
    }

    /// Whether a cap can be changed once the collection is there.
    async fn changes_caps(&self) -> Result<bool> {
        let build = self.command("admin", doc! { "buildInfo": 1 }, "asking for the server's version").await?;
        let version = build.get_array("versionArray").ok().and_then(|version| version.first()?.as_i32());
        Ok(version.is_some_and(|version| version >= CHANGES_CAPS))
    }

    /// Gives a collection that was made to be filled the cap that it is to have.
    async fn set_cap(&self, name: &str, definition: &[u8]) -> Result<()> {
        let options = fields(part(definition, b"options")?)?;
        if !is_capped(&options) {
            return Ok(());
        }
        let Some(listed) = self.listed(name).await? else { return Ok(()) };
        let live = listed.definition(&[])?;
        let live = fields(part(&live, b"options")?)?;
        if live.get(&b"size"[..]).and_then(Element::as_integer) != Some(WIDE) {
            return Ok(());
        }
        let mut command = Command::new(&doc! { "collMod": &listed.collection, "writeConcern": majority() })?;
        for (option, field) in [(&b"size"[..], &b"cappedSize"[..]), (b"max", b"cappedMax")] {
            if let Some(element) = options.get(option) {
                command = command.element(&Element { name: field, ..*element });
            }
        }
        self.define(&listed.database, command.finish()?, &format!("setting the cap of {name}")).await
    }

    /// Builds the secondary indexes that `name` lacks, and completes what only can be said when its records are there.
    pub(crate) async fn build_indexes(&self, name: &str, definition: &[u8]) -> Result<()> {
        self.build_missing_indexes(name, definition).await?;
        self.set_cap(name, definition).await
    }

    /// Builds the secondary indexes that `name` lacks, all in one pass over its records. One that cannot be beside those that
    /// are there is left out: nobody's index is dropped for it, and [`Connection::definition_differences`] names it.
    async fn build_missing_indexes(&self, name: &str, definition: &[u8]) -> Result<()> {
        let (database, collection) = cut(name)?;
        let there = self.indexes(database, collection).await?.unwrap_or_default();
        let there: Vec<&str> = there.iter().filter_map(|index| index.get_str("name").ok()).collect();
        let wanted = indexes(definition)?;
        let missing: Vec<_> = wanted.into_iter().filter(|(index, _)| !there.contains(&index.as_str())).collect();
        if missing.is_empty() {
            return Ok(());
        }
        // An index of a collection with a collation that names none has none; a command that names none inherits it.
        let collated = fields(part(definition, b"options")?)?.contains_key(&b"collation"[..]);
        let beside = there.iter().any(|index| *index != ID_INDEX);
        let Some(_) = self.try_build(name, &missing, collated, beside).await? else { return Ok(()) };
        for one in missing.chunks(1) {
            if let Some(why) = self.try_build(name, one, collated, beside).await? {
                tracing::warn!("not built on {name}: {why}");
            }
        }
        Ok(())
    }

    /// Builds indexes, all of them or none. Returns why not, when it is for those that are there, `beside` that of the ids.
    async fn try_build(
        &self,
        name: &str,
        wanted: &[(String, &[u8])],
        collated: bool,
        beside: bool,
    ) -> Result<Option<String>> {
        let (database, collection) = cut(name)?;
        let head = doc! { "createIndexes": collection, "writeConcern": { "w": "majority" } };
        let command = Command::new(&head)?.array("indexes", |out| {
            for (place, (_, index)) in wanted.iter().enumerate() {
                raw::put_index(out, kind::DOCUMENT, place);
                let start = raw::open(out);
                let mut own = false;
                for element in raw::elements(index)? {
                    let element = element?;
                    // An index of the first version knows no collation, and inherits none.
                    own |= element.name == b"collation" || (element.name == b"v" && element.as_integer() == Some(1));
                    raw::put(out, element.kind, element.name, element.value);
                }
                if collated && !own {
                    let collation = raw::put_document(out, kind::DOCUMENT, b"collation");
                    raw::put_string(out, b"locale", "simple")?;
                    raw::close(out, collation)?;
                }
                raw::close(out, start)?;
            }
            Ok(())
        })?;
        let names: Vec<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
        let what = format!("building the indexes {} of {name}", names.join(", "));
        let reply = self.client.database(database).run_raw_command(command.finish()?).await;
        match reply {
            Err(error)
                if code(&error).is_some_and(|code| NOT_BESIDE.contains(&code) || (beside && code == NOT_BUILT)) =>
            {
                Ok(Some(format!("{}: {}", names.join(", "), words(&error))))
            }
            reply => acknowledged(reply, &what).map(|()| None),
        }
    }

    /// Drops the namespace `name`, if there is one; a time series goes with its buckets.
    pub(crate) async fn drop_namespace(&self, name: &str) -> Result<()> {
        if self.listed(name).await?.is_none() {
            return Ok(());
        }
        let (database, collection) = cut(name)?;
        let collection = collection.strip_prefix(BUCKETS).unwrap_or(collection);
        let command = Command::new(&doc! { "drop": collection, "writeConcern": majority() })?;
        self.define(database, command.finish()?, &format!("dropping {name}")).await
    }

    /// In which respects `name` differs from a definition.
    pub(crate) async fn definition_differences(&self, name: &str, definition: &[u8]) -> Result<Vec<String>> {
        if views::holds_views(name) {
            return Ok(Vec::new());
        }
        let Some(listed) = self.listed(name).await? else { return Ok(vec!["it does not exist".to_owned()]) };
        let there = self.indexes(&listed.database, &listed.collection).await?.unwrap_or_default();
        let live = listed.definition(&there)?;
        differences(definition, &live, false)
    }

    /// In which respects `name` will differ from a definition when [`Connection::build_indexes`] has built what it can.
    pub(crate) async fn lasting_differences(&self, name: &str, definition: &[u8]) -> Result<Vec<String>> {
        if views::holds_views(name) {
            return Ok(Vec::new());
        }
        let Some(listed) = self.listed(name).await? else { return Ok(Vec::new()) };
        let there = self.indexes(&listed.database, &listed.collection).await?.unwrap_or_default();
        differences(definition, &listed.definition(&there)?, true)
    }

    async fn define(&self, database: &str, command: RawDocumentBuf, what: &str) -> Result<()> {
        acknowledged(self.client.database(database).run_raw_command(command).await, what)
    }
}

/// An answer that a majority stands behind, or the error that it is.
fn acknowledged(reply: mongodb::error::Result<Document>, what: &str) -> Result<()> {
    let reply = reply.map_err(|error| translate(what, &error))?;
    match reply.get_document("writeConcernError") {
        Ok(concern) => Err(Error::Unavailable {
            what: what.to_owned(),
            why: concern.get_str("errmsg").unwrap_or("the majority did not acknowledge it").to_owned(),
        }),
        Err(_) => Ok(()),
    }
}

/// In which respects a live definition differs from another; with `building` but for indexes that can be built beside those
/// that are there.
fn differences(definition: &[u8], live: &[u8], building: bool) -> Result<Vec<String>> {
    let mut differences = Vec::new();
    let (was, is) = (fields(part(definition, b"options")?)?, fields(part(live, b"options")?)?);
    for (option, element) in &was {
        let option = String::from_utf8_lossy(option);
        match is.get(option.as_bytes()) {
            None => differences.push(format!("the option {option} is missing")),
            Some(other) if !same(element, other) => differences.push(format!("the option {option} differs")),
            Some(_) => {}
        }
    }
    let added = is.keys().filter(|option| !was.contains_key(*option));
    differences.extend(added.map(|option| format!("the option {} was added", String::from_utf8_lossy(option))));
    let was = indexes(definition)?;
    let (is, mut added): (BTreeMap<_, _>, BTreeMap<_, _>) =
        indexes(live)?.into_iter().partition(|(index, _)| was.contains_key(index));
    for (index, specification) in &was {
        if let Some(other) = is.get(index) {
            if !same_index(specification, other, true)? {
                differences.push(format!("the index {index} differs"));
            }
            continue;
        }
        let mut renamed = None;
        let mut in_place = None;
        for (name, other) in &added {
            if same_index(specification, other, false)? {
                renamed = Some(name.clone());
            } else if excludes(specification, other)? {
                in_place = Some(name);
            }
        }
        match (renamed, in_place) {
            (Some(name), _) => {
                differences.push(format!("the index {index} is called {name}"));
                added.remove(&name);
            }
            (None, Some(name)) => differences.push(format!("the index {index} is missing, and {name} is in its place")),
            (None, None) if building => {}
            (None, None) => differences.push(format!("the index {index} is missing")),
        }
    }
    differences.extend(added.keys().map(|index| format!("the index {index} was added")));
    Ok(differences)
}

/// The fields in which a time series keeps the time and the origin of its records.
pub(super) fn series_fields(definition: &[u8]) -> Result<Option<[Option<&[u8]>; 2]>> {
    let options = fields(part(definition, b"options")?)?;
    let Some(series) = options.get(&b"timeseries"[..]).and_then(Element::as_document) else { return Ok(None) };
    let field = |name: &[u8]| -> Result<Option<&[u8]>> { Ok(raw::find(series, name)?.map(|field| field.value)) };
    Ok(Some([field(b"timeField")?, field(b"metaField")?]))
}

fn is_capped(options: &BTreeMap<&[u8], Element<'_>>) -> bool {
    options.get(&b"capped"[..]).is_some_and(Element::is_true)
}

pub(super) fn part<'a>(definition: &'a [u8], name: &[u8]) -> Result<&'a [u8]> {
    let found = raw::find(definition, name)?.and_then(|part| part.as_document().or_else(|| part.as_array()));
    Ok(found.ok_or_else(|| malformed("definition", format!("it has no {}", String::from_utf8_lossy(name))))?)
}

pub(super) fn fields(document: &[u8]) -> Result<BTreeMap<&[u8], Element<'_>>> {
    let mut fields = BTreeMap::new();
    for element in raw::elements(document)? {
        let element = element?;
        fields.insert(element.name, element);
    }
    Ok(fields)
}

pub(super) fn indexes(definition: &[u8]) -> Result<BTreeMap<String, &[u8]>> {
    let wrong = |why: &str| malformed("definition", why);
    let mut indexes = BTreeMap::new();
    for index in raw::elements(part(definition, b"indexes")?)? {
        let index = index?.as_document().ok_or_else(|| wrong("an index is not a document"))?;
        let name = raw::find(index, b"name")?.and_then(|name| name.as_str());
        indexes.insert(name.ok_or_else(|| wrong("an index has no name"))?.to_owned(), index);
    }
    Ok(indexes)
}

/// Numbers are compared by value: the server and its drivers do not agree on their types.
pub(super) fn same(a: &Element<'_>, b: &Element<'_>) -> bool {
    (a.kind, a.value) == (b.kind, b.value) || a.as_integer().is_some_and(|number| b.as_integer() == Some(number))
}

/// True when two indexes are the same; without `named` under whatever names.
fn same_index(a: &[u8], b: &[u8], named: bool) -> Result<bool> {
    let (a, b) = (fields(a)?, fields(b)?);
    let equal = a.iter().all(|(name, element)| match b.get(name) {
        // The order of fields matters in a key, and all of them are integers or names of kinds.
        Some(other) if *name == b"key" => same_key(element.value, other.value),
        Some(_) if *name == b"name" && !named => true,
        Some(other) => same(element, other),
        None => false,
    });
    Ok(equal && a.len() == b.len())
}

/// True when the server has no two such indexes on one collection, whatever their names: it tells them apart by their key
/// and by what decides which records are in them and how they compare; and of texts it has but one index.
fn excludes(a: &[u8], b: &[u8]) -> Result<bool> {
    const TELLING: [&[u8]; 4] = [b"collation", b"partialFilterExpression", b"unique", b"sparse"];
    let (a, b) = (fields(a)?, fields(b)?);
    let is_text = |index: &BTreeMap<&[u8], Element<'_>>| -> Result<bool> {
        let Some(key) = index.get(&b"key"[..]).and_then(Element::as_document) else { return Ok(false) };
        Ok(fields(key)?.values().any(|kind| kind.as_str() == Some("text")))
    };
    if is_text(&a)? && is_text(&b)? {
        return Ok(true);
    }
    let equal = TELLING.iter().all(|option| match (a.get(option), b.get(option)) {
        (Some(a), Some(b)) => same(a, b),
        (a, b) => a.is_none() && b.is_none(),
    });
    let keys = (a.get(&b"key"[..]), b.get(&b"key"[..]));
    Ok(equal && matches!(keys, (Some(a), Some(b)) if same_key(a.value, b.value)))
}

fn same_key(a: &[u8], b: &[u8]) -> bool {
    let (Ok(mut a), Ok(mut b)) = (raw::elements(a), raw::elements(b)) else { return false };
    loop {
        match (a.next(), b.next()) {
            (None, None) => return true,
            (Some(Ok(a)), Some(Ok(b))) if a.name == b.name && same(&a, &b) => {}
            _ => return false,
        }
    }
}
