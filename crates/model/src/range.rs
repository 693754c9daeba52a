//! Stretches of record ids.

use std::ops::Bound;

/// A stretch of record ids in memcomparable form. Unbounded on both sides is the whole namespace.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct IdRange {
    /// Where it starts.
    pub from: Bound<Vec<u8>>,
    /// Where it ends.
    pub to: Bound<Vec<u8>>,
}

impl IdRange {
    /// Every id.
    pub fn all() -> IdRange {
        IdRange { from: Bound::Unbounded, to: Bound::Unbounded }
    }

    /// Only this id.
    pub fn only(id: &[u8]) -> IdRange {
        IdRange { from: Bound::Included(id.to_vec()), to: Bound::Included(id.to_vec()) }
    }

    /// True when `id` lies in the range.
    pub fn contains(&self, id: &[u8]) -> bool {
        !self.starts_after(id) && !self.ends_before(id)
    }

    /// True when the whole range lies above `id`.
    pub fn starts_after(&self, id: &[u8]) -> bool {
        match &self.from {
            Bound::Unbounded => false,
            Bound::Included(from) => id < from.as_slice(),
            Bound::Excluded(from) => id <= from.as_slice(),
        }
    }

    /// True when the whole range lies below `id`.
    pub fn ends_before(&self, id: &[u8]) -> bool {
        match &self.to {
            Bound::Unbounded => false,
            Bound::Included(to) => id > to.as_slice(),
            Bound::Excluded(to) => id >= to.as_slice(),
        }
    }

    /// True when some id between `first` and `last`, both included, lies in the range.
    pub fn overlaps(&self, first: &[u8], last: &[u8]) -> bool {
        !self.starts_after(last) && !self.ends_before(first)
    }

    /// What is left of the range above `id`.
    pub fn after(&self, id: &[u8]) -> IdRange {
        IdRange { from: Bound::Excluded(id.to_vec()), to: self.to.clone() }
    }

    /// Cuts the range at each of `points` (ascending); a point belongs to the piece that it starts.
    pub fn split_at(&self, points: &[Vec<u8>]) -> Vec<IdRange> {
        let mut pieces = Vec::with_capacity(points.len() + 1);
        let mut from = self.from.clone();
        for point in points {
            if !self.contains(point) || from == Bound::Included(point.clone()) {
                continue;
            }
            pieces.push(IdRange { from, to: Bound::Excluded(point.clone()) });
            from = Bound::Included(point.clone());
        }
        pieces.push(IdRange { from, to: self.to.clone() });
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_the_whole_and_share_nothing() {
        let points: Vec<Vec<u8>> = vec![b"b".to_vec(), b"d".to_vec()];
        let pieces = IdRange::all().split_at(&points);
        assert_eq!(pieces.len(), 3);
        for id in [&b"a"[..], b"b", b"c", b"d", b"e"] {
            assert_eq!(pieces.iter().filter(|p| p.contains(id)).count(), 1, "{id:?}");
        }
    }

    #[test]
    fn what_is_left_after_an_id_leaves_it_out() {
        let rest = IdRange::all().after(b"b");
        assert!(!rest.contains(b"b"));
        assert!(rest.contains(b"b\0"));
        assert!(rest.overlaps(b"a", b"c"));
        assert!(!rest.overlaps(b"a", b"b"));
    }
}
