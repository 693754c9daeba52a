//! The small files that this crate reads: for `fuzz/` only, behind the feature `fuzzing`.

use crate::anchor::Notes;
use crate::repository::Marker;

/// The notes beside the keyring.
pub fn anchors(bytes: &[u8]) {
    let Ok(notes) = Notes::read(bytes) else { return };
    let written = notes.to_bytes().expect("notes are plain data");
    let again = Notes::read(&written).expect("what was written is read");
    assert_eq!(again.to_bytes().expect("notes are plain data"), written);
}

/// The marker of a repository. Only one with a signature that fits is believed, and nothing here can make one.
pub fn marker(bytes: &[u8]) {
    assert!(Marker::read(bytes, &[1; 32]).is_err());
}
