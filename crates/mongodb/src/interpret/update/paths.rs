//! The `$v: 1` update: `$set` and `$unset` of dotted paths, as servers up to 4.4 log it.
//!
//! The paths are sorted once, part by part, so that at each level the changes below one field are neighbours: a group. The
//! record is then walked as the diff's applier walks it, one group for one field. Fields that are missing are created in
//! the order of their names' bytes, as those servers do whatever the entry's own order. Where a path runs into a value that cannot hold it, the server's
//! secondaries leave the record as it is, and so does this; the exception is an array, which is padded with nulls.

use backstay_model::InterpretError;

use super::LONGEST;
use crate::interpret::raw::{self, Element, MAX_DEPTH, Result, kind, malformed};

/// One change: what a path becomes, or nothing.
#[derive(Clone, Copy)]
struct Change<'a> {
    /// The parts of the path that lie below the level at hand.
    path: &'a [u8],
    value: Option<Element<'a>>,
}

impl<'a> Change<'a> {
    /// The path's first part, and the rest of it.
    fn split(&self) -> (&'a [u8], Option<&'a [u8]>) {
        match self.path.iter().position(|byte| *byte == b'.') {
            Some(dot) => {
                let (first, rest) = self.path.split_at(dot);
                (first, Some(rest.get(1..).unwrap_or_default()))
            }
            None => (self.path, None),
        }
    }
}

fn wrong(why: &'static str) -> InterpretError {
    malformed("update", why)
}

/// An array's index in decimal digits.
pub(super) fn array_index(digits: &[u8]) -> Option<usize> {
    // The limit keeps sums of indexes far from an overflow.
    if digits.is_empty() || digits.len() > 9 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0')))
}

/// True when a change's path begins with `root`.
pub(super) fn touches(o: &[u8], root: &[u8]) -> Result<bool> {
    Ok(read(o)?.iter().any(|change| change.split().0 == root))
}

fn read(o: &[u8]) -> Result<Vec<Change<'_>>> {
    let mut changes = Vec::with_capacity(8);
    for section in raw::elements(o)? {
        let section = section?;
        let unset = match section.name {
            b"$v" => continue,
            b"$set" => false,
            b"$unset" => true,
            other => {
                let name = String::from_utf8_lossy(other).into_owned();
                return Err(InterpretError::Unknown { what: "update operator of the oplog", name });
            }
        };
        let Some(inner) = section.as_document() else { return Err(wrong("a section is not a document")) };
        for element in raw::elements(inner)? {
            let element = element?;
            let value = (!unset).then_some(element);
            changes.push(Change { path: element.name, value });
        }
    }
    Ok(changes)
}

pub(super) fn apply(image: &[u8], o: &[u8], out: &mut Vec<u8>) -> Result<()> {
    out.clear();
    out.reserve(image.len() + o.len());
    let mut changes = read(o)?;
    changes.sort_by(|a, b| a.path.split(|byte| *byte == b'.').cmp(b.path.split(|byte| *byte == b'.')));
    document(image, &mut changes, out, MAX_DEPTH)
}

/// The changes at or below one field.
struct Group<'a, 'c> {
    name: &'a [u8],
    /// Sorted; their paths are what follows the name.
    below: &'c mut [Change<'a>],
    /// The one change of the field itself, if it is not below it.
    whole: Option<Option<Element<'a>>>,
    found: bool,
}

impl Group<'_, '_> {
    fn sets(&self) -> bool {
        matches!(self.whole, Some(Some(_))) || self.below.iter().any(|change| change.value.is_some())
    }
}

fn groups<'a, 'c>(changes: &'c mut [Change<'a>]) -> Result<Vec<Group<'a, 'c>>> {
    let mut groups = Vec::new();
    let mut rest = changes;
    while let Some(first) = rest.first() {
        let (name, _) = first.split();
        let count = rest.iter().take_while(|change| change.split().0 == name).count();
        let (own, others) = rest.split_at_mut(count);
        rest = others;
        let mut whole = None;
        for change in own.iter_mut() {
            match change.split().1 {
                Some(below) => change.path = below,
                None if count == 1 => whole = Some(change.value),
                None => return Err(wrong("it changes a field and what lies below it")),
            }
        }
        let below = if whole.is_some() { Default::default() } else { own };
        groups.push(Group { name, below, whole, found: false });
    }
    Ok(groups)
}

fn document<'a>(image: &[u8], changes: &mut [Change<'a>], out: &mut Vec<u8>, depth: u32) -> Result<()> {
    let depth = raw::descend(depth)?;
    let mut groups = groups(changes)?;
    let start = raw::open(out);
    let mut fields = raw::elements(image)?;
    let mut copied = 0;
    loop {
        let before = fields.position();
        let Some(field) = fields.next() else { break };
        let field = field?;
        let Ok(place) = groups.binary_search_by(|group| group.name.cmp(field.name)) else { continue };
        let Some(group) = groups.get_mut(place).filter(|group| !group.found) else { continue };
        group.found = true;
        out.extend_from_slice(fields.between(copied, before));
        copied = fields.position();
        match group.whole {
            Some(Some(new)) => raw::put(out, new.kind, field.name, new.value),
            Some(None) => {}
            None => {
                out.push(field.kind);
                out.extend_from_slice(field.name);
                out.push(0);
                value(field, group.below, out, depth)?;
            }
        }
    }
    out.extend_from_slice(fields.between(copied, fields.position()));
    for group in groups.into_iter().filter(|group| !group.found && group.sets()) {
        create(
            group,
            |out, kind, name| {
                out.push(kind);
                out.extend_from_slice(name);
                out.push(0);
            },
            out,
            depth,
        )?;
    }
    raw::close(out, start)
}

/// Writes what `element` becomes by changes below it; its kind stays.
fn value<'a>(element: Element<'_>, changes: &mut [Change<'a>], out: &mut Vec<u8>, depth: u32) -> Result<()> {
    match element.kind {
        kind::DOCUMENT => document(element.value, changes, out, depth),
        kind::ARRAY => array(element.value, changes, out, depth),
        _ => {
            out.extend_from_slice(element.value);
            Ok(())
        }
    }
}

/// Writes a field that was missing.
fn create<'a>(
    group: Group<'a, '_>,
    head: impl FnOnce(&mut Vec<u8>, u8, &'a [u8]),
    out: &mut Vec<u8>,
    depth: u32,
) -> Result<()> {
    /// The empty document.
    const NOTHING: &[u8] = &[5, 0, 0, 0, 0];
    match group.whole {
        Some(Some(new)) => {
            head(out, new.kind, group.name);
            out.extend_from_slice(new.value);
            Ok(())
        }
        Some(None) => Ok(()),
        None => {
            head(out, kind::DOCUMENT, group.name);
            document(NOTHING, group.below, out, depth)
        }
    }
}

fn array<'a>(image: &[u8], changes: &mut [Change<'a>], out: &mut Vec<u8>, depth: u32) -> Result<()> {
    let depth = raw::descend(depth)?;
    // A name that is no index cannot be set in an array.
    let mut groups: Vec<(usize, Group<'a, '_>)> =
        groups(changes)?.into_iter().filter_map(|group| Some((array_index(group.name)?, group))).collect();
    groups.sort_by_key(|(index, _)| *index);
    if groups.windows(2).any(|pair| matches!(pair, [(one, _), (other, _)] if one == other)) {
        return Err(wrong("it changes one element of an array under two names"));
    }
    let mut groups = groups.into_iter().peekable();
    let start = raw::open(out);
    let mut index = 0;
    for element in raw::elements(image)? {
        let element = element?;
        let Some((_, group)) = groups.next_if(|(at, _)| *at == index) else {
            put(out, element.kind, index, element.value);
            index += 1;
            continue;
        };
        match group.whole {
            Some(Some(new)) => put(out, new.kind, index, new.value),
            // An array keeps its length when an element of it is unset.
            Some(None) => raw::put_index(out, kind::NULL, index),
            None => {
                raw::put_index(out, element.kind, index);
                value(element, group.below, out, depth)?;
            }
        }
        index += 1;
    }
    for (at, group) in groups.filter(|(_, group)| group.sets()) {
        while index < at {
            if out.len() > LONGEST {
                return Err(wrong("an array would grow beyond what a record can hold"));
            }
            raw::put_index(out, kind::NULL, index);
            index += 1;
        }
        create(group, |out, kind, _| raw::put_index(out, kind, index), out, depth)?;
        index += 1;
    }
    raw::close(out, start)
}

fn put(out: &mut Vec<u8>, kind: u8, index: usize, value: &[u8]) {
    raw::put_index(out, kind, index);
    out.extend_from_slice(value);
}
