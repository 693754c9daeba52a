//! Values of the command line that have a form of their own.

use std::fmt;
use std::str::FromStr;

use bson::{Bson, Document};

use crate::time::TimeSpec;

/// Where `capture` stops.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Until {
    /// At the present, as it stands when the command starts.
    Now,
    /// At a time.
    Time(TimeSpec),
}

impl FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Until, String> {
        if text.trim().eq_ignore_ascii_case("now") {
            return Ok(Until::Now);
        }
        match text.parse()? {
            TimeSpec::Latest => Err("“latest” is where capture always begins; write now".to_owned()),
            time => Ok(Until::Time(time)),
        }
    }
}

/// The later side of a comparison.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DiffEnd {
    /// The database as it is now.
    Live,
    /// The archive as of a time.
    At(TimeSpec),
}

impl FromStr for DiffEnd {
    type Err = String;

    fn from_str(text: &str) -> Result<DiffEnd, String> {
        if text.trim().eq_ignore_ascii_case("live") {
            return Ok(DiffEnd::Live);
        }
        Ok(DiffEnd::At(text.parse()?))
    }
}

/// A value in Extended JSON, canonical or relaxed. A bare word is a string.
#[derive(Clone, PartialEq, Debug)]
pub struct ExtJson(pub Bson);

impl FromStr for ExtJson {
    type Err = String;

    fn from_str(text: &str) -> Result<ExtJson, String> {
        let is_bare_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '/' | '@');
        match serde_json::from_str::<serde_json::Value>(text) {
            Ok(value) => Bson::try_from(value).map(ExtJson).map_err(|e| format!("“{text}” is not Extended JSON: {e}")),
            // A shell eats quotes: what cannot be a number, a document or a list is surely meant as a string.
            Err(_) if !text.is_empty() && text.chars().all(is_bare_word) => Ok(ExtJson(Bson::String(text.to_owned()))),
            Err(error) => Err(format!("“{text}” is not Extended JSON: {error}")),
        }
    }
}

impl fmt::Display for ExtJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.clone().into_relaxed_extjson())
    }
}

/// A filter document in Extended JSON.
#[derive(Clone, PartialEq, Debug)]
pub struct Filter(pub Document);

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Filter, String> {
        let wrong = |why: String| format!("“{text}” is not a filter: {why}");
        let value: serde_json::Value = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        match Bson::try_from(value).map_err(|error| wrong(error.to_string()))? {
            Bson::Document(filter) => Ok(Filter(filter)),
            _ => Err(wrong("it must be a document, such as {\"status\": \"open\"}".to_owned())),
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Bson::Document(self.0.clone()).into_relaxed_extjson())
    }
}

/// The Nth of T parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sample {
    /// Which part, from 1.
    pub part: u32,
    /// How many parts there are.
    pub of: u32,
}

impl Sample {
    /// Whether the object at `index`, from 0, belongs to this part.
    pub fn takes(self, index: u64) -> bool {
        index % u64::from(self.of) == u64::from(self.part - 1)
    }
}

impl FromStr for Sample {
    type Err = String;

    fn from_str(text: &str) -> Result<Sample, String> {
        let numbers = text.split_once('/').and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((part, of)) if 1 <= part && part <= of => Ok(Sample { part, of }),
            _ => Err(format!("“{text}” is not N/T with N from 1 to T, such as 3/7")),
        }
    }
}
