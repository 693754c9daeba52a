//! When an entry becomes visible: open transactions are kept back until they commit. Pure: no I/O.
//!
//! ```text
//!   oplog    p1   a   p2   b   last(p)          p1, p2 and last are handed over at `last`, a and b at once
//!            P    a   C@x  b                    prepared: P and C at the tick x that C names, P ≤ x ≤ C
//! ```
//!
//! **Order.** What is handed over ascends by visible tick. While a prepared transaction is open, its tick may still turn
//! out to be anything from its preparation on: entries from there on are held, and `through` stays below.
//!
//! **Memory.** The pieces of open transactions are kept in memory until they commit, and a transaction is handed over in one
//! batch: both take what the transaction takes in the oplog. Nothing is put off to disk.
//!
//! **Resume.** The position before the first entry of the oldest transaction that is open, or of what is held.

use std::collections::{BTreeMap, HashMap};

use backstay_model::Tick;
use backstay_source::{EntryBatch, Result, Start};

use crate::interpret::oplog::{Header, Part, TransactionId};
use crate::interpret::raw;

/// Which transaction.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) session: Vec<u8>,
    pub(super) number: i64,
}

impl From<TransactionId<'_>> for Key {
    fn from(id: TransactionId<'_>) -> Key {
        Key { session: id.lsid.to_vec(), number: id.number }
    }
}

/// The pieces of a transaction so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Chain {
    pub(super) pieces: Vec<Vec<u8>>,
    /// The position before its first entry.
    pub(super) before: Tick,
    /// The tick of its preparation.
    pub(super) prepared: Option<Tick>,
}

/// What became of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is taken care of.
    Done,
    /// Earlier pieces of its transaction are not here: fetch those up to `last`, adopt them, offer the entry again.
    Missing { key: Key, last: Tick },
}

/// Entries in, visible entries out.
#[derive(Debug)]
pub(super) struct Assembler {
    start: Start,
    open: HashMap<Key, Chain>,
    /// What is visible but must wait, by tick and arrival; with the position before it.
    held: BTreeMap<(Tick, u64), (Tick, Vec<u8>)>,
    arrivals: u64,
    through: Tick,
}

impl Assembler {
    pub(super) fn new(start: Start) -> Assembler {
        let through = start.through;
        Assembler { start, open: HashMap::new(), held: BTreeMap::new(), arrivals: 0, through }
    }

    /// Takes over pieces that were fetched.
    pub(super) fn adopt(&mut self, key: Key, chain: Chain) {
        self.open.insert(key, chain);
    }

    /// Takes an entry; `before` is the tick of the entry before it in the oplog.
    pub(super) fn accept(
        &mut self,
        entry: &Header<'_>,
        raw: &[u8],
        before: Tick,
        batch: &mut EntryBatch,
    ) -> Result<Outcome> {
        let part = entry.part();
        let Some(id) = entry.transaction.filter(|_| part != Part::None) else {
            if is_new_primary(entry)? {
                // Pieces without an end are what a primary left behind when it died. Only what is prepared lives on.
                self.open.retain(|_, chain| chain.prepared.is_some());
            }
            self.emit(entry.ts, before, raw, batch);
            return Ok(Outcome::Done);
        };
        let key = Key::from(id);
        match part {
            Part::None => {}
            Part::Pending => {
                if entry.prev_op_time > Tick::ZERO && !self.open.contains_key(&key) {
                    return Ok(Outcome::Missing { key, last: entry.prev_op_time });
                }
                let chain = self.open.entry(key).or_insert_with(|| Chain { before, ..Chain::default() });
                chain.pieces.push(raw.to_vec());
                chain.prepared = entry.prepare.then_some(entry.ts);
            }
            Part::Committing if entry.prev_op_time == Tick::ZERO => self.emit(entry.ts, before, raw, batch),
            Part::Committing => return Ok(self.commit(entry.ts, key, entry.prev_op_time, raw, batch)),
            Part::Commit(at) => return Ok(self.commit(at, key, entry.prev_op_time, raw, batch)),
            Part::Abort => {
                self.open.remove(&key);
                self.release(batch);
            }
        }
        Ok(Outcome::Done)
    }

    /// Ends a batch: everything up to `position` has been read.
    pub(super) fn finish(&mut self, position: Tick, batch: &mut EntryBatch) {
        let through = self.limit().map_or(position, |limit| position.min(limit.previous()));
        self.through = self.through.max(through);
        batch.through = self.through;
        let open = self.open.values().map(|chain| chain.before);
        let held = self.held.values().map(|(before, _)| *before);
        batch.resume = open.chain(held).min().unwrap_or(position).min(position);
    }

    fn commit(&mut self, visible: Tick, key: Key, last: Tick, raw: &[u8], batch: &mut EntryBatch) -> Outcome {
        if visible <= self.start.through {
            self.open.remove(&key);
            self.release(batch);
            return Outcome::Done;
        }
        let Some(chain) = self.open.remove(&key) else {
            return Outcome::Missing { key, last };
        };
        // The order may be wrong only for a transaction that was prepared before the tail began and could not be seen
        // then; it is late, but it is not lost.
        if visible <= self.through {
            tracing::warn!(at = %visible, through = %self.through, "a prepared transaction became visible late");
        }
        for piece in &chain.pieces {
            self.emit(visible, chain.before, piece, batch);
        }
        self.emit(visible, chain.before, raw, batch);
        self.release(batch);
        Outcome::Done
    }

    fn emit(&mut self, visible: Tick, before: Tick, raw: &[u8], batch: &mut EntryBatch) {
        if visible <= self.start.through {
            return;
        }
        if self.held.is_empty() && self.limit().is_none_or(|limit| visible < limit) {
            batch.push(visible, raw);
        } else {
            self.held.insert((visible, self.arrivals), (before, raw.to_vec()));
            self.arrivals += 1;
        }
    }

    fn release(&mut self, batch: &mut EntryBatch) {
        let limit = self.limit();
        while let Some(first) = self.held.first_entry() {
            if limit.is_some_and(|limit| first.key().0 >= limit) {
                return;
            }
            let ((visible, _), (_, raw)) = first.remove_entry();
            batch.push(visible, &raw);
        }
    }

    /// The oldest preparation that is open.
    fn limit(&self) -> Option<Tick> {
        self.open.values().filter_map(|chain| chain.prepared).min()
    }
}

/// The entry that a member writes when it has become the primary.
fn is_new_primary(entry: &Header<'_>) -> Result<bool> {
    if entry.op != "n" {
        return Ok(false);
    }
    Ok(raw::find(entry.o, b"msg")?.is_some_and(|message| message.text() == Some(b"new primary")))
}

#[cfg(test)]
mod tests;
