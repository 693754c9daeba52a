//! Writing to a real server: what was seen is what is changed, and everything else is told.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test at the edge: real clock, real server")]

use anyhow::Result;
use backstay_model::IdRange;
use backstay_mongodb::interpret::id_of;
use backstay_mongodb::interpret::tenants::{Origin, Rule};
use backstay_mongodb::{MongoDeployment, Options};
use backstay_source::{RecordBatch, Source, Target, Write, WriteMode};
use backstay_testkit::{ReplicaSet, require_mongod};
use bson::{Bson, Document, RawDocumentBuf, doc, rawdoc};
use mongodb::{Client, IndexModel};

struct Stage {
    _set: ReplicaSet,
    client: Client,
    deployment: MongoDeployment,
}

async fn stage() -> Result<Option<Stage>> {
    if require_mongod().is_none() {
        return Ok(None);
    }
    let set = ReplicaSet::start(backstay_testkit::Options::default()).await?;
    let client = set.client().await?;
    let tenants = vec![
        Rule { ns: "shop.*".into(), origin: Origin::Field("who.tenant".into()) },
        Rule { ns: "*".into(), origin: Origin::Fixed("shared".into()) },
    ];
    let deployment = MongoDeployment::connect(Options { uri: set.uri(), tenants, ..Options::default() }).await?;
    Ok(Some(Stage { _set: set, client, deployment }))
}

fn raw(document: Document) -> RawDocumentBuf {
    RawDocumentBuf::try_from(&document).unwrap()
}

fn tree(document: &RawDocumentBuf) -> Document {
    Document::try_from(&**document).unwrap()
}

fn batch(documents: &[RawDocumentBuf]) -> RecordBatch {
    let mut batch = RecordBatch::default();
    for document in documents {
        batch.push_with(document.as_bytes(), |id| id_of(document.as_bytes(), id)).unwrap();
    }
    batch
}

async fn live(deployment: &MongoDeployment, name: &str, tenant: Option<&str>) -> Vec<Document> {
    let mut records = Target::scan(deployment, name, &IdRange::all(), tenant).await.unwrap();
    let (mut batch, mut found) = (RecordBatch::default(), Vec::new());
    while records.next(&mut batch).await.unwrap() {
        found.extend(batch.iter().map(|(_, image)| bson::deserialize_from_slice(image).unwrap()));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn inserted_records_are_there_byte_for_byte() -> Result<()> {
    let Some(Stage { _set, client, deployment }) = stage().await? else { return Ok(()) };
    let shop = client.database("shop");
    shop.run_command(doc! { "create": "orders", "validator": { "v": { "$exists": true } } }).await?;
    let orders = shop.collection::<Document>("orders");
    orders
        .create_index(
            IndexModel::builder()
                .keys(doc! { "u": 1 })
                .options(mongodb::options::IndexOptions::builder().unique(true).sparse(true).build())
                .build(),
        )
        .await?;
    let big = "x".repeat(16 * 1024 * 1024 - 40);
    let mut documents: Vec<RawDocumentBuf> = (0..1000).map(|n| rawdoc! { "_id": n, "": 1, "$a.b": n }).collect();
    documents.push(rawdoc! { "_id": "big", "big": big.as_str() });
    documents.push(rawdoc! { "_id": { "b": 1, "a": 2 }, "t": bson::Timestamp { time: 0, increment: 0 } });
    let all = batch(&documents);
    let report = deployment.insert("shop.orders", &all).await?;
    assert_eq!((report.written, report.conflicts), (1002, vec![]));
    let ids: Vec<&[u8]> = all.iter().map(|(id, _)| id).collect();
    let fetched = deployment.fetch("shop.orders", &ids).await?;
    let mut expected: Vec<_> = all.iter().collect();
    let mut found: Vec<_> = fetched.iter().collect();
    expected.sort();
    found.sort();
    assert!(found == expected);

    // Again: nothing changes, and what differs is told.
    assert_eq!(deployment.insert("shop.orders", &all).await?.written, 1002);
    let other =
        batch(&[rawdoc! { "_id": 1, "other": true }, rawdoc! { "_id": 5000, "u": 1 }, rawdoc! { "_id": 5001, "u": 1 }]);
    let report = deployment.insert("shop.orders", &other).await?;
    assert_eq!(report.written, 1);
    assert_eq!(report.conflicts.iter().map(|conflict| conflict.write).collect::<Vec<_>>(), [0, 2]);
    assert!(report.conflicts[1].why.contains("duplicate key"), "{}", report.conflicts[1].why);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guarded_write_leaves_what_changed_meanwhile() -> Result<()> {
    if backstay_testkit::require_mongod_since(6, 0).is_none() {
        return Ok(());
    }
    let Some(Stage { _set, client, deployment }) = stage().await? else { return Ok(()) };
    let shop = client.database("shop");
    shop.run_command(doc! { "create": "words", "collation": { "locale": "en", "strength": 1 } }).await?;
    let english = doc! { "locale": "en", "strength": 1 };
    shop.run_command(doc! { "create": "log", "capped": true, "size": 1 << 20, "collation": english }).await?;
    for name in ["orders", "words", "log"] {
        let orders = shop.collection::<Document>(name);
        let full = format!("shop.{name}");
        let seen: Vec<RawDocumentBuf> =
            (0..8).map(|n| raw(doc! { "_id": n, "a": 1, "b": { "x": "y" }, "$l": [1, "$a"] })).collect();
        orders.insert_many(seen.iter().map(tree)).await?;
        let goal: Vec<RawDocumentBuf> =
            (0..8).map(|n| raw(doc! { "_id": n, "restored": true, "b.c": 1, "$d": { "$e": "$f" } })).collect();
        // 0 untouched · 1 another value · 2 another order of fields · 3 gone · 4 another case · 5 already as wished
        // 6 to be deleted, untouched · 7 to be deleted, changed
        orders.update_one(doc! { "_id": 1 }, doc! { "$set": { "a": 2 } }).await?;
        orders.delete_one(doc! { "_id": 2 }).await?;
        orders.insert_one(doc! { "_id": 2, "b": { "x": "y" }, "a": 1, "$l": [1, "$a"] }).await?;
        orders.delete_one(doc! { "_id": 3 }).await?;
        orders.update_one(doc! { "_id": 4 }, doc! { "$set": { "b.x": "Y" } }).await?;
        orders.delete_one(doc! { "_id": 5 }).await?;
        shop.collection::<RawDocumentBuf>(name).insert_one(&goal[5]).await?;
        orders.update_one(doc! { "_id": 7 }, doc! { "$set": { "extra": 1 } }).await?;
        let mut writes: Vec<Write> =
            (0..6).map(|n| Write::Replace { expected: seen[n].as_bytes(), image: goal[n].as_bytes() }).collect();
        writes.extend((6..8).map(|n| Write::Delete { expected: seen[n].as_bytes() }));
        let fresh = raw(doc! { "_id": 100 });
        writes.push(Write::Insert { image: fresh.as_bytes() });
        let report = deployment.write(&full, &writes, WriteMode::Guarded).await?;
        let conflicts: Vec<usize> = report.conflicts.iter().map(|conflict| conflict.write).collect();
        assert_eq!((report.written, conflicts), (4, vec![1, 2, 3, 4, 7]), "{name}");
        assert!(report.conflicts[2].why.contains("deleted"));
        let now = live(&deployment, &full, None).await;
        assert_eq!(now.len(), 7);
        assert_eq!(now[0], tree(&goal[0]));

        let report = deployment.write(&full, &writes, WriteMode::Overwrite).await?;
        assert_eq!((report.written, report.conflicts), (9, vec![]), "{name}: what is gone counts as deleted");
        let mut expected: Vec<Document> = goal[..6].iter().map(tree).collect();
        expected.push(doc! { "_id": 100 });
        assert_eq!(live(&deployment, &full, None).await, expected, "{name}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn records_too_large_for_one_command_are_guarded_too() -> Result<()> {
    let Some(Stage { _set, client, deployment }) = stage().await? else { return Ok(()) };
    let orders = client.database("shop").collection::<Document>("orders");
    let text = |letter: &str| letter.repeat(9 << 20);
    let (seen, goal) = (raw(doc! { "_id": 1, "t": text("a") }), raw(doc! { "_id": 1, "t": text("b") }));
    orders.insert_one(tree(&seen)).await?;
    let writes = [Write::Replace { expected: seen.as_bytes(), image: goal.as_bytes() }];
    assert_eq!(deployment.write("shop.orders", &writes, WriteMode::Guarded).await?.written, 1);
    let other = raw(doc! { "_id": 1, "t": text("c") });
    let writes = [Write::Replace { expected: seen.as_bytes(), image: other.as_bytes() }];
    let report = deployment.write("shop.orders", &writes, WriteMode::Guarded).await?;
    assert_eq!((report.written, report.conflicts.len()), (0, 1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unique_value_of_another_record_is_told_from_a_record_that_changed() -> Result<()> {
    let Some(Stage { _set, client, deployment }) = stage().await? else { return Ok(()) };
    let shop = client.database("shop");
    shop.run_command(doc! { "create": "words", "collation": { "locale": "en", "strength": 1 } }).await?;
    let zero = bson::Timestamp { time: 0, increment: 0 };
    for name in ["orders", "words"] {
        let index = doc! { "name": "u", "key": { "u": 1 }, "unique": true };
        shop.run_command(doc! { "createIndexes": name, "indexes": [index] }).await?;
        let orders = shop.collection::<Document>(name);
        let seen: Vec<RawDocumentBuf> = (0..4).map(|n| raw(doc! { "_id": n, "u": n })).collect();
        orders.insert_many(seen.iter().map(tree)).await?;
        orders.update_one(doc! { "_id": 3 }, doc! { "$set": { "more": 1 } }).await?;
        let image = |id: i32, u: i32| raw(doc! { "_id": id, "u": u });
        let (one, two, three) = (image(0, 1), image(1, 0), image(3, 9));
        let (new, here, odd) = (image(7, 2), image(2, 2), raw(doc! { "_id": 8, "u": 2, "t": zero }));
        let here_odd = raw(doc! { "_id": 3, "u": 9, "t": zero });
        let writes = [
            Write::Replace { expected: seen[0].as_bytes(), image: one.as_bytes() },
            Write::Replace { expected: seen[3].as_bytes(), image: three.as_bytes() },
            Write::Insert { image: new.as_bytes() },
            Write::Insert { image: odd.as_bytes() },
            Write::Insert { image: three.as_bytes() },
            Write::Insert { image: here_odd.as_bytes() },
            Write::Insert { image: here.as_bytes() },
        ];
        let report = deployment.write(&format!("shop.{name}"), &writes, WriteMode::Guarded).await?;
        let told: Vec<(usize, bool)> = report.conflicts.iter().map(|found| (found.write, found.taken)).collect();
        assert_eq!(told, [(0, true), (1, false), (2, true), (3, true), (4, false), (5, false)], "{name} {report:?}");
        assert_eq!(report.written, 1, "what is there as wished is written");
        let report = deployment.write(&format!("shop.{name}"), &writes[..1], WriteMode::Overwrite).await?;
        assert!(report.conflicts.len() == 1 && report.conflicts[0].taken, "{name} {report:?}");

        // Both at one instant; not when one of them has changed, and all or none.
        let swap = [writes[0], Write::Replace { expected: seen[1].as_bytes(), image: two.as_bytes() }];
        let name = format!("shop.{name}");
        let before = live(&deployment, &name, None).await;
        let changed = deployment.exchange(&name, &[swap[0], swap[1], writes[1]], WriteMode::Guarded).await?;
        assert_eq!((changed.written, changed.conflicts.len()), (0, 1), "{changed:?}");
        assert!(changed.conflicts[0].write == 2 && !changed.conflicts[0].taken, "{changed:?}");
        let taken = deployment.exchange(&name, &[swap[0], swap[1], writes[2]], WriteMode::Guarded).await?;
        assert_eq!((taken.written, taken.conflicts.len()), (0, 1), "{taken:?}");
        assert!(taken.conflicts[0].write == 2 && taken.conflicts[0].taken, "{taken:?}");
        assert_eq!(live(&deployment, &name, None).await, before);
        for _ in 0..2 {
            let report = deployment.exchange(&name, &swap, WriteMode::Guarded).await?;
            assert_eq!((report.written, report.conflicts.as_slice()), (2, &[][..]), "the second time nothing changes");
        }
        let odd = [
            Write::Delete { expected: seen[2].as_bytes() },
            Write::Insert { image: odd.as_bytes() },
            Write::Replace { expected: seen[3].as_bytes(), image: three.as_bytes() },
        ];
        assert_eq!(deployment.exchange(&name, &odd, WriteMode::Overwrite).await?.written, 3);
        let now = live(&deployment, &name, None).await;
        assert_eq!(now, [&one, &two, &three, &raw(doc! { "_id": 8, "u": 2, "t": zero })].map(tree));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_into_one_command_is_exchanged_at_one_instant_too() -> Result<()> {
    let Some(Stage { _set, client, deployment }) = stage().await? else { return Ok(()) };
    let shop = client.database("shop");
    let index = doc! { "name": "u", "key": { "u": 1 }, "unique": true };
    shop.run_command(doc! { "createIndexes": "orders", "indexes": [index] }).await?;
    let record = |id: i32, u: i32| raw(doc! { "_id": id, "u": u, "pad": "x".repeat(3 << 20) });
    let seen: Vec<RawDocumentBuf> = (0..7).map(|n| record(n, n)).collect();
    let goal: Vec<RawDocumentBuf> = (0..7).map(|n| record(n, (n + 1) % 7)).collect();
    deployment.insert("shop.orders", &batch(&seen)).await?;
    let both = seen.iter().zip(&goal);
    let writes: Vec<Write> =
        both.map(|(seen, goal)| Write::Replace { expected: seen.as_bytes(), image: goal.as_bytes() }).collect();
    let report = deployment.exchange("shop.orders", &writes, WriteMode::Guarded).await?;
    assert_eq!((report.written, report.conflicts), (7, vec![]));
    assert!(live(&deployment, "shop.orders", None).await == goal.iter().map(tree).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capped_collection_tells_how_much_more_it_holds() -> Result<()> {
    if backstay_testkit::require_mongod_since(6, 0).is_none() {
        return Ok(());
    }
    let Some(Stage { _set, client, deployment }) = stage().await? else { return Ok(()) };
    let shop = client.database("shop");
    shop.run_command(doc! { "create": "log", "capped": true, "size": 4096, "max": 50 }).await?;
    shop.run_command(doc! { "create": "sized", "capped": true, "size": 4096 }).await?;
    let record = raw(doc! { "_id": 1 });
    let length = i64::try_from(record.as_bytes().len())?;
    for name in ["log", "sized", "orders"] {
        shop.collection::<Document>(name).insert_one(tree(&record)).await?;
    }
    let room = async |name: &str| deployment.room(name).await.unwrap().map(|room| (room.records, room.bytes));
    assert_eq!(room("shop.log").await, Some((49, 4096 - length)));
    assert!(room("shop.sized").await.is_some_and(|(records, bytes)| records > 1 << 40 && bytes == 4096 - length));
    assert_eq!(room("shop.orders").await, None);
    shop.run_command(doc! { "collMod": "log", "cappedSize": 4096, "cappedMax": 0 }).await?;
    // The server keeps "no limit" as the highest number of 32 bits.
    assert_eq!(room("shop.log").await, Some((i64::from(i32::MAX) - 1, 4096 - length)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_tenants_records_come_however_they_are_found() -> Result<()> {
    let Some(Stage { _set, client, deployment }) = stage().await? else { return Ok(()) };
    let orders = client.database("shop").collection::<Document>("orders");
    let tenant = |n: i32| match n % 50 {
        0 => Bson::Int32(7),
        1 => Bson::Double(7.0),
        2 => Bson::String("7".into()),
        3 => Bson::Null,
        4 => Bson::String("{odd}".into()),
        other => Bson::String(format!("t{}", other % 3)),
    };
    orders.insert_many((0..5000).map(|n| doc! { "_id": 5000 - n, "who": { "tenant": tenant(n) } })).await?;
    for round in 0..2 {
        for (name, count) in [("7", 300), ("shared", 100), ("{odd}", 100), ("t1", 1500), ("nobody", 0)] {
            let found = live(&deployment, "shop.orders", Some(name)).await;
            assert_eq!(found.len(), count, "{name} {round}");
            assert!(found.is_sorted_by_key(|document| document.get_i32("_id").unwrap()), "{name} {round}");
        }
        orders.create_index(IndexModel::builder().keys(doc! { "who.tenant": 1 }).build()).await?;
    }
    client.database("other").collection::<Document>("x").insert_one(doc! { "_id": 1 }).await?;
    assert_eq!(live(&deployment, "other.x", Some("shared")).await.len(), 1);
    assert_eq!(live(&deployment, "other.x", Some("t1")).await.len(), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_is_made_again_with_its_indexes() -> Result<()> {
    if backstay_testkit::require_mongod_since(6, 0).is_none() {
        return Ok(());
    }
    let Some(Stage { _set, client, deployment }) = stage().await? else { return Ok(()) };
    let shop = client.database("shop");
    let german = doc! { "locale": "de" };
    let creates = [
        doc! { "create": "plain" },
        doc! { "create": "german", "collation": german.clone() },
        doc! { "create": "capped", "capped": true, "size": 1 << 20, "max": 1000 },
        doc! { "create": "checked", "validator": { "a": { "$gt": 1 } }, "validationLevel": "moderate" },
        doc! { "create": "clustered", "clusteredIndex": { "key": { "_id": 1 }, "unique": true, "name": "c" } },
    ];
    for create in &creates {
        shop.run_command(create.clone()).await?;
    }
    let simple = doc! { "locale": "simple" };
    for name in ["plain", "german"] {
        let indexes = vec![
            doc! { "name": "a", "key": { "a": 1, "b": -1 }, "unique": true, "sparse": true },
            doc! { "name": "p", "key": { "p": 1 }, "partialFilterExpression": { "p": { "$gt": 5 } } },
            doc! { "name": "s", "key": { "s": 1 }, "collation": simple.clone() },
            doc! { "name": "h", "key": { "h": 1 }, "hidden": true },
            doc! { "name": "ttl", "key": { "t": 1 }, "expireAfterSeconds": 3600 },
            doc! { "name": "text", "key": { "words": "text" }, "collation": simple.clone(), "default_language": "german" },
        ];
        shop.run_command(doc! { "createIndexes": name, "indexes": indexes }).await?;
    }
    for namespace in Source::namespaces(&deployment).await? {
        let copy = namespace.name.replace("shop.", "copy.");
        assert_eq!(deployment.definition_differences(&copy, &namespace.definition).await?, ["it does not exist"]);
        deployment.create(&copy, &namespace.definition).await?;
        let missing = deployment.definition_differences(&copy, &namespace.definition).await?;
        // Until it is filled, a capped collection is as large as it may have to be.
        let cap = ["the option max is missing", "the option size differs"];
        let later = |missing: &String| missing.contains("index") && missing.contains("missing");
        match copy.as_str() {
            "copy.capped" => assert_eq!(missing, cap),
            _ => assert!(missing.iter().all(later), "{missing:?}"),
        }
        deployment.build_indexes(&copy, &namespace.definition).await?;
        let differences = deployment.definition_differences(&copy, &namespace.definition).await?;
        assert!(differences.is_empty(), "{copy}: {differences:?}");
        deployment.build_indexes(&copy, &namespace.definition).await?;
    }
    Ok(())
}

/// Two ways to be in the way: another name for the same, and what there is but one of.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_cannot_be_beside_those_of_today_is_left_out_and_named() -> Result<()> {
    let Some(Stage { _set, client, deployment }) = stage().await? else { return Ok(()) };
    let shop = client.database("shop");
    let index = |name: &str, key: Document| doc! { "name": name, "key": key };
    let then = vec![index("a", doc! { "a": 1 }), index("t", doc! { "then": "text" }), index("b", doc! { "b": 1 })];
    shop.run_command(doc! { "createIndexes": "orders", "indexes": then }).await?;
    let found = Source::namespaces(&deployment).await?;
    let definition = &found.iter().find(|found| found.name == "shop.orders").unwrap().definition;
    shop.run_command(doc! { "dropIndexes": "orders", "index": "*" }).await?;
    let today = vec![index("other", doc! { "a": 1 }), index("now", doc! { "now": "text" })];
    shop.run_command(doc! { "createIndexes": "orders", "indexes": today }).await?;
    deployment.build_indexes("shop.orders", definition).await?;
    let mut names = shop.collection::<Document>("orders").list_index_names().await?;
    names.sort();
    assert_eq!(names, ["_id_", "b", "now", "other"]);
    let differences = deployment.definition_differences("shop.orders", definition).await?;
    let called = "the index a is called other";
    let in_its_place = "the index t is missing, and now is in its place";
    assert_eq!(differences, [called, in_its_place, "the index now was added"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn views_are_made_changed_and_removed_by_their_records() -> Result<()> {
    let Some(Stage { _set, client, deployment }) = stage().await? else { return Ok(()) };
    let shop = client.database("shop");
    shop.collection::<Document>("orders").insert_many([doc! { "_id": 1 }, doc! { "_id": 2 }]).await?;
    let pipeline = |n: i32| vec![doc! { "$match": { "_id": n } }];
    shop.run_command(doc! { "create": "one", "viewOn": "orders", "pipeline": pipeline(1) }).await?;
    let one = live(&deployment, "shop.system.views", None).await.remove(0);
    shop.run_command(doc! { "drop": "one" }).await?;
    let image = raw(one.clone());
    let report = deployment.insert("shop.system.views", &batch(std::slice::from_ref(&image))).await?;
    assert_eq!((report.written, report.conflicts), (1, vec![]));
    assert_eq!(live(&deployment, "shop.system.views", None).await, std::slice::from_ref(&one));
    let mut two = one.clone();
    two.insert("pipeline", pipeline(2));
    let two = raw(two);
    let replace = [Write::Replace { expected: image.as_bytes(), image: two.as_bytes() }];
    assert_eq!(deployment.write("shop.system.views", &replace, WriteMode::Guarded).await?.written, 1);
    assert_eq!(shop.collection::<Document>("one").find_one(doc! {}).await?, Some(doc! { "_id": 2 }));
    let wrong = [Write::Delete { expected: image.as_bytes() }];
    assert_eq!(deployment.write("shop.system.views", &wrong, WriteMode::Guarded).await?.conflicts.len(), 1);
    let delete = [Write::Delete { expected: two.as_bytes() }];
    assert_eq!(deployment.write("shop.system.views", &delete, WriteMode::Guarded).await?.written, 1);
    assert!(live(&deployment, "shop.system.views", None).await.is_empty());
    Ok(())
}
