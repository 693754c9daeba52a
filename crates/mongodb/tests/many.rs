//! Many small collections. `BACKSTAY_SOAK` makes them a hundred thousand.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test at the edge: real clock, real server")]

mod scenario;

use bson::{Document, doc};
use scenario::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_small_collections_come_back() {
    let Some(mut stage) = Stage::open().await else { return };
    let soak = std::env::var("BACKSTAY_SOAK").is_ok_and(|times| !times.is_empty() && times != "0");
    let count: usize = if soak { 100_000 } else { 2_000 };
    let begun = std::time::Instant::now();
    let client = stage.client.clone();
    let make = async |part: usize, name: String| {
        let database = client.database(&format!("many{}", part % 4));
        database.collection::<Document>(&name).insert_one(doc! { "_id": 1, "name": &name }).await.unwrap();
    };
    let names = |from: usize, to: usize| (from..to).map(|n| (n, format!("collection {n}")));
    for part in names(0, count / 2).collect::<Vec<_>>().chunks(16) {
        futures::future::join_all(part.iter().map(|(n, name)| make(*n, name.clone()))).await;
    }
    println!("half of them made in {:?}", begun.elapsed());
    stage.backup().await;
    println!("backed up after {:?}", begun.elapsed());
    for part in names(count / 2, count).collect::<Vec<_>>().chunks(16) {
        futures::future::join_all(part.iter().map(|(n, name)| make(*n, name.clone()))).await;
    }
    for (n, name) in names(0, count).step_by(10) {
        stage.run(&format!("many{}", n % 4), doc! { "drop": name }).await;
    }
    println!("all made after {:?}", begun.elapsed());
    stage.moment("all").await;
    println!("shown after {:?}", begun.elapsed());
    stage.capture().await;
    stage.check(&stage.moments[0], "tails").await;
    println!("restored after {:?}", begun.elapsed());
}
