//! What is different between the schemas of two instants.
//!
//! Options and indexes differ when their definitions do. A field differs when it came or went, when its values are of
//! other types, or when the share of records that have it moved by a hundredth or more.

use std::collections::BTreeMap;

use backstay_model::Tick;
use serde::Serialize;
use serde_json::Value;

use super::{FieldShape, Namespace};
use crate::time::rfc3339;

/// By how much the share of records that have a field must move to count.
const SHARE: f64 = 0.01;

/// All that is different.
#[derive(Serialize)]
pub(super) struct Changes {
    pub source: String,
    pub from: String,
    pub from_time: String,
    pub to: String,
    pub to_time: String,
    /// Namespaces that were not there before, in full.
    pub added: Vec<Namespace>,
    /// The names of those that are not there any more.
    pub removed: Vec<String>,
    pub changed: Vec<NamespaceChange>,
}

/// What is different in a namespace that both instants have.
#[derive(Serialize)]
pub(super) struct NamespaceChange {
    pub namespace: String,
    /// True when not all records were looked at on both sides.
    pub sampled: bool,
    pub options: Vec<PartChange>,
    pub indexes: Vec<PartChange>,
    pub fields: Vec<FieldChange>,
}

/// An option or an index; null where it is not there.
#[derive(Serialize)]
pub(super) struct PartChange {
    pub name: String,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

/// A field; null where it is not there.
#[derive(Serialize)]
pub(super) struct FieldChange {
    pub path: String,
    pub before: Option<FieldShape>,
    pub after: Option<FieldShape>,
}

impl Changes {
    /// What `after` has that `before` had not, and the other way round.
    pub fn between(source: &str, (from, before): (Tick, &[Namespace]), (to, after): (Tick, &[Namespace])) -> Changes {
        let find = |all: &[Namespace], name: &str| all.iter().position(|other| other.namespace == name);
        let mut changed = Vec::new();
        let mut added = Vec::new();
        for namespace in after {
            match find(before, &namespace.namespace).and_then(|at| before.get(at)) {
                None => added.push(namespace.clone()),
                Some(old) => changed.extend(NamespaceChange::between(old, namespace)),
            }
        }
        let gone = before.iter().filter(|old| find(after, &old.namespace).is_none());
        Changes {
            source: source.to_owned(),
            from: from.to_string(),
            from_time: rfc3339(from),
            to: to.to_string(),
            to_time: rfc3339(to),
            added,
            removed: gone.map(|old| old.namespace.clone()).collect(),
            changed,
        }
    }

    /// True when nothing is different.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

impl NamespaceChange {
    fn between(before: &Namespace, after: &Namespace) -> Option<NamespaceChange> {
        let part = |(name, before, after): (String, Option<Value>, Option<Value>)| PartChange { name, before, after };
        let field = |(path, before, after): (String, Option<FieldShape>, Option<FieldShape>)| FieldChange {
            path,
            before,
            after,
        };
        let change = NamespaceChange {
            namespace: after.namespace.clone(),
            sampled: before.sampled || after.sampled,
            options: differing(&before.options, &after.options, |a, b| a == b).into_iter().map(part).collect(),
            indexes: differing(&before.indexes, &after.indexes, |a, b| a == b).into_iter().map(part).collect(),
            fields: differing(&before.fields, &after.fields, is_alike).into_iter().map(field).collect(),
        };
        let is_empty = change.options.is_empty() && change.indexes.is_empty() && change.fields.is_empty();
        (!is_empty).then_some(change)
    }
}

fn is_alike(before: &FieldShape, after: &FieldShape) -> bool {
    before.types.keys().eq(after.types.keys()) && (before.share - after.share).abs() < SHARE
}

/// What is under the same name different on both sides, or only on one, by name.
fn differing<V: Clone>(
    before: &BTreeMap<String, V>,
    after: &BTreeMap<String, V>,
    is_same: impl Fn(&V, &V) -> bool,
) -> Vec<(String, Option<V>, Option<V>)> {
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    let sides = names.into_iter().map(|name| (name.clone(), before.get(name).cloned(), after.get(name).cloned()));
    sides.filter(|(_, a, b)| !matches!((a, b), (Some(a), Some(b)) if is_same(a, b))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn namespace(name: &str, fields: &[(&str, u64, &'static str)]) -> Namespace {
        let shape = |records: u64, of: &'static str| FieldShape {
            records,
            share: super::super::share(records, 100),
            types: [(of, records)].into(),
        };
        Namespace {
            namespace: name.to_owned(),
            kind: "collection",
            options: BTreeMap::new(),
            indexes: [("a_1".to_owned(), json!({"key": {"a": 1}}))].into(),
            records: 100,
            sampled: false,
            fields: fields.iter().map(|(path, records, of)| ((*path).to_owned(), shape(*records, of))).collect(),
            left_out: 0,
        }
    }

    #[test]
    fn only_what_differs_is_told() {
        let before = [namespace("a.x", &[("same", 100, "int"), ("typed", 100, "int"), ("rare", 50, "int")])];
        let mut now =
            namespace("a.x", &[("same", 100, "int"), ("typed", 100, "long"), ("rare", 40, "int"), ("new", 1, "bool")]);
        now.indexes.clear();
        let after = [now, namespace("a.y", &[])];
        let (from, to) = (Tick::new(1, 1), Tick::new(2, 1));
        let changes = Changes::between("shop", (from, &before), (to, &after));
        assert_eq!((changes.added.len(), changes.removed.len(), changes.changed.len()), (1, 0, 1));
        let paths: Vec<&str> = changes.changed[0].fields.iter().map(|field| field.path.as_str()).collect();
        assert_eq!(paths, ["new", "rare", "typed"]);
        assert_eq!(changes.changed[0].indexes[0].after, None);
        assert!(Changes::between("shop", (from, &after), (to, &after)).is_empty());
        assert_eq!(Changes::between("shop", (from, &after), (to, &before)).removed, ["a.y"]);
    }
}
