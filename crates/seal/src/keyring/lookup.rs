//! Finding keys. None of this writes.

use std::sync::{MutexGuard, PoisonError};

use super::entry::{Entry, Owner};
use super::{Held, KeyInfo, KeyState, Keyring, file};
use crate::{DataKey, Error, KeyId, Result, Secret, Signer};

impl Keyring {
    /// The key with this id, of any generation that is not shredded. For opening.
    ///
    /// [`Error::UnknownKey`], [`Error::Shredded`].
    pub fn key(&self, id: KeyId) -> Result<DataKey> {
        let held = self.current()?;
        let entry = held.ring.by_id(id).ok_or(Error::UnknownKey { id })?;
        self.unwrap(&held, entry)
    }

    /// The tenant's key for sealing. [`Error::Shredded`] when its keys were destroyed, [`Error::NoKey`] when it never had one.
    pub fn active_tenant_key(&self, vault: [u8; 16], tenant: &[u8]) -> Result<DataKey> {
        let held = self.current()?;
        let owner = Owner::Tenant(vault, tenant);
        if let Some(entry) = held.ring.active(&owner) {
            return self.unwrap(&held, entry);
        }
        let tombstone = held.ring.generations(&owner).rfind(|entry| entry.state == KeyState::Shredded);
        Err(tombstone.map_or_else(
            || Error::NoKey { what: format!("key of tenant `{}`", String::from_utf8_lossy(tenant)) },
            shredded,
        ))
    }

    /// The key that seals what belongs to the installation. [`Error::NoKey`] in a keyring made for one tenant.
    pub fn repository_key(&self) -> Result<DataKey> {
        let held = self.current()?;
        let entry = held.ring.active(&Owner::Repository);
        self.unwrap(&held, entry.ok_or_else(|| Error::NoKey { what: "repository key".to_owned() })?)
    }

    /// Signs for the repository. [`Error::NoKey`] in a keyring made for one tenant.
    pub fn signing_key(&self) -> Result<Signer> {
        let held = self.current()?;
        let entry = held.ring.active(&Owner::Signing).ok_or_else(|| Error::NoKey { what: "signing key".to_owned() })?;
        Signer::from_seed(&self.open_entry(&held, entry)?)
    }

    /// The public key that verifies the repository's signatures; a keyring made for one tenant knows it as well.
    pub fn verifying_key(&self) -> Result<[u8; 32]> {
        self.current()?.ring.verifying.ok_or_else(|| Error::NoKey { what: "verifying key".to_owned() })
    }

    /// Every key with its description and without itself, in the order in which they were made.
    pub fn entries(&self) -> Result<Vec<KeyInfo>> {
        Ok(self.current()?.ring.entries().iter().map(Entry::info).collect())
    }

    /// What the file says now: read again when it was replaced since.
    pub(super) fn current(&self) -> Result<MutexGuard<'_, Held>> {
        let mut held = self.hold();
        if let Some(file) = &self.file
            && held.stamp.as_ref() != Some(&file.stamp()?)
        {
            let (bytes, stamp) = file.read()?;
            held.take_in(file, &bytes, stamp)?;
        }
        Ok(held)
    }

    /// What was last read. A panic elsewhere cannot leave it half-changed: changes are made on a copy.
    pub(super) fn hold(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn unwrap(&self, held: &Held, entry: &Entry) -> Result<DataKey> {
        Ok(DataKey::new(entry.key_id(), self.open_entry(held, entry)?))
    }

    fn open_entry(&self, held: &Held, entry: &Entry) -> Result<Secret<32>> {
        let Some(wrapped) = &entry.wrapped else { return Err(shredded(entry)) };
        held.kek
            .unwrap(&entry.associated_data(&held.ring.id), &wrapped.0)
            .ok_or_else(|| self.does_not_open(entry.key_id()))
    }

    pub(super) fn does_not_open(&self, id: KeyId) -> Error {
        let path = self.path().map_or_else(|| "in memory".into(), std::path::Path::to_path_buf);
        Error::Corrupt { path, why: format!("the entry {id} does not open") }
    }
}

impl Held {
    pub(super) fn take_in(&mut self, file: &file::KeyFile, bytes: &[u8], stamp: file::Stamp) -> Result<()> {
        let (parsed, header) = file::parse(file.path(), bytes)?;
        let followed = self.kek.follow(file.path(), header)?;
        let ring = parsed.into_ring(file.path(), followed.as_ref().unwrap_or(&self.kek))?;
        self.ring = ring;
        if let Some(kek) = followed {
            self.kek = kek;
        }
        self.stamp = Some(stamp);
        Ok(())
    }
}

fn shredded(entry: &Entry) -> Error {
    let tenant =
        entry.tenant.as_ref().map_or_else(String::new, |tenant| String::from_utf8_lossy(&tenant.0).into_owned());
    Error::Shredded { tenant, when: entry.shredded.unwrap_or(entry.created) }
}
