//! `repository.url: file:./archive` and its kin, as they stand in a configuration.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::{Error, Result, path};

/// Where a store is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// In this process's memory.
    Memory,
    /// In a folder of this machine.
    Folder(PathBuf),
    /// In a bucket of a cloud.
    Bucket(Bucket),
}

/// A bucket and what is used of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bucket {
    /// Whose protocol it speaks.
    pub kind: CloudKind,
    /// The bucket's name (Azure: the container's).
    pub name: String,
    /// What stands in front of every object's path; empty for the whole bucket, else without slashes at its ends.
    pub prefix: String,
}

/// The protocols of clouds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloudKind {
    /// Amazon S3, and what speaks its protocol.
    S3,
    /// Azure Blob Storage.
    Azure,
    /// Google Cloud Storage.
    Google,
}

impl CloudKind {
    /// How its URLs begin, without `://`.
    pub fn scheme(self) -> &'static str {
        match self {
            CloudKind::S3 => "s3",
            CloudKind::Azure => "az",
            CloudKind::Google => "gs",
        }
    }
}

impl Place {
    /// Reads `file:./folder`, `file:///absolute/folder`, `memory:`, `s3://bucket/prefix`, `az://container/prefix` or
    /// `gs://bucket/prefix`; a relative folder starts at `base_dir`. [`Error::Unsupported`] for anything else.
    pub fn read(url: &str, base_dir: &Path) -> Result<Place> {
        let Some((scheme, rest)) = url.split_once(':') else {
            return unsupported(url, "write a folder as `file:./archive` or `file:///absolute/folder`");
        };
        match scheme {
            "memory" => Ok(Place::Memory),
            "file" => {
                let folder = match rest.strip_prefix("//") {
                    // RFC 8089: an authority may be given, and `localhost` means this machine.
                    Some(rest) if rest.starts_with('/') => rest,
                    Some(rest) if rest.starts_with("localhost/") => &rest["localhost".len()..],
                    Some(_) => {
                        return unsupported(url, "a `file://` URL takes three slashes: `file:///absolute/folder`");
                    }
                    None => rest,
                };
                if folder.is_empty() {
                    return unsupported(url, "name a folder, as in `file:./archive`");
                }
                Ok(Place::Folder(base_dir.join(folder)))
            }
            "s3" => bucket(url, CloudKind::S3, rest),
            "az" => bucket(url, CloudKind::Azure, rest),
            "gs" => bucket(url, CloudKind::Google, rest),
            _ => unsupported(
                url,
                "the known forms are `file:./folder`, `file:///absolute/folder`, `s3://bucket/prefix`, \
                 `az://container/prefix`, `gs://bucket/prefix` and `memory:`",
            ),
        }
    }
}

fn bucket(url: &str, kind: CloudKind, rest: &str) -> Result<Place> {
    let form = match kind {
        CloudKind::S3 => "write it as `s3://bucket/prefix`",
        CloudKind::Azure => "write it as `az://container/prefix`",
        CloudKind::Google => "write it as `gs://bucket/prefix`",
    };
    let Some(rest) = rest.strip_prefix("//") else { return unsupported(url, form) };
    let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'$');
    if name.is_empty() || !name.bytes().all(sound) {
        return unsupported(url, form);
    }
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    if !prefix.is_empty() && path::object(prefix).is_err() {
        return unsupported(url, "a prefix consists of letters, digits and `. _ -`, in parts joined by `/`");
    }
    Ok(Place::Bucket(Bucket { kind, name: name.to_owned(), prefix: prefix.to_owned() }))
}

fn unsupported(url: &str, hint: &str) -> Result<Place> {
    Err(Error::Unsupported { what: format!("the archive `{url}`"), hint: hint.to_owned() })
}

impl fmt::Display for Place {
    /// The place as a URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Memory => f.write_str("memory:"),
            // Two slashes at the start would be taken for those in front of a host.
            Place::Folder(folder) if folder.to_string_lossy().starts_with("//") => {
                write!(f, "file://{}", folder.display())
            }
            Place::Folder(folder) => write!(f, "file:{}", folder.display()),
            Place::Bucket(bucket) => bucket.fmt(f),
        }
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.kind.scheme(), self.name)?;
        match self.prefix.as_str() {
            "" => Ok(()),
            prefix => write!(f, "/{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let base = Path::new("/etc/backstay");
        let place = |url| Place::read(url, base).map_or_else(|error| error.to_string(), |place| place.to_string());
        assert_eq!(place("file:./archive"), "file:/etc/backstay/./archive");
        assert_eq!(place("file:archive"), "file:/etc/backstay/archive");
        assert_eq!(place("file:/srv/a"), "file:/srv/a");
        assert_eq!(place("file:///srv/a"), "file:/srv/a");
        assert_eq!(place("file://localhost/srv/a"), "file:/srv/a");
        assert_eq!(place("file:////srv/a"), "file:////srv/a");
        assert_eq!(place("memory:"), "memory:");
        assert_eq!(place("s3://b.c-d/a/b/"), "s3://b.c-d/a/b");
        assert_eq!(place("s3://bucket"), "s3://bucket");
        assert_eq!(place("az://container/p"), "az://container/p");
        assert_eq!(place("gs://bucket/"), "gs://bucket");
        for bad in
            ["s3:bucket", "s3://", "s3:///a", "s3://b/a//b", "s3://b/a?region=x", "s3://user@b/a", "file://host/a"]
        {
            assert!(matches!(Place::read(bad, base), Err(Error::Unsupported { .. })), "{bad}");
        }
        for bad in ["file:", "./archive", "ftp://x"] {
            assert!(matches!(Place::read(bad, base), Err(Error::Unsupported { .. })), "{bad}");
        }
    }
}
