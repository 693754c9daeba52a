//! An entry of the toy's change feed, as bytes.
//!
//! ```text
//!   kind (1) ‖ namespace (8, BE) ‖ then, by kind, parts: length (4, LE) ‖ bytes
//!   p put        name, id, image            o  operand: operator (2, LE), name, id, delta
//!   d delete     name, id                   D  define: definition       X  drop: nothing
//!   n no-op      nothing                    T  together: entries, each a part
//! ```

use backstay_model::{Incarnation, InterpretError, Operator};

/// One entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// A whole record was written.
    Put {
        /// Into which namespace.
        namespace: Incarnation,
        /// Its name then.
        name: String,
        /// The record's id.
        id: Vec<u8>,
        /// The record.
        image: Vec<u8>,
    },
    /// A record was changed in part.
    Operand {
        /// In which namespace.
        namespace: Incarnation,
        /// Its name then.
        name: String,
        /// The record's id.
        id: Vec<u8>,
        /// How to apply it.
        operator: Operator,
        /// What to apply.
        delta: Vec<u8>,
    },
    /// A record was deleted.
    Delete {
        /// From which namespace.
        namespace: Incarnation,
        /// Its name then.
        name: String,
        /// The record's id.
        id: Vec<u8>,
    },
    /// A namespace was created or renamed.
    Define {
        /// Its identity.
        namespace: Incarnation,
        /// What it is since.
        definition: Vec<u8>,
    },
    /// A namespace was dropped.
    Drop {
        /// Its identity.
        namespace: Incarnation,
    },
    /// Nothing happened.
    Noop,
    /// Several changes of one instant in one entry.
    Together(Vec<Entry>),
}

impl Entry {
    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (kind, namespace) = match self {
            Entry::Put { namespace, .. } => (b'p', *namespace),
            Entry::Operand { namespace, .. } => (b'o', *namespace),
            Entry::Delete { namespace, .. } => (b'd', *namespace),
            Entry::Define { namespace, .. } => (b'D', *namespace),
            Entry::Drop { namespace } => (b'X', *namespace),
            Entry::Noop => (b'n', Incarnation::SYSTEM),
            Entry::Together(_) => (b'T', Incarnation::SYSTEM),
        };
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&namespace.0.to_be_bytes());
        match self {
            Entry::Put { name, id, image, .. } => put_parts(&mut bytes, &[name.as_bytes(), id, image]),
            Entry::Operand { name, id, operator, delta, .. } => {
                put_parts(&mut bytes, &[&operator.0.to_le_bytes(), name.as_bytes(), id, delta]);
            }
            Entry::Delete { name, id, .. } => put_parts(&mut bytes, &[name.as_bytes(), id]),
            Entry::Define { definition, .. } => put_parts(&mut bytes, &[definition]),
            Entry::Drop { .. } | Entry::Noop => {}
            Entry::Together(entries) => {
                for entry in entries {
                    put_parts(&mut bytes, &[&entry.to_bytes()]);
                }
            }
        }
        bytes
    }

    /// Reads an entry. [`InterpretError::Unknown`] for a kind that is none of these.
    pub fn parse(bytes: &[u8]) -> Result<Entry, InterpretError> {
        let (kind, rest) = bytes.split_first().ok_or_else(|| malformed("it is empty"))?;
        let (namespace, mut rest) = rest.split_first_chunk::<8>().ok_or_else(cut)?;
        let namespace = Incarnation(u64::from_be_bytes(*namespace));
        let rest = &mut rest;
        let entry = match kind {
            b'p' => Entry::Put { namespace, name: text(rest)?, id: part(rest)?.to_vec(), image: part(rest)?.to_vec() },
            b'o' => {
                let operator = part(rest)?.try_into().map_err(|_| malformed("its operator is not two bytes"))?;
                let operator = Operator(u16::from_le_bytes(operator));
                let (name, id, delta) = (text(rest)?, part(rest)?.to_vec(), part(rest)?.to_vec());
                Entry::Operand { namespace, name, id, operator, delta }
            }
            b'd' => Entry::Delete { namespace, name: text(rest)?, id: part(rest)?.to_vec() },
            b'D' => Entry::Define { namespace, definition: part(rest)?.to_vec() },
            b'X' => Entry::Drop { namespace },
            b'n' => Entry::Noop,
            b'T' => {
                let mut entries = Vec::new();
                while !rest.is_empty() {
                    let entry = Entry::parse(part(rest)?)?;
                    if matches!(entry, Entry::Together(_)) {
                        return Err(malformed("it contains another one of many changes"));
                    }
                    entries.push(entry);
                }
                Entry::Together(entries)
            }
            other => {
                return Err(InterpretError::Unknown { what: "toy entry", name: char::from(*other).to_string() });
            }
        };
        if rest.is_empty() { Ok(entry) } else { Err(malformed("it goes on after its end")) }
    }
}

fn put_parts(bytes: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        let len = u32::try_from(part.len()).expect("toy entries are small");
        bytes.extend_from_slice(&len.to_le_bytes());
        bytes.extend_from_slice(part);
    }
}

fn part<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], InterpretError> {
    let (len, after) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
    let (part, after) = after.split_at_checked(u32::from_le_bytes(*len) as usize).ok_or_else(cut)?;
    *rest = after;
    Ok(part)
}

fn text(rest: &mut &[u8]) -> Result<String, InterpretError> {
    String::from_utf8(part(rest)?.to_vec()).map_err(|_| malformed("its name is not text"))
}

fn malformed(why: &str) -> InterpretError {
    InterpretError::Malformed { what: "toy entry", why: why.to_owned() }
}

fn cut() -> InterpretError {
    malformed("it is cut")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn entries_read_back() {
        let (namespace, name, id) = (Incarnation(7), "shop.orders".to_owned(), b"\0a".to_vec());
        let entries = vec![
            Entry::Put { namespace, name: name.clone(), id: id.clone(), image: b"id=0061;".to_vec() },
            Entry::Operand { namespace, name: name.clone(), id: id.clone(), operator: Operator(9), delta: vec![] },
            Entry::Delete { namespace, name, id },
            Entry::Define { namespace, definition: b"x".to_vec() },
            Entry::Drop { namespace },
            Entry::Noop,
        ];
        for entry in &entries {
            assert_eq!(&Entry::parse(&entry.to_bytes()).unwrap(), entry);
        }
        let together = Entry::Together(entries);
        assert_eq!(Entry::parse(&together.to_bytes()).unwrap(), together);
        let bytes = together.to_bytes();
        assert!((0..bytes.len()).all(|len| Entry::parse(&bytes[..len]).ok() != Some(together.clone())));
    }
}
