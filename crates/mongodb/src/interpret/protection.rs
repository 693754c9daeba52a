//! What is protected, as text: from the configuration to the ledger, and back.
//!
//! ```text
//!   include   ascending, each once         "shop.*"
//!   rules     in their order, as JSON      {"ns":"shop.*","field":"customer.tenant"}
//!                                          {"ns":"tenant_{id}.*"}
//!                                          {"ns":"*","fixed":"shared"}
//! ```
//!
//! One configuration has one text, down to the byte: it is compared to see whether something changed.

use backstay_model::Protection;

use crate::interpret::MongoInterpreter;
use crate::interpret::scope::Include;
use crate::interpret::tenants::{Origin, Rule, Rules};

/// What is protected by these patterns and rules, followed by the oplog.
pub fn protection<'a>(include: impl IntoIterator<Item = &'a str>, rules: &[Rule]) -> Protection {
    let mut include: Vec<String> = include.into_iter().map(str::to_owned).collect();
    include.sort();
    include.dedup();
    Protection { include, tenants: rules.iter().map(rule_text).collect(), feed: String::new() }
}

fn rule_text(rule: &Rule) -> String {
    // Put together by hand: the order of fields must not depend on how a library was built.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let ns = quoted(&rule.ns);
    match &rule.origin {
        Origin::Field(path) => format!("{{\"ns\":{ns},\"field\":{}}}", quoted(path)),
        Origin::Capture => format!("{{\"ns\":{ns}}}"),
        Origin::Fixed(tenant) => format!("{{\"ns\":{ns},\"fixed\":{}}}", quoted(tenant)),
    }
}

/// Which namespaces `protection` is for.
///
/// # Errors
/// In words, when this version cannot make sense of it.
pub fn include(protection: &Protection) -> Result<Include, String> {
    Include::compile(protection.include.iter().map(String::as_str))
}

/// The tenant rules of `protection`.
///
/// # Errors
/// In words, when this version cannot make sense of them.
pub fn rules(protection: &Protection) -> Result<Vec<Rule>, String> {
    let wrong = |text: &String| format!("{text} is not a tenant rule that this version knows");
    protection.tenants.iter().map(|text| read_rule(text).ok_or_else(|| wrong(text))).collect()
}

fn read_rule(text: &str) -> Option<Rule> {
    let mut fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).ok()?;
    let ns = fields.remove("ns")?.as_str()?.to_owned();
    let mut fields = fields.into_iter();
    let origin = match (fields.next(), fields.next()) {
        (None, _) => Origin::Capture,
        (Some((kind, value)), None) => match kind.as_str() {
            "field" => Origin::Field(value.as_str()?.to_owned()),
            "fixed" => Origin::Fixed(value.as_str()?.to_owned()),
            _ => return None,
        },
        (Some(_), Some(_)) => return None,
    };
    Some(Rule { ns, origin })
}

impl MongoInterpreter {
    /// An interpreter of what was captured while `protection` held.
    ///
    /// # Errors
    /// In words, when this version cannot make sense of it.
    pub fn of(protection: &Protection) -> Result<MongoInterpreter, String> {
        Ok(MongoInterpreter::new(include(protection)?, Rules::compile(rules(protection)?)?))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn rule(ns: &str, origin: Origin) -> Rule {
        Rule { ns: ns.to_owned(), origin }
    }

    #[test]
    fn a_protection_reads_back_what_it_was_made_from() {
        let written = [
            rule("shop.a\"b", Origin::Field("customer.tenant".to_owned())),
            rule("tenant_{id}.*", Origin::Capture),
            rule("*", Origin::Fixed("shared".to_owned())),
        ];
        let protection = protection(["shop.*", "a.b", "shop.*"], &written);
        assert_eq!(protection.include, ["a.b", "shop.*"]);
        let texts = [
            r#"{"ns":"shop.a\"b","field":"customer.tenant"}"#,
            r#"{"ns":"tenant_{id}.*"}"#,
            r#"{"ns":"*","fixed":"shared"}"#,
        ];
        assert_eq!(protection.tenants, texts);
        assert_eq!(rules(&protection).unwrap(), written);
        assert!(include(&protection).unwrap().contains("a.b"));
        assert!(!include(&protection).unwrap().contains("a.c"));
    }

    #[test]
    fn a_rule_of_a_newer_version_is_an_error() {
        let newer = r#"{"ns":"*","hash":"x"}"#.to_owned();
        assert!(rules(&Protection { include: Vec::new(), tenants: vec![newer], feed: String::new() }).is_err());
    }
}
