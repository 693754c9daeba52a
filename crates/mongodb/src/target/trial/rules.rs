//! What a collection refuses today and did not refuse by its definition as of an instant.
//!
//! | today's | is a rule when | and refuses |
//! |---|---|---|
//! | unique index, or one with `prepareUnique` | it is new, or other records stay | equal values |
//! | `_id` index with a collation | the collation is new, or other records stay | ids that are equal by it |
//! | `2dsphere`, `2d` | it is new | what is no shape |
//! | `text` | it is new | languages that the server does not know |
//! | `hashed` | it is new | arrays |
//! | index of several fields | it is new | arrays in more than one of them |
//! | validator whose action is not to warn | it is new, and stands | what does not meet it |

use backstay_source::{RefusalKind, Result, Rule};
use bson::{Document, RawDocument, doc};

use super::shapes::{fits_plane, number};
use crate::catalog::Listed;
use crate::interpret::raw::{self, Element, kind};
use crate::target::define::{ID_INDEX, fields, indexes, part, same};
use crate::target::keys::{Keys, Path, counts_members, keys, path};

/// Whether an index can hold a record.
type Holds = Box<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// How one rule is checked.
pub(super) enum Check {
    Unique(Unique),
    /// By the bytes of a record: whether it is accepted. Only records that meet the condition are in the index.
    Bytes(Holds, Option<Document>),
    /// By the server: what meets the condition is refused.
    Condition(Document),
    /// By the server: what stands at the ends of these paths is to be shapes on a sphere. Only records that meet the condition
    /// are in the index.
    Spheres(Vec<Path>, Option<Document>),
}

impl Check {
    /// The same of a partial index.
    fn within(self, partial: Document) -> Check {
        match self {
            Check::Bytes(holds, _) => Check::Bytes(holds, Some(partial)),
            Check::Spheres(paths, _) => Check::Spheres(paths, Some(partial)),
            Check::Condition(condition) => Check::Condition(doc! { "$and": [partial, condition] }),
            unique @ Check::Unique(_) => unique,
        }
    }
}

/// A unique index.
pub(super) struct Unique {
    /// The index's name, for the server to use it.
    pub name: String,
    pub paths: Vec<Path>,
    pub sparse: bool,
    /// Only records that meet this are in it.
    pub partial: Option<Document>,
    /// How it compares texts, where it says so itself.
    pub collation: Option<Document>,
    /// The server upholds it, and answers no question by it.
    pub hidden: bool,
}

impl Unique {
    /// True when texts that are not the same bytes may be equal to it.
    pub fn is_collated(&self, collection: bool) -> bool {
        match &self.collation {
            Some(collation) => collation.get_str("locale").is_ok_and(|locale| locale != "simple"),
            None => self.name == ID_INDEX && collection,
        }
    }
}

/// The languages of text indexes of the third version, after the manual's page “Text Search Languages”.
const LANGUAGES: &str = "^(none|da|dan|danish|nl|nld|dut|dutch|en|eng|english|fi|fin|finnish|fr|fra|fre|french|de|deu|ger|\
                         german|hu|hun|hungarian|it|ita|italian|nb|nor|norwegian|pt|por|portuguese|ro|ron|rum|romanian|ru|rus|\
                         russian|es|spa|spanish|sv|swe|swedish|tr|tur|turkish)$";

/// What an index of shapes is said to do.
const SHAPES: &str = "holds shapes and points only";

/// The rules of `live`, the definition of today, that `then` lacks. With `whole` no records stay but those that come back.
pub(super) fn between(listed: &Listed, then: &[u8], live: &[u8], whole: bool) -> Result<Vec<(Rule, Check)>> {
    let Listed { database, collection, .. } = listed;
    let shell = format!("db.getSiblingDB({database:?})");
    let mut rules = Vec::new();
    let was = indexes(then)?;
    for (name, index) in indexes(live)? {
        let found = fields(index)?;
        let is = |option: &[u8]| found.get(option).is_some_and(Element::is_true);
        let same_rule = |other: &&[u8]| is_same_rule(index, other).unwrap_or(false);
        let known = was.values().find(|other| same_rule(other));
        let removal = format!("{shell}.getCollection({collection:?}).dropIndex({name:?})");
        let walks = is(b"hidden");
        let rule = |kind, words: String, new| Rule { kind, words, removal: removal.clone(), new, walks };
        let paths = paths_of(index)?;
        // Of other kinds of index the keys are not the values.
        let is_plain = paths.iter().all(|(_, kind)| kind.is_none());
        if is_plain && (is(b"unique") || is(b"prepareUnique")) {
            let was_unique = match known {
                Some(known) => raw::find(known, b"unique")?.is_some_and(|unique| unique.is_true()),
                None => false,
            };
            if !(was_unique && whole) {
                let document = |option: &[u8]| found.get(option).and_then(document);
                let unique = Unique {
                    name: name.clone(),
                    paths: paths.iter().map(|(field, _)| path(field)).collect(),
                    sparse: is(b"sparse"),
                    partial: document(b"partialFilterExpression"),
                    collation: document(b"collation"),
                    hidden: is(b"hidden"),
                };
                let words = format!("the unique index {name}");
                rules.push((rule(RefusalKind::Unique, words, !was_unique), Check::Unique(unique)));
            }
        }
        if known.is_some() {
            continue;
        }
        if let Some((what, mut check)) = unindexable(index, &paths)? {
            if let Some(within) = found.get(&b"partialFilterExpression"[..]).and_then(document) {
                check = check.within(within);
            }
            rules.push((rule(RefusalKind::Index, format!("the index {name}, which {what}"), true), check));
        }
    }
    let (was, is) = (fields(part(then, b"options")?)?, fields(part(live, b"options")?)?);
    let equal = |option: &[u8]| match (was.get(option), is.get(option)) {
        (Some(was), Some(is)) => same(was, is),
        (was, is) => was.is_none() && is.is_none(),
    };
    if let Some(collation) = is.get(&b"collation"[..]).and_then(document)
        && !(equal(b"collation") && whole)
    {
        let unique = Unique {
            name: ID_INDEX.to_owned(),
            paths: vec![path("_id")],
            sparse: false,
            partial: None,
            collation: Some(collation),
            hidden: false,
        };
        let rule = Rule {
            kind: RefusalKind::Unique,
            words: "the collation by which ids are compared today".to_owned(),
            removal: format!("{shell}.getCollection({collection:?}).renameCollection(\"{collection}_of_today\")"),
            new: !equal(b"collation"),
            walks: false,
        };
        rules.push((rule, Check::Unique(unique)));
    }
    let text = |option: &[u8]| is.get(option).and_then(|value| value.text());
    let stands = text(b"validationLevel") != Some(b"off") && text(b"validationAction") != Some(b"warn");
    if let Some(validator) = is.get(&b"validator"[..]).and_then(document).filter(|_| stands && !equal(b"validator")) {
        let rule = Rule {
            kind: RefusalKind::Validator,
            words: "the validator of today".to_owned(),
            removal: format!("{shell}.runCommand({{collMod: {collection:?}, validationLevel: \"moderate\"}})"),
            new: true,
            walks: false,
        };
        rules.push((rule, Check::Condition(doc! { "$nor": [validator] })));
    }
    Ok(rules)
}

/// What an index cannot hold: in words, and how it is told.
fn unindexable(index: &[u8], paths: &[(String, Option<String>)]) -> Result<Option<(&'static str, Check)>> {
    let of = |kind: &str| -> Vec<String> {
        let found = paths.iter().filter(|(_, other)| other.as_deref() == Some(kind));
        found.map(|(field, _)| field.clone()).collect()
    };
    let (sphere, plane) = (of("2dsphere"), of("2d"));
    let told = |field: &String| Some(path(field)).filter(|path| !counts_members(path));
    if !sphere.is_empty() {
        return Ok(Some((SHAPES, Check::Spheres(sphere.iter().filter_map(told).collect(), None))));
    }
    if let Some(plane) = plane.first() {
        let bound = |option: &[u8], otherwise: f64| match raw::find(index, option) {
            Ok(Some(bound)) => number(&bound).unwrap_or(otherwise),
            _ => otherwise,
        };
        let bounds = (bound(b"min", -180.0), bound(b"max", 180.0));
        let Some(plane) = told(plane) else { return Ok(None) };
        let holds = move |record: &[u8]| fits_plane(&plane, bounds, record);
        return Ok(Some((SHAPES, Check::Bytes(Box::new(holds), None))));
    }
    if !of("text").is_empty() {
        let field = raw::find(index, b"language_override")?.and_then(|field| field.as_str()).unwrap_or("language");
        let unknown = doc! { "$exists": true, "$not": { "$regex": LANGUAGES, "$options": "i" } };
        let what = "holds texts in languages that the server knows";
        return Ok(Some((what, Check::Condition(doc! { field: unknown }))));
    }
    let hashed = of("hashed");
    let plain: Vec<Path> = paths.iter().filter(|(_, kind)| kind.is_none()).map(|(field, _)| path(field)).collect();
    if !hashed.is_empty() {
        let hashed: Vec<Path> = hashed.iter().map(|field| path(field)).collect();
        let holds = move |record: &[u8]| !hashed.iter().any(|path| meets_array(path, record));
        return Ok(Some(("cannot hold arrays", Check::Bytes(Box::new(holds), None))));
    }
    if plain.len() > 1 {
        let holds = move |record: &[u8]| keys(&plain, false, record) != Keys::Parallel;
        return Ok(Some(("cannot hold arrays in more than one of its fields", Check::Bytes(Box::new(holds), None))));
    }
    Ok(None)
}

/// True when there is an array on the way to a field, or at its end.
fn meets_array(path: &Path, mut record: &[u8]) -> bool {
    for name in path {
        match raw::find(record, name) {
            Ok(Some(element)) if element.kind == kind::ARRAY => return true,
            Ok(Some(element)) if element.kind == kind::DOCUMENT => record = element.value,
            _ => return false,
        }
    }
    false
}

/// True when two indexes refuse the same records, but for whether they are unique.
fn is_same_rule(a: &[u8], b: &[u8]) -> Result<bool> {
    const OPTIONS: [&[u8]; 5] = [b"sparse", b"partialFilterExpression", b"collation", b"min", b"max"];
    let equal_option = |option: &[u8]| -> Result<bool> {
        Ok(match (raw::find(a, option)?, raw::find(b, option)?) {
            (Some(a), Some(b)) => same(&a, &b),
            (a, b) => a.is_none() && b.is_none(),
        })
    };
    for option in OPTIONS {
        if !equal_option(option)? {
            return Ok(false);
        }
    }
    Ok(paths_of(a)? == paths_of(b)?)
}

/// The fields of an index, each with the kind of index where that is none of ascending and descending.
fn paths_of(index: &[u8]) -> Result<Vec<(String, Option<String>)>> {
    let Some(key) = raw::find(index, b"key")?.and_then(|key| key.as_document()) else { return Ok(Vec::new()) };
    let mut paths = Vec::new();
    for element in raw::elements(key)? {
        let element = element?;
        let kind = element.as_str().map(str::to_owned);
        paths.push((String::from_utf8_lossy(element.name).into_owned(), kind));
    }
    Ok(paths)
}

fn document(element: &Element<'_>) -> Option<Document> {
    let raw = RawDocument::from_bytes(element.as_document()?).ok()?;
    Document::try_from(raw).ok()
}
