//! The façade: one deployment, as the contracts see it.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use backstay_model::{IdRange, Interpreter, Protection, Tick};
use backstay_source::{
    Capabilities, Error, Namespace, Position, RecordBatch, Records, Result, Room, Source, Start, Tail, Target,
    Topology, Trial, UniqueValues, Write, WriteLatency, WriteMode, WriteReport,
};

use crate::checkup::Checkup;
use crate::connect::{Connection, ReadFrom};
use crate::feed::Feed;
use crate::interpret::scope::Include;
use crate::interpret::tenants::{Rule, Rules};
use crate::interpret::{MongoInterpreter, protection};
use crate::scan::{Owner, Request, Scan};
use crate::tail::{EventTail, OplogTail};
use crate::target::{holds_views, insertions};

/// How to reach a deployment, and what of it is protected.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The connection string.
    pub uri: String,
    /// Patterns of the namespaces that are protected; all but the server's own when empty.
    pub include: Vec<String>,
    /// Whose records are whose; the first rule that matches wins.
    pub tenants: Vec<Rule>,
    /// How changes are followed.
    pub feed: Feed,
    /// Which member to read from.
    pub read: ReadFrom,
    /// The folder for transactions that are too large for memory while they are open, sealed and without a name; the
    /// system's temporary folder when `None`.
    pub scratch: Option<PathBuf>,
}

/// A replica set. Cheap to clone: all clones share one client.
#[derive(Clone)]
pub struct MongoDeployment {
    connection: Connection,
    interpreter: Arc<MongoInterpreter>,
    protection: Protection,
    scratch: PathBuf,
}

impl MongoDeployment {
    /// Connects, within about ten seconds.
    ///
    /// # Errors
    /// [`Error::Configuration`] for a connection string, pattern or rule that cannot work, and for a server that is not
    /// (yet) a member of a replica set; [`Error::Unavailable`] when no server answers; [`Error::Denied`] for wrong
    /// credentials; [`Error::Refused`] for parts of a sharded cluster.
    pub async fn connect(options: Options) -> Result<MongoDeployment> {
        let wrong = |why| Error::Configuration { what: "the MongoDB source".to_owned(), why };
        let protection = protection::protection(options.include.iter().map(String::as_str), &options.tenants);
        let protection = Protection { feed: options.feed.recorded().to_owned(), ..protection };
        let include = Include::compile(options.include.iter().map(String::as_str)).map_err(wrong)?;
        let rules = Rules::compile(options.tenants).map_err(wrong)?;
        let interpreter = Arc::new(MongoInterpreter::new(include, rules));
        let connection = Connection::open(&options.uri, options.read, options.feed).await?;
        let scratch = options.scratch.unwrap_or_else(std::env::temp_dir);
        Ok(MongoDeployment { connection, interpreter, protection, scratch })
    }

    /// The same deployment, with whose records are whose as it was while `protection` held.
    ///
    /// # Errors
    /// [`Error::Configuration`] when `protection` cannot be made sense of.
    pub fn as_protected_by(&self, protection: &Protection) -> Result<MongoDeployment> {
        let (connection, protection, scratch) = (self.connection.clone(), protection.clone(), self.scratch.clone());
        Ok(MongoDeployment { connection, interpreter: past(&protection)?, protection, scratch })
    }
}

impl MongoDeployment {
    /// A look at the deployment for an operator: its clock, and what the credentials allow.
    ///
    /// # Errors
    /// When the server does not answer, or in a way that cannot be understood.
    pub async fn checkup(&self) -> Result<Checkup> {
        self.connection.checkup().await
    }
}

/// What explains the bytes that were captured while `protection` held.
fn past(protection: &Protection) -> Result<Arc<MongoInterpreter>> {
    let what = || "what the ledger says was protected".to_owned();
    MongoInterpreter::of(protection).map(Arc::new).map_err(|why| Error::Configuration { what: what(), why })
}

#[async_trait]
impl Source for MongoDeployment {
    fn protection(&self) -> Protection {
        self.protection.clone()
    }

    fn interpreter_of(&self, protection: &Protection) -> Result<Arc<dyn Interpreter>> {
        Ok(past(protection)? as Arc<dyn Interpreter>)
    }

    fn interpreter(&self) -> Arc<dyn Interpreter> {
        Arc::clone(&self.interpreter) as Arc<dyn Interpreter>
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { snapshot_scans: self.connection.shows_instants, ..self.connection.feed.capabilities() }
    }

    async fn discover(&self) -> Result<Topology> {
        self.connection.discover().await
    }

    async fn position(&self) -> Result<Position> {
        self.connection.position().await
    }

    async fn snapshot(&self) -> Result<Tick> {
        self.connection.snapshot().await
    }

    async fn write_latency(&self) -> Result<Option<WriteLatency>> {
        self.connection.write_latency().await
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        let scope = self.interpreter.scope();
        self.connection.lasting_namespaces(&|name| scope.namespace(name).included).await
    }

    async fn split(&self, namespace: &Namespace, bytes: u64) -> Result<Vec<IdRange>> {
        self.connection.split(namespace, bytes).await
    }

    async fn scan(&self, namespace: &Namespace, range: &IdRange, at: Tick) -> Result<Box<dyn Records>> {
        self.connection.scan_at(namespace, Some(range), at).await
    }

    async fn scan_unordered(&self, namespace: &Namespace, at: Tick) -> Result<Box<dyn Records>> {
        self.connection.scan_at(namespace, None, at).await
    }

    async fn tail(&self, start: Start) -> Result<Box<dyn Tail>> {
        let (connection, interpreter) = (self.connection.clone(), Arc::clone(&self.interpreter));
        Ok(match connection.feed {
            Feed::Oplog => Box::new(OplogTail::start(connection, interpreter, start, self.scratch.clone()).await?),
            Feed::ChangeStreams => Box::new(EventTail::start(connection, interpreter, start).await?),
        })
    }
}

#[async_trait]
impl Target for MongoDeployment {
    fn location(&self) -> String {
        self.connection.hosts.clone()
    }

    async fn definitions(&self) -> Result<Vec<Namespace>> {
        self.connection.namespaces(&|_| true).await
    }

    async fn create(&self, name: &str, definition: &[u8]) -> Result<()> {
        self.connection.create(name, definition).await
    }

    async fn build_indexes(&self, name: &str, definition: &[u8]) -> Result<()> {
        self.connection.build_indexes(name, definition).await
    }

    async fn drop_namespace(&self, name: &str) -> Result<()> {
        self.connection.drop_namespace(name).await
    }

    async fn definition_differences(&self, name: &str, definition: &[u8]) -> Result<Vec<String>> {
        self.connection.definition_differences(name, definition).await
    }

    async fn scan(&self, name: &str, range: &IdRange, tenant: Option<&str>) -> Result<Box<dyn Records>> {
        self.scan_live(name, Some(range), tenant).await
    }

    async fn scan_unordered(&self, name: &str, tenant: Option<&str>) -> Result<Box<dyn Records>> {
        self.scan_live(name, None, tenant).await
    }

    async fn fetch(&self, name: &str, ids: &[&[u8]]) -> Result<RecordBatch> {
        self.connection.fetch(name, ids).await
    }

    async fn insert(&self, name: &str, records: &RecordBatch) -> Result<WriteReport> {
        if holds_views(name) {
            return self.connection.write_views(name, &insertions(records), WriteMode::Guarded).await;
        }
        self.connection.insert(name, records).await
    }

    async fn write(&self, name: &str, writes: &[Write<'_>], mode: WriteMode) -> Result<WriteReport> {
        if holds_views(name) {
            return self.connection.write_views(name, writes, mode).await;
        }
        self.connection.write(name, writes, mode).await
    }

    async fn room(&self, name: &str) -> Result<Option<Room>> {
        self.connection.room(name).await
    }

    async fn lasting_differences(&self, name: &str, definition: &[u8]) -> Result<Vec<String>> {
        self.connection.lasting_differences(name, definition).await
    }

    async fn obstacle(&self, name: &str, definition: &[u8]) -> Result<Option<String>> {
        self.connection.obstacle(name, definition).await
    }

    async fn trial(&self, name: &str, then: &[u8], whole: bool) -> Result<Option<Box<dyn Trial>>> {
        self.connection.trial(name, then, whole).await
    }

    async fn unique_values(&self, name: &str) -> Result<UniqueValues> {
        self.connection.unique_values(name).await
    }

    async fn exchange(&self, name: &str, writes: &[Write<'_>], mode: WriteMode) -> Result<WriteReport> {
        self.connection.exchange(name, writes, mode).await
    }
}

impl MongoDeployment {
    /// Opens a scan of what is there now: of a range in order, or of everything in any order.
    async fn scan_live(&self, name: &str, range: Option<&IdRange>, tenant: Option<&str>) -> Result<Box<dyn Records>> {
        // The server makes `system.views` with the first view; a database without one has no views.
        if holds_views(name) && self.connection.listed(name).await?.is_none() {
            return Ok(Box::new(Nothing));
        }
        let known = self.interpreter.scope().namespace(name);
        let rules = &known.owner;
        let (owner, fields) = match (tenant, rules.constant()) {
            (None, _) => (None, Vec::new()),
            (Some(tenant), Some(all)) if all.as_str() == tenant => (None, Vec::new()),
            (Some(_), Some(_)) => return Ok(Box::new(Nothing)),
            (Some(tenant), None) => {
                // The tenant of what no field assigns cannot be asked for by field.
                let fields = if rules.otherwise().as_str() == tenant { Vec::new() } else { rules.paths() };
                (Some(Owner { interpreter: self.interpreter(), tenant: tenant.to_owned() }), fields)
            }
        };
        Ok(Box::new(self.connection.scan_live(name, range, owner, &fields).await?))
    }
}

impl Connection {
    /// Opens a scan of `namespace` as of `at`: of a range in order, or of everything in any order.
    async fn scan_at(&self, namespace: &Namespace, range: Option<&IdRange>, at: Tick) -> Result<Box<dyn Records>> {
        if self.feed.loses(&namespace.name).is_some() {
            return Ok(Box::new(Nothing));
        }
        let changed = || Error::NamespaceChanged { name: namespace.name.clone() };
        let (database, collection) = crate::catalog::cut(&namespace.name)?;
        let before = self.listed(&namespace.name).await?.ok_or_else(changed)?;
        let request = Request {
            database: self.client.database(database),
            collection: collection.to_owned(),
            range: range.cloned().unwrap_or_else(IdRange::all),
            ordered: range.is_some(),
            at: Some(at),
            collated: before.is_collated(),
            capped: before.is_capped(),
            live: before.is_capped() || !self.shows_instants,
            average: namespace.bytes / namespace.records.max(1),
            read: self.read.clone(),
            filter: None,
        };
        let scan = Scan::open(request, None).await?;
        // The open cursor stays with its collection, whatever becomes of the name: it is enough that the name stood for
        // the wanted one after it was opened.
        let after = self.listed(&namespace.name).await?.ok_or_else(changed)?;
        if after.incarnation()? != namespace.incarnation {
            return Err(changed());
        }
        Ok(Box::new(scan))
    }
}

/// No records.
struct Nothing;

#[async_trait]
impl Records for Nothing {
    async fn next(&mut self, batch: &mut RecordBatch) -> Result<bool> {
        batch.clear();
        Ok(false)
    }
}
