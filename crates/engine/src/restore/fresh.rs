//! Restoring a namespace that the target does not have: no comparing, full speed.
//!
//! While one partition is being inserted, the next is fetched, opened and merged. Indexes are built after the data.

use backstay_archive::{Definition, Loaded};
use backstay_model::{NamespaceKind, RecordBatch, crash_point};
use futures::stream::{FuturesUnordered, StreamExt};

use crate::monitor::Meter;
use crate::proof::LiveScope;
use crate::restore::{ConflictPolicy, Job, Plan};
use crate::{Error, Phase, Result};

/// Bytes in an insert.
const BATCH_LEN: usize = 3 << 20;
/// Inserts on their way at the same time: what it takes to keep a server on the same machine busy.
const LANES: usize = 6;

impl Job<'_> {
    pub(super) async fn fresh(&mut self, definition: &Definition, name: &str, scope: &LiveScope) -> Result<Plan> {
        let mut plan = Plan::default();
        let preview = self.request.preview;
        if !preview && definition.kind == NamespaceKind::Collection {
            self.target.create(name, &definition.image).await?;
        }
        let phase = if preview { Phase::Compare } else { Phase::Write };
        let mut meter = Meter::new(self.monitor, phase, None);
        let selection = self.selection().clone();
        let view = self.view.clone();
        let partitions = view.partitions(definition.incarnation, &selection).await?;
        let mut partitions = partitions.iter();
        let mut loaded = match partitions.next() {
            Some(first) => Some(view.load(first, &selection).await?),
            None => None,
        };
        while let Some(current) = loaded.take() {
            self.monitor.check()?;
            plan.insert += current.len() as u64;
            self.archive_digest.combine(current.digest());
            let next = async {
                match partitions.next() {
                    Some(partition) => view.load(partition, &selection).await.map(Some),
                    None => Ok(None),
                }
            };
            if preview {
                meter.add(current.len() as u64, current.bytes());
                drop(current);
                loaded = next.await?;
            } else {
                let (next, inserted) = futures::join!(next, self.insert(name, &current, &mut meter));
                let (written, skipped) = inserted?;
                self.report.written += written;
                self.report.skipped += skipped;
                loaded = next?;
                crash_point("restore.partition-written");
            }
        }
        if !preview {
            self.target.build_indexes(name, &definition.image).await?;
            crash_point("restore.indexes-built");
            self.prove(name, scope).await?;
        }
        Ok(plan)
    }

    /// Inserts the records of a partition; returns how many were written and how many skipped.
    async fn insert(&self, name: &str, records: &Loaded, meter: &mut Meter) -> Result<(u64, u64)> {
        let (mut written, mut skipped) = (0, 0);
        let mut records = records.iter();
        let mut running = FuturesUnordered::new();
        let mut more = true;
        while more || !running.is_empty() {
            while more && running.len() < LANES {
                let mut batch = RecordBatch::with_capacity(BATCH_LEN);
                while batch.bytes() < BATCH_LEN
                    && let Some((_, id, image)) = records.next()
                {
                    batch.push(id, image);
                }
                more = batch.bytes() >= BATCH_LEN;
                if !batch.is_empty() {
                    running.push(async move { (self.target.insert(name, &batch).await, batch) });
                }
            }
            let Some((report, batch)) = running.next().await else { break };
            let report = report?;
            meter.add(batch.len() as u64, batch.bytes() as u64);
            written += report.written;
            skipped += report.conflicts.len() as u64;
            if let (Some(first), ConflictPolicy::Abort) = (report.conflicts.first(), self.request.on_conflict) {
                let id = batch.get(first.write).map_or(String::new(), |(id, _)| self.display_id(id));
                return Err(Error::Conflict {
                    namespace: name.to_owned(),
                    count: report.conflicts.len(),
                    first: id,
                    why: first.why.clone(),
                });
            }
        }
        Ok((written, skipped))
    }

    pub(super) fn display_id(&self, id: &[u8]) -> String {
        self.snapshot.interpreter().display_id(id)
    }
}
