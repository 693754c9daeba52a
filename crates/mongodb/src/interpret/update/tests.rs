#![allow(clippy::unwrap_used)]

use bson::{Bson, Document, doc};
use proptest::prelude::*;

use super::*;

fn bytes(document: &Document) -> Vec<u8> {
    bson::serialize_to_vec(document).unwrap()
}

fn applied(image: Document, o: Document) -> Document {
    let mut out = Vec::new();
    apply(&bytes(&image), &bytes(&o), &mut out).unwrap();
    raw::validate(&out).unwrap();
    bson::deserialize_from_slice(&out).unwrap()
}

#[track_caller]
fn diff(image: Document, diff: Document, result: Document) {
    assert_eq!(applied(image, doc! { "$v": 2, "diff": diff }).to_string(), result.to_string());
}

#[test]
fn a_document_with_an_id_is_a_replacement_whatever_else_it_holds() {
    for (o, expected) in [
        (doc! { "_id": 1, "$v": 2, "diff": {} }, Form::Replacement),
        (doc! { "$v": 2, "_id": 1 }, Form::Replacement),
        (doc! { "a": 1 }, Form::Replacement),
        (doc! {}, Form::Replacement),
        (doc! { "$v": 1, "$set": { "a": 1 } }, Form::Paths),
        (doc! { "$set": { "a": 1 } }, Form::Paths),
        (doc! { "$v": 2, "diff": {} }, Form::Diff),
    ] {
        assert_eq!(form(&bytes(&o)).unwrap(), expected, "{o}");
    }
    assert!(form(&bytes(&doc! { "$v": 3, "x": {} })).is_err());
}

#[test]
fn fields_are_edited_where_they_stand_and_new_ones_appended_in_order() {
    let image = doc! { "_id": 1, "a": 1, "b": 2, "c": 3 };
    diff(
        image,
        doc! { "d": { "a": false, "zz": false }, "u": { "b": 20, "y": 1 }, "i": { "x": 1, "c": 30 } },
        doc! { "_id": 1, "b": 20, "y": 1, "x": 1, "c": 30 },
    );
}

#[test]
fn a_diff_that_says_twice_what_becomes_of_a_field_is_refused() {
    let image = bytes(&doc! { "_id": 1, "a": 1 });
    let many = |last: &str| {
        let mut fields: Document = (0..40).map(|n| (format!("f{n}"), Bson::from(n))).collect();
        fields.insert(last, 1);
        doc! { "$v": 2, "diff": { "d": { "a": false }, "u": fields } }
    };
    let mut out = Vec::new();
    for twice in [doc! { "$v": 2, "diff": { "d": { "a": false }, "u": { "a": 2 } } }, many("a")] {
        assert!(apply(&image, &bytes(&twice), &mut out).is_err(), "{twice}");
    }
    apply(&image, &bytes(&many("b")), &mut out).unwrap();
}

/// Found against a server: a pipeline that puts `_id` last, or takes it away.
#[test]
fn the_id_stays_first_whatever_the_diff_makes_of_it() {
    diff(doc! { "_id": 1, "a": 1 }, doc! { "i": { "b": 2, "_id": 1 } }, doc! { "_id": 1, "a": 1, "b": 2 });
    diff(doc! { "_id": 1, "a": 1 }, doc! { "d": { "_id": false } }, doc! { "_id": 1, "a": 1 });
}

#[test]
fn a_diff_descends_and_leaves_null_where_the_type_is_another() {
    let image = doc! { "_id": 1, "d": { "x": 1 }, "sd": { "x": 1 }, "": { "x": 1 }, "n": 5, "arr": [1] };
    diff(
        image,
        doc! { "sd": { "i": { "y": 1 } }, "ssd": { "u": { "x": 2 } }, "s": { "d": { "x": false } }, "sn": { "u": { "x": 1 } },
        "sarr": { "u": { "x": 1 } }, "smissing": { "u": { "x": 1 } } },
        doc! { "_id": 1, "d": { "x": 1, "y": 1 }, "sd": { "x": 2 }, "": {}, "n": Bson::Null, "arr": Bson::Null },
    );
}

#[test]
fn arrays_are_cut_padded_and_edited_by_index() {
    diff(
        doc! { "a": [1, 2, 3], "b": [1], "c": [1, { "x": 1 }], "d": [1] },
        doc! { "sa": { "a": true, "l": 1 }, "sb": { "a": true, "l": 3 }, "sc": { "a": true, "s1": { "u": { "x": 2 } }, "u3": 9 },
        "sd": { "a": true, "s0": { "u": { "x": 2 } }, "s2": { "u": { "x": 2 } } } },
        doc! { "a": [1], "b": [1, Bson::Null, Bson::Null], "c": [1, { "x": 2 }, Bson::Null, 9], "d": [Bson::Null, Bson::Null, Bson::Null] },
    );
}

#[test]
fn binary_data_is_spliced() {
    let binary = |bytes: &[u8]| bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: bytes.to_vec() };
    diff(
        doc! { "x": binary(b"hello"), "y": binary(b"hello"), "n": 1 },
        doc! { "b": { "x": { "o": 1, "d": binary(b"i") }, "y": { "o": 5, "d": binary(b" you") }, "n": { "o": 0, "d": binary(b"") } } },
        doc! { "x": binary(b"hi"), "y": binary(b"hello you"), "n": Bson::Null },
    );
}

#[test]
fn many_steps_find_their_fields_too() {
    let image: Document = (0..100).map(|n| (format!("f{n}"), Bson::Int32(n))).collect();
    let update: Document = (0..100).step_by(2).map(|n| (format!("f{n}"), Bson::Int32(-n))).collect();
    let expected: Document =
        (0..100).map(|n| (format!("f{n}"), Bson::Int32(if n % 2 == 0 { -n } else { n }))).collect();
    diff(image, doc! { "u": update }, expected);
}

#[test]
fn an_array_does_not_grow_without_end() {
    for o in [
        doc! { "$v": 2, "diff": { "sa": { "a": true, "l": i32::MAX } } },
        doc! { "$v": 2, "diff": { "sa": { "a": true, "u999999999": 1 } } },
        doc! { "$v": 1, "$set": { "a.999999999": 1 } },
    ] {
        assert!(apply(&bytes(&doc! { "a": [] }), &bytes(&o), &mut Vec::new()).is_err(), "{o}");
    }
}

#[test]
fn paths_are_set_created_and_unset() {
    let image = doc! { "_id": 1, "a": { "x": 1, "y": 2 }, "l": [1, { "k": 1 }], "s": 5 };
    let o = doc! { "$v": 1,
    "$unset": { "a.x": true, "l.0": true, "missing.x": true },
    "$set": { "a.z": 3, "l.1.k": 2, "l.3": 4, "l.name": 1, "n.m.o": 1, "n.m.p": 2, "s.below": 1, "b": 1 } };
    let expected = doc! { "_id": 1, "a": { "y": 2, "z": 3 }, "l": [Bson::Null, { "k": 2 }, Bson::Null, 4], "s": 5,
    "b": 1, "n": { "m": { "o": 1, "p": 2 } } };
    assert_eq!(applied(image, o).to_string(), expected.to_string());
}

/// `01` is the index 1, too.
#[test]
fn one_element_under_two_names_is_refused() {
    let image = bytes(&doc! { "_id": 1, "l": [0, 1, 2] });
    let apply_set = |set: Document| {
        let mut out = Vec::new();
        apply(&image, &bytes(&doc! { "$v": 1, "$set": set }), &mut out).map(|()| out)
    };
    assert!(apply_set(doc! { "l.1": 5, "l.01": 6, "l.2": 7 }).is_err());
    assert_eq!(apply_set(doc! { "l.01": 6, "l.2": 7 }).unwrap(), bytes(&doc! { "_id": 1, "l": [0, 6, 7] }));
}

#[test]
fn a_change_is_seen_by_the_first_part_of_its_path() {
    let o = bytes(
        &doc! { "$v": 2, "diff": { "u": { "a": 1 }, "d": { "b": false }, "i": { "c": 1 }, "sd": { "u": { "e": 1 } } } },
    );
    for (root, touched) in [("a", true), ("b", true), ("c", true), ("d", true), ("e", false), ("sd", false)] {
        assert_eq!(touches(Form::Diff, &o, root.as_bytes()).unwrap(), touched, "{root}");
    }
    let o = bytes(&doc! { "$v": 1, "$set": { "a.b": 1 }, "$unset": { "c": 1 } });
    for (root, touched) in [("a", true), ("b", false), ("c", true)] {
        assert_eq!(touches(Form::Paths, &o, root.as_bytes()).unwrap(), touched, "{root}");
    }
}

fn damaged() -> (Vec<u8>, Vec<Vec<u8>>) {
    let image = bytes(&doc! { "_id": 1, "a": { "x": [1, { "y": "t" }] }, "b": "text", "l": [1, 2] });
    let updates = [
        doc! { "$v": 2, "diff": { "d": { "b": false }, "i": { "n": 1 }, "sa": { "sx": { "a": true, "l": 3, "s1": { "u": { "y": 2 } } } } } },
        doc! { "$v": 1, "$set": { "a.x.1.y": 1, "l.4": 5 }, "$unset": { "b": true } },
    ];
    (image, updates.iter().map(bytes).collect())
}

proptest! {
    #[test]
    fn damaged_updates_are_applied_without_a_panic(
        which in 0usize..2, at in 0usize..200, byte in any::<u8>(), image_at in 0usize..200, image_byte in any::<u8>(),
        damage_image in any::<bool>(),
    ) {
        let (mut image, updates) = damaged();
        let mut o = updates[which].clone();
        let length = o.len();
        o[at % length] = byte;
        if damage_image {
            let length = image.len();
            image[image_at % length] = image_byte;
        }
        let mut out = Vec::new();
        let _ = apply(&image, &o, &mut out);
        prop_assert!(out.len() < 32 << 20);
        let _ = form(&o).map(|form| touches(form, &o, b"a"));
    }
}
