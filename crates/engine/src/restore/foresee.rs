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

use std::collections::{BTreeMap, BTreeSet};

use backstay_archive::{Definition, Loaded, Selection, View};
use backstay_model::NamespaceKind;
use backstay_source::{Claim, Holders, RuleKind, Trial, Tried};
use serde::Serialize;

use crate::proof::LiveScope;
use crate::restore::among::Among;
use crate::restore::rewind::{Wanted, wanted_image};
use crate::restore::room::Growth;
use crate::restore::writer::OwnedWrite;
use crate::restore::{ConflictPolicy, Job};
use crate::{Error, Result};

/// How many records are counted for one rule. Who has so many needs no more of them to decide.
const MOST_COUNTED: usize = 10_000;
/// How many are named.
const NAMED: usize = 5;

/// Why records would be refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// A unique index: another record has the value.
    Unique,
    /// An index that cannot hold the record.
    Index,
    /// A validator. A restore goes past it; whoever changes the record next may not.
    Validator,
    /// Something else stands there under the namespace's name.
    Occupied,
}

/// A record that would be refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RefusedRecord {
    /// Its id.
    pub id: String,
    /// The id of the record that has its unique value.
    pub holder: Option<String>,
}

/// What would be refused by one rule.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Refusal {
    /// The namespace's name in the target.
    pub namespace: String,
    /// Why.
    pub kind: RefusalKind,
    /// What refuses, in words.
    pub rule: String,
    /// True when the records cannot be written; false when only their next change would be refused.
    pub blocks: bool,
    /// How many records.
    pub count: u64,
    /// True when there are more than were counted.
    pub more: bool,
    /// Some of them.
    pub examples: Vec<RefusedRecord>,
    /// How to take the rule away, as the database's own users say it; empty when nothing can be said.
    pub removal: String,
}

impl Refusal {
    /// True when the restore cannot go on, though it `skips` records that cannot be written.
    pub fn stops(&self, skips: bool) -> bool {
        self.blocks && (!skips || self.kind == RefusalKind::Occupied)
    }

    /// Everything in one sentence.
    pub fn sentence(&self) -> String {
        let (namespace, rule) = (&self.namespace, &self.rule);
        if self.kind == RefusalKind::Occupied {
            return rule.clone();
        }
        let more = if self.more { "more than " } else { "" };
        let records = if self.count == 1 { "record" } else { "records" };
        let verb = if self.blocks { "would refuse" } else { "would refuse the next change of" };
        let named: Vec<String> = self
            .examples
            .iter()
            .map(|example| match &example.holder {
                Some(holder) => format!("{} (its value is that of {holder})", example.id),
                None => example.id.clone(),
            })
            .collect();
        format!("{namespace}: {rule} {verb} {more}{} {records}, such as {}", self.count, named.join(", "))
    }
}

/// What was found by one rule.
#[derive(Default)]
struct Found {
    ids: BTreeSet<Vec<u8>>,
    examples: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    more: bool,
}

impl Found {
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

/// Records of one namespace being tried.
struct Trying {
    trial: Box<dyn Trial>,
    view: View,
    scope: LiveScope,
    among: Among,
    /// Only values that records share are looked for: all else was found in the first round.
    again: bool,
    /// By the rules.
    found: Vec<Found>,
}

impl Trying {
    fn new(trial: Box<dyn Trial>, view: View, scope: LiveScope) -> Trying {
        let found = trial.rules().iter().map(|_| Found::default()).collect();
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
                kind: match rule.kind {
                    RuleKind::Unique => RefusalKind::Unique,
                    RuleKind::Index => RefusalKind::Index,
                    RuleKind::Validator => RefusalKind::Validator,
                },
                rule: rule.words.clone(),
                blocks: rule.kind != RuleKind::Validator,
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
                self.report.refusals.push(Refusal {
                    namespace: name,
                    kind: RefusalKind::Occupied,
                    rule,
                    blocks: true,
                    count: 0,
                    more: false,
                    examples: Vec::new(),
                    removal: String::new(),
                });
                continue;
            }
            let Some(live) = self.live.iter().find(|live| live.name == name).cloned() else { continue };
            self.note_lasting_differences(definition, &name).await?;
            self.turn_to(definition);
            let whole = self.request.scope.is_whole() && !self.selection().may_miss();
            let scope = self.live_scope(definition);
            let trial = self.target.trial(&name, &definition.image, whole).await?;
            let is_bounded = live.kind == NamespaceKind::Ordered;
            if trial.is_none() && !is_bounded {
                continue;
            }
            let trying = trial.map(|trial| Trying::new(trial, self.view.clone(), scope.clone()));
            let mut foreseen = Foreseen { growth: Growth::default(), trying };
            loop {
                let digest = self.archive_digest.clone();
                match self.since.filter(|_| live.incarnation == definition.incarnation) {
                    Some(now) => self.walk_changes(definition, &name, &scope, now, None, &mut foreseen).await?,
                    None => self.walk_all(definition, &name, &scope, None, &mut foreseen).await?,
                };
                self.archive_digest = digest;
                self.left.clear();
                let Some(trying) = &mut foreseen.trying else { break };
                if !trying.among.turn() {
                    break;
                }
                trying.again = true;
            }
            if is_bounded {
                foreseen.growth.check_room(self.target, &name).await?;
            }
            if let Some(trying) = &foreseen.trying {
                let found = trying.refusals(&name, &|id| self.display_id(id));
                self.report.refusals.extend(found);
            }
        }
        self.stop_at_refusals()
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
            return Err(Error::Refused { refusals: std::mem::take(&mut self.report.refusals) });
        }
        Ok(())
    }
}

/// All of them by namespace, for an error.
pub(crate) fn sentences(refusals: &[Refusal]) -> String {
    /// How many are said in full.
    const SAID: usize = 3;
    let blocking: Vec<&Refusal> = refusals.iter().filter(|refusal| refusal.blocks).collect();
    let mut said: Vec<String> = blocking.iter().take(SAID).map(|refusal| refusal.sentence()).collect();
    if blocking.len() > SAID {
        let namespaces: BTreeMap<&str, ()> = blocking.iter().map(|refusal| (refusal.namespace.as_str(), ())).collect();
        said.push(format!("and more, in {} namespaces in all", namespaces.len()));
    }
    said.join("; ")
}
