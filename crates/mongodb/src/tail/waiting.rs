//! What is visible and not handed over yet: because something older may still become visible, or because a batch is full.
//!
//! ```text
//!   transactions  by tick and arrival, each a strand of its entries   ─┐
//!                                                                      ├─▶ the oldest first, entry by entry
//!   single entries  one strand for all: they come in order            ─┘
//! ```

use std::collections::BTreeMap;

use backstay_model::Tick;
use backstay_source::{EntryBatch, Result};

use super::spool::{Spool, Strand};

/// The next that is to be handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) visible: Tick,
    /// Bytes of all that becomes visible with it: of the rest of its transaction.
    pub(super) bytes: u64,
}

/// Entries that wait, in the order in which they become visible.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    transactions: BTreeMap<(Tick, u64), Whole>,
    /// The first of the single entries, taken from the strand.
    single: Option<Single>,
    singles: Strand,
    arrivals: u64,
}

/// A transaction that has committed.
#[derive(Debug)]
struct Whole {
    /// The position before its first entry.
    before: Tick,
    entries: Strand,
}

#[derive(Debug)]
struct Single {
    place: (Tick, u64),
    /// The position before it.
    before: Tick,
    raw: Vec<u8>,
}

const WORD: usize = 8;

impl Waiting {
    /// True when nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.single.is_none() && self.transactions.is_empty()
    }

    /// Adds a transaction that becomes visible at `visible`; `before` is the position before its first entry.
    pub(super) fn add(&mut self, visible: Tick, before: Tick, entries: Strand) {
        let place = self.place(visible);
        self.transactions.insert(place, Whole { before, entries });
    }

    /// Adds an entry of its own; they must come in order.
    pub(super) fn add_single(&mut self, spool: &mut Spool, visible: Tick, before: Tick, raw: &[u8]) -> Result<()> {
        let place = self.place(visible);
        if self.single.is_none() {
            self.single = Some(Single { place, before, raw: raw.to_vec() });
            return Ok(());
        }
        let [visible, arrival, before] = [visible.to_u64(), place.1, before.to_u64()].map(u64::to_le_bytes);
        spool.push(&mut self.singles, &[&visible, &arrival, &before, raw])
    }

    fn place(&mut self, visible: Tick) -> (Tick, u64) {
        self.arrivals += 1;
        (visible, self.arrivals)
    }

    /// What comes next.
    pub(super) fn next(&self) -> Option<Next> {
        let whole = self.transactions.first_key_value();
        match (&self.single, whole) {
            (Some(single), whole) if whole.is_none_or(|(place, _)| single.place < *place) => {
                Some(Next { visible: single.place.0, bytes: single.raw.len() as u64 })
            }
            (_, Some(((visible, _), whole))) => Some(Next { visible: *visible, bytes: whole.entries.len() }),
            (_, None) => None,
        }
    }

    /// Hands over the entry that comes next.
    pub(super) fn hand_over(&mut self, spool: &mut Spool, batch: &mut EntryBatch) -> Result<()> {
        let whole = self.transactions.first_entry();
        if let Some(single) = &self.single
            && whole.as_ref().is_none_or(|whole| single.place < *whole.key())
        {
            batch.push(single.place.0, &single.raw);
            return self.next_single(spool);
        }
        let Some(mut whole) = whole else { return Ok(()) };
        let visible = whole.key().0;
        let entries = &mut whole.get_mut().entries;
        if !entries.is_empty() {
            batch.push_with(visible, |data| spool.pop(entries, data).map(drop))?;
        }
        if whole.get().entries.is_empty() {
            whole.remove();
        }
        Ok(())
    }

    fn next_single(&mut self, spool: &mut Spool) -> Result<()> {
        let Some(Single { mut raw, .. }) = self.single.take() else { return Ok(()) };
        raw.clear();
        if spool.pop(&mut self.singles, &mut raw)? {
            let word = |at: usize| {
                let bytes = raw.get(at * WORD..).and_then(|rest| rest.first_chunk());
                bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
            };
            let place = (Tick::from_u64(word(0)), word(1));
            let before = Tick::from_u64(word(2));
            raw.drain(..3 * WORD);
            self.single = Some(Single { place, before, raw });
        }
        Ok(())
    }

    /// The oldest position before anything that waits.
    pub(super) fn before(&self) -> Option<Tick> {
        let transactions = self.transactions.values().map(|whole| whole.before);
        transactions.chain(self.single.as_ref().map(|single| single.before)).min()
    }

    /// The strands that entries wait in.
    pub(super) fn strands(&mut self) -> impl Iterator<Item = &mut Strand> {
        let transactions = self.transactions.values_mut().map(|whole| &mut whole.entries);
        transactions.chain(std::iter::once(&mut self.singles))
    }
}
