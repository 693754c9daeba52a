#![allow(clippy::unwrap_used)]

use bson::{Bson, Document, doc};

use super::*;

fn rules() -> Rules {
    let rule = |ns: &str, origin| Rule { ns: ns.to_owned(), origin };
    Rules::compile([
        rule("shop.special", Origin::Fixed("vip".into())),
        rule("shop.*", Origin::Field("owner.tenant".into())),
        rule("shop.*", Origin::Field("tenant".into())),
        rule("tenant_{id}.*", Origin::Capture),
        rule("logs.*", Origin::Fixed("ops".into())),
        rule("*", Origin::Fixed("shared".into())),
    ])
    .unwrap()
}

#[track_caller]
fn check(ns: &str, record: Document, expected: &str) {
    let bytes = bson::serialize_to_vec(&record).unwrap();
    assert_eq!(rules().owner(ns).of(&bytes).unwrap().as_str(), expected, "{ns} {record}");
}

#[test]
fn the_first_rule_that_tells_wins() {
    check("shop.special", doc! { "tenant": "a" }, "vip");
    check("shop.orders", doc! { "tenant": "a" }, "a");
    check("shop.orders", doc! { "tenant": "a", "owner": { "tenant": "b" } }, "b");
    check("shop.orders", doc! { "tenant": "a", "owner": { "tenant": Bson::Null } }, "a");
    check("shop.orders", doc! { "tenant": "", "owner": 1 }, "shared");
    check("tenant_x.anything", doc! { "tenant": "a" }, "x");
    check("logs.l", doc! {}, "ops");
    check("shop.system.views", doc! { "tenant": "a" }, VIEWS);
    let unassigned = Rules::default().owner("a.b").of(&[5, 0, 0, 0, 0]).unwrap();
    assert_eq!(unassigned.as_str(), Tenant::UNASSIGNED_NAME);
}

#[test]
fn every_type_has_a_name() {
    let uuid = bson::Binary { subtype: bson::spec::BinarySubtype::Uuid, bytes: (0..16).collect() };
    for (value, name) in [
        (Bson::Int32(7), "7"),
        (Bson::Int64(-7), "-7"),
        (Bson::Double(7.0), "7"),
        (Bson::Double(7.5), r#"{"$numberDouble":"7.5"}"#),
        (Bson::Boolean(true), "true"),
        (Bson::ObjectId(bson::oid::ObjectId::from_bytes([10; 12])), "0a0a0a0a0a0a0a0a0a0a0a0a"),
        (Bson::Binary(uuid), "00010203-0405-0607-0809-0a0b0c0d0e0f"),
        (Bson::Document(doc! { "a": "b" }), r#"{"a":"b"}"#),
        (Bson::String("x".repeat(5000)), "shared"),
    ] {
        check("shop.orders", doc! { "tenant": value }, name);
    }
}

#[test]
fn a_constant_owner_is_known_without_the_record() {
    assert_eq!(rules().owner("tenant_x.c").constant(), Some(&Tenant::new("x")));
    assert_eq!(rules().owner("shop.orders").constant(), None);
    assert_eq!(rules().owner("shop.orders").roots().collect::<Vec<_>>(), [&b"owner"[..], b"tenant"]);
}

#[test]
fn wrong_rules_are_refused_in_words() {
    for (ns, origin) in [
        ("shop.*", Origin::Field("a..b".into())),
        ("shop.*", Origin::Capture),
        ("shop.*", Origin::Fixed(String::new())),
        ("", Origin::Fixed("x".into())),
    ] {
        assert!(Rules::compile([Rule { ns: ns.to_owned(), origin }]).is_err(), "{ns}");
    }
}
