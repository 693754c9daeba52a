//! Changing the keyring: read again under the lock, change a copy, replace the file, and only then believe it.

use std::path::Path;

use super::entry::Owner;
use super::kek::{Kek, Protection};
use super::ring::Ring;
use super::{Held, KeyState, Keyring, file};
use crate::{DataKey, Error, Result, Secret};

/// What an edit of a copy of the ring comes to.
enum Edited<T> {
    /// Nothing to write.
    Unchanged(T),
    /// Write it.
    Changed(T),
    /// Write it, and wipe what it replaces.
    Shredded(T),
}

impl Keyring {
    /// The vault's key, made when there is none.
    pub fn vault_key(&self, vault: [u8; 16], now: u64) -> Result<DataKey> {
        let owner = Owner::Vault(vault);
        {
            let held = self.current()?;
            if let Some(entry) = held.ring.active(&owner) {
                return self.unwrap(&held, entry);
            }
        }
        self.change(|ring, kek| {
            if ring.active(&owner).is_some() {
                return Ok(Edited::Unchanged(()));
            }
            ring.insert(kek, owner, &Secret::generate()?, now)?;
            Ok(Edited::Changed(()))
        })?;
        let held = self.hold();
        let entry = held.ring.active(&owner).ok_or_else(|| Error::NoKey { what: "key of this vault".to_owned() })?;
        self.unwrap(&held, entry)
    }

    /// The active keys of these tenants, in the same order. Those that have none get one, all with one durable write
    /// before this returns. A tenant whose keys were shredded gets a new generation: what was sealed before stays lost.
    pub fn tenant_keys(&self, vault: [u8; 16], tenants: &[&[u8]], now: u64) -> Result<Vec<DataKey>> {
        let missing = |ring: &Ring, tenant: &[u8]| ring.active(&Owner::Tenant(vault, tenant)).is_none();
        let some_missing = {
            let held = self.current()?;
            tenants.iter().any(|tenant| missing(&held.ring, tenant))
        };
        if some_missing {
            self.change(|ring, kek| {
                let mut changed = false;
                for tenant in tenants {
                    if missing(ring, tenant) {
                        ring.insert(kek, Owner::Tenant(vault, tenant), &Secret::generate()?, now)?;
                        changed = true;
                    }
                }
                Ok(if changed { Edited::Changed(()) } else { Edited::Unchanged(()) })
            })?;
        }
        // Not read again here: a shred that happens between is as good as one that happens right after.
        let held = self.hold();
        let active = tenants.iter().map(|tenant| {
            let entry = held.ring.active(&Owner::Tenant(vault, tenant));
            self.unwrap(&held, entry.ok_or_else(|| no_tenant_key(tenant))?)
        });
        active.collect()
    }

    /// Gives the tenant a new key for what is sealed from now on; older generations still open.
    pub fn rotate_tenant(&self, vault: [u8; 16], tenant: &[u8], now: u64) -> Result<DataKey> {
        let owner = Owner::Tenant(vault, tenant);
        let id = self.change(|ring, kek| {
            if ring.active(&owner).is_none() {
                return Err(no_tenant_key(tenant));
            }
            ring.edit(&owner, |entry| {
                if entry.state == KeyState::Active {
                    entry.state = KeyState::Retired;
                }
            });
            Ok(Edited::Changed(ring.insert(kek, owner, &Secret::generate()?, now)?))
        })?;
        self.key(id)
    }

    /// Destroys every generation of the tenant's key and leaves tombstones. Returns how many keys were destroyed: 0 when
    /// it was done before. [`Error::NoKey`] when the tenant never had a key.
    pub fn shred(&self, vault: [u8; 16], tenant: &[u8], now: u64) -> Result<usize> {
        let owner = Owner::Tenant(vault, tenant);
        self.change(|ring, _| {
            if ring.generations(&owner).next().is_none() {
                return Err(no_tenant_key(tenant));
            }
            let mut destroyed = 0;
            ring.edit(&owner, |entry| {
                if entry.state != KeyState::Shredded {
                    entry.state = KeyState::Shredded;
                    entry.shredded = Some(now);
                    entry.wrapped = None;
                    destroyed += 1;
                }
            });
            Ok(if destroyed == 0 { Edited::Unchanged(0) } else { Edited::Shredded(destroyed) })
        })
    }

    /// Replaces the key-encryption key, and with it the protection: under a pass phrase when one is given, else under
    /// the file's permissions. Other processes that hold the keyring under a pass phrase must open it again.
    pub fn rotate_kek(&self, passphrase: Option<&[u8]>) -> Result<()> {
        self.rotate_kek_to(passphrase.map_or(Protection::File, Protection::passphrase))
    }

    /// Like [`Keyring::rotate_kek`], with the cost of the pass phrase chosen by the caller.
    pub fn rotate_kek_to(&self, protection: Protection<'_>) -> Result<()> {
        let kek = Kek::create(protection)?;
        self.locked(|held, lock| {
            let rewrapped = held.ring.rewrapped(&held.kek, &kek, held.ring.id, |_| true)?;
            let ring = rewrapped.map_err(|id| self.does_not_open(id))?;
            if let (Some(file), Some(lock)) = (&self.file, lock) {
                // The old file opens under the old pass phrase: that is what rotating is meant to end.
                held.stamp = Some(file.replace(lock, &file::render(file.path(), &ring, &kek)?, true)?);
            }
            (held.ring, held.kek) = (ring, kek);
            Ok(())
        })
    }

    /// Writes a new keyring at `path` that holds this tenant's keys in this vault and nothing else: enough to read the
    /// tenant's data and to verify signatures.
    pub fn restrict_to_tenant(
        &self,
        vault: [u8; 16],
        tenant: &[u8],
        path: &Path,
        protection: Protection<'_>,
    ) -> Result<Self> {
        let kek = Kek::create(protection)?;
        let ring = {
            let held = self.current()?;
            if held.ring.generations(&Owner::Tenant(vault, tenant)).next().is_none() {
                return Err(no_tenant_key(tenant));
            }
            let belongs = |entry: &super::entry::Entry| {
                entry.vault.is_some_and(|of| of.0 == vault) && entry.tenant.as_ref().is_some_and(|of| of.0 == tenant)
            };
            let fresh = *Secret::<16>::generate()?.expose();
            held.ring.rewrapped(&held.kek, &kek, fresh, belongs)?.map_err(|id| self.does_not_open(id))?
        };
        Self::place(path, ring, kek)
    }

    fn change<T>(&self, edit: impl FnOnce(&mut Ring, &Kek) -> Result<Edited<T>>) -> Result<T> {
        self.locked(|held, lock| {
            let mut ring = held.ring.clone();
            let (answer, wipe) = match edit(&mut ring, &held.kek)? {
                Edited::Unchanged(answer) => return Ok(answer),
                Edited::Changed(answer) => (answer, false),
                Edited::Shredded(answer) => (answer, true),
            };
            if let (Some(file), Some(lock)) = (&self.file, lock) {
                held.stamp = Some(file.replace(lock, &file::render(file.path(), &ring, &held.kek)?, wipe)?);
            }
            held.ring = ring;
            Ok(answer)
        })
    }

    /// Runs `work` with the lock held and the newest content read. When it fails, the next look-up reads again.
    fn locked<T>(&self, work: impl FnOnce(&mut Held, Option<&file::Exclusive>) -> Result<T>) -> Result<T> {
        let mut held = self.hold();
        let Some(file) = &self.file else { return work(&mut held, None) };
        let lock = file.lock_exclusive()?;
        if held.stamp.as_ref() != Some(&file.stamp()?) {
            let (bytes, stamp) = file.read_unlocked()?;
            held.take_in(file, &bytes, stamp)?;
        }
        let done = work(&mut held, Some(&lock));
        if done.is_err() {
            held.stamp = None;
        }
        done
    }
}

fn no_tenant_key(tenant: &[u8]) -> Error {
    Error::NoKey { what: format!("key of tenant `{}`", String::from_utf8_lossy(tenant)) }
}
