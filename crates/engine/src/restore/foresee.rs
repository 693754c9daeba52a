//! What a restore would be refused, found before it writes anything.
//!
//! ```text
//!   walk both states, write nothing ─▶ what would be written ─▶ tried (see `trying.rs`), and measured (see `room.rs`)
//! ```
//!
//! The target says what there is to try (`Target::trial`); where today's definition refuses no more than the one as of the
//! instant did, and a whole namespace comes back, that is nothing, and nothing is walked twice. What changes between this look
//! and the writing is found by the writes.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;

use backstay_archive::{Definition, Loaded, Selection, View};
use backstay_model::{NamespaceKind, RecordBatch, Tick};
use backstay_source::{RefusalKind, Trial};

use crate::proof::LiveScope;
use crate::restore::refusal::{Refusal, is_refused};
use crate::restore::rewind::{Wanted, wanted_image};
use crate::restore::room::{Growth, Shortage};
use crate::restore::trying::{Becomes, Course, Trying};
use crate::restore::writer::OwnedWrite;
use crate::restore::{Job, Plan};
use crate::{Error, Result};

/// What is foreseen of the writes of one namespace.
#[derive(Default)]
pub(super) struct Foreseen {
    pub growth: Growth,
    trying: Option<(Trying, Rewound)>,
}

impl Foreseen {
    /// Takes note of writes that would be carried out.
    pub async fn add(&mut self, writes: &[OwnedWrite]) -> Result<()> {
        self.growth.add(writes);
        match &mut self.trying {
            Some((trying, course)) => trying.add(writes, course).await,
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

/// What a rewind makes of live records.
pub(super) struct Rewound {
    view: View,
    scope: LiveScope,
}

impl Rewound {
    fn becomes(&self, id: &[u8], live: &[u8], then: &Loaded, scratch: &mut String) -> Becomes {
        match wanted_image(&self.scope.selection, id, then) {
            Wanted::Nothing if self.scope.has(id, live, scratch) => Becomes::Nothing,
            Wanted::Nothing | Wanted::NotSelected => Becomes::Itself,
            Wanted::Image(image) => Becomes::Image(image.to_vec()),
        }
    }
}

#[async_trait]
impl Course for Rewound {
    async fn of(&self, live: &RecordBatch) -> Result<Vec<Becomes>> {
        let ids: BTreeSet<Vec<u8>> = live.iter().map(|(id, _)| id.to_vec()).collect();
        let by_id = Selection { ids: Some(Arc::new(ids.into_iter().collect())), ..Selection::default() };
        let mut scratch = String::new();
        let mut becomes: Vec<Option<Becomes>> = live.iter().map(|_| None).collect();
        for partition in self.view.partitions(self.scope.namespace, &by_id).await? {
            let then = self.view.load(&partition, &by_id).await?;
            for ((id, image), becomes) in live.iter().zip(&mut becomes).filter(|((id, _), _)| then.get(id).is_some()) {
                *becomes = Some(self.becomes(id, image, &then, &mut scratch));
            }
        }
        let nothing = Loaded::default();
        let found = live.iter().zip(becomes);
        Ok(found
            .map(|((id, image), known)| known.unwrap_or_else(|| self.becomes(id, image, &nothing, &mut scratch)))
            .collect())
    }

    fn is_one_time(&self) -> bool {
        true
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
        let course = || Rewound { view: self.view.clone(), scope: scope.clone() };
        let trying = trial.map(|trial| (Trying::new(trial), course()));
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
            let Some((trying, course)) = &mut foreseen.trying else { break };
            trying.catch_up(course).await?;
            if !trying.turn() {
                break;
            }
        }
        if let Some(growth) = growth.filter(|_| is_bounded)
            && let Some(Shortage { why, widening }) = growth.shortage(self.target, name).await?
        {
            let rule = format!("{name}: {why}");
            self.report.refusals.push(Refusal::whole(name, RefusalKind::Room, rule, widening));
        }
        if let Some((trying, _)) = &foreseen.trying {
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
        if !self.request.preview && is_refused(&self.report.refusals, self.request.on_conflict) {
            let refusals = std::mem::take(&mut self.report.refusals);
            return Err(Error::Refused { refusals, elsewhere: true });
        }
        Ok(())
    }
}
