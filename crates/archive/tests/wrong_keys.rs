//! A keyring that does not belong here is said to be one, and what lacks a key is named.
#![allow(clippy::unwrap_used)]

mod rig;

use std::sync::Arc;

use backstay_archive::Error;
use backstay_seal::Keyring;
use rig::{block_on, furnished, reopen};

#[test]
fn the_keyring_of_another_repository_is_refused() {
    block_on(async {
        let rig = furnished().await;
        let other = Arc::new(Keyring::in_memory(1).unwrap());
        let error = reopen(&rig, other).await.err().unwrap();
        assert!(matches!(error, Error::Key { .. }), "{error}");
        assert!(error.to_string().contains("belongs to another"), "{error}");
    });
}

#[test]
fn a_place_without_a_repository_is_said_to_be_one() {
    block_on(async {
        let rig = furnished().await;
        rig.faulty.sound().delete("backstay.json").await.unwrap();
        let error = reopen(&rig, Arc::clone(&rig.keyring)).await.err().unwrap();
        assert!(matches!(error, Error::NoRepository { .. }), "{error}");
    });
}
