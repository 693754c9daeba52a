//! Rules that say whose a record is.

use serde::{Deserialize, Serialize};

use crate::pattern::NamespacePattern;

const PLACEHOLDER: &str = "{id}";

/// One rule; of a source's rules, the first whose namespaces match decides.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(try_from = "RuleSection", into = "RuleSection")]
pub enum TenantRule {
    /// The tenant is named by a field of the record.
    Field {
        /// For which namespaces.
        ns: NamespacePattern,
        /// The dotted path of the field.
        path: String,
    },
    /// The tenant is the part of the database's name that stands for `{id}`.
    Database {
        /// The namespaces, with `{id}` once in the database's name.
        pattern: String,
    },
    /// The tenant is always the same.
    Fixed {
        /// For which namespaces.
        ns: NamespacePattern,
        /// The tenant.
        tenant: String,
    },
}

/// A rule as it is written.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RuleSection {
    ns: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fixed: Option<String>,
}

impl TryFrom<RuleSection> for TenantRule {
    type Error = String;

    fn try_from(rule: RuleSection) -> Result<TenantRule, String> {
        let RuleSection { ns, field, fixed } = rule;
        match (ns.contains(PLACEHOLDER), field, fixed) {
            (true, None, None) => database_rule(ns),
            (true, _, _) => Err(format!("the rule for “{ns}” takes the tenant from {{id}}: leave out field and fixed")),
            (false, Some(path), None) if path.split('.').all(|name| !name.is_empty() && !name.contains('\0')) => {
                Ok(TenantRule::Field { ns: ns.parse()?, path })
            }
            (false, Some(path), None) => Err(format!("“{path}” is not the path of a field, such as customer.tenant")),
            (false, None, Some(tenant)) if !tenant.is_empty() => Ok(TenantRule::Fixed { ns: ns.parse()?, tenant }),
            (false, None, Some(_)) => Err(format!("the rule for “{ns}” fixes a tenant without a name")),
            (false, Some(_), Some(_)) => Err(format!("the rule for “{ns}” has both field and fixed: keep one")),
            (false, None, None) => {
                Err(format!("the rule for “{ns}” does not say whose its records are: add field, fixed or {{id}}"))
            }
        }
    }
}

fn database_rule(pattern: String) -> Result<TenantRule, String> {
    let wrong = |why: &str| Err(format!("“{pattern}” is not a tenant rule: {why}"));
    let Some((database, _)) = pattern.split_once('.') else {
        return wrong("it has no dot; write something like tenant_{id}.*");
    };
    if pattern.matches(PLACEHOLDER).count() != 1 || !database.contains(PLACEHOLDER) {
        return wrong("{id} must stand once, in the database's name");
    }
    if pattern.contains("{id}*") || pattern.contains("*{id}") {
        return wrong("a star beside {id} leaves open where the tenant's name ends");
    }
    // With the placeholder out of the way the rest is an ordinary pattern.
    pattern.replace(PLACEHOLDER, "*").parse::<NamespacePattern>()?;
    Ok(TenantRule::Database { pattern })
}

impl From<TenantRule> for RuleSection {
    fn from(rule: TenantRule) -> RuleSection {
        match rule {
            TenantRule::Field { ns, path } => RuleSection { ns: ns.to_string(), field: Some(path), fixed: None },
            TenantRule::Database { pattern } => RuleSection { ns: pattern, field: None, fixed: None },
            TenantRule::Fixed { ns, tenant } => RuleSection { ns: ns.to_string(), field: None, fixed: Some(tenant) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(ns: &str, field: Option<&str>, fixed: Option<&str>) -> Result<TenantRule, String> {
        RuleSection { ns: ns.into(), field: field.map(Into::into), fixed: fixed.map(Into::into) }.try_into()
    }

    #[test]
    fn each_kind_of_rule_is_known_by_what_it_has() {
        assert!(matches!(rule("shop.*", Some("a.tenant"), None), Ok(TenantRule::Field { .. })));
        assert!(matches!(rule("tenant_{id}.*", None, None), Ok(TenantRule::Database { .. })));
        assert!(matches!(rule("*", None, Some("shared")), Ok(TenantRule::Fixed { .. })));
    }

    #[test]
    fn a_rule_that_leaves_something_open_is_refused() {
        for (ns, field, fixed) in [
            ("shop.*", None, None),
            ("shop.*", Some("a"), Some("b")),
            ("shop.*", Some("a..b"), None),
            ("shop.*", Some(""), None),
            ("shop.*", None, Some("")),
            ("shop", Some("a"), None),
            ("t_{id}.*", Some("a"), None),
            ("t_{id}", None, None),
            ("t_{id}*.x", None, None),
            ("t_{id}_{id}.x", None, None),
            ("shop.{id}", None, None),
            ("t_{id}.{x}", None, None),
        ] {
            assert!(rule(ns, field, fixed).is_err(), "{ns} {field:?} {fixed:?}");
        }
    }
}
