//! A keyring's file as an attacker would write it who knows the key-encryption key: the seal fits whatever it holds.

use std::path::Path;

use super::file::{parse, render};
use super::kek::Kek;
use super::{Held, Keyring};

/// The file.
pub fn keyring(bytes: &[u8]) {
    let path = Path::new("backstay.keys");
    let Ok((parsed, header)) = parse(path, bytes) else { return };
    // Without a pass phrase: trying one costs what it is meant to cost.
    let Ok(kek) = Kek::open(path, header, None) else { return };
    let ring = parsed.into_unsealed_ring();
    let written = render(path, &ring, &kek).expect("a keyring is written");
    let (parsed, header) = parse(path, &written).expect("what was written is read");
    let Ok(ring) = parsed.into_ring(path, &kek) else { return };
    let kek = Kek::open(path, header, None).expect("as before");
    assert_eq!(*render(path, &ring, &kek).expect("a keyring is written"), *written);
    let keyring = Keyring { file: None, held: std::sync::Mutex::new(Held { ring, kek, stamp: None }) };
    for info in keyring.entries().expect("it lives in memory") {
        // Whatever comes of it: the wrapped bytes are the attacker's, too.
        let _ = keyring.key(info.id);
    }
    let _ = (keyring.signing_key(), keyring.verifying_key());
}
