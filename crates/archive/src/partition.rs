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
    let always = |_: &[Span], _: &[IdRange]| true;
    let ranges = divide(&snapshot.inner, &snapshot.layers, namespace, selection, through, always).await?;
    Ok(ranges.into_iter().map(|range| Partition { namespace, range }).collect())
}

/// The stretches of a namespace that may hold what is selected, ascending: each with no more of it up to `through` than fits
/// in memory, where blocks are short enough in ids for that. Where each of them reaches over many pieces, as with a run of
/// thousands of tenants, every piece would read most of them again: then the stretch stays whole.
pub(crate) async fn pieces(
    inner: &Inner,
    layers: &Layers,
    namespace: Incarnation,
    selection: &Selection,
    through: Tick,
) -> Result<Vec<IdRange>> {
    let reads_little_twice = |blocks: &[Span], pieces: &[IdRange]| {
        let all: u64 = blocks.iter().map(|block| block.bytes).sum();
        let read_by = |piece| blocks.iter().filter(|block| block.is_in(piece)).map(|block| block.bytes).sum::<u64>();
        pieces.iter().map(read_by).sum::<u64>() <= 2 * all
    };
    divide(inner, layers, namespace, selection, through, reads_little_twice).await
}

/// Cuts the stretches that may hold what is selected, those whose pieces are `worth_it`.
async fn divide(
    inner: &Inner,
    layers: &Layers,
    namespace: Incarnation,
    selection: &Selection,
    through: Tick,
    worth_it: impl Fn(&[Span], &[IdRange]) -> bool,
) -> Result<Vec<IdRange>> {
    let mut ranges = Vec::new();
    for stretch in layers.stretches(namespace).into_iter().filter(|stretch| selection.may_be_in(stretch)) {
        let blocks = blocks(inner, layers, namespace, &stretch, selection, through).await?;
        let pieces = cut(&blocks, stretch.clone(), inner.limits().partition);
        ranges.extend(if worth_it(&blocks, &pieces) { pieces } else { vec![stretch] });
    }
    ranges.retain(|range| selection.may_be_in(range));
    Ok(ranges)
}

/// A block of a run, by the ids that it may hold in the namespace.
struct Span {
    first: Vec<u8>,
    /// None when it goes on into the next namespace.
    last: Option<Vec<u8>>,
    bytes: u64,
}

impl Span {
    fn is_in(&self, range: &IdRange) -> bool {
        match &self.last {
            Some(last) => range.overlaps(&self.first, last),
            None => !range.ends_before(&self.first),
        }
    }
}

/// The blocks that begin in the stretch and may hold what is selected, ascending; none when all of it fits in memory.
async fn blocks(
    inner: &Inner,
    layers: &Layers,
    namespace: Incarnation,
    range: &IdRange,
    selection: &Selection,
    through: Tick,
) -> Result<Vec<Span>> {
    let runs: Vec<_> = layers.relevant(namespace, range, through).collect();
    let mut blocks = Vec::new();
    if runs.iter().map(|run| run.info.raw_bytes).sum::<u64>() <= inner.limits().partition {
        return Ok(blocks);
    }
    for reference in runs {
        let run = inner.open_run(reference).await?;
        for tenant in run.selected(namespace, selection, &inner.keys) {
            for block in &run.page(tenant, &inner.keys).await?.blocks {
                let (Some((first_namespace, first)), Some((last_namespace, last))) =
                    (split_key(&block.first_key), split_key(&block.last_key))
                else {
                    continue;
                };
                let last = Some(last).filter(|_| last_namespace == namespace);
                let may_hold = last.is_none_or(|last| selection.may_have_between(first, last));
                if first_namespace == namespace && range.contains(first) && may_hold {
                    let bytes = u64::from(block.raw_len);
                    blocks.push(Span { first: first.to_vec(), last: last.map(<[u8]>::to_vec), bytes });
                }
            }
        }
    }
    blocks.sort_by(|a, b| a.first.cmp(&b.first));
    Ok(blocks)
}

/// Cuts a stretch where its blocks begin, so that about half of `limit` bytes of them begin in each piece.
fn cut(blocks: &[Span], range: IdRange, limit: u64) -> Vec<IdRange> {
    if blocks.iter().map(|block| block.bytes).sum::<u64>() <= limit {
        return vec![range];
    }
    let mut points = Vec::new();
    let mut sum = 0;
    for block in blocks {
        if sum >= limit / 2 {
            points.push(block.first.clone());
            sum = 0;
        }
        sum += block.bytes;
    }
    points.dedup();
    range.split_at(&points)
}
