//! Documents and record ids.

use std::sync::LazyLock;

use backstay_model::Interpreter as _;
use backstay_mongodb::interpret::raw::{self, Element};
use backstay_mongodb::interpret::tenants::{Origin, Rule, Rules};
use backstay_mongodb::interpret::{MongoInterpreter, decode_id, encode_id, extjson, fields, id_of, scope};

use crate::forge::Forge;

/// An interpreter as it is configured: some databases, and a rule of each kind. Compiling its patterns takes longer than most
/// of what it is asked.
pub(crate) static INTERPRETER: LazyLock<MongoInterpreter> = LazyLock::new(|| {
    let rule = |ns: &str, origin| Rule { ns: ns.to_owned(), origin };
    let rules = [
        rule("shop.*", Origin::Field("tenant".to_owned())),
        rule("shop.*", Origin::Field("customer.a".to_owned())),
        rule("t_{id}.*", Origin::Capture),
        rule("*", Origin::Fixed("rest".to_owned())),
    ];
    let include = scope::Include::compile(["shop.*", "t_*.*", "admin.system.users"]).expect("sound patterns");
    MongoInterpreter::new(include, Rules::compile(rules).expect("sound rules"))
});

/// A document: walked at all levels, and shown.
pub(crate) fn walk(bytes: &[u8]) {
    let mut forge = Forge::new(bytes);
    let document = forge.document();
    let sound = raw::validate(&document).is_ok();
    let shown = extjson::document(&document);
    assert_eq!(sound, shown.is_ok());
    let mut counted = fields::Fields::default();
    let added = counted.add(&document);
    assert!(!sound || added.is_ok());
    if let Ok(elements) = raw::elements(&document) {
        let mut copy = Vec::new();
        let start = raw::open(&mut copy);
        let mut whole = true;
        for element in elements {
            let Ok(element) = element else {
                whole = false;
                break;
            };
            let _ = (element.text(), element.as_str(), element.as_timestamp(), element.is_true(), element.as_binary());
            raw::put(&mut copy, element.kind, element.name, element.value);
        }
        raw::close(&mut copy, start).expect("it is small");
        assert!(!whole || copy == document);
    }
    for ns in ["shop.orders", "t_a.b", "x.y"] {
        assert!(INTERPRETER.tenant(ns, &document, &mut String::new()).len() <= 1024);
    }
}

/// The id of a document, and bytes that claim to be one.
pub(crate) fn record_id(bytes: &[u8]) {
    let mut forge = Forge::new(bytes);
    if forge.byte() & 1 == 0 {
        is_canonical(forge.rest());
        return;
    }
    let document = forge.document();
    let mut id = Vec::new();
    if id_of(&document, &mut id).is_ok() {
        // Text in a value need not be UTF-8, nor a kind be known: then there is nothing to read back.
        let read = decode_id(&id).expect("what was written is read");
        let mut again = Vec::new();
        encode_id(read.0, &read.1, &mut again).expect("what was read is written");
        assert_eq!(again, id);
    }
}

fn is_canonical(id: &[u8]) {
    assert!(!INTERPRETER.display_id(id).is_empty());
    let Ok((kind, value)) = decode_id(id) else { return };
    let holder = holder(kind, &value);
    raw::validate(&holder).expect("a value of its kind");
    extjson::value(Element { kind, name: &[], value: &value }).expect("a value of its kind");
    let mut again = Vec::new();
    encode_id(kind, &value, &mut again).expect("what was read is written");
    assert_eq!(again, id, "the form of an id is not unique");
}

fn holder(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let start = raw::open(&mut out);
    raw::put(&mut out, kind, b"_id", value);
    raw::close(&mut out, start).expect("it is small");
    out
}

/// An id as a person writes it, and how it is shown again.
pub(crate) fn text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(id) = extjson::parse_id(text) else { return };
    let shown = INTERPRETER.display_id(&id);
    let again = extjson::parse_id(&shown);
    assert_eq!(again.as_ref(), Ok(&id), "{shown}");
}
