//! Reaching a deployment: one client for everything, and an early answer to “is this a replica set that we can use?”.
//!
//! A URI that names one host is followed to the whole replica set unless it says `directConnection=true`. Messages name
//! hosts, never credentials.

use std::sync::Arc;
use std::time::Duration;

use backstay_source::{Error, Result};
use bson::{Document, doc};
use mongodb::Client;
use mongodb::error::ErrorKind;
use mongodb::options::{ClientOptions, ReadPreference, ReadPreferenceOptions, SelectionCriteria, ServerAddress};

use crate::failure::{translate, unexpected_reply};
use crate::feed::Feed;

/// How long to look for a usable server before giving up.
const SELECTION_LIMIT: Duration = Duration::from_secs(10);

/// How often a question is asked again, and the first pause before that; each is twice the one before. In all about as
/// long as an election takes.
const ASKED_AGAIN: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The wire version of MongoDB 5.0, the first that reads as of an instant outside of transactions.
const SHOWS_INSTANTS: i32 = 13;

/// Which member to read from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReadFrom {
    /// From those that the connection string asks for by `readPreference`, `readPreferenceTags` and `maxStalenessSeconds`.
    /// Where it asks for nothing, a secondary when there is one: the primary is left to its own work.
    #[default]
    Asked,
    /// The primary only.
    Primary,
}

/// A client and what was learned while connecting.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    pub(crate) client: Client,
    /// Hosts and ports as the URI names them, for messages.
    pub(crate) hosts: String,
    /// The replica set's name.
    pub(crate) set: String,
    pub(crate) read: SelectionCriteria,
    /// True when the server shows collections as of an instant outside of transactions.
    pub(crate) shows_instants: bool,
    /// How its changes are followed.
    pub(crate) feed: Feed,
    /// True when the URI asks for one server, whatever set it is in.
    direct: bool,
}

impl Connection {
    /// Connects and checks that this is a replica set. See [`crate::MongoDeployment::connect`] for the errors.
    pub(crate) async fn open(uri: &str, read: ReadFrom, feed: Feed) -> Result<Connection> {
        let invalid = |error: mongodb::error::Error| Error::Configuration {
            what: "the MongoDB connection string".to_owned(),
            why: crate::failure::words(&error),
        };
        let mut options = ClientOptions::parse(uri).await.map_err(invalid)?;
        let hosts = options.hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        options.app_name = Some("backstay".to_owned());
        options.server_selection_timeout.get_or_insert(SELECTION_LIMIT);
        options.connect_timeout.get_or_insert(SELECTION_LIMIT);
        let direct = options.direct_connection.unwrap_or(false);
        // It is meant for what is read of the data: definitions, and what a restore compares with, are the primary's.
        let asked = options.selection_criteria.take();
        let client = Client::with_options(options).map_err(invalid)?;
        let hello = hello(&client, &hosts).await?;
        let set = replica_set_name(&hello, &hosts)?;
        let read = match read {
            ReadFrom::Asked => asked.unwrap_or(SelectionCriteria::ReadPreference(ReadPreference::SecondaryPreferred {
                options: Some(ReadPreferenceOptions::default()),
            })),
            ReadFrom::Primary => SelectionCriteria::ReadPreference(ReadPreference::Primary),
        };
        let shows_instants = hello.get_i32("maxWireVersion").is_ok_and(|version| version >= SHOWS_INSTANTS);
        let connection = Connection { client, hosts, set, read, shows_instants, feed, direct };
        connection.refuse_shards(&hello).await?;
        connection.check_feed().await?;
        Ok(connection)
    }

    /// Asks the primary (or the one server of a direct connection) by a command that changes nothing.
    pub(crate) async fn command(&self, database: &str, command: Document, what: &str) -> Result<Document> {
        let database = self.client.database(database);
        let answer = ask(|| {
            let (database, command) = (database.clone(), command.clone());
            async move { database.run_command(command).await }
        });
        answer.await.map_err(|error| translate(what, &error))
    }

    /// Every member that holds data, the primary first: for what the member that reads go to does not have. None when the
    /// connection is to one server only.
    pub(crate) async fn members(&self) -> Result<Vec<(String, SelectionCriteria)>> {
        if self.direct {
            return Ok(Vec::new());
        }
        let hello = self.hello().await?;
        let primary = hello.get_str("primary").unwrap_or_default();
        let mut names: Vec<&str> = ["hosts", "passives"]
            .iter()
            .filter_map(|list| hello.get_array(list).ok())
            .flatten()
            .filter_map(|name| name.as_str())
            .collect();
        names.sort_by_key(|name| *name != primary);
        let only = |name: &str| {
            let address =
                ServerAddress::parse(name).map_err(|_| unexpected_reply("asking for the members", "hosts"))?;
            let is_it = move |server: &mongodb::ServerInfo<'_>| *server.address() == address;
            Ok((name.to_owned(), SelectionCriteria::Predicate(Arc::new(is_it))))
        };
        names.into_iter().map(only).collect()
    }

    /// The primary's view of the replica set.
    pub(crate) async fn hello(&self) -> Result<Document> {
        hello(&self.client, &self.hosts).await
    }

    /// Change streams show what is needed of collections and updates from 6.0 on.
    async fn check_feed(&self) -> Result<()> {
        if self.feed == Feed::Oplog {
            return Ok(());
        }
        let version = self.version().await?;
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        if major.is_some_and(|major| major >= 6) {
            return Ok(());
        }
        let why = format!(
            "the server is MongoDB {version}, whose change streams show neither the collections that come and go nor \
             updates as they were made; that takes 6.0 or later, or feed: oplog"
        );
        Err(Error::Configuration { what: format!("following {} by change streams", self.hosts), why })
    }

    async fn refuse_shards(&self, hello: &Document) -> Result<()> {
        let refuse = |what: &str| {
            Err(Error::Refused {
                what: format!("connecting to {}", self.hosts),
                why: format!("this is {what}; only replica sets that stand alone can be protected so far"),
            })
        };
        if hello.contains_key("configsvr") {
            return refuse("a config server of a sharded cluster");
        }
        let system = self.client.database("admin").collection::<Document>("system.version");
        match system.find_one(doc! { "_id": "shardIdentity" }).await {
            Ok(Some(_)) => refuse("a shard of a sharded cluster"),
            // Without the right to read this collection the question stays open, and is no reason to stop.
            Ok(None) | Err(_) => Ok(()),
        }
    }
}

/// Asks again when a passing fault cut the question short: an election, a broken connection. The driver does so for reads
/// that it knows, not for commands. Where no server could be found at all, the driver has waited for one already.
pub(crate) async fn ask<T, Answer>(question: impl Fn() -> Answer) -> mongodb::error::Result<T>
where
    Answer: Future<Output = mongodb::error::Result<T>>,
{
    let mut pause = FIRST_PAUSE;
    for _ in 0..ASKED_AGAIN {
        match question().await {
            Err(error) if passes(&error) => {
                tracing::debug!(%error, "asking again");
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            answer => return answer,
        }
    }
    question().await
}

fn passes(error: &mongodb::error::Error) -> bool {
    !matches!(error.kind.as_ref(), ErrorKind::ServerSelection { .. })
        && matches!(translate("", error), Error::Unavailable { .. })
}

async fn hello(client: &Client, hosts: &str) -> Result<Document> {
    let admin = client.database("admin");
    let reached = ask(|| {
        let admin = admin.clone();
        async move { admin.run_command(doc! { "hello": 1 }).await }
    });
    reached.await.map_err(|error| match translate(&format!("connecting to {hosts}"), &error) {
        Error::Unavailable { what, why } => Error::Unavailable { what, why: shorten(&why) },
        other => other,
    })
}

fn replica_set_name(hello: &Document, hosts: &str) -> Result<String> {
    let what = format!("MongoDB at {hosts}");
    if hello.get_str("msg").ok() == Some("isdbgrid") {
        let why = "this is a router of a sharded cluster; only replica sets that stand alone can be protected so far";
        return Err(Error::Refused { what: format!("connecting to {hosts}"), why: why.to_owned() });
    }
    if let Ok(name) = hello.get_str("setName") {
        return Ok(name.to_owned());
    }
    let why = if hello.get_bool("isreplicaset").is_ok_and(|waiting| waiting) {
        "the replica set is not initiated yet: run rs.initiate() on it first"
    } else {
        "this server stands alone: it keeps no oplog, shows no change stream and reads no snapshot. Stop it, start it with \
         --replSet NAME, and run rs.initiate() on it once: a set of one member is enough, and it keeps its data"
    };
    Err(Error::Configuration { what, why: why.to_owned() })
}

/// The driver appends a dump of what it knows of every server; a person needs the first sentence and the cause.
fn shorten(why: &str) -> String {
    let head = why.split(" Topology: ").next().unwrap_or(why).trim_end_matches(['.', ' ']);
    match why.split_once("Error: ") {
        Some((_, cause)) => {
            let cause = cause.split([',', '}']).next().unwrap_or(cause).trim().trim_start_matches("Kind: ");
            format!("{head} ({cause})")
        }
        None => head.to_owned(),
    }
}
