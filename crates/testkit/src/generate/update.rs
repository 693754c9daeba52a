//! Random updates of random records.

use bson::{Bson, Document, doc};

use crate::Chance;
use crate::generate::{ODD_NAMES, PLAIN_NAMES, binary, document, number, scalar, text, value};

/// A record with fields that each operator can work on, and odd ones.
pub fn record(chance: &mut Chance, id: i32) -> Document {
    let mut record = doc! {
        "_id": id,
        "n": number(chance),
        "bits": chance.number() as i32,
        "long": chance.number() as i64,
        "str": text(chance),
        "nums": numbers(chance),
        "objs": objects(chance),
        "sub": { "x": chance.small(), "y": { "z": chance.small(), "list": numbers(chance) }, "w": scalar(chance) },
        "grid": [numbers(chance), numbers(chance)],
        "bin": binary(chance),
    };
    for (name, value) in document(chance, 3, ODD_NAMES) {
        record.insert(name, value);
    }
    record
}

fn numbers(chance: &mut Chance) -> Vec<i32> {
    (0..chance.below(6)).map(|_| chance.small()).collect()
}

fn objects(chance: &mut Chance) -> Vec<Document> {
    (0..chance.below(5)).map(|_| doc! { "k": chance.small(), "v": scalar(chance) }).collect()
}

fn path(chance: &mut Chance) -> String {
    let known = [
        "n",
        "bits",
        "long",
        "str",
        "nums",
        "objs",
        "sub",
        "sub.x",
        "sub.y",
        "sub.y.z",
        "sub.y.list",
        "sub.w",
        "grid",
        "bin",
        "nums.0",
        "nums.7",
        "objs.0.k",
        "objs.1.v",
        "objs.3",
        "grid.0",
        "grid.1.2",
        "grid.2.0",
        "new",
        "new.inner.deep",
        "new.0.x",
        "sub.new",
        "sub.y.new.a",
    ];
    match chance.below(5) {
        0 => chance.pick(PLAIN_NAMES).to_owned(),
        1 => format!("{}.{}", chance.pick(PLAIN_NAMES), chance.pick(PLAIN_NAMES)),
        _ => chance.pick(&known).to_owned(),
    }
}

fn number_path(chance: &mut Chance) -> String {
    chance
        .pick(&[
            "n",
            "bits",
            "long",
            "sub.x",
            "sub.y.z",
            "nums.0",
            "nums.1",
            "nums.5",
            "objs.0.k",
            "grid.1.0",
            "new",
            "new.a",
            "nums.$[]",
            "objs.$[].k",
        ])
        .to_owned()
}

fn list_path(chance: &mut Chance) -> String {
    chance.pick(&["nums", "nums", "sub.y.list", "grid.0", "new", "new.list", "grid.$[]"]).to_owned()
}

/// Query, update and array filters for the record `id`.
pub fn update(chance: &mut Chance, id: i32, current: &Document) -> Document {
    let q = doc! { "_id": id };
    if chance.one_in(2) {
        return doc! { "q": q, "u": pipeline(chance, current) };
    }
    if chance.one_in(12) {
        let mut new = record(chance, id);
        new.remove("$x");
        if chance.one_in(2) {
            new.remove("_id");
        }
        return doc! { "q": q, "u": new };
    }
    if chance.one_in(12) {
        let key = chance.small();
        let u = match chance.below(3) {
            0 => doc! { "$set": { "objs.$.v": scalar(chance) } },
            1 => doc! { "$unset": { "objs.$.v": "" } },
            _ => doc! { "$inc": { "objs.$.k": 1 } },
        };
        return doc! { "q": { "_id": id, "objs.k": key }, "u": u };
    }
    if chance.one_in(12) {
        let (u, filter) = match chance.below(3) {
            0 => (doc! { "$set": { "objs.$[e].v": scalar(chance) } }, doc! { "e.k": { "$gte": chance.small() } }),
            1 => (doc! { "$inc": { "nums.$[e]": 10 } }, doc! { "e": { "$lt": chance.small() } }),
            _ => (doc! { "$unset": { "objs.$[e]": "" } }, doc! { "e.k": { "$lt": chance.small() } }),
        };
        return doc! { "q": q, "u": u, "arrayFilters": [filter] };
    }
    let mut u = Document::new();
    for _ in 0..chance.below(3) + 1 {
        let (name, field, operand) = operator(chance);
        if let Ok(fields) =
            u.entry(name.to_owned()).or_insert_with(|| Bson::Document(Document::new())).as_document_mut().ok_or(())
        {
            fields.insert(field, operand);
        }
    }
    doc! { "q": q, "u": u, "upsert": chance.one_in(20) }
}

fn operator(chance: &mut Chance) -> (&'static str, String, Bson) {
    match chance.below(17) {
        0..=2 => ("$set", path(chance), value(chance, 2)),
        3 => ("$unset", path(chance), "".into()),
        4 => ("$inc", number_path(chance), number(chance)),
        5 => ("$mul", number_path(chance), Bson::Int32(chance.small())),
        6 => ("$min", path(chance), scalar(chance)),
        7 => ("$max", path(chance), scalar(chance)),
        8 => {
            let to = *chance.pick(&[&"renamed", &"sub.renamed", &"sub.x", &"a", &"n"]);
            ("$rename", chance.pick(&["n", "str", "sub.w", "sub.y", "objs", "b", "missing"]).to_owned(), to.into())
        }
        9 | 10 => ("$push", list_path(chance), push(chance)),
        11 => {
            let each: Vec<i32> = (0..chance.below(4)).map(|_| chance.small()).collect();
            (
                "$addToSet",
                list_path(chance),
                if chance.one_in(2) { doc! { "$each": each }.into() } else { scalar(chance) },
            )
        }
        12 => {
            let limit = chance.small();
            if chance.one_in(2) {
                ("$pull", list_path(chance), doc! { "$lt": limit }.into())
            } else {
                ("$pull", "objs".into(), doc! { "k": limit }.into())
            }
        }
        13 => ("$pullAll", list_path(chance), vec![chance.small(), chance.small()].into()),
        14 => ("$pop", list_path(chance), Bson::Int32(if chance.one_in(2) { 1 } else { -1 })),
        15 => {
            let operation = *chance.pick(&[&"and", &"or", &"xor"]);
            (
                "$bit",
                chance.pick(&["bits", "long", "new", "nums.0"]).to_owned(),
                doc! { operation: chance.small() }.into(),
            )
        }
        _ => match chance.below(3) {
            0 => ("$currentDate", path(chance), true.into()),
            1 => ("$currentDate", path(chance), doc! { "$type": "timestamp" }.into()),
            _ => ("$setOnInsert", path(chance), scalar(chance)),
        },
    }
}

fn push(chance: &mut Chance) -> Bson {
    let each: Vec<Bson> = (0..chance.below(4)).map(|_| Bson::Int32(chance.small())).collect();
    let mut push = doc! { "$each": each };
    if chance.one_in(2) {
        push.insert("$slice", chance.small());
    }
    if chance.one_in(2) {
        push.insert("$sort", if chance.one_in(2) { 1 } else { -1 });
    }
    if chance.one_in(2) {
        push.insert("$position", chance.small());
    }
    push.into()
}

fn pipeline(chance: &mut Chance, current: &Document) -> Vec<Document> {
    let literal = |value: Bson| doc! { "$literal": value };
    match chance.below(9) {
        0 => vec![
            doc! { "$set": { path_of_pipeline(chance): literal(value(chance, 2)), path_of_pipeline(chance): literal(scalar(chance)) } },
        ],
        1 => vec![doc! { "$unset": [path_of_pipeline(chance)] }],
        2 => vec![
            doc! { "$set": { "nums": { "$concatArrays": [{ "$ifNull": ["$sub.y.list", []] }, [chance.small()]] } } },
        ],
        3 => vec![
            doc! { "$set": { "objs": { "$map": { "input": { "$ifNull": ["$objs", []] }, "in": { "k": "$$this.k", "v": chance.small() } } } } },
        ],
        4 => {
            let field = chance.pick(ODD_NAMES).to_owned();
            vec![
                doc! { "$replaceWith": { "$setField": { "field": literal(field.into()), "input": "$$ROOT", "value": literal(value(chance, 2)) } } },
            ]
        }
        // The server finds the difference between any two documents.
        _ => {
            let mut new = current.clone();
            for _ in 0..chance.below(3) + 1 {
                mutate(chance, &mut new, 3);
            }
            if let Some(id) = current.get("_id") {
                new.insert("_id", id.clone());
            }
            vec![doc! { "$replaceWith": literal(new.into()) }]
        }
    }
}

fn path_of_pipeline(chance: &mut Chance) -> String {
    chance
        .pick(&[
            "n",
            "str",
            "nums",
            "objs",
            "objs.k",
            "sub.x",
            "sub.y",
            "sub.y.list",
            "grid",
            "new",
            "new.a",
            "a",
            "d.u",
            "bin",
        ])
        .to_owned()
}

fn mutate(chance: &mut Chance, document: &mut Document, depth: usize) {
    let names: Vec<String> = document.keys().cloned().collect();
    let name = if names.is_empty() || chance.one_in(4) {
        chance.pick(ODD_NAMES).to_owned()
    } else {
        names[chance.below(names.len())].clone()
    };
    if depth > 0 && chance.one_in(2) {
        match document.get_mut(&name) {
            Some(Bson::Document(inner)) => return mutate(chance, inner, depth - 1),
            Some(Bson::Array(inner)) => return mutate_array(chance, inner, depth - 1),
            _ => {}
        }
    }
    match chance.below(4) {
        0 => drop(document.remove(&name)),
        // Removed and appended: its place changes.
        1 => {
            let old = document.remove(&name);
            document.insert(name, old.filter(|_| chance.one_in(2)).unwrap_or_else(|| value(chance, 2)));
        }
        _ => drop(document.insert(name, value(chance, 2))),
    }
}

fn mutate_array(chance: &mut Chance, array: &mut Vec<Bson>, depth: usize) {
    if array.is_empty() || chance.one_in(3) {
        for _ in 0..chance.below(3) + 1 {
            array.push(value(chance, 1));
        }
        return;
    }
    let at = chance.below(array.len());
    match (&mut array[at], chance.below(5)) {
        (Bson::Document(inner), 0..=2) if depth > 0 => mutate(chance, inner, depth - 1),
        (Bson::Array(inner), 0..=2) if depth > 0 => mutate_array(chance, inner, depth - 1),
        (_, 0) => drop(array.remove(at)),
        (_, 1) => array.truncate(at),
        (place, _) => *place = value(chance, 1),
    }
}
