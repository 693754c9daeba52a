//! What of a source is protected, and by which rules its records are assigned to tenants.
//!
//! In the adapter's own words, and in one form: the same configuration gives the same text, however it was written. The
//! ledger keeps it, because archived bytes must be read as they were captured, whatever the configuration says by then.

use crate::Tick;

/// What of a source is protected, whose it is, and how its changes are followed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Protection {
    /// Patterns of the namespaces that are protected, ascending; empty for all.
    pub include: Vec<String>,
    /// The tenant rules, in the order in which they are tried.
    pub tenants: Vec<String>,
    /// Which of the adapter's ways to follow changes is used; empty for its first.
    pub feed: String,
}

impl Protection {
    /// How it differs from what was protected `before`, in words; `None` when it does not.
    pub fn change_since(&self, before: &Protection) -> Option<String> {
        let words = |patterns: &[String]| match patterns {
            [] => "everything".to_owned(),
            patterns => patterns.join(", "),
        };
        let mut parts = Vec::new();
        if self.include != before.include {
            parts.push(format!("include was {}, and is {} now", words(&before.include), words(&self.include)));
        }
        if self.tenants != before.tenants {
            parts.push("the tenant rules changed".to_owned());
        }
        if self.feed != before.feed {
            parts.push(match self.feed.as_str() {
                "" => format!("changes are no longer followed by {}", before.feed),
                feed => format!("changes are followed by {feed} now"),
            });
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

/// What is protected from a tick on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProtectedSince {
    /// Changes after this tick are archived for it.
    pub from: Tick,
    /// What is protected.
    pub protection: Protection,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_says_what_was_and_what_is() {
        let of = |include: &[&str], tenants: &[&str]| Protection {
            include: include.iter().map(|&text| text.to_owned()).collect(),
            tenants: tenants.iter().map(|&text| text.to_owned()).collect(),
            feed: String::new(),
        };
        assert_eq!(of(&["a.*"], &["t"]).change_since(&of(&["a.*"], &["t"])), None);
        let widened = of(&["a.*", "b.*"], &["u"]).change_since(&of(&["a.*"], &["t"]));
        assert_eq!(widened.as_deref(), Some("include was a.*, and is a.*, b.* now; the tenant rules changed"));
        let all = of(&[], &[]).change_since(&of(&["a.*"], &[]));
        assert_eq!(all.as_deref(), Some("include was a.*, and is everything now"));
        let other = Protection { feed: "change-streams".to_owned(), ..of(&["a.*"], &[]) };
        let followed = other.change_since(&of(&["a.*"], &[]));
        assert_eq!(followed.as_deref(), Some("changes are followed by change-streams now"));
    }
}
