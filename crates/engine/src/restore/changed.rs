//! The records with a change between two instants, a handful at a time, with what they were at the first.
//!
//! ```text
//!   partition n+1   loading, in a task of its own
//!   partition n     [chunk][chunk][chunk]     to whoever asks for the next
//! ```
//!
//! How many records make a chunk follows from the size of those before: a namespace may hold a million small records, or a
//! few of 16 MiB each.

use std::ops::Range;
use std::sync::Arc;

use backstay_archive::{Loaded, Partition, Selection, View};
use backstay_model::{Incarnation, RecordBatch, Tick};
use backstay_seal::Digest;
use backstay_source::Target;
use tokio::task::JoinSet;

use crate::Result;

/// How many live records are fetched at a time at most, and how many bytes they should have together.
pub(crate) const FETCH: usize = 2000;
pub(crate) const FETCH_LEN: usize = 8 << 20;
/// How many are fetched at first, when nothing is known of their size.
const FIRST: usize = 16;

/// A partition's records with a change.
struct Stretch {
    /// Ascending.
    ids: Vec<Vec<u8>>,
    then: Loaded,
}

/// Some records of a partition.
pub(super) struct Chunk {
    stretch: Arc<Stretch>,
    range: Range<usize>,
}

impl Chunk {
    /// The ids of the records with a change, ascending.
    pub fn ids(&self) -> &[Vec<u8>] {
        self.stretch.ids.get(self.range.clone()).unwrap_or_default()
    }

    /// What they were, as far as they existed; with others.
    pub fn then(&self) -> &Loaded {
        &self.stretch.then
    }
}

/// Between which instants, and of what.
#[derive(Clone)]
pub(super) struct Between {
    /// The archive as of the first instant.
    pub view: View,
    /// The second instant.
    pub now: Tick,
    pub selection: Selection,
    /// Every selected record of the first instant is read, for its digest.
    pub digest: bool,
}

/// Walks the records with a change.
pub(super) struct Changed {
    between: Between,
    partitions: std::vec::IntoIter<Partition>,
    loading: JoinSet<Result<(Digest, Stretch)>>,
    current: Option<Chunk>,
    count: usize,
    /// The digest of what was selected in the partitions so far, if it was asked for.
    pub digest: Digest,
}

impl Changed {
    pub async fn new(between: Between, namespace: Incarnation) -> Result<Changed> {
        let everything = Selection::default();
        let partitions = between.view.partitions_through(namespace, &everything, between.now).await?.into_iter();
        let mut changed = Changed {
            between,
            partitions,
            loading: JoinSet::new(),
            current: None,
            count: FIRST,
            digest: Digest::default(),
        };
        changed.load_ahead();
        Ok(changed)
    }

    fn load_ahead(&mut self) {
        if let Some(partition) = self.partitions.next() {
            let between = self.between.clone();
            self.loading.spawn(async move { between.load(&partition).await });
        }
    }

    /// The next records, and what the target holds of them now. `None` at the end.
    pub async fn next(&mut self, target: &dyn Target, name: &str) -> Result<Option<(Chunk, RecordBatch)>> {
        let Some(chunk) = self.next_chunk().await? else { return Ok(None) };
        let ids: Vec<&[u8]> = chunk.ids().iter().map(Vec::as_slice).collect();
        let live = target.fetch(name, &ids).await?;
        self.count = match live.bytes() {
            0..FETCH_LEN => (self.count * 4).min(FETCH),
            _ => (chunk.ids().len() * FETCH_LEN / live.bytes()).clamp(1, FETCH),
        };
        Ok(Some((chunk, live)))
    }

    async fn next_chunk(&mut self) -> Result<Option<Chunk>> {
        loop {
            if let Some(Chunk { stretch, range }) = &mut self.current
                && range.end < stretch.ids.len()
            {
                *range = range.end..(range.end + self.count).min(stretch.ids.len());
                return Ok(Some(Chunk { stretch: Arc::clone(stretch), range: range.clone() }));
            }
            self.current = None;
            let Some(loaded) = self.loading.join_next().await else { return Ok(None) };
            let (digest, stretch) = loaded.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
            self.digest.combine(&digest);
            self.current = Some(Chunk { stretch: Arc::new(stretch), range: 0..0 });
            self.load_ahead();
        }
    }
}

impl Between {
    async fn load(&self, partition: &Partition) -> Result<(Digest, Stretch)> {
        let digest = match self.digest {
            true => self.view.load(partition, &self.selection).await?.digest().clone(),
            false => Digest::default(),
        };
        let ids = self.view.snapshot().touched(partition, &self.selection, self.view.at(), self.now).await?;
        if ids.is_empty() {
            return Ok((digest, Stretch { ids, then: Loaded::default() }));
        }
        let by_id = Selection { ids: Some(Arc::new(ids)), ..Selection::default() };
        let then = self.view.load(partition, &by_id).await?;
        let ids = by_id.ids.map(Arc::unwrap_or_clone).unwrap_or_default();
        Ok((digest, Stretch { ids, then }))
    }
}
