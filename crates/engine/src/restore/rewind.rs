//! Rewinding live data: only records with a change since T are looked at.
//!
//! The archive holds every change between T and now, so every record without one stands as it stood. For the others the
//! state at T is fetched from the archive and the live record from the database, by id; what differs is written, each
//! write guarded by the live record that was seen.

use std::collections::BTreeMap;

use backstay_archive::{Definition, Loaded, Selection};
use backstay_model::{RecordBatch, Tick, crash_point};
use backstay_seal::Digest;

use crate::monitor::Meter;
use crate::proof::LiveScope;
use crate::restore::changed::{Between, Changed, Chunk, FETCH};
use crate::restore::foresee::Foreseen;
use crate::restore::writer::{OwnedWrite, Writer, Written};
use crate::restore::{Job, Plan};
use crate::{Phase, ProofScope, Result};

impl Job<'_> {
    pub(super) async fn rewind(
        &mut self,
        definition: &Definition,
        name: &str,
        scope: &LiveScope,
        now: Tick,
        mut writer: Writer<'_>,
    ) -> Result<Plan> {
        if self.request.preview {
            return self.walk_changes(definition, name, scope, now, None, &mut Foreseen::default()).await;
        }
        let mut foreseen = Foreseen::default();
        let plan = self.walk_changes(definition, name, scope, now, Some(&mut writer), &mut foreseen).await?;
        let done = writer.finish(&|id| self.display_id(id)).await?;
        self.note_written(done);
        if self.request.proof == ProofScope::Full {
            self.prove(name, scope).await?;
        } else {
            let late: Vec<Vec<u8>> = writer.late().map(<[u8]>::to_vec).collect();
            for ids in late.chunks(FETCH) {
                let proved = self.read_back(ids, name, scope).await?;
                self.note_proved(proved);
            }
        }
        Ok(plan)
    }

    /// Looks at every record with a change since T, and with a writer writes what differs. While one chunk of records is
    /// written, the next is fetched, and the one before is read back.
    pub(super) async fn walk_changes(
        &mut self,
        definition: &Definition,
        name: &str,
        scope: &LiveScope,
        now: Tick,
        mut writer: Option<&mut Writer<'_>>,
        foreseen: &mut Foreseen,
    ) -> Result<Plan> {
        let mut plan = Plan::default();
        let mut meter = Meter::new(self.monitor, Phase::Compare, None);
        let full_proof = self.request.proof == ProofScope::Full && writer.is_some();
        let (view, selection) = (self.view.clone(), self.selection().clone());
        let mut changed =
            Changed::new(Between { view, now, selection, digest: full_proof }, definition.incarnation).await?;
        let mut at_hand = changed.next(self.target, name).await?;
        let mut before: Option<Chunk> = None;
        while let Some((chunk, live)) = at_hand.take() {
            self.monitor.check()?;
            let writes = self.plan_chunk(&chunk, &live, scope, &mut plan);
            drop(live);
            meter.add(chunk.ids().len() as u64, 0);
            foreseen.add(&writes).await?;
            let Some(writer) = writer.as_deref_mut() else {
                at_hand = changed.next(self.target, name).await?;
                continue;
            };
            let to_prove = before.take().map(|chunk| self.take_into_proof(&chunk, scope, writer));
            let display = |id: &[u8]| self.display_id(id);
            let (done, next, proved) = futures::join!(
                writer.carry_out(writes, &display),
                changed.next(self.target, name),
                self.read_back(to_prove.as_deref().unwrap_or_default(), name, scope),
            );
            self.note_written(done?);
            self.note_proved(proved?);
            crash_point("restore.partition-written");
            at_hand = next?;
            before = Some(chunk).filter(|_| !full_proof);
        }
        if let (Some(chunk), Some(writer)) = (before, writer) {
            let to_prove = self.take_into_proof(&chunk, scope, writer);
            let proved = self.read_back(&to_prove, name, scope).await?;
            self.note_proved(proved);
        }
        self.archive_digest.combine(&changed.digest);
        Ok(plan)
    }

    /// Compares a chunk of records with the live ones.
    fn plan_chunk(&mut self, chunk: &Chunk, live: &RecordBatch, scope: &LiveScope, plan: &mut Plan) -> Vec<OwnedWrite> {
        let live: BTreeMap<&[u8], &[u8]> = live.iter().collect();
        let mut scratch = String::new();
        let mut writes = Vec::new();
        for id in chunk.ids() {
            let now = live.get(id.as_slice()).copied();
            match wanted_image(self.selection(), id, chunk.then()) {
                Wanted::Image(image) => match now {
                    None => {
                        plan.insert += 1;
                        writes.push(OwnedWrite::Insert { id: id.clone(), image: image.to_vec() });
                    }
                    Some(now) if image == now => plan.unchanged += 1,
                    Some(now) => {
                        plan.replace += 1;
                        writes.push(OwnedWrite::Replace {
                            id: id.clone(),
                            expected: now.to_vec(),
                            image: image.to_vec(),
                        });
                    }
                },
                Wanted::Nothing => {
                    if let Some(now) = now.filter(|now| scope.has(id, now, &mut scratch)) {
                        plan.delete += 1;
                        writes.push(OwnedWrite::Delete { id: id.clone(), expected: now.to_vec() });
                    }
                }
                Wanted::NotSelected => {
                    if now.is_some_and(|now| scope.has(id, now, &mut scratch)) {
                        self.left.push(id.clone());
                    }
                }
            }
        }
        writes
    }

    /// Takes a chunk that was written into the archive's side of the proof. Returns what is to be read back for the
    /// other: what was set aside is read back later.
    fn take_into_proof(&mut self, chunk: &Chunk, scope: &LiveScope, writer: &Writer<'_>) -> Vec<Vec<u8>> {
        let mut to_prove = Vec::with_capacity(chunk.ids().len());
        for id in chunk.ids() {
            match wanted_image(self.selection(), id, chunk.then()) {
                Wanted::Image(image) => self.archive_digest.add(scope.namespace.0, id, image),
                Wanted::Nothing => {}
                Wanted::NotSelected => continue,
            }
            if !writer.is_late(id) {
                to_prove.push(id.clone());
            }
        }
        to_prove
    }

    /// Reads records back: their digest, and how many there are.
    async fn read_back(&self, ids: &[Vec<u8>], name: &str, scope: &LiveScope) -> Result<(Digest, u64)> {
        if ids.is_empty() {
            return Ok((Digest::default(), 0));
        }
        let ids: Vec<&[u8]> = ids.iter().map(Vec::as_slice).collect();
        Ok(scope.digest(&self.target.fetch(name, &ids).await?))
    }

    pub(super) fn note_written(&mut self, done: Written) {
        self.report.written += done.written;
        self.report.skipped += done.skipped;
    }

    fn note_proved(&mut self, (digest, records): (Digest, u64)) {
        self.target_digest.combine(&digest);
        self.read_back += records;
    }
}

/// What a rewind of `selection` makes of the record with this id, by what was there `then`.
pub(crate) fn wanted_image<'r>(selection: &Selection, id: &[u8], then: &'r Loaded) -> Wanted<'r> {
    match then.get(id) {
        _ if !selection.has_id(id) => Wanted::NotSelected,
        // What is not found may have been there under a key that was shredded.
        None if selection.may_miss() => Wanted::NotSelected,
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
