//! Restoring a namespace that the target does not have: no comparing, full speed.
//!
//! While one partition is being inserted, the next is fetched, opened and merged. Indexes are built after the data. A
//! namespace that keeps the order in which its records arrived is filled in that order, one batch after the other.

use std::collections::HashMap;
use std::sync::Arc;

use backstay_archive::{Arrival, Definition, Loaded, Selection};
use backstay_model::{NamespaceKind, RecordBatch, crash_point};
use backstay_source::WriteReport;
use futures::stream::{FuturesUnordered, StreamExt};

use crate::monitor::Meter;
use crate::proof::LiveScope;
use crate::restore::{ConflictPolicy, Job, Plan, has_options};
use crate::{Error, Phase, Result};

/// Bytes in an insert.
const BATCH_LEN: usize = 3 << 20;
/// Bytes of records that are put into the order in which they arrived at a time.
const IN_ORDER_LEN: usize = 64 << 20;
/// Inserts on their way at the same time: what it takes to keep a server on the same machine busy.
const LANES: usize = 6;

impl Job<'_> {
    pub(super) async fn fresh(&mut self, definition: &Definition, name: &str, scope: &LiveScope) -> Result<Plan> {
        let mut plan = Plan::default();
        let preview = self.request.preview;
        if !preview && has_options(definition.kind) {
            self.target.create(name, &definition.image).await?;
        }
        let phase = if preview { Phase::Compare } else { Phase::Write };
        let mut meter = Meter::new(self.monitor, phase, None);
        if definition.kind == NamespaceKind::Ordered && !preview {
            plan.insert = self.fresh_in_order(definition, name, &mut meter).await?;
            self.target.build_indexes(name, &definition.image).await?;
            crash_point("restore.indexes-built");
            self.prove(name, scope).await?;
            return Ok(plan);
        }
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
            let done = self.inserted(name, &batch, &report?, meter)?;
            written += done.0;
            skipped += done.1;
        }
        Ok((written, skipped))
    }

    /// Inserts a whole namespace in the order in which its records arrived, one batch after the other; returns how many
    /// records there are.
    async fn fresh_in_order(&mut self, definition: &Definition, name: &str, meter: &mut Meter) -> Result<u64> {
        let (view, selection) = (self.view.clone(), self.selection().clone());
        let arrivals = view.arrivals(definition.incarnation).await?;
        let mut rest = arrivals.as_slice();
        let mut records = 0;
        while !rest.is_empty() {
            self.monitor.check()?;
            let mut bytes = 0;
            let mut fits = |arrival: &Arrival| {
                bytes += arrival.bytes;
                bytes <= IN_ORDER_LEN
            };
            let count = rest.iter().take_while(|arrival| fits(arrival)).count().max(1);
            let (part, later) = rest.split_at_checked(count).unwrap_or((rest, &[]));
            rest = later;
            let mut ids: Vec<Vec<u8>> = part.iter().map(|arrival| arrival.id.clone()).collect();
            ids.sort();
            if let Some(only) = &selection.ids {
                ids.retain(|id| only.binary_search(id).is_ok());
            }
            let by_id = Selection { ids: Some(Arc::new(ids)), ..selection.clone() };
            let mut found: Vec<Loaded> = Vec::new();
            for partition in view.partitions(definition.incarnation, &by_id).await? {
                let loaded = view.load(&partition, &by_id).await?;
                self.archive_digest.combine(loaded.digest());
                records += loaded.len() as u64;
                found.push(loaded);
            }
            let images: HashMap<&[u8], &[u8]> =
                found.iter().flat_map(Loaded::iter).map(|(_, id, image)| (id, image)).collect();
            let mut batch = RecordBatch::with_capacity(BATCH_LEN);
            for (place, arrival) in part.iter().enumerate() {
                if let Some(image) = images.get(arrival.id.as_slice()) {
                    batch.push(&arrival.id, image);
                }
                if batch.bytes() >= BATCH_LEN || place + 1 == part.len() {
                    let report = self.target.insert(name, &batch).await?;
                    let (written, skipped) = self.inserted(name, &batch, &report, meter)?;
                    self.report.written += written;
                    self.report.skipped += skipped;
                    batch.clear();
                }
            }
            crash_point("restore.partition-written");
        }
        Ok(records)
    }

    /// Counts what became of a batch of inserts.
    fn inserted(&self, name: &str, batch: &RecordBatch, report: &WriteReport, meter: &mut Meter) -> Result<(u64, u64)> {
        meter.add(batch.len() as u64, batch.bytes() as u64);
        if let (Some(first), ConflictPolicy::Abort) = (report.conflicts.first(), self.request.on_conflict) {
            let id = batch.get(first.write).map_or(String::new(), |(id, _)| self.display_id(id));
            return Err(Error::Conflict {
                namespace: name.to_owned(),
                count: report.conflicts.len(),
                first: id,
                why: first.why.clone(),
            });
        }
        Ok((report.written, report.conflicts.len() as u64))
    }

    pub(super) fn display_id(&self, id: &[u8]) -> String {
        self.snapshot.interpreter().display_id(id)
    }
}
