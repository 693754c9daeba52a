//! Writing a complete base: several pieces are read at a time, and while a segment is collected, the one before is
//! encoded, and the one before that stored.
//!
//! ```text
//!   lanes ──▶ collect n+2 ──▶ encode n+1 (all cores) ──▶ store n (disk or network), commit n
//! ```
//!
//! Disk and ledger are waited for only while something is being encoded.

use std::sync::Arc;

use backstay_archive::{BaseSegment, BaseWriter, EncodedBase, Vault};
use backstay_ledger::Fact;
use backstay_model::{IdRange, Incarnation, Interpreter, NamespaceKind, RecordBatch, Tenant, Tick, crash_point};
use backstay_source::{Error as SourceError, Namespace, Source};
use tokio::task::JoinSet;

use crate::backup::lane::{Lane, Piece};
use crate::backup::{BackupReport, find_again};
use crate::monitor::Meter;
use crate::scan::{Clock, RangeScan};
use crate::{Error, Monitor, Result};

/// Segments on their way to the ledger, at most one in each stage.
#[derive(Default)]
struct Belt {
    /// `None` when there was nothing to encode.
    encoding: JoinSet<backstay_archive::Result<Option<EncodedBase>>>,
    storing: JoinSet<backstay_archive::Result<BaseSegment>>,
}

/// Writing a complete base.
pub(super) struct BaseJob<'a> {
    pub vault: &'a Vault,
    pub source: &'a dyn Source,
    pub interpreter: Arc<dyn Interpreter>,
    pub scan: [u8; 16],
    pub monitor: &'a Monitor,
    pub meter: Meter,
    pub report: BackupReport,
}

impl BaseJob<'_> {
    /// Reads `work` in `lanes` at a time and commits segment by segment.
    pub async fn run(
        &mut self,
        namespaces: &[Namespace],
        work: Vec<(&Namespace, Piece)>,
        from: Tick,
        clock: &mut Clock,
        lanes: usize,
    ) -> Result<()> {
        let mut writer = BaseWriter::new(self.vault, self.scan);
        self.push_definitions(&mut writer, namespaces, from);
        let mut belt = Belt::default();
        let mut queue = work.into_iter();
        let mut open: Vec<Lane<'_>> = Vec::new();
        loop {
            while open.len() < lanes
                && let Some((namespace, piece)) = queue.next()
            {
                let at = clock.fresh(self.source, self.vault.repository().world().as_ref()).await?;
                open.push(Lane::new(self.source, self.vault.repository().world().as_ref(), namespace, piece, at));
            }
            if open.is_empty() {
                break;
            }
            // The lanes take turns; each has its own cursor, which fetches ahead while the others are served.
            let mut still_open = Vec::with_capacity(open.len());
            for mut lane in open {
                let mut batch = RecordBatch::default();
                match lane.next(&mut batch, clock, self.monitor).await {
                    Ok(more) => {
                        self.push(&mut writer, lane.namespace, lane.at(), lane.position(), batch);
                        if more {
                            still_open.push(lane);
                        } else {
                            if lane.namespace.kind == NamespaceKind::Ordered {
                                // It was read as it is now: the base is consistent from no earlier tick on.
                                clock.renew(self.source, self.vault.repository().world().as_ref()).await?;
                            }
                            writer.cover(lane.namespace.incarnation, lane.rest_uncovered());
                        }
                    }
                    // Whoever dropped or renamed it left an event in the feed, which is archived from before the scan.
                    Err(Error::Source(SourceError::NamespaceChanged { name })) => {
                        tracing::info!(name, "dropped or renamed while it was read");
                        self.read_moved(&mut writer, lane.namespace, lane.rest(), clock).await?;
                        writer.cover(lane.namespace.incarnation, lane.rest_uncovered());
                    }
                    Err(error) => return Err(error),
                }
            }
            open = still_open;
            if writer.is_full() {
                for lane in &mut open {
                    if let Some(range) = lane.read_uncovered() {
                        writer.cover(lane.namespace.incarnation, range);
                    }
                }
                self.hand_over(&mut writer, &mut belt).await?;
            }
        }
        self.hand_over(&mut writer, &mut belt).await?;
        self.empty(&mut belt).await
    }

    /// Definitions are kept as of the tick from which the feed is held: changes after it are applied on top, and applying
    /// one that the definition has already makes no difference.
    fn push_definitions(&self, writer: &mut BaseWriter, namespaces: &[Namespace], from: Tick) {
        let mut batch = RecordBatch::default();
        for namespace in namespaces {
            batch.push(&namespace.incarnation.record_id(), &namespace.definition);
        }
        writer.push(Incarnation::SYSTEM, from, batch, |_, owner| owner(Tenant::SYSTEM_NAME));
        writer.cover(Incarnation::SYSTEM, IdRange::all());
    }

    fn push(
        &mut self,
        writer: &mut BaseWriter,
        namespace: &Namespace,
        at: Tick,
        position: Option<u32>,
        batch: RecordBatch,
    ) {
        let bytes: u64 = batch.iter().map(|(_, image)| image.len() as u64).sum();
        self.report.records += batch.len() as u64;
        self.report.source_bytes += bytes;
        self.meter.add(batch.len() as u64, bytes);
        let mut scratch = String::new();
        let tenant = |image: &[u8], owner: &mut dyn FnMut(&str)| {
            owner(self.interpreter.tenant(&namespace.name, image, &mut scratch));
        };
        match position {
            Some(position) => writer.push_in_order(namespace.incarnation, at, position, batch, tenant),
            None => writer.push(namespace.incarnation, at, batch, tenant),
        }
    }

    /// Reads the rest of a range of a namespace that was dropped or renamed, under its new name if it has one. When it
    /// has none, its records are held for no instant before the drop: the clock moves on, and with it the instant from
    /// which the base is consistent.
    async fn read_moved(
        &mut self,
        writer: &mut BaseWriter,
        namespace: &Namespace,
        mut rest: IdRange,
        clock: &mut Clock,
    ) -> Result<()> {
        let world = self.vault.repository().world().clone();
        loop {
            let moved = find_again(self.source, namespace).await?;
            let at = clock.renew(self.source, world.as_ref()).await?;
            let Some(moved) = moved else { return Ok(()) };
            let mut scan = RangeScan::new(self.source, world.as_ref(), &moved, rest.clone(), at);
            loop {
                let mut batch = RecordBatch::default();
                match scan.next(&mut batch, Some(clock), self.monitor).await {
                    Ok(more) => {
                        self.push(writer, &moved, scan.at(), None, batch);
                        if !more {
                            if moved.kind == NamespaceKind::Ordered {
                                clock.renew(self.source, world.as_ref()).await?;
                            }
                            return Ok(());
                        }
                    }
                    Err(Error::Source(SourceError::NamespaceChanged { .. })) => break,
                    Err(error) => return Err(error),
                }
            }
            rest = scan.rest().clone();
        }
    }

    /// Hands what was collected over to be encoded, once the segment before has been.
    async fn hand_over(&mut self, writer: &mut BaseWriter, belt: &mut Belt) -> Result<()> {
        let encoded = next_of(&mut belt.encoding).await?.flatten();
        belt.encoding.spawn(writer.encode());
        self.store(encoded, belt).await
    }

    /// Waits for everything that is on the belt.
    async fn empty(&mut self, belt: &mut Belt) -> Result<()> {
        let encoded = next_of(&mut belt.encoding).await?.flatten();
        self.store(encoded, belt).await?;
        self.note_stored(belt).await
    }

    /// Has a segment stored and committed, once the one before has been.
    async fn store(&mut self, encoded: Option<EncodedBase>, belt: &mut Belt) -> Result<()> {
        let Some(encoded) = encoded else { return Ok(()) };
        self.note_stored(belt).await?;
        let vault = self.vault.clone();
        belt.storing.spawn(async move {
            let segment = encoded.store().await?;
            crash_point("backup.segment-stored");
            vault.commit(|_| Ok(vec![Fact::SegmentAdded(segment.info.clone())])).await?;
            crash_point("backup.segment-committed");
            Ok(segment)
        });
        Ok(())
    }

    async fn note_stored(&mut self, belt: &mut Belt) -> Result<()> {
        if let Some(segment) = next_of(&mut belt.storing).await? {
            self.report.stored_bytes += segment.info.bytes;
        }
        Ok(())
    }
}

/// Waits for a stage of the belt; `None` when nothing is in it.
async fn next_of<T: 'static>(stage: &mut JoinSet<backstay_archive::Result<T>>) -> Result<Option<T>> {
    match stage.join_next().await {
        Some(done) => Ok(Some(done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?)),
        None => Ok(None),
    }
}
