//! What a verb works on: which namespaces, and which of their records.

use std::sync::Arc;

use backstay_archive::{Definition, Selection};
use backstay_model::NamespaceKind;

/// Decides by a namespace's name.
type NamePredicate = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Which namespaces and records. The default is everything.
#[derive(Clone, Default)]
pub struct Scope {
    /// Only namespaces whose name this accepts.
    pub namespaces: Option<NamePredicate>,
    /// Those that were asked for by their whole names, not by a pattern.
    pub named: Option<NamePredicate>,
    /// Only these records of them.
    pub selection: Selection,
}

impl Scope {
    /// True when the namespace of this name is meant.
    pub fn has(&self, name: &str) -> bool {
        self.namespaces.as_ref().is_none_or(|accepts| accepts(name))
    }

    /// True when whole namespaces are meant, not records picked out of them.
    pub fn is_whole(&self) -> bool {
        self.selection.is_all()
    }

    pub(crate) fn pick(&self, definitions: Vec<Definition>) -> Vec<Definition> {
        definitions.into_iter().filter(|definition| self.has(&definition.name)).collect()
    }

    /// True when a restore of this scope writes the namespace of this name and kind. Who may do what in a source is
    /// changed only when it is asked for by name: a pattern that happens to match is not enough.
    pub(crate) fn restores(&self, name: &str, kind: NamespaceKind) -> bool {
        let is_named = || self.named.as_ref().is_some_and(|names| names(name));
        self.has(name) && (kind != NamespaceKind::Accounts || is_named())
    }
}
