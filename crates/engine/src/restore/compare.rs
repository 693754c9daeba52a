//! Restoring into a namespace that exists, without knowing what changed in it: both states are walked side by side.

use std::sync::Arc;

use backstay_archive::{Definition, Partition, Selection};
use backstay_model::{RecordBatch, crash_point};

use crate::compare::{Comparison, Pair};
use crate::monitor::Meter;
use crate::proof::LiveScope;
use crate::restore::foresee::Foreseen;
use crate::restore::writer::{OwnedWrite, Writer};
use crate::restore::{Job, Plan};
use crate::{Phase, Result};

/// About how many bytes that differ are kept before they are written.
const PORTION_LEN: usize = 16 << 20;

/// What a part of a comparison found.
#[derive(Default)]
struct Portion {
    /// Records to replace.
    writes: Vec<OwnedWrite>,
    /// Records that only the archive has.
    missing: RecordBatch,
    /// Records that only the target has.
    extra: RecordBatch,
    unchanged: u64,
    bytes: usize,
}

impl Portion {
    fn take(&mut self, pair: Pair<'_>) {
        match pair {
            Pair::Same { .. } => self.unchanged += 1,
            Pair::Archived { id, image, .. } => {
                self.bytes += id.len() + image.len();
                self.missing.push(id, image);
            }
            Pair::Live { id, image } => {
                self.bytes += id.len() + image.len();
                self.extra.push(id, image);
            }
            Pair::Different { id, archived, live, .. } => {
                let write = OwnedWrite::Replace { id: id.to_vec(), expected: live.to_vec(), image: archived.to_vec() };
                self.bytes += write.bytes();
                self.writes.push(write);
            }
        }
    }
}

impl Job<'_> {
    pub(super) async fn compare(
        &mut self,
        definition: &Definition,
        name: &str,
        scope: &LiveScope,
        mut writer: Writer<'_>,
    ) -> Result<Plan> {
        if self.request.preview {
            return self.walk_all(definition, name, scope, None, &mut Foreseen::default()).await;
        }
        let mut foreseen = Foreseen::default();
        let plan = self.walk_all(definition, name, scope, Some(&mut writer), &mut foreseen).await?;
        let done = writer.finish(&|id| self.display_id(id)).await?;
        self.note_written(done);
        self.prove(name, scope).await?;
        Ok(plan)
    }

    /// Walks both states, and with a writer writes what differs.
    pub(super) async fn walk_all(
        &mut self,
        definition: &Definition,
        name: &str,
        scope: &LiveScope,
        mut writer: Option<&mut Writer<'_>>,
        foreseen: &mut Foreseen,
    ) -> Result<Plan> {
        let mut plan = Plan::default();
        let mut meter = Meter::new(self.monitor, Phase::Compare, None);
        let selection = self.selection().clone();
        let view = self.view.clone();
        for partition in view.partitions(definition.incarnation, &selection).await? {
            self.monitor.check()?;
            let archived = view.load(&partition, &selection).await?;
            self.archive_digest.combine(archived.digest());
            let mut comparison = Comparison::new(&archived);
            let mut portion = Portion::default();
            let mut records = self.target.scan(name, &partition.range, scope.only_tenant(name)).await?;
            let mut batch = RecordBatch::default();
            let mut scratch = String::new();
            let mut more = true;
            while more {
                self.monitor.check()?;
                more = records.next(&mut batch).await?;
                meter.add(batch.len() as u64, batch.bytes() as u64);
                if self.request.scope.is_whole() {
                    comparison.batch(&batch, &mut |pair| portion.take(pair));
                } else {
                    let mut meant = RecordBatch::with_capacity(batch.bytes());
                    for (id, image) in batch.iter().filter(|(id, image)| scope.has(id, image, &mut scratch)) {
                        meant.push(id, image);
                    }
                    comparison.batch(&meant, &mut |pair| portion.take(pair));
                }
                if portion.bytes >= PORTION_LEN {
                    let portion = std::mem::take(&mut portion);
                    self.write_portion(portion, &partition, name, &mut plan, writer.as_deref_mut(), foreseen).await?;
                }
            }
            comparison.rest(&mut |pair| portion.take(pair));
            self.write_portion(portion, &partition, name, &mut plan, writer.as_deref_mut(), foreseen).await?;
        }
        Ok(plan)
    }

    /// Plans what was compared, and with a writer writes what differs.
    async fn write_portion(
        &mut self,
        portion: Portion,
        partition: &Partition,
        name: &str,
        plan: &mut Plan,
        writer: Option<&mut Writer<'_>>,
        foreseen: &mut Foreseen,
    ) -> Result<()> {
        let Portion { mut writes, missing, extra, unchanged, .. } = portion;
        plan.unchanged += unchanged;
        plan.replace += writes.len() as u64;
        self.plan_missing(&missing, name, plan, &mut writes).await?;
        self.plan_extra(partition, &extra, plan, &mut writes).await?;
        drop((missing, extra));
        foreseen.add(&writes).await?;
        let Some(writer) = writer else { return Ok(()) };
        let done = writer.carry_out(writes, &|id| self.display_id(id)).await?;
        self.note_written(done);
        crash_point("restore.partition-written");
        Ok(())
    }

    /// Records that the selection lacks are inserted, unless they stand in the target outside of the selection.
    async fn plan_missing(
        &self,
        missing: &RecordBatch,
        name: &str,
        plan: &mut Plan,
        writes: &mut Vec<OwnedWrite>,
    ) -> Result<()> {
        let elsewhere = match self.request.scope.is_whole() || missing.is_empty() {
            true => RecordBatch::default(),
            false => {
                let ids: Vec<&[u8]> = missing.iter().map(|(id, _)| id).collect();
                self.target.fetch(name, &ids).await?
            }
        };
        let elsewhere: std::collections::BTreeMap<&[u8], &[u8]> = elsewhere.iter().collect();
        for (id, image) in missing.iter() {
            let (id, image) = (id.to_vec(), image.to_vec());
            match elsewhere.get(id.as_slice()) {
                None => {
                    plan.insert += 1;
                    writes.push(OwnedWrite::Insert { id, image });
                }
                Some(live) if *live == image.as_slice() => plan.unchanged += 1,
                Some(live) => {
                    plan.replace += 1;
                    writes.push(OwnedWrite::Replace { id, expected: live.to_vec(), image });
                }
            }
        }
        Ok(())
    }

    /// Live records of the selection that it did not have are deleted, unless they existed outside of it.
    async fn plan_extra(
        &mut self,
        partition: &Partition,
        extra: &RecordBatch,
        plan: &mut Plan,
        writes: &mut Vec<OwnedWrite>,
    ) -> Result<()> {
        let mut existed: Vec<Vec<u8>> = Vec::new();
        if self.selection().may_miss() {
            // What is not found may have been there under a key that was shredded.
            existed.extend(extra.iter().map(|(id, _)| id.to_vec()));
        } else if !self.request.scope.is_whole() && !extra.is_empty() {
            let ids = extra.iter().map(|(id, _)| id.to_vec()).collect();
            let by_id = Selection { ids: Some(Arc::new(ids)), ..Selection::default() };
            let loaded = self.view.load(partition, &by_id).await?;
            existed.extend(loaded.iter().map(|(_, id, _)| id.to_vec()));
        }
        for (id, image) in extra.iter() {
            if existed.binary_search_by(|known| known.as_slice().cmp(id)).is_err() {
                plan.delete += 1;
                writes.push(OwnedWrite::Delete { id: id.to_vec(), expected: image.to_vec() });
            }
        }
        self.left.extend(existed);
        Ok(())
    }
}
