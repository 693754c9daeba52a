//! Every kept input goes through its target again, without a fuzzer: what was found once stays found.

use std::path::{Path, PathBuf};

use backstay_fuzz::TARGETS;

/// The files of a target's corpus, by name.
fn kept(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let files = std::fs::read_dir(folder).expect("every target has a corpus");
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("the folder can be read").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{target} has no inputs");
    let read = |path: PathBuf| {
        let bytes = std::fs::read(&path).expect("a file");
        (path, bytes)
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn kept_inputs_are_decoded_without_a_finding() {
    for (name, target) in TARGETS {
        for (path, bytes) in kept(name) {
            // Shown when the target panics.
            println!("{}", path.display());
            target(&bytes);
        }
    }
}

#[test]
fn every_target_has_a_program() {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("libfuzzer/src/bin");
    let count = std::fs::read_dir(&programs).expect("a folder").count();
    assert_eq!(count, TARGETS.len());
    for (name, _) in TARGETS {
        let program = std::fs::read_to_string(programs.join(format!("{name}.rs"))).expect(name);
        assert!(program.contains(&format!("program!({name});")), "{name}");
    }
}
