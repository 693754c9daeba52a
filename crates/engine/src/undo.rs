//! Taking a restore back.
//!
//! ```text
//!   journal      before ─ the archive was caught up to here                 namespaces ─ those that were created
//!                after ─ and by here every write was over                     │
//!                  │                                                          │
//!   in place     what the restore wrote in between ─▶ what stood before      still as restored ─▶ dropped
//!   elsewhere    left: what stood there before is not archived               still as restored ─▶ dropped
//! ```
//!
//! In place the archive holds everything: what stood before each write of the restore, that write itself, and whatever
//! came after it. A record is put back only while it still is what the restore made of it; one that somebody changed
//! since is a conflict. All of it is looked at before anything is written, so that with [`ConflictPolicy::Abort`] an
//! undo with conflicts writes nothing. A restore that was killed has no `after`: what it wrote is told from what others
//! wrote by being the first change since `before`, and everything else that may be either is a conflict.
//!
//! What is left as it is was not taken back, and an undo that leaves something never says that it has taken back the
//! restore.
//!
//! An undo writes only what differs: running it again finishes it, or finds nothing to do. It is a run of the journal
//! itself, and cannot be taken back: running the restore again does that.

mod created;
mod records;
mod returning;

use std::sync::Arc;

use backstay_archive::{Definition, Shredded, Shreddings, Snapshot, Vault, View};
use backstay_model::{Tick, hex};
use backstay_seal::Digest;
use backstay_source::{Namespace, Source, Target};

use crate::journal::{Outcome, Run, RunNamespace, RunState, runs_of};
use crate::restore::ahead::look;
use crate::restore::{catch_up, is_refused, is_unbroken};
use crate::{ConflictPolicy, Error, Monitor, Plan, Proof, ProofScope, Refusal, Result, Scope};

/// How many conflicts are named.
const NAMED: usize = 20;

/// What is to be taken back, and how.
#[derive(Clone)]
pub struct UndoRequest {
    /// The restore.
    pub run: Run,
    /// The scope that it had, made again of [`Run::terms`].
    pub scope: Scope,
    /// What to do about what somebody changed since.
    pub on_conflict: ConflictPolicy,
    /// Only say what would be written.
    pub preview: bool,
}

/// Something that the restore wrote and somebody changed since.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UndoConflict {
    /// The namespace's name in the target.
    pub namespace: String,
    /// The record's id in words; empty when it is the namespace itself.
    pub id: String,
    /// What it is now.
    pub why: String,
}

/// What was taken back.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UndoReport {
    /// The undo's own id in the journal; empty for a preview, and when there was nothing left to take back.
    pub id: String,
    /// The undo that had taken the run back already.
    pub already: Option<String>,
    /// What is written: a record that the restore deleted is inserted, and so on.
    pub plan: Plan,
    /// How many writes took effect.
    pub written: u64,
    /// How many were left out because of a conflict.
    pub skipped: u64,
    /// How many records and namespaces somebody changed since.
    pub conflicts: u64,
    /// The first of them.
    pub conflicting: Vec<UndoConflict>,
    /// What would be refused of that, or was left out because it would be.
    pub refusals: Vec<Refusal>,
    /// The namespaces that are dropped, because the restore had created them.
    pub dropped: Vec<String>,
    /// The namespaces that stay as they are, because what stood there before the restore is archived nowhere.
    pub left: Vec<String>,
    /// What was read back in the end; none for a preview.
    pub proof: Option<Proof>,
    /// What an operator should know: things that were left alone, and why.
    pub notes: Vec<String>,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
}

/// Takes a restore back, or previews that. For one that was in place, `source` and `target` are the same deployment.
pub async fn undo(
    vault: &Vault,
    source: Option<&dyn Source>,
    target: &dyn Target,
    interpreter: Arc<dyn backstay_model::Interpreter>,
    request: &UndoRequest,
    monitor: &Monitor,
) -> Result<UndoReport> {
    let mut request = request.clone();
    if !vault.shreddings()?.is_empty() {
        // What nobody can read any more was not restored, or cannot be told from what others wrote.
        request.scope.selection.shredded = Shredded::Gone;
    }
    let request = &request;
    let run = &request.run;
    if let Some(other) = &run.undoes {
        return Err(Error::NotUndoable {
            run: run.id.clone(),
            why: format!("it took the restore {other} back itself; run that restore again instead"),
        });
    }
    let all = runs_of(vault).await?;
    let earlier = all.iter().find(|past| past.undoes.as_ref() == Some(&run.id) && past.state == RunState::Proved);
    if let Some(earlier) = earlier {
        return Ok(UndoReport { already: Some(earlier.id.clone()), ..UndoReport::default() });
    }
    let world = vault.repository().world().clone();
    let (began, began_ms) = (world.now(), world.elapsed_ms());
    let mut job = Undoing::prepare(vault, source, target, interpreter, request, monitor).await?;
    job.walk(false).await?;
    if !job.report.left.is_empty() && job.is_all_left() {
        let why = format!(
            "{} stood there before it, and what they held then is archived nowhere",
            job.report.left.join(", ")
        );
        return Err(Error::NotUndoable { run: run.id.clone(), why });
    }
    if request.preview {
        return Ok(job.end(world.elapsed_ms().saturating_sub(began_ms)));
    }
    if let (Some(first), ConflictPolicy::Abort) = (job.report.conflicting.first(), request.on_conflict) {
        return Err(Error::ChangedSince {
            count: job.report.conflicts,
            namespace: first.namespace.clone(),
            first: first.id.clone(),
            why: first.why.clone(),
        });
    }
    if is_refused(&job.report.refusals, request.on_conflict) {
        return Err(Error::Refused { refusals: job.report.refusals, elsewhere: false });
    }
    let refusals = std::mem::take(&mut job.report.refusals);
    let id = hex(&world.id());
    let mut own = Run {
        id: id.clone(),
        began,
        at: run.before.clone().unwrap_or_else(|| run.at.clone()),
        selection: format!("undo of {}: {}", run.id.get(..8).unwrap_or(&run.id), run.selection),
        commit: job.snapshot.state().head().seq,
        state: RunState::Begun,
        plan: None,
        written: 0,
        proof: None,
        error: None,
        milliseconds: 0,
        before: None,
        after: None,
        terms: None,
        namespaces: Vec::new(),
        undoes: Some(run.id.clone()),
        ..run.clone()
    };
    own.record(vault).await?;
    let result = job.walk(true).await;
    let mut report = job.end(world.elapsed_ms().saturating_sub(began_ms));
    report.id = id;
    report.refusals = refusals;
    let UndoReport { plan, written, milliseconds, ref proof, .. } = report;
    let left_out = match (report.left.as_slice(), report.skipped) {
        ([], 0) => None,
        ([], skipped) => Some(format!("{skipped} places that somebody had changed since were left out")),
        (left, _) => Some(format!("{} stay as they are", left.join(", "))),
    };
    let outcome = Outcome { plan, written, proof: proof.as_ref(), milliseconds, left_out };
    // What was taken back is taken back; run again, an undo whose end is not known finds nothing to do.
    if let Err(error) = own.end(vault, outcome, &result).await {
        report.notes.push(format!("how it ended could not be journaled, so it counts as interrupted: {error}"));
    }
    result.map(|()| report)
}

/// The changes since a restore began among which its own are.
#[derive(Clone, Copy)]
struct Window {
    /// Up to and with this tick.
    through: Tick,
    /// True when the restore journaled the end of its writes: nothing of what others did later is in here.
    is_closed: bool,
}

/// An undo that is going on.
struct Undoing<'a> {
    target: &'a dyn Target,
    request: &'a UndoRequest,
    monitor: &'a Monitor,
    snapshot: Snapshot,
    /// The archive as of the instant that was restored.
    then: View,
    /// In place: the archive as of just before the restore.
    before: Option<View>,
    /// In place: among which changes the restore's own are.
    window: Window,
    /// Keys under which something may have stood before that nobody can read any more.
    shreddings: Shreddings,
    /// The target's namespaces.
    live: Vec<Namespace>,
    report: UndoReport,
    write: bool,
    archive_digest: Digest,
    target_digest: Digest,
    read_back: u64,
}

impl<'a> Undoing<'a> {
    async fn prepare(
        vault: &Vault,
        source: Option<&dyn Source>,
        target: &'a dyn Target,
        interpreter: Arc<dyn backstay_model::Interpreter>,
        request: &'a UndoRequest,
        monitor: &'a Monitor,
    ) -> Result<Undoing<'a>> {
        let run = &request.run;
        let refused = |why: &str| Error::NotUndoable { run: run.id.clone(), why: why.to_owned() };
        if run.terms.is_none() {
            return Err(refused("it was run by a version of Backstay that did not keep what an undo needs"));
        }
        let unreadable = |_| refused("its journal entry holds no instant");
        let at: Tick = run.at.parse().map_err(unreadable)?;
        let (snapshot, before, window) = match (&run.before, source) {
            (Some(before), Some(source)) => {
                let before: Tick = before.parse().map_err(unreadable)?;
                let (snapshot, now) = match request.preview {
                    true => {
                        let sight = look(vault, source, interpreter, monitor).await?;
                        if let Some(short) = &sight.short {
                            return Err(refused(&format!("not every change since then is captured, and {short}")));
                        }
                        (sight.snapshot, sight.through)
                    }
                    false => {
                        let now = catch_up(vault, source, monitor).await?;
                        (vault.snapshot(interpreter, now).await?, now)
                    }
                };
                if !is_unbroken(&snapshot.coverage(), before, now) {
                    return Err(refused(
                        "changes since then were lost, so nobody knows who wrote what stands there now",
                    ));
                }
                let view = snapshot.at(before).await?;
                let after: Option<Tick> =
                    run.after.as_ref().map(|after| after.parse()).transpose().map_err(unreadable)?;
                let window = match after {
                    Some(after) => Window { through: after.min(now), is_closed: true },
                    None => Window { through: now, is_closed: false },
                };
                (snapshot, Some(view), window)
            }
            _ => (vault.snapshot(interpreter, at).await?, None, Window { through: at, is_closed: true }),
        };
        Ok(Undoing {
            target,
            request,
            monitor,
            then: snapshot.at(at).await?,
            before,
            window,
            shreddings: vault.shreddings()?,
            live: target.definitions().await?,
            snapshot,
            report: UndoReport::default(),
            write: false,
            archive_digest: Digest::default(),
            target_digest: Digest::default(),
            read_back: 0,
        })
    }

    /// Looks at everything that the restore was to write, and with `write` takes it back.
    async fn walk(&mut self, write: bool) -> Result<()> {
        self.write = write;
        self.report = UndoReport::default();
        let definitions = self.then.definitions().await?;
        // Views stand on collections: they go first.
        let namespaces = self.request.run.namespaces.iter().rev();
        for namespace in namespaces {
            self.monitor.check()?;
            let Some(definition) = definitions.iter().find(|known| known.name == namespace.namespace) else { continue };
            match (namespace.create, self.before.clone()) {
                (true, _) => self.drop_created(definition, namespace).await?,
                (false, Some(before)) => self.put_back(definition, namespace, &before).await?,
                (false, None) => {
                    self.report.left.push(namespace.target.clone());
                    self.report.notes.push(format!(
                        "{} was there before the restore, and what it held is not archived: it is left as it is",
                        namespace.target
                    ));
                }
            }
        }
        Ok(())
    }

    /// True when nothing of what the restore did can be taken back.
    fn is_all_left(&self) -> bool {
        let has_created = self.request.run.namespaces.iter().any(|namespace| namespace.create);
        !has_created && self.before.is_none()
    }

    /// The namespace of the target with this name, if there is one.
    fn live(&self, name: &str) -> Option<&Namespace> {
        self.live.iter().find(|live| live.name == name)
    }

    /// The namespace that stood under this name just before the restore.
    async fn stood_before(&self, before: &View, namespace: &RunNamespace) -> Result<Option<Definition>> {
        let stood = before.definitions().await?.into_iter().find(|known| known.name == namespace.target);
        before.check_told(&stood).await?;
        Ok(stood)
    }

    fn conflict(&mut self, namespace: &str, id: String, why: &str) {
        self.report.conflicts += 1;
        if self.report.conflicting.len() < NAMED {
            self.report.conflicting.push(UndoConflict { namespace: namespace.to_owned(), id, why: why.to_owned() });
        }
    }

    fn display_id(&self, id: &[u8]) -> String {
        self.snapshot.interpreter().display_id(id)
    }

    fn end(self, milliseconds: u64) -> UndoReport {
        let mut report = self.report;
        report.milliseconds = milliseconds;
        if self.write {
            let proof =
                Proof::of(&self.archive_digest, &self.target_digest, self.read_back, ProofScope::Changed, Vec::new());
            report.proof = Some(proof);
        }
        report
    }
}
