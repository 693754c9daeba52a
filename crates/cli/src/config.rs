//! The configuration: where the archive is, which keys open it, and which databases are protected.
//!
//! ```text
//!   backstay.yaml ──parse──▶ sections ──┐
//!                                       ├──check──▶ Config          paths resolved, secrets not yet read
//!   BACKSTAY_… variables ───────────────┘             └─ on demand ─▶ Secret
//! ```
//!
//! Variables win over the file. A relative path in the file is relative to the file's folder; one in a variable, to
//! the working folder. A secret can come as a value, a file or a command (`uri`, `uri_file`, `uri_command`;
//! `BACKSTAY_SOURCES_SHOP_URI`, `…_FILE`, `…_COMMAND`) and is read only when a command needs it. The keyring's pass
//! phrase is never taken from the file as a value: beside the keyring it would protect nothing.
//!
//! Only `sections` and `show` know YAML.

mod check;
mod locate;
mod pace;
pub mod redact;
mod repository;
pub mod secret;
mod sections;
mod show;
mod tenants;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use check::Problem;
pub use pace::PaceConfig;
pub use repository::{BucketConfig, Repository};
pub use secret::{Origin, Secret};
pub use show::View;
pub use tenants::TenantRule;

use crate::environment::Environment;
use crate::failure::{Exit, Failure};
use crate::pattern::NamespacePattern;

/// The configuration in effect.
#[derive(Debug)]
pub struct Config {
    /// The file it was read from.
    pub file: PathBuf,
    /// Where the archive is.
    pub repository: Repository,
    /// Which keys open it.
    pub keyring: KeyringConfig,
    /// What is protected, by name.
    pub sources: BTreeMap<String, SourceConfig>,
    /// Where the URI of the deployment for drills comes from, if there is one.
    pub drill: Option<Origin>,
}

/// Which keys open the archive.
#[derive(Debug)]
pub struct KeyringConfig {
    /// The keyring's file.
    pub file: PathBuf,
    /// Where its pass phrase comes from, if it has one.
    pub passphrase: Option<Origin>,
}

/// The kinds of database.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A MongoDB replica set.
    Mongodb,
}

impl Kind {
    /// The word for it, as the configuration writes it and the archive remembers it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Mongodb => "mongodb",
        }
    }
}

/// How the changes of a database are followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Feed {
    /// By its log.
    #[default]
    Oplog,
    /// By change streams, for whom the log is closed to.
    ChangeStreams,
}

/// A protected database.
#[derive(Debug)]
pub struct SourceConfig {
    /// Its name in the configuration.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Where its URI comes from.
    pub uri: Origin,
    /// Which namespaces are protected; empty for all but the server's own.
    pub include: Vec<NamespacePattern>,
    /// Whose a record is; the first rule that matches decides.
    pub tenants: Vec<TenantRule>,
    /// How its changes are followed.
    pub feed: Feed,
    /// How fast it may be scanned, and when.
    pub pace: PaceConfig,
    /// How long changes may wait in memory before they are committed, in milliseconds.
    pub commit_every_ms: u64,
}

impl Config {
    /// Finds, reads and checks the configuration. `named` is the file given by flag or variable.
    ///
    /// # Errors
    /// [`Exit::Usage`] when there is none, or it has problems; the message names them all.
    pub fn load(named: Option<&Path>, environment: &Environment) -> Result<Config, Failure> {
        let file = locate::locate(named, environment)?;
        let (config, problems) = Config::inspect(&file, environment)?;
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(describe(&file, &problems)),
        }
    }

    /// Finds the configuration and names all its problems.
    ///
    /// # Errors
    /// When there is none, or it cannot be read at all.
    pub fn validate(named: Option<&Path>, environment: &Environment) -> Result<(PathBuf, Vec<Problem>), Failure> {
        let file = locate::locate(named, environment)?;
        let (_, problems) = Config::inspect(&file, environment)?;
        Ok((file, problems))
    }

    fn inspect(file: &Path, environment: &Environment) -> Result<(Option<Config>, Vec<Problem>), Failure> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| Failure::usage(format!("cannot read the configuration {}: {error}", file.display())))?;
        match sections::parse(&text, &file.display().to_string()) {
            Ok(sections) => check::check(sections, file, environment),
            Err(problem) => Ok((None, vec![problem])),
        }
    }

    /// The source of this name.
    ///
    /// # Errors
    /// [`Exit::Usage`] when there is none; the hint names those that there are.
    pub fn source(&self, name: &str) -> Result<&SourceConfig, Failure> {
        self.sources.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.sources.keys().map(String::as_str).collect();
            Failure::new(Exit::Usage, format!("the configuration {} has no source “{name}”", self.file.display()))
                .hint(format!("its sources are: {}", names.join(", ")))
        })
    }
}

fn describe(file: &Path, problems: &[Problem]) -> Failure {
    if let [problem] = problems {
        return Failure::usage(format!("the configuration {}: {problem}", file.display()));
    }
    let list: Vec<String> = problems.iter().map(|problem| format!("\n  - {problem}")).collect();
    Failure::usage(format!("the configuration {} has {} problems:{}", file.display(), list.len(), list.concat()))
}

/// A file's text, for `fuzz/`: whatever it is, there is a configuration or there are problems.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub fn fuzz(text: &str) {
    let environment = Environment::from_iter([("BACKSTAY_PASSPHRASE", "words")]);
    let file = Path::new("/etc/backstay.yaml");
    let checked = match sections::parse(text, "backstay.yaml") {
        Ok(sections) => check::check(sections, file, &environment),
        Err(problem) => Ok((None, vec![problem])),
    };
    let Ok((config, problems)) = checked else { return };
    assert!(config.is_some() || !problems.is_empty());
    assert!(problems.is_empty() || !describe(file, &problems).message.is_empty());
}

#[cfg(test)]
mod tests;
