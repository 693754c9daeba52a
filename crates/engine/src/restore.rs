//! Bringing a state back: side by side or in place, previewed, guarded, proved.
//!
//! ```text
//!   resolve T ─ pin ─┬─ the namespace is missing in the target ─▶ fresh: create, insert at full speed, index
//!                    ├─ the source itself, every change since T known ─▶ rewind: only records with a change since T
//!                    └─ anything else ─▶ compare: walk both states side by side
//!   before: what would be refused, if anything; after: read back, digest, compare with the archive's digest
//! ```
//!
//! All three write only what differs, so that running a restore again finishes it, or finds nothing to do. A preview
//! walks the same way and writes nothing, neither to the target nor to the archive; a restore without a journal writes
//! to the target alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use backstay_archive::{Definition, Selection, Snapshot, Vault, View};
use backstay_model::{Coverage, Incarnation, NamespaceKind, Tick, crash_point, hex};
use backstay_seal::Digest;
use backstay_source::{Namespace, Source, Target};

use crate::backup::capture_through;
use crate::capture::{CaptureOptions, Until};
use crate::journal::{Outcome, Run, RunNamespace, RunState, Terms, unfinished};
use crate::monitor::Meter;
use crate::proof::{LiveScope, read_back};
use crate::{Error, Monitor, Phase, Proof, ProofScope, Result, Scope};

pub(crate) mod ahead;
mod among;
pub(crate) mod changed;
mod compare;
mod foresee;
mod fresh;
mod hidden;
mod meant;
mod names;
mod order;
mod plan;
mod refusal;
pub(crate) mod rewind;
pub(crate) mod room;
pub(crate) mod trying;
mod waiting;
pub(crate) mod writer;

use foresee::Looked;
pub use names::{Rename, Renaming, WrongNames};
pub use plan::{NamespacePlan, Plan, RestoreReport};
pub(crate) use refusal::sentences;
pub use refusal::{Refusal, RefusalKind, RefusedRecord, is_refused};
use writer::Writer;

/// Where the state is brought back to.
#[derive(Clone)]
pub enum Destination {
    /// Into the source itself.
    InPlace,
    /// Side by side: into another deployment, or under other names.
    Into {
        /// The names in the target.
        rename: Rename,
    },
}

/// What happens to a record that changed while it was being restored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConflictPolicy {
    /// The restore stops.
    Abort,
    /// The record stays as it is, and is counted.
    Skip,
    /// The record is overwritten.
    Overwrite,
}

/// What is to be restored, and how.
#[derive(Clone)]
pub struct RestoreRequest {
    /// The instant.
    pub at: Tick,
    /// Which namespaces and records.
    pub scope: Scope,
    /// The scope in words, for the journal.
    pub scope_words: String,
    /// The scope as it was given, for an undo.
    pub terms: Terms,
    /// Where to.
    pub destination: Destination,
    /// What to do about records that change meanwhile.
    pub on_conflict: ConflictPolicy,
    /// How much is read back in the end.
    pub proof: ProofScope,
    /// Only say what would be written.
    pub preview: bool,
    /// Whether the run is journaled, and in place captured up to. False for an archive that cannot be written: it is only
    /// read then, as by a preview, and the run can neither be listed nor taken back.
    pub journal: bool,
}

impl RestoreRequest {
    fn writes_to_archive(&self) -> bool {
        self.journal && !self.preview
    }
}

/// Restores, or previews a restore. For [`Destination::InPlace`] `source` and `target` are the same deployment.
pub async fn restore(
    vault: &Vault,
    source: Option<&dyn Source>,
    target: &dyn Target,
    interpreter: Arc<dyn backstay_model::Interpreter>,
    request: &RestoreRequest,
    monitor: &Monitor,
) -> Result<RestoreReport> {
    let world = vault.repository().world().clone();
    let (began, began_ms) = (world.now(), world.elapsed_ms());
    let mut short = None;
    let (now, snapshot, view) = match (&request.destination, source) {
        (Destination::InPlace, Some(source)) if !request.writes_to_archive() => {
            let mut sight = ahead::look(vault, source, interpreter, monitor).await?;
            let view = sight.snapshot.at(request.at).await.map_err(|error| sight.explain(error))?;
            short = sight.short.take();
            (Some(sight.through).filter(|_| short.is_none()), sight.snapshot, view)
        }
        (Destination::InPlace, Some(source)) => {
            let now = catch_up(vault, source, monitor).await?;
            let snapshot = vault.snapshot(interpreter, now.max(request.at)).await?;
            let view = snapshot.at(request.at).await?;
            (Some(now), snapshot, view)
        }
        _ => {
            let snapshot = vault.snapshot(interpreter, request.at).await?;
            let view = snapshot.at(request.at).await?;
            (None, snapshot, view)
        }
    };
    let live = target.definitions().await?;
    let definitions = view.definitions().await?;
    let mut request = request.clone();
    // What is there now counts as well where it is rewound: nobody means another by the name of one that is there.
    let live_names = live.iter().filter(|_| matches!(request.destination, Destination::InPlace)).map(|live| &live.name);
    let names = definitions.iter().map(|definition| &definition.name).chain(live_names).map(String::as_str);
    request.scope = request.scope.among(names);
    let request = &request;
    let (definitions, left): (Vec<_>, Vec<_>) =
        definitions.into_iter().partition(|found| request.scope.restores(&found.name, found.kind));
    view.check_told(&definitions).await?;
    if definitions.is_empty() {
        let what = format!("no namespace that existed at {} is selected", request.at);
        return Err(Error::NothingSelected(what));
    }
    let id = hex(&world.id());
    let mut job = Job {
        target,
        request,
        monitor,
        since: now.filter(|now| is_unbroken(&snapshot.coverage(), request.at, *now)),
        live,
        report: RestoreReport { at: request.at, ..RestoreReport::default() },
        archive_digest: Digest::default(),
        target_digest: Digest::default(),
        read_back: 0,
        left: Vec::new(),
        selection: request.scope.selection.clone(),
        hidden: BTreeMap::new(),
        unfinished: BTreeSet::new(),
        looked: BTreeMap::new(),
        snapshot,
        view,
    };
    job.look_for_hidden(vault, &definitions).await?;
    job.report.notes.extend(short.map(|short| {
        format!("compared whole namespaces, because {short}: once that is captured, only what changed is looked at")
    }));
    let accounts = left.iter().filter(|found| request.scope.has(&found.name));
    job.report
        .notes
        .extend(accounts.map(|found| format!("{} is left as it is: it was not asked for by name", found.name)));
    job.note_what_stays(&definitions);
    job.look_for_ids(&definitions).await?;
    let mut run = Run {
        id: id.clone(),
        source: vault.name().to_owned(),
        began,
        at: request.at.to_string(),
        target: match request.destination {
            Destination::InPlace => "in-place".to_owned(),
            Destination::Into { .. } => target.location(),
        },
        selection: request.scope_words.clone(),
        commit: job.snapshot.state().head().seq,
        state: RunState::Begun,
        plan: None,
        written: 0,
        undecided: 0,
        proof: None,
        error: None,
        milliseconds: 0,
        before: now.map(|tick| tick.to_string()),
        after: None,
        terms: Some(request.terms.clone()),
        namespaces: job.to_restore(&definitions),
        undoes: None,
    };
    names::check(&request.destination, &run.namespaces)?;
    let is_part = !request.scope.is_whole() && run.namespaces.iter().any(|namespace| !namespace.create);
    if !request.preview && is_part {
        job.unfinished = unfinished(vault, &run.target).await?;
    }
    job.foresee(&definitions).await?;
    if request.writes_to_archive() {
        run.record(vault).await?;
        job.report.id = id;
        crash_point("restore.journaled");
    }
    let result = job.run(definitions).await;
    let mut report = job.report;
    report.milliseconds = world.elapsed_ms().saturating_sub(began_ms);
    if request.writes_to_archive() {
        // Without it an undo is only more careful: a source that has just failed is not asked again.
        if let (Destination::InPlace, Some(source)) = (&request.destination, source)
            && !matches!(result, Err(Error::Cancelled | Error::Source(_)))
        {
            run.after = source.snapshot().await.ok().map(|tick| tick.to_string());
        }
        let RestoreReport { plan, written, milliseconds, ref proof, .. } = report;
        // What a conflict left out was left out on request.
        run.undecided = report.undecided;
        let outcome = Outcome { plan, written, proof: proof.as_ref(), milliseconds, left_out: None };
        // What was restored is restored, and an undo of a run without an end is only more careful.
        if let Err(error) = run.end(vault, outcome, &result).await {
            report.notes.push(format!(
                "how it ended could not be journaled, so it counts as interrupted, and an undo of it takes less for granted: \
                 {error}"
            ));
        }
    }
    result.map(|()| report)
}

/// Captures everything that the source has committed up to this moment, and returns up to where.
pub(crate) async fn catch_up(vault: &Vault, source: &dyn Source, monitor: &Monitor) -> Result<Tick> {
    let now = source.snapshot().await?;
    let options = CaptureOptions { until: Until::Tick(now), ..CaptureOptions::default() };
    capture_through(vault, source, options, monitor, now).await?;
    Ok(now)
}

/// True when the archive holds every change from `at` to `now`.
pub(crate) fn is_unbroken(coverage: &Coverage, at: Tick, now: Tick) -> bool {
    coverage.spans().iter().any(|span| span.from <= at && now <= span.to)
}

/// True for namespaces that are created with options of their own; the source makes the others by itself.
pub(super) fn has_options(kind: NamespaceKind) -> bool {
    matches!(kind, NamespaceKind::Collection | NamespaceKind::Ordered)
}

/// A restore that is going on.
pub(super) struct Job<'a> {
    target: &'a dyn Target,
    request: &'a RestoreRequest,
    monitor: &'a Monitor,
    snapshot: Snapshot,
    view: View,
    /// In place: every change between T and this tick is known.
    since: Option<Tick>,
    /// The target's namespaces at the start.
    live: Vec<Namespace>,
    report: RestoreReport,
    archive_digest: Digest,
    target_digest: Digest,
    read_back: u64,
    /// Records of the namespace at hand that belong to the selection now and existed outside of it at T, ascending by id:
    /// they are left as they are, so the proof of what was restored leaves them out.
    left: Vec<Vec<u8>>,
    /// Which records of the namespace at hand are meant.
    selection: Selection,
    /// The tenants of which records may have stood at T that nobody can read any more, by namespace.
    hidden: BTreeMap<Incarnation, BTreeSet<String>>,
    /// Namespaces of the target that an earlier restore made and did not finish.
    unfinished: BTreeSet<String>,
    /// In a preview: what the look for refusals has seen, by the names in the target.
    looked: BTreeMap<String, Looked>,
}

impl Job<'_> {
    async fn run(&mut self, mut definitions: Vec<Definition>) -> Result<()> {
        // Views stand on collections.
        definitions.sort_by_key(|definition| definition.kind == NamespaceKind::Views);
        let mut differences = Vec::new();
        for definition in &definitions {
            let name = self.target_name(&definition.name);
            if self.is_left_out(definition, &name) {
                let note = format!("the views of {} are not restored under another name", definition.name);
                self.report.notes.push(note);
                continue;
            }
            let live = self.live.iter().find(|live| live.name == name).cloned();
            self.turn_to(definition);
            let scope = self.live_scope(definition);
            let mut writer = Writer::new(self.target, &name, self.request.on_conflict);
            if live.as_ref().is_some_and(|live| live.kind == NamespaceKind::Ordered) {
                writer = writer.inserting_last();
            }
            let interpreter = self.snapshot.interpreter();
            let expires = interpreter.expires(&definition.image)
                || live.as_ref().is_some_and(|live| interpreter.expires(&live.definition));
            let looked = self.looked.remove(&name).map(|looked| {
                self.left = looked.left;
                looked.plan
            });
            let plan = match (&live, self.since) {
                _ if let Some(plan) = looked => plan,
                (None, _) => self.fresh(definition, &name, &scope).await?,
                (Some(live), Some(now)) if live.incarnation == definition.incarnation => {
                    self.rewind(definition, &name, &scope, now, writer).await?
                }
                (Some(_), _) => self.compare(definition, &name, &scope, writer).await?,
            };
            self.note_left(definition, &name).await?;
            if definition.kind == NamespaceKind::Ordered && live.is_some() && plan.insert > 0 {
                let note =
                    format!("{} records of {name} come back behind the others, not where they stood", plan.insert);
                self.report.notes.push(note);
            }
            if plan.insert + plan.replace > 0 && expires {
                self.report.notes.push(format!(
                    "{name} lets records expire: those whose time is over the source removes again, within a minute or so, \
                     though they are proved"
                ));
            }
            self.report.plan.add(&plan);
            let (namespace, target) = (definition.name.clone(), name.clone());
            self.report.namespaces.push(NamespacePlan { namespace, target, create: live.is_none(), plan });
            if !self.request.preview && self.defines(definition, &name) {
                if live.is_some() {
                    self.target.build_indexes(&name, &definition.image).await?;
                    crash_point("restore.indexes-built");
                }
                let found = self.target.definition_differences(&name, &definition.image).await?;
                differences.extend(found.into_iter().map(|difference| format!("{name}: {difference}")));
            }
        }
        if !self.request.preview {
            let scope = if self.since.is_some() { self.request.proof } else { ProofScope::Full };
            self.report.proof =
                Some(Proof::of(&self.archive_digest, &self.target_digest, self.read_back, scope, differences));
        }
        Ok(())
    }

    /// True when a namespace is to be defined as it was. What a restore creates it also defines, however little of it was
    /// selected. Without a journal nobody knows whether an earlier one has created it and was cut short.
    fn defines(&self, definition: &Definition, name: &str) -> bool {
        let is_there = self.live.iter().any(|live| live.name == name);
        let may_be_unfinished = !self.request.journal && matches!(self.request.destination, Destination::Into { .. });
        let defines = self.request.scope.is_whole() || !is_there || self.unfinished.contains(name) || may_be_unfinished;
        defines && has_options(definition.kind)
    }

    /// True for views that would get another name: their definitions name what they stand on.
    fn is_left_out(&self, definition: &Definition, name: &str) -> bool {
        definition.kind == NamespaceKind::Views && name != definition.name
    }

    fn to_restore(&self, definitions: &[Definition]) -> Vec<RunNamespace> {
        let to_restore = definitions.iter().map(|definition| {
            let target = self.target_name(&definition.name);
            let create = !self.live.iter().any(|live| live.name == target);
            RunNamespace { namespace: definition.name.clone(), target, create }
        });
        to_restore.collect()
    }

    fn target_name(&self, name: &str) -> String {
        match &self.request.destination {
            Destination::InPlace => name.to_owned(),
            Destination::Into { rename } => rename.rename(name),
        }
    }

    fn selection(&self) -> &Selection {
        &self.selection
    }

    fn live_scope(&self, definition: &Definition) -> LiveScope {
        LiveScope {
            namespace: definition.incarnation,
            name: Arc::from(definition.name.as_str()),
            selection: self.selection().clone(),
            interpreter: Arc::clone(self.snapshot.interpreter()),
            left: Arc::default(),
        }
    }

    /// Reads the whole namespace back into the proof.
    async fn prove(&mut self, name: &str, scope: &LiveScope) -> Result<()> {
        let mut meter = Meter::new(self.monitor, Phase::Prove, None);
        let scope = LiveScope { left: Arc::new(self.left.clone()), ..scope.clone() };
        let (digest, records) = read_back(self.target, name, &scope, &mut meter, self.monitor).await?;
        self.target_digest.combine(&digest);
        self.read_back += records;
        Ok(())
    }

    /// In place, what did not exist at T is not dropped, and what was renamed since is not renamed back: says so.
    fn note_what_stays(&mut self, definitions: &[Definition]) {
        if !matches!(self.request.destination, Destination::InPlace) {
            return;
        }
        let scope = &self.request.scope;
        for live in &self.live {
            let was = definitions.iter().find(|definition| definition.incarnation == live.incarnation);
            let note = match was {
                Some(was) if was.name != live.name => {
                    format!("{} was called {} then; it is left as it is", live.name, was.name)
                }
                None if scope.is_whole() && scope.restores(&live.name, live.kind) => {
                    format!("{} did not exist then; it is left as it is", live.name)
                }
                _ => continue,
            };
            self.report.notes.push(note);
        }
    }
}
