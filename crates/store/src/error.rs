//! What a caller can decide on when an object could not be read or written.

use std::io;

/// The result of an operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Why an object could not be created, read, listed or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such object.
    #[error("there is no object `{path}`")]
    NotFound {
        /// The object.
        path: String,
    },

    /// Another writer created the object first.
    #[error("object `{path}` exists already")]
    AlreadyExists {
        /// The object.
        path: String,
    },

    /// The object ends before the bytes that were asked for: it was cut, or what points to it is wrong.
    #[error("object `{path}` is too short: it has {size} bytes, and bytes up to {wanted} were asked for")]
    Short {
        /// The object.
        path: String,
        /// The end of the range that was asked for.
        wanted: u64,
        /// How long the object is.
        size: u64,
    },

    /// The store refuses access. Retrying cannot help before permissions change.
    #[error("access to `{path}` is denied: {source}")]
    Denied {
        /// The object, folder or store.
        path: String,
        /// The store's answer.
        source: Source,
    },

    /// There is no such bucket, or none that these credentials see.
    #[error("there is no bucket {bucket}")]
    NoBucket {
        /// Its URL.
        bucket: String,
    },

    /// The store understands the request and will not do it; the same request will not fare better.
    #[error("the store refuses the request for `{path}`: {source}")]
    Refused {
        /// The object, or the prefix of a listing.
        path: String,
        /// The store's answer.
        source: Source,
    },

    /// There is no room left on the device.
    #[error("there is no space left to write `{path}`: {source}")]
    Full {
        /// The object.
        path: String,
        /// The store's answer.
        source: Source,
    },

    /// The store did not answer properly. Retrying later may help; whether a write happened is not known.
    #[error("the store did not complete the request for `{path}`: {source}")]
    Unavailable {
        /// The object.
        path: String,
        /// What the store or the library under it said.
        source: Source,
    },

    /// This program or this store cannot do what was asked.
    #[error("{what} is not supported; {hint}")]
    Unsupported {
        /// What was asked for.
        what: String,
        /// What to do instead.
        hint: String,
    },

    /// A path does not follow the rules for paths. A mistake in the program or a hostile manifest.
    #[error("`{path}` is not an object path: {why}")]
    InvalidPath {
        /// The path.
        path: String,
        /// The rule it breaks.
        why: &'static str,
    },

    /// The operating system reported a failure of the disk or file system.
    #[error("cannot {action} `{path}`: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which object or folder.
        path: String,
        /// The system's answer.
        source: io::Error,
    },
}

impl Error {
    /// Whether the same request may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    pub(crate) fn from_io(action: &'static str, path: &str, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::NotFound { path },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Denied { path, source: source.into() }
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path, source: source.into() },
            _ => Self::Io { action, path, source },
        }
    }

    pub(crate) fn from_store(path: &str, source: object_store::Error) -> Self {
        use object_store::Error as Theirs;
        let path = path.to_owned();
        match source {
            Theirs::NotFound { .. } => Self::NotFound { path },
            Theirs::AlreadyExists { .. } | Theirs::Precondition { .. } => Self::AlreadyExists { path },
            Theirs::PermissionDenied { source, .. } | Theirs::Unauthenticated { source, .. } => {
                Self::Denied { path, source }
            }
            Theirs::NotSupported { source } => {
                Self::Unsupported { what: source.to_string(), hint: "use another kind of store".to_owned() }
            }
            Theirs::NotImplemented { operation, implementer } => Self::Unsupported {
                what: format!("{operation} on {implementer}"),
                hint: "use another kind of store".to_owned(),
            },
            other => match io_kind(&other) {
                Some(io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => {
                    Self::Denied { path, source: other.into() }
                }
                Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                    Self::Full { path, source: other.into() }
                }
                _ => Self::Unavailable { path, source: other.into() },
            },
        }
    }
}

/// The system's error at the bottom of a chain of wrappers, if there is one.
fn io_kind(error: &(dyn std::error::Error + 'static)) -> Option<io::ErrorKind> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        next = error.source();
    }
    None
}
