//! The decoders of this crate without the seals in front of them: for `fuzz/` only, behind the feature `fuzzing`.
//!
//! Each function decodes bytes that an attacker chose, and panics where what holds for a decoder does not.

use crate::text::{Base64, Hex, read_hex, write_hex};
use crate::{Digest, KeyId};

pub use crate::keyring::fuzzing::keyring;

/// Digests, and the forms in which bytes stand in the keyring.
pub fn text(bytes: &[u8]) {
    if let Ok(digest) = Digest::from_bytes(bytes) {
        assert_eq!(digest.to_bytes().as_slice(), bytes);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(id) = text.parse::<KeyId>() {
        assert_eq!(id.to_string(), text);
    }
    let mut read = vec![0; text.len() / 2];
    if read_hex(text, &mut read) {
        let mut again = String::new();
        write_hex(&read, &mut again).expect("text can be written");
        assert_eq!(again, text);
    }
    let quoted = serde_json::to_string(text).expect("text is JSON");
    if let Ok(read) = serde_json::from_str::<Base64>(&quoted) {
        assert_eq!(serde_json::to_string(&read).expect("it is JSON"), quoted);
    }
    if let Ok(read) = serde_json::from_str::<Hex<4>>(&quoted) {
        assert_eq!(serde_json::to_string(&read).expect("it is JSON"), quoted);
    }
}
