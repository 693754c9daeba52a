//! `backstay doctor`: what would keep Backstay from working, each finding with its next step.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use backstay_archive::{Repository, Vault};
use backstay_model::{World, hex};
use backstay_mongodb::MongoDeployment;
use backstay_source::{Source, Start, Topology};
use backstay_store::Store;
use serde::Serialize;

use super::Context;
use crate::args::DoctorArgs;
use crate::config::{Config, Feed, SourceConfig};
use crate::failure::{Exit, Failure};
use crate::installation::{connect, has_repository, open_keyring, place, scratch, store};
use crate::output::duration;
use crate::world::SystemWorld;

/// The least that reading needs, as MongoDB names its roles.
const READING_ROLES: &str = "{role: \"readAnyDatabase\", db: \"admin\"}, {role: \"clusterMonitor\", db: \"admin\"}, \
    {role: \"read\", db: \"local\"}";
/// The same where change streams are followed.
const STREAM_ROLES: &str = "{role: \"readAnyDatabase\", db: \"admin\"}, and a role with the privileges {resource: {db: \"\", \
    collection: \"system.views\"}, actions: [\"find\"]} and {resource: {cluster: true}, actions: [\"replSetGetConfig\", \
    \"serverStatus\"]}";
/// What restoring in place needs on top.
const WRITING_ROLES: &str =
    "{role: \"readWriteAnyDatabase\", db: \"admin\"}, {role: \"dbAdminAnyDatabase\", db: \"admin\"}";
/// An oplog that holds less than this is rolled over by an ordinary night's outage.
const SHORT_OPLOG: Duration = Duration::from_secs(12 * 3_600);
/// Clocks further apart than this make “two hours ago” mean something else here than there.
const SKEW: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

#[derive(Serialize)]
struct Check {
    check: String,
    verdict: Verdict,
    detail: String,
    hint: Option<String>,
}

#[derive(Serialize)]
struct Findings {
    healthy: bool,
    checks: Vec<Check>,
}

/// Checks everything that can be checked; a failed check does not keep the others from being made.
///
/// # Errors
/// When stdout cannot be written, or the source that was named is not in the configuration.
pub async fn run(context: &Context, args: &DoctorArgs) -> Result<Exit, Failure> {
    let mut findings = Findings { healthy: true, checks: Vec::new() };
    match context.config() {
        Err(failure) => findings.fail("configuration", &failure),
        Ok(config) => {
            findings.ok("configuration", format!("{} is in order", config.file.display()));
            let repository = findings.installation(&config, context).await;
            let sources: Vec<&SourceConfig> = match &args.source {
                Some(name) => vec![config.source(name)?],
                None => config.sources.values().collect(),
            };
            for source in sources {
                findings.source(source, scratch(&context.environment), repository.as_ref()).await;
            }
        }
    }
    context.document(&findings, || findings.describe())?;
    Ok(if findings.healthy { Exit::Done } else { Exit::CheckFailed })
}

impl Findings {
    fn ok(&mut self, check: &str, detail: impl Into<String>) {
        self.add(check, Verdict::Ok, detail.into(), None);
    }

    fn warn(&mut self, check: &str, detail: impl Into<String>, hint: impl Into<String>) {
        self.add(check, Verdict::Warn, detail.into(), Some(hint.into()));
    }

    fn fail(&mut self, check: &str, failure: &Failure) {
        self.healthy = false;
        self.add(check, Verdict::Fail, failure.message.clone(), failure.hint.clone());
    }

    fn add(&mut self, check: &str, verdict: Verdict, detail: String, hint: Option<String>) {
        self.checks.push(Check { check: check.to_owned(), verdict, detail, hint });
    }

    /// Keyring, store, repository, scratch folder.
    async fn installation(&mut self, config: &Config, context: &Context) -> Option<Repository> {
        let file = &config.keyring.file;
        let keyring = match open_keyring(config) {
            Ok(keyring) => {
                let mode = std::fs::metadata(file).map_or(0, |metadata| metadata.permissions().mode() & 0o777);
                let under = if config.keyring.passphrase.is_some() { "a pass phrase" } else { "its permissions" };
                self.ok("keyring", format!("{} opens; mode {mode:03o}, protected by {under}", file.display()));
                Some(Arc::new(keyring))
            }
            Err(failure) => {
                self.fail("keyring", &failure);
                None
            }
        };
        let world = Arc::new(SystemWorld::new());
        let scratch = scratch(&context.environment);
        if let Err(error) = tempfile::tempfile_in(&scratch) {
            let what = format!("cannot write in {}: {error}", scratch.display());
            self.warn("scratch", what, "set BACKSTAY_SCRATCH to a folder that can be written");
        }
        let store = match store(config) {
            Ok(store) => store,
            Err(failure) => {
                self.fail("repository", &failure);
                return None;
            }
        };
        let place = place(config);
        match has_repository(&store).await {
            Ok(true) => {}
            Ok(false) => {
                self.fail("repository", &backstay_archive::Error::NoRepository { place }.into());
                return None;
            }
            Err(failure) => {
                self.fail("repository", &failure);
                return None;
            }
        }
        match probe(&store, world.as_ref()).await {
            Ok(()) => self.ok("repository", format!("{place} can be read and written")),
            Err(failure) => self.fail("repository", &failure),
        }
        match Repository::open(store, &place, keyring?, world, scratch).await {
            Ok(repository) => Some(repository),
            Err(error) => {
                self.fail("repository key", &error.into());
                None
            }
        }
    }

    async fn source(&mut self, source: &SourceConfig, scratch: PathBuf, repository: Option<&Repository>) {
        let name = |what: &str| format!("{}: {what}", source.name);
        let deployment = match connect(source, scratch).await {
            Ok(deployment) => deployment,
            Err(failure) => return self.fail(&name("connection"), &failure),
        };
        match deployment.discover().await {
            Ok(topology) => {
                let set = topology.streams.join(", ");
                self.ok(&name("connection"), format!("{}, replica set {set}", topology.product));
                self.vault(source, &topology, repository).await;
            }
            Err(error) => self.fail(&name("connection"), &reading(source, error)),
        }
        match deployment.namespaces().await {
            Ok(namespaces) if namespaces.is_empty() => self.warn(
                &name("namespaces"),
                "nothing that is there is included",
                "check include in the configuration, and that the credentials see the databases",
            ),
            Ok(namespaces) => self.ok(&name("namespaces"), format!("{} are protected", namespaces.len())),
            Err(error) => self.fail(&name("namespaces"), &reading(source, error)),
        }
        if let Err(error) = deployment.snapshot().await {
            self.fail(&name("snapshots"), &reading(source, error));
        }
        self.change_feed(source, &deployment, repository).await;
        self.clock_and_rights(source, &deployment, repository).await;
    }

    /// Whether the vault belongs to this deployment.
    async fn vault(&mut self, source: &SourceConfig, topology: &Topology, repository: Option<&Repository>) {
        let Some(repository) = repository else { return };
        let check = format!("{}: archive", source.name);
        match repository.vault(&source.name).await {
            Ok(vault) => {
                let commits = vault.state().await.head().seq + 1;
                match vault.check_source(&topology.identity, topology.stand_in.as_deref()).await {
                    Ok(()) => self.ok(&check, format!("{commits} commits; belongs to this deployment")),
                    Err(error) => self.fail(&check, &error.into()),
                }
                self.keys(source, &vault).await;
            }
            Err(backstay_archive::Error::NoVault { .. }) => {
                self.warn(&check, "nothing is backed up yet", format!("run backstay backup {}", source.name))
            }
            Err(error) => self.fail(&check, &error.into()),
        }
    }

    /// Whether the keyring opens all that the archive holds.
    async fn keys(&mut self, source: &SourceConfig, vault: &Vault) {
        let check = format!("{}: keys", source.name);
        match vault.tenants_without_keys().await {
            Ok(tenants) if tenants.is_empty() => self.ok(&check, "the keyring opens every segment"),
            Ok(tenants) => {
                let names: Vec<&str> = tenants.iter().take(5).map(String::as_str).collect();
                let more = tenants.len().saturating_sub(names.len());
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                let what =
                    format!("the keyring lacks keys of {}{more}: their records cannot be read", names.join(", "));
                let failure = Failure::new(Exit::WrongKey, what);
                self.fail(&check, &failure.hint("is it an older copy of the keyring? put the newest one back"));
            }
            Err(error) => self.fail(&check, &error.into()),
        }
    }

    /// How far back the oplog reaches, and whether capture can still go on from where it stopped.
    async fn change_feed(
        &mut self,
        source: &SourceConfig,
        deployment: &MongoDeployment,
        repository: Option<&Repository>,
    ) {
        let by_streams = source.feed == Feed::ChangeStreams;
        let check = format!("{}: {}", source.name, if by_streams { "change streams" } else { "oplog" });
        let position = match deployment.position().await {
            Ok(position) => position,
            Err(error) => return self.fail(&check, &reading(source, error)),
        };
        if by_streams {
            let start = Start { resume: position.committed, through: position.committed };
            if let Err(error) = deployment.tail(start).await {
                return self.fail(&check, &reading(source, error));
            }
            self.warn(
                &format!("{}: not shown", source.name),
                format!("change streams do not show: {}", deployment.capabilities().hidden.join("; ")),
                format!("run backstay backup {} now and then: its scan finds what differs", source.name),
            );
        }
        let Some(oldest) = position.oldest else {
            return self.ok(&check, "they can be followed; how far back they reach, the server does not tell");
        };
        let seconds = position.committed.seconds().saturating_sub(oldest.seconds());
        let window = Duration::from_secs(u64::from(seconds));
        let holds = format!("it reaches back {}", duration(window));
        let vault = match repository {
            Some(repository) => repository.vault(&source.name).await.ok(),
            None => None,
        };
        let state = match &vault {
            Some(vault) => Some(vault.state().await),
            None => None,
        };
        let resume = state.as_ref().and_then(|state| state.frontiers().values().map(|frontier| frontier.resume).min());
        match resume {
            Some(resume) if resume < oldest => self.fail(
                &check,
                &Failure::failed(format!("{holds}, but changes from {resume} on are not captured yet: some are lost"))
                    .hint(format!("run backstay capture {}: it records the gap and scans again", source.name)),
            ),
            Some(resume) => {
                let behind =
                    Duration::from_secs(u64::from(position.committed.seconds().saturating_sub(resume.seconds())));
                let detail = format!("{holds}; capture is {} behind", duration(behind));
                // With less than a quarter left, the next pause may be one too many.
                match behind > window / 4 * 3 && behind > Duration::from_secs(600) {
                    true => self.warn(&check, detail, format!("run backstay capture {} soon", source.name)),
                    false => self.ok(&check, detail),
                }
            }
            None if window < SHORT_OPLOG => self.ok(&check, format!("{holds} so far")),
            None => self.ok(&check, holds),
        }
    }

    async fn clock_and_rights(
        &mut self,
        source: &SourceConfig,
        deployment: &MongoDeployment,
        repository: Option<&Repository>,
    ) {
        let clock = format!("{}: clock", source.name);
        let checkup = match deployment.checkup().await {
            Ok(checkup) => checkup,
            Err(error) => return self.fail(&clock, &reading(source, error)),
        };
        let world: u64 = repository.map_or_else(|| SystemWorld::new().now(), |repository| repository.world().now());
        let there = u64::try_from(checkup.clock_ms / 1_000).unwrap_or(0);
        let skew = Duration::from_secs(there.abs_diff(world));
        match skew > SKEW {
            true => self.warn(
                &clock,
                format!("the server's clock and the one here are {} apart", duration(skew)),
                "times on the command line are read by the clock here; let both follow NTP",
            ),
            false => self.ok(&clock, "the server's clock and the one here agree"),
        }
        let rights = format!("{}: privileges", source.name);
        if !checkup.lacks_for_following.is_empty() {
            let lacks =
                format!("change streams cannot be followed: {} is missing", checkup.lacks_for_following.join(", "));
            self.fail(&rights, &Failure::failed(lacks).hint(format!("grant the user at least {STREAM_ROLES}")));
        }
        if !checkup.lacks_for_more.is_empty() {
            let lacks = format!("what would be of use is missing: {}", checkup.lacks_for_more.join("; "));
            self.warn(&rights, lacks, format!("all that following change streams takes: {STREAM_ROLES}"));
        }
        match (checkup.is_user, checkup.lacks_for_writing.as_slice()) {
            (false, _) => self.ok(&rights, "the server asks for no credentials"),
            (true, []) => self.ok(&rights, "they allow restoring in place"),
            (true, lacks) => self.warn(
                &rights,
                format!("they allow no restoring in place: {} is missing", lacks.join(", ")),
                format!("fine for backup and capture; to restore in place, grant {WRITING_ROLES}"),
            ),
        }
    }

    fn describe(&self) -> String {
        let mut lines = Vec::new();
        for check in &self.checks {
            let verdict = match check.verdict {
                Verdict::Ok => "ok  ",
                Verdict::Warn => "warn",
                Verdict::Fail => "FAIL",
            };
            lines.push(format!("{verdict}  {}: {}", check.check, check.detail));
            if let Some(hint) = &check.hint {
                lines.push(format!("      hint: {hint}"));
            }
        }
        lines.join("\n")
    }
}

/// A refusal of the source, with the roles that would end it.
fn reading(source: &SourceConfig, error: backstay_source::Error) -> Failure {
    let denied = matches!(error, backstay_source::Error::Denied { .. });
    let failure = Failure::from(error);
    let roles = match source.feed {
        Feed::Oplog => READING_ROLES,
        Feed::ChangeStreams => STREAM_ROLES,
    };
    if denied { failure.hint(format!("grant the user at least {roles}")) } else { failure }
}

/// Creates an object, reads it back, and deletes it.
async fn probe(store: &Store, world: &dyn World) -> Result<(), Failure> {
    let path = format!("probe/{}", hex(&world.id()));
    store.create(&path, b"probe".to_vec().into()).await?;
    let read = store.get(&path).await;
    store.delete(&path).await?;
    match read? == b"probe".as_slice() {
        true => Ok(()),
        false => Err(Failure::failed(format!("the object {path} does not read back as it was written"))),
    }
}
