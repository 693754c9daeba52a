//! Putting records back that a restore in place wrote.
//!
//! A restore's write is told from everybody else's by when it was made and by what it left: of a record that was selected,
//! the first version between the restore's beginning and its end whose content is that of the instant restored, where it
//! was not before. What stood just before it is what comes back, also when somebody had still changed the record while the
//! restore was on its way to it.
//!
//! ```text
//!   before ├── others ── the restore ── others ──┤ after      others: theirs, whatever they made of it
//!   before ├── the restore ──────────────────────── … now     killed: only a record's first change may be the restore's
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use backstay_archive::{Definition, Partition, Selection, View};
use backstay_model::{Incarnation, NamespaceKind, RecordBatch};

use super::Undoing;
use super::returning::{Place, Returning};
use crate::journal::RunNamespace;
use crate::monitor::Meter;
use crate::proof::LiveScope;
use crate::restore::changed::{FETCH, FETCH_LEN};
use crate::restore::rewind::{Wanted, wanted_image};
use crate::restore::room::{Growth, Shortage};
use crate::restore::trying::Trying;
use crate::restore::writer::{OwnedWrite, Writer};
use crate::{ConflictPolicy, Phase, Refusal, RefusalKind, Result};

/// Doubt: a restore that was killed journaled no end, and the record's changes since may be anybody's.
const WHOSE: &str =
    "it was changed more than once since, and the restore did not come to its end: nobody knows who wrote what";
/// Doubt: nothing is found that stood there before, and it may only be unreadable.
const UNREADABLE: &str = "what stood there before may have belonged to a tenant whose key was shredded since";

/// A record that the restore wrote.
pub(super) struct Rewritten {
    pub id: Vec<u8>,
    /// What stood before.
    pub earlier: Option<Vec<u8>>,
    /// What the restore made of it.
    made: Option<Vec<u8>>,
    /// Why it cannot be put back unseen: it may as well have been somebody else, or what stood before cannot be read.
    doubt: Option<&'static str>,
}

/// What an undo makes of a record.
pub(super) enum Verdict {
    /// It is as it was before.
    Stands,
    /// Somebody else may mean what stands there now.
    Conflict(&'static str),
    PutBack,
}

impl Rewritten {
    /// By what stands there now.
    pub fn verdict(&self, now: Option<&[u8]>) -> Verdict {
        if now == self.earlier.as_deref() {
            return Verdict::Stands;
        }
        match (self.doubt, now) {
            (Some(doubt), _) => Verdict::Conflict(doubt),
            (None, now) if now == self.made.as_deref() => Verdict::PutBack,
            (None, Some(_)) => Verdict::Conflict("it was changed since"),
            (None, None) => Verdict::Conflict("it was deleted since"),
        }
    }
}

/// What is seen of the writes of a namespace before they are carried out.
struct Look {
    growth: Growth,
    trying: Option<Trying>,
}

/// Cuts records into portions whose live sides may be fetched at once.
fn portions(records: &[Rewritten]) -> impl Iterator<Item = &[Rewritten]> {
    let length =
        |record: &Rewritten| [&record.earlier, &record.made].into_iter().flatten().map(Vec::len).sum::<usize>();
    let mut rest = records;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |record: &&Rewritten| {
            bytes += length(record);
            bytes <= FETCH_LEN
        };
        let count = rest.iter().take(FETCH).take_while(fits).count().max(1);
        let (portion, later) = rest.split_at_checked(count)?;
        rest = later;
        Some(portion)
    })
}

impl Undoing<'_> {
    /// Puts back what a namespace held before.
    pub(super) async fn put_back(
        &mut self,
        definition: &Definition,
        namespace: &RunNamespace,
        before: &View,
    ) -> Result<()> {
        let name = &namespace.target;
        let stood = self.stood_before(before, namespace).await?;
        let live = self.live(name).map(|live| live.incarnation);
        let Some(stood) = stood.filter(|stood| live == Some(stood.incarnation)) else {
            self.conflict(name, String::new(), "it was dropped, renamed or made anew since");
            return Ok(());
        };
        let mut meter = Meter::new(self.monitor, Phase::Compare, None);
        let mut writer = Writer::new(self.target, name, self.request.on_conflict);
        let is_bounded = self.live(name).is_some_and(|live| live.kind == NamespaceKind::Ordered);
        if is_bounded {
            writer = writer.inserting_last();
        }
        let hidden = self.snapshot.hidden(&self.shreddings, stood.incarnation, before.at()).await?;
        let place = Place { definition, stood: stood.incarnation, before, may_hide: !hidden.is_empty() };
        let trial = if self.write { None } else { self.target.trial(name, &stood.image, false).await? };
        let mut look = Look { growth: Growth::default(), trying: trial.map(Trying::new) };
        self.walk_place(&place, name, &mut writer, &mut look, &mut meter).await?;
        let growth = look.growth;
        while let Some(trying) = &mut look.trying
            && trying.turn()
        {
            let seen = self.report.clone();
            self.walk_place(&place, name, &mut writer, &mut look, &mut meter).await?;
            self.report = seen;
        }
        if let Some(trying) = &look.trying {
            let found = trying.refusals(name, &|id| self.display_id(id));
            self.report.refusals.extend(found);
        }
        if !self.write
            && is_bounded
            && let Some(Shortage { why, widening }) = growth.shortage(self.target, name).await?
        {
            let rule = format!("{name}: {why}");
            self.report.refusals.push(Refusal::whole(name, RefusalKind::Room, rule, widening));
        }
        if self.write {
            let done = writer.finish(&|id| self.snapshot.interpreter().display_id(id)).await?;
            self.report.written += done.written;
            self.report.skipped += done.skipped;
            let late: Vec<&[u8]> = writer.late().collect();
            for ids in late.chunks(FETCH) {
                self.read_back(ids, name, stood.incarnation).await?;
            }
        }
        Ok(())
    }

    /// Looks at every record that the restore wrote, and takes it back when that is what this walk is for.
    async fn walk_place(
        &mut self,
        place: &Place<'_>,
        name: &str,
        writer: &mut Writer<'_>,
        look: &mut Look,
        meter: &mut Meter,
    ) -> Result<()> {
        let picked = Selection { ids: self.request.scope.selection.ids.clone(), ..Selection::default() };
        for partition in
            place.before.partitions_through(place.stood, &Selection::default(), self.window.through).await?
        {
            self.monitor.check()?;
            let rewritten = self.rewritten(place, &partition, &picked).await?;
            for chunk in portions(&rewritten) {
                self.put_back_chunk(chunk, name, place, writer, look).await?;
                meter.add(chunk.len() as u64, 0);
            }
        }
        match &mut look.trying {
            Some(trying) => trying.catch_up(&Returning { job: self, place }).await,
            None => Ok(()),
        }
    }

    /// The records of a partition, of those that are `picked` by their ids, that the restore wrote.
    pub(super) async fn rewritten(
        &self,
        place: &Place<'_>,
        partition: &Partition,
        picked: &Selection,
    ) -> Result<Vec<Rewritten>> {
        let Place { definition, before, may_hide, .. } = *place;
        let selection = &self.request.scope.selection;
        let since = self.snapshot.since(partition, picked, before.at(), self.window.through).await?;
        if since.is_empty() {
            return Ok(Vec::new());
        }
        let by_id = Selection { ids: Some(Arc::new(since.keys().cloned().collect())), ..Selection::default() };
        let restored = Partition { namespace: definition.incarnation, range: partition.range.clone() };
        let then = self.then.load(&restored, &by_id).await?;
        let earlier = before.load(partition, &by_id).await?;
        let scope = self.live_scope(definition);
        let mut scratch = String::new();
        let mut rewritten = Vec::new();
        for (id, versions) in since {
            let made = match wanted_image(selection, &id, &then) {
                Wanted::Image(image) => Some(image),
                Wanted::Nothing => None,
                Wanted::NotSelected => continue,
            };
            let stood = earlier.get(&id).map(|(_, image)| image.to_vec());
            let mut prior = stood.clone();
            // What a restore deleted and inserted at one instant, to exchange unique values, it replaced.
            let history = self.snapshot.replay(&id, prior.clone(), versions)?;
            let instants = history.chunk_by(|a, b| a.version.tick == b.version.tick);
            for (place, past) in instants.filter_map(|states| states.last()).enumerate() {
                if past.image.as_deref() == made && prior.as_deref() != made {
                    // Only what was selected when it stood there was deleted by the restore.
                    let selected = made.is_some() || prior.as_ref().is_some_and(|p| scope.has(&id, p, &mut scratch));
                    if selected {
                        let is_certain = self.window.is_closed || place == 0;
                        let earlier = if is_certain { prior } else { stood };
                        let doubt = match (is_certain, &earlier) {
                            (false, _) => Some(WHOSE),
                            (true, None) if may_hide => Some(UNREADABLE),
                            (true, _) => None,
                        };
                        rewritten.push(Rewritten { id, earlier, made: made.map(<[u8]>::to_vec), doubt });
                    }
                    break;
                }
                prior.clone_from(&past.image);
            }
        }
        Ok(rewritten)
    }

    fn live_scope(&self, definition: &Definition) -> LiveScope {
        LiveScope {
            namespace: definition.incarnation,
            name: Arc::from(definition.name.as_str()),
            selection: self.request.scope.selection.clone(),
            interpreter: Arc::clone(self.snapshot.interpreter()),
            left: Arc::default(),
        }
    }

    async fn put_back_chunk(
        &mut self,
        chunk: &[Rewritten],
        name: &str,
        place: &Place<'_>,
        writer: &mut Writer<'_>,
        look: &mut Look,
    ) -> Result<()> {
        let ids: Vec<&[u8]> = chunk.iter().map(|record| record.id.as_slice()).collect();
        let fetched = self.target.fetch(name, &ids).await?;
        let live: BTreeMap<&[u8], &[u8]> = fetched.iter().collect();
        let mut writes = Vec::new();
        let mut meant: Vec<&Rewritten> = Vec::with_capacity(chunk.len());
        for record in chunk {
            let now = live.get(record.id.as_slice()).copied();
            match record.verdict(now) {
                Verdict::Stands => {
                    self.report.plan.unchanged += 1;
                    meant.push(record);
                    continue;
                }
                Verdict::Conflict(why) => {
                    self.conflict(name, self.display_id(&record.id), why);
                    if self.request.on_conflict != ConflictPolicy::Overwrite {
                        self.report.skipped += 1;
                        continue;
                    }
                }
                Verdict::PutBack => {}
            }
            meant.push(record);
            let id = record.id.clone();
            match (now, &record.earlier) {
                (None, Some(image)) => {
                    self.report.plan.insert += 1;
                    writes.push(OwnedWrite::Insert { id, image: image.clone() });
                }
                (Some(now), Some(image)) => {
                    self.report.plan.replace += 1;
                    writes.push(OwnedWrite::Replace { id, expected: now.to_vec(), image: image.clone() });
                }
                (Some(now), None) => {
                    self.report.plan.delete += 1;
                    writes.push(OwnedWrite::Delete { id, expected: now.to_vec() });
                }
                (None, None) => {}
            }
        }
        look.growth.add(&writes);
        if let Some(trying) = &mut look.trying {
            trying.add(&writes, &Returning { job: self, place }).await?;
        }
        if self.write {
            let done = writer.carry_out(writes, &|id| self.snapshot.interpreter().display_id(id)).await?;
            self.report.written += done.written;
            self.report.skipped += done.skipped;
            self.prove(&meant, name, place.stood, writer).await?;
        }
        Ok(())
    }

    /// Takes records into the proof; what was set aside is read back later.
    async fn prove(
        &mut self,
        records: &[&Rewritten],
        name: &str,
        namespace: Incarnation,
        writer: &Writer<'_>,
    ) -> Result<()> {
        for record in records {
            if let Some(image) = &record.earlier {
                self.archive_digest.add(namespace.0, &record.id, image);
            }
        }
        let ids = records.iter().map(|record| record.id.as_slice()).filter(|id| !writer.is_late(id));
        self.read_back(&ids.collect::<Vec<_>>(), name, namespace).await
    }

    /// Reads records back into the proof.
    async fn read_back(&mut self, ids: &[&[u8]], name: &str, namespace: Incarnation) -> Result<()> {
        let live: RecordBatch = self.target.fetch(name, ids).await?;
        for (id, image) in live.iter() {
            self.target_digest.add(namespace.0, id, image);
        }
        self.read_back += live.len() as u64;
        Ok(())
    }
}
