//! A shop on a real replica set, and the program configured to protect it.

#![allow(dead_code, reason = "each test file uses a part of it")]

use backstay_testkit::{Backstay, Options, ReplicaSet, Run, require_mongod, shop_configuration};
use bson::{Bson, Document, Timestamp, doc};
use mongodb::Client;

/// A replica set and a place to run the program in.
pub struct Shop {
    pub set: ReplicaSet,
    pub client: Client,
    pub program: Backstay,
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime starts")
}

/// `None` where there is no server to test with.
pub async fn open() -> Option<Shop> {
    require_mongod()?;
    let set = ReplicaSet::start(Options::default()).await.expect("a replica set starts");
    let client = set.client().await.expect("a client is made");
    let program = program(&set.uri());
    Some(Shop { set, client, program })
}

/// The program in a new folder, configured for the source at `uri`.
pub fn program(uri: &str) -> Backstay {
    let program = Backstay::new(env!("CARGO_BIN_EXE_backstay")).expect("a temporary folder can be made");
    program.configure(&yaml(uri)).expect("the configuration can be written");
    program
}

pub fn yaml(uri: &str) -> String {
    let tenants = ["ns: \"shop.*\", field: tenant", "ns: \"tenant_{id}.*\"", "ns: \"*\", fixed: shared"];
    shop_configuration(uri, &["shop.*", "tenant_*.*"], &tenants)
}

/// A replica set that asks for credentials, with the user `root`, and the URI of another: `backup`, who may do what `backstay
/// doctor` says that following change streams takes, and nothing on `local`.
pub async fn with_credentials(options: Options) -> Option<(Shop, String)> {
    use std::os::unix::fs::PermissionsExt as _;
    require_mongod()?;
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("key");
    std::fs::write(&key, "k".repeat(64)).expect("a key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("a key of one's own");
    let args = ["--keyFile".to_owned(), key.display().to_string()];
    let args = options.args.into_iter().chain(args).collect();
    let set = ReplicaSet::start(Options { args, ..options }).await.expect("a replica set starts");
    let first = set.direct_client(0).await.expect("a client is made");
    let root = doc! { "createUser": "root", "pwd": "secret", "roles": ["root", "__system"] };
    first.database("admin").run_command(root).await.expect("the first user is made");
    let as_user =
        |user: &str| set.uri().replace("mongodb://", &format!("mongodb://{user}:secret@")) + "&authSource=admin";
    let client = Client::with_uri_str(as_user("root")).await.expect("a client is made");
    let admin = client.database("admin");
    let role = doc! {
        "createRole": "follower", "roles": ["readAnyDatabase"],
        "privileges": [
            { "resource": { "db": "", "collection": "system.views" }, "actions": ["find"] },
            { "resource": { "cluster": true }, "actions": ["replSetGetConfig", "serverStatus"] },
        ],
    };
    admin.run_command(role).await.expect("a role is made");
    for (user, role) in [("backup", "follower"), ("reader", "readAnyDatabase")] {
        let user = doc! { "createUser": user, "pwd": "secret", "roles": [role] };
        admin.run_command(user).await.expect("a user is made");
    }
    let uri = as_user("backup");
    let program = program(&uri);
    Some((Shop { set, client, program }, uri))
}

/// The configuration with a feed.
pub fn followed_by(feed: &str, yaml: &str) -> String {
    yaml.replace("    kind: mongodb\n", &format!("    kind: mongodb\n    feed: {feed}\n"))
}

impl Shop {
    /// Runs the program, whatever comes of it.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Run {
        self.program.run(args).expect("the program starts")
    }

    /// Runs the program with `--json`; it must succeed.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        self.run(&[args, &["--json"]].concat()).ok().json()
    }

    pub fn orders(&self) -> mongodb::Collection<Document> {
        self.client.database("shop").collection("orders")
    }

    /// `count` orders of each of `tenants`, with an index, and a collection of a tenant's own.
    pub async fn fill(&self, tenants: i32, count: i32) {
        let orders = (0..tenants * count).map(|n| {
            doc! { "_id": n, "tenant": format!("t{}", n % tenants), "total": n * 3, "lines": [{ "sku": n, "note": "x".repeat(40) }] }
        });
        self.orders().insert_many(orders).await.expect("orders are inserted");
        let index = mongodb::IndexModel::builder().keys(doc! { "tenant": 1, "total": -1 }).build();
        self.orders().create_index(index).await.expect("an index is made");
        let notes = self.client.database("tenant_acme").collection::<Document>("notes");
        notes.insert_one(doc! { "_id": "n1", "text": "hello" }).await.expect("a note is inserted");
    }

    /// The cluster time of everything that was written so far, as `SECONDS:ORDINAL`. Two ticks never share an instant
    /// with what comes after.
    pub async fn now(&self) -> String {
        let note = doc! { "appendOplogNote": 1, "data": { "msg": "an instant" }, "writeConcern": { "w": "majority" } };
        let reply = self.client.database("admin").run_command(note).await.expect("a note is written");
        let time = reply
            .get_document("$clusterTime")
            .and_then(|time| time.get_timestamp("clusterTime"))
            .expect("a member of a replica set tells its time");
        format!("{}:{}", time.time, time.increment)
    }

    /// What the server itself says `database.collection` was at `at`, by id.
    pub async fn as_of(&self, database: &str, collection: &str, at: &str) -> Vec<Document> {
        let (time, increment) = at.split_once(':').expect("a tick");
        let at = Timestamp { time: time.parse().expect("seconds"), increment: increment.parse().expect("an ordinal") };
        let find = doc! {
            "find": collection, "sort": { "_id": 1 }, "batchSize": 100_000, "singleBatch": true,
            "readConcern": { "level": "snapshot", "atClusterTime": at },
        };
        let reply = self.client.database(database).run_command(find).await.expect("a snapshot read");
        batch(&reply)
    }
}

/// All documents of a collection, by id.
pub async fn all(client: &Client, database: &str, collection: &str) -> Vec<Document> {
    let find = doc! { "find": collection, "sort": { "_id": 1 }, "batchSize": 100_000, "singleBatch": true };
    batch(&client.database(database).run_command(find).await.expect("a find"))
}

/// The definitions of a collection's indexes, by name.
pub async fn indexes(client: &Client, database: &str, collection: &str) -> Vec<Document> {
    let reply = client.database(database).run_command(doc! { "listIndexes": collection }).await.expect("indexes");
    let mut indexes = batch(&reply);
    indexes.sort_by_key(|index| index.get_str("name").unwrap_or_default().to_owned());
    indexes
}

fn batch(reply: &Document) -> Vec<Document> {
    let cursor = reply.get_document("cursor").expect("a cursor");
    let batch = cursor.get_array("firstBatch").expect("a batch");
    batch.iter().filter_map(Bson::as_document).cloned().collect()
}
