//! A replica set keeps the contract of sources, whichever way its changes are followed.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test at the edge: real clock, real server")]

use async_trait::async_trait;
use backstay_mongodb::interpret::id_of;
use backstay_mongodb::{Feed, MongoDeployment, Options};
use backstay_sim::conformance::{self, Driver};
use backstay_testkit::{ReplicaSet, require_mongod};
use bson::{Bson, Document, doc};
use mongodb::{Client, Collection};

struct Shop(Client);

impl Shop {
    fn collection(&self, name: &str) -> Collection<Document> {
        self.0.database("conform").collection(name.strip_prefix("conform.").unwrap())
    }
}

fn record(id: u32, value: &str) -> Document {
    doc! { "_id": i64::from(id), "value": value, "list": [1, value] }
}

#[async_trait]
impl Driver for Shop {
    fn name(&self, number: usize) -> String {
        format!("conform.n{number}")
    }

    fn image(&self, id: u32, value: &str) -> Vec<u8> {
        bson::serialize_to_vec(&record(id, value)).unwrap()
    }

    fn id(&self, id: u32) -> Vec<u8> {
        let mut encoded = Vec::new();
        id_of(&self.image(id, ""), &mut encoded).unwrap();
        encoded
    }

    async fn create(&self, name: &str) {
        let (_, collection) = name.split_once('.').unwrap();
        self.0.database("conform").create_collection(collection).await.unwrap();
    }

    async fn drop_namespace(&self, name: &str) {
        self.collection(name).drop().await.unwrap();
    }

    async fn put(&self, name: &str, id: u32, value: &str) {
        let by_id = doc! { "_id": i64::from(id) };
        self.collection(name).replace_one(by_id, record(id, value)).upsert(true).await.unwrap();
    }

    async fn update(&self, name: &str, id: u32, value: &str) {
        let change = doc! { "$set": { "value": value }, "$push": { "list": value } };
        self.collection(name).update_one(doc! { "_id": i64::from(id) }, change).await.unwrap();
    }

    async fn delete(&self, name: &str, id: u32) {
        self.collection(name).delete_one(doc! { "_id": i64::from(id) }).await.unwrap();
    }

    async fn put_together(&self, name: &str, ids: &[u32], value: &str) {
        let mut session = self.0.start_session().await.unwrap();
        session.start_transaction().await.unwrap();
        let collection = self.collection(name);
        for id in ids {
            let by_id = doc! { "_id": Bson::from(i64::from(*id)) };
            let put = collection.replace_one(by_id, record(*id, value)).upsert(true);
            put.session(&mut session).await.unwrap();
        }
        session.commit_transaction().await.unwrap();
    }
}

async fn stage(feed: Feed) -> Option<(ReplicaSet, MongoDeployment, Shop)> {
    require_mongod()?;
    // Transactions of more than one entry.
    let args = ["--setParameter", "maxNumberOfTransactionOperationsInSingleOplogEntry=3"].map(str::to_owned).to_vec();
    let set = ReplicaSet::start(backstay_testkit::Options { args, ..Default::default() }).await.unwrap();
    let client = set.client().await.unwrap();
    let deployment = MongoDeployment::connect(Options { uri: set.uri(), feed, ..Options::default() }).await.unwrap();
    Some((set, deployment, Shop(client)))
}

/// All checks on one server, with nothing left of the one before.
async fn conforms(feed: Feed) {
    let Some((_set, source, shop)) = stage(feed).await else { return };
    let clear = async || shop.0.database("conform").drop().await.unwrap();
    conformance::source_describes_itself(&source, &shop).await;
    clear().await;
    conformance::scans_read_one_instant(&source, &shop).await;
    clear().await;
    conformance::feed_continues_a_scan(&source, &shop).await;
    clear().await;
    conformance::feed_resumes_anywhere(&source, &shop).await;
    clear().await;
    conformance::target_takes_what_it_is_given(&source, &source, &shop).await;
    clear().await;
    conformance::target_guards_its_writes(&source, &shop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn followed_by_the_oplog() {
    conforms(Feed::Oplog).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn followed_by_change_streams() {
    conforms(Feed::ChangeStreams).await;
}
