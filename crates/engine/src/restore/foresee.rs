//! What a restore would be refused, found before it writes anything.
//!
//! ```text
//!   walk both states, write nothing ─▶ what would be written
//!        │
//!        ├─ refused by itself          an index that cannot hold it, a validator
//!        ├─ shares a value             with another record that comes back        (a unique index that is new)
//!        └─ wants a value of a live record
//!               it goes, or becomes what has it no more  ─▶ no matter
//!               it stays                                 ─▶ refused
//! ```
//!
//! The target says what there is to try (`Target::trial`); where today's definition refuses no more than the one as of the
//! instant did, and a whole namespace comes back, that is nothing, and nothing is walked twice. What changes between this look
//! and the writing is found by the writes.

use std::collections::BTreeSet;

use backstay_archive::{Definition, Loaded, Selection, View};
use backstay_model::{NamespaceKind, Tick};
use backstay_source::{Claim, Holders, RefusalKind, Trial, Tried};

use crate::proof::LiveScope;
use crate::restore::among::Among;
use crate::restore::refusal::{Refusal, RefusedRecord};
use crate::restore::rewind::{Wanted, wanted_image};
use crate::restore::room::{Growth, Shortage};
use crate::restore::writer::OwnedWrite;
use crate::restore::{ConflictPolicy, Job, Plan};
use crate::{Error, Result};

/// How many records are counted for one rule. Who has so many needs no more of them to decide.
const MOST_COUNTED: usize = 10_000;
/// How many are named.
const NAMED: usize = 5;

/// What was found by one rule.
#[derive(Default)]
struct Tally {
    ids: BTreeSet<Vec<u8>>,
    examples: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    more: bool,
}

impl Tally {
    fn note(&mut self, id: &[u8], holder: Option<&[u8]>) {
        if self.ids.contains(id) {
            return;
        }
        if self.ids.len() == MOST_COUNTED {
            self.more = true;
            return;
        }
        self.ids.insert(id.to_vec());
        if self.examples.len() < NAMED {
            self.examples.push((id.to_vec(), holder.map(<[u8]>::to_vec)));
        }
    }
}

/// What is foreseen of the writes of one namespace.
#[derive(Default)]
pub(super) struct Foreseen {
    pub growth: Growth,
    trying: Option<Trying>,
}

impl Foreseen {
    /// Takes note of writes that would be carried out.
    pub async fn add(&mut self, writes: &[OwnedWrite]) -> Result<()> {
        self.growth.add(writes);
        match &mut self.trying {
            Some(trying) => trying.add(writes).await,
            None => Ok(()),
        }
    }
}

/// What a preview has already seen of a namespace.
pub(super) struct Looked {
    pub plan: Plan,
    /// See [`Job::left`].
    pub left: Vec<Vec<u8>>,
}

/// Records of one namespace being tried.
struct Trying {
    trial: Box<dyn Trial>,
    view: View,
    scope: LiveScope,
    among: Among,
    /// Only values that records share are looked for: all else was found in the first round.
    again: bool,
    /// By the rules.
    found: Vec<Tally>,
}

impl Trying {
    fn new(trial: Box<dyn Trial>, view: View, scope: LiveScope) -> Trying {
        let found = trial.rules().iter().map(|_| Tally::default()).collect();
        Trying { trial, view, scope, among: Among::new(), again: false, found }
    }

    fn note(&mut self, rule: usize, id: &[u8], holder: Option<&[u8]>) {
        if let Some(found) = self.found.get_mut(rule) {
            found.note(id, holder);
        }
    }

    fn is_new(&self, rule: usize) -> bool {
        self.trial.rules().get(rule).is_some_and(|rule| rule.new)
    }

    async fn add(&mut self, writes: &[OwnedWrite]) -> Result<()> {
        let tried: Vec<Tried<'_>> = writes.iter().filter_map(tried).collect();
        if tried.is_empty() {
            return Ok(());
        }
        if !self.again {
            for (record, rule) in self.trial.refused(&tried).await? {
                if let Some(record) = tried.get(record) {
                    self.note(rule, record.id, None);
                }
            }
        }
        let claims = self.trial.claims(&tried).await?;
        for claim in &claims {
            if !self.is_new(claim.rule) {
                continue;
            }
            let Some(record) = tried.get(claim.record) else { continue };
            let other = self.among.note(claim.rule, &claim.value, record.id).map(<[u8]>::to_vec);
            if let Some(other) = other {
                self.note(claim.rule, record.id, Some(&other));
            }
        }
        if self.again {
            return Ok(());
        }
        let holders = self.trial.holders(&tried, &claims).await?;
        if holders.held.is_empty() {
            return Ok(());
        }
        self.add_held(&tried, &claims, &holders).await
    }

    /// Notes the claims to what a live record has and keeps.
    async fn add_held(&mut self, tried: &[Tried<'_>], claims: &[Claim], holders: &Holders) -> Result<()> {
        let ids: BTreeSet<Vec<u8>> = holders.records.iter().map(|(id, _)| id.to_vec()).collect();
        let by_id = Selection { ids: Some(std::sync::Arc::new(ids.into_iter().collect())), ..Selection::default() };
        let mut then: Vec<Loaded> = Vec::new();
        for partition in self.view.partitions(self.scope.namespace, &by_id).await? {
            then.push(self.view.load(&partition, &by_id).await?);
        }
        let nothing = Loaded::default();
        let mut scratch = String::new();
        for (claim, holder) in &holders.held {
            let (Some(claim), Some((id, live))) = (claims.get(*claim), holders.records.get(*holder)) else { continue };
            let Some(record) = tried.get(claim.record) else { continue };
            let then = then.iter().find(|loaded| loaded.get(id).is_some()).unwrap_or(&nothing);
            let keeps = match wanted_image(&self.scope.selection, id, then) {
                Wanted::Nothing => !self.scope.has(id, live, &mut scratch),
                Wanted::NotSelected => true,
                // Both come back, and both were there at one time: then the rule let them.
                Wanted::Image(_) if !self.is_new(claim.rule) => false,
                Wanted::Image(image) if image == live => true,
                Wanted::Image(image) => {
                    let becomes = [Tried { id, image, live: None }];
                    let has = self.trial.claims(&becomes).await?;
                    has.iter().any(|has| has.rule == claim.rule && has.value == claim.value)
                }
            };
            if keeps {
                self.note(claim.rule, record.id, Some(id));
            }
        }
        Ok(())
    }

    fn refusals(&self, name: &str, display: &dyn Fn(&[u8]) -> String) -> Vec<Refusal> {
        let found = self.trial.rules().iter().zip(&self.found).filter(|(_, found)| !found.ids.is_empty());
        found
            .map(|(rule, found)| Refusal {
                namespace: name.to_owned(),
                kind: rule.kind,
                rule: rule.words.clone(),
                blocks: rule.kind != RefusalKind::Validator,
                count: found.ids.len() as u64,
                more: found.more,
                examples: found
                    .examples
                    .iter()
                    .map(|(id, holder)| RefusedRecord { id: display(id), holder: holder.as_deref().map(display) })
                    .collect(),
                removal: rule.removal.clone(),
            })
            .collect()
    }
}

fn tried(write: &OwnedWrite) -> Option<Tried<'_>> {
    match write {
        OwnedWrite::Insert { id, image } => Some(Tried { id, image, live: None }),
        OwnedWrite::Replace { id, expected, image } => Some(Tried { id, image, live: Some(expected) }),
        OwnedWrite::Delete { .. } => None,
    }
}

impl Job<'_> {
    /// Looks for everything that would be refused, in all namespaces, and writes nothing. [`Error::Refused`] when there is
    /// something and the restore is to stop at it; a preview only tells.
    pub(super) async fn foresee(&mut self, definitions: &[Definition]) -> Result<()> {
        for definition in definitions {
            let name = self.target_name(&definition.name);
            if let Some(rule) = self.target.obstacle(&name, &definition.image).await? {
                let refusal = Refusal::whole(&name, RefusalKind::Occupied, rule, String::new());
                self.report.refusals.push(refusal);
                continue;
            }
            let live = self.live.iter().find(|live| live.name == name).cloned();
            // What is made anew is defined as it was; but each view is made by itself, among others.
            let is_made_anew = live.is_none() && definition.kind != NamespaceKind::Views;
            if is_made_anew || self.is_left_out(definition, &name) {
                continue;
            }
            self.note_lasting_differences(definition, &name).await?;
            let whole = self.request.scope.is_whole() && !self.selection().may_miss();
            let trial = self.target.trial(&name, &definition.image, whole).await?;
            let is_bounded = live.as_ref().is_some_and(|live| live.kind == NamespaceKind::Ordered);
            if trial.is_some() || is_bounded {
                let now = self.since.filter(|_| live.is_some_and(|live| live.incarnation == definition.incarnation));
                self.foresee_one(definition, &name, trial, is_bounded, now).await?;
            }
        }
        self.stop_at_refusals()
    }

    /// Looks at one namespace: as a whole, or with `now` at what has changed until then.
    async fn foresee_one(
        &mut self,
        definition: &Definition,
        name: &str,
        trial: Option<Box<dyn Trial>>,
        is_bounded: bool,
        now: Option<Tick>,
    ) -> Result<()> {
        self.turn_to(definition);
        let scope = self.live_scope(definition);
        let trying = trial.map(|trial| Trying::new(trial, self.view.clone(), scope.clone()));
        let mut foreseen = Foreseen { growth: Growth::default(), trying };
        let mut growth = None;
        loop {
            let digest = self.archive_digest.clone();
            let plan = match now {
                Some(now) => self.walk_changes(definition, name, &scope, now, None, &mut foreseen).await?,
                None => self.walk_all(definition, name, &scope, None, &mut foreseen).await?,
            };
            self.archive_digest = digest;
            let left = std::mem::take(&mut self.left);
            if self.request.preview {
                self.looked.insert(name.to_owned(), Looked { plan, left });
            }
            growth.get_or_insert(foreseen.growth);
            let Some(trying) = &mut foreseen.trying else { break };
            if !trying.among.turn() {
                break;
            }
            trying.again = true;
        }
        if let Some(growth) = growth.filter(|_| is_bounded)
            && let Some(Shortage { why, widening }) = growth.shortage(self.target, name).await?
        {
            let rule = format!("{name}: {why}");
            self.report.refusals.push(Refusal::whole(name, RefusalKind::Room, rule, widening));
        }
        if let Some(trying) = &foreseen.trying {
            let found = trying.refusals(name, &|id| self.display_id(id));
            self.report.refusals.extend(found);
        }
        Ok(())
    }

    /// Says in which respects a namespace that is there will not be defined as it was: nobody's options and indexes are taken
    /// away for a restore. Afterwards its proof says so.
    async fn note_lasting_differences(&mut self, definition: &Definition, name: &str) -> Result<()> {
        if !self.defines(definition, name) {
            return Ok(());
        }
        let differences = self.target.lasting_differences(name, &definition.image).await?;
        if differences.is_empty() {
            return Ok(());
        }
        let note =
            format!("{name} will not be defined as it was then, and its proof will say so: {}", differences.join("; "));
        match self.request.preview {
            true => self.report.notes.push(note),
            false => tracing::warn!("{note}"),
        }
        Ok(())
    }

    fn stop_at_refusals(&mut self) -> Result<()> {
        if !self.request.preview {
            for found in self.report.refusals.iter().filter(|found| !found.blocks) {
                tracing::warn!("{}", found.sentence());
            }
        }
        let skips = self.request.on_conflict == ConflictPolicy::Skip;
        let mut refusals = self.report.refusals.iter();
        // Where something else stands there is nothing to leave out.
        if !self.request.preview && refusals.any(|found| found.stops(skips)) {
            let refusals = std::mem::take(&mut self.report.refusals);
            return Err(Error::Refused { refusals, elsewhere: true });
        }
        Ok(())
    }
}
