//! The order of encoded record ids against the order of a real server's `_id` index.

#![allow(clippy::unwrap_used)]

use backstay_mongodb::interpret::{decode_id, encode_id, extjson, id_of};
use backstay_testkit::{Chance, Options, RandomServer, generate, soak};
use bson::raw::RawDocumentBuf;
use bson::{Bson, Document, doc};
use futures::TryStreamExt as _;

fn nested(chance: &mut Chance, depth: usize) -> Bson {
    match chance.below(if depth == 0 { 1 } else { 5 }) {
        1 | 2 => Bson::Document((0..chance.below(4)).map(|_| (name(chance), nested(chance, depth - 1))).collect()),
        3 => Bson::Array((0..chance.below(4)).map(|_| nested(chance, depth - 1)).collect()),
        _ => generate::scalar(chance),
    }
}

fn name(chance: &mut Chance) -> String {
    chance.pick(&["a", "aa", "b", "0", "é"]).to_owned()
}

/// An `_id` that the server takes.
fn id(chance: &mut Chance) -> Bson {
    loop {
        let id = match chance.below(4) {
            0 => generate::number(chance),
            1 => generate::scalar(chance),
            _ => nested(chance, 3),
        };
        if !matches!(id, Bson::Array(_) | Bson::RegularExpression(_) | Bson::Undefined) {
            return id;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn encoded_ids_stand_in_the_order_of_the_servers_index() {
    let Some(server) = RandomServer::start(Options::default()).await.unwrap() else { return };
    let RandomServer { client, mut chance, seed, set: _set } = server;
    let database = client.database("t");
    let wanted = 6000 * soak();
    for _ in 0..wanted / 1000 {
        let new: Vec<Document> = (0..1000).map(|_| doc! { "_id": id(&mut chance) }).collect();
        // Equal ids are refused, one by one.
        database.run_command(doc! { "insert": "c", "documents": new, "ordered": false }).await.unwrap();
    }
    let collection = database.collection::<RawDocumentBuf>("c");
    let sorted: Vec<RawDocumentBuf> = collection
        .find(doc! {})
        .hint(mongodb::options::Hint::Keys(doc! { "_id": 1 }))
        .sort(doc! { "_id": 1 })
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    assert!(sorted.len() > wanted / 3, "only {} ids are distinct", sorted.len());
    println!("{} distinct ids", sorted.len());
    let show = |record: &RawDocumentBuf| extjson::document(record.as_bytes()).unwrap();
    let encoded: Vec<Vec<u8>> = sorted
        .iter()
        .map(|record| {
            let mut out = Vec::new();
            id_of(record.as_bytes(), &mut out).unwrap();
            out
        })
        .collect();
    for (records, ids) in sorted.windows(2).zip(encoded.windows(2)) {
        assert!(ids[0] < ids[1], "BACKSTAY_SEED={seed}: {} before {}", show(&records[0]), show(&records[1]));
    }
    // What is decoded finds the same record.
    for at in (0..sorted.len()).step_by(sorted.len() / 300 + 1) {
        let (kind, value) = decode_id(&encoded[at]).unwrap();
        let mut again = Vec::new();
        encode_id(kind, &value, &mut again).unwrap();
        assert_eq!(again, encoded[at]);
        if kind == backstay_mongodb::interpret::raw::kind::MAX_KEY {
            // Nothing lies above it: the server refuses it as a lower bound.
            continue;
        }
        let mut query = Vec::new();
        let start = backstay_mongodb::interpret::raw::open(&mut query);
        backstay_mongodb::interpret::raw::put(&mut query, kind, b"_id", &value);
        backstay_mongodb::interpret::raw::close(&mut query, start).unwrap();
        // Bounds, since `find` takes a document with operators for a query.
        let bounds: Document = bson::deserialize_from_slice(&query).unwrap();
        let found: Vec<RawDocumentBuf> = collection
            .find(doc! {})
            .hint(mongodb::options::Hint::Keys(doc! { "_id": 1 }))
            .min(bounds)
            .limit(1)
            .await
            .unwrap()
            .try_collect()
            .await
            .unwrap();
        assert_eq!(found.first().map(show), Some(show(&sorted[at])), "BACKSTAY_SEED={seed}");
    }
}
