//! Writing documents, element after element, at the end of a buffer.
//!
//! [`open`] leaves room for a length, [`close`] writes the end and fills the length in. A document within a document is
//! opened after its element's head, and closed before the outer one.

use super::{Result, kind, malformed};

/// Starts a document; hand what it returns to [`close`].
#[inline]
pub fn open(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    start
}

/// Ends the document that [`open`] started.
#[inline]
pub fn close(out: &mut Vec<u8>, start: usize) -> Result<()> {
    out.push(0);
    let length = i32::try_from(out.len().saturating_sub(start))
        .map_err(|_| malformed("BSON document", "it would be longer than 2 GiB"))?;
    if let Some(place) = out.get_mut(start..).and_then(|rest| rest.first_chunk_mut::<4>()) {
        *place = length.to_le_bytes();
    }
    Ok(())
}

/// Writes an element's kind and name; its value is to follow.
#[inline]
fn head(out: &mut Vec<u8>, kind: u8, name: &[u8]) {
    out.push(kind);
    out.extend_from_slice(name);
    out.push(0);
}

/// Writes an element. The value's bytes must suit the kind, and the name hold no zero byte.
#[inline]
pub fn put(out: &mut Vec<u8>, kind: u8, name: &[u8], value: &[u8]) {
    head(out, kind, name);
    out.extend_from_slice(value);
}

/// Writes the head of an array's element, whose name is its index; its value is to follow.
#[inline]
pub fn put_index(out: &mut Vec<u8>, kind: u8, index: usize) {
    let mut digits = [0u8; 20];
    head(out, kind, index_name(index, &mut digits));
}

/// The name of an array's element.
#[inline]
pub(crate) fn index_name(mut index: usize, digits: &mut [u8; 20]) -> &[u8] {
    let mut from = digits.len();
    for (place, digit) in digits.iter_mut().enumerate().rev() {
        #[allow(clippy::cast_possible_truncation, reason = "a remainder of ten")]
        let value = (index % 10) as u8;
        *digit = b'0' + value;
        index /= 10;
        from = place;
        if index == 0 {
            break;
        }
    }
    digits.get(from..).unwrap_or_default()
}

/// Writes a null.
#[inline]
pub fn put_null(out: &mut Vec<u8>, name: &[u8]) {
    head(out, kind::NULL, name);
}

/// Writes a string.
pub fn put_string(out: &mut Vec<u8>, name: &[u8], text: &str) -> Result<()> {
    head(out, kind::STRING, name);
    let length = i32::try_from(text.len() + 1).map_err(|_| malformed("BSON string", "it is longer than 2 GiB"))?;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    out.push(0);
    Ok(())
}

/// Writes a truth value.
pub fn put_bool(out: &mut Vec<u8>, name: &[u8], value: bool) {
    put(out, kind::BOOL, name, &[u8::from(value)]);
}

/// Writes a 32-bit integer.
pub fn put_int32(out: &mut Vec<u8>, name: &[u8], value: i32) {
    put(out, kind::INT32, name, &value.to_le_bytes());
}

/// Writes the head of a sub-document or an array and opens it; hand what it returns to [`close`].
#[inline]
pub fn put_document(out: &mut Vec<u8>, kind: u8, name: &[u8]) -> usize {
    head(out, kind, name);
    open(out)
}
