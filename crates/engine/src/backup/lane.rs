//! One piece of a base, being read.
//!
//! A large namespace is read in ranges of ids, in order: what has been read is a stretch, a segment can say that it
//! covers it, and an interrupted backup goes on behind it. A small one is read whole, in the order of the server's
//! storage, which is half again as fast; its segments say which ids they hold, and only the last one says that the
//! namespace is complete. Interrupted before that, it is read anew.
//!
//! A namespace that keeps the order in which its records arrived is always read whole, in that order, and as it is
//! while it is read: a source need not be able to show it as of an instant. What changes meanwhile is in the feed, and
//! applying it to a record that has it already makes no difference.

use std::ops::Bound;

use backstay_model::{IdRange, NamespaceKind, RecordBatch, Tick, World};
use backstay_source::{Error as SourceError, Namespace, Records, Source};

use crate::backup::ranges::end_before;
use crate::scan::{ATTEMPTS, Clock, RangeScan};
use crate::{Monitor, Result};

/// What is read in one go.
pub(super) enum Piece {
    /// A range of ids, in order.
    Range(IdRange),
    /// The whole namespace, in any order.
    Whole,
}

/// A piece that is being read.
pub(super) struct Lane<'a> {
    source: &'a dyn Source,
    world: &'a dyn World,
    pub namespace: &'a Namespace,
    reading: Reading<'a>,
}

enum Reading<'a> {
    Range {
        scan: RangeScan<'a>,
        /// Where the part that no segment covers yet begins.
        uncovered_from: Bound<Vec<u8>>,
        end: Bound<Vec<u8>>,
    },
    Whole {
        at: Tick,
        records: Option<Box<dyn Records>>,
        /// How many records the last batch came after.
        position: u32,
        /// How many the batches so far held.
        read: u32,
        failures: u32,
        /// The lowest and the highest id that were read and that no segment names yet.
        seen: Option<(Vec<u8>, Vec<u8>)>,
    },
}

impl<'a> Lane<'a> {
    pub fn new(
        source: &'a dyn Source,
        world: &'a dyn World,
        namespace: &'a Namespace,
        piece: Piece,
        at: Tick,
    ) -> Lane<'a> {
        let reading = match piece {
            Piece::Whole => Reading::whole(at, 0),
            Piece::Range(range) => Reading::range(source, world, namespace, range, at),
        };
        Lane { source, world, namespace, reading }
    }

    /// Fills `batch` with what comes next; false at the end. A whole namespace whose reading is disturbed is read anew,
    /// in order: what was read before is in the archive twice, as of two ticks, and the newer counts.
    pub async fn next(&mut self, batch: &mut RecordBatch, clock: &mut Clock, monitor: &Monitor) -> Result<bool> {
        monitor.check()?;
        while let Reading::Whole { at, records, position, read, failures, seen } = &mut self.reading {
            match read_whole(self.source, self.namespace, *at, records, batch).await {
                Ok(more) => {
                    *position = *read;
                    *read = read.saturating_add(u32::try_from(batch.len()).unwrap_or(u32::MAX));
                    for (id, _) in batch.iter() {
                        widen(seen, id);
                    }
                    return Ok(more);
                }
                Err(error @ (SourceError::SnapshotTooOld(_) | SourceError::Unavailable { .. })) => {
                    tracing::info!(%error, namespace = self.namespace.name, "reading it anew");
                    let failures = *failures + 1;
                    let at = clock.renew(self.source, self.world).await?;
                    if self.namespace.kind == NamespaceKind::Ordered {
                        // Its order is to be seen in one reading.
                        if failures > ATTEMPTS {
                            return Err(error.into());
                        }
                        monitor.sleep(std::time::Duration::from_millis(250 << failures.min(5))).await;
                        self.reading = Reading::whole(at, failures);
                        continue;
                    }
                    self.reading = Reading::range(self.source, self.world, self.namespace, IdRange::all(), at);
                }
                Err(error) => return Err(error.into()),
            }
        }
        match &mut self.reading {
            Reading::Range { scan, .. } => scan.next(batch, Some(clock), monitor).await,
            Reading::Whole { .. } => unreachable!("a whole namespace was read above, or is read in order now"),
        }
    }

    /// The tick that the last batch was read at.
    pub fn at(&self) -> Tick {
        match &self.reading {
            Reading::Range { scan, .. } => scan.at(),
            Reading::Whole { at, .. } => *at,
        }
    }

    /// How many records came before the last batch, in the order in which they arrived; for namespaces that keep one.
    pub fn position(&self) -> Option<u32> {
        match &self.reading {
            Reading::Whole { position, .. } if self.namespace.kind == NamespaceKind::Ordered => Some(*position),
            _ => None,
        }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> IdRange {
        match &self.reading {
            Reading::Range { scan, .. } => scan.rest().clone(),
            Reading::Whole { .. } => IdRange::all(),
        }
    }

    /// What was read and no segment names yet: for the segment being collected. `None` when nothing was.
    pub fn read_uncovered(&mut self) -> Option<IdRange> {
        match &mut self.reading {
            Reading::Range { scan, uncovered_from, .. } => {
                let from = &scan.rest().from;
                if from == uncovered_from {
                    return None;
                }
                let to = end_before(from);
                let from = std::mem::replace(uncovered_from, from.clone());
                Some(IdRange { from, to })
            }
            Reading::Whole { seen, .. } => {
                let (lowest, highest) = seen.take()?;
                Some(IdRange { from: Bound::Included(lowest), to: Bound::Included(highest) })
            }
        }
    }

    /// What the last segment covers when the piece has been read to its end.
    pub fn rest_uncovered(&self) -> IdRange {
        match &self.reading {
            Reading::Range { uncovered_from, end, .. } => IdRange { from: uncovered_from.clone(), to: end.clone() },
            Reading::Whole { .. } => IdRange::all(),
        }
    }
}

impl<'a> Reading<'a> {
    fn whole(at: Tick, failures: u32) -> Reading<'a> {
        Reading::Whole { at, records: None, position: 0, read: 0, failures, seen: None }
    }

    fn range(
        source: &'a dyn Source,
        world: &'a dyn World,
        namespace: &'a Namespace,
        range: IdRange,
        at: Tick,
    ) -> Reading<'a> {
        let (uncovered_from, end) = (range.from.clone(), range.to.clone());
        Reading::Range { scan: RangeScan::new(source, world, namespace, range, at), uncovered_from, end }
    }
}

async fn read_whole(
    source: &dyn Source,
    namespace: &Namespace,
    at: Tick,
    records: &mut Option<Box<dyn Records>>,
    batch: &mut RecordBatch,
) -> Result<bool, SourceError> {
    let records = match records {
        Some(records) => records,
        None => records.insert(source.scan_unordered(namespace, at).await?),
    };
    records.next(batch).await
}

fn widen(seen: &mut Option<(Vec<u8>, Vec<u8>)>, id: &[u8]) {
    match seen {
        None => *seen = Some((id.to_vec(), id.to_vec())),
        Some((lowest, _)) if id < lowest.as_slice() => *lowest = id.to_vec(),
        Some((_, highest)) if id > highest.as_slice() => {
            highest.clear();
            highest.extend_from_slice(id);
        }
        Some(_) => {}
    }
}
