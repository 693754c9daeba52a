//! How the program ends when something is in the way, and how it stops when it is told to.

#![allow(clippy::unwrap_used)]

mod shop;

use std::time::Duration;

use backstay_testkit::Signal;
use bson::doc;
use shop::program;

#[test]
fn what_is_not_there_is_said() {
    let program = program("mongodb://127.0.0.1:9/?replicaSet=none&serverSelectionTimeoutMS=300");
    for args in [["backup", "shop"], ["capture", "shop"], ["timeline", "shop"], ["verify", "shop"], ["ls", "shop"]] {
        let run = program.run([&args[..], &["--json"]].concat()).unwrap().expect_code(10);
        assert_eq!(run.json_error()["code"], "no_repository");
        assert!(run.json_error()["hint"].as_str().is_some_and(|hint| hint.contains("backstay init")));
    }
    let made = program.run(["init", "--json"]).unwrap().ok().json();
    assert_eq!((&made["keyring_made"], &made["passphrase"]), (&true.into(), &false.into()));
    let again = program.run(["init", "--json"]).unwrap().expect_code(1).json_error();
    assert!(again["message"].as_str().is_some_and(|text| text.contains("already")), "{again}");
    assert_eq!(again["hint"], "it is ready for use: backstay backup shop");
    let none = program.run(["timeline", "shop", "--json"]).unwrap().expect_code(1).json_error();
    assert!(none["hint"].as_str().is_some_and(|hint| hint.contains("backstay backup shop")), "{none}");
    let unverified = program.run(["verify", "shop", "--json"]).unwrap().expect_code(1).json_error();
    assert_eq!((&unverified["message"], &unverified["hint"]), (&none["message"], &none["hint"]));
    let none = program.run(["capture", "shop", "--json"]).unwrap().expect_code(1).json_error();
    assert!(none["hint"].as_str().is_some_and(|hint| hint.contains("backstay backup shop")), "{none}");
    let unknown = program.run(["backup", "shoop", "--json"]).unwrap().expect_code(2).json_error();
    assert!(unknown["hint"].as_str().is_some_and(|hint| hint.contains("shop")), "{unknown}");
    let away = program.run(["backup", "shop", "--json"]).unwrap().expect_code(1).json_error();
    assert!(away["hint"].as_str().is_some_and(|hint| hint.contains("doctor")), "{away}");

    let keys = program.folder().join("backstay.keys");
    std::fs::rename(&keys, program.folder().join("elsewhere")).unwrap();
    let missing = program.run(["timeline", "shop", "--json"]).unwrap().expect_code(12).json_error();
    assert_eq!(missing["code"], "wrong_key");
    // A repository that nobody can read is not ready for use.
    let without = program.run(["init", "--json"]).unwrap().expect_code(12).json_error();
    assert!(
        without["message"].as_str().is_some_and(|text| text.contains("already") && text.contains("no keyring")),
        "{without}"
    );
    assert!(without["hint"].as_str().is_some_and(|hint| hint.contains("from its copy")), "{without}");
    assert!(!keys.exists(), "no second keyring is made for it");
    // The keyring of another installation.
    let other = shop::program("mongodb://127.0.0.1:9/?replicaSet=none");
    other.run(["init"]).unwrap().ok();
    std::fs::copy(other.folder().join("backstay.keys"), &keys).unwrap();
    let _ = program.run(["timeline", "shop"]).unwrap().expect_code(12);
    let foreign = program.run(["init", "--json"]).unwrap().expect_code(12).json_error();
    assert!(foreign["message"].as_str().is_some_and(|text| text.contains("belongs to another")), "{foreign}");
    std::fs::remove_file(&keys).unwrap();
    std::fs::copy(program.folder().join("elsewhere"), &keys).unwrap();
    let mut permissions = std::fs::metadata(&keys).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
    std::fs::set_permissions(&keys, permissions).unwrap();
    let open = program.run(["timeline", "shop"]).unwrap().expect_code(12);
    assert!(open.stderr.contains("chmod 600"), "{open}");
}

#[test]
fn a_time_that_cannot_be_had_and_a_signal() {
    shop::runtime().block_on(async {
        let Some(shop) = shop::open().await else { return };
        shop.fill(2, 50).await;
        shop.json(&["init"]);
        let first = shop.json(&["backup", "shop"])["at"].as_str().unwrap().to_owned();

        // Before the base and after the frontier: 16, with the nearest.
        let restore =
            |at: &'static str| shop.run(&["restore", "shop", "--at", at, "--in-place", "--preview", "--json"]);
        let early = restore("1000000000:1").expect_code(16).json_error();
        assert_eq!(early["code"], "unrestorable");
        assert!(early["hint"].as_str().is_some_and(|hint| hint.contains("backstay timeline shop")), "{early}");
        assert!(early["message"].as_str().is_some_and(|text| text.contains(&first)), "{early}");
        let late = restore("4000000000:1").expect_code(16).json_error();
        assert!(late["message"].as_str().is_some_and(|text| text.contains("Z)")), "{late}");
        let _ = shop.run(&["ls", "shop", "--at", "4000000000:1"]).expect_code(16);
        let unknown = ["restore", "shop", "--at", "latest", "--in-place", "--preview", "--json"];
        let tenant = shop.run(&[&unknown[..], &["--tenant", "t11"]].concat()).expect_code(1).json_error();
        assert!(tenant["hint"].as_str().is_some_and(|hint| hint.contains("t1")), "{tenant}");
        let namespace = shop.run(&[&unknown[..], &["--ns", "shop.order"]].concat()).expect_code(1).json_error();
        assert!(namespace["hint"].as_str().is_some_and(|hint| hint.contains("shop.orders")), "{namespace}");
        let _ = shop.run(&[&unknown[..], &["--where", "{\"$nope\": 1}"]].concat()).expect_code(2);

        // A capture that goes on is told to stop: what was held is committed, and nothing is missing afterwards.
        let mut capture = shop.program.spawn(["capture", "shop", "--json"]).unwrap();
        for n in 0..200 {
            let order = doc! { "_id": 1_000 + n, "tenant": "t0", "n": n };
            shop.orders().insert_one(order).await.unwrap();
        }
        let written = shop.now().await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        capture.signal(Signal::Terminate).unwrap();
        let stopped =
            tokio::task::spawn_blocking(move || capture.wait(Duration::from_secs(20))).await.unwrap().unwrap();
        let summary = stopped.ok().json();
        assert!(summary["entries"].as_u64().is_some_and(|entries| entries >= 200), "{summary}");
        assert!(tick(summary["through"].as_str().unwrap()) >= tick(&written), "{summary} {written}");
        assert_eq!(shop.json(&["ls", "shop", "--at", &written])["records"], 301);

        // Somebody else's deployment under the same name is refused.
        let other = backstay_testkit::ReplicaSet::start(backstay_testkit::Options::default()).await.unwrap();
        shop.program.configure(&shop::yaml(&other.uri())).unwrap();
        let refused = shop.run(&["capture", "shop", "--until", "now", "--json"]).expect_code(2).json_error();
        assert!(refused["message"].as_str().is_some_and(|text| text.contains("belongs to")), "{refused}");
    });
}

fn tick(text: &str) -> (u64, u64) {
    let (seconds, ordinal) = text.split_once(':').unwrap();
    (seconds.parse().unwrap(), ordinal.parse().unwrap())
}

#[test]
fn a_reader_that_has_gone_is_no_error_to_speak_of() {
    let folder = program("mongodb://127.0.0.1:9/?replicaSet=none");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_backstay"));
    command.args(["completions", "bash"]).current_dir(folder.folder()).env("HOME", folder.folder());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let run = command.stdout(writer).stderr(std::process::Stdio::piped()).output().unwrap();
    assert_eq!((run.status.code(), String::from_utf8_lossy(&run.stderr).as_ref()), (Some(141), ""));
}
