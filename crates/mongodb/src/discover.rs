//! What a deployment is, where its change feed stands, and which instant can be read.
//!
//! ```text
//!   oplog   ├──────────────────────────────┤·······┤
//!         oldest                       committed  latest      (a primary may lose what lies past `committed`)
//! ```
//!
//! `committed` is the majority commit point: the optime of an entry that a majority of the set has on disk.

use std::time::Duration;

use backstay_model::Tick;
use backstay_source::{Error, Position, Result, Topology};
use bson::oid::ObjectId;
use bson::{Document, RawDocumentBuf, Timestamp, doc};
use mongodb::options::{ReadConcern, SelectionCriteria};

use crate::connect::Connection;
use crate::failure::{is_snapshot_gone, oplog_closed, translate, unexpected_reply};
use crate::feed::Feed;
use crate::latency::UNWANTED;

/// How long to wait until the newest write of this moment is held by a majority.
const COMMIT_LIMIT: Duration = Duration::from_secs(10);
/// How long to wait until a snapshot can be read, on a set that has just started.
const SNAPSHOT_LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);

/// A tick of the server's cluster time.
pub(crate) fn tick(timestamp: Timestamp) -> Tick {
    Tick::new(timestamp.time, timestamp.increment)
}

/// The server's form of a tick.
pub(crate) fn timestamp(tick: Tick) -> Timestamp {
    Timestamp { time: tick.seconds(), increment: tick.ordinal() }
}

impl Connection {
    pub(crate) async fn discover(&self) -> Result<Topology> {
        let version = self.version().await?;
        Ok(Topology {
            identity: self.identity().await?,
            stand_in: Some(self.set.clone()),
            product: format!("MongoDB {version}"),
            streams: vec![self.set.clone()],
        })
    }

    pub(crate) async fn version(&self) -> Result<String> {
        let build = self.command("admin", doc! { "buildInfo": 1 }, "asking for the server's version").await?;
        let version = build.get_str("version").map_err(|_| unexpected_reply("asking for the version", "version"))?;
        Ok(version.to_owned())
    }

    /// The replica set's id, which members share and which survives elections, restarts and new hosts. Where the
    /// credentials allow neither of the two ways to learn it: the set's name.
    async fn identity(&self) -> Result<String> {
        let id = |config: &Document| {
            let settings = config.get_document("settings").ok()?;
            settings.get_object_id("replicaSetId").ok().map(|id| id.to_hex())
        };
        match self.command("admin", doc! { "replSetGetConfig": 1 }, "asking for the replica set's id").await {
            Ok(reply) => {
                if let Some(id) = reply.get_document("config").ok().and_then(id) {
                    return Ok(id);
                }
            }
            // Asked another time it may be told.
            Err(unavailable @ Error::Unavailable { .. }) => return Err(unavailable),
            Err(_) => {}
        }
        let stored = self.client.database("local").collection::<Document>("system.replset").find_one(doc! {}).await;
        match stored {
            Ok(config) => Ok(config.as_ref().and_then(id).unwrap_or_else(|| self.set.clone())),
            Err(error) => match translate("reading the replica set's configuration", &error) {
                unavailable @ Error::Unavailable { .. } => Err(unavailable),
                _ => Ok(self.set.clone()),
            },
        }
    }

    pub(crate) async fn position(&self) -> Result<Position> {
        let oldest = match self.feed {
            Feed::Oplog => Some(self.oldest().await.map_err(oplog_closed)?),
            Feed::ChangeStreams => self.told_oldest().await?,
        };
        Ok(Position { oldest, committed: self.committed().await? })
    }

    /// The newest write that cannot be lost any more.
    pub(crate) async fn committed(&self) -> Result<Tick> {
        self.last_write("majorityOpTime").await
    }

    /// The oldest entry of the primary's oplog by its own account, which does not ask for the right to read it.
    pub(crate) async fn told_oldest(&self) -> Result<Option<Tick>> {
        let mut command = doc! { "serverStatus": 1, "oplog": 1 };
        for section in UNWANTED {
            command.insert(section, 0);
        }
        match self.command("admin", command, "asking how far the oplog reaches back").await {
            Ok(status) => {
                let oplog = status.get_document("oplog").ok();
                Ok(oplog.and_then(|oplog| oplog.get_timestamp("earliestOptime").ok()).map(tick))
            }
            Err(Error::Refused { .. } | Error::Denied { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The oldest entry of the oplog, on the member that reads go to.
    pub(crate) async fn oldest(&self) -> Result<Tick> {
        let what = "reading the start of the oplog";
        let found = self
            .oplog()
            .find_one(doc! {})
            .projection(doc! { "ts": 1 })
            .sort(doc! { "$natural": 1 })
            .selection_criteria(self.read.clone())
            .await
            .map_err(|error| translate(what, &error))?;
        let entry = found.ok_or_else(|| unexpected_reply(what, "entry"))?;
        Ok(tick(entry.get_timestamp("ts").map_err(|_| unexpected_reply(what, "ts"))?))
    }

    /// The oplog, read to the majority point.
    pub(crate) fn oplog(&self) -> mongodb::Collection<RawDocumentBuf> {
        let options = mongodb::options::CollectionOptions::builder().read_concern(ReadConcern::majority()).build();
        self.client.database("local").collection_with_options("oplog.rs", options)
    }

    /// `opTime` is the newest write of the primary, `majorityOpTime` the newest that cannot be lost any more. A primary
    /// that has just been elected does not know the latter yet: it is waited for.
    async fn last_write(&self, field: &str) -> Result<Tick> {
        let mut waited = Duration::ZERO;
        loop {
            let hello = self.hello().await?;
            let optime = hello.get_document("lastWrite").and_then(|last| last.get_document(field));
            if let Ok(ts) = optime.and_then(|optime| optime.get_timestamp("ts")) {
                return Ok(tick(ts));
            }
            if waited >= COMMIT_LIMIT {
                let why = "the primary does not know yet which writes a majority holds".to_owned();
                return Err(Error::Unavailable { what: format!("asking {} for its position", self.hosts), why });
            }
            tokio::time::sleep(POLL).await;
            waited += POLL;
        }
    }

    /// Which primary there is, and of which election. One server without a set around it has none.
    pub(crate) async fn reign(&self) -> Result<Option<ObjectId>> {
        Ok(self.hello().await?.get_object_id("electionId").ok())
    }

    /// Waits until a majority holds every definition that the primary of `reign` has made or changed so far. False when it
    /// is the primary no longer: then what it showed may never have been.
    pub(crate) async fn lasts(&self, reign: Option<ObjectId>) -> Result<bool> {
        let latest = self.last_write("opTime").await?;
        let mut waited = Duration::ZERO;
        loop {
            let committed = self.last_write("majorityOpTime").await?;
            if self.reign().await? != reign {
                return Ok(false);
            }
            if committed >= latest {
                return Ok(true);
            }
            // A set that is short of members may have no majority for long: what its primary took meanwhile are changes
            // of records, as a rule, and these do not count here.
            if waited >= COMMIT_LIMIT {
                if !self.defines_after(committed).await? {
                    return Ok(self.reign().await? == reign);
                }
                let why = "it changed a collection or an index, and a majority of the members does not have that yet";
                let what = format!("listing the collections of the primary of {}", self.hosts);
                return Err(Error::Unavailable { what, why: why.to_owned() });
            }
            tokio::time::sleep(POLL).await;
            waited += POLL;
        }
    }

    /// Whether the primary's oplog has a command after `committed`, whoever else has it.
    async fn defines_after(&self, committed: Tick) -> Result<bool> {
        let oplog = self.client.database("local").collection::<RawDocumentBuf>("oplog.rs");
        let found = oplog.find_one(doc! { "ts": { "$gt": timestamp(committed) }, "op": "c" }).await;
        match found.map_err(|error| translate("reading the end of the oplog", &error)) {
            // Who may not look must expect it.
            Err(Error::Denied { .. }) if self.feed == Feed::ChangeStreams => Ok(true),
            found => Ok(found?.is_some()),
        }
    }

    /// A tick that every write acknowledged before this call lies at or below, that a majority holds, and that a
    /// snapshot read accepts now. A set that cannot reach its majority within ten seconds yields the majority point
    /// as it is: a write that only waits for one member may then lie above it.
    pub(crate) async fn snapshot(&self) -> Result<Tick> {
        let latest = self.last_write("opTime").await?;
        let mut waited = Duration::ZERO;
        let mut at = self.last_write("majorityOpTime").await?;
        while at < latest && waited < COMMIT_LIMIT {
            tokio::time::sleep(POLL).await;
            waited += POLL;
            at = self.last_write("majorityOpTime").await?;
        }
        if !self.shows_instants {
            return Ok(at);
        }
        let mut waited = Duration::ZERO;
        loop {
            match self.probe(at).await {
                Ok(()) => return Ok(at),
                Err(error) if is_snapshot_gone(&error) && waited < SNAPSHOT_LIMIT => {
                    // The server's history moves on with the oplog. A note makes an idle set move at once; without
                    // the right to write one, the server's own heartbeat entry comes every ten seconds.
                    let note = doc! { "appendOplogNote": 1, "data": { "msg": "backstay snapshot" } };
                    let _not_needed = self.client.database("admin").run_command(note).await;
                    let pause = POLL * 25;
                    tokio::time::sleep(pause).await;
                    waited += pause;
                    at = self.last_write("majorityOpTime").await?;
                }
                Err(error) if is_snapshot_gone(&error) => return Err(Error::SnapshotTooOld(at)),
                Err(error) => match translate("taking a snapshot", &error) {
                    // Without the right to read that collection there is nothing to probe with.
                    Error::Denied { .. } => return Ok(at),
                    other => return Err(other),
                },
            }
        }
    }

    /// Reads a collection that every server has.
    async fn probe(&self, at: Tick) -> mongodb::error::Result<()> {
        let find = doc! {
            "find": "system.version",
            "limit": 1,
            "singleBatch": true,
            "readConcern": { "level": "snapshot", "atClusterTime": timestamp(at) },
        };
        let primary = SelectionCriteria::ReadPreference(mongodb::options::ReadPreference::Primary);
        for read in [primary, self.read.clone()] {
            self.client.database("admin").run_command(find.clone()).selection_criteria(read).await?;
        }
        Ok(())
    }
}
