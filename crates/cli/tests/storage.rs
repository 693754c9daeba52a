//! The whole way with the archive in a bucket: a real database, a real S3 server, and the program between them.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod shop;

use backstay_testkit::{
    Backstay, Fault, FaultyProxy, Keeping, Options, ReplicaSet, Response, SeaweedFs, Server, require_mongod,
};
use bson::doc;
use shop::{Shop, all, runtime, yaml};

/// The program with its repository at `url`, by way of `address`; the secret comes from a file.
fn program(uri: &str, url: &str, address: std::net::SocketAddr) -> Backstay {
    let program = Backstay::new(env!("CARGO_BIN_EXE_backstay")).unwrap();
    let repository = format!(
        "url: {url}\n  endpoint: http://{address}\n  access_key_id: {}\n  secret_access_key_file: ./secret\n  \
         limits: {{ requests_per_second: 2000 }}",
        SeaweedFs::KEY_ID
    );
    program.configure(&yaml(uri).replace("url: file:./archive", &repository)).unwrap();
    std::fs::write(program.folder().join("secret"), format!("{}\n", SeaweedFs::SECRET)).unwrap();
    program
}

#[test]
fn a_tenant_comes_back_from_a_bucket() {
    runtime().block_on(async {
        let (Some(_), Some(_)) = (require_mongod(), Server::SeaweedFs.require()) else { return };
        let storage = SeaweedFs::start().unwrap();
        storage.make_bucket("archive", Keeping::Versions).unwrap();
        // Every seventh request goes wrong, each time in another way.
        let proxy = FaultyProxy::start(storage.address()).unwrap();
        proxy.plan(|passing| {
            let later = || Fault::Answer(Response::new(503, "<Error><Code>SlowDown</Code></Error>"));
            let faults = [later(), Fault::LoseAnswer, Fault::CutRequest, Fault::CutAnswer];
            (passing.number % 7 == 3).then(|| faults[passing.number / 7 % faults.len()].clone())
        });
        let set = ReplicaSet::start(Options::default()).await.unwrap();
        let client = set.client().await.unwrap();
        let program = program(&set.uri(), "s3://archive/shop/main", proxy.address());
        let shop = Shop { set, client, program };
        shop.fill(3, 200).await;

        assert_eq!(shop.run(&["timeline", "shop"]).expect_code(10).code, 10, "there is no repository yet");
        shop.run(&["init"]).ok();
        let backed_up = shop.json(&["backup", "shop"]);
        assert_eq!(backed_up["records"], 601);
        let before = shop.now().await;
        let expected = all(&shop.client, "shop", "orders").await;
        shop.orders().delete_many(doc! { "tenant": "t1" }).await.unwrap();
        shop.json(&["capture", "shop", "--until", "now"]);
        let restored = shop.json(&["restore", "shop", "--at", &before, "--tenant", "t1", "--in-place", "--yes"]);
        assert_eq!(restored["proof"]["equal"], true, "{restored}");
        assert!(all(&shop.client, "shop", "orders").await == expected);
        assert_eq!(shop.json(&["verify", "shop", "--content"])["problems"], serde_json::json!([]));
        shop.json(&["compact", "shop"]);
        assert_eq!(shop.json(&["verify", "shop", "--content"])["problems"], serde_json::json!([]));
        assert!(proxy.passed().len() > 40, "there were faults");

        let nowhere = self::program(&shop.set.uri(), "s3://nowhere/a", storage.address());
        let run = nowhere.run(["init"]).unwrap().expect_code(10);
        assert!(run.stderr.contains("there is no bucket s3://nowhere"), "{run}");
    });
}

#[test]
fn the_storage_is_probed_before_there_is_a_repository() {
    if Server::SeaweedFs.require().is_none() {
        return;
    }
    let storage = SeaweedFs::start().unwrap();
    storage.make_bucket("archive", Keeping::Newest).unwrap();
    let sound = program("mongodb://127.0.0.1:1", "s3://archive/p", storage.address());
    let text = sound.run(["repo", "probe"]).unwrap().ok().stdout;
    assert!(text.contains("s3://archive/p") && text.contains("This storage can hold an archive."), "{text}");

    let folder = Backstay::new(env!("CARGO_BIN_EXE_backstay")).unwrap();
    folder.configure(&yaml("mongodb://127.0.0.1:1")).unwrap();
    let report = folder.run(["repo", "probe", "--json"]).unwrap().ok().json();
    assert_eq!((&report["usable"], &report["schema_version"]), (&true.into(), &1.into()), "{report}");
    assert_eq!(report["left_behind"], serde_json::json!([]));

    // Something on the way that forgets the condition makes every writer win.
    let proxy = FaultyProxy::start(storage.address()).unwrap();
    proxy.forget_header("if-none-match");
    let careless = program("mongodb://127.0.0.1:1", "s3://archive/q", proxy.address());
    let run = careless.run(["repo", "probe"]).unwrap().expect_code(15);
    assert!(run.stdout.contains("BROKEN  create") && run.stdout.contains("Do not keep an archive"), "{run}");
}
