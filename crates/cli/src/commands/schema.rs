//! `backstay schema`: collections, their options and indexes, and the fields of their records, as of an instant; or what
//! is different in them as of another.
//!
//! Nothing in a database says which fields its records have, so records are read. A namespace is read in partitions; of
//! one with more than [`STRETCHES`] only so many are, evenly spaced from the first to the last, so that the same archive
//! as of the same instant always yields the same answer, and so that no more than a partition is in memory.

mod changes;
mod report;

use std::collections::BTreeMap;

use backstay_archive::{Definition, Selection, View};
use backstay_model::NamespaceKind;
use backstay_mongodb::interpret::fields::Fields;
use serde::Serialize;
use serde_json::{Map, Value};

use self::changes::Changes;
use super::Context;
use crate::args::{SchemaArgs, SelectionArgs};
use crate::commands::restore::moment;
use crate::failure::{Exit, Failure};
use crate::installation::Installation;
use crate::selecting;
use crate::time::rfc3339;

/// How many partitions of a namespace are read.
const STRETCHES: usize = 8;

#[derive(Serialize)]
struct Shown<'a> {
    source: &'a str,
    at: String,
    at_time: String,
    namespaces: &'a [Namespace],
}

/// A namespace as of an instant.
#[derive(Serialize, Clone, PartialEq, Debug)]
pub(crate) struct Namespace {
    /// Its name.
    pub namespace: String,
    /// `collection` or `view`.
    pub kind: &'static str,
    /// Its options, each in Extended JSON.
    pub options: BTreeMap<String, Value>,
    /// Its indexes by name.
    pub indexes: BTreeMap<String, Value>,
    /// How many records were looked at.
    pub records: u64,
    /// True when that is not all of them.
    pub sampled: bool,
    /// The fields, by path.
    pub fields: BTreeMap<String, FieldShape>,
    /// Values whose paths are not told apart, because there are too many.
    pub left_out: u64,
}

/// A field as it stands in the records.
#[derive(Serialize, Clone, PartialEq, Debug)]
pub(crate) struct FieldShape {
    /// How many records have it.
    pub records: u64,
    /// Which share of the records that is.
    pub share: f64,
    /// How many values there are of each type.
    pub types: BTreeMap<&'static str, u64>,
}

/// Shows it.
///
/// # Errors
/// When an instant is not covered, a name is unknown, or the repository fails.
pub async fn run(context: &Context, args: &SchemaArgs) -> Result<Exit, Failure> {
    let installation = Installation::open(context).await?;
    let vault = installation.vault(&args.source).await?;
    let at = moment(&vault, &args.at.time, context).await?;
    let other = match &args.diff {
        Some(time) => Some(moment(&vault, time, context).await?),
        None => None,
    };
    let through = other.map_or(at, |other| other.max(at));
    let snapshot = vault.snapshot(installation.interpreter(&vault).await?, through).await?;
    let named = SelectionArgs { namespaces: args.namespaces.clone(), ..SelectionArgs::default() };
    let times: Vec<_> = [Some(at), other].into_iter().flatten().collect();
    selecting::check_names(&named, &snapshot, &vault, &times).await?;
    let first = read(&snapshot.at(at).await?, &named, args.full).await?;
    let Some(other) = other else {
        let shown = Shown { source: &args.source, at: at.to_string(), at_time: rfc3339(at), namespaces: &first };
        context.document(&shown, || report::namespaces(&first))?;
        return Ok(Exit::Done);
    };
    let second = read(&snapshot.at(other).await?, &named, args.full).await?;
    let changes = Changes::between(&args.source, (at, &first), (other, &second));
    context.document(&changes, || report::changes(&changes))?;
    Ok(Exit::Done)
}

/// The namespaces as of a view's instant, views among them.
async fn read(view: &View, named: &SelectionArgs, full: bool) -> Result<Vec<Namespace>, Failure> {
    let mut namespaces = Vec::new();
    for definition in view.definitions().await? {
        if definition.kind == NamespaceKind::Views {
            namespaces.extend(views(view, &definition, named).await?);
        } else if named.selects_namespace(&definition.name) {
            namespaces.push(collection(view, &definition, full).await?);
        }
    }
    namespaces.sort_by(|a, b| a.namespace.cmp(&b.namespace));
    Ok(namespaces)
}

async fn collection(view: &View, definition: &Definition, full: bool) -> Result<Namespace, Failure> {
    view.check_told([definition]).await?;
    let interpreter = view.snapshot().interpreter();
    let shown = super::document_of(interpreter.as_ref(), &definition.image)?;
    let all = Selection::default();
    let partitions = view.partitions(definition.incarnation, &all).await?;
    let sampled = !full && partitions.len() > STRETCHES;
    let mut fields = Fields::default();
    for partition in pick(&partitions, if full { partitions.len() } else { STRETCHES }) {
        let loaded = view.load(partition, &all).await?;
        for (_, id, image) in loaded.iter() {
            let unreadable = |error: backstay_model::InterpretError| {
                let id = interpreter.display_id(id);
                Failure::failed(format!("the record {id} of {} cannot be read: {error}", definition.name))
            };
            fields.add(image).map_err(unreadable)?;
        }
    }
    let shape = |field: &backstay_mongodb::interpret::fields::Field| FieldShape {
        records: field.records,
        share: share(field.records, fields.records),
        types: field.types.clone(),
    };
    Ok(Namespace {
        namespace: definition.name.clone(),
        kind: "collection",
        options: named_parts(shown.get("options")),
        indexes: indexes(shown.get("indexes")),
        records: fields.records,
        sampled,
        fields: fields.paths.iter().map(|(path, field)| (path.clone(), shape(field))).collect(),
        left_out: fields.left_out,
    })
}

/// Views are records of a namespace of their own: what each stands on is its definition.
async fn views(view: &View, definition: &Definition, named: &SelectionArgs) -> Result<Vec<Namespace>, Failure> {
    let mut views = Vec::new();
    let all = Selection::default();
    for partition in view.partitions(definition.incarnation, &all).await? {
        for (_, _, image) in view.load(&partition, &all).await?.iter() {
            let Value::Object(mut shown) = super::document_of(view.snapshot().interpreter().as_ref(), image)? else {
                continue;
            };
            let Some(Value::String(name)) = shown.remove("_id") else { continue };
            if named.selects_namespace(&name) {
                views.push(Namespace {
                    namespace: name,
                    kind: "view",
                    options: named_parts(Some(&Value::Object(shown))),
                    indexes: BTreeMap::new(),
                    records: 0,
                    sampled: false,
                    fields: BTreeMap::new(),
                    left_out: 0,
                });
            }
        }
    }
    Ok(views)
}

/// At most `count` of these, evenly spaced, the first and the last among them.
fn pick<T>(all: &[T], count: usize) -> impl Iterator<Item = &T> {
    let count = count.min(all.len());
    (0..count).filter_map(move |number| all.get(number * (all.len() - 1) / (count - 1).max(1)))
}

fn share(part: u64, whole: u64) -> f64 {
    // Counts of records are far below 2⁵³.
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn named_parts(parts: Option<&Value>) -> BTreeMap<String, Value> {
    let parts: Option<&Map<String, Value>> = parts.and_then(Value::as_object);
    parts.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn indexes(list: Option<&Value>) -> BTreeMap<String, Value> {
    let list = list.and_then(Value::as_array).into_iter().flatten();
    let named = list.filter_map(|index| Some((index.get("name")?.as_str()?.to_owned(), index.clone())));
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_are_spaced_evenly_and_reach_both_ends() {
        let picked = |all: usize, count| {
            let all: Vec<usize> = (0..all).collect();
            pick(&all, count).copied().collect::<Vec<_>>()
        };
        assert_eq!(picked(0, 8), [0usize; 0]);
        assert_eq!(picked(1, 8), [0]);
        assert_eq!(picked(8, 8), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(picked(100, 4), [0, 33, 66, 99]);
    }
}
