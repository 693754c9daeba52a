//! What can be wrong with a segment.

/// The result of reading or writing a segment.
pub type Result<T> = std::result::Result<T, Error>;

/// What is wrong with a segment. Retrying helps with none of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are not a segment, or not a whole one.
    #[error("{part}: {why}")]
    Corrupt {
        /// Which part of the segment.
        part: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A later version of Backstay wrote it.
    #[error("format {0} is newer than this version of Backstay reads")]
    Newer(u16),
    /// A sealed part does not open.
    #[error("{part}: {source}")]
    Sealed {
        /// Which part of the segment.
        part: &'static str,
        /// What the seal found.
        source: backstay_seal::Error,
    },
    /// The compressor refused.
    #[error("{part}: {source}")]
    Compression {
        /// Which part of the segment.
        part: &'static str,
        /// What it said.
        source: std::io::Error,
    },
}

/// Shorthand for [`Error::Corrupt`].
pub(crate) fn corrupt(part: &'static str, why: &'static str) -> Error {
    Error::Corrupt { part, why }
}
