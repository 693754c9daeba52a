//! Schemas for people.

use std::fmt::Write as _;

use bson::Bson;
use serde_json::Value;

use super::changes::{Changes, FieldChange, NamespaceChange, PartChange};
use super::{FieldShape, Namespace};
use crate::output::{Align, count, plain, table};

/// The namespaces one after another.
pub(super) fn namespaces(all: &[Namespace]) -> String {
    match all {
        [] => "there was nothing".to_owned(),
        all => all.iter().map(namespace).collect::<Vec<_>>().join("\n\n"),
    }
}

fn namespace(namespace: &Namespace) -> String {
    let mut text = format!("{}  {}", plain::line(&namespace.namespace), namespace.kind);
    if namespace.kind != "view" {
        let of = if namespace.sampled { " of it looked at" } else { "" };
        let _ = write!(text, ", {} records{of}", count(namespace.records));
    }
    for (name, option) in &namespace.options {
        let _ = write!(text, "\n  {}  {}", plain::line(name), relaxed(option));
    }
    for (name, index) in &namespace.indexes {
        let _ = write!(text, "\n  index {}  {}", plain::line(name), index_words(index));
    }
    if !namespace.fields.is_empty() {
        let header = [("  field", Align::Left), ("records", Align::Right), ("types", Align::Left)];
        let rows = namespace.fields.iter().map(|(path, field)| vec![format!("  {path}"), percent(field), types(field)]);
        text.push('\n');
        text.push_str(&table(&header, rows));
    }
    if namespace.left_out > 0 {
        let _ = write!(text, "\n  {} values under further paths are not told apart", count(namespace.left_out));
    }
    text
}

/// What is different.
pub(super) fn changes(changes: &Changes) -> String {
    if changes.is_empty() {
        return format!("no difference between {} and {}", changes.from_time, changes.to_time);
    }
    let mut parts: Vec<String> = changes.removed.iter().map(|name| format!("- {}", plain::line(name))).collect();
    parts.extend(changes.changed.iter().map(changed));
    parts.extend(changes.added.iter().map(|added| format!("+ {}", namespace(added))));
    parts.join("\n\n")
}

fn changed(change: &NamespaceChange) -> String {
    let sampled = if change.sampled { "  (some stretches of it looked at)" } else { "" };
    let mut text = format!("~ {}{sampled}", plain::line(&change.namespace));
    for option in &change.options {
        part(&mut text, "", option, relaxed);
    }
    for index in &change.indexes {
        part(&mut text, "index ", index, index_words);
    }
    for FieldChange { path, before, after } in &change.fields {
        let path = plain::line(path);
        let words = |field: &FieldShape| format!("{} of records, {}", percent(field), types(field));
        let _ = match (before, after) {
            (Some(before), Some(after)) => write!(text, "\n  ~ field {path}  {} → {}", words(before), words(after)),
            (Some(before), None) => write!(text, "\n  - field {path}  {}", words(before)),
            (None, Some(after)) => write!(text, "\n  + field {path}  {}", words(after)),
            (None, None) => Ok(()),
        };
    }
    text
}

fn part(text: &mut String, what: &str, change: &PartChange, words: fn(&Value) -> String) {
    let name = plain::line(&change.name);
    let _ = match (&change.before, &change.after) {
        (Some(before), Some(after)) => write!(text, "\n  ~ {what}{name}  {} → {}", words(before), words(after)),
        (Some(before), None) => write!(text, "\n  - {what}{name}  {}", words(before)),
        (None, Some(after)) => write!(text, "\n  + {what}{name}  {}", words(after)),
        (None, None) => Ok(()),
    };
}

/// An index without what stands beside it, and without the version of its format.
fn index_words(index: &Value) -> String {
    let Value::Object(parts) = index else { return relaxed(index) };
    let key = parts.get("key").map(relaxed).unwrap_or_default();
    let others = parts.iter().filter(|(name, _)| !matches!(name.as_str(), "v" | "key" | "name"));
    others.fold(key, |mut text, (name, value)| {
        let _ = write!(text, " {name}: {}", relaxed(value));
        text
    })
}

/// Extended JSON as people write it: numbers without their types.
fn relaxed(value: &Value) -> String {
    match Bson::try_from(value.clone()) {
        Ok(value) => value.into_relaxed_extjson().to_string(),
        Err(_) => value.to_string(),
    }
}

fn percent(field: &FieldShape) -> String {
    // Less than all is never shown as all, and more than nothing never as nothing.
    match field.share * 100.0 {
        share if share > 99.9 && share < 100.0 => ">99.9 %".to_owned(),
        share if share > 0.0 && share < 0.1 => "<0.1 %".to_owned(),
        share => format!("{share:.1} %"),
    }
}

fn types(field: &FieldShape) -> String {
    let all: Vec<String> = match field.types.len() {
        1 => field.types.keys().map(|name| (*name).to_owned()).collect(),
        _ => field.types.iter().map(|(name, values)| format!("{name} {}", count(*values))).collect(),
    };
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_index_is_its_key_and_what_is_special() {
        let index = json!({"v": {"$numberInt": "2"}, "key": {"a": {"$numberInt": "1"}}, "name": "a_1", "unique": true});
        assert_eq!(index_words(&index), "{\"a\":1} unique: true");
    }

    #[test]
    fn shares_are_not_rounded_to_all_or_nothing() {
        let field = |share| FieldShape { records: 1, share, types: [("int", 1)].into() };
        assert_eq!(
            [0.0004, 0.5, 0.9999, 1.0].map(|share| percent(&field(share))),
            ["<0.1 %", "50.0 %", ">99.9 %", "100.0 %"]
        );
    }
}
