//! The filter's answers against a real server's, for random queries on random records.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use backstay_mongodb::interpret::extjson;
use backstay_mongodb::interpret::filter::Filter;
use backstay_testkit::{Chance, Options, RandomServer, generate, soak};
use bson::raw::RawDocumentBuf;
use bson::{Bson, Document, doc};
use futures::TryStreamExt as _;

const PATHS: &[&str] = &[
    "n",
    "bits",
    "str",
    "nums",
    "nums.0",
    "nums.3",
    "objs",
    "objs.k",
    "objs.v",
    "objs.0.k",
    "sub",
    "sub.x",
    "sub.y.list",
    "sub.w",
    "grid",
    "grid.0",
    "grid.1.0",
    "missing",
    "missing.x",
    "n.x",
    "a",
    "d",
    "a.b",
    "s0.u",
    "_id",
];

fn operand(chance: &mut Chance, records: &[Document]) -> Bson {
    loop {
        let value = match chance.below(3) {
            0 => Bson::Int32(chance.small()),
            1 => generate::scalar(chance),
            // A value that some record has.
            _ => {
                let record = &records[chance.below(records.len())];
                let values: Vec<&Bson> = record.values().collect();
                values[chance.below(values.len())].clone()
            }
        };
        // Refused by the filter, or by the server.
        let odd = matches!(&value, Bson::RegularExpression(_) | Bson::Undefined);
        let operators = value.as_document().is_some_and(|value| value.keys().any(|name| name.starts_with('$')));
        if !odd && !operators {
            return value;
        }
    }
}

fn test(chance: &mut Chance, records: &[Document], depth: usize) -> Bson {
    match chance.below(if depth == 0 { 10 } else { 14 }) {
        0 => operand(chance, records),
        1 => doc! { "$eq": operand(chance, records) }.into(),
        2 => doc! { "$ne": operand(chance, records) }.into(),
        3 => doc! { "$gt": operand(chance, records) }.into(),
        4 => doc! { "$gte": operand(chance, records) }.into(),
        5 => doc! { "$lt": operand(chance, records), "$gt": operand(chance, records) }.into(),
        6 => doc! { "$lte": operand(chance, records) }.into(),
        7 => doc! { *chance.pick(&[&"$in", &"$nin"]): [operand(chance, records), operand(chance, records), Bson::Null] }.into(),
        8 => doc! { "$exists": chance.one_in(2) }.into(),
        9 => doc! { "$type": [*chance.pick(&[&"number", &"string", &"array", &"object", &"null", &"int", &"binData", &"bool"])] }.into(),
        10 => doc! { "$size": chance.below(5) as i32 }.into(),
        11 => doc! { "$all": [operand(chance, records), chance.small()] }.into(),
        12 if chance.one_in(2) => doc! { "$elemMatch": { "k": test(chance, records, 0) } }.into(),
        12 => doc! { "$elemMatch": { "$gt": chance.small(), "$lt": chance.small() } }.into(),
        _ => match test(chance, records, 0) {
            Bson::Document(inner) if inner.keys().next().is_some_and(|name| name.starts_with('$')) => doc! { "$not": inner }.into(),
            other => doc! { "$not": { "$eq": other } }.into(),
        },
    }
}

fn query(chance: &mut Chance, records: &[Document]) -> Document {
    let one = |chance: &mut Chance| doc! { *chance.pick(&PATHS.iter().collect::<Vec<_>>()): test(chance, records, 1) };
    match chance.below(6) {
        0 => doc! { *chance.pick(&[&"$and", &"$or", &"$nor"]): [one(chance), one(chance)] },
        _ => one(chance),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_answers_as_the_server_does() {
    let Some(server) = RandomServer::start(Options::default()).await.unwrap() else { return };
    let RandomServer { client, mut chance, seed, set: _set } = server;
    let records: Vec<Document> = (0..400).map(|id| generate::update::record(&mut chance, id)).collect();
    client.database("t").collection::<Document>("c").insert_many(&records).await.unwrap();
    let collection = client.database("t").collection::<RawDocumentBuf>("c");
    let stored: Vec<RawDocumentBuf> = collection.find(doc! {}).await.unwrap().try_collect().await.unwrap();
    let (mut asked, mut refused, mut matched) = (0, 0, 0);
    for _ in 0..1500 * soak() {
        let query = query(&mut chance, &records);
        let text = extjson::document(&bson::serialize_to_vec(&query).unwrap()).unwrap();
        let Ok(cursor) = collection.find(query).projection(doc! { "_id": 1 }).await else {
            refused += 1;
            continue;
        };
        let found: Vec<RawDocumentBuf> = cursor.try_collect().await.unwrap();
        let theirs: BTreeSet<i32> = found.iter().map(|record| record.get_i32("_id").unwrap()).collect();
        let filter = Filter::parse(&text).unwrap_or_else(|why| panic!("{text}: {why}"));
        for record in &stored {
            let ours = filter.matches(record.as_bytes()).unwrap();
            let expected = theirs.contains(&record.get_i32("_id").unwrap());
            let shown = || extjson::document(record.as_bytes()).unwrap();
            assert_eq!(ours, expected, "BACKSTAY_SEED={seed}\nquery  {text}\nrecord {}", shown());
        }
        asked += 1;
        matched += theirs.len();
    }
    println!("{asked} queries, {refused} refused by the server, {matched} matches");
    assert!(asked > 1000 && matched > 10_000);
}
