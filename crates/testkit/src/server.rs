//! Where the `mongod` program is, and what its absence means.
//!
//! The order is: `BACKSTAY_MONGOD`, then one on `PATH`, then the one that `scripts/fetch-servers` put into
//! `.servers/`. A person's own server always wins over the fetched one.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// The path of the `mongod` to use.
///
/// # Errors
/// When there is none, or when `BACKSTAY_MONGOD` names a file that does not exist; the message says what to run.
pub fn mongod() -> Result<PathBuf> {
    if let Some(own) = env::var_os("BACKSTAY_MONGOD").filter(|path| !path.is_empty()) {
        let own = PathBuf::from(own);
        if own.is_file() {
            return Ok(own);
        }
        bail!("BACKSTAY_MONGOD names {}, which is not a file", own.display());
    }
    let on_path = env::var_os("PATH")
        .iter()
        .flat_map(|path| env::split_paths(path).collect::<Vec<_>>())
        .map(|folder| folder.join("mongod"))
        .find(|candidate| candidate.is_file());
    if let Some(own) = on_path {
        return Ok(own);
    }
    if let Some(fetched) = fetched() {
        return Ok(fetched);
    }
    bail!("there is no mongod here: run scripts/fetch-servers, or point BACKSTAY_MONGOD to one")
}

/// As [`mongod`], for the head of a test: `None` means that the test should return at once.
///
/// # Panics
/// When there is no server and the environment says that there must be one: `CI=true`, or
/// `BACKSTAY_REQUIRE_SERVERS=1`.
#[must_use]
pub fn require_mongod() -> Option<PathBuf> {
    match mongod() {
        Ok(path) => Some(path),
        Err(error) if required() => panic!("this test needs a server: {error}"),
        Err(error) => {
            eprintln!("\n*** SKIPPED, NOT TESTED: {error} ***\n");
            None
        }
    }
}

fn required() -> bool {
    let is = |name: &str, values: [&str; 2]| env::var(name).is_ok_and(|value| values.contains(&value.as_str()));
    is("CI", ["true", "1"]) || is("BACKSTAY_REQUIRE_SERVERS", ["true", "1"])
}

/// The newest server below `.servers/` of this checkout.
fn fetched() -> Option<PathBuf> {
    let servers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.servers");
    let mut found: Vec<PathBuf> = std::fs::read_dir(servers)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path().join("bin/mongod")))
        .filter(|candidate| candidate.is_file())
        .collect();
    found.sort();
    found.pop()
}
