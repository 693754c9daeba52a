//! What changed between two instants, record by record.

use std::collections::BTreeMap;
use std::sync::Arc;

use backstay_archive::{Loaded, Selection, Snapshot};
use backstay_model::{Incarnation, Tick};

use crate::{Monitor, Result, Scope};

/// What became of a record or a namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DifferenceKind {
    /// It was not there before.
    Inserted,
    /// It has other content.
    Changed,
    /// It is not there any more.
    Deleted,
}

/// One difference.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// The namespace's name, as of the later instant where it has one.
    pub namespace: String,
    /// The record's id, memcomparable; empty when the namespace itself differs.
    pub id: Vec<u8>,
    /// What became of it.
    pub kind: DifferenceKind,
    /// The record before.
    pub before: Option<Vec<u8>>,
    /// The record after.
    pub after: Option<Vec<u8>>,
}

/// Hands every difference between `from` and `to` (both covered, `from` first) to `sink`: namespaces first, then records
/// ascending by namespace and id. Only records with a change in between are looked at.
pub async fn diff(
    snapshot: &Snapshot,
    from: Tick,
    to: Tick,
    scope: &Scope,
    monitor: &Monitor,
    sink: &mut dyn FnMut(Difference) -> Result<()>,
) -> Result<()> {
    let (earlier, later) = (snapshot.at(from).await?, snapshot.at(to).await?);
    let mut names: BTreeMap<Incarnation, (Option<usize>, Option<usize>)> = BTreeMap::new();
    let before = scope.pick(earlier.definitions().await?);
    let after = scope.pick(later.definitions().await?);
    earlier.check_told(&before).await?;
    later.check_told(&after).await?;
    for (number, definition) in before.iter().enumerate() {
        names.entry(definition.incarnation).or_default().0 = Some(number);
    }
    for (number, definition) in after.iter().enumerate() {
        names.entry(definition.incarnation).or_default().1 = Some(number);
    }
    for (old, new) in names.values() {
        let (old, new) = (old.map(|n| &before[n]), new.map(|n| &after[n]));
        let kind = match (old, new) {
            (None, Some(_)) => DifferenceKind::Inserted,
            (Some(_), None) => DifferenceKind::Deleted,
            (Some(old), Some(new)) if old.image != new.image => DifferenceKind::Changed,
            _ => continue,
        };
        let name = new.or(old).map_or(String::new(), |definition| definition.name.clone());
        let (before, after) = (old.map(|d| d.image.clone()), new.map(|d| d.image.clone()));
        sink(Difference { namespace: name, id: Vec::new(), kind, before, after })?;
    }
    let mut ordered: Vec<(&str, Incarnation, bool, bool)> = names
        .iter()
        .filter_map(|(incarnation, (old, new))| {
            let name = new.map(|n| &after[n]).or(old.map(|n| &before[n]))?;
            Some((name.name.as_str(), *incarnation, old.is_some(), new.is_some()))
        })
        .collect();
    ordered.sort();
    for (name, incarnation, existed, exists) in ordered {
        for partition in later.partitions(incarnation, &scope.selection).await? {
            monitor.check()?;
            let whole = existed != exists;
            let ids = match whole {
                true => None,
                false => {
                    let ids = snapshot.touched(&partition, &scope.selection, from, to).await?;
                    if ids.is_empty() {
                        continue;
                    }
                    Some(Arc::new(ids))
                }
            };
            let selection = Selection { ids: ids.or(scope.selection.ids.clone()), ..scope.selection.clone() };
            let old = match existed {
                true => Some(earlier.load(&partition, &selection).await?),
                false => None,
            };
            let new = match exists {
                true => Some(later.load(&partition, &selection).await?),
                false => None,
            };
            walk(name, old.as_ref(), new.as_ref(), sink)?;
        }
    }
    Ok(())
}

fn walk(
    name: &str,
    old: Option<&Loaded>,
    new: Option<&Loaded>,
    sink: &mut dyn FnMut(Difference) -> Result<()>,
) -> Result<()> {
    let mut old = old.into_iter().flat_map(Loaded::iter).peekable();
    let mut new = new.into_iter().flat_map(Loaded::iter).peekable();
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return Ok(()),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((_, a, _)), Some((_, b, _))) => a.cmp(b),
        };
        let before = if order.is_le() { old.next() } else { None };
        let after = if order.is_ge() { new.next() } else { None };
        let kind = match (&before, &after) {
            (Some((_, _, a)), Some((_, _, b))) if a == b => continue,
            (Some(_), Some(_)) => DifferenceKind::Changed,
            (Some(_), None) => DifferenceKind::Deleted,
            _ => DifferenceKind::Inserted,
        };
        let id = before.as_ref().or(after.as_ref()).map_or(Vec::new(), |(_, id, _)| id.to_vec());
        let image =
            |record: Option<(&backstay_model::Tenant, &[u8], &[u8])>| record.map(|(_, _, image)| image.to_vec());
        sink(Difference { namespace: name.to_owned(), id, kind, before: image(before), after: image(after) })?;
    }
}
