//! Asking a query of a record.

use super::{Comparison, Kinds, Node, Operand, Test};
use crate::interpret::id::{class, encode_id, family_of_encoded};
use crate::interpret::raw::{self, Element, Result, kind};

pub(super) fn node(query: &Node, record: &[u8], scratch: &mut Vec<u8>) -> Result<bool> {
    match query {
        Node::And(all) => every(all, |query| node(query, record, scratch)),
        Node::Or(some) => any(some, |query| node(query, record, scratch)),
        Node::Nor(none) => any(none, |query| node(query, record, scratch)).map(|found| !found),
        Node::Field(path, test) => at_path(path, test, record, scratch),
    }
}

fn every<T>(items: &[T], mut holds: impl FnMut(&T) -> Result<bool>) -> Result<bool> {
    for item in items {
        if !holds(item)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn any<T>(items: &[T], mut holds: impl FnMut(&T) -> Result<bool>) -> Result<bool> {
    Ok(!every(items, |item| holds(item).map(|holds| !holds))?)
}

fn at_path(path: &[Box<[u8]>], test: &Test, record: &[u8], scratch: &mut Vec<u8>) -> Result<bool> {
    match test {
        Test::Not(inner) => at_path(path, inner, record, scratch).map(|holds| !holds),
        Test::All(tests) => every(tests, |test| at_path(path, test, record, scratch)),
        _ => {
            let expand = !matches!(test, Test::Size(_) | Test::ElementDocument(_) | Test::ElementValue(_));
            visit(record, path, expand, &mut |value| single(test, value, scratch))
        }
    }
}

/// Shows `ask` every value at the path, until it says yes. A value that is missing is shown as none; an array at the end
/// of the path is shown by its elements first, with `expand`.
fn visit(
    document: &[u8],
    path: &[Box<[u8]>],
    expand: bool,
    ask: &mut dyn FnMut(Option<Element<'_>>) -> Result<bool>,
) -> Result<bool> {
    let Some((first, rest)) = path.split_first() else { return Ok(false) };
    match raw::find(document, first)? {
        Some(element) => step(element, rest, expand, ask),
        None => ask(None),
    }
}

fn step(
    element: Element<'_>,
    rest: &[Box<[u8]>],
    expand: bool,
    ask: &mut dyn FnMut(Option<Element<'_>>) -> Result<bool>,
) -> Result<bool> {
    let Some((next, after)) = rest.split_first() else {
        if let (true, Some(array)) = (expand, element.as_array()) {
            for inner in raw::elements(array)? {
                if ask(Some(inner?))? {
                    return Ok(true);
                }
            }
        }
        return ask(Some(element));
    };
    match element.kind {
        kind::DOCUMENT => visit(element.value, rest, expand, ask),
        kind::ARRAY => {
            for inner in raw::elements(element.value)? {
                let inner = inner?;
                // A part of the path may be a field of the elements, or an index. What an index ends at is not expanded.
                let asked = (inner.kind == kind::DOCUMENT && visit(inner.value, rest, expand, ask)?)
                    || (inner.name == &**next
                        && match inner.kind {
                            _ if after.is_empty() => ask(Some(inner))?,
                            kind::DOCUMENT | kind::ARRAY => step(inner, after, expand, ask)?,
                            _ => false,
                        });
                if asked {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        _ => ask(None),
    }
}

/// A test of one value.
fn single(test: &Test, value: Option<Element<'_>>, scratch: &mut Vec<u8>) -> Result<bool> {
    match (test, value) {
        (Test::Compare(comparison, operand), value) => compare(*comparison, operand, value, scratch),
        (Test::In(operands), value) => any(operands, |operand| compare(Comparison::Equal, operand, value, scratch)),
        (Test::All(tests), value) => every(tests, |test| single(test, value, scratch)),
        (Test::Not(inner), value) => single(inner, value, scratch).map(|holds| !holds),
        (_, None) => Ok(false),
        (Test::Exists, Some(_)) => Ok(true),
        (Test::Type(kinds), Some(value)) => Ok(kinds.iter().any(|kinds| match kinds {
            Kinds::One(kind) => value.kind == *kind,
            Kinds::Numbers => matches!(value.kind, kind::DOUBLE | kind::INT32 | kind::INT64 | kind::DECIMAL128),
        })),
        (Test::Size(size), Some(value)) => {
            let Some(array) = value.as_array() else { return Ok(false) };
            let mut count = 0;
            for element in raw::elements(array)? {
                element?;
                count += 1;
            }
            Ok(count == *size)
        }
        // An array within the array is asked as the document that it is in form.
        (Test::ElementDocument(query), Some(value)) => elements(value, |element| match element.kind {
            kind::DOCUMENT | kind::ARRAY => node(query, element.value, scratch),
            _ => Ok(false),
        }),
        (Test::ElementValue(tests), Some(value)) => {
            elements(value, |element| every(tests, |test| single(test, Some(element), scratch)))
        }
    }
}

/// True when the value is an array, and `holds` for one of its elements.
fn elements(value: Element<'_>, mut holds: impl FnMut(Element<'_>) -> Result<bool>) -> Result<bool> {
    let Some(array) = value.as_array() else { return Ok(false) };
    for element in raw::elements(array)? {
        if holds(element?)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The server's comparison: only within a bracket of types, with null, MinKey and MaxKey apart
/// (`ComparisonMatchExpression::matchesSingleElement`).
fn compare(
    comparison: Comparison,
    operand: &Operand,
    value: Option<Element<'_>>,
    scratch: &mut Vec<u8>,
) -> Result<bool> {
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
    scratch.clear();
    match value {
        Some(value) => encode_id(value.kind, value.value, scratch)?,
        None => scratch.push(class::UNDEFINED),
    }
    let first = |bytes: &[u8]| bytes.first().copied().unwrap_or(class::END);
    let (ours, theirs) = (first(scratch), first(&operand.0));
    let (family, bracket) = (family_of_encoded(ours), family_of_encoded(theirs));
    if family != bracket {
        return Ok(match (bracket, comparison) {
            (class::NULL, Equal | LessOrEqual | GreaterOrEqual) => family == class::UNDEFINED,
            (class::MAX_KEY, Less | LessOrEqual) | (class::MIN_KEY, Greater | GreaterOrEqual) => true,
            _ => false,
        });
    }
    // Nothing is above or below what is not a number.
    if family == class::NUMBER && (ours == class::NAN) != (theirs == class::NAN) {
        return Ok(false);
    }
    let order = scratch.as_slice().cmp(&operand.0);
    Ok(match comparison {
        Equal => order.is_eq(),
        Less => order.is_lt(),
        LessOrEqual => order.is_le(),
        Greater => order.is_gt(),
        GreaterOrEqual => order.is_ge(),
    })
}
