//! Lower-case hexadecimal and base64 as they stand in the keyring file.
//!
//! Decoding is strict (one spelling per value), so that a changed character in the file is either refused here or
//! changes a value that the keyring's seal covers.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

use crate::Secret;

/// `N` bytes written as `2 N` lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Hex<const N: usize>(pub(crate) [u8; N]);

/// Bytes written as padded base64.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Base64(pub(crate) Vec<u8>);

/// A 32-byte secret written as hexadecimal; only the key-encryption key of an unprotected keyring is stored so.
pub(crate) struct SecretHex(pub(crate) Secret<32>);

const DIGITS: &[u8; 16] = b"0123456789abcdef";

pub(crate) fn write_hex(bytes: &[u8], f: &mut impl fmt::Write) -> fmt::Result {
    for byte in bytes {
        f.write_char(char::from(DIGITS[usize::from(byte >> 4)]))?;
        f.write_char(char::from(DIGITS[usize::from(byte & 15)]))?;
    }
    Ok(())
}

/// Fills `out` from exactly twice as many lower-case digits; false when the text is anything else.
pub(crate) fn read_hex(text: &str, out: &mut [u8]) -> bool {
    let digits = text.as_bytes();
    if digits.len() != out.len() * 2 {
        return false;
    }
    for (pair, byte) in digits.chunks_exact(2).zip(out) {
        let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else { return false };
        *byte = high << 4 | low;
    }
    true
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(2 * N);
        write_hex(&self.0, &mut text).map_err(serde::ser::Error::custom)?;
        to.serialize_str(&text)
    }
}

impl Serialize for SecretHex {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut text = Zeroizing::new(String::with_capacity(64));
        write_hex(self.0.expose(), &mut *text).map_err(serde::ser::Error::custom)?;
        to.serialize_str(&text)
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(&self.0))
    }
}

/// Reads text without asking for an owned copy of it.
struct Text<F>(&'static str, F);

impl<T, F: FnOnce(&str) -> Option<T>> de::Visitor<'_> for Text<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        // The text itself stays out of the message: it may be a key.
        (self.1)(text).ok_or_else(|| E::custom(format_args!("expected {}", self.0)))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(Text("lower-case hexadecimal digits of the right length", |text: &str| {
            let mut bytes = [0; N];
            read_hex(text, &mut bytes).then_some(Self(bytes))
        }))
    }
}

impl<'de> Deserialize<'de> for SecretHex {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(Text("64 lower-case hexadecimal digits", |text: &str| {
            Secret::fill(|bytes| if read_hex(text, bytes) { Ok(()) } else { Err(()) }).ok().map(Self)
        }))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(Text("padded base64", |text: &str| STANDARD.decode(text).ok().map(Self)))
    }
}
