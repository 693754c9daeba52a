//! The `$v: 2` diff.
//!
//! ```text
//!   DocDiff  := { d?: {f: false, …}, u?: {f: value, …}, i?: {f: value, …}, b?: {f: Bin, …}, (s<f>: SubDiff)* }
//!   Bin      := { o: offset, d: binData }
//!   SubDiff  := DocDiff | ArrDiff                 an ArrDiff if and only if its first field is "a"
//!   ArrDiff  := { a: true, l?: new length, (u<index>: value | s<index>: SubDiff)* }      ascending
//! ```
//!
//! A level's sections become a list of steps, one per field (a second one for a field is refused, as the server does), on one stack that all levels share. The record's fields are
//! then walked in their order; a field with a step is edited where it stands, a stretch of fields without one is copied
//! at once. What an update or an insert did not find is appended in the diff's order.
//! The grammar is the server's (`src/mongo/db/update/document_diff_serialization.h`).

use std::collections::HashMap;

use backstay_model::InterpretError;

use super::LONGEST;
use crate::interpret::raw::{self, Element, MAX_DEPTH, Result, kind, malformed};

/// Up to this many steps a level is searched one by one.
const FEW: usize = 16;

#[derive(Clone, Copy)]
enum Action<'a> {
    Delete,
    /// Replaced where it stands, else appended.
    Update(Element<'a>),
    /// Taken away where it stands, and appended.
    Insert(Element<'a>),
    /// Binary data, edited from an offset on.
    Splice(&'a [u8]),
    Descend(&'a [u8]),
}

struct Step<'a> {
    name: &'a [u8],
    action: Action<'a>,
    found: bool,
}

pub(super) fn apply(image: &[u8], diff: &[u8], out: &mut Vec<u8>) -> Result<()> {
    out.clear();
    out.reserve(image.len() + diff.len());
    let mut steps = Vec::with_capacity(8);
    document(&mut steps, image, diff, out, MAX_DEPTH)?;
    match raw::elements(out)?.next().transpose()? {
        Some(first) if first.name == b"_id" => Ok(()),
        _ => put_id_first(image, out),
    }
}

/// The server stores `_id` first, and keeps it, whatever a pipeline makes of it; its diff shows the pipeline's order.
#[cold]
fn put_id_first(image: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let Some(id) = raw::find(out, b"_id")?.or(raw::find(image, b"_id")?) else { return Ok(()) };
    let mut ordered = Vec::with_capacity(out.len() + id.value.len() + 5);
    let start = raw::open(&mut ordered);
    raw::put(&mut ordered, id.kind, id.name, id.value);
    for field in raw::elements(out)? {
        let field = field?;
        if field.name != b"_id" {
            raw::put(&mut ordered, field.kind, field.name, field.value);
        }
    }
    raw::close(&mut ordered, start)?;
    *out = ordered;
    Ok(())
}

/// True when a step of the outermost level is for the field `root`.
pub(super) fn touches(diff: &[u8], root: &[u8]) -> Result<bool> {
    let mut steps = Vec::with_capacity(8);
    plan(&mut steps, diff)?;
    Ok(steps.iter().any(|step| step.name == root))
}

fn wrong(why: &'static str) -> InterpretError {
    malformed("update diff", why)
}

/// Adds the steps of one level.
fn plan<'a>(steps: &mut Vec<Step<'a>>, diff: &'a [u8]) -> Result<()> {
    for section in raw::elements(diff)? {
        let section = section?;
        let Some(inner) = section.as_document() else { return Err(wrong("a section is not a document")) };
        let act: fn(Element<'a>) -> Result<Action<'a>> = match section.name {
            b"d" => |_| Ok(Action::Delete),
            b"u" => |element| Ok(Action::Update(element)),
            b"i" => |element| Ok(Action::Insert(element)),
            b"b" => {
                |element| Ok(Action::Splice(element.as_document().ok_or_else(|| wrong("a splice is not a document"))?))
            }
            [b's', name @ ..] => {
                steps.push(Step { name, action: Action::Descend(inner), found: false });
                continue;
            }
            other => {
                let name = String::from_utf8_lossy(other).into_owned();
                return Err(InterpretError::Unknown { what: "section of an update diff", name });
            }
        };
        for element in raw::elements(inner)? {
            let element = element?;
            steps.push(Step { name: element.name, action: act(element)?, found: false });
        }
    }
    Ok(())
}

fn document<'a>(
    steps: &mut Vec<Step<'a>>,
    image: &'a [u8],
    diff: &'a [u8],
    out: &mut Vec<u8>,
    depth: u32,
) -> Result<()> {
    let depth = raw::descend(depth)?;
    let first = steps.len();
    plan(steps, diff)?;
    let level = steps.get(first..).unwrap_or_default();
    let by_name: Option<HashMap<&[u8], usize>> =
        (level.len() > FEW).then(|| level.iter().enumerate().map(|(place, step)| (step.name, first + place)).collect());
    let is_sound = match &by_name {
        Some(by_name) => by_name.len() == level.len(),
        None => level
            .iter()
            .enumerate()
            .all(|(place, step)| level.iter().skip(place + 1).all(|later| later.name != step.name)),
    };
    if !is_sound {
        return Err(wrong("it says twice what becomes of a field"));
    }

    let start = raw::open(out);
    let mut fields = raw::elements(image)?;
    let mut copied = 0;
    loop {
        let before = fields.position();
        let Some(field) = fields.next() else { break };
        let field = field?;
        let place = match &by_name {
            Some(by_name) => by_name.get(field.name).copied(),
            None => steps.iter().skip(first).position(|step| step.name == field.name).map(|place| first + place),
        };
        let Some(step) = place.and_then(|place| steps.get_mut(place)) else { continue };
        step.found = true;
        let action = step.action;
        out.extend_from_slice(fields.between(copied, before));
        copied = fields.position();
        match action {
            Action::Delete | Action::Insert(_) => {}
            Action::Update(new) => raw::put(out, new.kind, new.name, new.value),
            Action::Splice(edit) => splice(field, edit, out)?,
            Action::Descend(inner) => match descent(field.kind, inner)? {
                Descent::Document => {
                    out.push(kind::DOCUMENT);
                    out.extend_from_slice(field.name);
                    out.push(0);
                    document(steps, field.value, inner, out, depth)?;
                }
                Descent::Array => {
                    out.push(kind::ARRAY);
                    out.extend_from_slice(field.name);
                    out.push(0);
                    array(steps, field.value, inner, out, depth)?;
                }
                Descent::Mismatch => raw::put_null(out, field.name),
            },
        }
    }
    out.extend_from_slice(fields.between(copied, fields.position()));
    for step in steps.iter().skip(first) {
        match step.action {
            Action::Update(new) if !step.found => raw::put(out, new.kind, new.name, new.value),
            Action::Insert(new) => raw::put(out, new.kind, new.name, new.value),
            _ => {}
        }
    }
    steps.truncate(first);
    raw::close(out, start)
}

enum Descent {
    Document,
    Array,
    /// The value is not of the diff's type: a later entry will have rewritten it.
    Mismatch,
}

fn descent(found: u8, diff: &[u8]) -> Result<Descent> {
    let is_array = match raw::elements(diff)?.next() {
        Some(first) => first?.name == b"a",
        None => false,
    };
    Ok(match (found, is_array) {
        (kind::DOCUMENT, false) => Descent::Document,
        (kind::ARRAY, true) => Descent::Array,
        _ => Descent::Mismatch,
    })
}

fn array<'a>(steps: &mut Vec<Step<'a>>, image: &'a [u8], diff: &'a [u8], out: &mut Vec<u8>, depth: u32) -> Result<()> {
    let depth = raw::descend(depth)?;
    let mut edits = raw::elements(diff)?.peekable();
    edits.next_if(|edit| edit.as_ref().is_ok_and(|edit| edit.name == b"a"));
    let resize = match edits.next_if(|edit| edit.as_ref().is_ok_and(|edit| edit.name == b"l")) {
        Some(length) => {
            let length = length?.as_integer().and_then(|length| usize::try_from(length).ok());
            Some(length.ok_or_else(|| wrong("an array's length is not a number"))?)
        }
        None => None,
    };
    let mut edits = edits.map(|edit| edit.and_then(Edit::read));
    let mut next = edits.next().transpose()?;

    let start = raw::open(out);
    let mut index = 0;
    let within = |index: usize| resize.is_none_or(|length| index < length);
    for element in raw::elements(image)? {
        if !within(index) {
            break;
        }
        let element = element?;
        match next {
            Some(edit) if edit.index == index => {
                match edit.diff() {
                    None => put(out, index, edit.element.kind, edit.element.value),
                    Some(inner) => match descent(element.kind, inner)? {
                        Descent::Document => {
                            raw::put_index(out, kind::DOCUMENT, index);
                            document(steps, element.value, inner, out, depth)?;
                        }
                        Descent::Array => {
                            raw::put_index(out, kind::ARRAY, index);
                            array(steps, element.value, inner, out, depth)?;
                        }
                        Descent::Mismatch => raw::put_index(out, kind::NULL, index),
                    },
                }
                next = following(&mut edits, index)?;
            }
            // The server names an array's elements anew.
            _ => put(out, index, element.kind, element.value),
        }
        index += 1;
    }
    while next.is_some() || resize.is_some_and(|length| index < length) {
        if out.len() > LONGEST {
            return Err(wrong("an array would grow beyond what a record can hold"));
        }
        match next {
            Some(edit) if edit.index == index => {
                match edit.diff() {
                    None => put(out, index, edit.element.kind, edit.element.value),
                    Some(_) => raw::put_index(out, kind::NULL, index),
                }
                next = following(&mut edits, index)?;
            }
            _ => raw::put_index(out, kind::NULL, index),
        }
        index += 1;
    }
    raw::close(out, start)
}

/// The edit after the one at `index`; edits ascend.
fn following<'a>(edits: &mut impl Iterator<Item = Result<Edit<'a>>>, index: usize) -> Result<Option<Edit<'a>>> {
    let next = edits.next().transpose()?;
    match next {
        Some(edit) if edit.index <= index => Err(wrong("the edits of an array do not ascend")),
        next => Ok(next),
    }
}

fn put(out: &mut Vec<u8>, index: usize, kind: u8, value: &[u8]) {
    raw::put_index(out, kind, index);
    out.extend_from_slice(value);
}

/// An edit of one element of an array.
#[derive(Clone, Copy)]
struct Edit<'a> {
    index: usize,
    descend: bool,
    element: Element<'a>,
}

impl<'a> Edit<'a> {
    fn read(element: Element<'a>) -> Result<Edit<'a>> {
        let name = || wrong("an edit of an array has no index");
        let (section, digits) = element.name.split_first().ok_or_else(name)?;
        let descend = match section {
            b's' if element.kind == kind::DOCUMENT => true,
            b'u' => false,
            _ => return Err(wrong("an edit of an array is neither an update nor a diff")),
        };
        Ok(Edit { index: super::paths::array_index(digits).ok_or_else(name)?, descend, element })
    }

    fn diff(&self) -> Option<&'a [u8]> {
        self.descend.then_some(self.element.value)
    }
}

/// Replaces the bytes of binary data from an offset on.
fn splice(field: Element<'_>, edit: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let offset = raw::find(edit, b"o")?.and_then(|offset| usize::try_from(offset.as_integer()?).ok());
    let bytes = raw::find(edit, b"d")?.and_then(|bytes| bytes.as_binary());
    let (Some(offset), Some((_, bytes))) = (offset, bytes) else {
        return Err(wrong("a splice lacks its offset or its bytes"));
    };
    let Some((subtype, old)) = field.as_binary() else {
        raw::put_null(out, field.name);
        return Ok(());
    };
    let kept = old.get(..offset).ok_or_else(|| wrong("a splice begins after the end of the binary data"))?;
    let length = i32::try_from(kept.len() + bytes.len()).map_err(|_| wrong("binary data would exceed 2 GiB"))?;
    raw::put(out, kind::BINARY, field.name, &length.to_le_bytes());
    out.push(subtype);
    out.extend_from_slice(kept);
    out.extend_from_slice(bytes);
    Ok(())
}
