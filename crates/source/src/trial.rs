//! Trying records against what a namespace refuses today, before anything is written.
//!
//! A restore brings back records that were accepted then. Since then the namespace may have been given a unique index, an
//! index of a kind that cannot hold every record, or a validator; and a value that one of them had may be another's now.

use async_trait::async_trait;

use crate::{RecordBatch, Result};

/// Why records are refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RefusalKind {
    /// A unique index: another record has the value.
    Unique,
    /// An index that cannot hold every record.
    Index,
    /// A condition that every record is to meet, which a restore goes past: it does not refuse what comes back, but it may
    /// refuse the next change of it.
    Validator,
    /// Something else stands there under the name.
    Occupied,
    /// There is no room without pushing others out.
    Room,
}

impl RefusalKind {
    /// One word, the same for ever: programs read it.
    pub fn word(self) -> &'static str {
        match self {
            RefusalKind::Unique => "unique",
            RefusalKind::Index => "index",
            RefusalKind::Validator => "validator",
            RefusalKind::Occupied => "occupied",
            RefusalKind::Room => "room",
        }
    }
}

/// Something that refuses records today.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// What kind.
    pub kind: RefusalKind,
    /// What it is, in words: “the unique index email_1”.
    pub words: String,
    /// How to take it away, as the database's own users say it.
    pub removal: String,
    /// True when it was not there as of the instant: then also two records that come back may be in each other's way.
    pub new: bool,
    /// True when it takes a walk over all live records to find who has values, however many are asked for at a time.
    pub walks: bool,
}

/// A record that is to come back.
#[derive(Clone, Copy, Debug)]
pub struct Tried<'a> {
    /// Its id, memcomparable.
    pub id: &'a [u8],
    /// What it is to be.
    pub image: &'a [u8],
    /// What it is now, if it is there.
    pub live: Option<&'a [u8]>,
}

/// A unique value that a record needs, as bytes that mean nothing else.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Claim {
    /// The id of the record.
    pub id: Vec<u8>,
    /// The rule, by its place in [`Trial::rules`].
    pub rule: usize,
    /// The value.
    pub value: Vec<u8>,
    /// True when what the record is now has it as well: then nobody else has it.
    pub held: bool,
}

/// Some of the live records that have values which others claim.
#[derive(Debug, Default)]
pub struct Holders {
    /// Which claim, by its place, is whose, by the place among the records.
    pub held: Vec<(usize, usize)>,
    /// The records.
    pub records: RecordBatch,
}

/// Tries records of one namespace. Nothing is written.
#[async_trait]
pub trait Trial: Send + Sync {
    /// What refuses records.
    fn rules(&self) -> &[Rule];

    /// Which records are refused whatever else is there: record and rule, by their places.
    async fn refused(&self, records: &[Tried<'_>]) -> Result<Vec<(usize, usize)>>;

    /// The unique values that records need, as far as they can be told.
    async fn claims(&self, _records: &[Tried<'_>]) -> Result<Vec<Claim>> {
        Ok(Vec::new())
    }

    /// Asks which other live records have what `claims` ask for. A record is never found in its own way.
    fn holders<'a>(&'a self, _claims: &'a [Claim]) -> Box<dyn Holding + 'a> {
        Box::new(Nobody)
    }
}

/// Who has what is claimed. Each record may be as large as a record can be, so they come some at a time.
#[async_trait]
pub trait Holding: Send {
    /// Those of one answer of the database; `None` at the end.
    async fn next(&mut self) -> Result<Option<Holders>>;
}

struct Nobody;

#[async_trait]
impl Holding for Nobody {
    async fn next(&mut self) -> Result<Option<Holders>> {
        Ok(None)
    }
}
