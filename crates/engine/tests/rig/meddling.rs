//! A toy's connection through which things happen while somebody works: clients go on writing, and targets lie.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use backstay_model::{IdRange, Interpreter, Tick};
use backstay_sim::toy::{Record, ToySource, TransactionId};
use backstay_sim::workload::Action;
use backstay_source::{
    Capabilities, EntryBatch, Namespace, Position, RecordBatch, Records, Result, Source, Start, Tail, Target, Topology,
    Write, WriteMode, WriteReport,
};

type Deed = Box<dyn FnOnce(&ToySource) + Send>;

/// What happens behind the caller's back; shared by all that the connection hands out.
#[derive(Default)]
struct Behind {
    /// One is done at every call of a source.
    actions: VecDeque<u64>,
    open: Vec<TransactionId>,
    /// One is done before every batch of writes.
    before_writes: VecDeque<Deed>,
    /// A colour that is read in the place of every other, when the target lies.
    lie: Option<String>,
}

/// A connection that meddles.
#[derive(Clone)]
pub struct Meddling {
    inner: ToySource,
    behind: Arc<Mutex<Behind>>,
}

impl Meddling {
    pub fn new(inner: &ToySource) -> Meddling {
        Meddling { inner: inner.clone(), behind: Arc::default() }
    }

    /// Lets clients do this, one thing at every call.
    pub fn busy_with(self, numbers: &[u64]) -> Meddling {
        self.behind().actions.extend(numbers);
        self
    }

    /// Lets this happen before the next batch of writes that has nothing to happen before it yet.
    pub fn before_write(self, deed: impl FnOnce(&ToySource) + Send + 'static) -> Meddling {
        self.behind().before_writes.push_back(Box::new(deed));
        self
    }

    /// Lets every colour read as this one.
    pub fn lying(self, colour: &str) -> Meddling {
        self.behind().lie = Some(colour.to_owned());
        self
    }

    /// Does what is left, and ends open transactions.
    pub fn settle(&self) {
        while self.act() {}
        for transaction in std::mem::take(&mut self.behind().open) {
            self.inner.toy().commit(transaction);
        }
    }

    fn act(&self) -> bool {
        let mut behind = self.behind();
        let Some(number) = behind.actions.pop_front() else { return false };
        Action::of(number).carry_out(self.inner.toy(), &mut behind.open);
        true
    }

    fn behind(&self) -> MutexGuard<'_, Behind> {
        self.behind.lock().unwrap()
    }

    fn colour(&self, batch: RecordBatch) -> RecordBatch {
        let Some(lie) = self.behind().lie.clone() else { return batch };
        let mut other = RecordBatch::default();
        for (id, image) in batch.iter() {
            let record = Record::parse(image).unwrap();
            let has = record.get("colour").is_some();
            other.push(id, &if has { record.with("colour", &lie).image() } else { image.to_vec() });
        }
        other
    }
}

#[async_trait]
impl Source for Meddling {
    fn interpreter(&self) -> Arc<dyn Interpreter> {
        self.inner.interpreter()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn discover(&self) -> Result<Topology> {
        self.act();
        self.inner.discover().await
    }

    async fn position(&self) -> Result<Position> {
        self.act();
        self.inner.position().await
    }

    async fn snapshot(&self) -> Result<Tick> {
        self.act();
        self.inner.snapshot().await
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        self.act();
        let namespaces = self.inner.namespaces().await;
        self.act();
        namespaces
    }

    async fn split(&self, namespace: &Namespace, _: u64) -> Result<Vec<IdRange>> {
        self.act();
        self.inner.split(namespace, 60).await
    }

    async fn scan(&self, namespace: &Namespace, range: &IdRange, at: Tick) -> Result<Box<dyn Records>> {
        self.act();
        let records = Source::scan(&self.inner, namespace, range, at).await?;
        Ok(Box::new(Watched { inner: records, of: self.clone() }))
    }

    async fn tail(&self, start: Start) -> Result<Box<dyn Tail>> {
        self.act();
        let tail = self.inner.tail(start).await?;
        Ok(Box::new(WatchedTail { inner: tail, of: self.clone() }))
    }
}

struct Watched {
    inner: Box<dyn Records>,
    of: Meddling,
}

#[async_trait]
impl Records for Watched {
    async fn next(&mut self, batch: &mut RecordBatch) -> Result<bool> {
        self.of.act();
        let more = self.inner.next(batch).await?;
        *batch = self.of.colour(std::mem::take(batch));
        Ok(more)
    }
}

struct WatchedTail {
    inner: Box<dyn Tail>,
    of: Meddling,
}

#[async_trait]
impl Tail for WatchedTail {
    async fn next(&mut self, batch: &mut EntryBatch) -> Result<()> {
        self.of.act();
        self.inner.next(batch).await
    }
}

#[async_trait]
impl Target for Meddling {
    fn location(&self) -> String {
        self.inner.location()
    }

    async fn definitions(&self) -> Result<Vec<Namespace>> {
        self.inner.definitions().await
    }

    async fn create(&self, name: &str, definition: &[u8]) -> Result<()> {
        self.inner.create(name, definition).await
    }

    async fn build_indexes(&self, name: &str, definition: &[u8]) -> Result<()> {
        self.inner.build_indexes(name, definition).await
    }

    async fn drop_namespace(&self, name: &str) -> Result<()> {
        self.inner.drop_namespace(name).await
    }

    async fn definition_differences(&self, name: &str, definition: &[u8]) -> Result<Vec<String>> {
        self.inner.definition_differences(name, definition).await
    }

    async fn scan(&self, name: &str, range: &IdRange, tenant: Option<&str>) -> Result<Box<dyn Records>> {
        let records = Target::scan(&self.inner, name, range, tenant).await?;
        Ok(Box::new(Watched { inner: records, of: self.clone() }))
    }

    async fn fetch(&self, name: &str, ids: &[&[u8]]) -> Result<RecordBatch> {
        Ok(self.colour(self.inner.fetch(name, ids).await?))
    }

    async fn insert(&self, name: &str, records: &RecordBatch) -> Result<WriteReport> {
        self.meddle();
        self.inner.insert(name, records).await
    }

    async fn write(&self, name: &str, writes: &[Write<'_>], mode: WriteMode) -> Result<WriteReport> {
        self.meddle();
        Target::write(&self.inner, name, writes, mode).await
    }
}

impl Meddling {
    fn meddle(&self) {
        let deed = self.behind().before_writes.pop_front();
        if let Some(deed) = deed {
            deed(&self.inner);
        }
    }
}
