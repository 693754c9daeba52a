//! K2: with one tenant's key alone, no byte of another tenant can be read; and nothing lies in the archive in the clear.
#![allow(clippy::unwrap_used)]

mod rig;

use std::sync::Arc;

use backstay_archive::{Error, Partition, Selection};
use backstay_ledger::Shape;
use backstay_model::IdRange;
use backstay_seal::{DataKey, Protection};
use backstay_segment::{BlockOpener, Header, IndexPage, RunDirectory, TailBlock, Trailer};
use rig::{NAME, Rig, block_on, furnished, interpreter, load, read_all, reopen};

/// What this key opens of each run: (tenant, parts).
async fn opened_with(rig: &Rig, key: &DataKey, try_blocks: bool) -> (Vec<(String, usize)>, usize) {
    let (mut opened, mut tried) = (Vec::new(), 0);
    let state = rig.vault.state().await;
    for info in state.segments().filter(|info| info.shape != Shape::Tail) {
        let id: String = info.id.iter().map(|byte| format!("{byte:02x}")).collect();
        let file = rig.faulty.sound().get(&format!("vaults/{NAME}/segments/{id}")).await.unwrap();
        let header = Header::parse(&file).unwrap();
        let trailer = Trailer::parse(&file, file.len() as u64).unwrap();
        let sealed = &file[trailer.offset as usize..(trailer.offset + trailer.len) as usize];
        assert!(RunDirectory::open(&header, key, &mut sealed.to_vec()).is_err(), "the directory is the vault's");
        let directory = RunDirectory::open(&header, rig.vault.vault_key(), &mut sealed.to_vec()).unwrap();
        for tenant in &directory.tenants {
            let own_key = rig.keyring.key(tenant.key_id()).unwrap();
            let sealed = &file[tenant.index_offset as usize..(tenant.index_offset + tenant.index_len) as usize];
            let mut parts = usize::from(IndexPage::open(&header, key, &mut sealed.to_vec()).is_ok());
            tried += 1;
            let page = IndexPage::open(&header, &own_key, &mut sealed.to_vec()).unwrap();
            for (number, block) in page.blocks.iter().enumerate().filter(|_| try_blocks) {
                let from = (tenant.blocks_offset + block.offset) as usize;
                let sealed = &file[from..from + block.sealed_len as usize];
                let mut plain = Vec::new();
                let mut opener = BlockOpener::new(&header, key).unwrap();
                parts += usize::from(opener.open(number, block, sealed, &mut plain).is_ok());
                tried += 1;
            }
            if parts > 0 {
                opened.push((tenant.name.clone(), parts));
            }
        }
    }
    (opened, tried)
}

#[test]
fn a_tenants_key_opens_that_tenants_parts_only() {
    block_on(async {
        let rig = furnished().await;
        let path = rig.scratch.path().join("acme.keys");
        let only = rig.keyring.restrict_to_tenant(rig.vault.id(), b"acme", &path, Protection::File).unwrap();
        let key = only.active_tenant_key(rig.vault.id(), b"acme").unwrap();
        let (opened, tried) = opened_with(&rig, &key, true).await;
        assert!(opened.iter().all(|(tenant, parts)| tenant == "acme" && *parts >= 2), "{opened:?}");
        assert!(opened.len() >= 2 && tried >= 10, "{opened:?} of {tried}");
        assert!(only.active_tenant_key(rig.vault.id(), b"b").is_err());
        let state = rig.vault.state().await;
        for info in state.tails() {
            let id: String = info.id.iter().map(|byte| format!("{byte:02x}")).collect();
            let file = rig.faulty.sound().get(&format!("vaults/{NAME}/segments/{id}")).await.unwrap();
            assert!(TailBlock::open_all(&file, &key, |_| Ok(())).is_err());
        }
    });
}

#[test]
fn a_keyring_of_one_tenant_does_not_open_the_vault() {
    block_on(async {
        let rig = furnished().await;
        let path = rig.scratch.path().join("acme.keys");
        let only = rig.keyring.restrict_to_tenant(rig.vault.id(), b"acme", &path, Protection::File).unwrap();
        let repository = reopen(&rig, Arc::new(only)).await.unwrap();
        let error = repository.vault(NAME).await.err().unwrap();
        assert!(matches!(error, Error::Key { .. }), "{error}");
        let keys = repository.keyring().entries().unwrap();
        assert!(keys.iter().all(|key| key.tenant.as_deref() == Some(&b"acme"[..])), "looking made no key");
    });
}

#[test]
fn nothing_lies_in_the_clear() {
    block_on(async {
        let rig = furnished().await;
        let store = rig.faulty.sound();
        for object in store.list("").await.unwrap() {
            let bytes = store.get(&object.path).await.unwrap();
            for secret in ["SECRET", "acme", "shop.a", "colour", "tenant"] {
                let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!found, "`{secret}` in {}", object.path);
            }
        }
    });
}

#[test]
fn a_shredded_tenant_is_gone_and_the_others_are_not() {
    block_on(async {
        let rig = furnished().await;
        let at = rig.toy.now();
        rig.vault.compact(interpreter().as_ref(), |_, _| {}).await.unwrap();
        rig.keyring.shred(rig.vault.id(), b"acme", 1).unwrap();
        rig.vault.forget_keys();
        let left = read_all(&rig, Arc::clone(&rig.keyring), at).await.unwrap();
        assert!(left.iter().all(|record| record.tenant == "b") && left.len() == 3, "{left:?}");
        let vault = reopen(&rig, Arc::clone(&rig.keyring)).await.unwrap().vault(NAME).await.unwrap();
        let view = vault.snapshot(interpreter(), at).await.unwrap().at(at).await.unwrap();
        let orders = view.definitions().await.unwrap().into_iter().find(|definition| definition.name == "shop.a");
        let partition = Partition { namespace: orders.unwrap().incarnation, range: IdRange::all() };
        let of_acme = Selection { tenants: Some(["acme".to_owned()].into()), ..Selection::default() };
        let error = view.load(&partition, &of_acme).await.err().unwrap();
        assert!(matches!(error, Error::Key { .. }) && error.to_string().contains("acme"), "{error}");
        let of_b = Selection { tenants: Some(["b".to_owned()].into()), ..Selection::default() };
        let mut found = 0;
        for definition in view.definitions().await.unwrap() {
            found += load(&view, definition.incarnation, &of_b).await.0.len();
        }
        assert_eq!(found, 3);
    });
}
