//! A server that stands alone: refused, as a source and as a target, before anything is read or written; and what the error
//! says to do keeps its data.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test waits for a real server")]

mod shop;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use backstay_testkit::{Leash, Signal, mongod, require_mongod};
use bson::{Document, doc};
use mongodb::Client;

/// Starts `mongod` on the data in `folder`, with `args`, and waits until it answers.
async fn start(folder: &Path, port: u16, args: &[&str]) -> (Leash, Client) {
    let mut command = Command::new(mongod().unwrap());
    command.args(["--bind_ip", "127.0.0.1", "--port", &port.to_string(), "--nounixsocket"]);
    command.args(["--wiredTigerCacheSizeGB", "0.25", "--dbpath"]).arg(folder).args(args);
    let (out, err) = (folder.with_extension("out"), folder.with_extension("err"));
    let leash = Leash::spawn(&command, &out, &err, None).unwrap();
    let client = Client::with_uri_str(format!("mongodb://127.0.0.1:{port}/?directConnection=true")).await.unwrap();
    client.database("admin").run_command(doc! { "ping": 1 }).await.unwrap();
    (leash, client)
}

#[test]
fn a_server_that_stands_alone_is_refused_with_the_way_out() {
    shop::runtime().block_on(async {
        if require_mongod().is_none() {
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("data");
        std::fs::create_dir(&folder).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (mut server, client) = start(&folder, port, &[]).await;
        let orders = client.database("shop").collection::<Document>("orders");
        orders.insert_many((0..20).map(|n| doc! { "_id": n, "tenant": "t0" })).await.unwrap();
        let uri = format!("mongodb://127.0.0.1:{port}/");

        // As a source.
        let program = shop::program(&uri);
        program.run(["init", "--json"]).unwrap().ok();
        for feed in ["oplog", "change-streams"] {
            program.configure(&shop::followed_by(feed, &shop::yaml(&uri))).unwrap();
            for args in [&["backup", "shop", "--json"][..], &["capture", "shop", "--until", "now", "--json"]] {
                let error = program.run(args).unwrap();
                let error = if args[0] == "backup" { error.expect_code(2) } else { error };
                assert_ne!(error.code, 0, "{error}");
                let says = error.stdout.contains("--replSet") || error.stdout.contains("backstay backup");
                assert!(says, "{args:?}: {error}");
            }
            let found = program.run(["doctor", "--json"]).unwrap().expect_code(15).json();
            assert!(found.to_string().contains("--replSet"), "{found}");
        }

        // As a target.
        let shop = shop::open().await.unwrap();
        shop.fill(1, 5).await;
        shop.json(&["init"]);
        shop.json(&["backup", "shop"]);
        let args =
            ["restore", "shop", "--at", "latest", "--into", &uri, "--rename", "shop.*=copy.*", "--yes", "--json"];
        let refused = shop.run(&args).expect_code(2).json_error();
        assert!(refused["message"].as_str().unwrap().contains("--replSet"), "{refused}");
        assert!(!client.list_database_names().await.unwrap().contains(&"copy".to_owned()), "nothing was written");

        // What the error says to do.
        server.signal(Signal::Terminate).unwrap();
        server.wait(Duration::from_secs(60)).unwrap();
        let (_server, client) = start(&folder, port, &["--replSet", "rs0"]).await;
        let members = doc! { "_id": "rs0", "members": [{ "_id": 0, "host": format!("127.0.0.1:{port}") }] };
        client.database("admin").run_command(doc! { "replSetInitiate": members }).await.unwrap();
        for _ in 0..200 {
            let hello = client.database("admin").run_command(doc! { "hello": 1 }).await.unwrap();
            if hello.get_bool("isWritablePrimary").is_ok_and(|is| is) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let backup = program.run(["backup", "shop", "--json"]).unwrap().ok().json();
        assert_eq!(backup["records"], 20, "{backup}");
    });
}
