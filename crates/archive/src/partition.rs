//! Cutting a namespace into stretches that fit in memory.
//!
//! The stretches between the starts of base runs are small as a rule; where one is not, because delta runs have grown over
//! it or the base runs overlap, it is cut further at the first keys of blocks, so that every partition holds about the same number of bytes.

use backstay_model::{IdRange, Incarnation, Tick};
use backstay_segment::split_key;

use crate::snapshot::{Layers, Snapshot};
use crate::vault::Inner;
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
    let pieces = pieces(&snapshot.inner, &snapshot.layers, namespace, selection, through).await?;
    Ok(pieces.into_iter().map(|range| Partition { namespace, range }).collect())
}

/// The stretches of a namespace that may hold what is selected, each with no more of it up to `through` than fits in memory;
/// ascending.
pub(crate) async fn pieces(
    inner: &Inner,
    layers: &Layers,
    namespace: Incarnation,
    selection: &Selection,
    through: Tick,
) -> Result<Vec<IdRange>> {
    let mut pieces = Vec::new();
    for stretch in layers.stretches(namespace).into_iter().filter(|stretch| selection.may_be_in(stretch)) {
        pieces.extend(cut(inner, layers, namespace, stretch, selection, through).await?);
    }
    Ok(pieces)
}

async fn cut(
    inner: &Inner,
    layers: &Layers,
    namespace: Incarnation,
    range: IdRange,
    selection: &Selection,
    through: Tick,
) -> Result<Vec<IdRange>> {
    let limit = inner.limits().partition;
    let runs: Vec<_> = layers.relevant(namespace, &range, through).collect();
    if runs.iter().map(|run| run.info.raw_bytes).sum::<u64>() <= limit {
        return Ok(vec![range]);
    }
    let mut blocks: Vec<(Vec<u8>, u64)> = Vec::new();
    for reference in runs {
        let run = inner.open_run(reference).await?;
        for tenant in run.selected(namespace, selection, &inner.keys) {
            for block in &run.page(tenant, &inner.keys).await?.blocks {
                let (Some((first_namespace, first)), Some((last_namespace, last))) =
                    (split_key(&block.first_key), split_key(&block.last_key))
                else {
                    continue;
                };
                // One that goes on into the next namespace is open at that end.
                let may_be_in_it = last_namespace != namespace || selection.may_have_between(first, last);
                if first_namespace == namespace && range.contains(first) && may_be_in_it {
                    blocks.push((first.to_vec(), u64::from(block.raw_len)));
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
    Ok(range.split_at(&points).into_iter().filter(|piece| selection.may_be_in(piece)).collect())
}
