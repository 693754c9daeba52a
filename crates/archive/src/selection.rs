//! Which records are meant: tenants, ids, a predicate. Namespaces and ranges are chosen by whoever loads partitions.

use std::collections::BTreeSet;
use std::sync::Arc;

use backstay_model::IdRange;

/// Decides by a record's image, in the source's own form.
pub type Predicate = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// What is made of records that were sealed under keys which have been shredded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Shredded {
    /// Asking by name for a tenant who has some is an error. Where no tenant is named they are passed over.
    #[default]
    Refused,
    /// They are passed over: none of them stood any more at the instant.
    Gone,
    /// They are passed over, and some may have stood at the instant: what is not found is not known to be absent.
    Hidden,
}

/// Which records of a namespace are meant. The default is all of them.
#[derive(Clone, Default)]
pub struct Selection {
    /// Only records of these tenants.
    pub tenants: Option<BTreeSet<String>>,
    /// Only records with these ids (memcomparable, ascending, no duplicates).
    pub ids: Option<Arc<Vec<Vec<u8>>>>,
    /// Only records that this accepts.
    pub predicate: Option<Predicate>,
    /// What is made of those that nobody can read any more.
    pub shredded: Shredded,
}

impl Selection {
    /// True when nothing is left out.
    pub fn is_all(&self) -> bool {
        self.tenants.is_none() && self.ids.is_none() && self.predicate.is_none()
    }

    /// True when records of this tenant are meant.
    pub fn has_tenant(&self, name: &str) -> bool {
        self.tenants.as_ref().is_none_or(|tenants| tenants.contains(name))
    }

    /// True when a record that is not found may have been there all the same.
    pub fn may_miss(&self) -> bool {
        self.shredded == Shredded::Hidden
    }

    pub(crate) fn passes_over_shredded(&self) -> bool {
        self.tenants.is_none() || self.shredded != Shredded::Refused
    }

    /// True unless ids were selected, and this one is not among them.
    pub fn has_id(&self, id: &[u8]) -> bool {
        self.ids.as_ref().is_none_or(|ids| ids.binary_search_by(|known| known.as_slice().cmp(id)).is_ok())
    }

    /// True when some selected id may lie between `first` and `last`, both included.
    pub(crate) fn may_have_between(&self, first: &[u8], last: &[u8]) -> bool {
        self.ids.as_ref().is_none_or(|ids| {
            let at = ids.partition_point(|id| id.as_slice() < first);
            ids.get(at).is_some_and(|id| id.as_slice() <= last)
        })
    }

    /// True when some selected id may lie in `range`.
    pub(crate) fn may_be_in(&self, range: &IdRange) -> bool {
        self.ids.as_ref().is_none_or(|ids| {
            let at = ids.partition_point(|id| range.starts_after(id));
            ids.get(at).is_some_and(|id| range.contains(id))
        })
    }

    pub(crate) fn accepts(&self, image: &[u8]) -> bool {
        self.predicate.as_ref().is_none_or(|predicate| predicate(image))
    }
}
