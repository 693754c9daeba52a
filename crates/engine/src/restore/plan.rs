//! What a restore writes, or would write, and what came of it.

use backstay_model::Tick;
use serde::{Deserialize, Serialize};

use crate::Proof;
use crate::restore::Refusal;

/// What a restore writes, or would write.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Plan {
    /// Records that are missing.
    pub insert: u64,
    /// Records with other content.
    pub replace: u64,
    /// Records that should not be there.
    pub delete: u64,
    /// Records that were compared and stand as they should.
    pub unchanged: u64,
}

impl Plan {
    /// How many writes.
    pub fn writes(&self) -> u64 {
        self.insert + self.replace + self.delete
    }

    pub(crate) fn add(&mut self, other: &Plan) {
        self.insert += other.insert;
        self.replace += other.replace;
        self.delete += other.delete;
        self.unchanged += other.unchanged;
    }
}

/// What a restore does with one namespace.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct NamespacePlan {
    /// Its name at T.
    pub namespace: String,
    /// Its name in the target.
    pub target: String,
    /// True when it is created.
    pub create: bool,
    /// The records.
    pub plan: Plan,
}

/// What was restored.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RestoreReport {
    /// The run's id; empty for a preview, and for a run without a journal.
    pub id: String,
    /// The instant.
    pub at: Tick,
    /// All namespaces together.
    pub plan: Plan,
    /// Each namespace that was selected, in the order of their names.
    pub namespaces: Vec<NamespacePlan>,
    /// How many writes took effect.
    pub written: u64,
    /// How many were left out because the record had changed meanwhile.
    pub skipped: u64,
    /// How many records stay as they are because nobody can tell whether they were there: they may have been of a tenant
    /// whose key was shredded.
    pub undecided: u64,
    /// The proof; none for a preview.
    pub proof: Option<Proof>,
    /// What would be refused, or was left out because it would be.
    pub refusals: Vec<Refusal>,
    /// What an operator should know: things that were left alone, and why.
    pub notes: Vec<String>,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
}
