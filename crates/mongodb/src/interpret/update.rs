//! Applying an update entry of the oplog to the record it was made from.
//!
//! ```text
//!   o := { _id: … }                a replacement: an image, never applied
//!      | { $v: 2, diff: DocDiff }  a delta of 5.0 and later      → diff
//!      | { $v: 1, $set, $unset }   a delta of 4.4 and before     → paths
//! ```
//!
//! Both appliers walk the record once, copy what the delta does not touch as whole stretches, and build no tree. The
//! result equals the server's byte for byte (`tests/update_pairs.rs` compares them). Applying an entry to a record that
//! already shows it, or that lacks what it edits, is no error: the server's secondaries tolerate it too.

mod diff;
mod paths;

use crate::interpret::raw::{self, Result, kind, malformed};

/// What an update entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// The whole new record.
    Replacement,
    /// `$set` and `$unset` of dotted paths.
    Paths,
    /// A `$v: 2` diff.
    Diff,
}

/// An array is not padded beyond this many bytes of record. The server's records end at 16 MiB and some KiB.
const LONGEST: usize = 20 << 20;

/// Tells which form the field `o` of an update entry has, by the server's own rule: a document with an `_id` is a
/// replacement whatever else it holds.
///
/// # Errors
/// [`Unknown`](backstay_model::InterpretError::Unknown) for a `$v` that is neither 1 nor 2, or an operator without one.
pub fn form(o: &[u8]) -> Result<Form> {
    let mut first = true;
    let mut operators = false;
    let mut version = None;
    for element in raw::elements(o)? {
        let element = element?;
        match element.name {
            b"_id" => return Ok(Form::Replacement),
            b"$v" if version.is_none() => version = Some(element.as_integer()),
            name if first => operators = name.starts_with(b"$"),
            _ => {}
        }
        first = false;
    }
    match version {
        None if !operators => Ok(Form::Replacement),
        None | Some(Some(1)) => Ok(Form::Paths),
        Some(Some(2)) => Ok(Form::Diff),
        Some(other) => Err(backstay_model::InterpretError::Unknown {
            what: "update format",
            name: other.map_or_else(|| "a $v that is no number".to_owned(), |version| format!("$v: {version}")),
        }),
    }
}

/// Applies the field `o` of an update entry to `image` and writes the new record into `out`, which is cleared first.
///
/// # Errors
/// When `image` or `o` are malformed. `out` then holds nothing of use.
pub fn apply(image: &[u8], o: &[u8], out: &mut Vec<u8>) -> Result<()> {
    match form(o)? {
        Form::Diff => apply_diff(image, o, out),
        Form::Paths => apply_paths(image, o, out),
        Form::Replacement => {
            out.clear();
            out.extend_from_slice(o);
            Ok(())
        }
    }
}

/// Applies `{ $v: 2, diff }`; as [`apply`] when the form is known.
///
/// # Errors
/// As [`apply`].
pub fn apply_diff(image: &[u8], o: &[u8], out: &mut Vec<u8>) -> Result<()> {
    diff::apply(image, diff_of(o)?, out)
}

/// Applies `{ $v: 1, $set, $unset }`; as [`apply`] when the form is known.
///
/// # Errors
/// As [`apply`].
pub fn apply_paths(image: &[u8], o: &[u8], out: &mut Vec<u8>) -> Result<()> {
    paths::apply(image, o, out)
}

/// True when the update may change what stands at a dotted path that begins with the field `root`.
///
/// # Errors
/// When `o` is malformed.
pub fn touches(form: Form, o: &[u8], root: &[u8]) -> Result<bool> {
    match form {
        Form::Replacement => Ok(true),
        Form::Diff => diff::touches(diff_of(o)?, root),
        Form::Paths => paths::touches(o, root),
    }
}

fn diff_of(o: &[u8]) -> Result<&[u8]> {
    match raw::find(o, b"diff")? {
        Some(diff) if diff.kind == kind::DOCUMENT => Ok(diff.value),
        _ => Err(malformed("update", "it says $v: 2 and has no diff")),
    }
}

#[cfg(test)]
mod tests;
