#![allow(clippy::unwrap_used)]

use bson::{Bson, Document, doc};
use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(query: &str, record: Document, expected: bool) {
    let bytes = bson::serialize_to_vec(&record).unwrap();
    assert_eq!(Filter::parse(query).unwrap().matches(&bytes).unwrap(), expected, "{query} {record}");
}

#[test]
fn equality_passes_through_types_paths_and_arrays() {
    check("{}", doc! {}, true);
    check(r#"{"a":1}"#, doc! {"a": 1.0}, true);
    check(r#"{"a":1}"#, doc! {"a": [3, 1]}, true);
    check(r#"{"a":[3,1]}"#, doc! {"a": [3, 1]}, true);
    check(r#"{"a":[1,3]}"#, doc! {"a": [3, 1]}, false);
    check(r#"{"a.b":1}"#, doc! {"a": {"b": 1}}, true);
    check(r#"{"a.b":1}"#, doc! {"a": [{"b": 2}, {"b": 1}]}, true);
    check(r#"{"a.1.b":1}"#, doc! {"a": [{"b": 2}, {"b": 1}]}, true);
    check(r#"{"a.0":2}"#, doc! {"a": [2, 3]}, true);
    check(r#"{"a":{"z":1,"b":2}}"#, doc! {"a": {"z": 1, "b": 2}}, true);
    check(r#"{"a":{"z":1,"b":2}}"#, doc! {"a": {"b": 2, "z": 1}}, false);
    check(r#"{"a":{"b":1}}"#, doc! {"a": {"b": 1, "c": 1}}, false);
    check(
        r#"{"_id":{"$oid":"010101010101010101010101"}}"#,
        doc! {"_id": bson::oid::ObjectId::from_bytes([1; 12])},
        true,
    );
}

#[test]
fn null_matches_what_is_missing() {
    check(r#"{"a":null}"#, doc! {}, true);
    check(r#"{"a":null}"#, doc! {"a": Bson::Null}, true);
    check(r#"{"a":null}"#, doc! {"a": 1}, false);
    check(r#"{"a.b":null}"#, doc! {"a": 1}, true);
    check(r#"{"a":{"$ne":null}}"#, doc! {"a": 1}, true);
    check(r#"{"a":{"$exists":false}}"#, doc! {"a": Bson::Null}, false);
    check(r#"{"a":{"$exists":true}}"#, doc! {"a": Bson::Null}, true);
}

#[test]
fn comparisons_stay_within_their_bracket() {
    check(r#"{"a":{"$gt":1,"$lt":3}}"#, doc! {"a": 2i64}, true);
    check(r#"{"a":{"$gt":1}}"#, doc! {"a": "x"}, false);
    check(r#"{"a":{"$lt":1}}"#, doc! {"a": f64::NAN}, false);
    check(r#"{"a":{"$gte":"b"}}"#, doc! {"a": "c"}, true);
    check(r#"{"a":{"$gt":{"$minKey":1}}}"#, doc! {"a": "c"}, true);
    check(r#"{"a":{"$gt":false}}"#, doc! {"a": true}, true);
    check(r#"{"a":{"$gt":1}}"#, doc! {"a": [0, 2]}, true);
}

#[test]
fn the_other_operators_hold() {
    check(r#"{"a":{"$in":[1,"x",null]}}"#, doc! {"a": "x"}, true);
    check(r#"{"a":{"$nin":[1,"x"]}}"#, doc! {"a": [2, "x"]}, false);
    check(r#"{"$or":[{"a":1},{"b":1}]}"#, doc! {"b": 1}, true);
    check(r#"{"$nor":[{"a":1},{"b":1}]}"#, doc! {"b": 1}, false);
    check(r#"{"$and":[{"a":1},{"b":1}]}"#, doc! {"b": 1}, false);
    check(r#"{"a":{"$not":{"$gt":5}}}"#, doc! {"a": 3}, true);
    check(r#"{"a":{"$type":["string","number"]}}"#, doc! {"a": 3}, true);
    check(r#"{"a":{"$type":"array"}}"#, doc! {"a": [3]}, true);
    check(r#"{"a":{"$size":2}}"#, doc! {"a": [3, [1]]}, true);
    check(r#"{"a":{"$all":[1,2]}}"#, doc! {"a": [2, 1, 3]}, true);
    check(r#"{"a":{"$all":[1,4]}}"#, doc! {"a": [2, 1, 3]}, false);
    check(r#"{"a":{"$elemMatch":{"b":1,"c":2}}}"#, doc! {"a": [{"b": 1, "c": 1}, {"b": 2, "c": 2}]}, false);
    check(r#"{"a":{"$elemMatch":{"b":1,"c":2}}}"#, doc! {"a": [{"b": 1, "c": 2}]}, true);
    check(r#"{"a":{"$elemMatch":{"$gt":1,"$lt":3}}}"#, doc! {"a": [0, 5]}, false);
    check(r#"{"a":{"$elemMatch":{"$gt":1,"$lt":3}}}"#, doc! {"a": [0, 2]}, true);
}

/// Found against a server.
#[test]
fn nested_arrays_are_asked_as_the_server_does() {
    check(r#"{"g.0":6}"#, doc! {"g": [[6, 1], [3]]}, false);
    check(r#"{"g.0.0":6}"#, doc! {"g": [[6, 1], [3]]}, true);
    check(r#"{"a":{"$elemMatch":{"k":{"$ne":1}}}}"#, doc! {"a": [5, [{}]]}, true);
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    for (query, named) in [
        (r#"{"a":{"$near":1}}"#, "$near"),
        (r#"{"$where":"x"}"#, "$where"),
        (r#"{"a":{"$regex":"x"}}"#, "$regex"),
        (r#"{"a":{"$regularExpression":{"pattern":"x","options":""}}}"#, "regular expressions"),
        (r#"{"a":{"$gt":1,"b":2}}"#, "b"),
        (r#"{"a":{"$type":"strung"}}"#, "strung"),
        (r#"[1]"#, "Extended JSON"),
        (r#"{"#, "JSON"),
    ] {
        let error = Filter::parse(query).unwrap_err();
        assert!(error.contains(named), "{query}: {error}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_asked_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let filter = Filter::parse(r#"{"a.b":{"$gt":1,"$size":2,"$elemMatch":{"c":null}}}"#).unwrap();
        let _ = filter.matches(&bytes);
    }
}
