//! Filters, patterns and rules.

use backstay_model::Protection;
use backstay_mongodb::interpret::filter::Filter;
use backstay_mongodb::interpret::{MongoInterpreter, protection as recorded};

use crate::forge::Forge;

/// A record, and behind it the text of a filter.
pub(crate) fn filter(bytes: &[u8]) {
    let mut forge = Forge::new(bytes);
    let record = forge.document();
    let Ok(text) = std::str::from_utf8(forge.rest()) else { return };
    let Ok(filter) = Filter::parse(text) else { return };
    let first = filter.matches(&record);
    assert_eq!(filter.matches(&record), first);
}

/// Lines: patterns up to an empty one, then rules.
pub(crate) fn protection(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (include, tenants) = text.split_once("\n\n").unwrap_or((text, ""));
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let read = Protection { include: lines(include), tenants: lines(tenants), feed: String::new() };
    let rules = recorded::rules(&read);
    if let Ok(rules) = &rules {
        let written = recorded::protection(read.include.iter().map(String::as_str), rules);
        assert_eq!(recorded::rules(&written).as_ref(), Ok(rules));
    }
    if let Ok(interpreter) = MongoInterpreter::of(&read) {
        for ns in ["shop.orders", "t_a_b.x", "admin.system.users", "shop.tmp9", "a.system.buckets.b"] {
            let known = interpreter.scope().namespace(ns);
            let _ = (known.included, known.owner.paths());
        }
    }
}
