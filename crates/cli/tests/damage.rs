//! Damage and wrong keys, as a person meets them: a clear error that names the object, the right exit code, and `verify`
//! that finds every one.
#![allow(clippy::unwrap_used)]

mod shop;
mod witness;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use backstay_testkit::{Backstay, Run};
use bson::doc;
use serde_json::Value;
use witness::{instant, text};

const ALTERED: i32 = 15;
const WRONG_KEY: i32 = 12;

/// A repository with every kind of object in it, kept without its server; copies of it are damaged.
struct Museum {
    uri: String,
    original: Backstay,
    at: String,
}

impl Museum {
    async fn open() -> Option<Museum> {
        let shop = shop::open().await?;
        shop.fill(3, 200).await;
        shop.json(&["init"]);
        shop.json(&["backup", "shop"]);
        for round in 0..3 {
            shop.orders().update_many(doc! { "tenant": "t1" }, doc! { "$inc": { "total": 1 } }).await.unwrap();
            shop.orders().delete_one(doc! { "_id": round }).await.unwrap();
            shop.json(&["capture", "shop", "--until", "now"]);
            if round == 1 {
                shop.json(&["compact", "shop"]);
            }
        }
        let at = text(instant(&shop.client).await);
        shop.orders().delete_many(doc! { "tenant": "t2" }).await.unwrap();
        shop.json(&["restore", "shop", "--at", &at, "--tenant", "t2", "--in-place", "--yes"]);
        Some(Museum { uri: shop.set.uri(), original: shop.program, at })
    }

    fn copy(&self) -> Copy {
        let program = shop::program(&self.uri);
        copy_folder(&self.original.folder().join("archive"), &program.folder().join("archive"));
        fs::copy(self.original.folder().join("backstay.keys"), program.folder().join("backstay.keys")).unwrap();
        Copy { program }
    }

    /// All objects of the archive, by their paths in it.
    fn objects(&self) -> Vec<String> {
        let root = self.original.folder().join("archive");
        let mut found = Vec::new();
        walk(&root, &mut |path| found.push(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned()));
        found.sort();
        found
    }
}

struct Copy {
    program: Backstay,
}

impl Copy {
    fn path(&self, object: &str) -> PathBuf {
        self.program.folder().join("archive").join(object)
    }

    fn keys(&self) -> PathBuf {
        self.program.folder().join("backstay.keys")
    }

    #[track_caller]
    fn run(&self, args: &[&str]) -> Run {
        let run = self.program.run(args).unwrap();
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(!said.contains("panicked") && !said.contains("RUST_BACKTRACE"), "{run}");
        run
    }

    /// Every way to look at it; what was read must be right, or the error be clear.
    #[track_caller]
    fn verify(&self, args: &[&str], code: i32) -> Value {
        self.run(&[&["verify", "shop", "--json"], args].concat()).expect_code(code).json()
    }

    /// `verify` finds the damage, and names the object.
    #[track_caller]
    fn is_found(&self, object: &str, args: &[&str]) {
        let report = self.verify(args, ALTERED);
        let problems = report["problems"].as_array().unwrap();
        let name = Path::new(object).file_name().unwrap().to_str().unwrap();
        let named = problems.iter().any(|problem| problem["object"].as_str().unwrap().contains(name));
        assert!(named, "{object} with {args:?}: {report}");
        assert!(problems.iter().all(|problem| !problem["detail"].as_str().unwrap().is_empty()), "{report}");
    }
}

fn walk(folder: &Path, each: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => walk(&path, each),
            false => each(&path),
        }
    }
}

fn copy_folder(from: &Path, to: &Path) {
    walk(from, &mut |path| {
        let copy = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(path, copy).unwrap();
    });
}

fn alter(path: &Path, with: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    with(&mut bytes);
    // An object may be stored without the permission to write it.
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Does something bad to a file.
type Damage = Box<dyn Fn(&Path)>;

#[test]
fn damage_is_found_named_and_never_read_over() {
    shop::runtime().block_on(async {
        let Some(museum) = Museum::open().await else { return };
        let whole = museum.copy();
        assert_eq!(whole.verify(&["--content"], 0)["problems"], serde_json::json!([]));
        let sound = whole.run(&["ls", "shop", "shop.orders", "--at", &museum.at, "--json"]).ok().stdout;
        let objects = museum.objects();
        let of = |part: &str| objects.iter().filter(|object| object.contains(part)).count();
        assert!(
            of("/chain/") > 4
                && of("/segments/") > 3
                && of("/runs/") == 2
                && objects.contains(&"backstay.json".to_owned())
        );
        let live = live_segments(&whole, &objects);
        let head = objects.iter().rfind(|object| object.contains("/chain/")).unwrap().clone();

        for object in &objects {
            let bytes = fs::read(whole.path(object)).unwrap().len();
            // Segments that were sorted into others are not read any more, and not watched over.
            let watched = !object.contains("/segments/") || live.contains(object);
            let mut damages: Vec<(&str, Damage)> = vec![
                ("cut", Box::new(move |path| alter(path, |bytes| bytes.truncate(bytes.len() / 2)))),
                ("emptied", Box::new(|path| alter(path, Vec::clear))),
            ];
            for at in [0, bytes / 3, bytes / 2, bytes - 1] {
                damages.push(("flipped", Box::new(move |path| alter(path, |bytes| bytes[at] ^= 0x10))));
            }
            // A chain without its last commits is a chain: what anchors its head elsewhere comes with locked storage.
            if *object != head && !object.contains("/runs/") && object != "backstay.json" {
                damages.push(("removed", Box::new(|path| fs::remove_file(path).unwrap())));
            }
            for (what, damage) in damages {
                let copy = museum.copy();
                damage(&copy.path(object));
                println!("{what} {object}");
                if !watched {
                    copy.verify(&["--content"], 0);
                    continue;
                }
                copy.is_found(object, &[]);
                if what != "flipped" {
                    copy.is_found(object, &["--content"]);
                }
                // Whoever reads gets what is right, or an error that names the object.
                let read = copy.run(&["ls", "shop", "shop.orders", "--at", &museum.at, "--json"]);
                if read.code == 0 {
                    assert_eq!(read.stdout, sound, "{what} {object}");
                } else {
                    let error = read.json_error();
                    let name = Path::new(object).file_name().unwrap().to_str().unwrap();
                    assert!(error["message"].as_str().unwrap().contains(name), "{what} {object}: {error}");
                    assert!([1, 10, 12].contains(&read.code), "{what} {object}: {read}");
                }
            }
        }
    });
}

/// The segments whose absence is noticed.
fn live_segments(whole: &Copy, objects: &[String]) -> Vec<String> {
    let segments = objects.iter().filter(|object| object.contains("/segments/"));
    let is_live = |object: &&String| {
        let aside = whole.program.folder().join("aside");
        fs::rename(whole.path(object), &aside).unwrap();
        let code = whole.run(&["verify", "shop"]).code;
        fs::rename(&aside, whole.path(object)).unwrap();
        code == ALTERED
    };
    let live: Vec<String> = segments.filter(is_live).cloned().collect();
    assert!(live.len() > 2, "a base, a run and a tail");
    live
}

#[test]
fn a_commit_of_another_repository_is_foreign() {
    shop::runtime().block_on(async {
        let Some(museum) = Museum::open().await else { return };
        let Some(other) = Museum::open().await else { return };
        let commits: Vec<String> = museum.objects().into_iter().filter(|object| object.contains("/chain/")).collect();
        for object in [&commits[0], &commits[2], &commits[commits.len() - 1]] {
            let copy = museum.copy();
            fs::remove_file(copy.path(object)).unwrap();
            fs::copy(other.original.folder().join("archive").join(object), copy.path(object)).unwrap();
            copy.is_found(object, &[]);
            let read = copy.run(&["ls", "shop", "--json"]);
            assert!(read.code != 0, "{object}: {read}");
        }
        // One of its own, at another place.
        let copy = museum.copy();
        fs::remove_file(copy.path(&commits[3])).unwrap();
        fs::copy(copy.path(&commits[2]), copy.path(&commits[3])).unwrap();
        copy.is_found(&commits[3], &[]);
        // One after the head.
        let copy = museum.copy();
        let last = &commits[commits.len() - 1];
        let number: u64 = Path::new(last).file_name().unwrap().to_str().unwrap().parse().unwrap();
        let next = format!("{}/{:020}", Path::new(last).parent().unwrap().to_str().unwrap(), number + 1);
        fs::copy(copy.path(last), copy.path(&next)).unwrap();
        copy.is_found(&next, &[]);
    });
}

#[test]
fn a_keyring_that_does_not_fit_is_a_clear_error() {
    shop::runtime().block_on(async {
        let Some(museum) = Museum::open().await else { return };
        let message = |run: Run| run.expect_code(WRONG_KEY).json_error()["message"].as_str().unwrap().to_owned();

        let missing = museum.copy();
        fs::remove_file(missing.keys()).unwrap();
        for args in [&["ls", "shop", "--json"][..], &["verify", "shop", "--json"], &["backup", "shop", "--json"]] {
            let said = message(missing.run(args));
            assert!(said.contains("backstay.keys"), "{said}");
        }

        let readable = museum.copy();
        fs::set_permissions(readable.keys(), fs::Permissions::from_mode(0o644)).unwrap();
        let said = message(readable.run(&["ls", "shop", "--json"]));
        assert!(said.contains("backstay.keys") && said.contains("644"), "{said}");

        let stranger = shop::program(&museum.uri);
        stranger.run(["init"]).unwrap().ok();
        let wrong = museum.copy();
        fs::copy(stranger.folder().join("backstay.keys"), wrong.keys()).unwrap();
        for args in [&["ls", "shop", "--json"][..], &["verify", "shop", "--json"], &["backup", "shop", "--json"]] {
            let said = message(wrong.run(args));
            assert!(said.contains("backstay.json") || said.contains("archive"), "{said}");
        }

        let size = fs::read(museum.original.folder().join("backstay.keys")).unwrap().len();
        for at in [0, size / 2, size - 1] {
            let flipped = museum.copy();
            alter(&flipped.keys(), |bytes| bytes[at] ^= 0x04);
            fs::set_permissions(flipped.keys(), fs::Permissions::from_mode(0o600)).unwrap();
            let said = message(flipped.run(&["ls", "shop", "--json"]));
            assert!(said.contains("backstay.keys"), "byte {at}: {said}");
        }
    });
}

#[test]
fn a_shredded_tenant_is_gone_and_the_others_are_not() {
    shop::runtime().block_on(async {
        let Some(museum) = Museum::open().await else { return };
        let copy = museum.copy();
        let at = &museum.at;
        let ls = |tenant: &str| copy.run(&["ls", "shop", "shop.orders", "--at", at, "--tenant", tenant, "--json"]);
        let (one, two) = (ls("t1").ok().stdout, ls("t2").ok().stdout);
        assert!(one.lines().count() > 100 && two.lines().count() > 100);
        copy.run(&["key", "shred", "--source", "shop", "--tenant", "t1", "--yes"]).ok();
        let gone = ls("t1").expect_code(WRONG_KEY).json_error();
        assert!(gone["message"].as_str().unwrap().contains("t1"), "{gone}");
        assert_eq!(ls("t2").ok().stdout, two);
        copy.verify(&[], 0);
    });
}
