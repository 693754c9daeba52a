//! What can go wrong when opening, sealing or looking for a key. Each variant is something a caller can decide on.

use std::path::PathBuf;

use crate::KeyId;

/// The result of an operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something did not open, seal, verify or could not be found in the keyring.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A sealed block failed authentication. Retrying cannot help.
    #[error(
        "sealed block {index} of kind {kind} does not open: the key is wrong, or its bytes were altered, cut or moved"
    )]
    Tampered {
        /// The kind of block that was to be opened.
        kind: u8,
        /// Its index among the blocks of that kind.
        index: u64,
    },

    /// A signature does not belong to this message and public key.
    #[error("the signature does not match: the content was altered, or another key signed it")]
    BadSignature,

    /// A stored digest has the wrong length.
    #[error("a digest takes {expected} bytes, but {found} were found", expected = crate::DIGEST_LEN)]
    DigestLength {
        /// How many bytes were given.
        found: usize,
    },

    /// The text is not a key id.
    #[error("`{text}` is not a key id; a key id is 32 hexadecimal digits, as `key list` prints it")]
    NotAKeyId {
        /// What was given.
        text: String,
    },

    /// There is no keyring at this path.
    #[error("there is no keyring at {}", path.display())]
    Missing {
        /// Where the keyring was looked for.
        path: PathBuf,
    },

    /// A new keyring would overwrite a file.
    #[error("{} already exists; a keyring is never overwritten, because the keys inside would be lost", path.display())]
    Exists {
        /// The file that is in the way.
        path: PathBuf,
    },

    /// The keyring is readable by others.
    #[error("others can read the keyring {} (its mode is {mode:03o}); run `chmod 600 {}`", path.display(), path.display())]
    Permissions {
        /// The keyring.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },

    /// The keyring is under a pass phrase and none was given.
    #[error("the keyring {} is protected by a pass phrase, and none was given", path.display())]
    PassphraseNeeded {
        /// The keyring.
        path: PathBuf,
    },

    /// The pass phrase does not open the keyring.
    #[error("the pass phrase does not open the keyring {}", path.display())]
    WrongPassphrase {
        /// The keyring.
        path: PathBuf,
    },

    /// A pass phrase was given, and it is empty or its cost is out of bounds.
    #[error("this pass phrase cannot be used: {why}")]
    UnusablePassphrase {
        /// The reason.
        why: String,
    },

    /// The keyring's content cannot be trusted.
    #[error("the keyring {} is damaged or was edited: {why}; bring the file back from a copy", path.display())]
    Corrupt {
        /// The keyring.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },

    /// The keyring was written by a newer program.
    #[error("the keyring {} has format {found}; this program knows format {known}", path.display())]
    UnknownFormat {
        /// The keyring.
        path: PathBuf,
        /// The format in the file.
        found: u32,
        /// The newest format this program reads.
        known: u32,
    },

    /// Another process holds the keyring's lock. Retrying later helps.
    #[error("another process is changing the keyring {}; try again", path.display())]
    Locked {
        /// The keyring.
        path: PathBuf,
    },

    /// Another process changed the pass phrase while this one had the keyring open.
    #[error("the protection of the keyring {} was changed by another process; open it again", path.display())]
    Rekeyed {
        /// The keyring.
        path: PathBuf,
    },

    /// No key with this id is in the keyring.
    #[error("the keyring has no key {id}; it may belong to another installation or to another tenant")]
    UnknownKey {
        /// The key that was asked for.
        id: KeyId,
    },

    /// The keyring does not hold a key for this use.
    #[error("the keyring holds no {what}")]
    NoKey {
        /// Which key, in words.
        what: String,
    },

    /// The keys of this tenant were destroyed on purpose; its sealed data cannot be read again.
    #[error("the keys of tenant `{tenant}` were shredded (Unix time {when}); its data can no longer be read")]
    Shredded {
        /// The tenant, as text where its name is text.
        tenant: String,
        /// When, in seconds since 1970-01-01T00:00:00Z.
        when: u64,
    },

    /// The keyring file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },

    /// The cipher library refused; it does so only when the machine is out of entropy or memory.
    #[error("the cipher library could not {action}")]
    Cipher {
        /// What was being done.
        action: &'static str,
    },
}
