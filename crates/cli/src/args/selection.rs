//! Which records a command is about.

use backstay_engine::Terms;
use bson::Bson;
use clap::Args;

use super::values::{ExtJson, Filter};
use crate::pattern::NamespacePattern;
use crate::time::TimeSpec;

/// The instant that something is shown or exercised as of.
#[derive(Args, Clone, Debug)]
pub struct AtArgs {
    /// As of this time
    #[arg(
        id = "at",
        long = "at",
        value_name = "T",
        default_value = "latest",
        env = "BACKSTAY_AT",
        hide_env_values = true,
        allow_hyphen_values = true
    )]
    pub time: TimeSpec,
}

/// A selection: records that any `--tenant` owns, in a namespace that any `--ns` matches, with any `--id`, and that
/// match `--where`. What is not given does not restrict.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Selection")]
pub struct SelectionArgs {
    /// Only this tenant's records; may be repeated
    #[arg(long = "tenant", value_name = "X", env = "BACKSTAY_TENANT", hide_env_values = true)]
    pub tenants: Vec<String>,
    /// Only this namespace, or those that the pattern matches (shop.*); may be repeated
    #[arg(long = "ns", value_name = "DB.COLL|GLOB", env = "BACKSTAY_NS", hide_env_values = true)]
    pub namespaces: Vec<NamespacePattern>,
    /// Only the record with this id, in Extended JSON; may be repeated
    #[arg(
        long = "id",
        value_name = "EXTJSON",
        env = "BACKSTAY_ID",
        hide_env_values = true,
        allow_hyphen_values = true
    )]
    pub ids: Vec<ExtJson>,
    /// Only records that match this filter as of the time, in Extended JSON
    #[arg(long = "where", value_name = "EXTJSON-FILTER", env = "BACKSTAY_WHERE", hide_env_values = true)]
    pub filter: Option<Filter>,
}

impl SelectionArgs {
    /// Whether everything is selected.
    pub fn is_all(&self) -> bool {
        self.tenants.is_empty() && self.namespaces.is_empty() && self.ids.is_empty() && self.filter.is_none()
    }

    /// Whether a namespace of this name is selected.
    pub fn selects_namespace(&self, name: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.iter().any(|pattern| pattern.matches(name))
    }

    /// The selection as it can be given again.
    pub fn terms(&self) -> Terms {
        Terms {
            tenants: self.tenants.clone(),
            namespaces: self.namespaces.iter().map(ToString::to_string).collect(),
            ids: self.ids.iter().map(|id| id.0.clone().into_canonical_extjson().to_string()).collect(),
            filter: self
                .filter
                .as_ref()
                .map(|filter| Bson::Document(filter.0.clone()).into_canonical_extjson().to_string()),
        }
    }

    /// The selection that gave these terms.
    ///
    /// # Errors
    /// Names the part that cannot be read.
    pub fn of_terms(terms: &Terms) -> Result<SelectionArgs, String> {
        Ok(SelectionArgs {
            tenants: terms.tenants.clone(),
            namespaces: terms.namespaces.iter().map(|text| text.parse()).collect::<Result<_, String>>()?,
            ids: terms.ids.iter().map(|text| text.parse()).collect::<Result<_, String>>()?,
            filter: terms.filter.as_ref().map(|text| text.parse()).transpose()?,
        })
    }

    /// The selection in words, for questions and reports: `record 4711 of tenant t7 in shop.orders`.
    pub fn describe(&self) -> String {
        let mut parts = Vec::new();
        if !self.ids.is_empty() {
            let word = if self.ids.len() == 1 { "record" } else { "records" };
            parts.push(format!("{word} {}", join(self.ids.iter().map(ToString::to_string))));
        }
        if !self.tenants.is_empty() {
            let of = if self.ids.is_empty() { "" } else { "of " };
            let word = if self.tenants.len() == 1 { "tenant" } else { "tenants" };
            parts.push(format!("{of}{word} {}", join(self.tenants.iter().cloned())));
        }
        if !self.namespaces.is_empty() {
            parts.push(format!("in {}", join(self.namespaces.iter().map(ToString::to_string))));
        }
        if let Some(filter) = &self.filter {
            parts.push(format!("where {filter}"));
        }
        if self.ids.is_empty() && self.tenants.is_empty() {
            parts.insert(0, "everything".to_owned());
        }
        parts.join(" ")
    }
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}
