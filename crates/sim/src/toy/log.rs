//! The toy's change feed, as it lies in the database: transactions that are still open stand in it as well.

use std::collections::BTreeMap;

use backstay_model::{EntryBatch, Tick};

use super::TransactionId;

/// One position of the log.
#[derive(Clone, Debug)]
pub(super) struct Logged {
    pub position: Tick,
    pub what: What,
}

/// What stands at a position.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// Entries that are visible at once, all at this position's tick.
    Visible(Vec<Vec<u8>>),
    /// Entries of a transaction that is open.
    Prepared(TransactionId, Vec<Vec<u8>>),
    /// The transaction's entries become visible.
    Commit(TransactionId),
    /// The transaction's entries are void.
    Abort(TransactionId),
}

/// A reader of the log, with the transactions that it has seen begin and not end.
#[derive(Debug)]
pub(super) struct Reader {
    position: Tick,
    through: Tick,
    open: BTreeMap<TransactionId, Tick>,
}

impl Reader {
    /// Reads on after `resume`, and hands over what became visible after `through`.
    pub fn new(resume: Tick, through: Tick) -> Reader {
        Reader { position: resume, through, open: BTreeMap::new() }
    }

    /// Where it has read to.
    pub fn position(&self) -> Tick {
        self.position
    }

    /// Hands over what came next, up to about `limit` entries; positions are never cut in two.
    pub fn read(&mut self, log: &[Logged], limit: usize, batch: &mut EntryBatch) {
        let start = log.partition_point(|logged| logged.position <= self.position);
        for logged in &log[start..] {
            if batch.len() >= limit {
                break;
            }
            self.position = logged.position;
            match &logged.what {
                What::Visible(entries) => self.hand_over(logged.position, entries, batch),
                What::Prepared(transaction, _) => {
                    self.open.entry(*transaction).or_insert(logged.position);
                }
                What::Commit(transaction) => {
                    self.open.remove(transaction);
                    // A transaction that began before the reader did is looked up, as far back as the log goes.
                    for earlier in log.iter().take_while(|earlier| earlier.position < logged.position) {
                        match &earlier.what {
                            What::Prepared(of, entries) if of == transaction => {
                                self.hand_over(logged.position, entries, batch);
                            }
                            _ => {}
                        }
                    }
                }
                What::Abort(transaction) => {
                    self.open.remove(transaction);
                }
            }
        }
        self.through = self.through.max(self.position);
        batch.through = self.through;
        // Everything of the oldest open transaction must be read again by whoever starts anew.
        let oldest = self.open.values().map(|position| position.previous()).min();
        batch.resume = oldest.map_or(self.through, |oldest| oldest.min(self.through));
    }

    fn hand_over(&self, visible: Tick, entries: &[Vec<u8>], batch: &mut EntryBatch) {
        if visible > self.through {
            for entry in entries {
                batch.push(visible, entry);
            }
        }
    }
}
