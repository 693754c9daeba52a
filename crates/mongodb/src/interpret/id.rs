//! Record ids: a memcomparable form of `_id` whose byte order is the order of the server's `_id` index.
//!
//! ```text
//!   value    := class:u8 …                         equal values, equal bytes: 1, 1.0 and NumberDecimal("1.00") are one id
//!   text     := class  bytes with 00 → 00 FF  00   strings and symbols share a class
//!   document := class  (class-of-field  name 00  value)*  00
//!   array    := class  value*  00
//!   binary   := class  length (u8, or FF and u32be)  subtype  bytes
//!   number   := class of sign [ exponent  base-100 digits  00 ], see `number`
//!   others   := class  their bytes, most significant first
//! ```
//!
//! The order between kinds, and within them, is that of the server's index with the simple collation, as its key strings
//! define it (`src/mongo/db/storage/key_string.cpp`) and as `tests/id_order.rs` checks against a server. Reading an id
//! back ([`decode_id`]) yields a value that the server finds the same record with; the numeric type may differ, since
//! equal numbers are one id to the server too.

mod decode;
mod number;

use backstay_model::InterpretError;

use crate::interpret::raw::{self, Element, MAX_DEPTH, Result, kind, malformed};

pub use decode::decode_id;

/// The classes of values, in the server's order. All but the two of truth stand for one BSON kind or family.
pub(crate) mod class {
    pub const END: u8 = 0;
    pub const MIN_KEY: u8 = 10;
    pub const UNDEFINED: u8 = 15;
    pub const NULL: u8 = 20;
    pub const NUMBER: u8 = 30;
    pub const NAN: u8 = 30;
    pub const NEGATIVE_INFINITY: u8 = 31;
    pub const NEGATIVE: u8 = 32;
    pub const ZERO: u8 = 33;
    pub const POSITIVE: u8 = 34;
    pub const POSITIVE_INFINITY: u8 = 35;
    pub const STRING: u8 = 60;
    pub const DOCUMENT: u8 = 70;
    pub const ARRAY: u8 = 80;
    pub const BINARY: u8 = 90;
    pub const OBJECT_ID: u8 = 100;
    pub const FALSE: u8 = 110;
    pub const TRUE: u8 = 111;
    pub const DATE: u8 = 120;
    pub const TIMESTAMP: u8 = 130;
    pub const REGEX: u8 = 140;
    pub const DB_POINTER: u8 = 150;
    pub const CODE: u8 = 160;
    pub const CODE_WITH_SCOPE: u8 = 170;
    pub const MAX_KEY: u8 = 240;
}

/// Binary data of this length and more has a length of five bytes.
const LONG_BINARY: u8 = 0xFF;

/// Appends the memcomparable form of a value to `out`: `kind` is its BSON kind, `value` its bytes.
///
/// # Errors
/// When the bytes are not a value of that kind. `out` then holds a part of the form.
#[inline]
pub fn encode_id(kind: u8, value: &[u8], out: &mut Vec<u8>) -> Result<()> {
    match (kind, value.len()) {
        (kind::OBJECT_ID, 12) => {
            out.push(class::OBJECT_ID);
            out.extend_from_slice(value);
            Ok(())
        }
        (kind::STRING, 5..) => {
            out.push(class::STRING);
            put_text(value.get(4..value.len() - 1).unwrap_or_default(), out);
            Ok(())
        }
        _ => encode(kind, value, out, MAX_DEPTH),
    }
}

/// The memcomparable `_id` of a document, appended to `out`.
///
/// # Errors
/// When the document has no `_id`, or is malformed up to it.
#[inline]
pub fn id_of(document: &[u8], out: &mut Vec<u8>) -> Result<()> {
    match raw::find(document, b"_id")? {
        Some(id) => encode_id(id.kind, id.value, out),
        None => Err(malformed("document", "it has no _id")),
    }
}

/// The class that all values of a kind share when they stand in a document.
fn family(kind: u8) -> Result<u8> {
    Ok(match kind {
        kind::MIN_KEY => class::MIN_KEY,
        kind::UNDEFINED => class::UNDEFINED,
        kind::NULL => class::NULL,
        kind::DOUBLE | kind::INT32 | kind::INT64 | kind::DECIMAL128 => class::NUMBER,
        kind::STRING | kind::SYMBOL => class::STRING,
        kind::DOCUMENT => class::DOCUMENT,
        kind::ARRAY => class::ARRAY,
        kind::BINARY => class::BINARY,
        kind::OBJECT_ID => class::OBJECT_ID,
        kind::BOOL => class::FALSE,
        kind::DATE => class::DATE,
        kind::TIMESTAMP => class::TIMESTAMP,
        kind::REGEX => class::REGEX,
        kind::DB_POINTER => class::DB_POINTER,
        kind::CODE => class::CODE,
        kind::CODE_WITH_SCOPE => class::CODE_WITH_SCOPE,
        kind::MAX_KEY => class::MAX_KEY,
        _ => return Err(malformed("record id", "its kind does not exist")),
    })
}

/// The family of an encoded value, by its first byte.
pub(crate) fn family_of_encoded(first: u8) -> u8 {
    match first {
        class::NAN..=class::POSITIVE_INFINITY => class::NUMBER,
        class::TRUE => class::FALSE,
        other => other,
    }
}

fn encode(kind: u8, value: &[u8], out: &mut Vec<u8>, depth: u32) -> Result<()> {
    let wrong = || malformed("record id", "a value is shorter than its kind");
    let element = Element { kind, name: &[], value };
    match kind {
        kind::INT32 => {
            let bytes: [u8; 4] = value.try_into().map_err(|_| wrong())?;
            number::put_integer(i64::from(i32::from_le_bytes(bytes)), out);
        }
        kind::INT64 => number::put_integer(i64::from_le_bytes(element.eight().ok_or_else(wrong)?), out),
        kind::DOUBLE => number::put_double(f64::from_le_bytes(element.eight().ok_or_else(wrong)?), out),
        kind::DECIMAL128 => number::put_decimal(value.try_into().map_err(|_| wrong())?, out),
        kind::STRING | kind::SYMBOL => {
            out.push(class::STRING);
            put_text(element.text().ok_or_else(wrong)?, out);
        }
        kind::CODE => {
            out.push(class::CODE);
            put_text(element.text().ok_or_else(wrong)?, out);
        }
        kind::CODE_WITH_SCOPE => {
            let (code, scope) = element.code_with_scope()?;
            out.push(class::CODE_WITH_SCOPE);
            put_text(code, out);
            put_fields(scope, out, raw::descend(depth)?)?;
        }
        kind::DOCUMENT => {
            out.push(class::DOCUMENT);
            put_fields(value, out, raw::descend(depth)?)?;
        }
        kind::ARRAY => {
            out.push(class::ARRAY);
            let depth = raw::descend(depth)?;
            for element in raw::elements(value)? {
                let element = element?;
                encode(element.kind, element.value, out, depth)?;
            }
            out.push(class::END);
        }
        kind::BINARY => {
            let (subtype, bytes) = element.as_binary().ok_or_else(wrong)?;
            out.push(class::BINARY);
            match u8::try_from(bytes.len()) {
                Ok(length) if length < LONG_BINARY => out.push(length),
                _ => {
                    out.push(LONG_BINARY);
                    let length = u32::try_from(bytes.len()).map_err(|_| wrong())?;
                    out.extend_from_slice(&length.to_be_bytes());
                }
            }
            out.push(subtype);
            out.extend_from_slice(bytes);
        }
        kind::OBJECT_ID => {
            let bytes: &[u8; 12] = value.try_into().map_err(|_| wrong())?;
            out.push(class::OBJECT_ID);
            out.extend_from_slice(bytes);
        }
        kind::BOOL => {
            value.first().ok_or_else(wrong)?;
            out.push(if element.is_true() { class::TRUE } else { class::FALSE });
        }
        kind::DATE => {
            let milliseconds = i64::from_le_bytes(element.eight().ok_or_else(wrong)?);
            out.push(class::DATE);
            out.extend_from_slice(&(milliseconds ^ i64::MIN).to_be_bytes());
        }
        kind::TIMESTAMP => {
            out.push(class::TIMESTAMP);
            out.extend_from_slice(&element.as_timestamp().ok_or_else(wrong)?.to_be_bytes());
        }
        kind::REGEX => {
            // Pattern and flags, each with its zero byte, as they stand.
            out.push(class::REGEX);
            out.extend_from_slice(value);
        }
        kind::DB_POINTER => {
            // The server compares the name's length (with its end) first.
            let (name, id) = value.split_last_chunk::<12>().ok_or_else(wrong)?;
            let text = name.get(4..name.len().saturating_sub(1)).ok_or_else(wrong)?;
            out.push(class::DB_POINTER);
            out.extend_from_slice(&u32::try_from(text.len()).map_err(|_| wrong())?.to_be_bytes());
            out.extend_from_slice(text);
            out.extend_from_slice(id);
        }
        _ => out.push(family(kind)?),
    }
    Ok(())
}

/// Text, with zero bytes escaped so that a text sorts before all that it begins.
#[inline]
fn put_text(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(zero) = rest.iter().position(|byte| *byte == 0) {
        let (clean, from_zero) = rest.split_at(zero);
        out.extend_from_slice(clean);
        out.extend_from_slice(&[0, 0xFF]);
        rest = from_zero.get(1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out.push(0);
}

fn put_fields(document: &[u8], out: &mut Vec<u8>, depth: u32) -> Result<()> {
    for element in raw::elements(document)? {
        let element = element?;
        out.push(family(element.kind)?);
        out.extend_from_slice(element.name);
        out.push(0);
        encode(element.kind, element.value, out, depth)?;
    }
    out.push(class::END);
    Ok(())
}

/// The error of an id whose bytes are not a memcomparable form.
#[cold]
fn wrong_form() -> InterpretError {
    malformed("record id", "its bytes are not the memcomparable form of a value")
}

#[cfg(test)]
mod tests;
