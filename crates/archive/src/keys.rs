//! Keys at hand while a vault is open.
//!
//! Looking a key up in the keyring unwraps it and may look at a file; a run of many tenants asks for the same keys again
//! and again, so they are kept here as long as the vault is open.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use backstay_seal::{DataKey, Error, KeyId, Keyring, Result};

pub(crate) struct Keys {
    keyring: Arc<Keyring>,
    vault: [u8; 16],
    held: Mutex<HashMap<KeyId, Arc<DataKey>>>,
    active: Mutex<HashMap<String, Arc<DataKey>>>,
    met_shredded: AtomicBool,
}

impl Keys {
    pub fn new(keyring: Arc<Keyring>, vault: [u8; 16]) -> Keys {
        Keys { keyring, vault, held: Mutex::default(), active: Mutex::default(), met_shredded: AtomicBool::new(false) }
    }

    /// The key with this id, to open what was sealed under it.
    pub fn key(&self, id: KeyId) -> Result<Arc<DataKey>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = held.get(&id) {
            return Ok(Arc::clone(key));
        }
        let key = Arc::new(self.keyring.key(id)?);
        held.insert(id, Arc::clone(&key));
        Ok(key)
    }

    /// True when this key was destroyed on purpose.
    pub fn is_shredded(&self, id: KeyId) -> bool {
        let shredded = matches!(self.key(id), Err(Error::Shredded { .. }));
        self.met_shredded.fetch_or(shredded, Ordering::Relaxed);
        shredded
    }

    /// True once a key was looked for that had been destroyed: then a change without a record below it may be the trace of
    /// a record that nobody can read any more, and is no damage.
    pub fn has_met_shredded(&self) -> bool {
        self.met_shredded.load(Ordering::Relaxed)
    }

    /// The keys to seal with for these tenants, in the same order; made durably where there are none.
    pub fn active(&self, tenants: &[&str], now: u64) -> Result<Vec<Arc<DataKey>>> {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        let unknown: Vec<&str> = tenants.iter().copied().filter(|name| !active.contains_key(*name)).collect();
        if !unknown.is_empty() {
            let names: Vec<&[u8]> = unknown.iter().map(|name| name.as_bytes()).collect();
            let keys = self.keyring.tenant_keys(self.vault, &names, now)?;
            for (name, key) in unknown.iter().zip(keys) {
                active.insert((*name).to_owned(), Arc::new(key));
            }
        }
        Ok(tenants.iter().filter_map(|name| active.get(*name).cloned()).collect())
    }

    /// Forgets those of the keys at hand that were shredded since they were looked up: a process that has been running
    /// for long is to open nothing with them, and above all to seal nothing that nobody could read.
    pub fn forget_shredded(&self) -> Result<()> {
        let entries = self.keyring.entries()?;
        let shredded: HashSet<KeyId> =
            entries.iter().filter(|entry| entry.shredded.is_some()).map(|entry| entry.id).collect();
        if !shredded.is_empty() {
            let lives = |key: &DataKey| !shredded.contains(&key.id());
            self.held.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, key| lives(key));
            self.active.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, key| lives(key));
        }
        Ok(())
    }

    /// Forgets the keys at hand, so that a rotation or a shredding takes effect.
    pub fn forget(&self) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.active.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
