//! For which instants every change is held.
//!
//! ```text
//!   start ───────────────╮ gap ╭──────────────── through
//!        covered          (why)       covered
//! ```
//!
//! [`Coverage`] starts where the first complete base is consistent, ends at the frontier, and names every gap between.
//! An instant inside a gap, or outside of both ends, cannot be had; [`Coverage::nearest`] says what can.

use crate::Tick;

/// An interval without full knowledge: instants `after < T < resumes` cannot be restored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gap {
    /// The last instant before the gap that is whole.
    pub after: Tick,
    /// The first instant after the gap that is whole; `None` while the gap is open.
    pub resumes: Option<Tick>,
    /// What happened, in words.
    pub cause: String,
}

/// A closed interval of instants that can be restored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// The first instant.
    pub from: Tick,
    /// The last instant.
    pub to: Tick,
}

/// Which instants can be restored.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Coverage {
    /// The first instant at which a complete base is consistent; `None` before the first backup has ended.
    pub start: Option<Tick>,
    /// The frontier: every change up to and with this tick is held, but for the gaps.
    pub through: Tick,
    /// The gaps, ascending.
    pub gaps: Vec<Gap>,
}

impl Coverage {
    /// The intervals that can be restored, ascending; none are empty.
    pub fn spans(&self) -> Vec<Span> {
        let Some(mut from) = self.start else { return Vec::new() };
        let mut spans = Vec::new();
        for gap in &self.gaps {
            if gap.after >= from {
                spans.push(Span { from, to: gap.after });
            }
            match gap.resumes {
                Some(resumes) => from = from.max(resumes),
                None => return spans,
            }
        }
        if self.through >= from {
            spans.push(Span { from, to: self.through });
        }
        spans
    }

    /// True when `at` can be restored.
    pub fn contains(&self, at: Tick) -> bool {
        self.spans().iter().any(|span| span.from <= at && at <= span.to)
    }

    /// The nearest instants that can be restored, at or before `at` and at or after it.
    pub fn nearest(&self, at: Tick) -> (Option<Tick>, Option<Tick>) {
        let spans = self.spans();
        let before = spans.iter().rev().find(|s| s.from <= at).map(|s| s.to.min(at));
        let after = spans.iter().find(|s| s.to >= at).map(|s| s.from.max(at));
        (before, after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(n: u32) -> Tick {
        Tick::new(n, 0)
    }

    fn with_gap() -> Coverage {
        let gap = Gap { after: t(20), resumes: Some(t(30)), cause: "rolled over".into() };
        Coverage { start: Some(t(10)), through: t(40), gaps: vec![gap] }
    }

    #[test]
    fn a_gap_divides_what_can_be_restored() {
        let coverage = with_gap();
        assert_eq!(coverage.spans(), vec![Span { from: t(10), to: t(20) }, Span { from: t(30), to: t(40) }]);
        assert!(coverage.contains(t(20)) && coverage.contains(t(30)));
        assert!(!coverage.contains(t(25)) && !coverage.contains(t(9)) && !coverage.contains(t(41)));
    }

    #[test]
    fn the_nearest_instants_stand_on_both_sides_of_a_gap() {
        assert_eq!(with_gap().nearest(t(25)), (Some(t(20)), Some(t(30))));
        assert_eq!(with_gap().nearest(t(5)), (None, Some(t(10))));
        assert_eq!(with_gap().nearest(t(50)), (Some(t(40)), None));
    }

    #[test]
    fn an_open_gap_ends_what_can_be_restored() {
        let mut coverage = with_gap();
        coverage.gaps[0].resumes = None;
        assert_eq!(coverage.spans(), vec![Span { from: t(10), to: t(20) }]);
    }

    #[test]
    fn nothing_can_be_restored_before_the_first_base() {
        let coverage = Coverage { start: None, through: t(5), gaps: vec![] };
        assert!(coverage.spans().is_empty());
        assert_eq!(coverage.nearest(t(3)), (None, None));
    }
}
