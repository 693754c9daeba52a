//! MongoDB as a source and a target of Backstay.
//!
//! ```text
//!              ┌ connect · discover · catalog · split · scan · tail     reading a replica set
//!   deployment ┤
//!              └ target                                               writing one
//!   interpret    the bytes, explained: pure, no I/O
//! ```
//!
//! [`MongoDeployment`] is the façade that both contracts are kept by. Everything that talks to a server goes through one
//! client, and moves whole replies of raw BSON: no record is parsed into a tree on its way.

mod catalog;
mod checkup;
mod command;
mod connect;
mod deployment;
mod discover;
mod failure;
mod feed;
pub mod interpret;
mod latency;
mod pipe;
mod scan;
mod split;
mod tail;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use tail::fuzz as fuzz_tail;
mod target;

pub use checkup::Checkup;
pub use connect::ReadFrom;
pub use deployment::{MongoDeployment, Options};
pub use feed::Feed;
