//! From the text of a query to its tree.

use bson::{Bson, Document};

use super::{Comparison, Kinds, Node, Operand, Test};
use crate::interpret::extjson;
use crate::interpret::raw::kind;

type Result<T> = std::result::Result<T, String>;

pub(super) fn filter(text: &str) -> Result<Node> {
    // Straight into a document: a JSON value in between would sort the fields, whose order counts.
    let query: Document =
        serde_json::from_str(text).map_err(|why| format!("the filter is not Extended JSON: {why}"))?;
    node(&query)
}

fn node(query: &Document) -> Result<Node> {
    let mut all = Vec::with_capacity(query.len());
    for (name, value) in query {
        all.push(match name.as_str() {
            "$and" => Node::And(nodes(name, value)?),
            "$or" => Node::Or(nodes(name, value)?),
            "$nor" => Node::Nor(nodes(name, value)?),
            "$comment" => continue,
            operator if operator.starts_with('$') => return Err(unknown(operator)),
            path => Node::Field(path.split('.').map(|part| part.as_bytes().into()).collect(), field(value)?),
        });
    }
    Ok(Node::And(all))
}

fn unknown(operator: &str) -> String {
    format!("the operator {operator} is not supported in a filter")
}

fn nodes(operator: &str, value: &Bson) -> Result<Vec<Node>> {
    let wrong = || format!("{operator} takes an array of documents, at least one");
    let queries = value.as_array().filter(|queries| !queries.is_empty()).ok_or_else(wrong)?;
    queries.iter().map(|query| node(query.as_document().ok_or_else(wrong)?)).collect()
}

/// A document whose first name begins with `$` holds operators; everything else is a value to be equal to.
fn operators(value: &Bson) -> Option<&Document> {
    value.as_document().filter(|document| document.keys().next().is_some_and(|name| name.starts_with('$')))
}

fn field(value: &Bson) -> Result<Test> {
    match operators(value) {
        Some(document) => Ok(Test::All(tests(document)?)),
        None => Ok(Test::Compare(Comparison::Equal, operand(value)?)),
    }
}

fn tests(document: &Document) -> Result<Vec<Test>> {
    document.iter().map(|(operator, value)| test(operator, value)).collect()
}

fn test(operator: &str, value: &Bson) -> Result<Test> {
    let compare = |comparison| Ok(Test::Compare(comparison, operand(value)?));
    let not = |test| Test::Not(Box::new(test));
    match operator {
        "$eq" => compare(Comparison::Equal),
        "$ne" => compare(Comparison::Equal).map(not),
        "$lt" => compare(Comparison::Less),
        "$lte" => compare(Comparison::LessOrEqual),
        "$gt" => compare(Comparison::Greater),
        "$gte" => compare(Comparison::GreaterOrEqual),
        "$in" => Ok(Test::In(operands(operator, value)?)),
        "$nin" => Ok(not(Test::In(operands(operator, value)?))),
        "$exists" => {
            let wanted = match value {
                Bson::Boolean(wanted) => *wanted,
                Bson::Int32(number) => *number != 0,
                Bson::Int64(number) => *number != 0,
                _ => return Err("$exists takes true or false".to_owned()),
            };
            Ok(if wanted { Test::Exists } else { not(Test::Exists) })
        }
        "$type" => {
            let names = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
            Ok(Test::Type(names.iter().map(kinds).collect::<Result<_>>()?))
        }
        "$size" => {
            let size = match value {
                Bson::Int32(size) => i64::from(*size),
                Bson::Int64(size) => *size,
                _ => -1,
            };
            if size < 0 { Err("$size takes a whole number from 0".to_owned()) } else { Ok(Test::Size(size)) }
        }
        "$not" => match operators(value) {
            Some(document) => Ok(not(Test::All(tests(document)?))),
            None => Err("$not takes a document of operators".to_owned()),
        },
        "$all" => {
            let values = value.as_array().ok_or("$all takes an array")?;
            if values.is_empty() {
                // Nothing matches it.
                return Ok(Test::In(Vec::new()));
            }
            Ok(Test::All(values.iter().map(field).collect::<Result<_>>()?))
        }
        "$elemMatch" => {
            let query = value.as_document().ok_or("$elemMatch takes a document")?;
            let first = query.keys().next().map_or("", String::as_str);
            if first.starts_with('$') && !matches!(first, "$and" | "$or" | "$nor") {
                Ok(Test::ElementValue(tests(query)?))
            } else {
                Ok(Test::ElementDocument(Box::new(node(query)?)))
            }
        }
        _ => Err(unknown(operator)),
    }
}

fn operands(operator: &str, value: &Bson) -> Result<Vec<Operand>> {
    let values = value.as_array().ok_or_else(|| format!("{operator} takes an array"))?;
    values.iter().map(operand).collect()
}

fn operand(value: &Bson) -> Result<Operand> {
    if matches!(value, Bson::RegularExpression(_)) {
        return Err("regular expressions are not supported in a filter".to_owned());
    }
    extjson::encode(value).map(Operand).map_err(|why| format!("a value of the filter: {why}"))
}

fn kinds(name: &Bson) -> Result<Kinds> {
    let number = match name {
        Bson::Int32(number) => Some(i64::from(*number)),
        Bson::Int64(number) => Some(*number),
        _ => None,
    };
    if let Some(number) = number {
        return match number {
            -1 => Ok(Kinds::One(kind::MIN_KEY)),
            127 => Ok(Kinds::One(kind::MAX_KEY)),
            1..=19 => Ok(Kinds::One(u8::try_from(number).unwrap_or(0))),
            _ => Err(format!("{number} is not the number of a type")),
        };
    }
    Ok(Kinds::One(match name.as_str().unwrap_or_default() {
        "number" => return Ok(Kinds::Numbers),
        "double" => kind::DOUBLE,
        "string" => kind::STRING,
        "object" => kind::DOCUMENT,
        "array" => kind::ARRAY,
        "binData" => kind::BINARY,
        "undefined" => kind::UNDEFINED,
        "objectId" => kind::OBJECT_ID,
        "bool" => kind::BOOL,
        "date" => kind::DATE,
        "null" => kind::NULL,
        "regex" => kind::REGEX,
        "dbPointer" => kind::DB_POINTER,
        "javascript" => kind::CODE,
        "symbol" => kind::SYMBOL,
        "javascriptWithScope" => kind::CODE_WITH_SCOPE,
        "int" => kind::INT32,
        "timestamp" => kind::TIMESTAMP,
        "long" => kind::INT64,
        "decimal" => kind::DECIMAL128,
        "minKey" => kind::MIN_KEY,
        "maxKey" => kind::MAX_KEY,
        _ => return Err(format!("{name} is not the name of a type")),
    }))
}
