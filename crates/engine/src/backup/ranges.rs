//! Taking stretches of ids out of one another.

use std::ops::Bound;

use backstay_model::{IdRange, Incarnation};

/// The parts of `range` that none of `covered` covers, ascending.
pub(super) fn without(range: IdRange, covered: &[(Incarnation, IdRange)], namespace: Incarnation) -> Vec<IdRange> {
    let mut rest = vec![range];
    for (_, hole) in covered.iter().filter(|(incarnation, _)| *incarnation == namespace) {
        rest = rest.iter().flat_map(|range| cut_out(range, hole)).collect();
    }
    rest
}

fn cut_out(range: &IdRange, hole: &IdRange) -> Vec<IdRange> {
    let before = IdRange { from: range.from.clone(), to: lower(&range.to, &end_before(&hole.from)) };
    let after = IdRange { from: higher(&range.from, &start_after(&hole.to)), to: range.to.clone() };
    let mut left = Vec::new();
    if hole.from != Bound::Unbounded && !is_empty(&before) {
        left.push(before);
    }
    if hole.to != Bound::Unbounded && !is_empty(&after) {
        left.push(after);
    }
    left
}

pub(super) fn end_before(from: &Bound<Vec<u8>>) -> Bound<Vec<u8>> {
    match from {
        Bound::Unbounded => Bound::Unbounded,
        Bound::Included(id) => Bound::Excluded(id.clone()),
        Bound::Excluded(id) => Bound::Included(id.clone()),
    }
}

fn start_after(to: &Bound<Vec<u8>>) -> Bound<Vec<u8>> {
    end_before(to)
}

fn lower(a: &Bound<Vec<u8>>, b: &Bound<Vec<u8>>) -> Bound<Vec<u8>> {
    use Bound::{Excluded, Included, Unbounded};
    match (a, b) {
        (Unbounded, other) | (other, Unbounded) => other.clone(),
        (Included(x), Excluded(y)) | (Excluded(y), Included(x)) => {
            if y <= x {
                Excluded(y.clone())
            } else {
                Included(x.clone())
            }
        }
        (Included(x), Included(y)) => Included(x.min(y).clone()),
        (Excluded(x), Excluded(y)) => Excluded(x.min(y).clone()),
    }
}

fn higher(a: &Bound<Vec<u8>>, b: &Bound<Vec<u8>>) -> Bound<Vec<u8>> {
    use Bound::{Excluded, Included, Unbounded};
    match (a, b) {
        (Unbounded, other) | (other, Unbounded) => other.clone(),
        (Included(x), Excluded(y)) | (Excluded(y), Included(x)) => {
            if y >= x {
                Excluded(y.clone())
            } else {
                Included(x.clone())
            }
        }
        (Included(x), Included(y)) => Included(x.max(y).clone()),
        (Excluded(x), Excluded(y)) => Excluded(x.max(y).clone()),
    }
}

fn is_empty(range: &IdRange) -> bool {
    use Bound::{Excluded, Included, Unbounded};
    match (&range.from, &range.to) {
        (Unbounded, _) | (_, Unbounded) => false,
        (Included(from), Included(to)) => from > to,
        (Included(from) | Excluded(from), Included(to) | Excluded(to)) => from >= to,
    }
}
