//! What is true of the chain, written down from the requests that took effect, and what must never happen.
//!
//! The witness reads only what is public of a commit. It folds the live segments in a way of its own, so that what the
//! ledger's fold lets pass wrongly is seen here.

use std::collections::{BTreeMap, BTreeSet};

use backstay_ledger::{Hash, Id, Skeleton, chain_prefix, commit_path};
use backstay_sim::Deed;
use bytes::Bytes;

use super::NAME;

/// A commit as it was first made.
struct Committed {
    bytes: Bytes,
    hash: Hash,
}

/// A claim that a process was told it has.
#[derive(Clone, Copy)]
struct Claimed {
    seq: u64,
    epoch: u64,
}

/// The history of a run.
#[derive(Default)]
pub struct History {
    commits: Vec<Committed>,
    live: BTreeSet<Id>,
    added: BTreeSet<Id>,
    files: BTreeSet<Id>,
    /// Numbers of commits that a stranger has taken away.
    pub erased: BTreeSet<u64>,
    claims: BTreeMap<String, Vec<Claimed>>,
    under: Vec<(String, Claimed)>,
    pub wrong: Option<String>,
    /// Commits that were made beside the chain, where a stranger had made room for them.
    beside: BTreeSet<Hash>,
}

impl History {
    pub fn len(&self) -> usize {
        self.commits.len()
    }

    /// The bytes of a commit, as they were made.
    pub fn bytes(&self, seq: usize) -> Option<Bytes> {
        self.commits.get(seq).map(|commit| commit.bytes.clone())
    }

    /// Something took effect.
    pub fn saw(&mut self, deed: &Deed) {
        let (chain, segments) = (chain_prefix(NAME), format!("vaults/{NAME}/segments/"));
        match deed {
            Deed::Put(path, bytes) => {
                if let Some(seq) = path.strip_prefix(&chain) {
                    self.committed(seq.parse().expect("commits are numbered"), path, bytes);
                } else if let Some(id) = path.strip_prefix(&segments).map(unhex)
                    && !self.files.insert(id)
                {
                    self.fail(format!("{path} is written over"));
                }
            }
            Deed::Deleted(path) => {
                if let Some(id) = path.strip_prefix(&segments).map(unhex) {
                    self.files.remove(&id);
                    if self.live.contains(&id) {
                        self.fail(format!("R1: {path} is live, and was deleted"));
                    }
                } else {
                    self.fail(format!("{path} was deleted by one of us"));
                }
            }
        }
    }

    fn committed(&mut self, seq: u64, path: &str, bytes: &Bytes) {
        let at = usize::try_from(seq).expect("chains are short here");
        if let Some(known) = self.commits.get(at) {
            // The same bytes are a request that came twice.
            if known.bytes != *bytes {
                match self.erased.contains(&seq) {
                    true => drop(self.beside.insert(blake3::hash(bytes).into())),
                    false => self.fail(format!("L1: the commit {path} is written again")),
                }
            }
            return;
        }
        let skeleton = Skeleton::read(path, bytes).expect("a commit is whole");
        let before = self.commits.last().map_or([0; 32], |last| last.hash);
        if at != self.commits.len() || skeleton.prev != before {
            return self.fail(format!("L1: {path} does not follow the commit before it"));
        }
        for id in &skeleton.removed {
            if !self.live.remove(id) {
                self.fail(format!("L1: {path} replaces a segment that is not live"));
            }
        }
        for added in &skeleton.added {
            if !self.added.insert(added.id) {
                self.fail(format!("L1: {path} adds a segment a second time"));
            }
            if !self.files.contains(&added.id) {
                self.fail(format!("R1: {path} adds a segment whose file is gone"));
            }
            self.live.insert(added.id);
        }
        self.commits.push(Committed { bytes: bytes.clone(), hash: blake3::hash(bytes).into() });
    }

    /// A process has read the chain, and this commit is the last that it knows. Whoever reads while a commit is taken away
    /// and another put in its place may see that one, and can do nothing upon it.
    pub fn read(&mut self, seq: u64, hash: &Hash) {
        if !self.beside.contains(hash) {
            self.acknowledged(seq, hash);
        }
    }

    /// A process was told that its commit was made.
    pub fn acknowledged(&mut self, seq: u64, hash: &Hash) {
        let found = usize::try_from(seq).ok().and_then(|at| self.commits.get(at));
        if found.is_none_or(|commit| commit.hash != *hash) {
            self.fail(format!("L2: {} was acknowledged, and is not in the chain", commit_path(NAME, seq)));
        }
    }

    /// A process was told that it has claimed something by the commit `seq`.
    pub fn claimed(&mut self, what: &str, seq: u64, epoch: u64) {
        self.claims.entry(what.to_owned()).or_default().push(Claimed { seq, epoch });
    }

    /// A process was told that its commit `seq` was made under a claim.
    pub fn committed_under(&mut self, what: &str, seq: u64, epoch: u64) {
        self.under.push((what.to_owned(), Claimed { seq, epoch }));
    }

    /// Nobody commits under a claim after the next one.
    pub fn check_fences(&mut self) {
        for (what, under) in std::mem::take(&mut self.under) {
            let claims = self.claims.get(&what).into_iter().flatten();
            let mut later = claims.filter(|claim| claim.seq < under.seq && claim.epoch > under.epoch);
            if let Some(later) = later.next() {
                let why = format!(
                    "fencing: commit {} was made under claim {} of {what}, after claim {} by commit {}",
                    under.seq, under.epoch, later.epoch, later.seq
                );
                self.fail(why);
            }
        }
    }

    pub fn fail(&mut self, why: String) {
        self.wrong.get_or_insert(why);
    }
}

fn unhex(text: &str) -> Id {
    let byte = |at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("ids are hexadecimal");
    std::array::from_fn(byte)
}
