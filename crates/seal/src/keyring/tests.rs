#![allow(clippy::unwrap_used)]
use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;
use crate::{KeyId, Scope, verify};

const VAULT: [u8; 16] = [1; 16];
const CHEAP: PassphraseCost = PassphraseCost { memory_kib: 8, passes: 1, lanes: 1 };

fn words(words: &[u8]) -> Protection<'_> {
    Protection::Passphrase { words, cost: CHEAP }
}

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("backstay.keys")
    }

    fn create(&self) -> Keyring {
        Keyring::create(&self.path(), None, 100).unwrap()
    }

    fn open(&self) -> Result<Keyring> {
        Keyring::open(&self.path(), None)
    }
}

fn tenant(ring: &Keyring, name: &[u8]) -> crate::DataKey {
    ring.tenant_keys(VAULT, &[name], 200).unwrap().remove(0)
}

/// Two keys are the same when one opens what the other sealed.
fn same(left: &crate::DataKey, right: &crate::DataKey) -> bool {
    let scope = Scope { format: 1, vault: VAULT, segment: [2; 16], salt: [3; 32], purpose: 0 };
    let mut block = vec![1, 2, 3];
    left.sealer(&scope).unwrap().seal(0, &mut block).unwrap();
    right.segment_key(&scope).unwrap().open(0, 0, &mut block).is_ok()
}

#[test]
fn everything_survives_reopening() {
    let place = Place::new();
    let ring = place.create();
    let keys = [ring.repository_key().unwrap(), ring.vault_key(VAULT, 150).unwrap(), tenant(&ring, b"acme")];
    let again = place.open().unwrap();
    for key in &keys {
        assert!(same(key, &again.key(key.id()).unwrap()));
    }
    assert!(same(&keys[0], &again.repository_key().unwrap()));
    assert!(same(&keys[1], &again.vault_key(VAULT, 999).unwrap()));
    assert!(same(&keys[2], &again.active_tenant_key(VAULT, b"acme").unwrap()));
    assert!(!same(&keys[1], &keys[2]));
    let signature = ring.signing_key().unwrap().sign(b"commit").unwrap();
    verify(&again.verifying_key().unwrap(), b"commit", &signature).unwrap();

    let entries = again.entries().unwrap();
    let kinds: Vec<_> = entries.iter().map(|entry| (entry.kind, entry.created, entry.state)).collect();
    use KeyKind::{Repository, Signing, Tenant, Vault};
    let active = |kind, created| (kind, created, KeyState::Active);
    assert_eq!(kinds, [active(Signing, 100), active(Repository, 100), active(Vault, 150), active(Tenant, 200)]);
    assert_eq!(entries[3].tenant.as_deref(), Some(b"acme".as_slice()));
    assert_eq!((entries[3].vault, entries[3].generation), (Some(VAULT), 1));
}

#[test]
fn a_tenant_in_another_vault_is_another_tenant() {
    let ring = Keyring::in_memory(1).unwrap();
    let other = ring.tenant_keys([9; 16], &[b"acme"], 2).unwrap().remove(0);
    assert!(!same(&tenant(&ring, b"acme"), &other));
    assert!(matches!(ring.active_tenant_key([8; 16], b"acme"), Err(Error::NoKey { .. })));
    assert!(matches!(ring.key(KeyId([0; 16])), Err(Error::UnknownKey { .. })));
}

#[test]
fn what_is_not_there_or_in_the_way_is_told() {
    let place = Place::new();
    assert!(matches!(place.open(), Err(Error::Missing { .. })));
    place.create();
    assert!(matches!(Keyring::create(&place.path(), None, 1), Err(Error::Exists { .. })));
    place.open().unwrap();
}

#[test]
fn others_may_not_read_it() {
    let place = Place::new();
    let ring = place.create();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&place.path()), 0o600);
    tenant(&ring, b"acme");
    assert_eq!(mode(&place.path()), 0o600);
    for bad in [0o640, 0o604, 0o660, 0o620] {
        fs::set_permissions(place.path(), fs::Permissions::from_mode(bad)).unwrap();
        let error = place.open().unwrap_err();
        assert!(matches!(error, Error::Permissions { mode, .. } if mode == bad), "{error}");
        assert!(error.to_string().contains("chmod 600"));
    }
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o400)).unwrap();
    place.open().unwrap();
}

#[test]
fn a_pass_phrase_is_needed_and_must_be_right() {
    let place = Place::new();
    let path = place.path();
    let ring = Keyring::create_protected(&path, words(b"open sesame"), 1).unwrap();
    let key = tenant(&ring, b"acme");
    assert!(matches!(Keyring::open(&path, None), Err(Error::PassphraseNeeded { .. })));
    assert!(matches!(Keyring::open(&path, Some(b"open barley")), Err(Error::WrongPassphrase { .. })));
    let again = Keyring::open(&path, Some(b"open sesame")).unwrap();
    assert!(same(&key, &again.key(key.id()).unwrap()));
    assert!(matches!(Keyring::create_protected(&path, words(b""), 1), Err(Error::UnusablePassphrase { .. })));
}

#[test]
fn a_cost_out_of_bounds_is_refused() {
    for cost in [PassphraseCost { memory_kib: u32::MAX, ..CHEAP }, PassphraseCost { passes: 0, ..CHEAP }] {
        let protection = Protection::Passphrase { words: b"x", cost };
        assert!(matches!(Kek::create(protection), Err(Error::UnusablePassphrase { .. })));
    }
}

#[test]
fn changing_the_protection_keeps_the_keys() {
    let place = Place::new();
    let path = place.path();
    let ring = place.create();
    let key = tenant(&ring, b"acme");
    let stale = fs::read(&path).unwrap();
    ring.rotate_kek_to(words(b"first")).unwrap();
    assert!(matches!(place.open(), Err(Error::PassphraseNeeded { .. })));
    let second = Keyring::open(&path, Some(b"first")).unwrap();
    assert!(same(&key, &second.key(key.id()).unwrap()));
    second.rotate_kek_to(words(b"second")).unwrap();
    assert!(matches!(Keyring::open(&path, Some(b"first")), Err(Error::WrongPassphrase { .. })));
    // The first handle knows only the first pass phrase, and says so instead of using what it remembers.
    assert!(matches!(ring.key(key.id()), Err(Error::Rekeyed { .. })));
    second.rotate_kek(None).unwrap();
    let last = place.open().unwrap();
    assert!(same(&key, &last.key(key.id()).unwrap()));
    // Without a pass phrase on either side a handle follows by itself.
    last.rotate_kek(None).unwrap();
    assert!(same(&key, &second.key(key.id()).unwrap()));
    assert_ne!(stale, fs::read(&path).unwrap());
}

#[test]
fn rotating_a_tenant_leaves_the_old_key_to_read_with() {
    let place = Place::new();
    let ring = place.create();
    let old = tenant(&ring, b"acme");
    let new = ring.rotate_tenant(VAULT, b"acme", 300).unwrap();
    assert!(!same(&old, &new));
    assert_eq!(tenant(&ring, b"acme").id(), new.id());
    let again = place.open().unwrap();
    assert!(same(&old, &again.key(old.id()).unwrap()));
    assert_eq!(again.active_tenant_key(VAULT, b"acme").unwrap().id(), new.id());
    let states: Vec<_> = again.entries().unwrap().into_iter().map(|entry| (entry.generation, entry.state)).collect();
    assert_eq!(states[2..], [(1, KeyState::Retired), (2, KeyState::Active)]);
    assert!(matches!(ring.rotate_tenant(VAULT, b"nobody", 1), Err(Error::NoKey { .. })));
}

#[test]
fn a_shredded_tenant_is_gone_everywhere() {
    let place = Place::new();
    let ring = place.create();
    let elsewhere = place.open().unwrap();
    let old = tenant(&ring, b"acme");
    let newer = ring.rotate_tenant(VAULT, b"acme", 300).unwrap();
    let kept = tenant(&ring, b"other");
    elsewhere.key(old.id()).unwrap();
    // A second name for the old content stands in for what lies in the file system's free blocks.
    let ghost = place.0.path().join("ghost");
    fs::hard_link(place.path(), &ghost).unwrap();

    assert_eq!(ring.shred(VAULT, b"acme", 400).unwrap(), 2);
    for handle in [&ring, &elsewhere, &place.open().unwrap()] {
        for id in [old.id(), newer.id()] {
            let error = handle.key(id).unwrap_err();
            assert!(matches!(&error, Error::Shredded { tenant, when: 400 } if tenant == "acme"), "{error}");
        }
        assert!(matches!(handle.active_tenant_key(VAULT, b"acme"), Err(Error::Shredded { .. })));
        assert!(same(&kept, &handle.key(kept.id()).unwrap()));
    }
    assert!(fs::read(&ghost).unwrap().iter().all(|byte| *byte == 0), "the old content was overwritten");
    assert_eq!(ring.shred(VAULT, b"acme", 500).unwrap(), 0);
    assert!(matches!(ring.shred(VAULT, b"nobody", 1), Err(Error::NoKey { .. })));

    // The tenant may come back; its past may not.
    let fresh = tenant(&ring, b"acme");
    let generations: Vec<_> =
        ring.entries().unwrap().into_iter().filter(|entry| entry.tenant.as_deref() == Some(b"acme")).collect();
    assert_eq!(generations.last().map(|entry| (entry.id, entry.generation)), Some((fresh.id(), 3)));
    assert_eq!(generations[0].shredded, Some(400));
}

/// K2 at its root: what a tenant is handed opens that tenant's keys, and has nothing else in it.
#[test]
fn a_restricted_keyring_holds_one_tenant() {
    let place = Place::new();
    let ring = place.create();
    let (mine, theirs) = (tenant(&ring, b"acme"), tenant(&ring, b"other"));
    let vault = ring.vault_key(VAULT, 1).unwrap();
    let elsewhere = ring.tenant_keys([7; 16], &[b"acme"], 1).unwrap().remove(0);
    let newer = ring.rotate_tenant(VAULT, b"acme", 2).unwrap();
    let path = place.0.path().join("acme.keys");
    ring.restrict_to_tenant(VAULT, b"acme", &path, words(b"for acme")).unwrap();
    let given = Keyring::open(&path, Some(b"for acme")).unwrap();
    assert!(same(&mine, &given.key(mine.id()).unwrap()));
    assert!(same(&newer, &given.active_tenant_key(VAULT, b"acme").unwrap()));
    for id in [theirs.id(), vault.id(), elsewhere.id()] {
        assert!(matches!(given.key(id), Err(Error::UnknownKey { .. })));
    }
    assert!(matches!(given.repository_key(), Err(Error::NoKey { .. })));
    assert!(matches!(given.signing_key(), Err(Error::NoKey { .. })));
    assert_eq!(given.verifying_key().unwrap(), ring.verifying_key().unwrap());
    assert_eq!(given.entries().unwrap().len(), 2);
    assert!(matches!(ring.restrict_to_tenant(VAULT, b"acme", &path, Protection::File), Err(Error::Exists { .. })));
}

/// No change of one bit anywhere in the file goes unnoticed, with or without a pass phrase.
#[test]
fn every_flipped_bit_is_seen() {
    for protection in [Protection::File, words(b"pass")] {
        let place = Place::new();
        let path = place.path();
        let ring = Keyring::create_protected(&path, protection, 1).unwrap();
        tenant(&ring, b"acme");
        ring.shred(VAULT, b"acme", 2).unwrap();
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            // Every bit for the end, where the seal is; one bit a byte elsewhere keeps the test quick.
            for bit in if at + 120 > whole.len() { 0..8 } else { at % 8..at % 8 + 1 } {
                let mut altered = whole.clone();
                altered[at] ^= 1 << bit;
                let white = |byte: u8| byte.is_ascii_whitespace();
                if white(whole[at]) && white(altered[at]) {
                    continue;
                }
                let parsed = file::parse(&path, &altered);
                let opened = parsed.and_then(|(parsed, header)| {
                    // Bits of the cost may ask for gigabytes: the bound is tested elsewhere.
                    if let kek::Header::Passphrase { memory_kib, passes, lanes, .. } = &header
                        && (*memory_kib, *passes, *lanes) != (8, 1, 1)
                    {
                        return Err(Error::Corrupt { path: path.clone(), why: "another cost".to_owned() });
                    }
                    let kek = Kek::open(&path, header, Some(b"pass"))?;
                    parsed.into_ring(&path, &kek)
                });
                let told = matches!(
                    opened,
                    Err(Error::Corrupt { .. } | Error::UnknownFormat { .. } | Error::WrongPassphrase { .. })
                );
                assert!(told, "bit {bit} of byte {at}");
            }
        }
        for len in 0..whole.len() - 1 {
            assert!(file::parse(&path, &whole[..len]).is_err(), "cut to {len}");
        }
    }
}

/// An exchanged pair of wrapped keys has a right shape; the associated data sees it even without the file's seal.
#[test]
fn a_wrapped_key_opens_only_in_its_own_entry() {
    let ring = Keyring::in_memory(1).unwrap();
    tenant(&ring, b"a");
    tenant(&ring, b"b");
    let held = ring.hold();
    let [.., a, b] = held.ring.entries() else { panic!("two tenants") };
    let open = |entry: &entry::Entry, ring: &[u8; 16], wrapped: &[u8]| {
        held.kek.unwrap(&entry.associated_data(ring), wrapped).is_some()
    };
    let wrapped = &a.wrapped.as_ref().unwrap().0;
    assert!(open(a, &held.ring.id, wrapped));
    assert!(!open(b, &held.ring.id, wrapped));
    assert!(!open(a, &[0; 16], wrapped));
    let mut moved = a.clone();
    moved.generation = 2;
    assert!(!open(&moved, &held.ring.id, wrapped));
    for bit in 0..wrapped.len() * 8 {
        let mut altered = wrapped.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(!open(a, &held.ring.id, &altered), "bit {bit}");
    }
}

/// A crash after the new file was begun, and before it took the place of the old one.
#[test]
fn a_half_written_replacement_is_ignored_and_replaced() {
    let place = Place::new();
    let ring = place.create();
    let key = tenant(&ring, b"acme");
    let half = place.0.path().join("backstay.keys.new");
    fs::write(&half, &fs::read(place.path()).unwrap()[..50]).unwrap();
    let again = place.open().unwrap();
    assert!(same(&key, &again.key(key.id()).unwrap()));
    tenant(&again, b"next");
    assert!(!half.exists());
    assert_eq!(place.open().unwrap().entries().unwrap().len(), 4);
}

#[test]
fn writers_that_race_lose_nothing() {
    let place = Place::new();
    place.create();
    let handles: Vec<Keyring> = (0..4).map(|_| place.open().unwrap()).collect();
    let made: Vec<(Vec<u8>, KeyId)> = std::thread::scope(|scope| {
        let threads: Vec<_> = handles
            .iter()
            .enumerate()
            .map(|(writer, ring)| {
                scope.spawn(move || {
                    let one = |round: usize| {
                        let own = format!("tenant {writer}/{round}").into_bytes();
                        let shared = format!("shared {round}").into_bytes();
                        let keys = ring.tenant_keys(VAULT, &[&own, &shared], 1).unwrap();
                        [(own, keys[0].id()), (shared, keys[1].id())]
                    };
                    (0..10).flat_map(one).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let ring = place.open().unwrap();
    for (name, id) in made {
        assert_eq!(ring.active_tenant_key(VAULT, &name).unwrap().id(), id, "{}", String::from_utf8_lossy(&name));
    }
    assert_eq!(ring.entries().unwrap().len(), 2 + 4 * 10 + 10);
}

#[test]
fn ten_thousand_tenants_are_one_write() {
    let place = Place::new();
    let ring = place.create();
    let names: Vec<Vec<u8>> = (0..10_000).map(|at| format!("tenant-{at}").into_bytes()).collect();
    let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
    let keys = ring.tenant_keys(VAULT, &names, 1).unwrap();
    let written = fs::metadata(place.path()).unwrap().modified().unwrap();
    let again = place.open().unwrap();
    let found = again.tenant_keys(VAULT, &names, 2).unwrap();
    assert!(keys.iter().zip(&found).all(|(made, found)| made.id() == found.id()));
    assert!(same(&keys[9_999], &found[9_999]));
    assert_eq!(fs::metadata(place.path()).unwrap().modified().unwrap(), written, "finding does not write");
}

#[test]
fn nothing_secret_is_printed() {
    let ring = Keyring::in_memory(1).unwrap();
    let key = tenant(&ring, b"acme");
    let text = format!("{ring:?} {key:?} {:?}", words(b"sesame"));
    assert!(!text.contains("sesame") && text.contains("Kek(..)") && text.contains("Secret(..)"), "{text}");
}
