//! Dropping namespaces that a restore created, while they still are what it made of them.
//!
//! The whole namespace is compared with what was restored, records and definition. Between the comparison and the drop
//! somebody may still write into it: a database has no drop that depends on content.

use backstay_archive::{Definition, Partition, Selection};
use backstay_model::{NamespaceKind, RecordBatch};

use super::Undoing;
use crate::compare::{Comparison, Pair};
use crate::journal::RunNamespace;
use crate::monitor::Meter;
use crate::restore::writer::{OwnedWrite, Writer};
use crate::{Phase, Proof, Result};

/// How a namespace stands to what was restored into it.
#[derive(Default)]
struct Standing {
    /// How many records are as they were restored.
    same: u64,
    /// Those records, for definitions of views.
    views: RecordBatch,
    /// The records that are not, each with what became of it.
    changed: Vec<(Vec<u8>, &'static str)>,
}

impl Undoing<'_> {
    /// Drops a namespace that the restore created.
    pub(super) async fn drop_created(&mut self, definition: &Definition, namespace: &RunNamespace) -> Result<()> {
        let name = &namespace.target;
        let Some(live) = self.live(name).cloned() else { return Ok(()) };
        if let Some(before) = self.before.clone()
            && before.definitions().await?.iter().any(|known| known.incarnation == live.incarnation)
        {
            self.conflict(name, String::new(), "it is not the one that the restore made");
            return Ok(());
        }
        let standing = self.compare_created(definition, name).await?;
        for (id, why) in &standing.changed {
            self.conflict(name, self.display_id(id), why);
        }
        if definition.kind == NamespaceKind::Views {
            return self.drop_views(name, standing).await;
        }
        let altered = self.altered(definition, name).await?;
        for difference in &altered {
            self.conflict(name, String::new(), &format!("its definition was changed since: {difference}"));
        }
        if !standing.changed.is_empty() || !altered.is_empty() {
            self.report.skipped += 1;
            return Ok(());
        }
        self.report.plan.delete += standing.same;
        self.report.dropped.push(name.clone());
        if self.write {
            self.target.drop_namespace(name).await?;
            self.report.written += standing.same;
        }
        Ok(())
    }

    /// Drops views one by one: they have no namespace of their own.
    async fn drop_views(&mut self, name: &str, standing: Standing) -> Result<()> {
        self.report.plan.delete += standing.same;
        self.report.skipped += standing.changed.len() as u64;
        if self.write {
            let delete = |(id, image): (&[u8], &[u8])| OwnedWrite::Delete { id: id.to_vec(), expected: image.to_vec() };
            let writes = standing.views.iter().map(delete).collect();
            let mut writer = Writer::new(self.target, name, self.request.on_conflict);
            let display = |id: &[u8]| self.snapshot.interpreter().display_id(id);
            let mut done = writer.carry_out(writes, &display).await?;
            done += writer.finish(&display).await?;
            self.report.written += done.written;
            self.report.skipped += done.skipped;
        }
        Ok(())
    }

    /// In which respects the definition was changed since. Of a restore that did not come to its end nobody can tell.
    async fn altered(&self, definition: &Definition, name: &str) -> Result<Vec<String>> {
        if !self.is_finished() || !self.request.scope.is_whole() {
            return Ok(Vec::new());
        }
        let known = self.request.run.proof.as_ref().map_or(&[][..], |proof| &proof.definitions);
        let mut altered = self.target.definition_differences(name, &definition.image).await?;
        altered.retain(|difference| !known.contains(&format!("{name}: {difference}")));
        Ok(altered)
    }

    /// True when the restore came to its end: then everything that it was to write is there, but for what was changed.
    fn is_finished(&self) -> bool {
        self.request.run.proof.as_ref().is_some_and(Proof::has_equal_records)
    }

    async fn compare_created(&self, definition: &Definition, name: &str) -> Result<Standing> {
        let mut standing = Standing::default();
        let mut meter = Meter::new(self.monitor, Phase::Compare, None);
        let kind = definition.kind;
        // All of it is looked at, wherever the selected records are: others may have added records since.
        for partition in self.then.partitions(definition.incarnation, &Selection::default()).await? {
            self.compare_partition(&partition, name, kind, &mut standing, &mut meter).await?;
        }
        Ok(standing)
    }

    async fn compare_partition(
        &self,
        partition: &Partition,
        name: &str,
        kind: NamespaceKind,
        standing: &mut Standing,
        meter: &mut Meter,
    ) -> Result<()> {
        let archived = self.then.load(partition, &self.request.scope.selection).await?;
        let mut comparison = Comparison::new(&archived);
        let finished = self.is_finished();
        let changed = &mut standing.changed;
        let mut same = 0;
        let mut others = Vec::new();
        let mut sink = |pair: Pair<'_>| match pair {
            Pair::Same { .. } => same += 1,
            Pair::Archived { id, .. } if finished => changed.push((id.to_vec(), "it was deleted since")),
            Pair::Archived { .. } => {}
            Pair::Different { id, .. } => changed.push((id.to_vec(), "it was changed since")),
            // Somebody else's view is dropped by nobody; a record would go with its namespace.
            Pair::Live { id, .. } if kind == NamespaceKind::Views => others.push(id.to_vec()),
            Pair::Live { id, .. } => changed.push((id.to_vec(), "it was added since")),
        };
        let mut records = self.target.scan(name, &partition.range, None).await?;
        let mut batch = RecordBatch::default();
        let mut found = RecordBatch::default();
        let mut more = true;
        while more {
            self.monitor.check()?;
            more = records.next(&mut batch).await?;
            meter.add(batch.len() as u64, batch.bytes() as u64);
            comparison.batch(&batch, &mut sink);
            if kind == NamespaceKind::Views {
                batch.iter().for_each(|(id, image)| found.push(id, image));
            }
        }
        comparison.rest(&mut sink);
        standing.same += same;
        for (id, image) in found.iter() {
            let is_known = |known: &[u8]| known == id;
            if !others.iter().any(|known| is_known(known)) && !standing.changed.iter().any(|(known, _)| is_known(known))
            {
                standing.views.push(id, image);
            }
        }
        Ok(())
    }
}
