//! From the memcomparable form back to a value.

use super::{LONG_BINARY, class, family_of_encoded, number, wrong_form};
use crate::interpret::raw::{self, MAX_DEPTH, Result, kind};

/// Reads a memcomparable id back: its BSON kind and the value's bytes. Numbers come back in the smallest type that holds
/// them exactly (32-bit, 64-bit, double, decimal128), symbols as strings.
///
/// # Errors
/// When the bytes are not the memcomparable form of a value.
pub fn decode_id(id: &[u8]) -> Result<(u8, Vec<u8>)> {
    let mut input = id;
    let value = take_value(&mut input, MAX_DEPTH)?;
    if input.is_empty() { Ok(value) } else { Err(wrong_form()) }
}

fn take_value(input: &mut &[u8], depth: u32) -> Result<(u8, Vec<u8>)> {
    Ok(match take_byte(input)? {
        class::MIN_KEY => (kind::MIN_KEY, Vec::new()),
        class::UNDEFINED => (kind::UNDEFINED, Vec::new()),
        class::NULL => (kind::NULL, Vec::new()),
        class::NAN => (kind::DOUBLE, f64::NAN.to_le_bytes().to_vec()),
        class::NEGATIVE_INFINITY => (kind::DOUBLE, f64::NEG_INFINITY.to_le_bytes().to_vec()),
        class::POSITIVE_INFINITY => (kind::DOUBLE, f64::INFINITY.to_le_bytes().to_vec()),
        class::ZERO => (kind::INT32, vec![0; 4]),
        class::NEGATIVE => number::take(true, input)?,
        class::POSITIVE => number::take(false, input)?,
        class::STRING => (kind::STRING, string(&take_text(input)?)?),
        class::CODE => (kind::CODE, string(&take_text(input)?)?),
        class::CODE_WITH_SCOPE => {
            let code = string(&take_text(input)?)?;
            let scope = take_fields(input, raw::descend(depth)?)?;
            let length = i32::try_from(4 + code.len() + scope.len()).map_err(|_| wrong_form())?;
            (kind::CODE_WITH_SCOPE, [&length.to_le_bytes(), code.as_slice(), &scope].concat())
        }
        class::DOCUMENT => (kind::DOCUMENT, take_fields(input, raw::descend(depth)?)?),
        class::ARRAY => (kind::ARRAY, take_array(input, raw::descend(depth)?)?),
        class::BINARY => (kind::BINARY, take_binary(input)?),
        class::OBJECT_ID => (kind::OBJECT_ID, take(input, 12)?.to_vec()),
        class::FALSE => (kind::BOOL, vec![0]),
        class::TRUE => (kind::BOOL, vec![1]),
        class::DATE => {
            let biased = i64::from_be_bytes(take_eight(input)?);
            (kind::DATE, (biased ^ i64::MIN).to_le_bytes().to_vec())
        }
        class::TIMESTAMP => (kind::TIMESTAMP, u64::from_be_bytes(take_eight(input)?).to_le_bytes().to_vec()),
        class::REGEX => {
            let pattern = take_name(input)?;
            let flags = take_name(input)?;
            (kind::REGEX, [pattern, &[0], flags, &[0]].concat())
        }
        class::DB_POINTER => {
            let length = u32::from_be_bytes(take(input, 4)?.try_into().map_err(|_| wrong_form())?);
            let name = take(input, usize::try_from(length).map_err(|_| wrong_form())?)?;
            let mut value = string(name)?;
            value.extend_from_slice(take(input, 12)?);
            (kind::DB_POINTER, value)
        }
        class::MAX_KEY => (kind::MAX_KEY, Vec::new()),
        _ => return Err(wrong_form()),
    })
}

fn take<'a>(input: &mut &'a [u8], length: usize) -> Result<&'a [u8]> {
    let (taken, rest) = input.split_at_checked(length).ok_or_else(wrong_form)?;
    *input = rest;
    Ok(taken)
}

fn take_byte(input: &mut &[u8]) -> Result<u8> {
    let (byte, rest) = input.split_first().ok_or_else(wrong_form)?;
    *input = rest;
    Ok(*byte)
}

fn take_eight(input: &mut &[u8]) -> Result<[u8; 8]> {
    take(input, 8)?.try_into().map_err(|_| wrong_form())
}

fn take_name<'a>(input: &mut &'a [u8]) -> Result<&'a [u8]> {
    let end = input.iter().position(|byte| *byte == 0).ok_or_else(wrong_form)?;
    let name = take(input, end)?;
    take(input, 1)?;
    Ok(name)
}

fn take_text(input: &mut &[u8]) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    loop {
        text.extend_from_slice(take_name(input)?);
        match input.split_first() {
            Some((0xFF, rest)) => {
                text.push(0);
                *input = rest;
            }
            _ => return Ok(text),
        }
    }
}

/// A string's value: length, text, end.
fn string(text: &[u8]) -> Result<Vec<u8>> {
    let length = i32::try_from(text.len() + 1).map_err(|_| wrong_form())?;
    Ok([&length.to_le_bytes(), text, &[0]].concat())
}

fn take_binary(input: &mut &[u8]) -> Result<Vec<u8>> {
    let length = match take_byte(input)? {
        LONG_BINARY => u32::from_be_bytes(take(input, 4)?.try_into().map_err(|_| wrong_form())?),
        short => u32::from(short),
    };
    let subtype = take_byte(input)?;
    let bytes = take(input, usize::try_from(length).map_err(|_| wrong_form())?)?;
    let length = i32::try_from(length).map_err(|_| wrong_form())?;
    Ok([&length.to_le_bytes(), &[subtype][..], bytes].concat())
}

fn take_fields(input: &mut &[u8], depth: u32) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let start = raw::open(&mut out);
    loop {
        let family = take_byte(input)?;
        if family == class::END {
            break;
        }
        let name = take_name(input)?;
        if input.first().map(|first| family_of_encoded(*first)) != Some(family) {
            return Err(wrong_form());
        }
        let (kind, value) = take_value(input, depth)?;
        raw::put(&mut out, kind, name, &value);
    }
    raw::close(&mut out, start)?;
    Ok(out)
}

fn take_array(input: &mut &[u8], depth: u32) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let start = raw::open(&mut out);
    let mut index = 0;
    while input.first() != Some(&class::END) {
        let (kind, value) = take_value(input, depth)?;
        raw::put_index(&mut out, kind, index);
        out.extend_from_slice(&value);
        index += 1;
    }
    take_byte(input)?;
    raw::close(&mut out, start)?;
    Ok(out)
}
