//! Reading a source: a base in key ranges, and its changes.

use std::sync::Arc;

use async_trait::async_trait;
use backstay_model::{IdRange, Incarnation, Interpreter, NamespaceKind, Protection, Tick};

use crate::{EntryBatch, RecordBatch, Result};

/// What the planner may promise for a source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// Scans read one instant, whose tick is known. Otherwise all namespaces are read as those that are
    /// [`NamespaceKind::Ordered`], see [`Source::scan`].
    pub snapshot_scans: bool,
    /// Every change is seen, in order, with its tick, but for those that [`Capabilities::hidden`] names: any instant can be
    /// restored.
    pub complete_feed: bool,
    /// What changes without the feed showing it, in words; the next scan finds it. Empty where nothing does.
    pub hidden: &'static [&'static str],
}

/// What a source is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topology {
    /// The source's own lasting identity (a replica set's id): a vault belongs to one.
    pub identity: String,
    /// What stands for the identity where the credentials do not show it, and others may have as well (a replica set's
    /// name). `None` where the identity can always be seen.
    pub stand_in: Option<String>,
    /// Product and version, for people.
    pub product: String,
    /// The ordered change feeds, by name.
    pub streams: Vec<String>,
}

/// Where a change feed begins and ends at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// The oldest position that can still be read; `None` where the source does not tell.
    pub oldest: Option<Tick>,
    /// The newest position that cannot be rolled back any more.
    pub committed: Tick,
}

/// A namespace as it stands now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Namespace {
    /// The full name, `database.collection` for MongoDB.
    pub name: String,
    /// Its identity.
    pub incarnation: Incarnation,
    /// What it is.
    pub kind: NamespaceKind,
    /// Its definition in the source's own form, as the system space keeps it.
    pub definition: Vec<u8>,
    /// About how many bytes of records it holds, for splitting and progress.
    pub bytes: u64,
    /// About how many records it holds.
    pub records: u64,
}

/// How long the source's own users have waited for their writes, summed up since some fixed moment: two readings give
/// the mean of what lies between.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WriteLatency {
    /// Writes so far.
    pub writes: u64,
    /// Microseconds that they took, all together.
    pub micros: u64,
}

/// Where to start following a change feed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Start {
    /// Read entries after this position; it must still be there. One of those that [`Tail`] gave, or a tick that the source
    /// gave as [`Position::committed`].
    pub resume: Tick,
    /// Hand over only changes visible after this tick: those up to it are held already.
    pub through: Tick,
}

/// A database that can be protected.
#[async_trait]
pub trait Source: Send + Sync {
    /// Explains this source's bytes.
    fn interpreter(&self) -> Arc<dyn Interpreter>;

    /// What of the source is protected, and by which tenant rules. A source that has no choice in that says so by the
    /// default.
    fn protection(&self) -> Protection {
        Protection::default()
    }

    /// Explains this source's bytes as they were captured while `protection` held. [`crate::Error::Configuration`] when
    /// that cannot be made sense of.
    fn interpreter_of(&self, _protection: &Protection) -> Result<Arc<dyn Interpreter>> {
        Ok(self.interpreter())
    }

    /// What the planner may promise.
    fn capabilities(&self) -> Capabilities;

    /// Identity, version and change feeds.
    async fn discover(&self) -> Result<Topology>;

    /// Where the change feed begins and ends at the moment.
    async fn position(&self) -> Result<Position>;

    /// A tick at which [`Source::scan`] can read now, and that cannot be rolled back any more.
    async fn snapshot(&self) -> Result<Tick>;

    /// How long writes take at the moment, for reading no faster than the source bears. `None` where it does not tell.
    async fn write_latency(&self) -> Result<Option<WriteLatency>> {
        Ok(None)
    }

    /// The namespaces that the configuration includes, as they stand now, ascending by name. Whatever is there from the
    /// beginning of the call to its end is among them, also what is renamed meanwhile: a change that the feed holds of it
    /// has nothing to stand on otherwise.
    async fn namespaces(&self) -> Result<Vec<Namespace>>;

    /// Cuts a namespace into ranges of about `bytes` each, ascending and without holes.
    async fn split(&self, namespace: &Namespace, bytes: u64) -> Result<Vec<IdRange>>;

    /// Reads the records of a range as of exactly `at`, in ascending order of id. Of a namespace that is
    /// [`NamespaceKind::Ordered`], which a source may be unable to show as of an instant, and of any where
    /// [`Capabilities::snapshot_scans`] says so: each record as of some tick
    /// between `at` and the end of the reading, and none that was there all that time is left out.
    async fn scan(&self, namespace: &Namespace, range: &IdRange, at: Tick) -> Result<Box<dyn Records>>;

    /// Reads all records as of exactly `at`, each once, in whatever order is fastest; those of a namespace that is
    /// [`NamespaceKind::Ordered`] in the order in which they arrived, and as [`Source::scan`] says of it.
    async fn scan_unordered(&self, namespace: &Namespace, at: Tick) -> Result<Box<dyn Records>> {
        self.scan(namespace, &IdRange::all(), at).await
    }

    /// Follows the change feed from `start`. [`crate::Error::RolledOver`] when it no longer reaches back that far.
    async fn tail(&self, start: Start) -> Result<Box<dyn Tail>>;
}

/// Records as a scan yields them.
#[async_trait]
pub trait Records: Send {
    /// Fills `batch` (cleared first) with the next records; false at the end. Dropping it midway closes its cursor.
    async fn next(&mut self, batch: &mut RecordBatch) -> Result<bool>;
}

/// A change feed being followed.
#[async_trait]
pub trait Tail: Send {
    /// Fills `batch` (cleared first) with what came next. Returns within about a second even when nothing came, with
    /// an empty batch whose `through` may still have moved. A batch fits in memory, whatever the source did: what shares a
    /// tick comes in as many as it takes ([`EntryBatch::continues`]).
    async fn next(&mut self, batch: &mut EntryBatch) -> Result<()>;

    /// True when what was read is known to go on from where it was to be opened, in the same history. Some tails open only where
    /// it does, and for some the first changes tell.
    fn has_joined(&self) -> bool {
        true
    }

    /// Where to resume when of the last batch only what came before `at` is held, which was read from `before` on.
    fn resume_before(&self, _at: Tick, before: Start) -> Tick {
        before.resume
    }
}
