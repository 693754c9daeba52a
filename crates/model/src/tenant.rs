//! Whose record it is.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The name of a tenant. Cheap to clone; ordered by its bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenant(Arc<str>);

impl Tenant {
    /// The name under which definitions and other system records are kept. No rule can yield it: it is empty.
    pub const SYSTEM_NAME: &'static str = "";
    /// The name for records that no tenant rule assigns.
    pub const UNASSIGNED_NAME: &'static str = "_unassigned";

    /// A tenant by name.
    pub fn new(name: &str) -> Tenant {
        Tenant(Arc::from(name))
    }

    /// The owner of the system space (definitions, indexes, options).
    pub fn system() -> Tenant {
        Tenant::new(Tenant::SYSTEM_NAME)
    }

    /// True for the owner of the system space.
    pub fn is_system(&self) -> bool {
        self.0.is_empty()
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Tenant {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
