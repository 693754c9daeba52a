//! BSON for people: canonical Extended JSON, version 2.
//!
//! Written from the bytes, so that the order of fields, repeated names and every type come through. Text that is not
//! UTF-8 shows replacement characters. The format: <https://github.com/mongodb/specifications/blob/master/source/extended-json.md>.

use std::fmt::Write as _;

use backstay_model::hex;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::interpret::raw::{self, Element, MAX_DEPTH, Result, kind, malformed};

/// A document as canonical Extended JSON.
///
/// # Errors
/// When it is malformed.
pub fn document(document: &[u8]) -> Result<String> {
    let mut out = String::with_capacity(document.len() * 2);
    put_document(document, &mut out, MAX_DEPTH)?;
    Ok(out)
}

/// A value as canonical Extended JSON.
///
/// # Errors
/// When it is malformed.
pub fn value(element: Element<'_>) -> Result<String> {
    let mut out = String::new();
    put_value(element, &mut out, MAX_DEPTH)?;
    Ok(out)
}

/// The record id, in memcomparable form, that a text in Extended JSON stands for: `7`, `"a"`, `{"$oid": "…"}`.
///
/// # Errors
/// In words, when the text is not Extended JSON.
pub fn parse_id(text: &str) -> std::result::Result<Vec<u8>, String> {
    // Straight into a value of BSON: a JSON value in between would sort the fields, whose order counts.
    let value: bson::Bson = serde_json::from_str(text).map_err(|why| format!("not Extended JSON: {why}"))?;
    encode(&value)
}

/// The memcomparable form of a value.
pub(crate) fn encode(value: &bson::Bson) -> std::result::Result<Vec<u8>, String> {
    let mut holder = bson::Document::new();
    holder.insert("_id", value.clone());
    let bytes = bson::serialize_to_vec(&holder).map_err(|why| why.to_string())?;
    let mut encoded = Vec::new();
    super::id_of(&bytes, &mut encoded).map_err(|why| why.to_string())?;
    Ok(encoded)
}

/// The sixteen bytes of a UUID in its usual form.
pub fn uuid(bytes: &[u8]) -> String {
    let digits = hex(bytes);
    let groups = [0..8, 8..12, 12..16, 16..20, 20..32].map(|group| digits.get(group).unwrap_or_default().to_owned());
    groups.join("-")
}

fn put_text(text: &[u8], out: &mut String) {
    out.push('"');
    for character in String::from_utf8_lossy(text).chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if u32::from(control) < 0x20 || control == '\u{7f}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

fn put_document(document: &[u8], out: &mut String, depth: u32) -> Result<()> {
    let depth = raw::descend(depth)?;
    out.push('{');
    for (place, element) in raw::elements(document)?.enumerate() {
        let element = element?;
        if place > 0 {
            out.push(',');
        }
        put_text(element.name, out);
        out.push(':');
        put_value(element, out, depth)?;
    }
    out.push('}');
    Ok(())
}

fn put_array(array: &[u8], out: &mut String, depth: u32) -> Result<()> {
    let depth = raw::descend(depth)?;
    out.push('[');
    for (place, element) in raw::elements(array)?.enumerate() {
        if place > 0 {
            out.push(',');
        }
        put_value(element?, out, depth)?;
    }
    out.push(']');
    Ok(())
}

fn put_value(element: Element<'_>, out: &mut String, depth: u32) -> Result<()> {
    let wrong = || malformed("BSON value", "it is shorter than its kind");
    let eight = || element.eight().ok_or_else(wrong);
    let text = || element.text().ok_or_else(wrong);
    match element.kind {
        kind::DOUBLE => put_double(f64::from_le_bytes(eight()?), out),
        kind::STRING => put_text(text()?, out),
        kind::DOCUMENT => put_document(element.value, out, depth)?,
        kind::ARRAY => put_array(element.value, out, depth)?,
        kind::BINARY => {
            let (subtype, bytes) = element.as_binary().ok_or_else(wrong)?;
            let _ = write!(
                out,
                r#"{{"$binary":{{"base64":"{}","subType":"{subtype:02x}"}}}}"#,
                STANDARD.encode(without_inner_length(subtype, bytes))
            );
        }
        kind::UNDEFINED => out.push_str(r#"{"$undefined":true}"#),
        kind::OBJECT_ID => put_object_id(element.value, out),
        kind::BOOL => out.push_str(if element.is_true() { "true" } else { "false" }),
        kind::DATE => {
            let _ = write!(out, r#"{{"$date":{{"$numberLong":"{}"}}}}"#, i64::from_le_bytes(eight()?));
        }
        kind::NULL => out.push_str("null"),
        kind::REGEX => {
            let mut texts = element.value.split(|byte| *byte == 0);
            out.push_str(r#"{"$regularExpression":{"pattern":"#);
            put_text(texts.next().unwrap_or_default(), out);
            out.push_str(r#","options":"#);
            put_text(texts.next().unwrap_or_default(), out);
            out.push_str("}}");
        }
        kind::DB_POINTER => {
            let (name, id) = element.value.split_last_chunk::<12>().ok_or_else(wrong)?;
            out.push_str(r#"{"$dbPointer":{"$ref":"#);
            put_text(name.get(4..name.len().saturating_sub(1)).ok_or_else(wrong)?, out);
            out.push_str(r#","$id":"#);
            put_object_id(id, out);
            out.push_str("}}");
        }
        kind::CODE => {
            out.push_str(r#"{"$code":"#);
            put_text(text()?, out);
            out.push('}');
        }
        kind::SYMBOL => {
            out.push_str(r#"{"$symbol":"#);
            put_text(text()?, out);
            out.push('}');
        }
        kind::CODE_WITH_SCOPE => {
            let (code, scope) = element.code_with_scope()?;
            out.push_str(r#"{"$code":"#);
            put_text(code, out);
            out.push_str(r#","$scope":"#);
            put_document(scope, out, depth)?;
            out.push('}');
        }
        kind::INT32 => {
            let _ = write!(out, r#"{{"$numberInt":"{}"}}"#, element.as_integer().ok_or_else(wrong)?);
        }
        kind::TIMESTAMP => {
            let packed = element.as_timestamp().ok_or_else(wrong)?;
            let _ = write!(out, r#"{{"$timestamp":{{"t":{},"i":{}}}}}"#, packed >> 32, packed & 0xFFFF_FFFF);
        }
        kind::INT64 => {
            let _ = write!(out, r#"{{"$numberLong":"{}"}}"#, element.as_integer().ok_or_else(wrong)?);
        }
        kind::DECIMAL128 => {
            let number = bson::Decimal128::from_bytes(element.value.try_into().map_err(|_| wrong())?);
            let _ = write!(out, r#"{{"$numberDecimal":"{number}"}}"#);
        }
        kind::MIN_KEY => out.push_str(r#"{"$minKey":1}"#),
        kind::MAX_KEY => out.push_str(r#"{"$maxKey":1}"#),
        _ => return Err(malformed("BSON value", "its kind does not exist")),
    }
    Ok(())
}

fn put_double(number: f64, out: &mut String) {
    let _ = match number {
        _ if number.is_nan() => write!(out, r#"{{"$numberDouble":"NaN"}}"#),
        f64::INFINITY => write!(out, r#"{{"$numberDouble":"Infinity"}}"#),
        f64::NEG_INFINITY => write!(out, r#"{{"$numberDouble":"-Infinity"}}"#),
        _ => write!(out, r#"{{"$numberDouble":"{number:?}"}}"#),
    };
}

fn put_object_id(bytes: &[u8], out: &mut String) {
    out.push_str(r#"{"$oid":""#);
    out.push_str(&hex(bytes));
    out.push_str(r#""}"#);
}

/// Binary data of the old generic subtype has its length once more inside, which is not shown.
fn without_inner_length(subtype: u8, bytes: &[u8]) -> &[u8] {
    match bytes.split_first_chunk::<4>() {
        Some((length, rest)) if subtype == 2 && usize::try_from(i32::from_le_bytes(*length)) == Ok(rest.len()) => rest,
        _ => bytes,
    }
}

#[cfg(test)]
mod tests {
    use bson::{Bson, doc};

    use super::*;

    #[test]
    fn an_id_is_read_from_its_text() {
        let id = |value: Bson| encode(&value).unwrap();
        assert_eq!(parse_id("7"), Ok(id(Bson::Double(7.0))));
        assert_eq!(parse_id(r#""a""#), Ok(id("a".into())));
        assert_eq!(parse_id(r#"{"z":{"$numberLong":"1"},"a":2}"#), Ok(id(doc! { "z": 1, "a": 2 }.into())));
        let object_id = bson::oid::ObjectId::from_bytes([1; 12]);
        assert_eq!(parse_id(r#"{"$oid":"010101010101010101010101"}"#), Ok(id(object_id.into())));
        assert!(parse_id("{").is_err());
    }

    #[test]
    fn what_is_written_is_read_back_by_the_driver() {
        let original = doc! {
            "_id": bson::oid::ObjectId::from_bytes([1; 12]), "d": 1.5, "big": 1e300, "inf": f64::INFINITY, "s": "t\u{1}\"\\\n é",
            "doc": { "x": 1 }, "a": [1, "b", []], "u": Bson::Undefined, "b": true, "date": bson::DateTime::from_millis(-5),
            "bin": bson::Binary { subtype: bson::spec::BinarySubtype::Uuid, bytes: vec![7; 16] },
            "old": bson::Binary { subtype: bson::spec::BinarySubtype::BinaryOld, bytes: vec![7; 3] }, "n": Bson::Null,
            "r": bson::Regex { pattern: bson::raw::CString::try_from("a+").unwrap(), options: bson::raw::CString::try_from("i").unwrap() },
            "code": Bson::JavaScriptCode("f()".into()), "sym": Bson::Symbol("sym".into()),
            "cws": Bson::JavaScriptCodeWithScope(bson::JavaScriptCodeWithScope { code: "f()".into(), scope: doc! {"y": 2} }),
            "i": 7, "ts": bson::Timestamp { time: 9, increment: 3 }, "l": 8i64, "": 1,
            "dec": "1.25E-7".parse::<bson::Decimal128>().unwrap(), "min": Bson::MinKey, "max": Bson::MaxKey,
        };
        let text = document(&bson::serialize_to_vec(&original).unwrap()).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(Bson::try_from(value).unwrap(), Bson::Document(original));
    }
}
