//! Queries on records: what `--where` takes.
//!
//! ```text
//!   text ── Extended JSON ──▶ document ── parse ──▶ Node ── matches(record) ──▶ yes or no
//!
//!   Node := And(Node…) | Or(Node…) | Nor(Node…) | Field(path, Test)
//!   Test := Compare(operator, operand) | In | Exists | Type | Size | ElementMatch | Not | All
//! ```
//!
//! The part of MongoDB's query language that can be answered by looking at one record: comparison by type bracket, dotted
//! paths that pass through arrays, array membership. What is not in it is refused by name rather than answered in part.
//! Values are compared in their memcomparable form (see [`id`](super::id)): two values are equal to the server if and
//! only if those bytes are.

mod evaluate;
mod parse;

use crate::interpret::raw::Result;

/// A query, ready to be asked of records.
#[derive(Clone, Debug)]
pub struct Filter {
    root: Node,
}

impl Filter {
    /// Reads a query in Extended JSON.
    ///
    /// # Errors
    /// In words: no JSON, or an operator that is unknown, refused or misused.
    pub fn parse(text: &str) -> std::result::Result<Filter, String> {
        parse::filter(text).map(|root| Filter { root })
    }

    /// True when the record matches.
    ///
    /// # Errors
    /// When the record is malformed where the query looks.
    pub fn matches(&self, record: &[u8]) -> Result<bool> {
        evaluate::node(&self.root, record, &mut Vec::new())
    }
}

#[derive(Clone, Debug)]
enum Node {
    And(Vec<Node>),
    Or(Vec<Node>),
    Nor(Vec<Node>),
    Field(Vec<Box<[u8]>>, Test),
}

#[derive(Clone, Debug)]
enum Test {
    Compare(Comparison, Operand),
    In(Vec<Operand>),
    Exists,
    Type(Vec<Kinds>),
    Size(i64),
    /// An element that is a document and matches.
    ElementDocument(Box<Node>),
    /// An element that passes all tests.
    ElementValue(Vec<Test>),
    /// All of them.
    All(Vec<Test>),
    Not(Box<Test>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A value to compare with, in memcomparable form.
#[derive(Clone, Debug)]
struct Operand(Vec<u8>);

/// Kinds of values, as `$type` names them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kinds {
    One(u8),
    Numbers,
}

#[cfg(test)]
mod tests;
