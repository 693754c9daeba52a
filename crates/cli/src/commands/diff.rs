//! `backstay diff`: what changed between two instants, record by record.

use backstay_engine::{CaptureOptions, Difference, DifferenceKind, Error, Until, capture, diff};
use backstay_model::{Interpreter, Tick};
use backstay_source::Source;
use serde::Serialize;
use serde_json::Value;

use super::Context;
use crate::args::{DiffArgs, DiffEnd};
use crate::commands::restore::moment;
use crate::failure::{Exit, Failure};
use crate::installation::Installation;
use crate::output::{count, plain};
use crate::selecting;
use crate::time::{rfc3339, show};

/// How many of a record's changed fields people are shown.
const FIELDS: usize = 8;

#[derive(Serialize)]
struct Change<'a> {
    namespace: &'a str,
    /// Null where the namespace's own definition changed.
    id: Option<Value>,
    change: &'static str,
    before: Option<Value>,
    after: Option<Value>,
}

#[derive(Serialize, Default)]
struct Summary {
    source: String,
    from: String,
    from_time: String,
    to: String,
    to_time: String,
    inserted: u64,
    changed: u64,
    deleted: u64,
    namespaces: u64,
}

/// Compares.
///
/// # Errors
/// When an instant is not covered, a name is unknown, or the source or the repository fails.
pub async fn run(context: &Context, args: &DiffArgs) -> Result<Exit, Failure> {
    let scope = selecting::scope(&args.selection)?;
    let installation = Installation::open(context).await?;
    let (vault, from, to) = match &args.to {
        DiffEnd::Live => {
            let (vault, deployment) = installation.live(&args.source).await?;
            // “latest” is what the archive held before it caught up.
            let from = moment(&vault, &args.from, context).await?;
            let now = deployment.snapshot().await?;
            let watch = context.watch();
            let options = CaptureOptions { until: Until::Tick(now), ..CaptureOptions::default() };
            capture(&vault, &deployment, options, watch.monitor()).await?;
            (vault, from, now)
        }
        DiffEnd::At(time) => {
            let vault = installation.vault(&args.source).await?;
            let to = moment(&vault, time, context).await?;
            let from = moment(&vault, &args.from, context).await?;
            (vault, from, to)
        }
    };
    if from > to {
        return Err(Failure::usage(format!("--from ({from}) lies after --to ({to})")).hint("exchange the two"));
    }
    let interpreter = installation.interpreter(&vault).await?;
    let snapshot = vault.snapshot(interpreter.clone(), to).await?;
    selecting::check_names(&args.selection, &snapshot, &vault, &[from, to]).await?;
    let mut summary = Summary {
        source: args.source.clone(),
        from: from.to_string(),
        from_time: rfc3339(from),
        to: to.to_string(),
        to_time: rfc3339(to),
        ..Summary::default()
    };
    let mut broken: Option<Failure> = None;
    let result = {
        let mut sink = |difference: Difference| {
            summary.add(&difference);
            print(context, interpreter.as_ref(), &difference).map_err(|failure| {
                broken = Some(failure);
                Error::Cancelled
            })
        };
        diff(&snapshot, from, to, &scope, context.watch().monitor(), &mut sink).await
    };
    match (result, broken) {
        (_, Some(failure)) => return Err(failure),
        (result, None) => result?,
    }
    context.summary(&summary, || describe(context, &summary, from, to))?;
    Ok(Exit::Done)
}

impl Summary {
    fn add(&mut self, difference: &Difference) {
        if difference.id.is_empty() {
            self.namespaces += 1;
            return;
        }
        match difference.kind {
            DifferenceKind::Inserted => self.inserted += 1,
            DifferenceKind::Changed => self.changed += 1,
            DifferenceKind::Deleted => self.deleted += 1,
        }
    }
}

fn print(context: &Context, interpreter: &dyn Interpreter, difference: &Difference) -> Result<(), Failure> {
    let change = match difference.kind {
        DifferenceKind::Inserted => "insert",
        DifferenceKind::Changed => "change",
        DifferenceKind::Deleted => "delete",
    };
    let shown_id =
        (!difference.id.is_empty()).then(|| match difference.after.as_ref().or(difference.before.as_ref()) {
            Some(image) => interpreter.display_id_in(image, &difference.id),
            None => interpreter.display_id(&difference.id),
        });
    let value =
        |image: &Option<Vec<u8>>| image.as_ref().map(|image| super::document_of(interpreter, image)).transpose();
    let (before, after) = (value(&difference.before)?, value(&difference.after)?);
    if context.output.is_json() {
        let id = shown_id.map(|text| serde_json::from_str(&text).unwrap_or(Value::String(text)));
        let change = Change { namespace: &difference.namespace, id, change, before, after };
        return context.output.message("difference", &change);
    }
    let sign = match difference.kind {
        DifferenceKind::Inserted => '+',
        DifferenceKind::Changed => '~',
        DifferenceKind::Deleted => '-',
    };
    let what = shown_id.unwrap_or_else(|| "(the namespace itself)".to_owned());
    let fields = fields(before.as_ref(), after.as_ref());
    context.output.text(&plain::line(&format!("{sign} {} {what}{fields}", difference.namespace)))
}

/// The top-level fields that differ, as `: total 30 → 0, paid (new)`; nothing for a record that came or went.
fn fields(before: Option<&Value>, after: Option<&Value>) -> String {
    let (Some(Value::Object(before)), Some(Value::Object(after))) = (before, after) else { return String::new() };
    let mut changes: Vec<String> = Vec::new();
    for (name, old) in before {
        match after.get(name) {
            None => changes.push(format!("{name} (gone)")),
            Some(new) if new != old => changes.push(format!("{name} {} → {}", brief(old), brief(new))),
            Some(_) => {}
        }
    }
    changes.extend(after.keys().filter(|name| !before.contains_key(*name)).map(|name| format!("{name} (new)")));
    let more = changes.len().saturating_sub(FIELDS);
    changes.truncate(FIELDS);
    if more > 0 {
        changes.push(format!("and {more} more"));
    }
    if changes.is_empty() { ": the order of its fields".to_owned() } else { format!(": {}", changes.join(", ")) }
}

/// A value in a few characters: numbers without their types, and nothing of what is nested.
fn brief(value: &Value) -> String {
    let text = match value {
        Value::Object(fields) if fields.len() == 1 => match fields.iter().next() {
            Some((kind, Value::String(text))) if kind.starts_with('$') => text.clone(),
            _ => "{…}".to_owned(),
        },
        Value::Object(_) => "{…}".to_owned(),
        Value::Array(values) => format!("[{} values]", values.len()),
        other => other.to_string(),
    };
    match text.char_indices().nth(32) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn describe(context: &Context, summary: &Summary, from: Tick, to: Tick) -> String {
    let zone = context.now.time_zone();
    let mut text = format!(
        "{} inserted, {} changed, {} deleted between {} and {}",
        count(summary.inserted),
        count(summary.changed),
        count(summary.deleted),
        show(from, zone),
        show(to, zone)
    );
    if summary.namespaces > 0 {
        text.push_str(&format!("; {} namespaces came, went or changed", count(summary.namespaces)));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_differs_is_shown() {
        let before = json!({"_id": 1, "total": {"$numberInt": "30"}, "gone": true, "same": "x"});
        let after = json!({"_id": 1, "total": {"$numberInt": "0"}, "same": "x", "lines": []});
        assert_eq!(fields(Some(&before), Some(&after)), ": total 30 → 0, gone (gone), lines (new)");
        assert_eq!(fields(None, Some(&after)), "");
        assert_eq!(brief(&json!("x".repeat(50))), format!("\"{}…", "x".repeat(31)));
    }
}
