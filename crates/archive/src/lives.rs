//! Namespaces that begin again under the identity that they had.
//!
//! ```text
//!   definition   image ───────── † ─────── image ──────── †
//!   records      ├ first life ───┤         ├ second life ─┤      each counts in its own life only
//! ```
//!
//! The end of a namespace ends all its records, and no version of theirs says so. As a rule nobody comes to see that: what
//! comes after goes by another identity. Where a source has no identity of its own to give and a name stands for one
//! ([`Interpreter::begins_again`](backstay_model::Interpreter::begins_again)), versions from before the newest end do not
//! count. The rule is kept in reading: a drop need not look up what it drops, and a scan that is under way meanwhile makes no
//! difference.

use std::sync::Arc;

use backstay_model::{BodyRef, IdRange, Incarnation, Tick, Version};
use backstay_segment::split_key;

use crate::load::{Opener, gather};
use crate::snapshot::Snapshot;
use crate::table::{Op, up_to};
use crate::{Result, Selection};

impl Snapshot {
    /// When the lives of `namespace` up to and with `through` ended, ascending. None of one that does not begin again.
    pub(crate) async fn ends(&self, namespace: Incarnation, through: Tick) -> Result<Vec<Version>> {
        if namespace == Incarnation::SYSTEM || !self.interpreter.begins_again(namespace) {
            return Ok(Vec::new());
        }
        let (system, id) = (Incarnation::SYSTEM, namespace.record_id());
        let own = Selection { ids: Some(Arc::new(vec![id.to_vec()])), ..Selection::default() };
        let mut ends = Vec::new();
        let mut opener = Opener::default();
        let work = gather(&self.inner, &self.layers, system, &IdRange::only(&id), &own, through).await?;
        for tenant in work.into_values() {
            tenant.for_each_key(&mut opener, |key, versions| {
                if split_key(key) == Some((system, &id)) {
                    let ended = versions.iter().filter(|(_, body)| matches!(body, BodyRef::Tombstone));
                    ends.extend(ended.map(|(version, _)| *version));
                }
                Ok(())
            })?;
        }
        let key = [&system.record_id()[..], &id].concat();
        if let Some(group) = self.table.find(&key).and_then(|number| self.table.groups().get(number)) {
            let ended = self.table.ops(group).iter().filter(|op| matches!(self.table.body(op), BodyRef::Tombstone));
            ends.extend(ended.map(|op| op.version));
        }
        ends.retain(|end| end.tick <= through);
        ends.sort_unstable();
        ends.dedup();
        Ok(ends)
    }

    /// The newest end of `namespace` up to and with `at`: what is not younger does not count as of then.
    pub(crate) async fn ended(&self, namespace: Incarnation, at: Tick) -> Result<Option<Version>> {
        Ok(self.ends(namespace, at).await?.last().copied())
    }
}

/// Those of `versions`, newest first, that came after `ended`.
pub(crate) fn lived<T>(versions: &[(Version, T)], ended: Option<Version>) -> &[(Version, T)] {
    &versions[..versions.partition_point(|(version, _)| ended.is_none_or(|ended| ended < *version))]
}

/// Those of `ops`, ascending, that came after `ended`, up to and with `at`.
pub(crate) fn lived_up_to(ops: &[Op], ended: Option<Version>, at: Tick) -> &[Op] {
    let ops = up_to(ops, at);
    &ops[ops.partition_point(|op| ended.is_some_and(|ended| op.version <= ended))..]
}

/// The ends among `ends` with which a record went that has these versions, of which each is told whether it leaves the
/// record there: those before which the last version does.
pub(crate) fn taken_by(ends: &[Version], mut versions: Vec<(Version, bool)>) -> Vec<Version> {
    versions.sort_unstable();
    let went_with = |end: &&Version| {
        let before = versions.partition_point(|(version, _)| version < *end);
        let since = ends.iter().rev().find(|earlier| earlier < end);
        versions[..before].last().is_some_and(|(last, there)| *there && since.is_none_or(|since| since < last))
    };
    ends.iter().filter(went_with).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_goes_with_the_end_of_the_life_that_it_is_in() {
        let v = |second| Version::new(Tick::new(second, 1), 0);
        let ends = [v(10), v(20), v(30)];
        let check = |versions: &[(u32, bool)], expected: &[u32]| {
            let versions = versions.iter().map(|(second, there)| (v(*second), *there)).collect();
            assert_eq!(taken_by(&ends, versions), expected.iter().map(|second| v(*second)).collect::<Vec<_>>());
        };
        check(&[], &[]);
        check(&[(5, true)], &[10]);
        check(&[(5, true), (7, false)], &[]);
        check(&[(5, true), (12, true), (13, false), (22, true), (31, true)], &[10, 30]);
        check(&[(40, true)], &[]);
    }
}
