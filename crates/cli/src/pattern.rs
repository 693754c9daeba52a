//! Patterns for namespace names.
//!
//! `*` stands for any characters, dots included (a collection's name may hold dots), `?` for one, `[ab]` for one of
//! these; everything else for itself. Letters count as they are written.

use std::fmt;
use std::str::FromStr;

use globset::{GlobBuilder, GlobMatcher};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A pattern that namespace names match or not.
#[derive(Clone, Debug)]
pub struct NamespacePattern {
    text: String,
    matcher: GlobMatcher,
}

impl NamespacePattern {
    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it matches more than the name that it spells.
    pub fn is_glob(&self) -> bool {
        self.text.contains(['*', '?', '[', '\\'])
    }

    /// Whether the name of a namespace matches.
    pub fn matches(&self, name: &str) -> bool {
        self.matcher.is_match(name)
    }
}

impl FromStr for NamespacePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<NamespacePattern, String> {
        let wrong = |why: &str| Err(format!("“{text}” is not a namespace pattern: {why}"));
        if text != "*" && !text.contains('.') {
            return wrong("it has no dot; write DATABASE.COLLECTION, or DATABASE.* for all of a database");
        }
        if text.contains(['{', '}']) {
            return wrong("braces have no meaning here");
        }
        match GlobBuilder::new(text).backslash_escape(true).literal_separator(false).build() {
            Ok(glob) => Ok(NamespacePattern { text: text.to_owned(), matcher: glob.compile_matcher() }),
            Err(error) => wrong(&error.kind().to_string()),
        }
    }
}

impl PartialEq for NamespacePattern {
    fn eq(&self, other: &NamespacePattern) -> bool {
        self.text == other.text
    }
}

impl Eq for NamespacePattern {}

impl fmt::Display for NamespacePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for NamespacePattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for NamespacePattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<NamespacePattern, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        pattern.parse::<NamespacePattern>().unwrap().matches(name)
    }

    #[test]
    fn a_star_spans_dots_and_slashes() {
        assert!(matches("shop.*", "shop.orders") && matches("shop.*", "shop.orders.2026/11"));
        assert!(matches("tenant_*.*", "tenant_7.orders") && matches("*", "any.thing"));
        assert!(!matches("shop.*", "shopping.orders") && !matches("shop.orders", "shop.orders2"));
        assert!(!matches("shop.*", "Shop.orders"));
    }

    #[test]
    fn a_name_is_no_glob() {
        assert!(!"shop.orders".parse::<NamespacePattern>().unwrap().is_glob());
        assert!("shop.o*".parse::<NamespacePattern>().unwrap().is_glob());
    }

    #[test]
    fn what_cannot_match_is_refused() {
        for text in ["", "shop", "shop.[a", "shop.{a,b}"] {
            assert!(text.parse::<NamespacePattern>().is_err(), "{text}");
        }
    }
}
