//! Rewinding live data: only records with a change since T are looked at.
//!
//! The archive holds every change between T and now, so every record without one stands as it stood. For the others the
//! state at T is fetched from the archive and the live record from the database, by id; what differs is written, each
//! write guarded by the live record that was seen.

use std::collections::BTreeMap;
use std::sync::Arc;

use backstay_archive::{Definition, Loaded, Selection};
use backstay_model::{Tenant, Tick, crash_point};

use crate::monitor::Meter;
use crate::proof::LiveScope;
use crate::restore::room::Growth;
use crate::restore::writer::{OwnedWrite, Writer};
use crate::restore::{Job, Plan};
use crate::{Phase, ProofScope, Result};

/// How many live records are fetched at a time.
const FETCH: usize = 2000;

impl Job<'_> {
    pub(super) async fn rewind(
        &mut self,
        definition: &Definition,
        name: &str,
        scope: &LiveScope,
        now: Tick,
        mut writer: Writer<'_>,
    ) -> Result<Plan> {
        if self.request.preview || writer.is_inserting_last() {
            let mut growth = Growth::default();
            let plan = self.walk_changes(definition, name, scope, now, None, &mut growth).await?;
            if writer.is_inserting_last() {
                growth.check_room(self.target, name).await?;
            }
            if self.request.preview {
                return Ok(plan);
            }
            self.left.clear();
        }
        let mut growth = Growth::default();
        let plan = self.walk_changes(definition, name, scope, now, Some(&mut writer), &mut growth).await?;
        let done = writer.finish(&|id| self.display_id(id)).await?;
        self.report.written += done.written;
        self.report.skipped += done.skipped;
        if self.request.proof == ProofScope::Full {
            self.prove(name, scope).await?;
        } else {
            let late: Vec<&[u8]> = writer.late().collect();
            for ids in late.chunks(FETCH) {
                self.read_back(ids, name, scope).await?;
            }
        }
        Ok(plan)
    }

    /// Looks at every record with a change since T, and with a writer writes what differs.
    async fn walk_changes(
        &mut self,
        definition: &Definition,
        name: &str,
        scope: &LiveScope,
        now: Tick,
        mut writer: Option<&mut Writer<'_>>,
        growth: &mut Growth,
    ) -> Result<Plan> {
        let mut plan = Plan::default();
        let mut meter = Meter::new(self.monitor, Phase::Compare, None);
        let view = self.view.clone();
        let selection = self.selection().clone();
        let full_proof = self.request.proof == ProofScope::Full && writer.is_some();
        for partition in view.partitions(definition.incarnation, &Selection::default()).await? {
            self.monitor.check()?;
            if full_proof {
                self.archive_digest.combine(view.load(&partition, &selection).await?.digest());
            }
            let ids = self.snapshot.touched(&partition, &selection, self.request.at, now).await?;
            if ids.is_empty() {
                continue;
            }
            let by_id = Selection { ids: Some(Arc::new(ids.clone())), ..Selection::default() };
            let then = view.load(&partition, &by_id).await?;
            let then = by_record(&then);
            for chunk in ids.chunks(FETCH) {
                self.monitor.check()?;
                let writes = self.plan_chunk(chunk, &then, name, scope, &mut plan).await?;
                meter.add(chunk.len() as u64, 0);
                growth.add(&writes);
                let Some(writer) = writer.as_deref_mut() else { continue };
                let display = |id: &[u8]| self.display_id(id);
                let done = writer.carry_out(writes, &display).await?;
                self.report.written += done.written;
                self.report.skipped += done.skipped;
                if !full_proof {
                    self.prove_chunk(chunk, &then, name, scope, writer).await?;
                }
                crash_point("restore.partition-written");
            }
        }
        Ok(plan)
    }

    /// Compares a chunk of records with the live ones.
    async fn plan_chunk(
        &mut self,
        ids: &[Vec<u8>],
        then: &BTreeMap<&[u8], (&Tenant, &[u8])>,
        name: &str,
        scope: &LiveScope,
        plan: &mut Plan,
    ) -> Result<Vec<OwnedWrite>> {
        let wanted: Vec<&[u8]> = ids.iter().map(Vec::as_slice).collect();
        let fetched = self.target.fetch(name, &wanted).await?;
        let live: BTreeMap<&[u8], &[u8]> = fetched.iter().collect();
        let mut scratch = String::new();
        let mut writes = Vec::new();
        for id in ids {
            let now = live.get(id.as_slice()).copied();
            match (self.wanted_image(id, then), now) {
                (Wanted::Image(image), None) => {
                    plan.insert += 1;
                    writes.push(OwnedWrite::Insert { id: id.clone(), image: image.to_vec() });
                }
                (Wanted::Image(image), Some(now)) if image == now => plan.unchanged += 1,
                (Wanted::Image(image), Some(now)) => {
                    plan.replace += 1;
                    writes.push(OwnedWrite::Replace { id: id.clone(), expected: now.to_vec(), image: image.to_vec() });
                }
                (Wanted::Nothing, Some(now)) if scope.has(id, now, &mut scratch) => {
                    plan.delete += 1;
                    writes.push(OwnedWrite::Delete { id: id.clone(), expected: now.to_vec() });
                }
                (Wanted::NotSelected, Some(now)) if scope.has(id, now, &mut scratch) => self.left.push(id.clone()),
                (Wanted::Nothing | Wanted::NotSelected, _) => {}
            }
        }
        Ok(writes)
    }

    /// Takes a chunk into the proof; what was set aside is read back later.
    async fn prove_chunk(
        &mut self,
        ids: &[Vec<u8>],
        then: &BTreeMap<&[u8], (&Tenant, &[u8])>,
        name: &str,
        scope: &LiveScope,
        writer: &Writer<'_>,
    ) -> Result<()> {
        let mut wanted: Vec<&[u8]> = Vec::with_capacity(ids.len());
        for id in ids {
            match self.wanted_image(id, then) {
                Wanted::Image(image) => self.archive_digest.add(scope.namespace.0, id, image),
                Wanted::Nothing => {}
                Wanted::NotSelected => continue,
            }
            if !writer.is_late(id) {
                wanted.push(id);
            }
        }
        self.read_back(&wanted, name, scope).await
    }

    /// Reads records back into the proof.
    async fn read_back(&mut self, wanted: &[&[u8]], name: &str, scope: &LiveScope) -> Result<()> {
        let (digest, count) = scope.digest(&self.target.fetch(name, wanted).await?);
        self.target_digest.combine(&digest);
        self.read_back += count;
        Ok(())
    }

    fn wanted_image<'r>(&self, id: &[u8], then: &BTreeMap<&[u8], (&Tenant, &'r [u8])>) -> Wanted<'r> {
        wanted_image(self.selection(), id, then)
    }
}

/// What a rewind of `selection` makes of the record with this id, by the records of `then`.
pub(crate) fn wanted_image<'r>(
    selection: &Selection,
    id: &[u8],
    then: &BTreeMap<&[u8], (&Tenant, &'r [u8])>,
) -> Wanted<'r> {
    match then.get(id) {
        // With shredded tenants about, what is not found may be there and unreadable.
        None if !selection.without.is_empty() => Wanted::NotSelected,
        None => Wanted::Nothing,
        Some((tenant, image)) => {
            let selected = selection.has_tenant(tenant.as_str())
                && selection.predicate.as_ref().is_none_or(|predicate| predicate(image));
            if selected { Wanted::Image(image) } else { Wanted::NotSelected }
        }
    }
}

/// What should stand under an id.
pub(crate) enum Wanted<'r> {
    Image(&'r [u8]),
    /// No such record.
    Nothing,
    /// A record that was not selected: whatever stands there now is left alone.
    NotSelected,
}

pub(crate) fn by_record(loaded: &Loaded) -> BTreeMap<&[u8], (&Tenant, &[u8])> {
    loaded.iter().map(|(tenant, id, image)| (id, (tenant, image))).collect()
}
