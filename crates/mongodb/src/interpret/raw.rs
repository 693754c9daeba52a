//! BSON as bytes: walking a document's elements and writing them, without a tree.
//!
//! ```text
//!   document := length:i32le (including itself)  element*  0x00
//!   element  := kind:u8  name:bytes 0x00  value        the value's length follows from the kind and its own first bytes
//! ```
//!
//! An [`Element`] borrows its name and value from the document; nothing is copied and no length is believed before it was
//! checked against what is there. A walk looks at one level only: a sub-document is an opaque value until someone walks
//! it, so recursion is the caller's, who stops it at [`MAX_DEPTH`]. Names are bytes: a server does not promise UTF-8.
//! Layout: <https://bsonspec.org/spec.html>.

mod element;
mod write;

pub(crate) use element::integral;
pub use element::{Element, Elements, kind};
pub use write::{close, open, put, put_bool, put_document, put_index, put_int32, put_null, put_string};

use backstay_model::InterpretError;

/// How deep documents may nest. The server itself stops at 200 levels (`kDefaultMaxAllowableDepth`).
pub const MAX_DEPTH: u32 = 200;

/// The smallest document: its length and its end.
const EMPTY: usize = 5;

/// The result of looking at foreign bytes.
pub type Result<T> = std::result::Result<T, InterpretError>;

/// An error about bytes that are not BSON, or not the BSON that was expected.
#[cold]
pub fn malformed(what: &'static str, why: impl Into<String>) -> InterpretError {
    InterpretError::Malformed { what, why: why.into() }
}

/// The elements of `document`, which must be exactly one document. Only its frame is checked here; each element is
/// checked as it is reached.
#[inline]
pub fn elements(document: &[u8]) -> Result<Elements<'_>> {
    let Some((length, rest)) = document.split_first_chunk::<4>() else {
        return Err(malformed("BSON document", "it is shorter than a length"));
    };
    let length = usize::try_from(i32::from_le_bytes(*length)).unwrap_or(0);
    if length != document.len() || length < EMPTY {
        return Err(malformed("BSON document", "its length does not agree with its bytes"));
    }
    match rest.split_last() {
        Some((0, body)) => Ok(Elements::new(body)),
        _ => Err(malformed("BSON document", "it does not end with a zero byte")),
    }
}

/// The first element of `document` called `name`.
pub fn find<'a>(document: &'a [u8], name: &[u8]) -> Result<Option<Element<'a>>> {
    for element in elements(document)? {
        let element = element?;
        if element.name == name {
            return Ok(Some(element));
        }
    }
    Ok(None)
}

/// Checks a whole document, all levels of it.
pub fn validate(document: &[u8]) -> Result<()> {
    validate_below(document, MAX_DEPTH)
}

fn validate_below(document: &[u8], depth: u32) -> Result<()> {
    let depth = descend(depth)?;
    for element in elements(document)? {
        let element = element?;
        match element.kind {
            kind::DOCUMENT | kind::ARRAY => validate_below(element.value, depth)?,
            kind::CODE_WITH_SCOPE => validate_below(element.code_with_scope()?.1, depth)?,
            _ => {}
        }
    }
    Ok(())
}

/// One level less to go, or an error at the bottom.
#[inline]
pub fn descend(depth: u32) -> Result<u32> {
    depth.checked_sub(1).ok_or_else(|| malformed("BSON document", "it nests deeper than 200 levels"))
}

#[cfg(test)]
mod tests;
