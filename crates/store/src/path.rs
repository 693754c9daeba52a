//! The rules for object paths.

use object_store::path::Path;

use crate::{Error, Result};

/// Checks an object's path and gives it the form that the library takes.
pub(crate) fn object(path: &str) -> Result<Path> {
    check(path)?;
    Path::parse(path).map_err(|_| Error::InvalidPath { path: path.to_owned(), why: "the store cannot take it" })
}

/// Like [`object`] for a prefix: whole parts, with or without a `/` at the end; empty for everything.
pub(crate) fn prefix(path: &str) -> Result<Option<Path>> {
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() { Ok(None) } else { object(path).map(Some) }
}

fn check(path: &str) -> Result<()> {
    let wrong = |why| Err(Error::InvalidPath { path: path.to_owned(), why });
    if path.len() > 512 {
        return wrong("it is longer than 512 characters");
    }
    for part in path.split('/') {
        match part {
            "" => return wrong("it has an empty part"),
            "." | ".." => return wrong("it has a part `.` or `..`"),
            _ => {}
        }
        if !part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')) {
            return wrong("only A-Z a-z 0-9 . _ - may be in a part");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_the_root() {
        for bad in ["", "/", "/a", "a//b", "a/", "../a", "a/../b", "a/.", "a b", "a#1", "a%2F", "ä", "a\\b", "a\0"] {
            assert!(matches!(object(bad), Err(Error::InvalidPath { .. })), "{bad:?}");
        }
        assert!(object(&"a/".repeat(300)).is_err());
        for good in ["a", "vaults/0f/chain/00000000000000000001", "a.b_c-D/x"] {
            assert_eq!(object(good).map(|path| path.to_string()).ok().as_deref(), Some(good));
        }
    }

    #[test]
    fn prefixes_are_whole_parts() {
        assert!(matches!(prefix(""), Ok(None)));
        assert!(matches!(prefix("a/b/"), Ok(Some(path)) if path.as_ref() == "a/b"));
        assert!(prefix("a//").is_err());
    }
}
