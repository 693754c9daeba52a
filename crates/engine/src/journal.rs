//! The journal of restores: what was run, with which plan, and how it ended.
//!
//! ```text
//!   vaults/{source}/runs/{id}/0-begun       before the first write
//!   vaults/{source}/runs/{id}/1-ended       after the proof
//! ```
//! Objects are created and never changed, sealed under the vault key, and carry JSON.

use std::collections::BTreeSet;

use backstay_archive::{Repository, Vault};
use backstay_seal::Scope as SealScope;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Error, Plan, Proof, Result};

/// What journal entries are sealed for; no other room uses this number.
const PURPOSE: u8 = 17;
/// The kind of a journal entry among sealed parts.
const ENTRY: u8 = 16;
const MAGIC: &[u8; 8] = b"BKSTAYJ1";

/// How a run stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// It began and has not ended: it is running, or was interrupted. Running it again finishes it.
    Begun,
    /// It ended, and its proof is equal.
    Proved,
    /// It ended with an error or an unequal proof.
    Failed,
}

/// A selection as it was given, so that it can be given again: when a run is taken back.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Terms {
    /// The tenants.
    #[serde(default)]
    pub tenants: Vec<String>,
    /// The namespaces, or patterns of their names.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// The ids, in the source's own notation.
    #[serde(default)]
    pub ids: Vec<String>,
    /// The filter, in the source's own notation.
    #[serde(default)]
    pub filter: Option<String>,
}

/// A namespace that a run was to restore.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RunNamespace {
    /// Its name at the instant.
    pub namespace: String,
    /// Its name in the target.
    pub target: String,
    /// True when the target did not have it.
    pub create: bool,
}

/// One restore.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Run {
    /// Its id: 32 hexadecimal digits.
    pub id: String,
    /// Its source.
    pub source: String,
    /// When it began, in Unix seconds.
    pub began: u64,
    /// The instant that was restored, as `SECONDS:ORDINAL`.
    pub at: String,
    /// Into what: `in-place` or the target's location.
    pub target: String,
    /// What was selected, in words.
    pub selection: String,
    /// The head of the ledger it read from.
    pub commit: u64,
    /// How it stands.
    pub state: RunState,
    /// What it wrote, once it has ended.
    pub plan: Option<Plan>,
    /// How many writes took effect.
    pub written: u64,
    /// How many records were left as they are because they may have been of a tenant whose key was shredded.
    #[serde(default)]
    pub undecided: u64,
    /// The proof, once it has one.
    pub proof: Option<Proof>,
    /// Why it failed.
    pub error: Option<String>,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
    /// In place: every change up to and with this tick was held before the first write. What stood then is what an undo
    /// brings back.
    #[serde(default)]
    pub before: Option<String>,
    /// In place, once it has ended: every write of it took effect up to and with this tick. None for one that was killed.
    #[serde(default)]
    pub after: Option<String>,
    /// What was selected.
    #[serde(default)]
    pub terms: Option<Terms>,
    /// The namespaces that were to be restored, as the target was before the first write.
    #[serde(default)]
    pub namespaces: Vec<RunNamespace>,
    /// The run that this one took back, if that is what it did.
    #[serde(default)]
    pub undoes: Option<String>,
}

/// What came of a run.
pub(crate) struct Outcome<'a> {
    pub plan: Plan,
    pub written: u64,
    pub proof: Option<&'a Proof>,
    pub milliseconds: u64,
    /// What was left out that was to be written, and why, if anything was.
    pub left_out: Option<String>,
}

impl Run {
    /// Records how the run ended. One that was interrupted stays open: running it again finishes it.
    pub(crate) async fn end<T>(&mut self, vault: &Vault, outcome: Outcome<'_>, result: &Result<T>) -> Result<()> {
        if matches!(result, Err(Error::Cancelled)) {
            return Ok(());
        }
        let is_whole = outcome.left_out.is_none();
        let is_proved = result.is_ok() && is_whole && outcome.proof.is_some_and(|proof| proof.equal);
        self.state = if is_proved { RunState::Proved } else { RunState::Failed };
        self.plan = Some(outcome.plan);
        self.written = outcome.written;
        self.proof = outcome.proof.cloned();
        self.milliseconds = outcome.milliseconds;
        self.error = result.as_ref().err().map(ToString::to_string).or(outcome.left_out);
        self.record(vault).await
    }

    pub(crate) async fn record(&self, vault: &Vault) -> Result<()> {
        let part = if self.state == RunState::Begun { "0-begun" } else { "1-ended" };
        let path = format!("{}{}/{part}", prefix(vault.name()), self.id);
        let world = vault.repository().world();
        let (segment, salt) = (world.id(), world.salt());
        let mut sealed = serde_json::to_vec(self).expect("a run is plain data");
        let wrong = |error: backstay_seal::Error| Error::Journal { object: path.clone(), why: error.to_string() };
        let mut sealer = vault.vault_key().sealer(&scope(vault, segment, salt)).map_err(wrong)?;
        sealer.seal(ENTRY, &mut sealed).map_err(wrong)?;
        let file = [MAGIC.as_slice(), &segment, &salt, &sealed].concat();
        match vault.repository().store().create(&path, Bytes::from(file)).await {
            Ok(()) => Ok(()),
            Err(error) => Err(Error::Archive(error.into())),
        }
    }
}

fn prefix(vault: &str) -> String {
    format!("vaults/{vault}/runs/")
}

fn scope(vault: &Vault, segment: [u8; 16], salt: [u8; 32]) -> SealScope {
    SealScope { format: 1, vault: vault.id(), segment, salt, purpose: PURPOSE }
}

/// The restores of a source, oldest first.
pub async fn runs(repository: &Repository, source: &str) -> Result<Vec<Run>> {
    runs_of(&repository.vault(source).await?).await
}

/// The restores of a source, oldest first.
pub(crate) async fn runs_of(vault: &Vault) -> Result<Vec<Run>> {
    let store = vault.repository().store();
    let mut runs: Vec<Run> = Vec::new();
    for object in store.list(&prefix(vault.name())).await.map_err(backstay_archive::Error::from)? {
        let file = store.get(&object.path).await.map_err(backstay_archive::Error::from)?;
        let run = open(vault, &object.path, &file).map_err(|why| Error::Journal { object: object.path, why })?;
        match runs.last_mut() {
            Some(last) if last.id == run.id => *last = run,
            _ => runs.push(run),
        }
    }
    runs.sort_by(|a, b| (a.began, a.commit, &a.id).cmp(&(b.began, b.commit, &b.id)));
    Ok(runs)
}

/// The namespaces, by their names in the target, that a restore created there and none has brought to its end since: what
/// comes last, indexes and caps, is still to be done.
pub(crate) async fn unfinished(vault: &Vault, target: &str) -> Result<BTreeSet<String>> {
    let all = runs_of(vault).await?;
    let undone: BTreeSet<&String> =
        all.iter().filter(|run| run.state == RunState::Proved).filter_map(|run| run.undoes.as_ref()).collect();
    let mut unfinished = BTreeSet::new();
    for run in all.iter().filter(|run| run.target == target && run.undoes.is_none() && !undone.contains(&run.id)) {
        for namespace in &run.namespaces {
            if run.state == RunState::Proved {
                unfinished.remove(&namespace.target);
            } else if namespace.create {
                unfinished.insert(namespace.target.clone());
            }
        }
    }
    Ok(unfinished)
}

/// Opens every journal entry of a source: how many there are, and which cannot be read, with the reason.
pub async fn check_runs(repository: &Repository, source: &str) -> Result<(u64, Vec<(String, String)>)> {
    let vault = repository.vault(source).await?;
    let mut checked = 0;
    let mut problems = Vec::new();
    for object in repository.store().list(&prefix(source)).await.map_err(backstay_archive::Error::from)? {
        checked += 1;
        let opened = match repository.store().get(&object.path).await {
            Ok(file) => open(&vault, &object.path, &file).map(drop),
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = opened {
            problems.push((object.path, why));
        }
    }
    Ok((checked, problems))
}

fn open(vault: &Vault, path: &str, file: &[u8]) -> Result<Run, String> {
    let cut = || "it is cut".to_owned();
    let rest = file.strip_prefix(MAGIC).ok_or("it is not a journal entry")?;
    let (segment, rest) = rest.split_first_chunk::<16>().ok_or_else(cut)?;
    let (salt, sealed) = rest.split_first_chunk::<32>().ok_or_else(cut)?;
    let key = vault.vault_key().segment_key(&scope(vault, *segment, *salt)).map_err(|error| error.to_string())?;
    let mut plain = Vec::new();
    key.open_into(ENTRY, 0, sealed, &mut plain).map_err(|error| error.to_string())?;
    read(vault.name(), path, &plain)
}

/// Reads the opened entry that lies at `path`.
fn read(vault: &str, path: &str, plain: &[u8]) -> Result<Run, String> {
    let run: Run = serde_json::from_slice(plain).map_err(|error| error.to_string())?;
    let part = if run.state == RunState::Begun { "0-begun" } else { "1-ended" };
    match path == format!("{}{}/{part}", prefix(vault), run.id) {
        true => Ok(run),
        false => Err(format!("it is the entry of another run, {}", run.id)),
    }
}

/// An opened entry, for `fuzz/`: what is read is written again so that it reads the same.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub fn fuzz(plain: &[u8]) {
    let path = format!("{}{}/1-ended", prefix("shop"), "ab".repeat(16));
    let Ok(run) = serde_json::from_slice::<Run>(plain) else { return };
    let written = serde_json::to_vec(&run).expect("a run is plain data");
    assert_eq!(serde_json::from_slice::<Run>(&written).ok().as_ref(), Some(&run));
    if let Ok(read) = read("shop", &path, plain) {
        assert!(read == run && read.state != RunState::Begun);
    }
}
