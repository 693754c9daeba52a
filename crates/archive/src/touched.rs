//! Which records changed between two instants, without looking at those that did not.

use std::sync::Arc;

use backstay_model::Tick;
use backstay_segment::split_key;

use crate::load::{Opener, gather};
use crate::snapshot::Snapshot;
use crate::{Partition, Result, Selection};

impl Snapshot {
    /// The ids of the partition's records with a change after `after` and up to `through`, ascending. Records of other
    /// tenants may be among them where the changes do not say whose they are.
    pub async fn touched(
        &self,
        partition: &Partition,
        selection: &Selection,
        after: Tick,
        through: Tick,
    ) -> Result<Vec<Vec<u8>>> {
        let Partition { namespace, range } = partition;
        if self.ends(*namespace, through).await?.last().is_some_and(|end| after < end.tick) {
            // What went with its namespace shows by what it was.
            return Ok(self.since(partition, selection, after, through).await?.into_keys().collect());
        }
        let layers = self.layers.newer_than(after);
        let work = gather(&self.inner, &layers, *namespace, range, selection, through).await?;
        let mut ids: Vec<Vec<u8>> = Vec::new();
        let mut opener = Opener::default();
        for tenant in work.into_values() {
            tenant.for_each_key(&mut opener, |key, versions| {
                let inside = |tick: Tick| after < tick && tick <= through;
                if let Some((found, id)) = split_key(key)
                    && found == *namespace
                    && range.contains(id)
                    && selection.has_id(id)
                    && versions.iter().any(|(version, _)| inside(version.tick))
                {
                    ids.push(id.to_vec());
                }
                Ok(())
            })?;
        }
        let table = Arc::clone(&self.table);
        for group in &table.groups()[table.namespace_groups(*namespace)] {
            let Some((_, id)) = split_key(table.key(group)) else { continue };
            let inside = table.ops(group).iter().any(|op| after < op.version.tick && op.version.tick <= through);
            if inside && range.contains(id) && selection.has_id(id) {
                ids.push(id.to_vec());
            }
        }
        ids.sort();
        ids.dedup();
        Ok(ids)
    }
}
