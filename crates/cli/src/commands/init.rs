//! `backstay init`: the repository, and the keyring that opens it.
//!
//! A keyring that is there already is used, never overwritten: the keys in it may be all that opens another archive.

use std::sync::Arc;

use backstay_archive::Repository;
use backstay_model::World;
use backstay_seal::Keyring;
use backstay_store::Store;
use serde::Serialize;

use super::Context;
use crate::config::Config;
use crate::failure::{Exit, Failure};
use crate::installation::{has_repository, open_keyring, passphrase, place, scratch, store};
use crate::world::SystemWorld;

#[derive(Serialize)]
struct Made {
    repository: String,
    keyring: String,
    keyring_made: bool,
    passphrase: bool,
}

/// Makes both.
///
/// # Errors
/// When there is a repository already, or one of the two cannot be made.
pub async fn run(context: &Context) -> Result<Exit, Failure> {
    let config = context.config()?;
    let (store, place) = (store(&config)?, place(&config));
    if has_repository(&store).await? {
        return Err(there_already(context, &config, store, &place).await);
    }
    let world = Arc::new(SystemWorld::new());
    let (keyring, keyring_made) = keyring(&config, world.now())?;
    Repository::create(store, &place, Arc::new(keyring), world, scratch(&context.environment)).await?;
    let made = Made {
        repository: place,
        keyring: config.keyring.file.display().to_string(),
        keyring_made,
        passphrase: config.keyring.passphrase.is_some(),
    };
    context.document(&made, || describe(&made, &config))?;
    Ok(Exit::Done)
}

/// What to say of a repository that was made before: that it is ready, or what keeps it from being used.
async fn there_already(context: &Context, config: &Config, store: Store, place: &str) -> Failure {
    let exists = Failure::from(backstay_archive::Error::RepositoryExists { place: place.to_owned() });
    let keyring = match open_keyring(config) {
        Ok(keyring) => Arc::new(keyring),
        Err(failure) => return unopened(exists, failure),
    };
    let scratch = scratch(&context.environment);
    match Repository::open(store, place, keyring, Arc::new(SystemWorld::new()), scratch).await {
        Ok(_) => match config.sources.keys().next() {
            Some(source) => exists.of_source(source),
            None => exists,
        },
        Err(error) => unopened(exists, error.into()),
    }
}

fn unopened(exists: Failure, why: Failure) -> Failure {
    Failure { message: format!("{}, and it does not open: {}", exists.message, why.message), ..why }
}

/// The keyring at the configured place, made when there is none; and whether it was made.
fn keyring(config: &Config, now: u64) -> Result<(Keyring, bool), Failure> {
    let file = &config.keyring.file;
    let words = passphrase(config)?;
    match Keyring::create(file, words.as_ref().map(|secret| secret.expose().as_bytes()), now) {
        Ok(keyring) => Ok((keyring, true)),
        Err(backstay_seal::Error::Exists { .. }) => Ok((open_keyring(config)?, false)),
        Err(error) => Err(error.into()),
    }
}

fn describe(made: &Made, config: &Config) -> String {
    let keyring = match (made.keyring_made, made.passphrase) {
        (true, true) => format!("made the keyring {} under its pass phrase", made.keyring),
        (true, false) => format!("made the keyring {}, readable by you only", made.keyring),
        (false, _) => format!("uses the keyring {}, which was there", made.keyring),
    };
    let source = config.sources.keys().next().map_or("SOURCE", String::as_str);
    format!(
        "made the repository {}\n{keyring}\nKeep a copy of the keyring elsewhere: without it nobody can read the \
         archive.\nNext: backstay backup {source}",
        made.repository
    )
}
