//! One element, and the walk over a document's elements.

use super::{Result, malformed};

/// The kinds of BSON values, by their byte.
pub mod kind {
    #![allow(missing_docs, reason = "the names are the specification's")]
    pub const DOUBLE: u8 = 0x01;
    pub const STRING: u8 = 0x02;
    pub const DOCUMENT: u8 = 0x03;
    pub const ARRAY: u8 = 0x04;
    pub const BINARY: u8 = 0x05;
    pub const UNDEFINED: u8 = 0x06;
    pub const OBJECT_ID: u8 = 0x07;
    pub const BOOL: u8 = 0x08;
    pub const DATE: u8 = 0x09;
    pub const NULL: u8 = 0x0A;
    pub const REGEX: u8 = 0x0B;
    pub const DB_POINTER: u8 = 0x0C;
    pub const CODE: u8 = 0x0D;
    pub const SYMBOL: u8 = 0x0E;
    pub const CODE_WITH_SCOPE: u8 = 0x0F;
    pub const INT32: u8 = 0x10;
    pub const TIMESTAMP: u8 = 0x11;
    pub const INT64: u8 = 0x12;
    pub const DECIMAL128: u8 = 0x13;
    pub const MAX_KEY: u8 = 0x7F;
    pub const MIN_KEY: u8 = 0xFF;
}

/// One element of a document. The value's length is right for its kind; nested values are checked when they are walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// The value's kind, one of [`kind`].
    pub kind: u8,
    /// The field's name, without its end.
    pub name: &'a [u8],
    /// The value's bytes: for a string its length, text and end, for a document the whole document.
    pub value: &'a [u8],
}

impl<'a> Element<'a> {
    /// The text of a string, symbol or code, as bytes without length and end.
    #[inline]
    pub fn text(&self) -> Option<&'a [u8]> {
        match self.kind {
            kind::STRING | kind::SYMBOL | kind::CODE => text_of(self.value),
            _ => None,
        }
    }

    /// The text of a string that is UTF-8.
    #[inline]
    pub fn as_str(&self) -> Option<&'a str> {
        if self.kind == kind::STRING { std::str::from_utf8(text_of(self.value)?).ok() } else { None }
    }

    /// The sub-document.
    #[inline]
    pub fn as_document(&self) -> Option<&'a [u8]> {
        (self.kind == kind::DOCUMENT).then_some(self.value)
    }

    /// The array, a document in form.
    #[inline]
    pub fn as_array(&self) -> Option<&'a [u8]> {
        (self.kind == kind::ARRAY).then_some(self.value)
    }

    /// The eight bytes of a double, date, timestamp or 64-bit integer.
    #[inline]
    pub fn eight(&self) -> Option<[u8; 8]> {
        self.value.try_into().ok()
    }

    /// The value of a timestamp: seconds in the upper half, the ordinal in the lower.
    #[inline]
    pub fn as_timestamp(&self) -> Option<u64> {
        if self.kind == kind::TIMESTAMP { self.eight().map(u64::from_le_bytes) } else { None }
    }

    /// The value of an integer, or of a double without a fraction.
    #[inline]
    pub fn as_integer(&self) -> Option<i64> {
        match self.kind {
            kind::INT32 => Some(i64::from(i32::from_le_bytes(self.value.try_into().ok()?))),
            kind::INT64 => self.eight().map(i64::from_le_bytes),
            kind::DOUBLE => integral(f64::from_le_bytes(self.eight()?)),
            _ => None,
        }
    }

    /// True for `true` and for every number but zero, as the server reads its own flags.
    #[inline]
    pub fn is_true(&self) -> bool {
        match self.kind {
            kind::BOOL => self.value.first().is_some_and(|byte| *byte != 0),
            _ => self.as_integer().is_some_and(|number| number != 0),
        }
    }

    /// Subtype and bytes of binary data.
    #[inline]
    pub fn as_binary(&self) -> Option<(u8, &'a [u8])> {
        if self.kind != kind::BINARY {
            return None;
        }
        let (subtype, bytes) = self.value.get(4..)?.split_first()?;
        Some((*subtype, bytes))
    }

    /// The code, as bytes without length and end, and the scope of code with a scope.
    pub fn code_with_scope(&self) -> Result<(&'a [u8], &'a [u8])> {
        let wrong = || malformed("BSON code with scope", "its lengths do not agree");
        let inner = self.value.get(4..).ok_or_else(wrong)?;
        let length = string_len(inner).ok_or_else(wrong)?;
        let (code, scope) = inner.split_at_checked(length).ok_or_else(wrong)?;
        Ok((text_of(code).ok_or_else(wrong)?, scope))
    }
}

/// The number as an integer, when it is one and fits.
#[inline]
pub(crate) fn integral(number: f64) -> Option<i64> {
    // 2^63 is the first double that does not fit; every double below with no fraction is exact.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    #[allow(clippy::cast_possible_truncation, reason = "in range and without a fraction: exact")]
    ((-LIMIT..LIMIT).contains(&number) && number.fract() == 0.0).then_some(number as i64)
}

/// A string value's text: the length was checked when the element was read.
#[inline]
fn text_of(value: &[u8]) -> Option<&[u8]> {
    value.get(4..value.len().checked_sub(1)?)
}

/// The walk over one level of a document, from [`super::elements`]. It ends after the first error.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    body: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Elements<'a> {
    #[inline]
    pub(super) fn new(body: &'a [u8]) -> Elements<'a> {
        Elements { body, rest: body }
    }

    /// How many bytes of the elements were walked over.
    #[inline]
    pub fn position(&self) -> usize {
        self.body.len() - self.rest.len()
    }

    /// The bytes of elements between two positions.
    #[inline]
    pub fn between(&self, from: usize, to: usize) -> &'a [u8] {
        self.body.get(from..to).unwrap_or_default()
    }

    #[inline]
    fn read(&mut self) -> Option<Element<'a>> {
        let (kind, rest) = self.rest.split_first()?;
        let end = name_end(rest)?;
        let (name, rest) = rest.split_at_checked(end)?;
        let rest = rest.get(1..)?;
        let (value, rest) = rest.split_at_checked(value_len(*kind, rest)?)?;
        self.rest = rest;
        Some(Element { kind: *kind, name, value })
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<Element<'a>>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match self.read() {
            Some(element) => Some(Ok(element)),
            None => {
                self.rest = &[];
                Some(Err(malformed("BSON element", "it is cut off, or of a kind that does not exist")))
            }
        }
    }
}

/// Where the name at the head of `bytes` ends. Most names are shorter than eight bytes, so eight are looked at at once:
/// subtracting one from each byte borrows into its top bit first where the byte is zero.
#[inline]
fn name_end(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    let mut from = 0;
    while let Some(eight) = bytes.get(from..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*eight);
        let zeros = word.wrapping_sub(ONES) & !word & TOPS;
        if zeros != 0 {
            return Some(from + (zeros.trailing_zeros() / 8) as usize);
        }
        from += 8;
    }
    let rest = bytes.get(from..)?;
    Some(from + rest.iter().position(|byte| *byte == 0)?)
}

/// The length of a value of this kind at the head of `rest`; `None` when that is impossible.
#[inline]
fn value_len(kind: u8, rest: &[u8]) -> Option<usize> {
    match kind {
        kind::DOUBLE | kind::DATE | kind::TIMESTAMP | kind::INT64 => Some(8),
        kind::STRING | kind::CODE | kind::SYMBOL => string_len(rest),
        kind::DOCUMENT | kind::ARRAY => {
            let length = length_at(rest)?;
            (length >= super::EMPTY && rest.get(length - 1) == Some(&0)).then_some(length)
        }
        kind::BINARY => length_at(rest)?.checked_add(5),
        kind::UNDEFINED | kind::NULL | kind::MIN_KEY | kind::MAX_KEY => Some(0),
        kind::OBJECT_ID => Some(12),
        kind::BOOL => Some(1),
        kind::INT32 => Some(4),
        kind::DECIMAL128 => Some(16),
        kind::REGEX => {
            let pattern = name_end(rest)? + 1;
            Some(pattern + name_end(rest.get(pattern..)?)? + 1)
        }
        kind::DB_POINTER => string_len(rest)?.checked_add(12),
        kind::CODE_WITH_SCOPE => {
            let length = length_at(rest)?;
            let inner = rest.get(4..length)?;
            let scope = inner.get(string_len(inner)?..)?;
            (length_at(scope)? == scope.len() && scope.len() >= super::EMPTY && scope.last() == Some(&0))
                .then_some(length)
        }
        _ => None,
    }
}

/// The length of a string value: its own length, the text, a zero byte.
#[inline]
fn string_len(rest: &[u8]) -> Option<usize> {
    let length = length_at(rest)?.checked_add(4)?;
    (length >= 5 && rest.get(length - 1) == Some(&0)).then_some(length)
}

#[inline]
fn length_at(rest: &[u8]) -> Option<usize> {
    usize::try_from(i32::from_le_bytes(*rest.first_chunk::<4>()?)).ok()
}
