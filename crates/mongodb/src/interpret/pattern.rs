//! Patterns of namespace names: `shop.*`, `tenant_{id}.orders`.
//!
//! `*` stands for any text, dots included; `?` for one character; `{id}` for text without a dot, at least one character
//! of it, which is captured. All else stands for itself. A pattern is matched against a name once per namespace, not per
//! record, so that matching is plain backtracking.

/// A pattern of namespace names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern {
    parts: Vec<Part>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    Char(char),
    AnyChar,
    AnyText,
    Capture,
}

impl Pattern {
    /// The pattern that `text` writes.
    ///
    /// # Errors
    /// In words, when it captures twice or is empty.
    pub fn parse(text: &str) -> Result<Pattern, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            if let Some(after) = rest.strip_prefix("{id}") {
                if parts.contains(&Part::Capture) {
                    return Err(format!("“{text}” has {{id}} twice"));
                }
                parts.push(Part::Capture);
                rest = after;
                continue;
            }
            match next {
                // Two in a row say no more than one, and cost.
                '*' if parts.last() == Some(&Part::AnyText) => {}
                '*' => parts.push(Part::AnyText),
                '?' => parts.push(Part::AnyChar),
                other => parts.push(Part::Char(other)),
            }
            rest = rest.get(next.len_utf8()..).unwrap_or_default();
        }
        if parts.is_empty() {
            return Err("a pattern of namespaces is empty".to_owned());
        }
        Ok(Pattern { parts })
    }

    /// True when it captures a part of the name.
    pub fn captures(&self) -> bool {
        self.parts.contains(&Part::Capture)
    }

    /// `None` when the name does not match; else what was captured, empty without a capture.
    pub fn matches<'n>(&self, name: &'n str) -> Option<&'n str> {
        matches(&self.parts, name)
    }

    /// True when all names that match begin with this text, because the pattern does.
    pub fn begins_with(&self, text: &str) -> bool {
        let mut parts = self.parts.iter();
        text.chars().all(|expected| parts.next() == Some(&Part::Char(expected)))
    }

    /// True when a namespace of this database could match.
    pub fn covers_database(&self, database: &str) -> bool {
        let dot = self.parts.iter().position(|part| matches!(part, Part::Char('.') | Part::AnyText));
        match dot.and_then(|at| Some((self.parts.get(at)?, self.parts.get(..at)?))) {
            Some((Part::Char(_), parts)) => matches(parts, database).is_some(),
            Some((_, parts)) => {
                let mut parts = parts.to_vec();
                parts.push(Part::AnyText);
                matches(&parts, database).is_some()
            }
            None => false,
        }
    }
}

fn matches<'n>(parts: &[Part], name: &'n str) -> Option<&'n str> {
    let Some((part, parts)) = parts.split_first() else {
        return name.is_empty().then_some("");
    };
    let after_first = || {
        let first = name.chars().next()?;
        Some((first, name.get(first.len_utf8()..)?))
    };
    match part {
        Part::Char(expected) => {
            let (first, rest) = after_first()?;
            if first == *expected { matches(parts, rest) } else { None }
        }
        Part::AnyChar => matches(parts, after_first()?.1),
        Part::AnyText => ends(name).find_map(|end| matches(parts, name.get(end..)?)),
        Part::Capture => ends(name)
            .skip(1)
            .take_while(|end| name.get(..*end).is_some_and(|text| !text.contains('.')))
            .find_map(|end| matches(parts, name.get(end..)?).and(name.get(..end))),
    }
}

/// The places between characters, the start and the end included.
fn ends(name: &str) -> impl Iterator<Item = usize> {
    name.char_indices().map(|(at, _)| at).chain([name.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, name: &str, expected: Option<&str>) {
        assert_eq!(Pattern::parse(pattern).map(|pattern| pattern.matches(name)), Ok(expected), "{pattern} {name}");
    }

    #[test]
    fn a_pattern_matches_and_captures() {
        check("shop.*", "shop.orders", Some(""));
        check("shop.*", "shop.orders.2024", Some(""));
        check("shop.*", "shopping.orders", None);
        check("*", "a.b", Some(""));
        check("*.orders", "a.b.orders", Some(""));
        check("a?.b", "aé.b", Some(""));
        check("a?.b", "a.b", None);
        check("tenant_{id}.*", "tenant_a_b.c.d", Some("a_b"));
        check("tenant_{id}.*", "tenant_.c", None);
        check("{id}_data.*", "x_data_data.c", Some("x_data"));
        check("{id}.*", "db.c.d", Some("db"));
        assert!(Pattern::parse("{id}.{id}").is_err());
        assert!(Pattern::parse("").is_err());
    }

    #[test]
    fn a_pattern_tells_which_databases_it_covers() {
        for (pattern, database, covers) in [
            ("shop.orders", "shop", true),
            ("shop.*", "shop", true),
            ("shop.*", "shop2", false),
            ("*", "x", true),
            ("tenant_{id}.*", "tenant_a", true),
            ("tenant_*.*", "other", false),
            ("shop", "shop", false),
        ] {
            assert_eq!(
                Pattern::parse(pattern).map(|p| p.covers_database(database)),
                Ok(covers),
                "{pattern} {database}"
            );
        }
    }
}
