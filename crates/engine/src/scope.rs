//! What a verb works on: which namespaces, and which of their records.

use std::collections::BTreeSet;
use std::sync::Arc;

use backstay_archive::{Definition, Selection};
use backstay_model::NamespaceKind;

/// Decides by a namespace's name.
type NamePredicate = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// A pattern for names of namespaces. A name may look like one: where a namespace is called just what the pattern says,
/// that namespace alone is meant.
#[derive(Clone)]
pub struct NamePattern {
    /// The pattern as it was given.
    pub text: String,
    /// Whether a name matches it.
    pub matches: NamePredicate,
}

/// Which namespaces and records. The default is everything.
#[derive(Clone, Default)]
pub struct Scope {
    /// Only namespaces whose name this accepts, or that a pattern accepts.
    pub namespaces: Option<NamePredicate>,
    /// Patterns of namespaces' names.
    pub patterns: Vec<NamePattern>,
    /// Those that were asked for by their whole names, not by a pattern.
    pub named: Option<NamePredicate>,
    /// Only these records of them.
    pub selection: Selection,
}

impl Scope {
    /// True when the namespace of this name is meant.
    pub fn has(&self, name: &str) -> bool {
        match &self.namespaces {
            None if self.patterns.is_empty() => true,
            accepts => {
                accepts.as_ref().is_some_and(|accepts| accepts(name))
                    || self.patterns.iter().any(|pattern| (pattern.matches)(name))
            }
        }
    }

    /// The same among namespaces of these names: a pattern that spells one of them means that one and no other.
    pub fn among<'n>(&self, names: impl Iterator<Item = &'n str>) -> Scope {
        let mut scope = self.clone();
        if scope.patterns.is_empty() {
            return scope;
        }
        let names: BTreeSet<&str> = names.collect();
        for pattern in scope.patterns.iter_mut().filter(|pattern| names.contains(pattern.text.as_str())) {
            let text = pattern.text.clone();
            pattern.matches = Arc::new(move |name| name == text);
        }
        scope
    }

    /// True when whole namespaces are meant, not records picked out of them.
    pub fn is_whole(&self) -> bool {
        self.selection.is_all()
    }

    pub(crate) fn pick(&self, definitions: Vec<Definition>) -> Vec<Definition> {
        let scope = self.among(definitions.iter().map(|definition| definition.name.as_str()));
        definitions.into_iter().filter(|definition| scope.has(&definition.name)).collect()
    }

    /// True when a restore of this scope writes the namespace of this name and kind. Who may do what in a source is
    /// changed only when it is asked for by name: a pattern that happens to match is not enough.
    pub(crate) fn restores(&self, name: &str, kind: NamespaceKind) -> bool {
        let is_named = || self.named.as_ref().is_some_and(|names| names(name));
        self.has(name) && (kind != NamespaceKind::Accounts || is_named())
    }
}
