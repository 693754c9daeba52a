//! The versions of records, one after another.

use std::collections::BTreeMap;
use std::sync::Arc;

use backstay_model::{Body, BodyRef, IdRange, Tick, Version};
use backstay_segment::split_key;

use crate::lives::taken_by;
use crate::load::{Opener, gather};
use crate::merge::{fold_one, newest_first};
use crate::snapshot::{Layers, Snapshot};
use crate::{Error, Partition, Result, Selection};

/// One version of a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PastVersion {
    /// When.
    pub version: Version,
    /// What was archived.
    pub body: Body,
    /// The record after it; `None` when it was gone, or when no image below is archived.
    pub image: Option<Vec<u8>>,
}

/// What was archived of records, by id, oldest first.
type Versions = BTreeMap<Vec<u8>, Vec<(Version, Body)>>;

impl Snapshot {
    /// The versions of a record that the archive holds, oldest first.
    pub async fn history(&self, partition: &Partition, id: &[u8], through: Tick) -> Result<Vec<PastVersion>> {
        let own = Partition { namespace: partition.namespace, range: IdRange::only(id) };
        let selection = Selection { ids: Some(Arc::new(vec![id.to_vec()])), ..Selection::default() };
        let mut versions = self.versions(&self.layers, &own, &selection, (None, through)).await?;
        self.replay(id, None, versions.remove(id).unwrap_or_default())
    }

    /// What was archived of the partition's selected records after `after` and up to `through`, oldest first. Only records
    /// with such a change are among them; [`Snapshot::replay`] makes images of it.
    pub async fn since(
        &self,
        partition: &Partition,
        selection: &Selection,
        after: Tick,
        through: Tick,
    ) -> Result<BTreeMap<Vec<u8>, Vec<(Version, Body)>>> {
        self.versions(&self.layers.newer_than(after), partition, selection, (Some(after), through)).await
    }

    /// The images of a record that was `image` before these versions.
    pub fn replay(
        &self,
        id: &[u8],
        mut image: Option<Vec<u8>>,
        versions: Vec<(Version, Body)>,
    ) -> Result<Vec<PastVersion>> {
        let mut history = Vec::with_capacity(versions.len());
        for (version, body) in versions {
            image = match (&body, image.take()) {
                (Body::Image(bytes), _) => Some(bytes.clone()),
                (Body::Tombstone, _) | (Body::Delta(..), None) => None,
                (Body::Delta(operator, delta), Some(below)) => {
                    let delta = BodyRef::Delta(*operator, delta);
                    let folded = fold_one(below.into(), &delta, self.interpreter.as_ref());
                    let object = || format!("record {}", self.interpreter.display_id(id));
                    Some(folded.map_err(|error| Error::interpret(&object(), error))?.into_owned())
                }
            };
            history.push(PastVersion { version, body, image: image.clone() });
        }
        Ok(history)
    }

    async fn versions(
        &self,
        layers: &Layers,
        partition: &Partition,
        selection: &Selection,
        (after, through): (Option<Tick>, Tick),
    ) -> Result<Versions> {
        let Partition { namespace, range } = partition;
        let ends = self.ends(*namespace, through).await?;
        let has_ended = ends.last().is_some_and(|end| after.is_none_or(|after| after < end.tick));
        let layers = if has_ended { &*self.layers } else { layers };
        let inside = |version: Version| after.is_none_or(|after| after < version.tick) && version.tick <= through;
        // What went with its namespace shows by what it was.
        let looked_at = |version: Version| inside(version) || (has_ended && version.tick <= through);
        let selected = |id: &[u8]| range.contains(id) && selection.has_id(id);
        let mut all = Versions::new();
        let work = gather(&self.inner, layers, *namespace, range, selection, through).await?;
        let mut opener = Opener::default();
        for tenant in work.into_values() {
            tenant.for_each_key(&mut opener, |key, bodies| {
                let Some((found, id)) = split_key(key) else { return Ok(()) };
                if found == *namespace && selected(id) && bodies.iter().any(|(version, _)| looked_at(*version)) {
                    let bodies = bodies.iter().filter(|(version, _)| looked_at(*version));
                    let owned = bodies.map(|(version, body)| (*version, body.to_owned()));
                    all.entry(id.to_vec()).or_default().extend(owned);
                }
                Ok(())
            })?;
        }
        for group in &self.table.groups()[self.table.namespace_groups(*namespace)] {
            let Some((_, id)) = split_key(self.table.key(group)).filter(|(_, id)| selected(id)) else { continue };
            let ops = self.table.ops(group).iter().filter(|op| looked_at(op.version));
            let mut ops = ops.map(|op| (op.version, self.table.body(op).to_owned())).peekable();
            if ops.peek().is_some() {
                all.entry(id.to_vec()).or_default().extend(ops);
            }
        }
        for versions in all.values_mut() {
            newest_first(versions);
            versions.reverse();
            if has_ended {
                let there = versions.iter().map(|(version, body)| (*version, *body != Body::Tombstone));
                versions.extend(taken_by(&ends, there.collect()).into_iter().map(|end| (end, Body::Tombstone)));
                versions.sort_by_key(|(version, _)| *version);
                versions.retain(|(version, _)| inside(*version));
            }
        }
        all.retain(|_, versions| !versions.is_empty());
        Ok(all)
    }
}
