//! One key's description, as stored, as listed, and as bound to its wrapped bytes.

use serde::{Deserialize, Serialize};

use crate::KeyId;
use crate::text::{Base64, Hex};

/// What a key is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// Seals what belongs to the installation.
    Repository,
    /// Signs commits.
    Signing,
    /// Seals a vault's tails, directories and commit bodies.
    Vault,
    /// Seals one tenant's blocks and index pages.
    Tenant,
}

/// What may be done with a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// Seals and opens.
    Active,
    /// Opens only; a newer generation seals.
    Retired,
    /// Destroyed; only this description is left.
    Shredded,
}

/// A key as `key list` shows it: everything but the key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyInfo {
    /// The key's public name.
    pub id: KeyId,
    /// What it is for.
    pub kind: KeyKind,
    /// The vault, for vault and tenant keys.
    pub vault: Option<[u8; 16]>,
    /// The tenant's name as the archive knows it, for tenant keys.
    pub tenant: Option<Vec<u8>>,
    /// 1 for the first key of its owner, then counting up.
    pub generation: u32,
    /// When it was made, in Unix seconds.
    pub created: u64,
    /// What may be done with it.
    pub state: KeyState,
    /// When it was shredded, in Unix seconds.
    pub shredded: Option<u64>,
}

/// Whose key a new entry is.
#[derive(Clone, Copy)]
pub(super) enum Owner<'a> {
    Repository,
    Signing,
    Vault([u8; 16]),
    Tenant([u8; 16], &'a [u8]),
}

impl Owner<'_> {
    pub(super) fn kind(self) -> KeyKind {
        match self {
            Self::Repository => KeyKind::Repository,
            Self::Signing => KeyKind::Signing,
            Self::Vault(_) => KeyKind::Vault,
            Self::Tenant(..) => KeyKind::Tenant,
        }
    }

    pub(super) fn vault(self) -> Option<[u8; 16]> {
        match self {
            Self::Repository | Self::Signing => None,
            Self::Vault(vault) | Self::Tenant(vault, _) => Some(vault),
        }
    }

    pub(super) fn tenant(&self) -> Option<&[u8]> {
        match self {
            Self::Tenant(_, tenant) => Some(tenant),
            _ => None,
        }
    }
}

/// An entry of the file.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) id: Hex<16>,
    pub(super) kind: KeyKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) vault: Option<Hex<16>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tenant: Option<Base64>,
    pub(super) generation: u32,
    pub(super) created: u64,
    pub(super) state: KeyState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) shredded: Option<u64>,
    /// Absent once shredded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) wrapped: Option<Base64>,
}

impl Entry {
    pub(super) fn key_id(&self) -> KeyId {
        KeyId(self.id.0)
    }

    pub(super) fn info(&self) -> KeyInfo {
        KeyInfo {
            id: self.key_id(),
            kind: self.kind,
            vault: self.vault.map(|vault| vault.0),
            tenant: self.tenant.as_ref().map(|tenant| tenant.0.clone()),
            generation: self.generation,
            created: self.created,
            state: self.state,
            shredded: self.shredded,
        }
    }

    /// The bytes that bind a wrapped key to its description. State and times may change and are covered by the file's
    /// seal instead.
    pub(super) fn associated_data(&self, ring: &[u8; 16]) -> Vec<u8> {
        let mut data = b"backstay keyring entry v1".to_vec();
        data.extend_from_slice(ring);
        data.extend_from_slice(&self.id.0);
        data.push(match self.kind {
            KeyKind::Repository => 1,
            KeyKind::Signing => 2,
            KeyKind::Vault => 3,
            KeyKind::Tenant => 4,
        });
        data.extend_from_slice(&self.generation.to_be_bytes());
        data.push(u8::from(self.vault.is_some()));
        data.extend_from_slice(&self.vault.map_or([0; 16], |vault| vault.0));
        // Last, so that it needs no length.
        data.push(u8::from(self.tenant.is_some()));
        data.extend_from_slice(self.tenant.as_ref().map_or(&[], |tenant| tenant.0.as_slice()));
        data
    }
}
