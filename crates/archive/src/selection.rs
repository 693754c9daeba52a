//! Which records are meant: tenants, ids, a predicate. Namespaces and ranges are chosen by whoever loads partitions.

use std::collections::BTreeSet;
use std::sync::Arc;

use backstay_model::IdRange;

/// Decides by a record's image, in the source's own form.
pub type Predicate = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// Which records of a namespace are meant. The default is all of them.
#[derive(Clone, Default)]
pub struct Selection {
    /// Only records of these tenants.
    pub tenants: Option<BTreeSet<String>>,
    /// No records of these tenants: those whose keys were shredded cannot be read, so they must not be taken for absent.
    pub without: Arc<BTreeSet<String>>,
    /// Only records with these ids (memcomparable, ascending, no duplicates).
    pub ids: Option<Arc<Vec<Vec<u8>>>>,
    /// Only records that this accepts.
    pub predicate: Option<Predicate>,
}

impl Selection {
    /// True when nothing is left out.
    pub fn is_all(&self) -> bool {
        self.tenants.is_none() && self.without.is_empty() && self.ids.is_none() && self.predicate.is_none()
    }

    /// True when records of this tenant are meant.
    pub fn has_tenant(&self, name: &str) -> bool {
        self.tenants.as_ref().is_none_or(|tenants| tenants.contains(name)) && !self.without.contains(name)
    }

    pub(crate) fn has_id(&self, id: &[u8]) -> bool {
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
