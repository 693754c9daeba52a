//! Verifying a chain without any key but the public one: skeletons, signatures, hashes and links; and the checkpoints
//! against it: each must be whole and signed, and name the commit and the live segments that the chain has there.
//!
//! Goes on after a problem, so that one report names them all. A problem is blamed on the object that has it: a commit
//! that follows an altered one is not a problem of its own.

use std::collections::{BTreeMap, BTreeSet};

use backstay_store::Store;
use futures::{StreamExt, stream};

use crate::chain::{READ_AHEAD, check_genesis, check_place, fetch, head_of, replaced};
use crate::checkpoint::Checkpoint;
use crate::commit::{Commit, Id, ObjectRef};
use crate::error::{Error, Result};
use crate::path::{chain_prefix, checkpoint_path, checkpoint_prefix, commit_path, parse_checkpoint, parse_seq};
use crate::state::Head;
use backstay_model::hex;

/// What kind of problem it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ProblemKind {
    /// A commit is not there.
    Missing,
    /// A commit is damaged, altered, or contradicts the ones before it.
    Corrupt,
    /// A commit was signed by another key or made for another place.
    Foreign,
    /// A newer program wrote it; it could not be checked.
    Newer,
    /// The store did not give it; it could not be checked.
    Unreadable,
    /// An object in the folder of the chain or of the checkpoints is neither.
    Stray,
}

/// One problem.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Its kind.
    pub kind: ProblemKind,
    /// The path of the object that has it.
    pub object: String,
    /// What it is, in words.
    pub detail: String,
}

/// What verifying a chain found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// How many commits and checkpoints were looked at.
    pub checked: u64,
    /// The newest sound commit.
    pub head: Option<Head>,
    /// The segments that the skeletons say are live, by id. Complete only when there are no problems.
    pub live: Vec<ObjectRef>,
    /// All problems, in the order of the chain.
    pub problems: Vec<Problem>,
}

impl Report {
    /// True when nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Checks the chain of the vault called `vault` without opening a body. An error only when the store cannot even list
/// the chain; everything else is in the report.
pub async fn verify_chain(store: &Store, vault: &str, trusted: &[u8; 32]) -> Result<Report> {
    let mut walk = Walk { vault, trusted, id: None, before: None, live: BTreeMap::new(), report: Report::default() };
    // Listed before the chain: a checkpoint that is there has its commit in the list that follows.
    let mut checkpoints = BTreeSet::new();
    for object in store.list(&checkpoint_prefix(vault)).await? {
        match parse_checkpoint(vault, &object.path) {
            Some(seq) => drop(checkpoints.insert(seq)),
            None => walk.problem(ProblemKind::Stray, object.path, "it is not named like a checkpoint".to_owned()),
        }
    }
    let mut seqs = Vec::new();
    for object in store.list(&chain_prefix(vault)).await? {
        match parse_seq(vault, &object.path) {
            Some(seq) => seqs.push(seq),
            None => walk.problem(ProblemKind::Stray, object.path, "it is not named like a commit".to_owned()),
        }
    }
    if seqs.is_empty() {
        walk.missing(0, 0);
    }
    let mut expected = 0;
    let mut found = stream::iter(seqs)
        .map(|seq| async move { (seq, fetch(store, &commit_path(vault, seq)).await) })
        .buffered(READ_AHEAD);
    while let Some((seq, commit)) = found.next().await {
        // The listing may have missed a commit that was made meanwhile; what is really missing is reported once.
        while expected < seq {
            match fetch(store, &commit_path(vault, expected)).await {
                Err(Error::Missing { .. }) => {
                    walk.missing(expected, seq - 1);
                    expected = seq;
                }
                other => {
                    walk.step(expected, other);
                    expected += 1;
                }
            }
        }
        walk.step(seq, commit);
        expected = seq.saturating_add(1);
        if checkpoints.remove(&seq) {
            walk.checkpoint(store, seq).await;
        }
    }
    drop(found);
    if let Some(newest) = checkpoints.last().filter(|newest| **newest >= expected) {
        walk.missing(expected, *newest);
    }
    for seq in checkpoints {
        walk.checkpoint(store, seq).await;
    }
    walk.report.live = walk.live.into_values().collect();
    Ok(walk.report)
}

struct Walk<'a> {
    vault: &'a str,
    trusted: &'a [u8; 32],
    /// The vault's id, once a sound commit told it.
    id: Option<Id>,
    /// The commit before, when it is sound.
    before: Option<Head>,
    live: BTreeMap<Id, ObjectRef>,
    report: Report,
}

impl Walk<'_> {
    fn problem(&mut self, kind: ProblemKind, object: String, detail: String) {
        self.report.problems.push(Problem { kind, object, detail });
    }

    fn missing(&mut self, first: u64, last: u64) {
        let detail = if first == last {
            "it is missing".to_owned()
        } else {
            format!("it and all up to {} are missing", commit_path(self.vault, last))
        };
        self.problem(ProblemKind::Missing, commit_path(self.vault, first), detail);
        self.before = None;
    }

    fn step(&mut self, seq: u64, commit: Result<Commit>) {
        let object = commit_path(self.vault, seq);
        self.report.checked += 1;
        match commit.and_then(|commit| self.check(&object, seq, &commit).map(|()| commit)) {
            Ok(commit) => {
                self.link(seq, &commit);
                self.objects(&object, &commit);
                self.id = Some(commit.skeleton.vault);
                self.before = Some(head_of(&commit));
                self.report.head = self.before;
            }
            Err(error) => {
                let (kind, object, detail) = blame(object, error);
                self.problem(kind, object, detail);
                self.before = None;
            }
        }
    }

    fn check(&self, object: &str, seq: u64, commit: &Commit) -> Result<()> {
        commit.authenticate(object, self.trusted)?;
        check_place(object, commit, self.id, seq)?;
        if seq == 0 { check_genesis(object, commit, self.vault) } else { Ok(()) }
    }

    /// Looks at the checkpoint of the commit that was looked at last; where that commit has a problem, or is missing,
    /// only at the checkpoint itself.
    async fn checkpoint(&mut self, store: &Store, seq: u64) {
        self.report.checked += 1;
        let object = checkpoint_path(self.vault, seq);
        let checkpoint = match store.get(&object).await {
            Ok(bytes) => Checkpoint::parse(&object, &bytes, (self.vault, self.id, seq), self.trusted),
            // Whoever cleans up takes old ones away.
            Err(backstay_store::Error::NotFound { .. }) => return,
            Err(error) => Err(error.into()),
        };
        let corrupt = |why: &str| Err(Error::Corrupt { object: object.clone(), why: why.to_owned() });
        let sound = match (checkpoint, self.before.filter(|head| head.seq == seq)) {
            (Ok(checkpoint), Some(head)) if checkpoint.skeleton.commit != head.hash => {
                corrupt("it was made of another commit than the one in the chain")
            }
            (Ok(checkpoint), Some(_))
                if self.report.is_sound() && !self.live.values().eq(&checkpoint.skeleton.live) =>
            {
                corrupt("it names other live segments than the chain does")
            }
            (Ok(_), _) => Ok(()),
            (Err(error), _) => Err(error),
        };
        if let Err(error) = sound {
            let (kind, object, detail) = blame(object, error);
            self.problem(kind, object, detail);
        }
    }

    fn link(&mut self, seq: u64, commit: &Commit) {
        let Some(before) = self.before else { return };
        if before.seq.checked_add(1) == Some(seq) && commit.skeleton.prev != before.hash {
            let (kind, object, detail) = blame(String::new(), replaced(self.vault, before.seq));
            self.problem(kind, object, detail);
        }
    }

    fn objects(&mut self, object: &str, commit: &Commit) {
        for added in &commit.skeleton.added {
            if self.live.insert(added.id, *added).is_some() {
                let detail = format!("it adds the segment {} a second time", hex(&added.id));
                self.problem(ProblemKind::Corrupt, object.to_owned(), detail);
            }
        }
        for id in &commit.skeleton.removed {
            // After a hole nothing is known of what the lost commits added.
            if self.live.remove(id).is_none() && self.report.problems.is_empty() {
                let detail = format!("it removes the segment {}, which is not live", hex(id));
                self.problem(ProblemKind::Corrupt, object.to_owned(), detail);
            }
        }
    }
}

fn blame(object: String, error: Error) -> (ProblemKind, String, String) {
    match error {
        Error::Missing { object } => (ProblemKind::Missing, object, "it is missing".to_owned()),
        Error::Corrupt { object, why } => (ProblemKind::Corrupt, object, why),
        Error::Foreign { object, why } => (ProblemKind::Foreign, object, why),
        Error::Newer { object, what } => (ProblemKind::Newer, object, what),
        other => (ProblemKind::Unreadable, object, other.to_string()),
    }
}
