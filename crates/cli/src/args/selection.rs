//! Which records a command is about.

use clap::Args;

use super::values::{ExtJson, Filter};
use crate::pattern::NamespacePattern;

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

    /// The selection in words, for questions and reports: `tenant t7 in shop.orders`.
    pub fn describe(&self) -> String {
        let mut parts = Vec::new();
        if !self.ids.is_empty() {
            parts.push(format!("the records {}", join(self.ids.iter().map(ToString::to_string))));
        }
        if !self.tenants.is_empty() {
            let word = if self.tenants.len() == 1 { "tenant" } else { "tenants" };
            parts.push(format!("{word} {}", join(self.tenants.iter().cloned())));
        }
        if !self.namespaces.is_empty() {
            parts.push(format!("in {}", join(self.namespaces.iter().map(ToString::to_string))));
        }
        if let Some(filter) = &self.filter {
            parts.push(format!("where {filter}"));
        }
        if parts.is_empty() { "everything".to_owned() } else { parts.join(" ") }
    }
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}
