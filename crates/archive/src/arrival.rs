//! The order in which records arrived, for namespaces that keep one.
//!
//! ```text
//!   a record's life   † ─── image ─── Δ ─── image (a replacement) ─── scan reads it at position p ─── T
//!   its place                                                        the newest scan's position, or the first image
//! ```
//!
//! Whatever changes a record leaves it where it is; only a deletion ends its life, and the same id after it is another
//! record, at the end. A scan that reads the namespace in order gives every record that is alive a place below all that
//! come later, so that of all scans the newest counts, and records without one came after it.

use std::collections::BTreeMap;

use backstay_model::{BodyRef, Incarnation, Version};
use backstay_segment::split_key;

use crate::load::{Opener, gather};
use crate::table::up_to;
use crate::{Partition, Result, Selection, View};

/// A record by its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// Its id.
    pub id: Vec<u8>,
    /// Bytes of its image.
    pub bytes: usize,
}

/// What a version says of the life of its record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    Alive,
    Gone,
}

impl View {
    /// The records of a namespace as of this view's instant, in the order in which they arrived. Holds the ids of all of
    /// them in memory.
    pub async fn arrivals(&self, namespace: Incarnation) -> Result<Vec<Arrival>> {
        let everything = Selection::default();
        let mut placed: Vec<(Version, Arrival)> = Vec::new();
        for partition in self.partitions(namespace, &everything).await? {
            let mut signs = self.signs(&partition).await?;
            for (_, id, image) in self.load(&partition, &everything).await?.iter() {
                let place = signs.get_mut(id).map_or(Version::default(), |signs| place(signs));
                placed.push((place, Arrival { id: id.to_vec(), bytes: image.len() }));
            }
        }
        placed.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.id.cmp(&b.1.id)));
        Ok(placed.into_iter().map(|(_, arrival)| arrival).collect())
    }

    /// What every layer says of the lives of a partition's records, up to this view's instant.
    async fn signs(&self, partition: &Partition) -> Result<BTreeMap<Vec<u8>, Vec<(Version, Sign)>>> {
        let Partition { namespace, range } = partition;
        let snapshot = self.snapshot();
        let mut signs: BTreeMap<Vec<u8>, Vec<(Version, Sign)>> = BTreeMap::new();
        let mut note = |id: &[u8], version: Version, body: &BodyRef<'_>| {
            let sign = match body {
                BodyRef::Image(_) => Sign::Alive,
                BodyRef::Tombstone => Sign::Gone,
                BodyRef::Delta(..) => return,
            };
            signs.entry(id.to_vec()).or_default().push((version, sign));
        };
        let everything = Selection::default();
        let work = gather(&snapshot.inner, &snapshot.layers, *namespace, range, &everything, self.at()).await?;
        let mut opener = Opener::default();
        for tenant in work.into_values() {
            tenant.for_each_key(&mut opener, |key, versions| {
                if let Some((found, id)) = split_key(key)
                    && found == *namespace
                    && range.contains(id)
                {
                    let visible = versions.iter().filter(|(version, _)| version.tick <= self.at());
                    visible.for_each(|(version, body)| note(id, *version, body));
                }
                Ok(())
            })?;
        }
        let table = &snapshot.table;
        for group in &table.groups()[table.namespace_groups(*namespace)] {
            if let Some((_, id)) = split_key(table.key(group))
                && range.contains(id)
            {
                let ops = up_to(table.ops(group), self.at());
                ops.iter().for_each(|op| note(id, op.version, &table.body(op)));
            }
        }
        Ok(signs)
    }
}

/// The place of a record that is alive, by all that is said of it.
fn place(signs: &mut [(Version, Sign)]) -> Version {
    // At one version a move between tenants is a tombstone with one and an image with the other: it is alive.
    signs.sort_by_key(|(version, sign)| (std::cmp::Reverse(*version), *sign == Sign::Gone));
    let mut first = Version::default();
    for (version, sign) in signs.iter() {
        match sign {
            Sign::Gone if *version == first => {}
            Sign::Gone => break,
            Sign::Alive if version.is_scanned() => return *version,
            Sign::Alive => first = *version,
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use backstay_model::Tick;

    use super::*;

    #[track_caller]
    fn check(signs: &[(u32, u32, Sign)], expected: (u32, u32)) {
        let version = |tick, ordinal| Version::new(Tick::new(tick, 0), ordinal);
        let mut signs: Vec<_> = signs.iter().map(|(tick, ordinal, sign)| (version(*tick, *ordinal), *sign)).collect();
        assert_eq!(place(&mut signs), version(expected.0, expected.1));
    }

    #[test]
    fn a_record_stays_where_it_arrived() {
        use Sign::{Alive, Gone};
        check(&[(5, 1, Alive)], (5, 1));
        check(&[(5, 1, Alive), (9, 0, Alive)], (5, 1));
        check(&[(3, 0, Alive), (4, 0, Gone), (5, 1, Alive), (9, 0, Alive)], (5, 1));
        // A move between tenants is no death.
        check(&[(5, 1, Alive), (7, 2, Gone), (7, 2, Alive), (9, 0, Alive)], (5, 1));
        // Of scans the newest counts, but not across a death.
        let scanned = Version::scanned(Tick::ZERO, 4).ordinal;
        check(&[(5, 1, Alive), (7, scanned, Alive), (8, scanned + 9, Alive), (9, 0, Alive)], (8, scanned + 9));
        check(&[(7, scanned, Alive), (8, 0, Gone), (9, 0, Alive)], (9, 0));
    }
}
