//! Names: views on views, renames within and across databases, databases that come and go, names in any script and as
//! long as they may be.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test at the edge: real clock, real server")]

#[macro_use]
mod scenario;

use backstay_mongodb::Feed;
use bson::{Document, doc};
use scenario::Stage;

async fn put(stage: &Stage, database: &str, name: &str, from: i32, to: i32) {
    let documents = (from..to).map(|n| doc! { "_id": n, "in": format!("{database}.{name}") });
    stage.database(database).collection::<Document>(name).insert_many(documents).await.unwrap();
}

async fn rename(stage: &Stage, from: &str, to: &str, drop_target: bool) {
    stage.run("admin", doc! { "renameCollection": from, "to": to, "dropTarget": drop_target }).await;
}

async fn collections_come_back_under_the_names_that_they_had(feed: Feed) {
    let Some(mut stage) = Stage::open_by(feed).await else { return };
    for name in ["a", "b", "c.d", "e"] {
        put(&stage, "one", name, 0, 5).await;
        put(&stage, "two", name, 0, 3).await;
    }
    stage.backup().await;
    stage.moment("the start").await;
    rename(&stage, "one.a", "one.z", false).await;
    put(&stage, "one", "z", 5, 7).await;
    stage.moment("renamed").await;
    rename(&stage, "one.b", "one.z", true).await;
    stage.moment("renamed over another").await;
    put(&stage, "one", "a", 0, 2).await;
    rename(&stage, "one.z", "two.a", true).await;
    stage.moment("into another database, over another").await;
    rename(&stage, "two.e", "three.e", false).await;
    rename(&stage, "three.e", "one.c.d", true).await;
    stage.moment("through a database that was not there").await;
    rename(&stage, "one.e", "two.x", false).await;
    rename(&stage, "one.a", "one.e", false).await;
    rename(&stage, "two.x", "one.a", false).await;
    stage.moment("two have changed names").await;
    let out = |to: bson::Bson| doc! { "aggregate": "a", "pipeline": [{ "$set": { "out": true } }, { "$out": to }], "cursor": {} };
    stage.run("one", out("sums".into())).await;
    stage.run("one", out(doc! { "db": "four", "coll": "sums" }.into())).await;
    stage.moment("$out").await;
    stage.run("one", doc! { "createIndexes": "sums", "indexes": [{ "key": { "in": 1 }, "name": "in" }] }).await;
    stage.run("one", out("sums".into())).await;
    stage.moment("$out over another with an index").await;
    stage.run("two", doc! { "dropDatabase": 1 }).await;
    stage.moment("a database dropped").await;
    put(&stage, "two", "a", 0, 1).await;
    stage.moment("and made again").await;
    stage.run("one", doc! { "drop": "c.d" }).await;
    put(&stage, "one", "c.d", 0, 9).await;
    stage.moment("a collection dropped and made again").await;
    stage.check_all().await;
}

async fn views_come_back_with_what_they_stand_on(feed: Feed) {
    let Some(mut stage) = Stage::open_by(feed).await else { return };
    put(&stage, "shop", "orders", 0, 5).await;
    let view =
        |name: &str, on: &str, pipeline: Vec<Document>| doc! { "create": name, "viewOn": on, "pipeline": pipeline };
    // The names are in an order in which none could be made before the one that it stands on, were that needed.
    stage.run("shop", view("c", "orders", vec![doc! { "$match": { "_id": { "$gt": 1.0 } } }])).await;
    stage.run("shop", view("b", "c", vec![doc! { "$project": { "in": 1 } }])).await;
    stage.run("shop", view("a", "b", vec![])).await;
    stage.backup().await;
    stage.moment("views on views").await;
    let mut collated = view("sv", "orders", vec![doc! { "$sort": { "in": 1i64 } }]);
    collated.insert("collation", doc! { "locale": "sv", "strength": 1 });
    stage.run("shop", collated).await;
    stage.run("shop", view("on nothing", "not there", vec![])).await;
    let join = doc! { "$lookup": { "from": "a", "localField": "_id", "foreignField": "_id", "as": "x" } };
    stage.run("shop", view("z", "a", vec![join, doc! { "$unwind": "$x" }])).await;
    stage.run("only", view("v", "nowhere", vec![])).await;
    stage.moment("with a collation, on nothing, and joined").await;
    stage.run("shop", doc! { "collMod": "a", "viewOn": "orders", "pipeline": [{ "$limit": 1 }] }).await;
    stage.moment("modified").await;
    stage.run("shop", doc! { "drop": "b" }).await;
    stage.run("shop", doc! { "drop": "orders" }).await;
    stage.moment("what they stand on is dropped").await;
    // Other views stand on it: it can stand on none of them, and has their collation, which is none.
    stage.run("shop", doc! { "drop": "sv" }).await;
    stage.run("shop", view("orders", "not there", vec![])).await;
    stage.moment("a view where a collection was").await;
    stage.check_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_any_script_and_length_come_back() {
    let Some(mut stage) = Stage::open().await else { return };
    let long_database = "d".repeat(63);
    // 255 bytes with the database and the dot.
    let long = "ö".repeat((255 - 4) / 2);
    let longest = "x".repeat(255 - 64);
    let names = [
        "заказы",
        "注文",
        "الطلبات",
        "ordérs ",
        " a b",
        "a..b",
        "emoji 🧾",
        "quo\"te'",
        "back\\slash",
        "Orders",
        "orders",
        "tmp",
        "tmpfile.x",
        "%25",
        "a/b",
        "*",
        "?[a]",
    ];
    for name in names.iter().copied().chain([long.as_str()]) {
        put(&stage, "abc", name, 0, 2).await;
    }
    put(&stage, &long_database, &longest, 0, 2).await;
    for database in ["données", "数据库", "UPPER", "a-b_c!"] {
        put(&stage, database, "c", 0, 2).await;
    }
    put(&stage, "Case", "c", 0, 2).await;
    stage.backup().await;
    stage.moment("in the base").await;
    for name in names.iter().copied().chain([long.as_str()]) {
        put(&stage, "abc", name, 2, 3).await;
    }
    put(&stage, &long_database, &longest, 2, 3).await;
    put(&stage, "naïve", "файл", 2, 3).await;
    let index = doc! { "key": { "in": 1 }, "name": "索引 ".repeat(30) };
    stage.run("abc", doc! { "createIndexes": "注文", "indexes": [index] }).await;
    stage.moment("in the tail").await;
    // A server lets no two databases differ by case alone; one after the other it does.
    stage.run("Case", doc! { "dropDatabase": 1 }).await;
    put(&stage, "cASE", "c", 0, 3).await;
    stage.moment("the same name in other letters").await;
    stage.run("cASE", doc! { "dropDatabase": 1 }).await;
    put(&stage, "Case", "C", 0, 3).await;
    stage.moment("and back").await;
    stage.check_all().await;
}

by_both!(collections_come_back_under_the_names_that_they_had, views_come_back_with_what_they_stand_on);
