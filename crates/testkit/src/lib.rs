//! Real servers and the real program, for tests, the demo and the benchmarks. Never part of the product.
//!
//! ```text
//!   test process ──owns──> ReplicaSet ──owns──> Leash ──stdin pipe──> sh (watchdog) ──parent of──> mongod
//!                └─owns──> Backstay   ──owns──> Running = Leash ─────> sh            ──parent of──> backstay
//! ```
//!
//! - [`mongod`] finds the server program, [`require_mongod`] turns its absence into a failure in CI and a loud
//!   skip elsewhere.
//! - [`ReplicaSet`] starts one to several members on free loopback ports in a temporary folder, and stops them.
//! - [`Backstay`] runs the built `backstay` program in a folder of its own, with a clean environment;
//!   [`built_program`] finds it for the demo and the benchmarks.
//! - [`Leash`] is why nothing is left behind: what it starts dies with the process that holds it, whatever that
//!   process dies of.
//!
//! This crate is an edge: it reads the clock and waits, which the data plane must not.
#![allow(clippy::disallowed_methods, reason = "a test harness waits for real servers with the real clock")]

mod backstay;
mod leash;
mod ports;
mod program;
mod replica_set;
mod server;

pub use backstay::{Backstay, Run, Running};
pub use leash::{Leash, Signal};
pub use program::built_program;
pub use replica_set::{Options, ReplicaSet};
pub use server::{mongod, require_mongod};
