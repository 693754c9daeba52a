//! Where the server programs are, and what their absence means.
//!
//! The order is: what the program's variable names (`BACKSTAY_MONGOD`, `BACKSTAY_WEED`, `BACKSTAY_AZURITE`), then one on
//! `PATH`, then the one that `scripts/fetch-servers` put into `.servers/`. A person's own server always wins over the
//! fetched one.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// A server that tests run against.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Server {
    /// `mongod`.
    Mongod,
    /// SeaweedFS, which speaks S3.
    SeaweedFs,
    /// Azurite, which speaks Azure Blob.
    Azurite,
}

impl Server {
    fn program(self) -> &'static str {
        match self {
            Server::Mongod => "mongod",
            Server::SeaweedFs => "weed",
            Server::Azurite => "azurite-blob",
        }
    }

    fn variable(self) -> &'static str {
        match self {
            Server::Mongod => "BACKSTAY_MONGOD",
            Server::SeaweedFs => "BACKSTAY_WEED",
            Server::Azurite => "BACKSTAY_AZURITE",
        }
    }

    /// The path of the program to use.
    ///
    /// # Errors
    /// When there is none, or when its variable names a file that does not exist; the message says what to run.
    pub fn find(self) -> Result<PathBuf> {
        let (program, variable) = (self.program(), self.variable());
        if let Some(own) = env::var_os(variable).filter(|path| !path.is_empty()) {
            let own = PathBuf::from(own);
            if own.is_file() {
                return Ok(own);
            }
            bail!("{variable} names {}, which is not a file", own.display());
        }
        let on_path = env::var_os("PATH")
            .iter()
            .flat_map(|path| env::split_paths(path).collect::<Vec<_>>())
            .map(|folder| folder.join(program))
            .find(|candidate| candidate.is_file());
        if let Some(own) = on_path {
            return Ok(own);
        }
        if let Some(fetched) = fetched(program) {
            return Ok(fetched);
        }
        bail!("there is no {program} here: run scripts/fetch-servers, or point {variable} to one")
    }

    /// As [`Server::find`], for the head of a test: `None` means that the test should return at once.
    ///
    /// # Panics
    /// When there is no server and the environment says that there must be one: `CI=true`, or
    /// `BACKSTAY_REQUIRE_SERVERS=1`.
    #[must_use]
    pub fn require(self) -> Option<PathBuf> {
        match self.find() {
            Ok(path) => Some(path),
            Err(error) if required() => panic!("this test needs a server: {error}"),
            Err(error) => {
                eprintln!("\n*** SKIPPED, NOT TESTED: {error} ***\n");
                None
            }
        }
    }
}

/// The `mongod` to use; see [`Server::find`].
///
/// # Errors
/// As [`Server::find`].
pub fn mongod() -> Result<PathBuf> {
    Server::Mongod.find()
}

/// The `mongod` to use, for the head of a test; see [`Server::require`].
///
/// # Panics
/// As [`Server::require`].
#[must_use]
pub fn require_mongod() -> Option<PathBuf> {
    Server::Mongod.require()
}

/// As [`require_mongod`], for a test of what came with a release of MongoDB: an older server is a reason to return at once,
/// whatever the environment says.
///
/// # Panics
/// As [`Server::require`].
#[must_use]
pub fn require_mongod_since(major: u32, minor: u32) -> Option<PathBuf> {
    let path = require_mongod()?;
    let (has_major, has_minor) = release(&path)?;
    if (has_major, has_minor) >= (major, minor) {
        return Some(path);
    }
    eprintln!("\n*** SKIPPED: MongoDB {has_major}.{has_minor} is older than {major}.{minor} ***\n");
    None
}

/// The release of a `mongod`: the first two numbers of its version.
pub(crate) fn release(mongod: &Path) -> Option<(u32, u32)> {
    let said = std::process::Command::new(mongod).arg("--version").output().ok()?.stdout;
    let said = String::from_utf8_lossy(&said);
    let version = said.lines().find_map(|line| line.strip_prefix("db version v"))?;
    let mut parts = version.split('.').map_while(|part| part.parse::<u32>().ok());
    Some((parts.next()?, parts.next()?))
}

fn required() -> bool {
    let is = |name: &str, values: [&str; 2]| env::var(name).is_ok_and(|value| values.contains(&value.as_str()));
    is("CI", ["true", "1"]) || is("BACKSTAY_REQUIRE_SERVERS", ["true", "1"])
}

/// The newest such program below `.servers/` of this checkout.
fn fetched(program: &str) -> Option<PathBuf> {
    let servers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.servers");
    let mut found: Vec<PathBuf> = std::fs::read_dir(servers)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path().join("bin").join(program)))
        .filter(|candidate| candidate.is_file())
        .collect();
    found.sort();
    found.pop()
}
