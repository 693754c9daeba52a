//! `backstay ls`: which namespaces, tenants and records there were.
//!
//! Counts are exact: every partition is read and counted, one at a time.

use std::collections::{BTreeMap, BTreeSet};

use backstay_archive::{Definition, Selection, Shredded, View};
use backstay_model::{NamespaceKind, Tenant, Tick};
use serde::Serialize;
use serde_json::Value;

use super::Context;
use crate::args::{LsArgs, SelectionArgs};
use crate::commands::restore::moment;
use crate::failure::{Exit, Failure};
use crate::installation::Installation;
use crate::output::{Align, Progress, Unit, bytes, count, plain, table};
use crate::time::{rfc3339, show};
use crate::{protected, selecting};

#[derive(Serialize)]
struct Listing<'a> {
    source: &'a str,
    at: String,
    at_time: String,
    records: u64,
    bytes: u64,
    namespaces: Vec<Counted>,
}

#[derive(Serialize)]
struct Counted {
    namespace: String,
    kind: &'static str,
    records: u64,
    bytes: u64,
    tenants: Vec<TenantCount>,
    /// Why what it held cannot be told; then nothing of it is counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    lost: Option<String>,
}

#[derive(Serialize)]
struct TenantCount {
    tenant: String,
    records: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct RecordLine<'a> {
    id: Value,
    tenant: &'a str,
    bytes: u64,
}

/// Lists.
///
/// # Errors
/// When the instant is not covered, a name is unknown, or the repository fails.
pub async fn run(context: &Context, args: &LsArgs) -> Result<Exit, Failure> {
    let installation = Installation::open(context).await?;
    let vault = installation.vault(&args.source).await?;
    let at = moment(&vault, &args.at.time, context).await?;
    let snapshot = vault.snapshot(installation.interpreter(&vault).await?, at).await?;
    let view = snapshot.at(at).await?;
    let definitions = view.definitions().await?;
    let named = SelectionArgs { tenants: args.tenants.clone(), ..SelectionArgs::default() };
    selecting::check_names(&named, &snapshot, &vault, &[at]).await?;
    let mut selection = selecting::scope(&named)?.selection;
    let shreddings = vault.shreddings()?;
    let shredded: Vec<&String> = args.tenants.iter().filter(|name| shreddings.has_tenant(name)).collect();
    if !shredded.is_empty() {
        selection.shredded = Shredded::Gone;
    }
    if let Some(name) = &args.ns {
        protected::check_name(name, &vault, at).await?;
        let Some(definition) = definitions.iter().find(|definition| definition.name == *name) else {
            return Err(selecting::unknown("namespace", name, definitions.iter().map(|known| known.name.as_str())));
        };
        view.check_told([definition]).await?;
        let seen = records(context, &view, definition, &selection).await?;
        check_shredded(context, &shredded, &seen, at)?;
        return Ok(Exit::Done);
    }
    let mut namespaces = Vec::new();
    let progress = (!context.output.is_json()).then(|| Progress::start(&context.output, "count", Unit::Records));
    for definition in &definitions {
        let counted = count_one(&view, definition, &selection, progress.as_ref()).await?;
        // Whoever asks for a tenant is not told of the others' namespaces.
        if args.tenants.is_empty() || counted.records > 0 || counted.lost.is_some() {
            namespaces.push(counted);
        }
    }
    drop(progress);
    let tenants = namespaces.iter().flat_map(|namespace| &namespace.tenants).map(|count| count.tenant.clone());
    check_shredded(context, &shredded, &tenants.collect(), at)?;
    let listing = Listing {
        source: &args.source,
        at: at.to_string(),
        at_time: rfc3339(at),
        records: namespaces.iter().map(|namespace| namespace.records).sum(),
        bytes: namespaces.iter().map(|namespace| namespace.bytes).sum(),
        namespaces,
    };
    context.document(&listing, || {
        format!("{} as of {}\n{}", args.source, show(at, context.now.time_zone()), describe(&listing))
    })?;
    Ok(Exit::Done)
}

/// Refuses a named tenant that has nothing but what its shredded key hides, and says of the others that this is not all.
fn check_shredded(context: &Context, shredded: &[&String], seen: &BTreeSet<String>, at: Tick) -> Result<(), Failure> {
    if let Some(gone) = shredded.iter().find(|name| !seen.contains(**name)) {
        let message =
            format!("the keys of tenant {gone} were shredded: nothing that it may have had at {at} can be read");
        return Err(Failure::new(Exit::WrongKey, message).hint("the data of other tenants is not affected"));
    }
    for name in shredded {
        context.output.note(&format!("of {name} only what it has had since its key was shredded can be read"));
    }
    Ok(())
}

async fn count_one(
    view: &View,
    definition: &Definition,
    selection: &Selection,
    progress: Option<&Progress>,
) -> Result<Counted, Failure> {
    let mut tenants: BTreeMap<Tenant, (u64, u64)> = BTreeMap::new();
    let partitions = match &definition.lost {
        None => view.partitions(definition.incarnation, selection).await?,
        Some(_) => Vec::new(),
    };
    for partition in partitions {
        let loaded = view.load(&partition, selection).await?;
        for (tenant, _, image) in loaded.iter() {
            if !tenants.contains_key(tenant) {
                tenants.insert(tenant.clone(), (0, 0));
            }
            if let Some((records, bytes)) = tenants.get_mut(tenant) {
                *records += 1;
                *bytes += image.len() as u64;
            }
        }
        if let Some(progress) = progress {
            progress.advance(loaded.len() as u64);
        }
    }
    Ok(Counted {
        namespace: definition.name.clone(),
        kind: match definition.kind {
            NamespaceKind::Collection => "collection",
            NamespaceKind::Ordered => "capped",
            NamespaceKind::Accounts => "accounts",
            NamespaceKind::Views => "views",
        },
        records: tenants.values().map(|(records, _)| records).sum(),
        bytes: tenants.values().map(|(_, bytes)| bytes).sum(),
        tenants: tenants
            .into_iter()
            .map(|(tenant, (records, bytes))| TenantCount { tenant: tenant.to_string(), records, bytes })
            .collect(),
        lost: definition.lost.clone(),
    })
}

/// A line for each record: its id, and whose it is. Returns the tenants that were seen.
async fn records(
    context: &Context,
    view: &View,
    definition: &Definition,
    selection: &Selection,
) -> Result<BTreeSet<String>, Failure> {
    let interpreter = view.snapshot().interpreter();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for partition in view.partitions(definition.incarnation, selection).await? {
        let loaded = view.load(&partition, selection).await?;
        let mut lines: Vec<u8> = Vec::new();
        let mut shown_lines: Vec<String> = Vec::new();
        for (tenant, id, image) in loaded.iter() {
            if !seen.contains(tenant.as_str()) {
                seen.insert(tenant.to_string());
            }
            let shown = interpreter.display_id_in(image, id);
            if context.output.is_json() {
                let id = serde_json::from_str(&shown).unwrap_or(Value::String(shown));
                let line = RecordLine { id, tenant: tenant.as_str(), bytes: image.len() as u64 };
                let failed = |error| Failure::failed(format!("cannot write JSON: {error}"));
                serde_json::to_writer(&mut lines, &line).map_err(failed)?;
                lines.push(b'\n');
            } else {
                shown_lines.push(plain::line(&format!("{shown}  {tenant}")).into_owned());
            }
        }
        if !shown_lines.is_empty() {
            context.output.text(&shown_lines.join("\n"))?;
        }
        context.output.write(&lines)?;
    }
    Ok(seen)
}

fn describe(listing: &Listing<'_>) -> String {
    let header =
        [("namespace", Align::Left), ("tenants", Align::Right), ("records", Align::Right), ("bytes", Align::Right)];
    let mut rows: Vec<Vec<String>> = listing
        .namespaces
        .iter()
        .map(|namespace| {
            if namespace.lost.is_some() {
                return vec![namespace.namespace.clone(), "?".to_owned(), "?".to_owned(), "?".to_owned()];
            }
            let tenants = count(namespace.tenants.len() as u64);
            vec![namespace.namespace.clone(), tenants, count(namespace.records), bytes(namespace.bytes)]
        })
        .collect();
    let all: BTreeSet<&str> = listing
        .namespaces
        .iter()
        .flat_map(|namespace| &namespace.tenants)
        .map(|tenant| tenant.tenant.as_str())
        .collect();
    rows.push(vec!["in all".to_owned(), count(all.len() as u64), count(listing.records), bytes(listing.bytes)]);
    let mut text = table(&header, rows);
    for (name, why) in listing.namespaces.iter().filter_map(|found| Some((&found.namespace, found.lost.as_ref()?))) {
        text.push_str(&format!("\nwhat {} held then cannot be told: {}", plain::line(name), plain::line(why)));
    }
    let mut by_tenant: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for tenant in listing.namespaces.iter().flat_map(|namespace| &namespace.tenants) {
        let sum = by_tenant.entry(&tenant.tenant).or_default();
        *sum = (sum.0 + tenant.records, sum.1 + tenant.bytes);
    }
    let header = [("tenant", Align::Left), ("records", Align::Right), ("bytes", Align::Right)];
    let rows = by_tenant.into_iter().map(|(name, (records, size))| vec![name.to_owned(), count(records), bytes(size)]);
    text.push_str("\n\n");
    text.push_str(&table(&header, rows));
    text
}
