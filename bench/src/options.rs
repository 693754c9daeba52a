//! What to measure.

use clap::{Parser, ValueEnum};

/// Times Backstay against the bare driver, on real servers on this machine.
#[derive(Debug, Parser)]
#[command(name = "backstay-bench")]
pub struct Options {
    /// A tenth of the data: to see that everything runs
    #[arg(long)]
    pub quick: bool,
    /// Also measure memory on 5 GB of data
    #[arg(long)]
    pub large: bool,
    /// Only this measure; may be repeated
    #[arg(long, value_name = "NAME")]
    pub only: Vec<Measure>,
    /// Only the baselines: no backstay is run
    #[arg(long)]
    pub baselines: bool,
    /// How often each timed pair is repeated; the median counts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub repeats: u32,
}

/// One line of the table of bars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Measure {
    /// `backup` ÷ bare scan, and stored ÷ BSON bytes
    Backup,
    /// Full `restore --into` ÷ bare inserts and index builds
    Restore,
    /// `restore --in-place` after 1 % was damaged ÷ full restore
    InPlace,
    /// `restore --tenant` of a tenant with 1 % of the data ÷ full restore
    Tenant,
    /// `restore --into` as of the middle of many updates ÷ scan of their entries and inserts of the documents
    Updates,
    /// Catch-up of `capture` ÷ bare scan of the oplog, in entries per second
    Capture,
    /// Beside 10,000 updates a second, or 2,000: how far `capture` is behind, and what the writers notice of it and of `backup`
    Beside,
    /// Peak memory of any command
    Memory,
}

impl Options {
    /// Whether a measure is wanted; memory is a by-product of all others.
    pub fn wants(&self, measure: Measure) -> bool {
        self.only.is_empty() || self.only.contains(&measure)
    }

    /// Whether one of several measures is wanted.
    pub fn wants_any(&self, measures: &[Measure]) -> bool {
        measures.iter().any(|measure| self.wants(*measure))
    }
}
