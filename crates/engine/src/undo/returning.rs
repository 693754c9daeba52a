//! What an undo makes of live records that have values which records that it puts back are to have.
//!
//! They are looked up as the undo's own walk looks at every record: one that the restore wrote, and that nobody changed since,
//! gets what stood there before; every other stays.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use backstay_archive::{Definition, Selection, View};
use backstay_model::{Incarnation, RecordBatch};

use super::Undoing;
use super::records::Verdict;
use crate::restore::trying::{Becomes, Course};
use crate::{ConflictPolicy, Result};

/// A namespace whose records are put back.
pub(super) struct Place<'a> {
    pub definition: &'a Definition,
    /// As it stood just before the restore.
    pub stood: Incarnation,
    pub before: &'a View,
    /// True when something may have stood there that nobody can read any more.
    pub may_hide: bool,
}

/// What an undo makes of live records.
pub(super) struct Returning<'a> {
    pub job: &'a Undoing<'a>,
    pub place: &'a Place<'a>,
}

#[async_trait]
impl Course for Returning<'_> {
    async fn of(&self, live: &RecordBatch) -> Result<Vec<Becomes>> {
        let Returning { job, place } = self;
        let ids: BTreeSet<Vec<u8>> = live.iter().map(|(id, _)| id.to_vec()).collect();
        let selection = &job.request.scope.selection;
        let ids: Vec<Vec<u8>> = ids.into_iter().filter(|id| selection.has_id(id)).collect();
        let by_id = Selection { ids: Some(Arc::new(ids)), ..Selection::default() };
        let places: BTreeMap<&[u8], usize> = live.iter().enumerate().map(|(at, (id, _))| (id, at)).collect();
        let mut becomes: Vec<Becomes> = live.iter().map(|_| Becomes::Itself).collect();
        for partition in place.before.partitions_through(place.stood, &by_id, job.window.through).await? {
            for record in job.rewritten(place, &partition, &by_id).await? {
                let Some(at) = places.get(record.id.as_slice()) else { continue };
                let now = live.get(*at).map(|(_, image)| image);
                let overwrites = job.request.on_conflict == ConflictPolicy::Overwrite;
                let returns = match record.verdict(now) {
                    Verdict::PutBack => true,
                    Verdict::Conflict(_) => overwrites,
                    Verdict::Stands => false,
                };
                if let Some(becomes) = becomes.get_mut(*at).filter(|_| returns) {
                    *becomes = record.earlier.map_or(Becomes::Nothing, Becomes::Image);
                }
            }
        }
        Ok(becomes)
    }

    fn is_one_time(&self) -> bool {
        // Each record gets what stood just before it was written.
        false
    }
}
