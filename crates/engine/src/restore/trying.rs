//! Records that are to come back, tried one portion after the other against what a namespace refuses today.
//!
//! ```text
//!   portion ─▶ refused by itself          an index that cannot hold it, a name that is taken
//!           ─▶ claims ─▶ among            shares a value with another record that comes back   (a unique index that is new)
//!                     ─▶ holders          wants a value of a live record
//!                          it goes, or becomes what has it no more  ─▶ no matter
//!                          it stays                                 ─▶ refused
//! ```
//!
//! What becomes of a live record only the caller knows: a restore and an undo have each their [`Course`]. Holders come one
//! answer of the database at a time, since each may have the largest size of a record. Where it takes a walk over all live
//! records to find them, claims are put off until there are many.

use std::collections::BTreeSet;

use async_trait::async_trait;
use backstay_model::RecordBatch;
use backstay_source::{Claim, RefusalKind, Trial, Tried};

use crate::Result;
use crate::restore::among::Among;
use crate::restore::refusal::{Refusal, RefusedRecord};
use crate::restore::writer::OwnedWrite;

/// How many records are counted for one rule. Who has so many needs no more of them to decide.
const MOST_COUNTED: usize = 10_000;
/// How many are named.
const NAMED: usize = 5;
/// How many bytes of claims are put off at most, about.
const MOST_PUT_OFF: usize = 32 << 20;
/// What a claim takes beside its id and value, about.
const CLAIM: usize = 80;

/// What becomes of a live record.
pub(crate) enum Becomes {
    /// It goes.
    Nothing,
    /// It stays as it is.
    Itself,
    /// It is replaced.
    Image(Vec<u8>),
}

/// What becomes of live records by what is going to be written.
#[async_trait]
pub(crate) trait Course: Send + Sync {
    /// Of these, in their order.
    async fn of(&self, live: &RecordBatch) -> Result<Vec<Becomes>>;

    /// True when all that comes back stood there at one time: an index that was there then is satisfied by it.
    fn is_one_time(&self) -> bool;
}

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

/// Records of one namespace being tried.
pub(crate) struct Trying {
    trial: Box<dyn Trial>,
    among: Among,
    /// Only values that records share are looked for: all else was found in the first round.
    again: bool,
    /// By the rules.
    found: Vec<Tally>,
    put_off: Vec<Claim>,
    put_off_bytes: usize,
}

impl Trying {
    pub fn new(trial: Box<dyn Trial>) -> Trying {
        let found = trial.rules().iter().map(|_| Tally::default()).collect();
        Trying { trial, among: Among::new(), again: false, found, put_off: Vec::new(), put_off_bytes: 0 }
    }

    fn note(&mut self, rule: usize, id: &[u8], holder: Option<&[u8]>) {
        if let Some(found) = self.found.get_mut(rule) {
            found.note(id, holder);
        }
    }

    /// Tries what would be written.
    pub async fn add(&mut self, writes: &[OwnedWrite], course: &dyn Course) -> Result<()> {
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
        let mut claims = self.trial.claims(&tried).await?;
        for claim in &claims {
            if !is_new(&*self.trial, claim.rule) {
                continue;
            }
            let other = self.among.note(claim.rule, &claim.value, &claim.id).map(<[u8]>::to_vec);
            if let Some(other) = other {
                self.note(claim.rule, &claim.id, Some(&other));
            }
        }
        if self.again {
            return Ok(());
        }
        claims.retain(|claim| !claim.held);
        let rules = self.trial.rules();
        let walks = |claim: &Claim| rules.get(claim.rule).is_some_and(|rule| rule.walks);
        let (later, now): (Vec<Claim>, Vec<Claim>) = claims.into_iter().partition(walks);
        self.look_up(&now, course).await?;
        self.put_off_bytes += later.iter().map(|claim| claim.id.len() + claim.value.len() + CLAIM).sum::<usize>();
        self.put_off.extend(later);
        if self.put_off_bytes > MOST_PUT_OFF {
            self.catch_up(course).await?;
        }
        Ok(())
    }

    /// Looks up what was put off; part of every round.
    pub async fn catch_up(&mut self, course: &dyn Course) -> Result<()> {
        let claims = std::mem::take(&mut self.put_off);
        self.put_off_bytes = 0;
        self.look_up(&claims, course).await
    }

    /// True when everything is to be tried in another round.
    pub fn turn(&mut self) -> bool {
        self.again = true;
        self.among.turn()
    }

    /// Notes the claims to what a live record has and keeps.
    async fn look_up(&mut self, claims: &[Claim], course: &dyn Course) -> Result<()> {
        if claims.is_empty() {
            return Ok(());
        }
        let Trying { trial, found, .. } = self;
        let mut holding = trial.holders(claims);
        while let Some(holders) = holding.next().await? {
            let becomes = course.of(&holders.records).await?;
            for (claim, holder) in &holders.held {
                let (Some(claim), Some((id, _))) = (claims.get(*claim), holders.records.get(*holder)) else { continue };
                let keeps = match becomes.get(*holder) {
                    Some(Becomes::Nothing) => false,
                    Some(Becomes::Itself) | None => true,
                    Some(Becomes::Image(_)) if course.is_one_time() && !is_new(&**trial, claim.rule) => false,
                    Some(Becomes::Image(image)) => {
                        let becomes = [Tried { id, image, live: None }];
                        let has = trial.claims(&becomes).await?;
                        has.iter().any(|has| has.rule == claim.rule && has.value == claim.value)
                    }
                };
                if let Some(found) = found.get_mut(claim.rule).filter(|_| keeps) {
                    found.note(&claim.id, Some(id));
                }
            }
        }
        Ok(())
    }

    /// What would be refused, of the namespace `name`.
    pub fn refusals(&self, name: &str, display: &dyn Fn(&[u8]) -> String) -> Vec<Refusal> {
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

fn is_new(trial: &dyn Trial, rule: usize) -> bool {
    trial.rules().get(rule).is_some_and(|rule| rule.new)
}

fn tried(write: &OwnedWrite) -> Option<Tried<'_>> {
    match write {
        OwnedWrite::Insert { id, image } => Some(Tried { id, image, live: None }),
        OwnedWrite::Replace { id, expected, image } => Some(Tried { id, image, live: Some(expected) }),
        OwnedWrite::Delete { .. } => None,
    }
}
