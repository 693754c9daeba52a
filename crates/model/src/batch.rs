//! Many records or entries in one allocation.
//!
//! A batch is one buffer and a list of positions in it: no record costs an allocation of its own.

use std::ops::Range;

use crate::Tick;

/// Records as a scan yields them: memcomparable ids and whole images.
#[derive(Debug, Default, Clone)]
pub struct RecordBatch {
    data: Vec<u8>,
    records: Vec<(Range<usize>, Range<usize>)>,
}

impl RecordBatch {
    /// An empty batch with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> RecordBatch {
        RecordBatch { data: Vec::with_capacity(bytes), records: Vec::new() }
    }

    /// Makes room for `records` more records of `bytes` in all, so that adding them moves nothing.
    pub fn reserve(&mut self, records: usize, bytes: usize) {
        self.data.reserve_exact(bytes);
        self.records.reserve_exact(records);
    }

    /// Adds a record: `encode_id` appends the id's memcomparable form to the buffer it is given. A failed encoding
    /// leaves the batch as it was.
    pub fn push_with<E>(
        &mut self,
        image: &[u8],
        encode_id: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.data.len();
        if let Err(error) = encode_id(&mut self.data) {
            self.data.truncate(start);
            return Err(error);
        }
        let middle = self.data.len();
        self.data.extend_from_slice(image);
        self.records.push((start..middle, middle..self.data.len()));
        Ok(())
    }

    /// Adds a record whose id is already encoded.
    pub fn push(&mut self, id: &[u8], image: &[u8]) {
        let start = self.data.len();
        self.data.extend_from_slice(id);
        let middle = self.data.len();
        self.data.extend_from_slice(image);
        self.records.push((start..middle, middle..self.data.len()));
    }

    /// The records, `(id, image)`, in the order they were added.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.records.iter().map(|(id, image)| (&self.data[id.clone()], &self.data[image.clone()]))
    }

    /// The record at `index`, `(id, image)`.
    pub fn get(&self, index: usize) -> Option<(&[u8], &[u8])> {
        self.records.get(index).map(|(id, image)| (&self.data[id.clone()], &self.data[image.clone()]))
    }

    /// The last record.
    pub fn last(&self) -> Option<(&[u8], &[u8])> {
        self.records.last().map(|(id, image)| (&self.data[id.clone()], &self.data[image.clone()]))
    }

    /// How many records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// True without records.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of ids and images together.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self) {
        self.data.clear();
        self.records.clear();
    }
}

/// Raw entries of a change feed, in the order in which they became visible.
///
/// An entry of a transaction is handed over only when the transaction commits, and then carries the tick of the commit.
/// What shares a tick may be more than fits in memory: then it comes in several batches, all but the last of which
/// [continue](EntryBatch::continues).
#[derive(Debug, Default, Clone)]
pub struct EntryBatch {
    data: Vec<u8>,
    entries: Vec<(Tick, Range<usize>)>,
    /// Every change visible at or before this tick has been handed over, in this batch or an earlier one.
    pub through: Tick,
    /// Where a new reader must start to see everything after `through`: at or before it when a transaction is open.
    pub resume: Tick,
    /// The next batch begins with more of the last entry's tick, and ends with it or continues. Nothing of that tick may
    /// count before all of it has come. While nothing comes, a batch is empty and continues as well.
    pub continues: bool,
}

impl EntryBatch {
    /// Makes room for `bytes` more of entries, so that adding them moves nothing.
    pub fn reserve(&mut self, bytes: usize) {
        self.data.reserve_exact(bytes);
    }

    /// Adds a raw entry that became visible at `visible`.
    pub fn push(&mut self, visible: Tick, entry: &[u8]) {
        let start = self.data.len();
        self.data.extend_from_slice(entry);
        self.entries.push((visible, start..self.data.len()));
    }

    /// Adds an entry that `append` appends to the buffer it is given. A failure leaves the batch as it was.
    pub fn push_with<E>(&mut self, visible: Tick, append: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let start = self.data.len();
        if let Err(error) = append(&mut self.data) {
            self.data.truncate(start);
            return Err(error);
        }
        self.entries.push((visible, start..self.data.len()));
        Ok(())
    }

    /// The entries, `(visible, raw)`.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Tick, &[u8])> {
        self.entries.iter().map(|(visible, range)| (*visible, &self.data[range.clone()]))
    }

    /// How many entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True without entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of all entries together.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    /// Empties the batch and keeps its memory; all but the entries stays.
    pub fn clear(&mut self) {
        self.data.clear();
        self.entries.clear();
    }
}
