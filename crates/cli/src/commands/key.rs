//! `backstay key`: the keyring.
//!
//! Shredding a tenant makes its data unreadable for ever, and that must be true: changes that were captured but not
//! sorted yet lie under the vault's key, which others share. So they are sorted first, what they were in is deleted at
//! once, and only then are the tenant's keys destroyed.

use std::collections::BTreeMap;

use backstay_archive::Vault;
use backstay_model::{Tick, hex};
use backstay_seal::{KeyInfo, KeyKind, KeyState, Protection};
use serde::Serialize;

use super::Context;
use crate::args::{KeyCommand, KeyExportArgs, KeyRotateArgs, KeyShredArgs};
use crate::config::{Secret, secret};
use crate::confirm::Danger;
use crate::failure::{Exit, Failure};
use crate::installation::{Installation, open_keyring, passphrase};
use crate::output::{Align, Progress, Unit, bytes, count, table};
use crate::selecting;
use crate::time::rfc3339;

/// Where the pass phrase of a new or a rotated keyring comes from.
const NEW_PASSPHRASE: &str = "BACKSTAY_NEW_PASSPHRASE";

/// Looks after the keyring.
///
/// # Errors
/// When the keyring does not open, a tenant is unknown, consent is missing, or a file cannot be written.
pub async fn run(context: &Context, command: KeyCommand) -> Result<Exit, Failure> {
    match command {
        KeyCommand::List => list(context).await,
        KeyCommand::Rotate(args) => rotate(context, &args).await,
        KeyCommand::Shred(args) => shred(context, &args).await,
        KeyCommand::Export(args) => export(context, &args).await,
    }
}

#[derive(Serialize)]
struct Keys {
    keyring: String,
    keys: Vec<Key>,
}

#[derive(Serialize)]
struct Key {
    id: String,
    kind: &'static str,
    /// The source, where the repository still knows the vault.
    source: Option<String>,
    vault: Option<String>,
    tenant: Option<String>,
    generation: u32,
    state: &'static str,
    created: String,
    shredded: Option<String>,
}

async fn list(context: &Context) -> Result<Exit, Failure> {
    let config = context.config()?;
    let keyring = open_keyring(&config)?;
    // The keyring can be listed without a repository; with one, vaults have names.
    let mut names: BTreeMap<[u8; 16], String> = BTreeMap::new();
    if let Ok(installation) = Installation::open(context).await {
        for name in installation.repository.vault_names().await? {
            if let Ok(vault) = installation.repository.vault(&name).await {
                names.insert(vault.id(), name);
            }
        }
    }
    let keys = keyring.entries()?.iter().map(|info| key(info, &names)).collect();
    let keys = Keys { keyring: config.keyring.file.display().to_string(), keys };
    context.document(&keys, || describe(&keys))?;
    Ok(Exit::Done)
}

fn key(info: &KeyInfo, names: &BTreeMap<[u8; 16], String>) -> Key {
    let when = |seconds: u64| u32::try_from(seconds).map_or_else(|_| seconds.to_string(), |s| rfc3339(Tick::new(s, 0)));
    Key {
        id: info.id.to_string(),
        kind: match info.kind {
            KeyKind::Repository => "repository",
            KeyKind::Signing => "signing",
            KeyKind::Vault => "vault",
            KeyKind::Tenant => "tenant",
        },
        source: info.vault.and_then(|vault| names.get(&vault).cloned()),
        vault: info.vault.map(|vault| hex(&vault)),
        tenant: info.tenant.as_ref().map(|name| match name.is_empty() {
            true => "(definitions)".to_owned(),
            false => String::from_utf8_lossy(name).into_owned(),
        }),
        generation: info.generation,
        state: match info.state {
            KeyState::Active => "active",
            KeyState::Retired => "retired",
            KeyState::Shredded => "shredded",
        },
        created: when(info.created),
        shredded: info.shredded.map(when),
    }
}

fn describe(keys: &Keys) -> String {
    let header = [
        ("key", Align::Left),
        ("kind", Align::Left),
        ("source", Align::Left),
        ("tenant", Align::Left),
        ("generation", Align::Right),
        ("state", Align::Left),
        ("made", Align::Left),
    ];
    let rows = keys.keys.iter().map(|key| {
        let source = key.source.clone().or_else(|| key.vault.clone()).unwrap_or_default();
        let tenant = key.tenant.clone().unwrap_or_default();
        let state = match &key.shredded {
            Some(when) => format!("{} {when}", key.state),
            None => key.state.to_owned(),
        };
        let id = key.id.get(..8).unwrap_or(&key.id).to_owned();
        vec![id, key.kind.to_owned(), source, tenant, key.generation.to_string(), state, key.created.clone()]
    });
    table(&header, rows)
}

/// The vault that is meant: of the named source, or of the only one.
async fn vault_of(installation: &Installation, source: Option<&str>) -> Result<Vault, Failure> {
    let sources = &installation.config.sources;
    let name = match (source, sources.len()) {
        (Some(name), _) => name,
        (None, 1) => sources.keys().next().map_or("", String::as_str),
        (None, _) => {
            let names: Vec<&str> = sources.keys().map(String::as_str).collect();
            return Err(Failure::usage("it is not said which source's keys are meant")
                .hint(format!("add --source with one of {}", names.join(", "))));
        }
    };
    installation.vault(name).await
}

/// A tenant that the keyring knows.
fn known(vault: &Vault, tenant: &str) -> Result<(), Failure> {
    let known = selecting::tenants_with_keys(vault)?;
    match known.contains(tenant) {
        true => Ok(()),
        false => Err(selecting::unknown("key of a tenant", tenant, known.iter().map(String::as_str))),
    }
}

#[derive(Serialize)]
struct Rotated<'a> {
    keyring: String,
    /// Empty when the key that wraps the others was replaced.
    tenants: &'a [String],
    passphrase: bool,
}

async fn rotate(context: &Context, args: &KeyRotateArgs) -> Result<Exit, Failure> {
    let config = context.config()?;
    let file = config.keyring.file.display().to_string();
    if args.tenants.is_empty() {
        let new = secret::from_environment(NEW_PASSPHRASE, &context.environment)?;
        let keyring = open_keyring(&config)?;
        let kept = passphrase(&config)?;
        let words = new.as_ref().or(kept.as_ref());
        keyring.rotate_kek(words.map(|secret| secret.expose().as_bytes()))?;
        let rotated = Rotated { keyring: file, tenants: &[], passphrase: words.is_some() };
        context.document(&rotated, || {
            let under = match (new.is_some(), words.is_some()) {
                (true, _) => "the new pass phrase; give it to Backstay from now on",
                (false, true) => "its pass phrase",
                (false, false) => "its file's permissions",
            };
            format!("replaced the key that wraps all others in {}; it is under {under}", rotated.keyring)
        })?;
        return Ok(Exit::Done);
    }
    let installation = Installation::open(context).await?;
    let vault = vault_of(&installation, args.source.as_deref()).await?;
    for tenant in &args.tenants {
        known(&vault, tenant)?;
    }
    for tenant in &args.tenants {
        vault.repository().keyring().rotate_tenant(vault.id(), tenant.as_bytes(), installation.world().now())?;
    }
    let rotated = Rotated { keyring: file, tenants: &args.tenants, passphrase: config.keyring.passphrase.is_some() };
    context.document(&rotated, || {
        format!(
            "what is written from now on for {} in {} is sealed under a new key; older keys still open what was \
             written before",
            args.tenants.join(", "),
            vault.name()
        )
    })?;
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Shredded<'a> {
    source: &'a str,
    tenant: &'a str,
    keys: usize,
    tails: u64,
    deleted: u64,
    deleted_bytes: u64,
}

async fn shred(context: &Context, args: &KeyShredArgs) -> Result<Exit, Failure> {
    let installation = Installation::open(context).await?;
    let vault = vault_of(&installation, args.source.as_deref()).await?;
    let interpreter = installation.interpreter(&vault).await?;
    let action = format!(
        "destroy the keys of tenant {} of {}: every version of its records in the archive becomes unreadable, for \
         everybody and for ever; its live data and other tenants are not touched",
        args.tenant,
        vault.name()
    );
    context.confirm(Danger { action }, args.yes).await?;
    let progress = Progress::start(&context.output, "compact", Unit::Objects);
    let mut tails = vault
        .compact(interpreter.as_ref(), |done, total| {
            progress.set_total(total);
            progress.set_done(done);
        })
        .await?;
    drop(progress);
    // A capture that goes on may have committed more meanwhile.
    tails += vault.compact(interpreter.as_ref(), |_, _| {}).await?;
    let state = vault.state().await;
    if state.tails().len() > 0 && (state.completed_scans().is_empty() || state.open_gap().is_some()) {
        let why = "changes wait to be sorted that hold its records under a shared key, and they cannot be sorted before a \
                   scan has been completed";
        return Err(Failure::failed(format!("the keys of tenant {} were not destroyed: {why}", args.tenant))
            .hint(format!("run `backstay backup {}`, then shred again", vault.name())));
    }
    // A tenant of the captured changes only has a key from here on.
    known(&vault, &args.tenant)?;
    let (deleted, deleted_bytes) = vault.discard_replaced().await?;
    let keyring = vault.repository().keyring();
    let keys = keyring.shred(vault.id(), args.tenant.as_bytes(), installation.world().now())?;
    vault.forget_keys();
    let shredded = Shredded { source: vault.name(), tenant: &args.tenant, keys, tails, deleted, deleted_bytes };
    context.summary(&shredded, || match keys {
        0 => format!("the keys of tenant {} had been destroyed before", args.tenant),
        _ => format!(
            "destroyed {} of tenant {}: what the archive holds of it is unreadable from now on\nsorted {} tails and \
             deleted {} objects, {}, that held its changes under a shared key\nCopies of the keyring still hold the \
             keys: destroy them as well.\nRun backstay backup {} next: as of any time before that it stays uncertain what the \
             tenant had.",
            if keys == 1 { "the key".to_owned() } else { format!("{keys} keys") },
            args.tenant,
            count(tails),
            count(deleted),
            bytes(deleted_bytes),
            vault.name()
        ),
    })?;
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Exported<'a> {
    source: &'a str,
    tenant: &'a str,
    keyring: String,
    passphrase: bool,
}

async fn export(context: &Context, args: &KeyExportArgs) -> Result<Exit, Failure> {
    let words: Option<Secret> = secret::from_environment(NEW_PASSPHRASE, &context.environment)?;
    let installation = Installation::open(context).await?;
    let vault = vault_of(&installation, args.source.as_deref()).await?;
    known(&vault, &args.tenant)?;
    let protection = match &words {
        Some(words) => Protection::passphrase(words.expose().as_bytes()),
        None => Protection::File,
    };
    vault.repository().keyring().restrict_to_tenant(vault.id(), args.tenant.as_bytes(), &args.to, protection)?;
    let exported = Exported {
        source: vault.name(),
        tenant: &args.tenant,
        keyring: args.to.display().to_string(),
        passphrase: words.is_some(),
    };
    context.document(&exported, || {
        format!(
            "wrote {}: it opens the data of tenant {} of {} and nothing else",
            exported.keyring,
            args.tenant,
            vault.name()
        )
    })?;
    Ok(Exit::Done)
}
