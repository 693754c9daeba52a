//! Trying records against what a collection refuses today, on a real server.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test at the edge: real clock, real server")]

use anyhow::Result;
use backstay_mongodb::interpret::id_of;
use backstay_mongodb::{MongoDeployment, Options};
use backstay_source::{Target, Tried};
use backstay_testkit::{ReplicaSet, require_mongod};
use bson::{Document, RawDocumentBuf, doc, rawdoc};
use mongodb::IndexModel;
use mongodb::options::IndexOptions;

/// Of one answer of the server, and a record more.
const MOST: usize = (16 << 20) + (1 << 20);

#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_value_comes_some_at_a_time_however_large_the_records_are() -> Result<()> {
    if require_mongod().is_none() {
        return Ok(());
    }
    let set = ReplicaSet::start(backstay_testkit::Options::default()).await?;
    let client = set.client().await?;
    let deployment = MongoDeployment::connect(Options { uri: set.uri(), ..Options::default() }).await?;
    let people = client.database("shop").collection::<Document>("people");
    let fill = "x".repeat(4 << 20);
    for id in 0..12 {
        people.insert_one(doc! { "_id": id, "mail": format!("m{id}"), "fill": &fill }).await?;
    }
    let then = deployment.definitions().await?.into_iter().find(|known| known.name == "shop.people").unwrap();
    for hidden in [false, true] {
        let options = IndexOptions::builder().unique(true).hidden(hidden).build();
        people.create_index(IndexModel::builder().keys(doc! { "mail": 1 }).options(options).build()).await?;
        let trial = deployment.trial("shop.people", &then.definition, false).await?.unwrap();
        let returning: Vec<RawDocumentBuf> =
            (0..12).map(|id| rawdoc! { "_id": 100 + id, "mail": format!("m{id}") }).collect();
        let ids: Vec<Vec<u8>> = returning
            .iter()
            .map(|record| {
                let mut id = Vec::new();
                id_of(record.as_bytes(), &mut id).map(|_| id)
            })
            .collect::<Result<_, _>>()?;
        let tried: Vec<Tried<'_>> =
            returning.iter().zip(&ids).map(|(record, id)| Tried { id, image: record.as_bytes(), live: None }).collect();
        let claims = trial.claims(&tried).await?;
        let mut holding = trial.holders(&claims);
        let mut held = Vec::new();
        while let Some(holders) = holding.next().await? {
            assert!(holders.records.bytes() <= MOST, "{} bytes at a time", holders.records.bytes());
            held.extend(holders.held.iter().map(|(claim, _)| *claim));
        }
        held.sort_unstable();
        assert_eq!(held, (0..12).collect::<Vec<_>>());
        drop(holding);
        people.drop_index("mail_1").await?;
    }
    Ok(())
}
