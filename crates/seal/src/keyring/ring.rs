//! The entries in memory, with the ways to find them.

use std::collections::HashMap;
use std::fmt;

use super::entry::{Entry, KeyState, Owner};
use super::kek::Kek;
use crate::text::{Base64, Hex};
use crate::{KeyId, Result, Secret};

#[derive(Clone)]
pub(super) struct Ring {
    pub(super) id: [u8; 16],
    pub(super) verifying: Option<[u8; 32]>,
    entries: Vec<Entry>,
    by_id: HashMap<KeyId, usize>,
    repository: Vec<usize>,
    signing: Vec<usize>,
    vaults: HashMap<[u8; 16], Vault>,
}

/// Generations in the order in which they were made.
#[derive(Clone, Default)]
struct Vault {
    own: Vec<usize>,
    tenants: HashMap<Vec<u8>, Vec<usize>>,
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ring({} entries)", self.entries.len())
    }
}

impl Ring {
    pub(super) fn new() -> Result<Self> {
        let id = *Secret::<16>::generate()?.expose();
        Ok(Self::of(id, None, Vec::new()))
    }

    /// An empty ring with room for entries that are given later by [`Ring::push`].
    pub(super) fn of(id: [u8; 16], verifying: Option<[u8; 32]>, entries: Vec<Entry>) -> Self {
        let mut ring = Self {
            id,
            verifying,
            by_id: HashMap::with_capacity(entries.len()),
            entries: Vec::with_capacity(entries.len()),
            repository: Vec::new(),
            signing: Vec::new(),
            vaults: HashMap::new(),
        };
        for entry in entries {
            ring.push(entry);
        }
        ring
    }

    fn push(&mut self, entry: Entry) {
        let at = self.entries.len();
        self.by_id.insert(entry.key_id(), at);
        let vault = entry.vault.map(|vault| vault.0);
        let generations = match (entry.kind, vault, &entry.tenant) {
            (super::KeyKind::Signing, ..) => &mut self.signing,
            (_, None, _) => &mut self.repository,
            (_, Some(vault), None) => &mut self.vaults.entry(vault).or_default().own,
            (_, Some(vault), Some(tenant)) => {
                self.vaults.entry(vault).or_default().tenants.entry(tenant.0.clone()).or_default()
            }
        };
        generations.push(at);
        self.entries.push(entry);
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn by_id(&self, id: KeyId) -> Option<&Entry> {
        self.entries.get(*self.by_id.get(&id)?)
    }

    fn positions(&self, owner: &Owner<'_>) -> &[usize] {
        let found = match owner {
            Owner::Repository => return &self.repository,
            Owner::Signing => return &self.signing,
            Owner::Vault(vault) => self.vaults.get(vault).map(|vault| &vault.own),
            Owner::Tenant(vault, tenant) => self.vaults.get(vault).and_then(|vault| vault.tenants.get(*tenant)),
        };
        found.map_or(&[], Vec::as_slice)
    }

    /// All generations of an owner's key, oldest first.
    pub(super) fn generations(&self, owner: &Owner<'_>) -> impl DoubleEndedIterator<Item = &Entry> {
        self.positions(owner).iter().filter_map(|at| self.entries.get(*at))
    }

    pub(super) fn active(&self, owner: &Owner<'_>) -> Option<&Entry> {
        self.generations(owner).rfind(|entry| entry.state == KeyState::Active)
    }

    /// Changes the generations of an owner's key in place.
    pub(super) fn edit(&mut self, owner: &Owner<'_>, mut edit: impl FnMut(&mut Entry)) {
        for at in self.positions(owner).to_vec() {
            if let Some(entry) = self.entries.get_mut(at) {
                edit(entry);
            }
        }
    }

    /// Adds the next generation of an owner's key.
    pub(super) fn insert(&mut self, kek: &Kek, owner: Owner<'_>, secret: &Secret<32>, now: u64) -> Result<KeyId> {
        let newest = self.generations(&owner).map(|entry| entry.generation).max();
        let id = KeyId::generate()?;
        let mut entry = Entry {
            id: Hex(id.0),
            kind: owner.kind(),
            vault: owner.vault().map(Hex),
            tenant: owner.tenant().map(|tenant| Base64(tenant.to_vec())),
            generation: newest.map_or(1, |newest| newest.saturating_add(1)),
            created: now,
            state: KeyState::Active,
            shredded: None,
            wrapped: None,
        };
        entry.wrapped = Some(Base64(kek.wrap(&entry.associated_data(&self.id), secret)?));
        self.push(entry);
        Ok(id)
    }

    /// The same entries with every key wrapped anew; None names the entry that does not open.
    pub(super) fn rewrapped(
        &self,
        old: &Kek,
        new: &Kek,
        into: [u8; 16],
        keep: impl Fn(&Entry) -> bool,
    ) -> Result<Result<Self, KeyId>> {
        let mut entries = Vec::with_capacity(self.entries.len());
        for entry in self.entries.iter().filter(|entry| keep(entry)) {
            let mut entry = entry.clone();
            if let Some(wrapped) = &entry.wrapped {
                let Some(secret) = old.unwrap(&entry.associated_data(&self.id), &wrapped.0) else {
                    return Ok(Err(entry.key_id()));
                };
                entry.wrapped = Some(Base64(new.wrap(&entry.associated_data(&into), &secret)?));
            }
            entries.push(entry);
        }
        Ok(Ok(Self::of(into, self.verifying, entries)))
    }
}
