//! `backstay get`: one record as of an instant, or all its versions.
//!
//! A namespace that was dropped and made anew, or renamed, is several incarnations under one name; the history of a
//! record goes through all of them, and a drop shows as a version of its own.

use std::collections::BTreeSet;
use std::sync::Arc;

use backstay_archive::{Partition, PastVersion, Selection, Snapshot};
use backstay_model::{Body, Gap, IdRange, Incarnation, Tick, Version};
use serde::Serialize;
use serde_json::Value;

use super::Context;
use crate::args::GetArgs;
use crate::commands::restore::moment;
use crate::failure::{Exit, Failure};
use crate::installation::Installation;
use crate::output::plain;
use crate::time::{rfc3339, show};
use crate::{protected, selecting};

#[derive(Serialize)]
struct Found<'a> {
    source: &'a str,
    namespace: &'a str,
    tenant: &'a str,
    at: String,
    at_time: String,
    document: Value,
}

/// One version: when it was written, how, and the record after it.
#[derive(Serialize)]
struct VersionLine {
    at: String,
    at_time: String,
    /// `image`: written whole, or read by a scan; `update`; `delete`; `drop`: with its namespace; `gap`: what happened to it
    /// from here on is not known.
    op: &'static str,
    document: Option<Value>,
    /// Of a gap: why there is one, and when it is known again what becomes of the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resumes: Option<String>,
}

/// Shows it.
///
/// # Errors
/// When there is no such record at that instant, the instant is not covered, or the repository fails.
pub async fn run(context: &Context, args: &GetArgs) -> Result<Exit, Failure> {
    let id = selecting::record_id(&args.id)?;
    let installation = Installation::open(context).await?;
    let vault = installation.vault(&args.source).await?;
    let interpreter = installation.interpreter(&vault).await?;
    let latest = moment(&vault, &crate::time::TimeSpec::Latest, context).await?;
    let at = moment(&vault, &args.at.time, context).await?;
    let snapshot = vault.snapshot(interpreter, latest.max(at)).await?;
    if args.history {
        return history(context, args, &snapshot, &id).await;
    }
    let view = snapshot.at(at).await?;
    protected::check_name(&args.ns, &vault, at).await?;
    let definitions = view.definitions().await?;
    let Some(definition) = definitions.iter().find(|definition| definition.name == args.ns) else {
        return Err(selecting::unknown("namespace", &args.ns, definitions.iter().map(|known| known.name.as_str())));
    };
    view.check_told([definition]).await?;
    let selection = Selection { ids: Some(Arc::new(vec![id.clone()])), ..Selection::default() };
    for partition in view.partitions(definition.incarnation, &selection).await? {
        let loaded = view.load(&partition, &selection).await?;
        if let Some((tenant, _, image)) = loaded.iter().next() {
            let document = document(&snapshot, image)?;
            let found = Found {
                source: &args.source,
                namespace: &args.ns,
                tenant: tenant.as_str(),
                at: at.to_string(),
                at_time: rfc3339(at),
                document,
            };
            context.document(&found, || pretty(&found.document))?;
            return Ok(Exit::Done);
        }
    }
    let versions = versions(&snapshot, &args.ns, &id).await?;
    let last = versions.iter().rev().find(|past| past.version.tick <= at);
    // A deletion is known whoever it belonged to; an update of what cannot be read is not.
    if last.is_none_or(|past| past.op == "update") {
        let hidden = snapshot.hidden(&vault.shreddings()?, definition.incarnation, at).await?;
        if !hidden.is_empty() {
            return Err(hidden_by(context, args, at, &hidden));
        }
    }
    Err(missing(context, args, at, &versions))
}

/// What to say of a record that is not found where some cannot be read.
fn hidden_by(context: &Context, args: &GetArgs, at: Tick, tenants: &BTreeSet<String>) -> Failure {
    let tenants: Vec<&str> = tenants.iter().map(String::as_str).collect();
    let message = format!(
        "whether {} had a record {} as of {} cannot be told: it may have belonged to a tenant whose key was shredded ({})",
        args.ns,
        args.id,
        show(at, context.now.time_zone()),
        tenants.join(", ")
    );
    Failure::new(Exit::WrongKey, message)
        .hint_at_source("backstay backup SOURCE, begun after the shredding, settles that as of any time after it")
}

async fn history(context: &Context, args: &GetArgs, snapshot: &Snapshot, id: &[u8]) -> Result<Exit, Failure> {
    let versions = versions(snapshot, &args.ns, id).await?;
    if versions.is_empty() {
        return Err(missing(context, args, snapshot.through(), &versions));
    }
    let mut lines = Vec::with_capacity(versions.len());
    for past in &versions {
        lines.push((past.version.tick, line(snapshot, past)?));
    }
    let first = versions.first().map_or(Tick::ZERO, |past| past.version.tick);
    let gaps = snapshot.coverage().gaps;
    lines.extend(gaps.iter().filter(|gap| gap.after >= first).map(|gap| (gap.after, gap_line(gap))));
    // What was true up to a gap comes before it.
    lines.sort_by_key(|(tick, _)| *tick);
    if context.output.is_json() {
        let lines: Vec<&VersionLine> = lines.iter().map(|(_, line)| line).collect();
        context.output.json_line(&lines)?;
        return Ok(Exit::Done);
    }
    let zone = context.now.time_zone();
    for (tick, line) in &lines {
        let mut text = format!("{}  {}", show(*tick, zone), line.op);
        if let Some(document) = &line.document {
            text.push_str(&format!("  {document}"));
        }
        if let Some(cause) = &line.cause {
            text.push_str(&format!("  {cause}; what became of the record meanwhile shows when the gap ends"));
        }
        context.output.text(&plain::line(&text))?;
    }
    Ok(Exit::Done)
}

fn gap_line(gap: &Gap) -> VersionLine {
    VersionLine {
        at: gap.after.to_string(),
        at_time: rfc3339(gap.after),
        op: "gap",
        document: None,
        cause: Some(gap.cause.clone()),
        resumes: gap.resumes.map(|tick| tick.to_string()),
    }
}

/// A version of the record, or the drop of its namespace.
struct Past {
    version: Version,
    op: &'static str,
    image: Option<Vec<u8>>,
}

fn line(snapshot: &Snapshot, past: &Past) -> Result<VersionLine, Failure> {
    let document = past.image.as_ref().map(|image| document(snapshot, image)).transpose()?;
    let tick = past.version.tick;
    let (at, at_time) = (tick.to_string(), rfc3339(tick));
    Ok(VersionLine { at, at_time, op: past.op, document, cause: None, resumes: None })
}

fn past(version: PastVersion) -> Past {
    let op = match version.body {
        Body::Image(_) => "image",
        Body::Delta(..) => "update",
        Body::Tombstone => "delete",
    };
    Past { version: version.version, op, image: version.image }
}

/// All versions of a record in every namespace that ever had this name, oldest first.
async fn versions(snapshot: &Snapshot, name: &str, id: &[u8]) -> Result<Vec<Past>, Failure> {
    let mut all: Vec<Past> = Vec::new();
    for (incarnation, ends, dropped) in incarnations(snapshot, name).await? {
        let partition = Partition { namespace: incarnation, range: IdRange::only(id) };
        let own = snapshot.history(&partition, id, snapshot.through()).await?;
        let stands = own.last().is_some_and(|last| last.image.is_some());
        all.extend(own.into_iter().map(|version| match ends.contains(&version.version) {
            true => Past { op: "drop", ..past(version) },
            false => past(version),
        }));
        if let (Some(version), true) = (dropped, stands) {
            all.push(Past { version, op: "drop", image: None });
        }
    }
    all.sort_by_key(|past| past.version);
    Ok(all)
}

/// A namespace, when it was dropped (more than once, if it lives again), and when it was for good.
type Lives = (Incarnation, Vec<Version>, Option<Version>);

/// The namespaces that ever had this name.
async fn incarnations(snapshot: &Snapshot, name: &str) -> Result<Vec<Lives>, Failure> {
    let system = Partition { namespace: Incarnation::SYSTEM, range: IdRange::all() };
    let ids = snapshot.touched(&system, &Selection::default(), Tick::ZERO, snapshot.through()).await?;
    let mut found = Vec::new();
    for id in ids {
        let Some(incarnation) = Incarnation::from_record_id(&id) else { continue };
        let partition = Partition { namespace: Incarnation::SYSTEM, range: IdRange::only(&id) };
        let history = snapshot.history(&partition, &id, snapshot.through()).await?;
        let had_name = history
            .iter()
            .filter_map(|past| past.image.as_deref())
            .any(|image| snapshot.interpreter().describe(image).is_ok_and(|info| info.name == name));
        if had_name {
            let last = history.last().filter(|last| last.image.is_none());
            let ends = history.iter().filter(|past| past.image.is_none()).map(|past| past.version);
            found.push((incarnation, ends.collect(), last.map(|last| last.version)));
        }
    }
    Ok(found)
}

/// What to say of a record that is not there: when it was.
fn missing(context: &Context, args: &GetArgs, at: Tick, versions: &[Past]) -> Failure {
    let zone = context.now.time_zone();
    let what = format!("{} has no record {} as of {}", args.ns, args.id, show(at, zone));
    let before = versions.iter().rev().find(|past| past.version.tick <= at);
    let after = versions.iter().find(|past| past.version.tick > at && past.image.is_some());
    let when = |past: &Past| show(past.version.tick, zone);
    let failure = match before {
        Some(gone) => Failure::failed(format!("{what}: it was gone since {}", when(gone))),
        None => Failure::failed(what),
    };
    match (before, after) {
        (None, None) => failure.hint(
            "the archive holds no version of it; an id is Extended JSON: 4711 is a number, \
            '\"4711\"' a string",
        ),
        (_, Some(after)) => failure.hint(format!("its next version is of {}; --history shows all", when(after))),
        (Some(_), None) => failure.hint("--history shows all its versions"),
    }
}

fn document(snapshot: &Snapshot, image: &[u8]) -> Result<Value, Failure> {
    super::document_of(snapshot.interpreter().as_ref(), image)
}

fn pretty(document: &Value) -> String {
    serde_json::to_string_pretty(document).unwrap_or_else(|_| document.to_string())
}
