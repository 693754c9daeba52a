//! How much is held in memory at a time. The defaults are what the product runs with; tests make them small, so that
//! a few records already need what otherwise only gigabytes do.

/// Bounds on memory, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Raw tail entries that a table in memory may be made of. What a source has changed since the last compaction is
    /// held in memory up to this size; beyond it, tails are sorted into runs first.
    pub tail_budget: u64,
    /// Records that a base segment is made of. 48 MiB gives each of 200 tenants four blocks, and fits in memory
    /// twice.
    pub chunk: usize,
    /// A partition is not cut further while its blocks hold at most this many bytes; the pieces hold half of it.
    pub partition: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { tail_budget: 48 << 20, chunk: 48 << 20, partition: 64 << 20 }
    }
}
