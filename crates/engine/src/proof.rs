//! Proving a restore: what the archive says and what the target answers, each as one digest.

use std::sync::Arc;

use backstay_archive::Selection;
use backstay_model::{Incarnation, Interpreter, RecordBatch, hex};
use backstay_seal::Digest;
use backstay_source::Target;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::monitor::Meter;
use crate::{Monitor, Result};

/// What a proof is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProofScope {
    /// Every record that the restore compared: those with a change since the instant. The others are known to stand as
    /// they did, because the archive covers every change in between.
    Changed,
    /// Every selected record of the target.
    Full,
}

/// The digests of both sides, as hexadecimal summaries.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Proof {
    /// The digest of the records that the archive holds.
    pub archive: String,
    /// The digest of the records that the target gave back.
    pub target: String,
    /// True when they are the same, and so are the definitions that were compared.
    pub equal: bool,
    /// How many records the target gave back.
    pub records: u64,
    /// What was read back.
    pub scope: ProofScope,
    /// In which respects namespaces of the target differ from their definitions.
    pub definitions: Vec<String>,
}

impl Proof {
    /// True when the records are the same, whatever their namespaces' definitions.
    pub fn has_equal_records(&self) -> bool {
        self.archive == self.target
    }

    pub(crate) fn of(
        archive: &Digest,
        target: &Digest,
        records: u64,
        scope: ProofScope,
        definitions: Vec<String>,
    ) -> Proof {
        let summary = |digest: &Digest| hex(&digest.summary());
        Proof {
            archive: summary(archive),
            target: summary(target),
            equal: archive == target && definitions.is_empty(),
            records,
            scope,
            definitions,
        }
    }
}

/// Which live records belong to what is restored.
#[derive(Clone)]
pub(crate) struct LiveScope {
    pub namespace: Incarnation,
    /// The namespace's name in the archive, by which tenants are told.
    pub name: Arc<str>,
    pub selection: Selection,
    pub interpreter: Arc<dyn Interpreter>,
    /// Ids of records that are not meant whatever they are, ascending.
    pub left: Arc<Vec<Vec<u8>>>,
}

impl LiveScope {
    /// True when the live record is one of those meant.
    pub fn has(&self, id: &[u8], image: &[u8], scratch: &mut String) -> bool {
        let selection = &self.selection;
        let any_tenant = selection.tenants.is_none();
        self.left.binary_search_by(|known| known.as_slice().cmp(id)).is_err()
            && (any_tenant || selection.has_tenant(self.interpreter.tenant(&self.name, image, scratch)))
            && selection.ids.as_ref().is_none_or(|ids| ids.binary_search_by(|known| known.as_slice().cmp(id)).is_ok())
            && selection.predicate.as_ref().is_none_or(|predicate| predicate(image))
    }

    /// The digest of the records of `batch` that are meant, and how many they are.
    pub fn digest(&self, batch: &RecordBatch) -> (Digest, u64) {
        let mut digest = Digest::default();
        let mut count = 0;
        let mut scratch = String::new();
        for (id, image) in batch.iter().filter(|(id, image)| self.has(id, image, &mut scratch)) {
            digest.add(self.namespace.0, id, image);
            count += 1;
        }
        (digest, count)
    }

    /// The one tenant that is meant, so that the database can do the filtering. Tenants are told by the namespace's name:
    /// under another one the database would filter by other rules, or by none.
    pub fn only_tenant(&self, target: &str) -> Option<&str> {
        if target != &*self.name {
            return None;
        }
        self.selection.tenants.as_ref().filter(|tenants| tenants.len() == 1)?.first().map(String::as_str)
    }
}

/// Reads a namespace of the target back and digests the records that are meant. Hashing runs beside reading.
pub(crate) async fn read_back(
    target: &dyn Target,
    name: &str,
    scope: &LiveScope,
    meter: &mut Meter,
    monitor: &Monitor,
) -> Result<(Digest, u64)> {
    let mut total = Digest::default();
    let mut count = 0;
    let mut hashing: JoinSet<(Digest, u64)> = JoinSet::new();
    let mut records = target.scan_unordered(name, scope.only_tenant(name)).await?;
    loop {
        monitor.check()?;
        let mut batch = RecordBatch::default();
        let more = records.next(&mut batch).await?;
        meter.add(batch.len() as u64, batch.bytes() as u64);
        let scope = scope.clone();
        hashing.spawn_blocking(move || scope.digest(&batch));
        while hashing.len() > if more { 2 } else { 0 } {
            let Some(hashed) = hashing.join_next().await else { break };
            let (digest, records) = hashed.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
            total.combine(&digest);
            count += records;
        }
        if !more {
            return Ok((total, count));
        }
    }
}
