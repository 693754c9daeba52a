//! Cutting a namespace into stretches that fit in memory.
//!
//! The stretches between the starts of base runs are small as a rule; where one is not, because delta runs have grown over
//! it or the base runs overlap, it is cut further at the first keys of blocks, so that every partition holds about the same number of bytes.

use backstay_model::{IdRange, Incarnation, Tick};
use backstay_segment::split_key;

use crate::snapshot::Snapshot;
use crate::{Result, Selection};

/// A stretch of a namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Partition {
    /// The namespace.
    pub namespace: Incarnation,
    /// The record ids.
    pub range: IdRange,
}

pub(crate) async fn plan(
    snapshot: &Snapshot,
    namespace: Incarnation,
    selection: &Selection,
    through: Tick,
) -> Result<Vec<Partition>> {
    let mut partitions = Vec::new();
    for stretch in snapshot.layers.stretches(namespace) {
        if !selection.may_be_in(&stretch) {
            continue;
        }
        for range in cut(snapshot, namespace, stretch, selection, through).await? {
            partitions.push(Partition { namespace, range });
        }
    }
    Ok(partitions)
}

async fn cut(
    snapshot: &Snapshot,
    namespace: Incarnation,
    range: IdRange,
    selection: &Selection,
    through: Tick,
) -> Result<Vec<IdRange>> {
    let limit = snapshot.inner.limits().partition;
    let runs: Vec<_> = snapshot.layers.relevant(namespace, &range, through).collect();
    if runs.iter().map(|run| run.info.raw_bytes).sum::<u64>() <= limit {
        return Ok(vec![range]);
    }
    let mut blocks: Vec<(Vec<u8>, u64)> = Vec::new();
    for reference in runs {
        let run = snapshot.open(reference).await?;
        for tenant in run.selected(namespace, selection, &snapshot.inner.keys) {
            for block in &run.page(tenant, &snapshot.inner.keys).await?.blocks {
                if let Some((block_namespace, id)) = split_key(&block.first_key)
                    && block_namespace == namespace
                    && range.contains(id)
                {
                    blocks.push((id.to_vec(), u64::from(block.raw_len)));
                }
            }
        }
    }
    if blocks.iter().map(|(_, bytes)| bytes).sum::<u64>() <= limit {
        return Ok(vec![range]);
    }
    blocks.sort();
    let mut points = Vec::new();
    let mut sum = 0;
    for (id, bytes) in blocks {
        if sum >= limit / 2 {
            points.push(id);
            sum = 0;
        }
        sum += bytes;
    }
    points.dedup();
    Ok(range.split_at(&points))
}
