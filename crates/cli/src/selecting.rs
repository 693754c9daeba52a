//! From the selection on a command line to the scope that a verb works on, and what to say when a name is unknown.

use std::collections::BTreeSet;
use std::sync::Arc;

use backstay_archive::{Selection, Snapshot, Vault};
use backstay_engine::{NamePattern, Scope};
use backstay_model::Tick;
use backstay_mongodb::interpret::filter::Filter;
use backstay_mongodb::interpret::id_of;
use bson::{Bson, RawDocumentBuf, doc};

use crate::args::{ExtJson, SelectionArgs, own_name};
use crate::failure::Failure;
use crate::pattern::NamespacePattern;

/// How alike a name must be to be offered instead of an unknown one; 1 is the same.
const ALIKE: f64 = 0.7;
/// How many names are offered.
const OFFERED: usize = 3;

/// Decides by a namespace's name.
type AcceptsName = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// The scope of a selection. A time series is meant by its own name as well as by that of where its records are.
///
/// # Errors
/// When an id or the filter cannot be used.
pub fn scope(args: &SelectionArgs) -> Result<Scope, Failure> {
    let patterns = args.namespaces.clone();
    if patterns.is_empty() {
        return Ok(Scope { selection: selection(args)?, ..Scope::default() });
    }
    let (globs, whole): (Vec<_>, Vec<_>) = patterns.into_iter().partition(NamespacePattern::is_glob);
    let named: AcceptsName =
        Arc::new(move |name| whole.iter().any(|given| given.as_str() == name || given.as_str() == own_name(name)));
    let pattern = |glob: NamespacePattern| {
        let text = glob.as_str().to_owned();
        NamePattern { text, matches: Arc::new(move |name| glob.matches(name) || glob.matches(&own_name(name))) }
    };
    let patterns = globs.into_iter().map(pattern).collect();
    Ok(Scope { namespaces: Some(Arc::clone(&named)), named: Some(named), patterns, selection: selection(args)? })
}

fn selection(args: &SelectionArgs) -> Result<Selection, Failure> {
    let tenants = match args.tenants.is_empty() {
        true => None,
        false => Some(args.tenants.iter().cloned().collect::<BTreeSet<String>>()),
    };
    let ids = match args.ids.is_empty() {
        true => None,
        false => {
            let ids = args.ids.iter().map(record_id).collect::<Result<BTreeSet<Vec<u8>>, Failure>>()?;
            Some(Arc::new(ids.into_iter().collect()))
        }
    };
    let predicate = match &args.filter {
        None => None,
        Some(filter) => {
            let text = Bson::Document(filter.0.clone()).into_canonical_extjson().to_string();
            let filter = Filter::parse(&text).map_err(|why| Failure::usage(format!("the filter of --where: {why}")))?;
            let predicate: backstay_archive::Predicate =
                Arc::new(move |record| filter.matches(record).unwrap_or(false));
            Some(predicate)
        }
    };
    Ok(Selection { tenants, ids, predicate, ..Selection::default() })
}

/// The memcomparable form of an id.
///
/// # Errors
/// When it is not a value that can be an id.
pub fn record_id(id: &ExtJson) -> Result<Vec<u8>, Failure> {
    let wrong = |why: String| Failure::usage(format!("{id} is not an id: {why}"));
    let document = RawDocumentBuf::try_from(&doc! { "_id": id.0.clone() }).map_err(|error| wrong(error.to_string()))?;
    let mut encoded = Vec::new();
    id_of(document.as_bytes(), &mut encoded).map_err(|error| wrong(error.to_string()))?;
    Ok(encoded)
}

/// Whether names should be checked before a verb runs: a name that only one of several is wrong is otherwise lost among
/// the others, and a tenant without a key is probably misspelt.
///
/// # Errors
/// When the keyring cannot be read.
pub fn is_doubtful(args: &SelectionArgs, vault: &Vault) -> Result<bool, Failure> {
    if args.namespaces.len() > 1 {
        return Ok(true);
    }
    let known = tenants_with_keys(vault)?;
    Ok(args.tenants.iter().any(|tenant| !known.contains(tenant)))
}

/// The tenants of a vault that have keys, shredded ones included.
///
/// # Errors
/// When the keyring cannot be read.
pub fn tenants_with_keys(vault: &Vault) -> Result<BTreeSet<String>, Failure> {
    let entries = vault.repository().keyring().entries()?;
    let of_vault = entries.into_iter().filter(|entry| entry.vault == Some(vault.id()));
    let names = of_vault.filter_map(|entry| String::from_utf8(entry.tenant?).ok());
    Ok(names.filter(|name| !name.is_empty()).collect())
}

/// Checks that every namespace and every tenant that was named exists at one of `times` (all covered).
///
/// # Errors
/// Names what is unknown and what is like it.
pub async fn check_names(
    args: &SelectionArgs,
    snapshot: &Snapshot,
    vault: &Vault,
    times: &[Tick],
) -> Result<(), Failure> {
    let mut names: BTreeSet<String> = BTreeSet::new();
    let mut unseen: Vec<&String> = {
        let known = tenants_with_keys(vault)?;
        args.tenants.iter().filter(|tenant| !known.contains(*tenant)).collect()
    };
    for at in times {
        let view = snapshot.at(*at).await?;
        for definition in view.definitions().await? {
            if !unseen.is_empty() && definition.lost.is_none() && args.selects_namespace(&definition.name) {
                let tenants = unseen.iter().map(|tenant| (*tenant).clone()).collect();
                let selection = Selection { tenants: Some(tenants), ..Selection::default() };
                for partition in view.partitions(definition.incarnation, &selection).await? {
                    let loaded = view.load(&partition, &selection).await?;
                    unseen.retain(|tenant| !loaded.iter().any(|(owner, ..)| owner.as_str() == tenant.as_str()));
                }
            }
            names.insert(own_name(&definition.name));
            names.insert(definition.name);
        }
    }
    for pattern in &args.namespaces {
        if !names.contains(pattern.as_str()) && !names.iter().any(|name| pattern.matches(name)) {
            return Err(unknown("namespace", pattern.as_str(), names.iter().map(String::as_str)));
        }
    }
    match unseen.first() {
        Some(tenant) => {
            let known = tenants_with_keys(vault)?;
            Err(unknown("tenant", tenant, known.iter().map(String::as_str).filter(|name| !name.starts_with('_'))))
        }
        None => Ok(()),
    }
}

/// What to say of a name that nothing has.
pub fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Failure {
    let known: Vec<&str> = known.collect();
    let failure = Failure::failed(format!("the archive knows no {what} “{name}”"));
    let near = near(name, &known);
    match (near.as_slice(), known.len()) {
        ([], 0) => failure,
        ([], count) => {
            let some: Vec<&str> = known.iter().take(10).copied().collect();
            let more = if count > some.len() { format!(" and {} more", count - some.len()) } else { String::new() };
            failure.hint(format!("it knows {}{more}", some.join(", ")))
        }
        (near, _) => failure.hint(format!("did you mean {}?", near.join(" or "))),
    }
}

/// The names most like `name`, best first.
pub fn near<'a>(name: &str, known: &[&'a str]) -> Vec<&'a str> {
    let mut alike: Vec<(f64, &str)> = known
        .iter()
        .map(|known| (strsim::jaro_winkler(name, known), *known))
        .filter(|(alike, _)| *alike > ALIKE)
        .collect();
    alike.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    alike.into_iter().take(OFFERED).map(|(_, known)| known).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_misspelt_name_is_offered_its_neighbours() {
        let known = ["shop.orders", "shop.items", "crm.people"];
        let failure = unknown("namespace", "shop.order", known.into_iter());
        assert_eq!(failure.message, "the archive knows no namespace “shop.order”");
        assert!(failure.hint.unwrap().starts_with("did you mean shop.orders"));
        let failure = unknown("tenant", "zzz", ["a", "b"].into_iter());
        assert_eq!(failure.hint.unwrap(), "it knows a, b");
    }

    #[test]
    fn equal_ids_have_equal_bytes_however_they_are_written() {
        let id = |text: &str| record_id(&text.parse().unwrap()).unwrap();
        assert_eq!(id("7"), id("{\"$numberLong\": \"7\"}"));
        assert_eq!(id("o-7"), id("\"o-7\""));
        assert_ne!(id("7"), id("\"7\""));
    }
}
