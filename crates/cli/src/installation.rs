//! What a configuration opens: the keyring, the repository, and each source.
//!
//! Nothing is opened before a command needs it: `timeline` never talks to a database, `doctor` opens all of it piece by
//! piece.

use std::path::PathBuf;
use std::sync::Arc;

use backstay_archive::{Repository, Vault};
use backstay_model::{Interpreter, Protection, Tick, World};
use backstay_mongodb::interpret::MongoInterpreter;
use backstay_mongodb::interpret::protection::protection;
use backstay_mongodb::interpret::tenants::{Origin, Rule};
use backstay_mongodb::{Feed, MongoDeployment, Options, ReadFrom};
use backstay_seal::Keyring;
use backstay_source::Source;
use backstay_store::{Chance, Place, Store};

use crate::commands::Context;
use crate::config::{self, Config, Kind, Secret, SourceConfig, TenantRule};
use crate::environment::Environment;
use crate::failure::Failure;
use crate::world::SystemWorld;

/// What every repository carries at its root; the archive writes it.
const MARKER: &str = "backstay.json";

/// An open repository with its configuration.
pub struct Installation {
    /// The configuration in effect.
    pub config: Config,
    /// The repository that it names.
    pub repository: Repository,
    /// Where data is put off that does not fit in memory.
    pub scratch: PathBuf,
}

impl Installation {
    /// Opens the keyring and the repository.
    ///
    /// # Errors
    /// When the configuration is wrong, there is no repository, or the keyring does not open it.
    pub async fn open(context: &Context) -> Result<Installation, Failure> {
        Installation::open_as(context, false).await
    }

    /// Opens both for `verify`, which reports a damaged marker beside whatever else is wrong.
    ///
    /// # Errors
    /// As [`Installation::open`], except for a damaged marker.
    pub async fn open_to_verify(context: &Context) -> Result<Installation, Failure> {
        Installation::open_as(context, true).await
    }

    async fn open_as(context: &Context, to_verify: bool) -> Result<Installation, Failure> {
        let config = context.config()?;
        let store = store(&config)?;
        let place = place(&config);
        if !store.exists(MARKER).await? {
            return Err(backstay_archive::Error::NoRepository { place }.into());
        }
        let keyring = Arc::new(open_keyring(&config)?);
        let (world, scratch) = (Arc::new(SystemWorld::new()), scratch(&context.environment));
        let repository = match to_verify {
            false => Repository::open(store, &place, keyring, world, scratch.clone()).await?,
            true => Repository::open_to_verify(store, &place, keyring, world, scratch.clone()).await?,
        };
        Ok(Installation { config, repository, scratch })
    }

    /// The vault of a source of the configuration.
    ///
    /// # Errors
    /// When the configuration has no such source, or nothing of it was backed up.
    pub async fn vault(&self, name: &str) -> Result<Vault, Failure> {
        self.config.source(name)?;
        Ok(self.repository.vault(name).await?)
    }

    /// The vault of a source, and the source itself; refuses a source that is not the one that was backed up.
    ///
    /// # Errors
    /// As [`Installation::vault`] and [`connect`]; when the deployment is another one.
    pub async fn live(&self, name: &str) -> Result<(Vault, MongoDeployment), Failure> {
        let vault = self.vault(name).await?;
        let deployment = connect(self.config.source(name)?, self.scratch.clone()).await?;
        let found = deployment.discover().await?;
        vault.check_source(&found.identity, found.stand_in.as_deref()).await?;
        Ok((vault, deployment))
    }

    /// What explains a vault's bytes; needs no connection. That is what its ledger says was protected when they were
    /// captured; the configuration counts where that says nothing, and for what is captured next.
    ///
    /// # Errors
    /// When the configuration has no such source, or its patterns or rules are wrong.
    pub async fn interpreter(&self, vault: &Vault) -> Result<Arc<dyn Interpreter>, Failure> {
        self.interpreter_of(vault, vault.state().await.protection())
    }

    /// The same for what was captured up to and with `at`, and for live records that are to be compared with it.
    ///
    /// # Errors
    /// As [`Installation::interpreter`].
    pub async fn interpreter_at(&self, vault: &Vault, at: Tick) -> Result<Arc<dyn Interpreter>, Failure> {
        self.interpreter_of(vault, vault.state().await.protection_at(at))
    }

    fn interpreter_of(&self, vault: &Vault, recorded: Option<&Protection>) -> Result<Arc<dyn Interpreter>, Failure> {
        let protection = match recorded {
            Some(recorded) => recorded.clone(),
            None => {
                let source = self.config.source(vault.name())?;
                protection(source.include.iter().map(|pattern| pattern.as_str()), &rules(source))
            }
        };
        let wrong = |why: String| Failure::usage(format!("the source {}: {why}", vault.name()));
        Ok(Arc::new(MongoInterpreter::of(&protection).map_err(wrong)?))
    }

    /// The clock and the randomness in use.
    pub fn world(&self) -> &Arc<dyn World> {
        self.repository.world()
    }
}

/// Connects to a source; `scratch` is the folder for what does not fit in memory.
///
/// # Errors
/// When its URI cannot be read, or the database refuses or does not answer.
pub async fn connect(source: &SourceConfig, scratch: PathBuf) -> Result<MongoDeployment, Failure> {
    let Kind::Mongodb = source.kind;
    let options = Options {
        uri: source.uri.read()?.expose().to_owned(),
        include: source.include.iter().map(ToString::to_string).collect(),
        tenants: rules(source),
        feed: feed(source),
        read: ReadFrom::default(),
        scratch: Some(scratch),
    };
    Ok(MongoDeployment::connect(options).await?)
}

/// Connects to a deployment that data of `source` is restored into.
///
/// # Errors
/// When the database refuses or does not answer.
pub async fn connect_target(uri: &Secret, source: &SourceConfig) -> Result<MongoDeployment, Failure> {
    let (uri, tenants) = (uri.expose().to_owned(), rules(source));
    let options = Options { uri, tenants, read: ReadFrom::Primary, ..Options::default() };
    Ok(MongoDeployment::connect(options).await?)
}

fn feed(source: &SourceConfig) -> Feed {
    match source.feed {
        config::Feed::Oplog => Feed::Oplog,
        config::Feed::ChangeStreams => Feed::ChangeStreams,
    }
}

fn rules(source: &SourceConfig) -> Vec<Rule> {
    let rule = |rule: &TenantRule| match rule {
        TenantRule::Field { ns, path } => Rule { ns: ns.to_string(), origin: Origin::Field(path.clone()) },
        TenantRule::Database { pattern } => Rule { ns: pattern.clone(), origin: Origin::Capture },
        TenantRule::Fixed { ns, tenant } => Rule { ns: ns.to_string(), origin: Origin::Fixed(tenant.clone()) },
    };
    source.tenants.iter().map(rule).collect()
}

/// The store that the configuration names; it need not hold a repository.
///
/// # Errors
/// When its place cannot be made sense of, or its credentials cannot be read.
pub fn store(config: &Config) -> Result<Store, Failure> {
    match &config.repository {
        config::Repository::Folder(folder) => Ok(Store::local(folder)?),
        config::Repository::Bucket(bucket) => {
            let world = SystemWorld::new();
            let chance: Chance = Arc::new(move |bytes| world.fill(bytes));
            Ok(Store::open(&Place::Bucket(bucket.bucket.clone()), &bucket.settings()?, chance)?)
        }
    }
}

/// Where the repository is, for people.
pub fn place(config: &Config) -> String {
    config.repository.place()
}

/// Whether there is a repository.
///
/// # Errors
/// When the store does not answer.
pub async fn has_repository(store: &Store) -> Result<bool, Failure> {
    Ok(store.exists(MARKER).await?)
}

/// Opens the keyring, with its pass phrase where the configuration has one.
///
/// # Errors
/// When there is none, it is readable by others, or the pass phrase is missing or wrong.
pub fn open_keyring(config: &Config) -> Result<Keyring, Failure> {
    let passphrase = passphrase(config)?;
    Ok(Keyring::open(&config.keyring.file, passphrase.as_ref().map(|secret| secret.expose().as_bytes()))?)
}

/// The keyring's pass phrase, where the configuration has one.
///
/// # Errors
/// When its file cannot be read or its command fails.
pub fn passphrase(config: &Config) -> Result<Option<Secret>, Failure> {
    config.keyring.passphrase.as_ref().map(config::Origin::read).transpose()
}

/// Where data is sorted that does not fit in memory: sealed as in the archive, and removed afterwards.
pub fn scratch(environment: &Environment) -> PathBuf {
    environment.path("BACKSTAY_SCRATCH").unwrap_or_else(std::env::temp_dir)
}
