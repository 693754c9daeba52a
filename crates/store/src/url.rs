//! `archive: file:./archive` and its kin, as they stand in a configuration.

use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Where an archive's URL points to.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Place {
    Memory,
    Folder(PathBuf),
}

/// Reads `file:…`, `memory:` or a plain folder; relative ones start at `base_dir`.
pub(crate) fn read(url: &str, base_dir: &Path) -> Result<Place> {
    let unsupported =
        |hint: &str| Err(Error::Unsupported { what: format!("the archive `{url}`"), hint: hint.to_owned() });
    let Some((scheme, rest)) = url.split_once(':') else {
        return unsupported("write a folder as `file:./archive` or `file:///absolute/folder`");
    };
    match scheme {
        "memory" => Ok(Place::Memory),
        "file" => {
            let folder = match rest.strip_prefix("//") {
                // RFC 8089: an authority may be given, and `localhost` means this machine.
                Some(rest) if rest.starts_with('/') => rest,
                Some(rest) if rest.starts_with("localhost/") => &rest["localhost".len()..],
                Some(_) => return unsupported("a `file://` URL takes three slashes: `file:///absolute/folder`"),
                None => rest,
            };
            if folder.is_empty() {
                return unsupported("name a folder, as in `file:./archive`");
            }
            Ok(Place::Folder(base_dir.join(folder)))
        }
        "s3" | "gs" | "gcs" | "az" | "abfs" | "abfss" | "azure" => {
            unsupported("object stores are not built in yet; use a folder, as in `file:./archive`")
        }
        _ => unsupported("the known forms are `file:./folder`, `file:///absolute/folder` and `memory:`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let base = Path::new("/etc/backstay");
        let folder = |url| match read(url, base) {
            Ok(Place::Folder(folder)) => folder.display().to_string(),
            Ok(Place::Memory) => "memory".to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(folder("file:./archive"), "/etc/backstay/./archive");
        assert_eq!(folder("file:archive"), "/etc/backstay/archive");
        assert_eq!(folder("file:/srv/a"), "/srv/a");
        assert_eq!(folder("file:///srv/a"), "/srv/a");
        assert_eq!(folder("file://localhost/srv/a"), "/srv/a");
        assert_eq!(folder("memory:"), "memory");
        for bad in ["s3://bucket", "file://host/a", "file:", "./archive", "ftp://x"] {
            assert!(matches!(read(bad, base), Err(Error::Unsupported { .. })), "{bad}");
        }
        assert!(folder("s3://bucket").contains("use a folder"));
    }
}
