//! The toy as a source, with faults on demand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use backstay_model::{IdRange, Incarnation, Interpreter, NamespaceKind, Tick};
use backstay_source::{
    Capabilities, EntryBatch, Error, Namespace, Position, RecordBatch, Records, Result, Source, Start, Tail, Topology,
};

use super::ToyInterpreter;
use super::database::Toy;
use super::log::Reader;

/// What goes wrong at a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ToyFault {
    /// The connection is lost.
    Unavailable,
    /// The snapshot is not held any more.
    SnapshotTooOld,
}

/// A connection to a toy. Clones share the toy and its faults.
#[derive(Clone)]
pub struct ToySource {
    pub(super) toy: Arc<Toy>,
    faults: Arc<Mutex<Faults>>,
    batch: usize,
}

#[derive(Default)]
struct Faults {
    calls: u64,
    planned: BTreeMap<u64, ToyFault>,
}

impl ToySource {
    /// A connection to `toy`.
    pub fn new(toy: Arc<Toy>) -> ToySource {
        ToySource { toy, faults: Arc::default(), batch: 16 }
    }

    /// The same, handing over at most this many records or entries at a time.
    pub fn with_batch(mut self, batch: usize) -> ToySource {
        self.batch = batch.max(1);
        self
    }

    /// The toy behind it.
    pub fn toy(&self) -> &Arc<Toy> {
        &self.toy
    }

    /// Lets the call number `call` from now on fail, counted from 1 over all calls and their batches.
    pub fn fail_call(&self, call: u64, fault: ToyFault) {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let number = faults.calls + call;
        faults.planned.insert(number, fault);
    }

    /// How many calls there have been.
    pub fn calls(&self) -> u64 {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).calls
    }

    pub(super) fn call(&self, what: &str) -> Result<()> {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.calls += 1;
        let number = faults.calls;
        match faults.planned.remove(&number) {
            None => Ok(()),
            Some(ToyFault::Unavailable) => {
                Err(Error::Unavailable { what: what.to_owned(), why: "the connection was lost".to_owned() })
            }
            Some(ToyFault::SnapshotTooOld) => Err(Error::SnapshotTooOld(self.toy.now())),
        }
    }

    pub(super) fn list_namespaces(&self) -> Vec<Namespace> {
        let names = self.toy.namespaces();
        let state = self.toy.lock();
        let mut namespaces = Vec::with_capacity(names.len());
        for (name, incarnation) in names {
            let Some(definition) = state.definition(incarnation) else { continue };
            let records = state.oracle.records(incarnation, Tick::MAX);
            namespaces.push(Namespace {
                name,
                incarnation,
                kind: NamespaceKind::Collection,
                definition: definition.image(),
                bytes: records.iter().map(|record| record.image.len() as u64).sum(),
                records: records.len() as u64,
            });
        }
        namespaces
    }

    pub(super) fn records(
        &self,
        namespace: Incarnation,
        range: &IdRange,
        at: Tick,
        tenant: Option<&str>,
    ) -> ToyRecords {
        let mut records = self.toy.lock().oracle.records(namespace, at);
        records.retain(|record| range.contains(&record.id) && tenant.is_none_or(|tenant| record.tenant == tenant));
        let records = records.into_iter().map(|record| (record.id, record.image)).collect();
        ToyRecords { source: self.clone(), records, next: 0 }
    }
}

#[async_trait]
impl Source for ToySource {
    fn interpreter(&self) -> Arc<dyn Interpreter> {
        Arc::new(ToyInterpreter)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { snapshot_scans: true, complete_feed: true, hidden: &[] }
    }

    async fn discover(&self) -> Result<Topology> {
        self.call("look at the toy")?;
        Ok(Topology {
            identity: "toy".to_owned(),
            stand_in: None,
            product: "Toy 1".to_owned(),
            streams: vec!["toy".to_owned()],
        })
    }

    async fn position(&self) -> Result<Position> {
        self.call("ask for the position")?;
        let state = self.toy.lock();
        Ok(Position { oldest: Some(state.rolled_over), committed: state.clock() })
    }

    async fn snapshot(&self) -> Result<Tick> {
        self.call("take a snapshot")?;
        Ok(self.toy.now())
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        self.call("list the namespaces")?;
        Ok(self.list_namespaces())
    }

    async fn split(&self, namespace: &Namespace, bytes: u64) -> Result<Vec<IdRange>> {
        self.call("split a namespace")?;
        let records = self.toy.lock().oracle.records(namespace.incarnation, Tick::MAX);
        let mut points = Vec::new();
        let mut sum = 0;
        for record in records {
            if sum >= bytes.max(1) {
                points.push(record.id.clone());
                sum = 0;
            }
            sum += record.image.len() as u64;
        }
        Ok(IdRange::all().split_at(&points))
    }

    async fn scan(&self, namespace: &Namespace, range: &IdRange, at: Tick) -> Result<Box<dyn Records>> {
        self.call("scan")?;
        let state = self.toy.lock();
        if at < state.oldest_snapshot {
            return Err(Error::SnapshotTooOld(at));
        }
        let as_then = state.oracle.state(Incarnation::SYSTEM, &namespace.incarnation.record_id(), Tick::MAX).is_some();
        drop(state);
        if !as_then || self.toy.namespaces().get(&namespace.name) != Some(&namespace.incarnation) {
            return Err(Error::NamespaceChanged { name: namespace.name.clone() });
        }
        Ok(Box::new(self.records(namespace.incarnation, range, at, None)))
    }

    async fn tail(&self, start: Start) -> Result<Box<dyn Tail>> {
        self.call("follow the log")?;
        let rolled_over = self.toy.lock().rolled_over;
        if start.resume < rolled_over {
            return Err(Error::RolledOver { wanted: start.resume, oldest: rolled_over });
        }
        Ok(Box::new(ToyTail { source: self.clone(), reader: Reader::new(start.resume, start.through) }))
    }
}

/// Records on their way out.
pub(super) struct ToyRecords {
    source: ToySource,
    records: Vec<(Vec<u8>, Vec<u8>)>,
    next: usize,
}

#[async_trait]
impl Records for ToyRecords {
    async fn next(&mut self, batch: &mut RecordBatch) -> Result<bool> {
        self.source.call("read records")?;
        batch.clear();
        let end = self.records.len().min(self.next + self.source.batch);
        for (id, image) in &self.records[self.next..end] {
            batch.push(id, image);
        }
        self.next = end;
        Ok(!batch.is_empty())
    }
}

struct ToyTail {
    source: ToySource,
    reader: Reader,
}

#[async_trait]
impl Tail for ToyTail {
    async fn next(&mut self, batch: &mut EntryBatch) -> Result<()> {
        self.source.call("read the log")?;
        batch.clear();
        if self.reader.position() >= self.source.toy.now() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let state = self.source.toy.lock();
        if self.reader.position() < state.rolled_over {
            return Err(Error::RolledOver { wanted: self.reader.position(), oldest: state.rolled_over });
        }
        self.reader.read(&state.log, self.source.batch, batch);
        Ok(())
    }
}
