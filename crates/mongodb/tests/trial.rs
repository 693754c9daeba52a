//! Trying records against what a collection refuses today, on a real server.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test at the edge: real clock, real server")]

use std::collections::BTreeSet;

use anyhow::Result;
use backstay_mongodb::interpret::id_of;
use backstay_mongodb::{MongoDeployment, Options};
use backstay_source::{Target, Trial, Tried};
use backstay_testkit::{ReplicaSet, require_mongod, require_mongod_since};
use bson::{Bson, Document, RawDocumentBuf, Regex, doc, rawdoc};
use mongodb::IndexModel;
use mongodb::options::{Collation, CollationStrength, IndexOptions};

/// The places of those records that have a value of another, as the trial says.
async fn refused(trial: &dyn Trial, records: &[RawDocumentBuf]) -> Result<BTreeSet<usize>> {
    let mut ids = Vec::new();
    for record in records {
        let mut id = Vec::new();
        id_of(record.as_bytes(), &mut id)?;
        ids.push(id);
    }
    let tried = records.iter().zip(&ids).map(|(record, id)| Tried { id, image: record.as_bytes(), live: None });
    let claims = trial.claims(&tried.collect::<Vec<_>>()).await?;
    let mut holding = trial.holders(&claims);
    let mut refused = BTreeSet::new();
    while let Some(holders) = holding.next().await? {
        assert!(holders.records.bytes() <= MOST, "{} bytes at a time", holders.records.bytes());
        let claims = holders.held.iter().filter_map(|(claim, _)| claims.get(*claim));
        refused.extend(claims.filter_map(|claim| ids.iter().position(|id| *id == claim.id)));
    }
    Ok(refused)
}

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
        assert_eq!(refused(&*trial, &returning).await?, (0..12).collect());
        people.drop_index("mail_1").await?;
    }
    Ok(())
}

/// The server is asked by inserting each record.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_value_by_a_collation_is_whom_the_server_means() -> Result<()> {
    // Fields of a stored document begin with a dollar sign from then on.
    if require_mongod_since(5, 0).is_none() {
        return Ok(());
    }
    let set = ReplicaSet::start(backstay_testkit::Options::default()).await?;
    let client = set.client().await?;
    let deployment = MongoDeployment::connect(Options { uri: set.uri(), ..Options::default() }).await?;
    let people = client.database("shop").collection::<Document>("people");
    let pattern = Bson::RegularExpression(Regex { pattern: "re".try_into()?, options: "".try_into()? });
    let live = [
        doc! { "a": "M7", "b": "x" },
        doc! { "a": "M7", "b": "y" },
        doc! { "b": "x" },
        doc! { "a": [], "b": "x" },
        doc! { "a": ["p", "q"], "b": "x" },
        doc! { "a": [["n"]], "b": "x" },
        doc! { "a": { "$x": "D" }, "b": "x" },
        doc! { "a": pattern.clone(), "b": "x" },
        doc! { "a": { "k": "E" }, "b": "x" },
        doc! { "a": Bson::MinKey, "b": "x" },
        doc! { "a": 5, "b": "x" },
        doc! { "a": ["w", { "$x": "G" }], "b": "x" },
    ];
    people.insert_many(&live).await?;
    let then = deployment.definitions().await?.into_iter().find(|known| known.name == "shop.people").unwrap();
    // The last ones are claims that a walk cannot ask for.
    let returning = [
        doc! { "_id": 0, "a": "m7", "b": "X" },
        doc! { "_id": 1, "a": "m8", "b": "X" },
        doc! { "_id": 2, "a": "m7", "b": "z" },
        doc! { "_id": 3, "a": null, "b": "X" },
        doc! { "_id": 4, "b": "X" },
        doc! { "_id": 5, "a": [], "b": "X" },
        doc! { "_id": 6, "a": "P", "b": "X" },
        doc! { "_id": 7, "a": ["z", "Q"], "b": "X" },
        doc! { "_id": 8, "a": [["N"]], "b": "X" },
        doc! { "_id": 9, "a": ["n"], "b": "X" },
        doc! { "_id": 10, "a": { "k": "e" }, "b": "X" },
        doc! { "_id": 11, "a": { "k": "f" }, "b": "X" },
        doc! { "_id": 12, "a": Bson::MinKey, "b": "X" },
        doc! { "_id": 13, "a": 5.0, "b": "X" },
        doc! { "_id": 14, "a": "W", "b": "X" },
        doc! { "_id": 17, "a": { "$x": "d" }, "b": "X" },
        doc! { "_id": 15, "a": ["z", { "$x": "d" }], "b": "X" },
        doc! { "_id": 16, "a": pattern, "b": "X" },
    ];
    let listed = 15;
    let records: Vec<RawDocumentBuf> = returning.iter().map(RawDocumentBuf::try_from).collect::<Result<_, _>>()?;
    for hidden in [false, true] {
        let collation = Collation::builder().locale("de").strength(CollationStrength::Primary).build();
        let options = IndexOptions::builder().unique(true).hidden(hidden).collation(collation).build();
        people.create_index(IndexModel::builder().keys(doc! { "a": 1, "b": 1 }).options(options).build()).await?;
        let mut expected = BTreeSet::new();
        for (place, record) in returning.iter().enumerate() {
            match people.insert_one(record).await {
                Ok(_) => {
                    people.delete_one(doc! { "_id": &record["_id"] }).await?;
                }
                Err(error) => {
                    assert!(error.to_string().contains("E11000"), "{error}");
                    expected.insert(place);
                }
            }
        }
        assert!(expected.len() > 10 && expected.len() < returning.len());
        let trial = deployment.trial("shop.people", &then.definition, false).await?.unwrap();
        let mut found = refused(&*trial, &records).await?;
        if hidden {
            expected.retain(|place| *place < listed);
            found.retain(|place| *place < listed);
        }
        assert_eq!(found, expected, "hidden: {hidden}");
        people.drop_index("a_1_b_1").await?;
    }
    Ok(())
}
