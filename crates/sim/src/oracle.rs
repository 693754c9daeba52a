//! The slow, obvious truth: every version of every record in a `BTreeMap`.
//!
//! No cleverness whatsoever lives here. What the archive answers is compared with what this answers (A1, A2, A3).

use std::collections::BTreeMap;

use backstay_model::{Body, Incarnation, Tick, Version};
use backstay_seal::Digest;

/// What happened to a record at one version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// What was written.
    pub body: Body,
    /// The record afterwards, with its owner; `None` when it is gone.
    pub after: Option<(String, Vec<u8>)>,
}

/// One record as it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Truth {
    /// Its owner.
    pub tenant: String,
    /// Its id.
    pub id: Vec<u8>,
    /// Its image.
    pub image: Vec<u8>,
}

/// Every version of every record.
#[derive(Clone, Default, Debug)]
pub struct Oracle {
    records: BTreeMap<(Incarnation, Vec<u8>), BTreeMap<Version, Event>>,
}

impl Oracle {
    /// Writes an event down.
    pub fn note(&mut self, namespace: Incarnation, id: &[u8], version: Version, event: Event) {
        self.records.entry((namespace, id.to_vec())).or_default().insert(version, event);
    }

    /// The record as of `at`: owner and image.
    pub fn state(&self, namespace: Incarnation, id: &[u8], at: Tick) -> Option<(&str, &[u8])> {
        let versions = self.records.get(&(namespace, id.to_vec()))?;
        let (_, event) = versions.range(..=Version::snapshot(at)).next_back()?;
        event.after.as_ref().map(|(tenant, image)| (tenant.as_str(), image.as_slice()))
    }

    /// All records of a namespace as of `at`, ascending by id.
    pub fn records(&self, namespace: Incarnation, at: Tick) -> Vec<Truth> {
        self.ids(namespace)
            .filter_map(|id| {
                let (tenant, image) = self.state(namespace, id, at)?;
                Some(Truth { tenant: tenant.to_owned(), id: id.to_vec(), image: image.to_vec() })
            })
            .collect()
    }

    /// The definitions as of `at`, by incarnation.
    pub fn definitions(&self, at: Tick) -> Vec<(Incarnation, Vec<u8>)> {
        let records = self.records(Incarnation::SYSTEM, at).into_iter();
        records.filter_map(|truth| Some((Incarnation::from_record_id(&truth.id)?, truth.image))).collect()
    }

    /// Every id that a namespace ever had, ascending.
    pub fn ids(&self, namespace: Incarnation) -> impl Iterator<Item = &[u8]> {
        self.records.keys().filter(move |(of, _)| *of == namespace).map(|(_, id)| id.as_slice())
    }

    /// Every namespace that ever had a record, ascending.
    pub fn namespaces(&self) -> Vec<Incarnation> {
        let mut namespaces: Vec<Incarnation> = self.records.keys().map(|(namespace, _)| *namespace).collect();
        namespaces.dedup();
        namespaces
    }

    /// What happened to a record up to and with `through`, oldest first.
    pub fn history(&self, namespace: Incarnation, id: &[u8], through: Tick) -> Vec<(Version, &Event)> {
        let versions = self.records.get(&(namespace, id.to_vec())).into_iter().flatten();
        versions.filter(|(version, _)| version.tick <= through).map(|(version, event)| (*version, event)).collect()
    }

    /// The ids of the records that changed after `after` and up to `through`, ascending.
    pub fn touched(&self, namespace: Incarnation, after: Tick, through: Tick) -> Vec<&[u8]> {
        let inside = |version: &Version| after < version.tick && version.tick <= through;
        let of_namespace = self.records.iter().filter(|((of, _), _)| *of == namespace);
        let touched = of_namespace.filter(|(_, versions)| versions.keys().any(inside));
        touched.map(|((_, id), _)| id.as_slice()).collect()
    }

    /// The digest of `records`.
    pub fn digest<'r>(namespace: Incarnation, records: impl IntoIterator<Item = &'r Truth>) -> Digest {
        let mut digest = Digest::new();
        for record in records {
            digest.add(namespace.0, &record.id, &record.image);
        }
        digest
    }
}
