//! From the file's sections and the variables to the configuration in effect; names every problem, not only the first.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use backstay_engine::COMMIT_EVERY;
use backstay_store::Place;
use serde::Serialize;

use super::pace::PaceConfig;
use super::repository::BucketConfig;
use super::secret::{self, Origin, Secret};
use super::sections::{DrillSection, KeyringSection, RepositorySection, Sections, SourceSection};
use super::{Config, KeyringConfig, Kind, Repository, SourceConfig, redact};
use crate::environment::Environment;
use crate::failure::Failure;

/// Something that keeps the configuration from working.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Problem {
    /// Where it is: a setting such as `sources.shop.uri`, or a line and column.
    pub place: String,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A rendered snippet says its line itself.
        if self.place.is_empty() || self.place.starts_with("line ") {
            return f.write_str(&self.problem);
        }
        write!(f, "{}: {}", self.place, self.problem)
    }
}

/// Less costs a fsync or a request for next to nothing; more would lose too much with a capture that dies.
const COMMIT_EVERY_ALLOWED_MS: std::ops::RangeInclusive<u64> = 100..=600_000;

struct Check<'a> {
    folder: &'a Path,
    environment: &'a Environment,
    problems: Vec<Problem>,
}

/// Resolves and checks everything. Without problems there is a configuration.
///
/// # Errors
/// When a variable that is needed cannot be read.
pub fn check(
    sections: Sections,
    file: &Path,
    environment: &Environment,
) -> Result<(Option<Config>, Vec<Problem>), Failure> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut check = Check { folder, environment, problems: Vec::new() };
    let repository = check.repository(sections.repository)?;
    let keyring = check.keyring(sections.keyring)?;
    let drill = check.drill(sections.drill)?;
    let mut sources = BTreeMap::new();
    if sections.sources.is_empty() {
        check.problem("sources", "no database is named");
    }
    check.names(sections.sources.keys());
    for (name, section) in sections.sources {
        if let Some(source) = check.source(&name, section)? {
            sources.insert(name, source);
        }
    }
    let config = repository.map(|repository| Config { file: file.to_owned(), repository, keyring, sources, drill });
    Ok((config, check.problems))
}

impl Check<'_> {
    fn problem(&mut self, place: impl Into<String>, problem: impl Into<String>) {
        self.problems.push(Problem { place: place.into(), problem: problem.into() });
    }

    /// A path of the file, relative to the file's folder.
    fn path(&self, text: &str) -> PathBuf {
        self.folder.join(text)
    }

    fn repository(&mut self, section: RepositorySection) -> Result<Option<Repository>, Failure> {
        const VARIABLE: &str = "BACKSTAY_REPOSITORY_URL";
        let (url, place, folder) = match (self.environment.text(VARIABLE)?, section.url.clone()) {
            (Some(url), _) => (url.to_owned(), VARIABLE, Path::new("")),
            (None, Some(url)) => (url, "repository.url", self.folder),
            (None, None) => {
                self.problem("repository.url", "it is not said where the archive is, such as file:./archive");
                return Ok(None);
            }
        };
        let problem = match url.split_once(':') {
            Some(("file", path)) => match path.strip_prefix("//").unwrap_or(path) {
                "" => "file: is not followed by a path".to_owned(),
                relative if path.starts_with("//") && !relative.starts_with('/') => {
                    format!("{url} names a host; write file:PATH or file:///PATH")
                }
                path => return Ok(Some(Repository::Folder(folder.join(path)))),
            },
            Some(("s3" | "az" | "gs", _)) => match Place::read(&url, folder) {
                Ok(Place::Bucket(bucket)) => {
                    let (config, complaints) = BucketConfig::check(bucket, section, self.folder, self.environment)?;
                    let is_sound = complaints.is_empty();
                    complaints.into_iter().for_each(|(place, problem)| self.problem(place, problem));
                    return Ok(is_sound.then(|| Repository::Bucket(Box::new(config))));
                }
                Ok(_) => format!("“{}” is not a bucket", redact::uri(&url)),
                Err(error) => redact::text(&error.to_string()),
            },
            _ => format!(
                "“{}” is not a repository; write file:PATH, s3://BUCKET/PREFIX, az://CONTAINER/PREFIX or \
                 gs://BUCKET/PREFIX",
                redact::uri(&url)
            ),
        };
        self.problem(place, problem);
        Ok(None)
    }

    fn keyring(&mut self, section: KeyringSection) -> Result<KeyringConfig, Failure> {
        let file = match self.environment.path("BACKSTAY_KEYRING_FILE") {
            Some(path) => path,
            None => self.path(section.file.as_deref().unwrap_or("backstay.keys")),
        };
        let in_file = [
            section.passphrase_file.map(|path| Origin::file("keyring.passphrase_file", self.path(&path))),
            section.passphrase_command.map(|command| Origin::command("keyring.passphrase_command", command)),
        ];
        let in_file = self.one_of("keyring", in_file);
        let passphrase = secret::origin("BACKSTAY_PASSPHRASE", self.environment)?.or(in_file);
        Ok(KeyringConfig { file, passphrase })
    }

    fn drill(&mut self, section: DrillSection) -> Result<Option<Origin>, Failure> {
        let in_file = [
            section.into.map(|uri| Origin::value("drill.into", Secret::new(uri))),
            section.into_file.map(|path| Origin::file("drill.into_file", self.path(&path))),
            section.into_command.map(|command| Origin::command("drill.into_command", command)),
        ];
        let in_file = self.one_of("drill", in_file);
        Ok(secret::origin("BACKSTAY_DRILL_INTO", self.environment)?.or(in_file))
    }

    /// Names become variables and folders: they keep to letters that work in both, and no two may become the same.
    fn names<'n>(&mut self, names: impl Iterator<Item = &'n String>) {
        let mut seen: BTreeMap<String, &str> = BTreeMap::new();
        for name in names {
            let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            if name.is_empty() || name.len() > 63 || !name.chars().all(sound) {
                self.problem(
                    format!("sources.{name}"),
                    "a source's name is 1 to 63 letters, digits, hyphens and underscores",
                );
            } else if let Some(other) = seen.insert(variable(name), name) {
                let problem = format!("its variable {} is that of the source {other} as well", variable(name));
                self.problem(format!("sources.{name}"), problem);
            }
        }
    }

    fn source(&mut self, name: &str, section: SourceSection) -> Result<Option<SourceConfig>, Failure> {
        let setting = |key: &str| format!("sources.{name}.{key}");
        let in_file = [
            section.uri.map(|uri| Origin::value(setting("uri"), Secret::new(uri))),
            section.uri_file.map(|path| Origin::file(setting("uri_file"), self.path(&path))),
            section.uri_command.map(|command| Origin::command(setting("uri_command"), command)),
        ];
        let in_file = self.one_of(&format!("sources.{name}"), in_file);
        let Some(uri) = secret::origin(&variable(name), self.environment)?.or(in_file) else {
            let problem = format!("it is not said where the database is; add uri, or set {}", variable(name));
            self.problem(setting("uri"), problem);
            return Ok(None);
        };
        if let Some(known) = uri.known() {
            let schemes: &[&str] = match section.kind {
                Kind::Mongodb => &["mongodb://", "mongodb+srv://"],
            };
            if !schemes.iter().any(|scheme| known.expose().starts_with(scheme)) {
                self.problem(uri.setting.clone(), format!("the URI does not begin with {}", schemes.join(" or ")));
            }
        }
        let SourceSection { kind, include, tenants, feed, pace, commit_every_ms, .. } = section;
        let pace = PaceConfig::check(pace, |key, problem| self.problem(setting(&format!("pace.{key}")), problem));
        let commit_every_ms = commit_every_ms.unwrap_or(COMMIT_EVERY.as_millis() as u64);
        if !COMMIT_EVERY_ALLOWED_MS.contains(&commit_every_ms) {
            self.problem(setting("commit_every_ms"), "it is not between 100 and 600000 (ten minutes)");
        }
        Ok(Some(SourceConfig { name: name.to_owned(), kind, uri, include, tenants, feed, pace, commit_every_ms }))
    }

    fn one_of<const N: usize>(&mut self, place: &str, origins: [Option<Origin>; N]) -> Option<Origin> {
        let mut given = origins.into_iter().flatten();
        let first = given.next()?;
        if let Some(second) = given.next() {
            self.problem(place, format!("both {} and {} are set; keep one of them", first.setting, second.setting));
        }
        Some(first)
    }
}

/// The variable that gives a source's URI: `BACKSTAY_SOURCES_SHOP_URI`.
fn variable(source: &str) -> String {
    format!("BACKSTAY_SOURCES_{}_URI", source.to_ascii_uppercase().replace('-', "_"))
}
