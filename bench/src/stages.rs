//! The data sets that are set up, and what is measured on each.

pub mod beside;
pub mod hot;
pub mod large;
pub mod whole;
