//! Golden files: what format 1 once wrote must be read for ever, and is what is written today.
//!
//! A change of the format is a new folder, never a change of these files. If only the compressor changed, the test of
//! today's writer fails while the others pass: then write the files anew into a folder of the compressor's version.
#![allow(clippy::unwrap_used)]

mod rig;

use std::path::PathBuf;

use backstay_seal::Digest;
use backstay_segment::Shape;
use rig::{golden_base, golden_delta, golden_tail, open_directory, read_run, read_tail, write_run, write_tail};

/// What writers have written, oldest first: the compressor at its level 1, then with matches of 7 bytes and more.
const FOLDERS: [&str; 2] = ["v1", "v1-match7"];
/// What is written today.
const TODAY: &str = "v1-match7";

fn golden(folder: &str, name: &str) -> Vec<u8> {
    std::fs::read(place(folder, name)).unwrap()
}

fn place(folder: &str, name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(folder).join(name)
}

fn written_today() -> [(&'static str, Vec<u8>); 3] {
    [
        ("base.bin", write_run(Shape::Base, &golden_base())),
        ("delta.bin", write_run(Shape::Delta, &golden_delta())),
        ("tail.bin", write_tail(&golden_tail())),
    ]
}

#[test]
fn the_golden_base_run_reads() {
    let mut digest = Digest::new();
    for (key, _, body) in golden_base().iter().flatten() {
        let (namespace, id) = backstay_segment::split_key(key).unwrap();
        let backstay_model::Body::Image(image) = body else { panic!("base runs hold images") };
        digest.add(namespace.0, id, image);
    }
    for folder in FOLDERS {
        let file = golden(folder, "base.bin");
        assert_eq!(read_run(&file).unwrap(), golden_base());
        assert!(open_directory(&file).unwrap().1.digest().unwrap().as_ref() == Some(&digest));
    }
}

#[test]
fn the_golden_delta_run_reads() {
    for folder in FOLDERS {
        let file = golden(folder, "delta.bin");
        assert_eq!(read_run(&file).unwrap(), golden_delta());
        assert!(open_directory(&file).unwrap().1.digest().unwrap().is_none());
    }
}

#[test]
fn the_golden_tail_reads() {
    for folder in FOLDERS {
        assert_eq!(read_tail(&golden(folder, "tail.bin")).unwrap(), golden_tail());
    }
}

#[test]
fn the_writer_of_today_writes_the_golden_files() {
    for (name, bytes) in written_today() {
        assert!(bytes == golden(TODAY, name), "{name} is written otherwise now");
    }
}

/// `BACKSTAY_WRITE_GOLDEN=1` makes files that are not there yet.
#[test]
fn golden_files_are_there() {
    for (name, bytes) in written_today() {
        if !place(TODAY, name).exists() && std::env::var("BACKSTAY_WRITE_GOLDEN").is_ok() {
            std::fs::write(place(TODAY, name), bytes).unwrap();
        }
        assert!(place(TODAY, name).exists(), "{name}");
    }
}
