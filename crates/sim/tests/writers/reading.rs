//! All records as of an instant, from the archive and from the oracle.

use std::collections::BTreeMap;
use std::sync::Arc;

use backstay_archive::{Error, Selection, Vault};
use backstay_model::{Incarnation, Tick};
use backstay_sim::toy::ToyInterpreter;
use backstay_sim::{Oracle, Truth};

/// The records of each namespace that exists.
pub type Everything = BTreeMap<Incarnation, Vec<Truth>>;

/// What the archive says.
pub async fn as_of(vault: &Vault, at: Tick) -> Result<Everything, Error> {
    let view = vault.snapshot(Arc::new(ToyInterpreter), at).await?.at(at).await?;
    let mut found = Everything::new();
    for definition in view.definitions().await? {
        let records = found.entry(definition.incarnation).or_default();
        for partition in view.partitions(definition.incarnation, &Selection::default()).await? {
            let loaded = view.load(&partition, &Selection::default()).await?;
            records.extend(loaded.iter().map(|(tenant, id, image)| Truth {
                tenant: tenant.as_str().to_owned(),
                id: id.to_vec(),
                image: image.to_vec(),
            }));
        }
        records.sort_by(|a, b| a.id.cmp(&b.id));
    }
    Ok(found)
}

/// Whether that is what the oracle says.
pub fn same(oracle: &Oracle, found: &Everything, at: Tick) -> Result<(), String> {
    let expected: Everything =
        oracle.definitions(at).into_iter().map(|(namespace, _)| (namespace, oracle.records(namespace, at))).collect();
    if expected.keys().ne(found.keys()) {
        return Err(format!("the archive knows other namespaces at {at}"));
    }
    match expected.iter().find(|(namespace, records)| found[namespace] != **records) {
        Some((namespace, records)) => {
            let (found, expected) = (found[namespace].len(), records.len());
            Err(format!("other records of {namespace} at {at}: {found} where there were {expected}"))
        }
        None => Ok(()),
    }
}
