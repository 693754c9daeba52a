//! The repository: one store, one keyring, one vault per source.
//!
//! ```text
//!   backstay.json                    what this is; public
//!   vaults/{source}/chain/{seq}      the ledger
//!   vaults/{source}/segments/{id}    the segments
//!   vaults/{source}/runs/{id}/{n}    the journal of restores
//! ```

use std::path::PathBuf;
use std::sync::Arc;

use backstay_model::{World, hex};
use backstay_seal::Keyring;
use backstay_store::Store;
use bytes::Bytes;

use crate::anchor::Anchors;
use crate::{Error, Limits, Result, Vault};

pub(crate) const MARKER: &str = "backstay.json";

/// What `backstay.json` says.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Marker {
    format: u32,
    repository: String,
    verifying_key: String,
    /// Ed25519 over the others, so that an altered marker is seen.
    signature: String,
}

impl Marker {
    fn signed_text(&self) -> Vec<u8> {
        format!("backstay marker\n{}\n{}\n{}", self.format, self.repository, self.verifying_key).into_bytes()
    }

    fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("a marker is plain data")
    }

    /// Reads a marker that must have been made by the owner of `trusted`, down to the last byte.
    pub(crate) fn read(text: &[u8], trusted: &[u8; 32]) -> Result<Marker> {
        let damaged = |why: &str| Error::Damaged { object: MARKER.to_owned(), why: why.to_owned() };
        let marker: Marker = serde_json::from_slice(text).map_err(|_| damaged("it is not what init wrote"))?;
        if marker.format != 1 {
            return Err(damaged("a newer version of Backstay wrote it"));
        }
        let signature: [u8; 64] = unhex(&marker.signature).ok_or_else(|| damaged("its signature is not one"))?;
        let signed_by = unhex(&marker.verifying_key).ok_or_else(|| damaged("its key is not one"))?;
        backstay_seal::verify(&signed_by, &marker.signed_text(), &signature).map_err(|e| damaged(&e.to_string()))?;
        if signed_by != *trusted {
            let what = "key of this repository: the keyring belongs to another".to_owned();
            return Err(key_error(MARKER, backstay_seal::Error::NoKey { what }));
        }
        if marker.to_bytes() != text {
            return Err(damaged("its bytes are not those that init wrote"));
        }
        Ok(marker)
    }
}

/// An open repository. Cheap to clone.
#[derive(Clone)]
pub struct Repository {
    pub(crate) store: Store,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) world: Arc<dyn World>,
    pub(crate) scratch: PathBuf,
    pub(crate) limits: Limits,
    place: String,
}

impl Repository {
    /// Makes a repository in an empty store. [`Error::RepositoryExists`] when there is one.
    pub async fn create(
        store: Store,
        place: &str,
        keyring: Arc<Keyring>,
        world: Arc<dyn World>,
        scratch: PathBuf,
    ) -> Result<Repository> {
        let verifying_key = keyring.verifying_key().map_err(|e| key_error(place, e))?;
        let signer = keyring.signing_key().map_err(|e| key_error(place, e))?;
        let (repository, verifying_key) = (hex(&world.id()), hex(&verifying_key));
        let mut marker = Marker { format: 1, repository, verifying_key, signature: String::new() };
        marker.signature = hex(&signer.sign(&marker.signed_text()).map_err(|e| key_error(place, e))?);
        match store.create(MARKER, Bytes::from(marker.to_bytes())).await {
            Ok(()) => {
                Ok(Repository { store, keyring, world, scratch, limits: Limits::default(), place: place.to_owned() })
            }
            Err(backstay_store::Error::AlreadyExists { .. }) => {
                Err(Error::RepositoryExists { place: place.to_owned() })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a repository. [`Error::NoRepository`] when there is none; [`Error::Key`] when the keyring is another's.
    pub async fn open(
        store: Store,
        place: &str,
        keyring: Arc<Keyring>,
        world: Arc<dyn World>,
        scratch: PathBuf,
    ) -> Result<Repository> {
        let text = match store.get(MARKER).await {
            Ok(text) => text,
            Err(backstay_store::Error::NotFound { .. }) => {
                return Err(Error::NoRepository { place: place.to_owned() });
            }
            Err(error) => return Err(error.into()),
        };
        let verifying_key = keyring.verifying_key().map_err(|e| key_error(place, e))?;
        Marker::read(&text, &verifying_key)?;
        Ok(Repository { store, keyring, world, scratch, limits: Limits::default(), place: place.to_owned() })
    }

    /// Opens a repository for [`Vault::verify`]: a damaged marker is one of the problems that it reports, not the end.
    pub async fn open_to_verify(
        store: Store,
        place: &str,
        keyring: Arc<Keyring>,
        world: Arc<dyn World>,
        scratch: PathBuf,
    ) -> Result<Repository> {
        let opened = (store.clone(), Arc::clone(&keyring), Arc::clone(&world), scratch.clone());
        match Repository::open(store, place, keyring, world, scratch).await {
            Err(Error::Damaged { .. }) => {
                let (store, keyring, world, scratch) = opened;
                Ok(Repository { store, keyring, world, scratch, limits: Limits::default(), place: place.to_owned() })
            }
            opened => opened,
        }
    }

    /// The same with other bounds on memory.
    pub fn with_limits(self, limits: Limits) -> Repository {
        Repository { limits, ..self }
    }

    /// Reads `backstay.json` again; what is wrong with it, if anything.
    pub(crate) async fn check_marker(&self) -> Result<()> {
        let text = self.store.get(MARKER).await?;
        let verifying_key = self.keyring.verifying_key().map_err(|e| key_error(MARKER, e))?;
        Marker::read(&text, &verifying_key).map(drop)
    }

    /// The vault of the source `name`. [`Error::NoVault`] before its first backup.
    pub async fn vault(&self, name: &str) -> Result<Vault> {
        Vault::open(self, name).await
    }

    /// The vault of the source `name`, made when there is none. [`Error::OtherSource`] when it was made for another
    /// deployment.
    pub async fn vault_for(&self, name: &str, kind: &str, identity: &str) -> Result<Vault> {
        Vault::open_or_create(self, name, kind, (identity, None)).await
    }

    /// The same for a source that the vault may know by `stand_in`, see [`Vault::check_source`].
    pub async fn vault_known_by(
        &self,
        name: &str,
        kind: &str,
        identity: &str,
        stand_in: Option<&str>,
    ) -> Result<Vault> {
        Vault::open_or_create(self, name, kind, (identity, stand_in)).await
    }

    /// Whether commits of a vault of this name were seen with this keyring, here or in another repository.
    pub fn has_seen(&self, name: &str) -> Result<bool> {
        let Some(anchors) = Anchors::beside(&self.keyring) else { return Ok(false) };
        let wrong = |error: std::io::Error| Error::Damaged {
            object: anchors.path().display().to_string(),
            why: error.to_string(),
        };
        anchors.has_name(name).map_err(wrong)
    }

    /// The names of the sources that have a vault, ascending.
    pub async fn vault_names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for object in self.store.list("vaults/").await? {
            let Some(name) = object.path.strip_prefix("vaults/").and_then(|rest| rest.split('/').next()) else {
                continue;
            };
            if names.last().is_none_or(|last| last != name) {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// The keyring.
    pub fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The clock and chance that the repository was opened with.
    pub fn world(&self) -> &Arc<dyn World> {
        &self.world
    }

    /// Where the repository is, for people.
    pub fn place(&self) -> &str {
        &self.place
    }
}

fn key_error(object: &str, source: backstay_seal::Error) -> Error {
    Error::Key { object: object.to_owned(), source }
}

pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}
