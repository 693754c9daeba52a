//! Carrying out writes in batches, a few at a time, and dealing with conflicts.

use backstay_source::{Conflict, Target, Write, WriteMode, WriteReport};
use futures::stream::{FuturesUnordered, StreamExt};

use crate::restore::ConflictPolicy;
use crate::{Error, Result};

/// Writes in a batch.
const BATCH: usize = 1000;
/// Bytes in a batch.
const BATCH_LEN: usize = 8 << 20;
/// Batches on their way at the same time.
const LANES: usize = 4;

/// A write that owns its bytes.
pub(crate) enum OwnedWrite {
    Insert { id: Vec<u8>, image: Vec<u8> },
    Replace { id: Vec<u8>, expected: Vec<u8>, image: Vec<u8> },
    Delete { id: Vec<u8>, expected: Vec<u8> },
}

impl OwnedWrite {
    fn borrow(&self) -> Write<'_> {
        match self {
            OwnedWrite::Insert { image, .. } => Write::Insert { image },
            OwnedWrite::Replace { expected, image, .. } => Write::Replace { expected, image },
            OwnedWrite::Delete { expected, .. } => Write::Delete { expected },
        }
    }

    fn id(&self) -> &[u8] {
        match self {
            OwnedWrite::Insert { id, .. } | OwnedWrite::Replace { id, .. } | OwnedWrite::Delete { id, .. } => id,
        }
    }

    /// When it is carried out, among the writes of a partition.
    fn turn(&self) -> u8 {
        match self {
            OwnedWrite::Delete { .. } => 0,
            OwnedWrite::Replace { .. } => 1,
            OwnedWrite::Insert { .. } => 2,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            OwnedWrite::Insert { image, .. } => image.len(),
            OwnedWrite::Replace { expected, image, .. } => expected.len() + image.len(),
            OwnedWrite::Delete { expected, .. } => expected.len(),
        }
    }
}

/// What became of the writes.
#[derive(Default)]
pub(crate) struct Written {
    pub written: u64,
    pub skipped: u64,
}

/// Writes one namespace of the target.
pub(crate) struct Writer<'a> {
    target: &'a dyn Target,
    name: String,
    policy: ConflictPolicy,
}

impl<'a> Writer<'a> {
    pub fn new(target: &'a dyn Target, name: &str, policy: ConflictPolicy) -> Writer<'a> {
        Writer { target, name: name.to_owned(), policy }
    }

    /// Carries out `writes`: deletes, then replacements, then inserts, so that a unique value is given up before another
    /// record takes it. `display` gives a record's id in words.
    pub async fn carry_out(
        &self,
        mut writes: Vec<OwnedWrite>,
        display: &(dyn Fn(&[u8]) -> String + Sync),
    ) -> Result<Written> {
        writes.sort_by_key(OwnedWrite::turn);
        let mut done = Written::default();
        for same in writes.chunk_by(|a, b| a.turn() == b.turn()) {
            let written = self.at_once(same, display).await?;
            done.written += written.written;
            done.skipped += written.skipped;
        }
        Ok(done)
    }

    async fn at_once(&self, writes: &[OwnedWrite], display: &(dyn Fn(&[u8]) -> String + Sync)) -> Result<Written> {
        let mut done = Written::default();
        let mut batches = cut(writes).into_iter();
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < LANES
                && let Some(batch) = batches.next()
            {
                running.push(self.one_batch(batch, display));
            }
            let Some(result) = running.next().await else { return Ok(done) };
            let written = result?;
            done.written += written.written;
            done.skipped += written.skipped;
        }
    }

    async fn one_batch(&self, batch: &[OwnedWrite], display: &(dyn Fn(&[u8]) -> String + Sync)) -> Result<Written> {
        let writes: Vec<Write<'_>> = batch.iter().map(OwnedWrite::borrow).collect();
        let WriteReport { written, conflicts } = self.target.write(&self.name, &writes, WriteMode::Guarded).await?;
        let Some(first) = conflicts.first() else { return Ok(Written { written, skipped: 0 }) };
        match self.policy {
            ConflictPolicy::Skip => Ok(Written { written, skipped: conflicts.len() as u64 }),
            ConflictPolicy::Abort => Err(self.conflict(batch, conflicts.len(), first, display)),
            ConflictPolicy::Overwrite => {
                let again: Vec<&OwnedWrite> = conflicts.iter().filter_map(|c| batch.get(c.write)).collect();
                let writes: Vec<Write<'_>> = again.iter().map(|write| write.borrow()).collect();
                let report = self.target.write(&self.name, &writes, WriteMode::Overwrite).await?;
                match report.conflicts.first() {
                    None => Ok(Written { written: written + report.written, skipped: 0 }),
                    Some(first) => {
                        let id = again.get(first.write).map_or(String::new(), |write| display(write.id()));
                        Err(Error::Conflict {
                            namespace: self.name.clone(),
                            count: report.conflicts.len(),
                            first: id,
                            why: first.why.clone(),
                        })
                    }
                }
            }
        }
    }

    fn conflict(
        &self,
        batch: &[OwnedWrite],
        count: usize,
        first: &Conflict,
        display: &(dyn Fn(&[u8]) -> String + Sync),
    ) -> Error {
        let id = batch.get(first.write).map_or(String::new(), |write| display(write.id()));
        Error::Conflict { namespace: self.name.clone(), count, first: id, why: first.why.clone() }
    }
}

fn cut(writes: &[OwnedWrite]) -> Vec<&[OwnedWrite]> {
    let mut batches = Vec::new();
    let mut start = 0;
    let mut bytes = 0;
    for (at, write) in writes.iter().enumerate() {
        if at > start && (at - start >= BATCH || bytes + write.bytes() > BATCH_LEN) {
            batches.push(&writes[start..at]);
            start = at;
            bytes = 0;
        }
        bytes += write.bytes();
    }
    if start < writes.len() {
        batches.push(&writes[start..]);
    }
    batches
}
