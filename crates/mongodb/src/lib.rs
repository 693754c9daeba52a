//! mongodb

pub mod interpret;
