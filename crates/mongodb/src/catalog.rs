//! The namespaces of a deployment, as they stand now.
//!
//! ```text
//!   listDatabases ─▶ listCollections (per database) ─▶ listIndexes, dataSize, listCollections (per collection, some at
//!                                                      a time): is it still called so?
//! ```
//!
//! The server's own databases and collections are left out, but for what belongs to the data: `system.views` (the
//! definitions of views, each a document), `system.js`, and `system.buckets.*` (the records of time series). A view or a
//! time series as such is not a namespace: its definition or its buckets are. Of the database `admin`, users and roles
//! are namespaces for whoever asks for them.

use backstay_model::Incarnation;
use backstay_source::{Error, Namespace, Result};
use bson::spec::BinarySubtype;
use bson::{Binary, Document, RawDocumentBuf, doc};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use mongodb::options::SelectionCriteria;

use crate::connect::{Connection, ask};
use crate::failure::{code, translate, unexpected_reply};
use crate::feed::Feed;
use crate::interpret::definition;
use crate::interpret::event::views_uuid;
use crate::interpret::oplog::{self, is_internal};
use crate::interpret::scope::{ROLES, USERS};

/// How many collections to ask about at the same time.
const CONCURRENCY: usize = 16;
const NAMESPACE_NOT_FOUND: i32 = 26;
/// How often the primary may change while its collections are listed.
const ELECTIONS: u32 = 5;
/// How often a collection may be given another name while it is described.
const RENAMES: u32 = 20;

/// What the buckets of a time series are called, before the name of the series.
pub(crate) const BUCKETS: &str = "system.buckets.";
/// An empty document.
const NO_OPTIONS: [u8; 5] = [5, 0, 0, 0, 0];

/// What the server lists about one collection.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub(crate) database: String,
    pub(crate) collection: String,
    /// The element of `listCollections`: `{name, type, options, info, idIndex}`.
    pub(crate) entry: RawDocumentBuf,
    feed: Feed,
}

impl Listed {
    pub(crate) fn name(&self) -> String {
        format!("{}.{}", self.database, self.collection)
    }

    pub(crate) fn incarnation(&self) -> Result<Incarnation> {
        Ok(oplog::incarnation(&self.uuid()?))
    }

    /// The definition in the archive's form.
    pub(crate) fn definition(&self, indexes: &[RawDocumentBuf]) -> Result<Vec<u8>> {
        if let Some(why) = self.feed.loses(&self.name()) {
            return Ok(definition::lost(&self.name(), &self.uuid()?, why)?);
        }
        let options = self.entry.get_document("options").map_or(&NO_OPTIONS[..], |options| options.as_bytes());
        let indexes = indexes.iter().map(|index| index.as_bytes());
        Ok(definition::build(&self.name(), &self.uuid()?, options, indexes)?)
    }

    /// Its own, but for a collection that its feed knows by another.
    fn uuid(&self) -> Result<[u8; 16]> {
        if self.feed == Feed::ChangeStreams && self.collection == "system.views" {
            return Ok(views_uuid(&self.database));
        }
        let info = self.entry.get_document("info").ok();
        let uuid = info.and_then(|info| info.get_binary("uuid").ok()).map(|binary| binary.bytes);
        let bytes: Option<[u8; 16]> = uuid.and_then(|bytes| bytes.try_into().ok());
        let missing = || unexpected_reply(&format!("listing {}", self.name()), "info.uuid");
        bytes.ok_or_else(missing)
    }

    /// True when ids are compared by other rules than byte by byte.
    pub(crate) fn is_collated(&self) -> bool {
        let options = self.entry.get_document("options").ok();
        let collation = options.and_then(|options| options.get_document("collation").ok());
        collation.is_some_and(|collation| collation.get_str("locale").ok() != Some("simple"))
    }

    /// True when it keeps the order in which its records arrived, and removes the oldest.
    pub(crate) fn is_capped(&self) -> bool {
        self.entry.get_document("options").is_ok_and(|options| options.get_bool("capped").unwrap_or(false))
    }

    fn is_data(&self) -> bool {
        let is_collection = !matches!(self.entry.get_str("type"), Ok("view" | "timeseries"));
        if is_internal(&self.database) {
            return matches!(self.name().as_str(), USERS | ROLES);
        }
        let own = self.collection.starts_with("system.")
            && !(matches!(self.collection.as_str(), "system.views" | "system.js")
                || self.collection.starts_with(BUCKETS));
        is_collection && !own
    }
}

/// Cuts a full name at its first dot.
pub(crate) fn cut(name: &str) -> Result<(&str, &str)> {
    name.split_once('.').filter(|(database, collection)| !database.is_empty() && !collection.is_empty()).ok_or_else(
        || Error::Configuration {
            what: format!("the namespace “{name}”"),
            why: "a full name is DATABASE.COLLECTION".to_owned(),
        },
    )
}

impl Connection {
    /// As [`Connection::namespaces`], and a majority holds what they are: a primary that has lost its majority shows
    /// collections and indexes that nobody will ever have had.
    pub(crate) async fn lasting_namespaces(&self, included: &(dyn Fn(&str) -> bool + Sync)) -> Result<Vec<Namespace>> {
        for _ in 0..ELECTIONS {
            let reign = self.reign().await?;
            let namespaces = self.namespaces(included).await?;
            if self.lasts(reign).await? {
                return Ok(namespaces);
            }
        }
        let why = "the primary changed every time".to_owned();
        Err(Error::Unavailable { what: format!("listing the collections at {}", self.hosts), why })
    }

    /// All namespaces that `included` accepts, ascending by name, as the primary shows them.
    pub(crate) async fn namespaces(&self, included: &(dyn Fn(&str) -> bool + Sync)) -> Result<Vec<Namespace>> {
        let list = doc! { "listDatabases": 1, "nameOnly": true };
        let reply = self.command("admin", list, "listing the databases").await?;
        let databases =
            reply.get_array("databases").map_err(|_| unexpected_reply("listing the databases", "databases"))?;
        let names = databases.iter().filter_map(|database| database.as_document()?.get_str("name").ok());
        let mut listed = Vec::new();
        let asked = included(USERS) || included(ROLES);
        for database in names.filter(|name| !is_internal(name) || (*name == "admin" && asked)) {
            let found = self.list(database, doc! {}).await?;
            listed.extend(found.into_iter().filter(|listed| listed.is_data() && included(&listed.name())));
        }
        let described = stream::iter(listed).map(|listed| self.describe(listed, included)).buffered(CONCURRENCY);
        let mut namespaces: Vec<Namespace> = described.try_filter_map(async |found| Ok(found)).try_collect().await?;
        namespaces.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(namespaces)
    }

    /// The collection called `name` now, if there is one.
    pub(crate) async fn listed(&self, name: &str) -> Result<Option<Listed>> {
        let (database, collection) = cut(name)?;
        Ok(self.list(database, doc! { "name": collection }).await?.pop())
    }

    /// Bytes and number of the records of a collection, as the server's counters have it.
    pub(crate) async fn size(&self, database: &str, collection: &str) -> Result<(u64, u64)> {
        let name = format!("{database}.{collection}");
        let size = doc! { "dataSize": &name, "estimate": true };
        let reply = self.command(database, size, &format!("asking for the size of {name}")).await?;
        let number = |field: &str| reply.get(field).and_then(whole_number).unwrap_or(0);
        Ok((number("size"), number("numObjects")))
    }

    /// The secondary indexes and the `_id` index, as the server describes them; none when the collection is gone. The
    /// server also lists what it is still building, or will give up: those are left out, and come with the feed.
    pub(crate) async fn indexes(&self, database: &str, collection: &str) -> Result<Option<Vec<RawDocumentBuf>>> {
        let what = format!("listing the indexes of {database}.{collection}");
        match self.collect(database, doc! { "listIndexes": collection, "includeBuildUUIDs": true }).await {
            Ok(mut indexes) => {
                indexes.retain(|index| !matches!(index.get("buildUUID"), Ok(Some(_))));
                Ok(Some(indexes))
            }
            Err(error) if code(&error) == Some(NAMESPACE_NOT_FOUND) => Ok(None),
            Err(error) => Err(translate(&what, &error)),
        }
    }

    async fn list(&self, database: &str, filter: Document) -> Result<Vec<Listed>> {
        let what = format!("listing the collections of {database}");
        let command = doc! { "listCollections": 1, "filter": filter };
        let entries = self.collect(database, command).await.map_err(|error| translate(&what, &error))?;
        let listed = entries.into_iter().map(|entry| {
            let collection = entry.get_str("name").map_err(|_| unexpected_reply(&what, "name"))?.to_owned();
            Ok(Listed { database: database.to_owned(), collection, entry, feed: self.feed })
        });
        listed.collect()
    }

    /// What was listed, as a namespace; `None` when it is gone, or no longer included.
    ///
    /// Indexes and sizes are asked for by name, and names pass from one collection to another meanwhile. What was answered
    /// counts when the name stood for the collection before and after; one that is called otherwise by then is described
    /// under its new name: it is there, and whoever took it for dropped would lose it.
    async fn describe(
        &self,
        mut listed: Listed,
        included: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<Option<Namespace>> {
        for _ in 0..RENAMES {
            let (name, uuid) = (listed.name(), listed.uuid()?);
            // Nobody can make an index there, and listing those of a system collection takes a right of its own.
            let indexes = match listed.collection.as_str() {
                "system.views" => Some(Vec::new()),
                collection => self.indexes(&listed.database, collection).await?,
            };
            if let Some(indexes) = indexes {
                let (bytes, records) = match self.feed.loses(&name) {
                    Some(_) => (0, 0),
                    None => self.size(&listed.database, &listed.collection).await?,
                };
                let now = self.listed(&name).await?.filter(Listed::is_data);
                if now.is_some_and(|now| now.uuid().is_ok_and(|now| now == uuid)) {
                    let (incarnation, definition) = (listed.incarnation()?, listed.definition(&indexes)?);
                    let kind = definition::describe(&definition)?.kind;
                    return Ok(Some(Namespace { name, incarnation, kind, definition, bytes, records }));
                }
            }
            // A collection keeps its UUID within its database; in another one it is a new collection.
            let binary = Binary { subtype: BinarySubtype::Uuid, bytes: uuid.to_vec() };
            let renamed = self.list(&listed.database, doc! { "info.uuid": binary }).await?.pop();
            match renamed.filter(|renamed| renamed.is_data() && included(&renamed.name())) {
                Some(renamed) => listed = renamed,
                None => return Ok(None),
            }
        }
        let why = "it is renamed all the time".to_owned();
        Err(Error::Unavailable { what: format!("describing {}", listed.name()), why })
    }

    /// All documents of a command's cursor, from the primary.
    pub(crate) async fn collect(
        &self,
        database: &str,
        command: Document,
    ) -> mongodb::error::Result<Vec<RawDocumentBuf>> {
        let primary = SelectionCriteria::ReadPreference(mongodb::options::ReadPreference::Primary);
        let database = self.client.database(database);
        ask(|| {
            let cursor = database.run_cursor_command(command.clone()).selection_criteria(primary.clone()).batch();
            async move {
                let mut cursor = cursor.await?;
                let mut documents = Vec::new();
                while let Some(reply) = cursor.try_next().await? {
                    let found = reply.doc_slices()?.into_iter();
                    documents.extend(found.filter_map(|document| Some(document.ok()?.as_document()?.to_owned())));
                }
                Ok(documents)
            }
        })
        .await
    }
}

/// Sizes come as 32-bit or 64-bit integers or as doubles.
pub(crate) fn whole_number(value: &bson::Bson) -> Option<u64> {
    match value {
        bson::Bson::Int32(number) => u64::try_from(*number).ok(),
        bson::Bson::Int64(number) => u64::try_from(*number).ok(),
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an estimate; casts saturate")]
        bson::Bson::Double(number) => Some(*number as u64),
        _ => None,
    }
}
