//! Numbers in memcomparable form, compared exactly over all four numeric types.
//!
//! ```text
//!   number   := NAN | NEGATIVE_INFINITY | ZERO | POSITIVE_INFINITY
//!             | POSITIVE  exponent  (digit + 1)*  00
//!             | NEGATIVE  the same, every byte inverted
//!   |number| := 0.d₁d₂d₃… × 100^exponent     digits to the base 100, the first and the last not zero
//!   exponent := one byte 1C..E4 for -100..100, else F0 or 10 and two bytes
//! ```
//!
//! Every number has one form, so equal numbers have equal bytes. Doubles are expanded exactly (up to 767 digits): the
//! server, too, tells 0.1 from `NumberDecimal("0.1")`.

use std::fmt::Write as _;

use super::{class, wrong_form};
use crate::interpret::raw::{Result, integral, kind};

/// The longest exact expansion of a double: 767 significant digits.
const DOUBLE_DIGITS: usize = 767;
const NEAR: i32 = 100;
const FAR_ABOVE: u8 = 0xF0;
const FAR_BELOW: u8 = 0x10;
const BIAS: i32 = 0x8000;

/// Appends an integer.
#[inline]
pub(super) fn put_integer(number: i64, out: &mut Vec<u8>) {
    if number == 0 {
        out.push(class::ZERO);
        return;
    }
    let mut pairs = [0u8; 10];
    let mut first = pairs.len();
    let mut rest = number.unsigned_abs();
    while rest != 0 && first > 0 {
        first -= 1;
        #[allow(clippy::cast_possible_truncation, reason = "a remainder of a hundred")]
        let pair = (rest % 100) as u8;
        if let Some(place) = pairs.get_mut(first) {
            *place = pair;
        }
        rest /= 100;
    }
    let pairs = pairs.get(first..).unwrap_or_default();
    put_pairs(number < 0, i32::try_from(pairs.len()).unwrap_or(0), pairs.iter().copied(), out);
}

/// Appends a double.
pub(super) fn put_double(number: f64, out: &mut Vec<u8>) {
    if number.is_nan() {
        return out.push(class::NAN);
    }
    if number.is_infinite() {
        return out.push(if number < 0.0 { class::NEGATIVE_INFINITY } else { class::POSITIVE_INFINITY });
    }
    if let Some(integer) = integral(number) {
        return put_integer(integer, out);
    }
    let mut text = Scientific { bytes: [0; DOUBLE_DIGITS + 16], length: 0 };
    let written = write!(text, "{:.*e}", most_digits(number) - 1, number.abs());
    let bytes = text.bytes.get(..text.length).unwrap_or_default();
    let parts = written.ok().and_then(|()| {
        let at = bytes.iter().position(|byte| *byte == b'e')?;
        let (digits, exponent) = bytes.split_at(at);
        Some((digits, std::str::from_utf8(exponent.get(1..)?).ok()?.parse::<i32>().ok()?))
    });
    if let Some((digits, exponent)) = parts {
        let digits = digits.iter().filter(|byte| byte.is_ascii_digit()).map(|byte| byte - b'0');
        put_digits(number < 0.0, exponent + 1, digits, out);
    }
}

/// At least as many as the significant digits of a double that is not 0, and few more: all of them are written, and a digit
/// takes time.
///
/// It is `m × 2ᵉ`, `m` odd. With `e` below 0 that is `m × 5⁻ᵉ` shifted by as many decimal places.
pub(super) fn most_digits(number: f64) -> usize {
    // In hundred thousandths, rounded up.
    const LOG_2: u64 = 30_103;
    const LOG_5: u64 = 69_898;
    let bits = number.to_bits();
    let (fraction, exponent) = (bits & ((1 << 52) - 1), i64::try_from((bits >> 52) & 0x7FF).unwrap_or(0));
    let (mantissa, exponent) = match exponent {
        0 => (fraction, -1074),
        _ => (fraction | (1 << 52), exponent - 1075),
    };
    let zeros = mantissa.trailing_zeros();
    let length = u64::from(64 - mantissa.leading_zeros() - zeros);
    let exponent = exponent + i64::from(zeros);
    let digits = match exponent {
        ..0 => length * LOG_2 + exponent.unsigned_abs() * LOG_5,
        _ => (length + exponent.unsigned_abs()) * LOG_2,
    };
    usize::try_from(digits / 100_000 + 2).unwrap_or(DOUBLE_DIGITS).min(DOUBLE_DIGITS)
}

/// Room for a double in scientific notation.
struct Scientific {
    bytes: [u8; DOUBLE_DIGITS + 16],
    length: usize,
}

impl std::fmt::Write for Scientific {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// Appends a decimal128 in the binary integer encoding that BSON uses.
pub(super) fn put_decimal(bytes: &[u8; 16], out: &mut Vec<u8>) {
    /// The largest coefficient; a larger one is not canonical and stands for zero.
    const LARGEST: u128 = 10u128.pow(34) - 1;
    let bits = u128::from_le_bytes(*bytes);
    let negative = bits >> 127 == 1;
    let top = (bits >> 122) & 0b1_1111;
    if top == 0b1_1111 {
        return out.push(class::NAN);
    }
    if top == 0b1_1110 {
        return out.push(if negative { class::NEGATIVE_INFINITY } else { class::POSITIVE_INFINITY });
    }
    let coefficient = bits & ((1 << 113) - 1);
    // A top of 11… means a coefficient above the largest in every case.
    if top >> 3 == 0b11 || coefficient == 0 || coefficient > LARGEST {
        return out.push(class::ZERO);
    }
    let exponent = i32::try_from((bits >> 113) & 0x3FFF).unwrap_or(0) - 6176;
    let mut digits = [0u8; 34];
    let mut first = digits.len();
    let mut rest = coefficient;
    while rest != 0 && first > 0 {
        first -= 1;
        if let Some(place) = digits.get_mut(first) {
            *place = u8::try_from(rest % 10).unwrap_or(0);
        }
        rest /= 10;
    }
    let digits = digits.get(first..).unwrap_or_default();
    put_digits(negative, exponent + i32::try_from(digits.len()).unwrap_or(0), digits.iter().copied(), out);
}

/// Appends `0.digits × 10^point`; the first digit is not zero.
fn put_digits(negative: bool, point: i32, digits: impl Iterator<Item = u8>, out: &mut Vec<u8>) {
    // To the base 100 the point stands between pairs: an odd point moves one zero before the first digit.
    let exponent = point.div_euclid(2) + point.rem_euclid(2);
    let mut digits = std::iter::repeat_n(0, usize::from(point.rem_euclid(2) == 1)).chain(digits);
    let pairs = std::iter::from_fn(|| {
        let high = digits.next()?;
        Some(high * 10 + digits.next().unwrap_or(0))
    });
    put_pairs(negative, exponent, pairs, out);
}

#[inline]
fn put_pairs(negative: bool, exponent: i32, pairs: impl Iterator<Item = u8>, out: &mut Vec<u8>) {
    out.push(if negative { class::NEGATIVE } else { class::POSITIVE });
    let start = out.len();
    if (-NEAR..=NEAR).contains(&exponent) {
        out.push(u8::try_from(exponent + 0x80).unwrap_or(0));
    } else {
        out.push(if exponent > 0 { FAR_ABOVE } else { FAR_BELOW });
        out.extend_from_slice(&u16::try_from(exponent + BIAS).unwrap_or(0).to_be_bytes());
    }
    let mut end = out.len();
    for pair in pairs {
        out.push(pair + 1);
        if pair != 0 {
            end = out.len();
        }
    }
    out.truncate(end);
    out.push(0);
    if negative {
        for byte in out.iter_mut().skip(start) {
            *byte = !*byte;
        }
    }
}

/// Reads a finite number that is not zero, after its class; returns its kind and bytes in the smallest fitting type.
pub(super) fn take(negative: bool, input: &mut &[u8]) -> Result<(u8, Vec<u8>)> {
    let invert = if negative { 0xFF } else { 0 };
    let encoded = *input;
    let mut bytes = encoded.iter().map(|byte| byte ^ invert);
    let mut next = || bytes.next().ok_or_else(wrong_form);
    let mut length = 1;
    let exponent = match next()? {
        FAR_ABOVE | FAR_BELOW => {
            length += 2;
            i32::from(u16::from_be_bytes([next()?, next()?])) - BIAS
        }
        near => i32::from(near) - 0x80,
    };
    let mut digits = Vec::with_capacity(40);
    loop {
        length += 1;
        match next()? {
            0 => break,
            pair @ 1..=100 if digits.len() <= DOUBLE_DIGITS + 1 => {
                digits.push((pair - 1) / 10);
                digits.push((pair - 1) % 10);
            }
            _ => return Err(wrong_form()),
        }
    }
    *input = encoded.get(length..).unwrap_or_default();
    let encoded = encoded.get(..length).unwrap_or_default();
    let mut point = exponent * 2;
    if digits.first() == Some(&0) {
        digits.remove(0);
        point -= 1;
    }
    while digits.last() == Some(&0) {
        digits.pop();
    }
    let value = smallest(negative, point, &digits).ok_or_else(wrong_form)?;
    // Only what would be written for the value is a form of it.
    let mut again = Vec::with_capacity(length + 1);
    super::encode_id(value.0, &value.1, &mut again)?;
    if again.get(1..) == Some(encoded) { Ok(value) } else { Err(wrong_form()) }
}

fn smallest(negative: bool, point: i32, digits: &[u8]) -> Option<(u8, Vec<u8>)> {
    let count = i32::try_from(digits.len()).ok()?;
    if count == 0 {
        return None;
    }
    if (count..=19).contains(&point) {
        let zeros = usize::try_from(point - count).ok()?;
        let all = digits.iter().copied().chain(std::iter::repeat_n(0, zeros));
        let magnitude = all.fold(0i128, |sum, digit| sum * 10 + i128::from(digit));
        let number = if negative { -magnitude } else { magnitude };
        if let Ok(number) = i32::try_from(number) {
            return Some((kind::INT32, number.to_le_bytes().to_vec()));
        }
        if let Ok(number) = i64::try_from(number) {
            return Some((kind::INT64, number.to_le_bytes().to_vec()));
        }
    }
    let sign = if negative { "-" } else { "" };
    let text: String = digits.iter().map(|digit| char::from(b'0' + digit)).collect();
    let double: f64 = format!("{sign}0.{text}e{point}").parse().ok()?;
    let mut there = Vec::new();
    put_double(double, &mut there);
    let mut here = Vec::new();
    put_digits(negative, point, digits.iter().copied(), &mut here);
    if there == here {
        return Some((kind::DOUBLE, double.to_le_bytes().to_vec()));
    }
    let exponent = point - count;
    let coefficient = digits.iter().try_fold(0u128, |sum, digit| {
        sum.checked_mul(10)?.checked_add(u128::from(*digit)).filter(|sum| *sum < 10u128.pow(34))
    })?;
    // An exponent above the largest is reached by moving zeros into the coefficient.
    let moved = u32::try_from(exponent - 6111).unwrap_or(0);
    let coefficient = coefficient.checked_mul(10u128.checked_pow(moved)?).filter(|sum| *sum < 10u128.pow(34))?;
    let biased = u128::try_from(exponent.min(6111) + 6176).ok()?;
    let bits = u128::from(negative) << 127 | biased << 113 | coefficient;
    Some((kind::DECIMAL128, bits.to_le_bytes().to_vec()))
}
