//! mongodb
