//! Trying records against the indexes and the validator that a collection has today. Nothing is written.
//!
//! ```text
//!   rules      the definition of today, less what the one as of the instant says as well
//!   ask        the server evaluates a condition over records that it does not hold; and who holds a value
//! ```
//!
//! What the bytes of a record tell is decided here (keys of unique indexes, arrays that an index cannot hold). The server is
//! asked where its own rules decide: partial indexes, collations, validators, shapes on the sphere, and who holds a value now.

mod ask;
mod holding;
mod rules;
mod shapes;

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use backstay_source::{Claim, Holding, RefusalKind, Result, Rule, Trial, Tried};
use bson::{Document, RawDocument};

use self::holding::Asking;
use self::rules::{Check, Unique};
use self::shapes::Spheres;
use super::keys::{Keys, Path, keys};
use super::{define, views};
use crate::catalog::{BUCKETS, Listed, cut};
use crate::connect::Connection;
use crate::interpret::id_of;

/// Tries records of one collection.
struct CollectionTrial {
    connection: Connection,
    database: String,
    collection: String,
    /// Texts compare by other rules than byte by byte where an index does not say otherwise.
    collated: bool,
    rules: Vec<Rule>,
    /// One for each rule.
    checks: Vec<Check>,
}

impl Connection {
    /// See [`backstay_source::Target::trial`].
    pub(crate) async fn trial(&self, name: &str, then: &[u8], whole: bool) -> Result<Option<Box<dyn Trial>>> {
        if views::holds_views(name) {
            return Ok(Some(Box::new(views::ViewsTrial::new(self, name)?)));
        }
        let Some(listed) = self.listed(name).await? else { return Ok(None) };
        let indexes = self.indexes(&listed.database, &listed.collection).await?.unwrap_or_default();
        let live = listed.definition(&indexes)?;
        let (rules, checks): (Vec<Rule>, Vec<Check>) = rules::between(&listed, then, &live, whole)?.into_iter().unzip();
        if rules.is_empty() {
            return Ok(None);
        }
        let collated = listed.is_collated();
        let Listed { database, collection, .. } = listed;
        let connection = self.clone();
        Ok(Some(Box::new(CollectionTrial { connection, database, collection, collated, rules, checks })))
    }

    /// See [`backstay_source::Target::obstacle`].
    pub(crate) async fn obstacle(&self, name: &str, then: &[u8]) -> Result<Option<String>> {
        if views::holds_views(name) {
            return Ok(None);
        }
        let (database, collection) = cut(name)?;
        let kind = |listed: &Listed| listed.entry.get_str("type").unwrap_or("collection").to_owned();
        let Some(series) = collection.strip_prefix(BUCKETS) else {
            let other = self.listed(name).await?.map(|listed| kind(&listed)).filter(|kind| kind != "collection");
            let words =
                |kind: String| if kind == "timeseries" { "a time series".to_owned() } else { format!("a {kind}") };
            return Ok(
                other.map(|kind| format!("{name} is to be a collection, and {} has that name today", words(kind)))
            );
        };
        let series = format!("{database}.{series}");
        if let Some(other) = self.listed(&series).await?.map(|listed| kind(&listed)).filter(|kind| kind != "timeseries")
        {
            return Ok(Some(format!("{series} is to be a time series, and a {other} has that name today")));
        }
        let Some(listed) = self.listed(name).await? else { return Ok(None) };
        let live = listed.definition(&[])?;
        let (was, is) = (define::series_fields(then)?, define::series_fields(&live)?);
        Ok((was != is).then(|| {
            format!("{series} was made anew since, and keeps time and origin of its records in other fields than then")
        }))
    }
}

impl CollectionTrial {
    fn unique(&self, rule: usize) -> Option<&Unique> {
        match self.checks.get(rule) {
            Some(Check::Unique(unique)) => Some(unique),
            _ => None,
        }
    }

    /// The unique indexes, each with the place of its rule.
    fn uniques(&self) -> impl Iterator<Item = (usize, &Unique)> {
        (0..self.checks.len()).filter_map(|rule| Some((rule, self.unique(rule)?)))
    }

    /// The ids of those records that are in a partial index.
    async fn within<'r>(&self, records: &[&Tried<'r>], partial: Option<&Document>) -> Result<Vec<&'r [u8]>> {
        let all = records.iter().map(|record| record.id);
        let Some(condition) = partial.filter(|_| !records.is_empty()) else { return Ok(all.collect()) };
        let images: Vec<&[u8]> = records.iter().map(|record| record.image).collect();
        let within: HashSet<Vec<u8>> = self.matching(&images, condition, None).await?.into_iter().collect();
        Ok(all.filter(|id| within.contains(*id)).collect())
    }

    /// The records with something at the end of one of the paths that is no shape on a sphere.
    async fn shapeless<'t, 'r>(&self, paths: &[Path], records: &'t [Tried<'r>]) -> Result<Vec<&'t Tried<'r>>> {
        let mut out: Vec<bool> = records.iter().map(|_| false).collect();
        let mut asked: Vec<(usize, Vec<u8>)> = Vec::new();
        for (place, (record, out)) in records.iter().zip(&mut out).enumerate() {
            for path in paths {
                match shapes::on_sphere(path, record.image) {
                    Spheres::Refused => *out = true,
                    Spheres::Values(values) => {
                        for value in values {
                            asked.push((place, shapes::alone(asked.len(), value)?));
                        }
                    }
                }
            }
        }
        let images: Vec<&[u8]> = asked.iter().map(|(_, image)| image.as_slice()).collect();
        for found in self.meeting(&images, &shapes::no_shape(), None).await? {
            let number = found.get_i64("_id").ok().and_then(|number| usize::try_from(number).ok());
            let place = number.and_then(|number| asked.get(number)).map(|(place, _)| *place);
            if let Some(out) = place.and_then(|place| out.get_mut(place)) {
                *out = true;
            }
        }
        Ok(records.iter().zip(out).filter(|(_, out)| *out).map(|(record, _)| record).collect())
    }

    /// The records' places by their ids.
    fn places<'r>(records: &[Tried<'r>]) -> HashMap<&'r [u8], usize> {
        records.iter().enumerate().map(|(place, record)| (record.id, place)).collect()
    }
}

#[async_trait]
impl Trial for CollectionTrial {
    fn rules(&self) -> &[Rule] {
        &self.rules
    }

    async fn refused(&self, records: &[Tried<'_>]) -> Result<Vec<(usize, usize)>> {
        let mut refused = Vec::new();
        let places = CollectionTrial::places(records);
        for (rule, check) in self.checks.iter().enumerate() {
            match check {
                Check::Unique(_) => {}
                Check::Bytes(holds, partial) => {
                    let out: Vec<&Tried<'_>> = records.iter().filter(|record| !holds(record.image)).collect();
                    let out = self.within(&out, partial.as_ref()).await?.into_iter();
                    refused.extend(out.filter_map(|id| Some((*places.get(id)?, rule))));
                }
                Check::Spheres(paths, partial) => {
                    let out = self.shapeless(paths, records).await?;
                    let out = self.within(&out, partial.as_ref()).await?.into_iter();
                    refused.extend(out.filter_map(|id| Some((*places.get(id)?, rule))));
                }
                Check::Condition(condition) => {
                    let images: Vec<&[u8]> = records.iter().map(|record| record.image).collect();
                    let out = match self.rules.get(rule).map(|rule| rule.kind) {
                        Some(RefusalKind::Validator) => self.failing(&images, condition).await?,
                        _ => self.matching(&images, condition, None).await?,
                    };
                    for id in out {
                        refused.extend(places.get(id.as_slice()).map(|place| (*place, rule)));
                    }
                }
            }
        }
        refused.sort_unstable();
        Ok(refused)
    }

    async fn claims(&self, records: &[Tried<'_>]) -> Result<Vec<Claim>> {
        let mut claims = Vec::new();
        for (rule, unique) in self.uniques() {
            let partial = match &unique.partial {
                None => None,
                Some(condition) => {
                    let images: Vec<&[u8]> = records.iter().map(|record| record.image).collect();
                    let within = self.matching(&images, condition, Some(unique)).await?;
                    Some(within.into_iter().collect::<HashSet<Vec<u8>>>())
                }
            };
            let within = |record: &Tried<'_>| partial.as_ref().is_none_or(|within| within.contains(record.id));
            for record in records.iter().filter(|record| within(record)) {
                let Keys::Told(values) = keys(&unique.paths, unique.sparse, record.image) else { continue };
                // Whether what it is now stands in a partial index is not known.
                let live = record.live.filter(|_| partial.is_none());
                let live = match live.map(|live| keys(&unique.paths, unique.sparse, live)) {
                    Some(Keys::Told(live)) => live,
                    _ => Vec::new(),
                };
                claims.extend(values.into_iter().map(|value| {
                    let held = live.binary_search(&value).is_ok();
                    Claim { id: record.id.to_vec(), rule, value, held }
                }));
            }
        }
        Ok(claims)
    }

    fn holders<'a>(&'a self, claims: &'a [Claim]) -> Box<dyn Holding + 'a> {
        Box::new(Asking::new(self, claims))
    }
}

/// The memcomparable id of what the server sent.
fn id(document: &RawDocument) -> Result<Vec<u8>> {
    let mut id = Vec::new();
    id_of(document.as_bytes(), &mut id)?;
    Ok(id)
}
