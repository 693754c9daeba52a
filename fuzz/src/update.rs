//! Updates of the oplog applied to records, against a model that is slow and obvious: documents as trees.
//!
//! The model speaks of sound documents whose names are unique, as a server's are; of others it is only asked that nothing
//! breaks.

use std::collections::BTreeSet;

use backstay_mongodb::interpret::raw::{self, kind};
use backstay_mongodb::interpret::update;

use crate::forge::Forge;

/// Longer arrays are not modelled: they would be padded to some megabytes.
const LONGEST: usize = 1000;

/// A `$v: 2` diff: the record, then the diff itself.
pub(crate) fn diff(bytes: &[u8]) {
    let mut forge = Forge::new(bytes);
    let (image, diff) = (forge.document(), forge.document());
    if grows(&diff) {
        return;
    }
    let o = wrap(&[(b"diff", &diff)]);
    let mut out = Vec::new();
    let applied = update::apply_diff(&image, &o, &mut out);
    let _ = update::touches(update::Form::Diff, &o, b"a");
    let (Some(record), Some(diff)) = (fields(&image), fields(&diff)) else { return };
    match document_diff(&record, &diff) {
        Some(expected) => {
            applied.expect("the model says that it can be applied");
            assert_eq!(out, written(&id_first(expected, &record)), "the model says otherwise");
        }
        None => assert!(applied.is_err(), "the model says that it cannot be applied"),
    }
}

/// `$set` and `$unset` of `$v: 1`: the record, then one after the other.
pub(crate) fn paths(bytes: &[u8]) {
    let mut forge = Forge::new(bytes);
    let (image, set, unset) = (forge.document(), forge.document(), forge.document());
    if grows(&set) {
        return;
    }
    let o = wrap(&[(b"$set", &set), (b"$unset", &unset)]);
    let mut out = Vec::new();
    let applied = update::apply_paths(&image, &o, &mut out);
    let _ = update::touches(update::Form::Paths, &o, b"a");
    let (Some(record), Some(set), Some(unset)) = (fields(&image), fields(&set), fields(&unset)) else { return };
    let mut changes: Vec<(Vec<&[u8]>, Option<Tree>)> = Vec::new();
    changes.extend(set.iter().map(|(name, value)| (parts(name), Some(value.clone()))));
    changes.extend(unset.iter().map(|(name, _)| (parts(name), None)));
    changes.sort_by(|a, b| a.0.cmp(&b.0));
    // With one digit the order of names is that of numbers, and no index has two spellings.
    let plain = |part: &&[u8]| part.len() < 2 || index(part).is_none();
    let is_plain = changes.iter().all(|(path, _)| path.len() < 50 && path.iter().all(plain));
    // That a field and what lies below it change is found only where something looks at it.
    let clashes = changes.windows(2).any(|pair| matches!(pair, [a, b] if b.0.starts_with(&a.0)));
    if !is_plain || clashes {
        return;
    }
    applied.expect("sound updates are applied");
    let mut record = Tree::Document(record);
    for (path, value) in &changes {
        change(&mut record, path, value.as_ref());
    }
    assert_eq!(out, value_of(&record).1, "the model says otherwise");
}

/// A value; of a document the fields, of an array the elements.
#[derive(Clone, PartialEq, Debug)]
enum Tree {
    Document(Vec<(Vec<u8>, Tree)>),
    Array(Vec<Tree>),
    Other(u8, Vec<u8>),
}

type Named = Vec<(Vec<u8>, Tree)>;

const NULL: Tree = Tree::Other(kind::NULL, Vec::new());

/// The fields of a document that is sound and not very deep, with unique names, and no array whose names are other than
/// its indexes.
fn fields(document: &[u8]) -> Option<Named> {
    fields_below(document, 100)
}

fn fields_below(document: &[u8], depth: u32) -> Option<Named> {
    let depth = depth.checked_sub(1)?;
    let mut seen = BTreeSet::new();
    let mut named = Vec::new();
    for element in raw::elements(document).ok()? {
        let element = element.ok()?;
        if !seen.insert(element.name) {
            return None;
        }
        let tree = match element.kind {
            kind::DOCUMENT => Tree::Document(fields_below(element.value, depth)?),
            kind::ARRAY => {
                let elements = fields_below(element.value, depth)?;
                let in_order =
                    elements.iter().enumerate().all(|(index, (name, _))| *name == index.to_string().as_bytes());
                if !in_order {
                    return None;
                }
                Tree::Array(elements.into_iter().map(|(_, tree)| tree).collect())
            }
            other => Tree::Other(other, element.value.to_vec()),
        };
        named.push((element.name.to_vec(), tree));
    }
    Some(named)
}

fn value_of(tree: &Tree) -> (u8, Vec<u8>) {
    match tree {
        Tree::Document(named) => (kind::DOCUMENT, written(named)),
        Tree::Array(elements) => {
            let named = elements.iter().enumerate();
            let named: Named = named.map(|(index, tree)| (index.to_string().into_bytes(), tree.clone())).collect();
            (kind::ARRAY, written(&named))
        }
        Tree::Other(kind, value) => (*kind, value.clone()),
    }
}

fn written(named: &Named) -> Vec<u8> {
    let mut out = Vec::new();
    let start = raw::open(&mut out);
    for (name, tree) in named {
        let (kind, value) = value_of(tree);
        raw::put(&mut out, kind, name, &value);
    }
    raw::close(&mut out, start).expect("it is small");
    out
}

fn wrap(sections: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    let start = raw::open(&mut out);
    for (name, document) in sections {
        raw::put(&mut out, kind::DOCUMENT, name, document);
    }
    raw::close(&mut out, start).expect("it is small");
    out
}

/// True when some number or name in it would make an array long.
fn grows(document: &[u8]) -> bool {
    let Ok(elements) = raw::elements(document) else { return false };
    elements.filter_map(Result::ok).any(|element| {
        let last = element.name.rsplit(|byte| *byte == b'.');
        let digits = |part: &[u8]| part.iter().filter(|byte| byte.is_ascii_digit()).count();
        element.as_integer().is_some_and(|number| number > LONGEST as i64)
            || last.map(digits).max().is_some_and(|digits| digits > 3)
            || (matches!(element.kind, kind::DOCUMENT | kind::ARRAY) && grows(element.value))
    })
}

/// The record after the diff; `None` when it cannot be applied.
fn document_diff(record: &Named, diff: &Named) -> Option<Named> {
    enum Step {
        Delete,
        Update(Tree),
        Insert(Tree),
        Splice(Tree),
        Descend(Named),
    }
    let mut steps: Vec<(Vec<u8>, Step)> = Vec::new();
    for (section, inner) in diff {
        let Tree::Document(inner) = inner else { return None };
        let named = |step: fn(Tree) -> Step| inner.iter().map(move |(name, tree)| (name.clone(), step(tree.clone())));
        match section.as_slice() {
            b"d" => steps.extend(named(|_| Step::Delete)),
            b"u" => steps.extend(named(Step::Update)),
            b"i" => steps.extend(named(Step::Insert)),
            b"b" => {
                if inner.iter().any(|(_, edit)| !matches!(edit, Tree::Document(_))) {
                    return None;
                }
                steps.extend(named(Step::Splice));
            }
            [b's', name @ ..] => steps.push((name.to_vec(), Step::Descend(inner.clone()))),
            _ => return None,
        }
    }
    let mut names = BTreeSet::new();
    if !steps.iter().all(|(name, _)| names.insert(name)) {
        return None;
    }
    let mut after = Vec::new();
    for (name, value) in record {
        let new = match steps.iter().find(|(step, _)| step == name).map(|(_, step)| step) {
            None => Some(value.clone()),
            Some(Step::Delete | Step::Insert(_)) => None,
            Some(Step::Update(new)) => Some(new.clone()),
            Some(Step::Splice(edit)) => Some(spliced(value, edit)?),
            Some(Step::Descend(inner)) => Some(descended(value, inner)?),
        };
        after.extend(new.map(|new| (name.clone(), new)));
    }
    for (name, step) in steps {
        match step {
            Step::Update(new) if record.iter().all(|(known, _)| *known != name) => after.push((name, new)),
            Step::Insert(new) => after.push((name, new)),
            _ => {}
        }
    }
    Some(after)
}

fn descended(value: &Tree, diff: &Named) -> Option<Tree> {
    let of_array = diff.first().is_some_and(|(name, _)| name == b"a");
    match (value, of_array) {
        (Tree::Document(named), false) => document_diff(named, diff).map(Tree::Document),
        (Tree::Array(elements), true) => array_diff(elements, diff).map(Tree::Array),
        _ => Some(NULL),
    }
}

fn array_diff(elements: &[Tree], diff: &Named) -> Option<Vec<Tree>> {
    let mut edits = diff.get(1..)?;
    let mut after = elements.to_vec();
    if let Some((name, length)) = edits.first()
        && name == b"l"
    {
        let length = usize::try_from(integer(length)?).ok()?;
        after.resize(length, NULL);
        edits = edits.get(1..)?;
    }
    let old = elements.len().min(after.len());
    let mut last = None;
    for (name, edit) in edits {
        let (section, digits) = name.split_first()?;
        let at = index(digits)?;
        if last.is_some_and(|last| at <= last) {
            return None;
        }
        last = Some(at);
        if at >= after.len() {
            after.resize(at + 1, NULL);
        }
        after[at] = match (section, edit) {
            (b'u', edit) => edit.clone(),
            (b's', Tree::Document(_)) if at >= old => NULL,
            (b's', Tree::Document(inner)) => descended(&after[at], inner)?,
            _ => return None,
        };
    }
    Some(after)
}

fn spliced(value: &Tree, edit: &Tree) -> Option<Tree> {
    let Tree::Document(edit) = edit else { return None };
    let part = |wanted: &[u8]| edit.iter().find(|(name, _)| name == wanted).map(|(_, tree)| tree);
    let offset = usize::try_from(integer(part(b"o")?)?).ok()?;
    let Tree::Other(kind::BINARY, bytes) = part(b"d")? else { return None };
    let Tree::Other(kind::BINARY, old) = value else { return Some(NULL) };
    let mut data = old.get(5..)?.get(..offset)?.to_vec();
    data.extend_from_slice(bytes.get(5..)?);
    let length = u32::try_from(data.len()).ok()?;
    Some(Tree::Other(kind::BINARY, [&length.to_le_bytes()[..], &old[4..5], &data].concat()))
}

fn integer(tree: &Tree) -> Option<i64> {
    let Tree::Other(kind, value) = tree else { return None };
    raw::Element { kind: *kind, name: &[], value }.as_integer()
}

/// The `_id` of a record stays, and stays first.
fn id_first(mut after: Named, before: &Named) -> Named {
    let is_id = |(name, _): &(Vec<u8>, Tree)| name == b"_id";
    let id = match after.iter().position(is_id) {
        Some(place) => Some(after.remove(place)),
        None => before.iter().find(|field| is_id(field)).cloned(),
    };
    id.into_iter().chain(after).collect()
}

fn parts(path: &[u8]) -> Vec<&[u8]> {
    path.split(|byte| *byte == b'.').collect()
}

fn index(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || digits.len() > 9 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn change(tree: &mut Tree, path: &[&[u8]], new: Option<&Tree>) {
    let Some((first, below)) = path.split_first() else { return };
    match tree {
        Tree::Document(named) => {
            let place = named.iter().position(|(name, _)| name == first);
            match (place, new) {
                (Some(place), None) if below.is_empty() => {
                    named.remove(place);
                }
                (Some(place), Some(new)) if below.is_empty() => named[place].1 = new.clone(),
                (Some(place), _) => change(&mut named[place].1, below, new),
                (None, Some(new)) => named.push((first.to_vec(), made(below, new))),
                (None, None) => {}
            }
        }
        Tree::Array(elements) => {
            let Some(at) = index(first) else { return };
            match new {
                Some(new) => {
                    while elements.len() < at {
                        elements.push(NULL);
                    }
                    match elements.get_mut(at) {
                        Some(element) if below.is_empty() => *element = new.clone(),
                        Some(element) => change(element, below, Some(new)),
                        None => elements.push(made(below, new)),
                    }
                }
                None => match elements.get_mut(at) {
                    Some(element) if below.is_empty() => *element = NULL,
                    Some(element) => change(element, below, None),
                    None => {}
                },
            }
        }
        Tree::Other(..) => {}
    }
}

fn made(path: &[&[u8]], value: &Tree) -> Tree {
    match path.split_first() {
        Some((first, below)) => Tree::Document(vec![(first.to_vec(), made(below, value))]),
        None => value.clone(),
    }
}
