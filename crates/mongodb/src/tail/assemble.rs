//! When an entry becomes visible: open transactions are kept back until they commit. No I/O but the spool's.
//!
//! ```text
//!   oplog    p1   a   p2   b   last(p)          p1, p2 and last are handed over at `last`, a and b at once
//!            P    a   C@x  b                    prepared: P and C at the tick x that C names, P ≤ x ≤ C
//! ```
//!
//! **Order.** What is handed over ascends by visible tick. While a prepared transaction is open, its tick may still turn
//! out to be anything from its preparation on: entries from there on wait, and `through` stays below.
//!
//! **Memory.** Open transactions, and what waits for them, are kept in memory up to [`Bounds::memory`], and beyond that by
//! the [spool](super::spool). What becomes visible at once and is more than [`Bounds::batch`] is handed over in several
//! batches, of which it has all to itself:
//!
//! ```text
//!   … a │ p1 p2 continues │ p3 continues │ last │ b …          `through` passes the tick, and `resume` the
//!                                                              entries, with the last of these batches
//! ```
//!
//! **Resume.** The position before the first entry of the oldest transaction that is open, or of what waits.

use std::collections::HashMap;
use std::path::PathBuf;

use backstay_model::Tick;
use backstay_source::{EntryBatch, Result, Start};

use super::spool::{Spool, Strand};
use super::waiting::Waiting;
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
#[derive(Debug, Default)]
pub(super) struct Chain {
    pub(super) pieces: Strand,
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

/// How much is in one place at a time, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Entries that wait in memory.
    pub(super) memory: usize,
    /// Entries in a batch beyond which it takes no more of what waited.
    pub(super) batch: usize,
}

impl Default for Bounds {
    /// Room for a transaction of one entry; half a tail, so that capture fills each with two batches.
    fn default() -> Bounds {
        Bounds { memory: 16 << 20, batch: 8 << 20 }
    }
}

/// Entries in, visible entries out.
#[derive(Debug)]
pub(super) struct Assembler {
    start: Start,
    bounds: Bounds,
    open: HashMap<Key, Chain>,
    waiting: Waiting,
    spool: Spool,
    through: Tick,
    /// The last entry that was handed over.
    last: Option<Tick>,
    /// The batch goes on with the tick of the one before.
    continued: bool,
}

impl Assembler {
    /// `folder` is for what does not fit in memory.
    pub(super) fn new(start: Start, bounds: Bounds, folder: PathBuf) -> Assembler {
        Assembler {
            start,
            bounds,
            open: HashMap::new(),
            waiting: Waiting::default(),
            spool: Spool::new(folder, bounds.memory),
            through: start.through,
            last: None,
            continued: false,
        }
    }

    /// Adds a piece to a chain that is not adopted yet.
    pub(super) fn keep(&mut self, chain: &mut Chain, piece: &[u8]) -> Result<()> {
        self.spool.push(&mut chain.pieces, &[piece])?;
        if self.spool.is_over() { self.spool.spill(&mut chain.pieces) } else { Ok(()) }
    }

    /// Takes over pieces that were fetched.
    pub(super) fn adopt(&mut self, key: Key, chain: Chain) {
        if let Some(replaced) = self.open.insert(key, chain) {
            self.discard(replaced);
        }
    }

    /// Forgets the pieces of a transaction.
    pub(super) fn discard(&mut self, mut chain: Chain) {
        self.spool.discard(&mut chain.pieces);
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
                for (_, chain) in self.open.extract_if(|_, chain| chain.prepared.is_none()) {
                    let mut pieces = chain.pieces;
                    self.spool.discard(&mut pieces);
                }
            }
            self.emit(entry.ts, before, raw, batch)?;
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
                chain.prepared = entry.prepare.then_some(entry.ts);
                self.spool.push(&mut chain.pieces, &[raw])?;
                self.keep_within_budget()?;
            }
            Part::Committing if entry.prev_op_time == Tick::ZERO => self.emit(entry.ts, before, raw, batch)?,
            Part::Committing => return self.commit(entry.ts, key, entry.prev_op_time, raw, batch),
            Part::Commit(at) => return self.commit(at, key, entry.prev_op_time, raw, batch),
            Part::Abort => self.forget(&key, batch)?,
        }
        Ok(Outcome::Done)
    }

    /// True when entries wait for nothing but room in a batch: they come before any that is not accepted yet.
    pub(super) fn is_behind(&self) -> bool {
        self.ready().is_some()
    }

    /// Hands over what waits for nothing but room.
    pub(super) fn release(&mut self, batch: &mut EntryBatch) -> Result<()> {
        while let Some(next) = self.ready() {
            let has_room = match self.last.filter(|_| !batch.is_empty()) {
                None => true,
                Some(last) if last == next.visible => batch.bytes() < self.bounds.batch,
                Some(_) if self.continued => false,
                Some(_) => batch.bytes() as u64 + next.bytes <= self.bounds.batch as u64,
            };
            if !has_room {
                return Ok(());
            }
            self.waiting.hand_over(&mut self.spool, batch)?;
            self.last = Some(next.visible);
        }
        Ok(())
    }

    /// Ends a batch: everything up to `position` has been read.
    pub(super) fn finish(&mut self, position: Tick, batch: &mut EntryBatch) {
        let next = self.waiting.next().map(|next| next.visible);
        let limit = self.limit().into_iter().chain(next).min();
        let through = limit.map_or(position, |limit| position.min(limit.previous()));
        self.through = self.through.max(through);
        batch.through = self.through;
        let open = self.open.values().map(|chain| chain.before);
        batch.resume = open.chain(self.waiting.before()).min().unwrap_or(position).min(position);
        self.continued = !batch.is_empty() && self.ready().is_some_and(|next| Some(next.visible) == self.last);
        batch.continues = self.continued;
    }

    fn commit(&mut self, visible: Tick, key: Key, last: Tick, raw: &[u8], batch: &mut EntryBatch) -> Result<Outcome> {
        if visible <= self.start.through {
            self.forget(&key, batch)?;
            return Ok(Outcome::Done);
        }
        let Some(mut chain) = self.open.remove(&key) else {
            return Ok(Outcome::Missing { key, last });
        };
        // The order may be wrong only for a transaction that was prepared before the tail began and could not be seen
        // then; it is late, but it is not lost.
        if visible <= self.through {
            tracing::warn!(at = %visible, through = %self.through, "a prepared transaction became visible late");
        }
        self.spool.push(&mut chain.pieces, &[raw])?;
        self.waiting.add(visible, chain.before, chain.pieces);
        self.release(batch)?;
        self.keep_within_budget()?;
        Ok(Outcome::Done)
    }

    fn forget(&mut self, key: &Key, batch: &mut EntryBatch) -> Result<()> {
        if let Some(chain) = self.open.remove(key) {
            self.discard(chain);
        }
        self.release(batch)
    }

    fn emit(&mut self, visible: Tick, before: Tick, raw: &[u8], batch: &mut EntryBatch) -> Result<()> {
        if visible <= self.start.through {
            return Ok(());
        }
        if self.waiting.is_empty() && self.limit().is_none_or(|limit| visible < limit) {
            batch.push(visible, raw);
            self.last = Some(visible);
            return Ok(());
        }
        self.waiting.add_single(&mut self.spool, visible, before, raw)?;
        self.keep_within_budget()
    }

    /// What comes next, if nothing that is still open may come before it.
    fn ready(&self) -> Option<super::waiting::Next> {
        let next = self.waiting.next()?;
        self.limit().is_none_or(|limit| next.visible < limit).then_some(next)
    }

    /// The oldest preparation that is open.
    fn limit(&self) -> Option<Tick> {
        self.open.values().filter_map(|chain| chain.prepared).min()
    }

    fn keep_within_budget(&mut self) -> Result<()> {
        while self.spool.is_over() {
            let strands = self.open.values_mut().map(|chain| &mut chain.pieces).chain(self.waiting.strands());
            match strands.max_by_key(|strand| strand.spillable()) {
                Some(longest) if longest.spillable() > 0 => self.spool.spill(longest)?,
                _ => return Ok(()),
            }
        }
        Ok(())
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
