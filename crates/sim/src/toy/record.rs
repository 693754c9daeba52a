//! A toy record: text that describes itself, `id=6162;tenant=acme;colour=red;`.
//!
//! The id stands in front in hexadecimal, because a target must be able to tell it from the image alone. Names and
//! values must not contain `=` and `;`.

use std::fmt::Write;

use backstay_model::{InterpretError, Tenant};

/// A record, taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Its id: any bytes.
    pub id: Vec<u8>,
    /// Its fields, in their order.
    pub fields: Vec<(String, String)>,
}

impl Record {
    /// A record without fields.
    pub fn new(id: &[u8]) -> Record {
        Record { id: id.to_vec(), fields: Vec::new() }
    }

    /// The same with a field set.
    pub fn with(mut self, name: &str, value: &str) -> Record {
        self.set(name, value);
        self
    }

    /// Sets a field: in its place, or behind the others when it is new.
    pub fn set(&mut self, name: &str, value: &str) {
        match self.fields.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.fields.push((name.to_owned(), value.to_owned())),
        }
    }

    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whose it is.
    pub fn tenant(&self) -> &str {
        self.get("tenant").unwrap_or(Tenant::UNASSIGNED_NAME)
    }

    /// Its image.
    pub fn image(&self) -> Vec<u8> {
        let mut text = String::from("id=");
        for byte in &self.id {
            let _ = write!(text, "{byte:02x}");
        }
        text.push(';');
        for (name, value) in &self.fields {
            let _ = write!(text, "{name}={value};");
        }
        text.into_bytes()
    }

    /// Takes an image apart.
    pub fn parse(image: &[u8]) -> Result<Record, InterpretError> {
        let malformed = |why: &str| InterpretError::Malformed { what: "toy record", why: why.to_owned() };
        let text = std::str::from_utf8(image).map_err(|_| malformed("it is not text"))?;
        let mut fields = text.split_terminator(';').map(|field| field.split_once('='));
        let Some(Some(("id", id))) = fields.next() else { return Err(malformed("it does not begin with its id")) };
        let id = hex(id).ok_or_else(|| malformed("its id is not hexadecimal"))?;
        let fields: Option<Vec<(String, String)>> =
            fields.map(|field| field.map(|(name, value)| (name.to_owned(), value.to_owned()))).collect();
        Ok(Record { id, fields: fields.ok_or_else(|| malformed("a field has no value"))? })
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_image_reads_back() {
        for id in [&b""[..], b"ab", b"\0\xFF"] {
            let record = Record::new(id).with("tenant", "acme").with("empty", "");
            assert_eq!(Record::parse(&record.image()).unwrap(), record);
        }
        assert!(Record::parse(b"colour=red;").is_err());
        assert!(Record::parse(b"id=zz;").is_err());
    }
}
