//! What of a source is protected, and whose it is, by namespace.
//!
//! Patterns are matched once per namespace; what they say is then looked up by the namespace's name.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::interpret::oplog::{database, is_internal};
use crate::interpret::pattern::Pattern;
use crate::interpret::tenants::{Owner, Rules};

/// Where a server keeps its users.
pub const USERS: &str = "admin.system.users";
/// Where a server keeps the roles that were made.
pub const ROLES: &str = "admin.system.roles";

/// The name that people know a namespace by, where that is another: the records of the time series `shop.weather` are
/// those of `shop.system.buckets.weather`.
pub fn common_name(ns: &str) -> Option<String> {
    let (database, collection) = ns.split_once('.')?;
    Some(format!("{database}.{}", collection.strip_prefix("system.buckets.")?))
}

/// Names that are remembered; beyond that, patterns are matched again each time.
const REMEMBERED: usize = 100_000;

/// Which namespaces are protected. Of the server's own databases only users and roles can be, where a pattern names them
/// by their database.
#[derive(Clone, Debug, Default)]
pub struct Include(Vec<Pattern>);

impl Include {
    /// The namespaces that match one of the patterns; all, when there are none.
    ///
    /// # Errors
    /// In words, when a pattern is wrong.
    pub fn compile<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Include, String> {
        let patterns: Result<_, String> =
            patterns.into_iter().map(|text| Pattern::parse(text).map_err(|why| format!("include: {why}"))).collect();
        Ok(Include(patterns?))
    }

    /// True when the namespace is protected.
    ///
    /// The server fills temporary collections and renames them over their targets (`$out`, `convertToCapped`,
    /// renaming across databases, re-sharding): a temporary one is protected when anything of its database is.
    /// The name of a time series stands for its buckets.
    pub fn contains(&self, ns: &str) -> bool {
        if is_internal(ns) {
            let asked = |pattern: &&Pattern| pattern.begins_with("admin.");
            return matches!(ns, USERS | ROLES) && self.0.iter().filter(asked).any(|it| it.matches(ns).is_some());
        }
        if common_name(ns).is_some_and(|series| self.0.iter().any(|pattern| pattern.matches(&series).is_some())) {
            return true;
        }
        let collection = ns.split_once('.').map_or("", |(_, collection)| collection);
        let temporary = collection.starts_with("tmp") || collection.starts_with("system.resharding.");
        self.0.is_empty()
            || self.0.iter().any(|pattern| pattern.matches(ns).is_some())
            || (temporary && self.0.iter().any(|pattern| pattern.covers_database(database(ns))))
    }
}

/// What is known of one namespace.
#[derive(Debug)]
pub struct Known {
    /// True when it is protected.
    pub included: bool,
    /// Whose records it holds.
    pub owner: Owner,
}

/// What is protected, and whose it is.
#[derive(Debug, Default)]
pub struct Scope {
    include: Include,
    rules: Rules,
    known: RwLock<HashMap<Box<str>, Arc<Known>>>,
}

impl Scope {
    /// A scope of these namespaces and rules.
    pub fn new(include: Include, rules: Rules) -> Scope {
        Scope { include, rules, known: RwLock::default() }
    }

    /// Which namespaces are protected.
    pub fn include(&self) -> &Include {
        &self.include
    }

    /// What is known of a namespace.
    pub fn namespace(&self, ns: &str) -> Arc<Known> {
        // The map is whole whatever a thread died of: entries are only added.
        if let Some(known) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(ns) {
            return Arc::clone(known);
        }
        let known = Arc::new(Known { included: self.include.contains(ns), owner: self.rules.owner(ns) });
        let mut all = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if all.len() < REMEMBERED {
            all.insert(ns.into(), Arc::clone(&known));
        }
        known
    }
}
