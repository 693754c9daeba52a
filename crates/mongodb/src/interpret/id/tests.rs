#![allow(clippy::unwrap_used)]

use std::cmp::Ordering;

use bson::{Bson, doc};
use proptest::prelude::*;

use super::*;

fn encoded(value: impl Into<Bson>) -> Vec<u8> {
    let document = bson::serialize_to_vec(&doc! { "_id": value.into() }).unwrap();
    let mut out = Vec::new();
    id_of(&document, &mut out).unwrap();
    out
}

fn decimal(text: &str) -> Bson {
    Bson::Decimal128(text.parse().unwrap())
}

fn binary(subtype: u8, bytes: &[u8]) -> Bson {
    Bson::Binary(bson::Binary { subtype: subtype.into(), bytes: bytes.to_vec() })
}

#[test]
fn equal_numbers_are_one_id() {
    for group in [
        vec![Bson::Int32(1), Bson::Int64(1), Bson::Double(1.0), decimal("1"), decimal("1.000"), decimal("10E-1")],
        vec![Bson::Int32(0), Bson::Double(-0.0), decimal("-0"), decimal("0E+100")],
        vec![Bson::Int64(-1200), Bson::Double(-1200.0), decimal("-12E+2")],
        vec![Bson::Double(0.5), decimal("0.5"), decimal("5.0E-1")],
        vec![Bson::Double(f64::NAN), decimal("NaN"), Bson::Double(-f64::NAN)],
        vec![Bson::Double(f64::INFINITY), decimal("Infinity")],
        vec![Bson::Int64(i64::MIN), Bson::Double(-9_223_372_036_854_775_808.0), decimal("-9223372036854775808")],
        vec![Bson::String("x".into()), Bson::Symbol("x".into())],
    ] {
        for value in &group {
            assert_eq!(encoded(value.clone()), encoded(group[0].clone()), "{value}");
        }
    }
    assert_ne!(encoded(0.1), encoded(decimal("0.1")));
}

#[test]
fn values_stand_in_the_servers_order() {
    let ascending = [
        Bson::MinKey,
        Bson::Undefined,
        Bson::Null,
        Bson::Double(f64::NAN),
        Bson::Double(f64::NEG_INFINITY),
        decimal("-9.9E+6144"),
        Bson::Double(-1e300),
        Bson::Int64(i64::MIN),
        Bson::Int32(-100),
        Bson::Int32(-99),
        Bson::Double(-0.5),
        decimal("-1E-6176"),
        Bson::Int32(0),
        decimal("1E-6176"),
        Bson::Double(5e-324),
        decimal("0.1"),
        Bson::Double(0.1),
        Bson::Double(0.5),
        Bson::Int32(1),
        Bson::Double(1.5),
        Bson::Int32(9),
        Bson::Int32(10),
        Bson::Int32(99),
        Bson::Int32(100),
        Bson::Int32(101),
        Bson::Int64(i64::MAX - 1),
        Bson::Int64(i64::MAX),
        Bson::Double(9_223_372_036_854_775_808.0),
        Bson::Double(1e300),
        decimal("9.9E+6144"),
        Bson::Double(f64::INFINITY),
        "".into(),
        "\0".into(),
        "\0\0".into(),
        "\0a".into(),
        "a".into(),
        "a\0".into(),
        "aa".into(),
        "é".into(),
        doc! {}.into(),
        doc! {"a": 1}.into(),
        doc! {"a": 1, "a2": 0}.into(),
        doc! {"a": 2}.into(),
        doc! {"b": 0}.into(),
        doc! {"a": ""}.into(),
        Bson::Array(vec![]),
        Bson::Array(vec![Bson::Int32(1)]),
        Bson::Array(vec![Bson::Int32(1), Bson::Int32(0)]),
        binary(0, b""),
        binary(5, b""),
        binary(0, b"b"),
        binary(9, b"a"),
        binary(0, b"aa"),
        binary(0, &[0; 254]),
        binary(0, &[0; 255]),
        binary(0, &[0; 256]),
        Bson::ObjectId(bson::oid::ObjectId::from_bytes([0; 12])),
        false.into(),
        true.into(),
        bson::DateTime::from_millis(-1).into(),
        bson::DateTime::from_millis(0).into(),
        bson::Timestamp { time: 1, increment: 2 }.into(),
        bson::Timestamp { time: 2, increment: 1 }.into(),
        Bson::JavaScriptCode("f".into()),
        Bson::MaxKey,
    ];
    for pair in ascending.windows(2) {
        assert!(encoded(pair[0].clone()) < encoded(pair[1].clone()), "{} < {}", pair[0], pair[1]);
    }
    for value in ascending {
        let id = encoded(value.clone());
        let (kind, bytes) = decode_id(&id).unwrap();
        let mut again = Vec::new();
        encode_id(kind, &bytes, &mut again).unwrap();
        assert_eq!(again, id, "{value}");
    }
}

#[test]
fn a_decoded_number_has_the_smallest_type_that_holds_it() {
    for (value, kind) in [
        (Bson::Double(7.0), kind::INT32),
        (decimal("1E+10"), kind::INT64),
        (decimal("0.5"), kind::DOUBLE),
        (Bson::Double(1e300), kind::DOUBLE),
        (decimal("0.1"), kind::DECIMAL128),
        (Bson::Double(0.1), kind::DOUBLE),
        (decimal("1.5E+6144"), kind::DECIMAL128),
        (Bson::Int64(i64::MIN), kind::INT64),
        (Bson::Double(5e-324), kind::DOUBLE),
    ] {
        assert_eq!(decode_id(&encoded(value.clone())).unwrap().0, kind, "{value}");
    }
}

/// A number as sign, digits and the power of ten of its last digit: the slow and obvious form.
fn plain(number: &Bson) -> (i8, String, i64) {
    let text = match number {
        Bson::Int32(n) => n.to_string(),
        Bson::Int64(n) => n.to_string(),
        Bson::Double(n) => format!("{n:.1100}"),
        Bson::Decimal128(n) => n.to_string(),
        other => panic!("{other} is not a number"),
    };
    let (text, exponent) = match text.split_once('E') {
        Some((text, exponent)) => (text.to_owned(), exponent.trim_start_matches('+').parse().unwrap()),
        None => (text, 0i64),
    };
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest.to_owned()),
        None => (1, text),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let digits = format!("{whole}{fraction}").trim_start_matches('0').to_owned();
    if digits.is_empty() {
        return (0, String::new(), 0);
    }
    (sign, digits, exponent - i64::try_from(fraction.len()).unwrap())
}

fn compare_plainly(left: &Bson, right: &Bson) -> Ordering {
    let ((s1, d1, e1), (s2, d2, e2)) = (plain(left), plain(right));
    if s1 != s2 || s1 == 0 {
        return s1.cmp(&s2);
    }
    let magnitude = (d1.len() as i64 + e1)
        .cmp(&(d2.len() as i64 + e2))
        .then_with(|| d1.trim_end_matches('0').cmp(d2.trim_end_matches('0')));
    if s1 < 0 { magnitude.reverse() } else { magnitude }
}

fn number() -> impl Strategy<Value = Bson> {
    let near = -1000i64..1000;
    prop_oneof![
        any::<i32>().prop_map(Bson::Int32),
        any::<i64>().prop_map(Bson::Int64),
        near.clone().prop_map(Bson::Int64),
        any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(Bson::Double),
        near.clone().prop_map(|n| Bson::Double(n as f64 / 100.0)),
        (near, -3i32..3).prop_map(|(n, e)| decimal(&format!("{n}E{e}"))),
        (any::<i64>(), -6150i32..6090).prop_map(|(n, e)| decimal(&format!("{n}E{e}"))),
    ]
}

proptest! {
    #[test]
    fn numbers_compare_exactly(left in number(), right in number()) {
        let (a, b) = (encoded(left.clone()), encoded(right.clone()));
        prop_assert_eq!(a.cmp(&b), compare_plainly(&left, &right), "{} {}", left, right);
        let (kind, bytes) = decode_id(&a).unwrap();
        let mut again = Vec::new();
        encode_id(kind, &bytes, &mut again).unwrap();
        prop_assert_eq!(again, a);
    }

    #[test]
    fn no_digit_of_a_double_is_left_out(
        number in prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            (any::<i32>(), 1..9i32).prop_map(|(number, places)| f64::from(number) / 10f64.powi(places)),
            Just(f64::MAX), Just(f64::MIN_POSITIVE), Just(f64::from_bits(1)), Just(0.1),
        ],
    ) {
        prop_assume!(number.is_finite() && number != 0.0);
        let significant = |digits: usize| {
            let text = format!("{:.*e}", digits - 1, number.abs());
            let (digits, exponent) = text.split_once('e').unwrap();
            (digits.trim_end_matches('0').to_owned(), exponent.to_owned())
        };
        prop_assert_eq!(significant(number::most_digits(number)), significant(767));
    }

    #[test]
    fn texts_compare_by_their_bytes(left in "[\0ab]{0,5}", right in "[\0ab]{0,5}") {
        prop_assert_eq!(encoded(left.as_str()).cmp(&encoded(right.as_str())), left.cmp(&right));
    }

    #[test]
    fn any_bytes_decode_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        if let Ok((kind, value)) = decode_id(&bytes) {
            let mut again = Vec::new();
            encode_id(kind, &value, &mut again).unwrap();
            prop_assert_eq!(again, bytes);
        }
    }

    #[test]
    fn any_value_encodes_without_a_panic(kind in any::<u8>(), bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let _ = encode_id(kind, &bytes, &mut Vec::new());
    }
}
