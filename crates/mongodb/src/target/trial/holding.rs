//! Which live records have the unique values that are claimed.
//!
//! ```text
//!   by its index     500 values a question:  { $or: [ { a: { $eq: 1 }, b: { $eq: 2 } }, … ] }   with a hint
//!   by a walk        a hidden index answers nothing: { a: { $in: […] }, b: { $in: […] } } over all records, and so with as
//!                    many values as fit
//! ```
//!
//! The server finds more than was asked for (a member of an array with the array itself; by a walk, values of different
//! claims). Whose is what the keys of the records tell, and with a collation the server, asked about the keys alone.

use std::collections::{BTreeSet, HashMap, HashSet};

use async_trait::async_trait;
use backstay_source::{Claim, Holders, Holding, RecordBatch, Result};
use bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::options::{ReadPreference, SelectionCriteria};
use mongodb::raw_batch_cursor::RawBatchCursor;

use futures::TryStreamExt as _;

use super::ask::to_bytes;
use super::rules::Unique;
use super::{CollectionTrial, id};
use crate::command::Command;
use crate::failure::{code, translate, unexpected_reply};
use crate::interpret::decode_id;
use crate::interpret::id::class;
use crate::interpret::raw::{self, kind};
use crate::target::keys::{Keys, components, keys};

/// How many values are looked for in one question, and how many bytes they have together; what is larger by itself is left
/// to the writing.
const BY_INDEX: (usize, usize) = (500, 1 << 20);
/// The same where every question is a walk over all records.
const BY_WALK: (usize, usize) = (200_000, 8 << 20);
/// How many bytes of keys are compared with claims at a time, beside the claims themselves.
const MOST_KEYS: usize = 1 << 20;
/// What the server says of an index that it cannot use for a question.
const BAD_HINT: [i32; 2] = [2, 291];

/// The kind and the bytes of a value.
type Value = (u8, Vec<u8>);

/// Some claims to values of one index.
struct Question {
    rule: usize,
    /// The places of the claims.
    claims: Vec<usize>,
}

/// A record that was found, with its keys in an index.
struct Keyed<'a> {
    id: &'a [u8],
    image: &'a [u8],
    values: Vec<Vec<u8>>,
}

/// Who is asked, about what.
#[derive(Clone, Copy)]
struct About<'a> {
    trial: &'a CollectionTrial,
    claims: &'a [Claim],
}

/// Questions being asked, one after the other, and answered a batch at a time.
pub(super) struct Asking<'a> {
    about: About<'a>,
    questions: std::vec::IntoIter<Question>,
    current: Option<(Question, RawBatchCursor)>,
}

impl<'a> Asking<'a> {
    pub(super) fn new(trial: &'a CollectionTrial, claims: &'a [Claim]) -> Asking<'a> {
        let mut questions = Vec::new();
        for (rule, unique) in trial.uniques() {
            let asked: Vec<usize> = (0..claims.len())
                .filter(|place| claims.get(*place).is_some_and(|claim| claim.rule == rule && !claim.held))
                .collect();
            let most = if unique.hidden { BY_WALK } else { BY_INDEX };
            questions.extend(portions(&asked, claims, most).into_iter().map(|claims| Question { rule, claims }));
        }
        Asking { about: About { trial, claims }, questions: questions.into_iter(), current: None }
    }
}

impl About<'_> {
    async fn ask(&self, question: &Question) -> Result<Option<RawBatchCursor>> {
        let Some(unique) = self.trial.unique(question.rule) else { return Ok(None) };
        let values = question.claims.iter().filter_map(|place| self.claims.get(*place));
        let values: Vec<&[u8]> = values.map(|claim| claim.value.as_slice()).collect();
        if !unique.hidden {
            let Some(command) = self.trial.by_index(unique, &values)? else { return Ok(None) };
            match self.open(command).await {
                Err(error) if code(&error).is_some_and(|code| BAD_HINT.contains(&code)) => {}
                cursor => return Ok(Some(cursor.map_err(|error| translate(&self.trial.what(), &error))?)),
            }
        }
        let Some(command) = self.trial.by_walk(unique, &values)? else { return Ok(None) };
        Ok(Some(self.open(command).await.map_err(|error| translate(&self.trial.what(), &error))?))
    }

    async fn open(&self, command: RawDocumentBuf) -> mongodb::error::Result<RawBatchCursor> {
        let database = self.trial.connection.client.database(&self.trial.database);
        let primary = SelectionCriteria::ReadPreference(ReadPreference::Primary);
        database.run_raw_cursor_command(command).selection_criteria(primary).batch().await
    }

    /// Sorts out which of `found` has what is claimed.
    async fn sort_out(&self, question: &Question, found: &RecordBatch) -> Result<Holders> {
        let mut holders = Holders::default();
        let Some(unique) = self.trial.unique(question.rule) else { return Ok(holders) };
        let keyed: Vec<Keyed<'_>> = found
            .iter()
            .filter_map(|(id, image)| match keys(&unique.paths, unique.sparse, image) {
                Keys::Told(values) => Some(Keyed { id, image, values }),
                Keys::Untold | Keys::Parallel => None,
            })
            .collect();
        // By other rules than byte by byte the server says what is equal: of all claims once, then of the few by each key.
        let alike = match unique.is_collated(self.trial.collated) {
            true => {
                let values: Vec<&[u8]> = keyed.iter().flat_map(|found| &found.values).map(Vec::as_slice).collect();
                Some(self.trial.alike(unique, &values, self.claims, &question.claims).await?)
            }
            false => None,
        };
        let mut by_value: HashMap<&[u8], Vec<usize>> = HashMap::new();
        for place in &question.claims {
            if let Some(claim) = self.claims.get(*place) {
                by_value.entry(&claim.value).or_default().push(*place);
            }
        }
        for Keyed { id, image, values } in keyed {
            let mut places: Vec<usize> = Vec::new();
            for value in &values {
                match &alike {
                    None => places.extend(by_value.get(value.as_slice()).into_iter().flatten()),
                    Some(alike) if alike.is_empty() => {}
                    Some(alike) => places.extend(self.trial.equal(unique, value, self.claims, alike).await?),
                }
            }
            places.retain(|place| self.claims.get(*place).is_some_and(|claim| claim.id != id));
            if !places.is_empty() {
                let number = holders.records.len();
                holders.held.extend(places.into_iter().map(|place| (place, number)));
                holders.records.push(id, image);
            }
        }
        Ok(holders)
    }
}

#[async_trait]
impl Holding for Asking<'_> {
    async fn next(&mut self) -> Result<Option<Holders>> {
        let about = self.about;
        let what = about.trial.what();
        loop {
            let Some((_, cursor)) = &mut self.current else {
                let Some(question) = self.questions.next() else { return Ok(None) };
                self.current = about.ask(&question).await?.map(|cursor| (question, cursor));
                continue;
            };
            let Some(reply) = cursor.try_next().await.map_err(|error| translate(&what, &error))? else {
                self.current = None;
                continue;
            };
            let mut found = RecordBatch::default();
            for document in reply.doc_slices().map_err(|_| unexpected_reply(&what, "cursor"))? {
                let document = document.ok().and_then(|value| value.as_document());
                let document = document.ok_or_else(|| unexpected_reply(&what, "batch"))?;
                found.push(&id(document)?, document.as_bytes());
            }
            drop(reply);
            let Some((question, _)) = &self.current else { continue };
            let holders = about.sort_out(question, &found).await?;
            if !holders.held.is_empty() {
                return Ok(Some(holders));
            }
        }
    }
}

impl CollectionTrial {
    /// The live records that have one of these values, and some more. `None` when none of them can be asked for.
    fn by_index(&self, unique: &Unique, values: &[&[u8]]) -> Result<Option<RawDocumentBuf>> {
        let mut head = self.find(unique);
        head.insert("hint", &unique.name);
        let mut clauses = 0;
        let command = Command::new(&head)?.document("filter", |out| {
            let and = put_partial(out, unique)?;
            let both = raw::open(out);
            let or = raw::put_document(out, kind::ARRAY, b"$or");
            for value in values {
                let Some(fields) = fields(unique, value) else { continue };
                raw::put_index(out, kind::DOCUMENT, clauses);
                let clause = raw::open(out);
                for (field, (part, value)) in fields {
                    let equal = raw::put_document(out, kind::DOCUMENT, &field);
                    raw::put(out, part, b"$eq", &value);
                    raw::close(out, equal)?;
                }
                raw::close(out, clause)?;
                clauses += 1;
            }
            for open in [or, both, and] {
                raw::close(out, open)?;
            }
            Ok(())
        })?;
        Ok(if clauses == 0 { None } else { Some(command.finish()?) })
    }

    /// The same without an index. A record that has a field of one value and a field of another is found as well.
    fn by_walk(&self, unique: &Unique, values: &[&[u8]]) -> Result<Option<RawDocumentBuf>> {
        let is_listed = |value: &&[u8]| fields(unique, value).is_some_and(|fields| can_be_listed(&fields));
        let values: Vec<&[u8]> = values.iter().copied().filter(is_listed).collect();
        if values.is_empty() {
            return Ok(None);
        }
        let lists = lists(unique, &values);
        let command = Command::new(&self.find(unique))?.document("filter", |out| {
            let and = put_partial(out, unique)?;
            let all = raw::open(out);
            for (path, list) in unique.paths.iter().zip(&lists) {
                let any = raw::put_document(out, kind::DOCUMENT, &path.join(&b'.'));
                let values = raw::put_document(out, kind::ARRAY, b"$in");
                for (place, (part, value)) in list.iter().enumerate() {
                    raw::put_index(out, *part, place);
                    out.extend_from_slice(value);
                }
                raw::close(out, values)?;
                raw::close(out, any)?;
            }
            raw::close(out, all)?;
            Ok(raw::close(out, and)?)
        })?;
        Ok(Some(command.finish()?))
    }

    fn find(&self, unique: &Unique) -> Document {
        let mut head = doc! { "find": &self.collection };
        if let Some(collation) = self.collation(unique) {
            head.insert("collation", collation);
        }
        head
    }

    /// The places of those claims, of `places`, whose value may be equal to one of `keys` by the index's collation.
    async fn alike(&self, unique: &Unique, keys: &[&[u8]], claims: &[Claim], places: &[usize]) -> Result<Vec<usize>> {
        // One that cannot be asked for in a list may be equal to any of them.
        if !keys.iter().all(|key| fields(unique, key).is_none_or(|fields| can_be_listed(&fields))) {
            return Ok(places.to_vec());
        }
        let mut alike = BTreeSet::new();
        let mut rest = keys;
        while !rest.is_empty() {
            let mut bytes = 0;
            let count = rest.iter().take_while(|key| {
                bytes += key.len();
                bytes <= MOST_KEYS
            });
            let (some, later) = rest.split_at_checked(count.count().max(1)).unwrap_or((rest, &[]));
            rest = later;
            let mut condition = Document::new();
            for (number, list) in lists(unique, some).iter().enumerate() {
                let values: Vec<Bson> =
                    list.iter().map(|(part, value)| value_of(*part, value)).collect::<Result<_>>()?;
                condition.insert(format!("f{number}"), doc! { "$in": values });
            }
            alike.extend(self.claims_meeting(unique, &condition, claims, places).await?);
        }
        Ok(alike.into_iter().collect())
    }

    /// The places of those claims, of `places`, whose value is equal to `key` by the index's collation.
    async fn equal(&self, unique: &Unique, key: &[u8], claims: &[Claim], places: &[usize]) -> Result<Vec<usize>> {
        let Some(parts) = fields(unique, key) else { return Ok(Vec::new()) };
        let mut equal = Vec::new();
        for (number, (_, (part, value))) in parts.iter().enumerate() {
            let value = doc! { "$literal": value_of(*part, value)? };
            equal.push(Bson::from(doc! { "$eq": [format!("$f{number}"), value] }));
        }
        self.claims_meeting(unique, &doc! { "$expr": { "$and": equal } }, claims, places).await
    }

    /// The places of those claims, of `places`, whose fields, as `f0`, `f1` and so on, meet a condition.
    async fn claims_meeting(
        &self,
        unique: &Unique,
        condition: &Document,
        claims: &[Claim],
        places: &[usize],
    ) -> Result<Vec<usize>> {
        let mut images = Vec::with_capacity(places.len());
        for place in places {
            let fields = claims.get(*place).and_then(|claim| fields(unique, &claim.value));
            let (Some(fields), Ok(number)) = (fields, i64::try_from(*place)) else { continue };
            let mut image = Vec::new();
            let open = raw::open(&mut image);
            raw::put(&mut image, kind::INT64, b"_id", &number.to_le_bytes());
            for (number, (_, (part, value))) in fields.iter().enumerate() {
                raw::put(&mut image, *part, format!("f{number}").as_bytes(), value);
            }
            raw::close(&mut image, open)?;
            images.push(image);
        }
        let images: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
        let found = self.meeting(&images, condition, Some(unique)).await?;
        Ok(found.iter().filter_map(|found| usize::try_from(found.get_i64("_id").ok()?).ok()).collect())
    }
}

/// Cuts claims, by their places, into questions of so many values and bytes.
fn portions(places: &[usize], claims: &[Claim], (most, most_bytes): (usize, usize)) -> Vec<Vec<usize>> {
    let size = |place: &usize| claims.get(*place).map_or(0, |claim| claim.value.len());
    let mut portions: Vec<Vec<usize>> = Vec::new();
    let mut bytes = most_bytes;
    for place in places.iter().filter(|place| size(place) <= most_bytes) {
        bytes += size(place);
        match portions.last_mut().filter(|last| last.len() < most && bytes <= most_bytes) {
            Some(last) => last.push(*place),
            None => {
                portions.push(vec![*place]);
                bytes = size(place);
            }
        }
    }
    portions
}

/// Opens `$and`, with the condition of a partial index as its first member, up to where the second begins.
fn put_partial(out: &mut Vec<u8>, unique: &Unique) -> Result<usize> {
    let and = raw::put_document(out, kind::ARRAY, b"$and");
    if let Some(partial) = &unique.partial {
        raw::put_index(out, kind::DOCUMENT, 0);
        out.extend_from_slice(&to_bytes(partial)?);
    }
    raw::put_index(out, kind::DOCUMENT, usize::from(unique.partial.is_some()));
    Ok(and)
}

/// The fields of an index with what they are in a key; `None` when that cannot be put into a question.
fn fields(unique: &Unique, key: &[u8]) -> Option<Vec<(Vec<u8>, Value)>> {
    let mut fields = Vec::new();
    for (path, form) in unique.paths.iter().zip(components(key)) {
        let value = match form.first() {
            // What the members of an empty array yield.
            Some(&class::UNDEFINED) => (kind::ARRAY, vec![5, 0, 0, 0, 0]),
            _ => decode_id(form).ok()?,
        };
        fields.push((path.join(&b'.'), value));
    }
    (fields.len() == unique.paths.len()).then_some(fields)
}

/// For each field of an index the values that keys have in it.
fn lists(unique: &Unique, keys: &[&[u8]]) -> Vec<HashSet<Value>> {
    let mut lists: Vec<HashSet<Value>> = unique.paths.iter().map(|_| HashSet::new()).collect();
    for fields in keys.iter().filter_map(|key| fields(unique, key)) {
        for (list, (_, value)) in lists.iter_mut().zip(fields) {
            list.insert(value);
        }
    }
    lists
}

/// True when all of the values can be members of `$in`: there a regular expression is one to be matched, and the server takes
/// a document whose first field begins with `$` for an operator.
fn can_be_listed(fields: &[(Vec<u8>, Value)]) -> bool {
    fields.iter().all(|(_, (part, value))| match *part {
        kind::REGEX => false,
        kind::DOCUMENT => {
            let first = raw::elements(value).ok().and_then(|mut elements| elements.next()?.ok());
            first.is_none_or(|first| !first.name.starts_with(b"$"))
        }
        _ => true,
    })
}

fn value_of(part: u8, value: &[u8]) -> Result<Bson> {
    let mut document = Vec::new();
    let open = raw::open(&mut document);
    raw::put(&mut document, part, b"v", value);
    raw::close(&mut document, open)?;
    let document: Document = bson::deserialize_from_slice(&document)
        .map_err(|error| unexpected_reply(&format!("reading a value ({error})"), "key"))?;
    Ok(document.get("v").cloned().unwrap_or(Bson::Null))
}
