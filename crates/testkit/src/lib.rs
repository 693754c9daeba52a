//! Real servers and the real program, for tests, the demo and the benchmarks. Never part of the product.
//!
//! ```text
//!   test process ──owns──> ReplicaSet ──owns──> Leash ──stdin pipe──> sh (watchdog) ──parent of──> mongod
//!                └─owns──> Backstay   ──owns──> Running = Leash ─────> sh            ──parent of──> backstay
//! ```
//!
//! - [`Server`] finds a server program, and turns its absence into a failure in CI and a loud skip elsewhere.
//! - [`ReplicaSet`] starts one to several members on free loopback ports in a temporary folder, and stops them.
//! - [`Door`] stands before a member and does to its connections what a network does.
//! - [`SeaweedFs`] and [`Azurite`] are object stores with buckets on demand; [`FaultyProxy`] stands before one and
//!   loses, cuts and holds up what passes; [`Listener`] is the little HTTP server below it.
//! - [`Backstay`] runs the built `backstay` program in a folder of its own, with a clean environment;
//!   [`built_program`] finds it for the demo and the benchmarks.
//! - [`Chance`] and [`generate`] make up what happens in random tests; [`RandomServer`] is where it happens.
//! - [`Leash`] is why nothing is left behind: what it starts dies with the process that holds it, whatever that
//!   process dies of.
//!
//! This crate is an edge: it reads the clock and waits, which the data plane must not.
#![allow(clippy::disallowed_methods, reason = "a test harness waits for real servers with the real clock")]

mod backstay;
mod chance;
mod door;
mod faulty_proxy;
pub mod generate;
mod leash;
mod listener;
mod object_storage;
mod ports;
mod program;
mod random_server;
mod replica_set;
mod server;

pub use backstay::{Backstay, Run, Running, shop_configuration};
pub use chance::{Chance, given_seed, seed, soak};
pub use door::{Door, Passage};
pub use faulty_proxy::{Fault, FaultyProxy, Passing};
pub use leash::{Leash, Signal};
pub use listener::{Listener, Request, Response};
pub use object_storage::{Azurite, Keeping, SeaweedFs};
pub use program::built_program;
pub use random_server::RandomServer;
pub use replica_set::{Options, ReplicaSet};
pub use server::{Server, mongod, require_mongod, require_mongod_since};
