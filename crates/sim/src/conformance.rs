//! What every source and every target must do, whatever stands behind it. Each function panics where the contract is not
//! kept, and says how.
//!
//! ```text
//!   Driver ── changes ──▶ the database ──▶ Source: a scan at one tick, folded with the feed up to another,
//!                                                  equals a scan at that other
//! ```
//!
//! The database must hold no namespaces of the driver's names when a check begins.

mod source;
mod target;

use async_trait::async_trait;

pub use source::{feed_continues_a_scan, feed_resumes_anywhere, scans_read_one_instant, source_describes_itself};
pub use target::{target_guards_its_writes, target_takes_what_it_is_given};

/// A client of the database: makes the changes that the source must show.
#[async_trait]
pub trait Driver: Send + Sync {
    /// The full name of the driver's namespace of this number.
    fn name(&self, number: usize) -> String;

    /// The image of a record that the database would hold after [`Driver::put`], for writing it to a target.
    fn image(&self, id: u32, value: &str) -> Vec<u8>;

    /// The memcomparable id of a record.
    fn id(&self, id: u32) -> Vec<u8>;

    /// Creates a namespace.
    async fn create(&self, name: &str);

    /// Drops a namespace.
    async fn drop_namespace(&self, name: &str);

    /// Writes a whole record, new or not.
    async fn put(&self, name: &str, id: u32, value: &str);

    /// Changes a part of a record.
    async fn update(&self, name: &str, id: u32, value: &str);

    /// Deletes a record.
    async fn delete(&self, name: &str, id: u32);

    /// Writes whole records in one transaction.
    async fn put_together(&self, name: &str, ids: &[u32], value: &str);
}
