//! Strange data: what a server accepts comes back byte for byte, whatever drivers would say of it.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test at the edge: real clock, real server")]

#[macro_use]
mod scenario;

use backstay_mongodb::Feed;
use bson::raw::{RawBson, RawDocumentBuf, cstr};
use bson::spec::BinarySubtype;
use bson::{Binary, Bson, DateTime, Decimal128, Document, Regex, Timestamp, doc, oid::ObjectId, rawdoc};
use scenario::Stage;

fn decimal(text: &str) -> Bson {
    Bson::Decimal128(text.parse::<Decimal128>().unwrap())
}

fn nan(payload: u64) -> f64 {
    f64::from_bits(0x7FF8_0000_0000_0000 | payload)
}

/// One value of every type that a document can hold, the deprecated ones too.
fn every_value() -> Vec<Bson> {
    let binary = |subtype: u8, bytes: &[u8]| Bson::Binary(Binary { subtype: subtype.into(), bytes: bytes.to_vec() });
    let mut values = vec![
        Bson::Double(1.5),
        Bson::Double(-0.0),
        Bson::Double(f64::INFINITY),
        Bson::Double(f64::MIN_POSITIVE / 4.0),
        Bson::Double(nan(0)),
        Bson::String("text with \u{0} inside, ünïcödé, 🧾".into()),
        Bson::String(String::new()),
        Bson::Document(doc! {}),
        Bson::Document(doc! { "": doc! { "": 1 } }),
        Bson::Array(vec![]),
        Bson::Array(vec![Bson::Null, Bson::Array(vec![Bson::Undefined])]),
        Bson::Undefined,
        Bson::ObjectId(ObjectId::from_bytes([0; 12])),
        Bson::Boolean(true),
        Bson::Boolean(false),
        Bson::DateTime(DateTime::from_millis(i64::MIN)),
        Bson::DateTime(DateTime::from_millis(i64::MAX)),
        Bson::Null,
        Bson::RegularExpression(Regex { pattern: cstr!("^a/b").into(), options: cstr!("imsux").into() }),
        Bson::JavaScriptCode("function () { return '}' }".into()),
        Bson::JavaScriptCodeWithScope(bson::JavaScriptCodeWithScope {
            code: "x".into(),
            scope: doc! { "x": { "y": 1 } },
        }),
        Bson::Symbol("symbol".into()),
        Bson::Int32(i32::MIN),
        Bson::Int64(i64::MAX),
        Bson::Timestamp(Timestamp { time: u32::MAX, increment: u32::MAX }),
        Bson::Timestamp(Timestamp { time: 0, increment: 0 }),
        decimal("1.00"),
        decimal("-0E-6176"),
        decimal("NaN"),
        decimal("-Infinity"),
        decimal("9.999999999999999999999999999999999E6144"),
        Bson::MinKey,
        Bson::MaxKey,
    ];
    values.extend([0u8, 1, 3, 4, 5, 6, 7, 128, 255].map(|subtype| binary(subtype, &[subtype; 16])));
    values.push(binary(2, b"old"));
    values.push(binary(0, b""));
    values
}

/// One id of every type that an id can have. No two of them are equal to the server.
fn every_id() -> Vec<Bson> {
    let illegal = |value: &Bson| {
        matches!(value, Bson::Array(_) | Bson::RegularExpression(_) | Bson::Undefined)
            || matches!(value, Bson::Decimal128(number) if ["NaN", "-0E-6176"].contains(&number.to_string().as_str()))
    };
    let mut ids: Vec<Bson> = every_value().into_iter().filter(|value| !illegal(value)).collect();
    ids.extend([
        doc! { "a": 1, "b": 2 }.into(),
        doc! { "b": 2, "a": 1 }.into(),
        doc! { "a": { "x$": [1, doc! {}] } }.into(),
        Bson::Double(2.0),
        Bson::Int64(3),
        decimal("4.000"),
        decimal("0.1"),
        Bson::Double(0.1),
        Bson::String("x".repeat(900)),
        Bson::String("symbol2".into()),
    ]);
    ids
}

/// A command with documents that no driver would let through as they are.
async fn insert(stage: &Stage, name: &str, documents: Vec<RawDocumentBuf>) {
    let mut array = bson::RawArrayBuf::new();
    for document in documents {
        array.push(document);
    }
    let mut command = RawDocumentBuf::new();
    command.append(cstr!("insert"), name);
    command.append(cstr!("documents"), array);
    let reply = stage.database("shop").run_raw_command(command).await.unwrap();
    assert!(reply.get("writeErrors").is_none(), "{reply}");
}

fn raw(value: &Bson) -> RawBson {
    RawBson::try_from(value.clone()).unwrap()
}

async fn every_type_and_every_id_comes_back(feed: Feed) {
    let Some(mut stage) = Stage::open_by(feed).await else { return };
    let values = |from: i32| {
        let of = |(n, value): (usize, Bson)| {
            let mut document = rawdoc! { "_id": from + i32::try_from(n).unwrap() };
            document.append(cstr!("value"), raw(&value));
            document.append(cstr!("list"), raw(&Bson::Array(vec![value.clone(), value.clone()])));
            document.append(cstr!("below"), raw(&doc! { "x": value }.into()));
            document
        };
        every_value().into_iter().enumerate().map(of).collect::<Vec<_>>()
    };
    let ids = |tag: &str| {
        let of = |id: Bson| {
            let mut document = RawDocumentBuf::new();
            document.append(cstr!("_id"), raw(&id));
            document.append(cstr!("tag"), tag);
            document
        };
        every_id().into_iter().map(of).collect::<Vec<_>>()
    };
    insert(&stage, "values", values(0)).await;
    for id in ids("base") {
        insert(&stage, "ids", vec![id]).await;
    }
    stage.run("shop", doc! { "create": "sv", "collation": { "locale": "sv", "strength": 1 } }).await;
    for id in ids("base") {
        // To this collection some texts and sub-documents are equal.
        let mut array = bson::RawArrayBuf::new();
        array.push(id);
        let command = rawdoc! { "insert": "sv", "documents": array };
        stage.database("shop").run_raw_command(command).await.unwrap();
    }
    stage.backup().await;
    stage.moment("base").await;
    insert(&stage, "values", values(1000)).await;
    insert(&stage, "ids2", ids("tail")).await;
    stage.moment("inserted").await;
    for collection in ["ids", "sv", "ids2"] {
        for (n, id) in every_id().into_iter().enumerate() {
            let mut query = RawDocumentBuf::new();
            query.append(cstr!("_id"), rawdoc! { "$eq": raw(&id) });
            let update = match n % 3 {
                0 => rawdoc! { "q": query, "u": { "$set": { "updated": i32::try_from(n).unwrap() } } },
                1 => rawdoc! { "q": query, "u": { "replaced": true } },
                _ => rawdoc! { "q": query, "u": [{ "$set": { "by": "pipeline" } }] },
            };
            let mut updates = bson::RawArrayBuf::new();
            updates.push(update);
            let database = stage.database("shop");
            let reply = database.run_raw_command(rawdoc! { "update": collection, "updates": updates }).await.unwrap();
            // An index with a collation holds no symbols: such a record was not inserted either.
            let impossible = collection == "sv" && matches!(id, Bson::Symbol(_));
            assert_eq!(reply.get("writeErrors").is_some(), impossible, "{id}: {reply}");
        }
    }
    stage.moment("updated and replaced").await;
    // Every type into every type, by diffs.
    let all = every_value();
    for n in 0..all.len() {
        let other = all[(n * 5 + 3) % all.len()].clone();
        let mut set = RawDocumentBuf::new();
        set.append(cstr!("value"), raw(&other));
        set.append(cstr!("list.1"), raw(&other));
        set.append(cstr!("below.y"), raw(&other));
        let mut updates = bson::RawArrayBuf::new();
        updates.push(rawdoc! { "q": { "_id": i32::try_from(n).unwrap() }, "u": { "$set": set } });
        let reply = stage.database("shop").run_raw_command(rawdoc! { "update": "values", "updates": updates }).await;
        assert!(reply.as_ref().unwrap().get("writeErrors").is_none(), "{reply:?}");
    }
    stage.moment("every type became another").await;
    for id in every_id() {
        let mut deletes = bson::RawArrayBuf::new();
        deletes.push(rawdoc! { "q": { "_id": { "$eq": raw(&id) } }, "limit": 1 });
        stage.database("shop").run_raw_command(rawdoc! { "delete": "ids", "deletes": deletes }).await.unwrap();
    }
    stage.moment("deleted").await;
    stage.check_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_numbers_are_one_id() {
    let Some(mut stage) = Stage::open().await else { return };
    // Each row: ways to write one id. The first is inserted, each next replaces it.
    let rows: Vec<Vec<Bson>> = vec![
        vec![Bson::Int32(1), Bson::Double(1.0), Bson::Int64(1), decimal("1"), decimal("1.0"), decimal("1.00")],
        vec![Bson::Double(0.0), Bson::Double(-0.0), Bson::Int32(0), decimal("-0"), decimal("0E+3")],
        vec![Bson::Double(nan(0)), decimal("NaN"), Bson::Double(nan(7)), Bson::Double(-nan(0))],
        vec![Bson::Int64(1 << 53), Bson::Double(9_007_199_254_740_992.0), decimal("9007199254740992")],
        vec![Bson::Double(0.5), decimal("0.5"), decimal("0.50")],
        vec![doc! { "a": 7 }.into(), doc! { "a": 7.0 }.into(), doc! { "a": decimal("7.0") }.into()],
        vec![Bson::String("s".into()), Bson::Symbol("s".into())],
    ];
    for row in &rows {
        insert(
            &stage,
            "c",
            vec![{
                let mut d = RawDocumentBuf::new();
                d.append(cstr!("_id"), raw(&row[0]));
                d
            }],
        )
        .await;
    }
    stage.backup().await;
    stage.moment("inserted").await;
    let longest = rows.iter().map(Vec::len).max().unwrap();
    for round in 1..longest {
        for row in &rows {
            let (Some(id), Some(next)) = (row.get(round - 1), row.get(round)) else { continue };
            let mut replacement = RawDocumentBuf::new();
            replacement.append(cstr!("round"), i32::try_from(round).unwrap());
            if round % 2 == 1 {
                replacement = RawDocumentBuf::new();
                replacement.append(cstr!("_id"), raw(next));
                replacement.append(cstr!("round"), i32::try_from(round).unwrap());
            }
            let mut updates = bson::RawArrayBuf::new();
            updates.push(rawdoc! { "q": { "_id": { "$eq": raw(id) } }, "u": replacement, "upsert": false });
            let reply =
                stage.database("shop").run_raw_command(rawdoc! { "update": "c", "updates": updates }).await.unwrap();
            println!("{id} -> {next}: {reply}");
        }
        stage.moment(&format!("round {round}")).await;
    }
    for row in &rows {
        let mut deletes = bson::RawArrayBuf::new();
        deletes.push(rawdoc! { "q": { "_id": { "$eq": raw(row.last().unwrap()) } }, "limit": 1 });
        stage.database("shop").run_raw_command(rawdoc! { "delete": "c", "deletes": deletes }).await.unwrap();
        let mut again = RawDocumentBuf::new();
        again.append(cstr!("_id"), raw(row.last().unwrap()));
        insert(&stage, "c", vec![again]).await;
    }
    stage.moment("deleted and inserted by another writing").await;
    stage.check_all().await;
}

async fn names_that_repeat_or_look_like_operators_come_back(feed: Feed) {
    let Some(mut stage) = Stage::open_by(feed).await else { return };
    let twice = |id: i32| {
        let mut inner = rawdoc! { "x": 1, "y": 2 };
        inner.append(cstr!("x"), "second");
        let mut document = rawdoc! { "_id": id, "a": 1, "b": inner.clone() };
        document.append(cstr!("a"), "second");
        document.append(cstr!("list"), raw(&Bson::Array(vec![1.into(), 2.into()])));
        document.append(cstr!("b"), inner);
        document
    };
    let odd = |id: i32| {
        rawdoc! {
            "_id": id, "": 1, "a.b": 2, "a": { "b": 3, "b.c": 4, "": { "": 5 }, "$set": 6, "$inc": { "n": 1 } }, ".": 7, "..": 8, "a.": 9, ".a": 10,
            "d": "$x", "i": { "u": 1 }, "u": { "d": 2 }, "s": { "a": true, "l": 3 }, "l": [1, 2], "b": { "o": 1, "d": 2 }, "0": { "0": [0] }, "u0": 1, "sa": { "a": 1 }, "$v": 2, "diff": { "i": 1 },
        }
    };
    insert(&stage, "twice", (0..6).map(twice).collect()).await;
    insert(&stage, "odd", (0..20).map(odd).collect()).await;
    stage.backup().await;
    stage.moment("base").await;
    insert(&stage, "twice", (10..13).map(twice).collect()).await;
    insert(&stage, "odd", (20..30).map(odd).collect()).await;
    stage.moment("inserted").await;
    // Fields that stand there once, of documents in which others stand there twice.
    let update = async |name: &str, id: i32, update: RawBson| {
        let mut statement = rawdoc! { "q": { "_id": id } };
        statement.append(cstr!("u"), update);
        let mut updates = bson::RawArrayBuf::new();
        updates.push(statement);
        let reply =
            stage.database("shop").run_raw_command(rawdoc! { "update": name, "updates": updates }).await.unwrap();
        if reply.get("writeErrors").is_some() {
            println!("refused: {reply}");
        }
    };
    for (id, change) in [
        doc! { "$set": { "c": 1 } },
        doc! { "$push": { "list": 3 } },
        doc! { "$unset": { "list": 1 } },
        doc! { "$set": { "list.0": "x" }, "$inc": { "n": 1 } },
    ]
    .into_iter()
    .enumerate()
    {
        update("twice", i32::try_from(id).unwrap(), raw(&change.into())).await;
    }
    let replace = doc! { "$replaceWith": { "$literal": { "_id": 4, "only": "this" } } };
    update("twice", 4, raw(&Bson::Array(vec![replace.into()]))).await;
    let set_field = |field: &str, value: Bson| {
        let field: Bson = doc! { "$literal": field }.into();
        doc! { "$replaceWith": { "$setField": { "field": field, "input": "$$ROOT", "value": value } } }
    };
    let unset_field = |field: &str| {
        doc! { "$replaceWith": { "$unsetField": { "field": { "$literal": field }, "input": "$$ROOT" } } }
    };
    let pipelines = [
        set_field("a.b", "changed".into()),
        set_field("$price", 5.into()),
        set_field(".", doc! { "x": 1 }.into()),
        unset_field("a.b"),
        unset_field("$v"),
        set_field("diff", 3.into()),
        doc! { "$set": { "s": { "a": false, "l": 1, "x": 2 } } },
        doc! { "$replaceWith": { "$literal": { "_id": 7, "$set": { "x": 1 }, "u": 5, "": 6 } } },
        doc! { "$set": { "u.d": 7, "i.u": 8, "b.o": 9, "sa.a": 2, "0.0": 4 } },
        doc! { "$unset": ["u", "i", "s", "d"] },
    ];
    for (id, stage_) in pipelines.into_iter().enumerate() {
        update("odd", i32::try_from(id).unwrap(), raw(&Bson::Array(vec![stage_.into()]))).await;
    }
    for (id, change) in [
        doc! { "$set": { "u.d": [1, 2, 3], "s.a": 5 }, "$unset": { "d": 1, "b.o": 1 } },
        doc! { "$push": { "l": { "$each": [7, 8], "$position": 0 } }, "$rename": { "u0": "s0" } },
        doc! { "$set": { "l.5": "padded", "0.0.3": 1 } },
        doc! { "$pop": { "l": 1 }, "$inc": { "sa.a": 1 } },
        doc! { "$set": { "new": {}, "i.s.u.d.i": 1 } },
    ]
    .into_iter()
    .enumerate()
    {
        update("odd", 10 + i32::try_from(id).unwrap(), raw(&change.into())).await;
    }
    update("odd", 15, raw(&doc! { "plain": "replacement", "a.b": 1, "": 2 }.into())).await;
    stage.moment("updated").await;
    stage.check_all().await;
    stage.rewind(stage.moments[0].at, backstay_engine::Scope::default()).await.unwrap();
    scenario::assert_same(&scenario::show(&stage.client).await, &stage.moments[0].content, "in place");
}

async fn records_as_large_and_as_deep_as_they_may_be_come_back(feed: Feed) {
    let Some(mut stage) = Stage::open_by(feed).await else { return };
    let limit = 16 * 1024 * 1024;
    // _id (9), big (5 + 4 + text + 1 …): the document is exactly as large as the server takes.
    let exact = |id: i32, fill: &str| {
        let empty = rawdoc! { "_id": id, "big": "" }.as_bytes().len();
        rawdoc! { "_id": id, "big": fill.repeat(limit - empty) }
    };
    let deep = |id: i32| {
        // 180 levels, the most that a server takes: the record, its field `x`, and two for each turn.
        let mut inner = doc! { "x": { "y": id } };
        for _ in 0..89 {
            inner = doc! { "d": [inner] };
        }
        RawDocumentBuf::try_from(&{
            let mut d = doc! { "_id": id };
            d.extend(inner);
            d
        })
        .unwrap()
    };
    insert(&stage, "large", vec![exact(1, "a")]).await;
    insert(&stage, "deep", vec![deep(1), deep(2)]).await;
    stage.backup().await;
    stage.moment("base").await;
    insert(&stage, "large", vec![exact(2, "b")]).await;
    insert(&stage, "deep", vec![deep(3)]).await;
    assert_eq!(exact(2, "b").as_bytes().len(), limit);
    stage.moment("inserted").await;
    let large = stage.database("shop").collection::<Document>("large");
    large.update_one(doc! { "_id": 1 }, doc! { "$set": { "big": "short" } }).await.unwrap();
    large
        .update_one(doc! { "_id": 2 }, vec![doc! { "$set": { "big": { "$substrBytes": ["$big", 7, -1] }, "c": 1 } }])
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let deep_ones = stage.database("shop").collection::<Document>("deep");
    deep_ones.update_one(doc! { "_id": 2 }, doc! { "$set": { format!("d{}", ".0.d".repeat(60)): 1 } }).await.unwrap();
    stage.moment("shrunk").await;
    large.update_one(doc! { "_id": 1 }, doc! { "$set": { "big": "c".repeat(limit - 200) } }).await.unwrap();
    stage.moment("grown again").await;
    stage.check_all().await;
    stage.rewind(stage.moments[1].at, backstay_engine::Scope::default()).await.unwrap();
    scenario::assert_same(&scenario::show(&stage.client).await, &stage.moments[1].content, "in place");
    let _ = BinarySubtype::Generic;
}

by_both!(
    every_type_and_every_id_comes_back,
    names_that_repeat_or_look_like_operators_come_back,
    records_as_large_and_as_deep_as_they_may_be_come_back
);
