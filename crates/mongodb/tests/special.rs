//! Collections that mean something to drivers, tools or the server itself: GridFS, stored JavaScript, change-stream
//! pre-images, users and roles.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test at the edge: real clock, real server")]

mod scenario;

use backstay_engine::Scope;
use backstay_mongodb::Options;
use bson::spec::BinarySubtype;
use bson::{Binary, Document, doc, oid::ObjectId};
use scenario::{Stage, clear, show};

#[tokio::test(flavor = "multi_thread")]
async fn files_functions_and_pre_images() {
    if backstay_testkit::require_mongod_since(6, 0).is_none() {
        return;
    }
    let Some(mut stage) = Stage::open().await else { return };
    let shop = stage.database("shop");
    let (files, chunks) = (shop.collection::<Document>("fs.files"), shop.collection::<Document>("fs.chunks"));
    stage.run("shop", doc! { "createIndexes": "fs.files", "indexes": [{ "key": { "filename": 1, "uploadDate": 1 }, "name": "filename_1_uploadDate_1" }] }).await;
    stage.run("shop", doc! { "createIndexes": "fs.chunks", "indexes": [{ "key": { "files_id": 1, "n": 1 }, "name": "files_id_1_n_1", "unique": true }] }).await;
    let upload = async |name: &str, parts: usize| {
        let id = ObjectId::new();
        for n in 0..parts {
            let data = Binary { subtype: BinarySubtype::Generic, bytes: vec![u8::try_from(n).unwrap(); 261_120] };
            chunks.insert_one(doc! { "files_id": id, "n": i32::try_from(n).unwrap(), "data": data }).await.unwrap();
        }
        let length = i64::try_from(parts * 261_120).unwrap();
        files.insert_one(doc! { "_id": id, "filename": name, "length": length, "chunkSize": 261_120, "uploadDate": bson::DateTime::now() }).await.unwrap();
        id
    };
    let first = upload("one", 3).await;
    let code = bson::Bson::JavaScriptCode("function (x) { return x + 1 }".into());
    let scripts = shop.collection::<Document>("system.js");
    scripts.insert_one(doc! { "_id": "inc", "value": code }).await.unwrap();
    stage.run("shop", doc! { "create": "watched", "changeStreamPreAndPostImages": { "enabled": true } }).await;
    let watched = shop.collection::<Document>("watched");
    watched.insert_many((0..5).map(|n| doc! { "_id": n })).await.unwrap();
    stage.backup().await;
    stage.moment("base").await;
    upload("two", 5).await;
    scripts.insert_one(doc! { "_id": "dec", "value": bson::Bson::JavaScriptCode("x => x - 1".into()) }).await.unwrap();
    for n in 0..5 {
        watched.update_one(doc! { "_id": n }, doc! { "$set": { "n": n } }).await.unwrap();
    }
    watched.delete_one(doc! { "_id": 3 }).await.unwrap();
    stage.moment("more of all").await;
    files.delete_one(doc! { "_id": first }).await.unwrap();
    chunks.delete_many(doc! { "files_id": first }).await.unwrap();
    scripts.delete_one(doc! { "_id": "inc" }).await.unwrap();
    stage.moment("less").await;
    stage.check_all().await;
    stage.rewind(stage.moments[0].at, Scope::default()).await.unwrap();
    scenario::assert_same(&show(&stage.client).await, &stage.moments[0].content, "in place");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_and_roles_are_captured_and_restored_only_when_asked() {
    let all = Options { include: vec!["*".into()], ..Options::default() };
    let Some(mut stage) = Stage::with(&[], all).await else { return };
    let users = async |stage: &Stage, client: &mongodb::Client| {
        let _ = stage;
        let mut found = Vec::new();
        for name in ["system.users", "system.roles"] {
            let collection = client.database("admin").collection::<bson::RawDocumentBuf>(name);
            let mut cursor = collection.find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap();
            while cursor.advance().await.unwrap() {
                found.push(cursor.current().as_bytes().to_vec());
            }
        }
        found
    };
    let make = async |stage: &Stage, database: &str, user: &str| {
        stage.run(database, doc! { "createRole": format!("role of {user}"), "privileges": [{ "resource": { "db": database, "collection": "" }, "actions": ["find"] }], "roles": [] }).await;
        stage.run(database, doc! { "createUser": user, "pwd": "secret", "roles": [format!("role of {user}")] }).await;
    };
    make(&stage, "shop", "ann").await;
    make(&stage, "other", "bob").await;
    stage.database("shop").collection::<Document>("orders").insert_one(doc! { "_id": 1 }).await.unwrap();
    stage.backup().await;
    make(&stage, "shop", "cid").await;
    stage.capture().await;
    // Not asked for: neither by no pattern nor by one for everything.
    let definitions = async |stage: &Stage| {
        let now = backstay_source::Source::snapshot(&stage.from).await.unwrap();
        stage.capture().await;
        let view = stage.vault().snapshot(backstay_source::Source::interpreter(&stage.from), now).await.unwrap();
        let found = view.at(now).await.unwrap().definitions().await.unwrap();
        found.into_iter().map(|definition| definition.name).collect::<Vec<_>>()
    };
    assert_eq!(definitions(&stage).await, ["shop.orders"]);

    let asked = Options {
        include: vec!["*".into(), "admin.system.users".into(), "admin.system.roles".into()],
        ..Options::default()
    };
    let Some(mut stage) = Stage::with(&[], asked).await else { return };
    make(&stage, "shop", "ann").await;
    stage.database("shop").collection::<Document>("orders").insert_one(doc! { "_id": 1 }).await.unwrap();
    stage.backup().await;
    make(&stage, "other", "bob").await;
    make(&stage, "shop", "cid").await;
    stage.run("shop", doc! { "updateUser": "ann", "roles": ["read"] }).await;
    let at = scenario::instant(&stage.client).await;
    let held = users(&stage, &stage.client).await;
    assert_eq!(held.len(), 6);
    stage.run("shop", doc! { "dropUser": "ann" }).await;
    stage.capture().await;
    assert_eq!(definitions(&stage).await, ["admin.system.roles", "admin.system.users", "shop.orders"]);
    clear(&stage.target_client).await;
    let report = stage.restore(at, Scope::default()).await.unwrap();
    assert!(report.proof.unwrap().equal);
    assert!(users(&stage, &stage.target_client).await.is_empty(), "not asked for");
    let accounts = |name: &str| name.starts_with("admin.system.");
    let matched = Scope { namespaces: Some(std::sync::Arc::new(|_| true)), ..Scope::default() };
    stage.restore(at, matched).await.unwrap();
    assert!(users(&stage, &stage.target_client).await.is_empty(), "a pattern matched them, nobody named them");
    let named = std::sync::Arc::new(accounts);
    let scope = Scope { namespaces: Some(named.clone()), named: Some(named.clone()), ..Scope::default() };
    let report = stage.restore(at, scope).await.unwrap();
    assert!(report.proof.unwrap().equal, "{:?}", report.notes);
    assert_eq!(users(&stage, &stage.target_client).await, held);
    // They work: the server reads them.
    let info = stage.target_client.database("shop").run_command(doc! { "usersInfo": "cid" }).await.unwrap();
    assert_eq!(info.get_array("users").unwrap().len(), 1);

    // By database, in place: `ann` comes back as she was, and nobody else is touched.
    let predicate =
        |image: &[u8]| bson::RawDocument::from_bytes(image).unwrap().get_str("db").is_ok_and(|name| name == "shop");
    let selection =
        backstay_archive::Selection { predicate: Some(std::sync::Arc::new(predicate)), ..Default::default() };
    stage.run("other", doc! { "dropUser": "bob" }).await;
    let scope = Scope { namespaces: Some(named.clone()), named: Some(named), selection, ..Scope::default() };
    stage.rewind(at, scope).await.unwrap();
    let now = users(&stage, &stage.client).await;
    assert_eq!(now.len(), 5);
    assert!(now.iter().all(|user| held.contains(user)));
}
