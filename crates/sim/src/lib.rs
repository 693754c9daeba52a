//! A world in a jar, for tests: everything that Backstay touches, seeded and obedient. Never a dependency of the
//! program itself.
//!
//! ```text
//!   Chance, SimWorld   randomness and time that repeat themselves
//!   FaultyStore        an object store that forgets answers, fails in passing, and stops dead at a chosen step
//!   Wire, Cast         many processes and one store: every request waits for its turn, is lost, doubled, late
//!   Oracle             the slow, obvious truth: every version of every record in a BTreeMap
//!   toy                a tiny database in memory that can be protected and restored into, and that keeps an oracle
//!   workload           random things to do to it
//!   explore            every state of a small model, visited
//!   conformance        what every source and every target must do, the toy and MongoDB alike
//! ```
//!
//! What happens here is decided by seeds and by the caller alone: run it twice and it does the same twice.

pub mod cast;
mod chance;
pub mod conformance;
pub mod explore;
mod faulty;
mod oracle;
pub mod toy;
pub mod wire;
pub mod workload;
mod world;

/// The contract that the toy keeps, for tests in rooms that do not know it.
pub use backstay_source as source;
pub use cast::Cast;
pub use chance::Chance;
pub use faulty::{Fault, FaultyStore};
pub use oracle::{Event, Oracle, Truth};
pub use wire::{Deed, Fate, Verb, Wire};
pub use world::SimWorld;
