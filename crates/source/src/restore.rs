//! Writing a target: guarded, batched, and nothing unseen.

use async_trait::async_trait;
use backstay_model::IdRange;

use crate::{Namespace, RecordBatch, Records, Result, Trial};

/// One write of a restore. `expected` is the whole current record that the plan saw; a guarded write takes effect only
/// while the record still equals it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Write<'a> {
    /// The record was missing and is created.
    Insert {
        /// The record to create.
        image: &'a [u8],
    },
    /// The record differs and is replaced.
    Replace {
        /// What the plan saw.
        expected: &'a [u8],
        /// What it becomes.
        image: &'a [u8],
    },
    /// The record should not be there and is deleted.
    Delete {
        /// What the plan saw.
        expected: &'a [u8],
    },
}

/// Whether writes are guarded by what the plan saw.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteMode {
    /// A record that changed meanwhile is left alone and reported.
    Guarded,
    /// A record that changed meanwhile is overwritten.
    Overwrite,
}

/// A write that did not take effect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// The write's place in the batch that was handed over.
    pub write: usize,
    /// True when another record holds a unique value of this one: the write may succeed once that value is given up.
    pub taken: bool,
    /// Why, in words: changed meanwhile, a unique index, a validator.
    pub why: String,
}

/// What became of a batch of writes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WriteReport {
    /// How many took effect.
    pub written: u64,
    /// Those that did not, ascending.
    pub conflicts: Vec<Conflict>,
}

/// How much more fits into a namespace before it removes its oldest records; below zero when there is too much in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Room {
    /// Records.
    pub records: i64,
    /// Bytes of records.
    pub bytes: i64,
    /// How to make it larger, as the database's own users say it.
    pub widening: String,
}

/// The unique values that a record takes up, as bytes that mean nothing else: two records with one in common cannot both
/// be there. Values may be left out: they are a hint of which write has to wait for which.
pub type UniqueValues = Box<dyn Fn(&[u8]) -> Vec<Vec<u8>> + Send + Sync>;

/// A database that can be restored into. Writes are acknowledged only when they cannot be rolled back any more.
#[async_trait]
pub trait Target: Send + Sync {
    /// Where this is, for people: host and port, without credentials.
    fn location(&self) -> String;

    /// All namespaces as they stand now, except the server's own; ascending by name.
    async fn definitions(&self) -> Result<Vec<Namespace>>;

    /// Creates the namespace `name` by a definition of the system space, without its secondary indexes, and with room for
    /// more than the definition says where records are still to be filled in.
    async fn create(&self, name: &str, definition: &[u8]) -> Result<()>;

    /// Builds the secondary indexes of a definition that the namespace `name` lacks, and takes back what room
    /// [`Target::create`] gave it beyond the definition. An index that cannot be beside those that are there is left out;
    /// [`Target::definition_differences`] names it.
    async fn build_indexes(&self, name: &str, definition: &[u8]) -> Result<()>;

    /// Drops the namespace `name` with all its records; nothing happens when there is none.
    async fn drop_namespace(&self, name: &str) -> Result<()>;

    /// In which respects the namespace `name` differs from a definition, in words; empty when it does not.
    async fn definition_differences(&self, name: &str, definition: &[u8]) -> Result<Vec<String>>;

    /// In which respects the namespace `name`, which exists, will differ from a definition when [`Target::build_indexes`] has
    /// built what it can. Nothing is written.
    async fn lasting_differences(&self, _name: &str, _definition: &[u8]) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Reads the live records of a range, ascending by id. With `tenant`, only this tenant's.
    async fn scan(&self, name: &str, range: &IdRange, tenant: Option<&str>) -> Result<Box<dyn Records>>;

    /// Reads all live records, each once, in whatever order is fastest. With `tenant`, only this tenant's.
    async fn scan_unordered(&self, name: &str, tenant: Option<&str>) -> Result<Box<dyn Records>> {
        self.scan(name, &IdRange::all(), tenant).await
    }

    /// Reads the live records with these ids (memcomparable), as far as they exist, in any order.
    async fn fetch(&self, name: &str, ids: &[&[u8]]) -> Result<RecordBatch>;

    /// Inserts records that are known to be missing, at full speed and in any order.
    async fn insert(&self, name: &str, records: &RecordBatch) -> Result<WriteReport>;

    /// Carries out writes of one namespace.
    async fn write(&self, name: &str, writes: &[Write<'_>], mode: WriteMode) -> Result<WriteReport>;

    /// How much more fits into the namespace `name`; `None` when it has no bound.
    async fn room(&self, _name: &str) -> Result<Option<Room>> {
        Ok(None)
    }

    /// What keeps records from coming back under `name` whatever they are: something else stands there by that name, or it
    /// keeps records of another shape. `definition` is that of the instant. Nothing is written.
    async fn obstacle(&self, _name: &str, _definition: &[u8]) -> Result<Option<String>> {
        Ok(None)
    }

    /// Tries records against what the namespace `name` refuses today, when that may be more than it refused by its
    /// definition `then`; `None` when it cannot be. With `whole` all its records come back, and no others stay.
    async fn trial(&self, _name: &str, _then: &[u8], _whole: bool) -> Result<Option<Box<dyn Trial>>> {
        Ok(None)
    }

    /// Which unique values records of the namespace `name` take up.
    async fn unique_values(&self, _name: &str) -> Result<UniqueValues> {
        Ok(Box::new(|_| Vec::new()))
    }

    /// Carries out writes of one namespace at one instant: all of them, or none. What one of them gives up another may
    /// take. When none was carried out the report names at least one that stood in the way; all of them, when the target
    /// cannot do this at all.
    async fn exchange(&self, _name: &str, writes: &[Write<'_>], _mode: WriteMode) -> Result<WriteReport> {
        let why = "a unique value is held by another record, and this target cannot exchange values at one instant";
        let refused = |write| Conflict { write, taken: true, why: why.to_owned() };
        Ok(WriteReport { written: 0, conflicts: (0..writes.len()).map(refused).collect() })
    }
}
