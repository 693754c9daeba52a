//! Arguments of the commands that bring data back.

use backstay_engine::ConflictPolicy;
use clap::{Args, ValueEnum};

use super::rename::Rename;
use super::selection::SelectionArgs;
use super::switch;
use crate::config::{Secret, secret};
use crate::environment::Environment;
use crate::failure::Failure;
use crate::time::TimeSpec;

/// What to do with a record that changed while it was being restored.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnConflict {
    /// Write nothing where that can be known in time, else stop, and report
    #[default]
    Abort,
    /// Leave the record as it is now, and report
    Skip,
    /// Write the record as of the time nevertheless, and report
    Overwrite,
}

impl From<OnConflict> for ConflictPolicy {
    fn from(policy: OnConflict) -> ConflictPolicy {
        match policy {
            OnConflict::Abort => ConflictPolicy::Abort,
            OnConflict::Skip => ConflictPolicy::Skip,
            OnConflict::Overwrite => ConflictPolicy::Overwrite,
        }
    }
}

/// How much is read back to prove the result.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof {
    /// What was written
    Changed,
    /// Everything selected
    Full,
}

/// `backstay restore`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  One tenant, in place, as of yesterday; look first, then do it:
    backstay restore shop --at \"yesterday 14:00\" --tenant t7 --in-place --preview
    backstay restore shop --at \"yesterday 14:00\" --tenant t7 --in-place

  One collection beside the live one:
    backstay restore shop --at -2h --ns shop.orders --into mongodb://127.0.0.1:27017 \\
        --rename shop.orders=shop.orders_restored

  Everything, into another deployment, without asking:
    backstay restore shop --at 2026-11-21T14:03:05Z --into mongodb://10.0.0.9:27017 --yes

  One record:
    backstay restore shop --at -10m --ns shop.orders --id 4711 --in-place

In place, the state as of the time is compared with the live data and only the difference is written; each \
write takes effect only while the record is what the comparison saw. Every restore ends with its proof: what \
was restored is read back and its digest compared with the archive's. A time that falls into a gap ends with \
exit code 16 and the nearest times that can be had.

A destination with credentials is better not on the command line: use BACKSTAY_INTO, BACKSTAY_INTO_FILE or \
BACKSTAY_INTO_COMMAND.")]
pub struct RestoreArgs {
    /// A source of the configuration
    pub source: String,
    /// As of this time, to the end of the second given
    #[arg(long, value_name = "T", env = "BACKSTAY_AT", hide_env_values = true, allow_hyphen_values = true)]
    pub at: TimeSpec,
    /// Show what would be written, and write nothing
    #[arg(long, env = "BACKSTAY_PREVIEW", hide_env_values = true, value_parser = switch())]
    pub preview: bool,
    /// Do not ask
    #[arg(long, env = "BACKSTAY_YES", hide_env_values = true, value_parser = switch())]
    pub yes: bool,
    /// Write nothing to the archive, for one that is read-only or full: the restore is not listed and cannot be undone, and
    /// what stands there now is not archived before it is written over
    #[arg(long, env = "BACKSTAY_NO_JOURNAL", hide_env_values = true, value_parser = switch())]
    pub no_journal: bool,
    /// Which records.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// Where it goes and how.
    #[command(flatten)]
    pub target: TargetArgs,
}

/// Where restored data goes and how.
#[derive(Args, Debug)]
#[command(next_help_heading = "Target")]
pub struct TargetArgs {
    /// Rewind the live data of the source
    #[arg(
        long,
        env = "BACKSTAY_IN_PLACE",
        hide_env_values = true,
        value_parser = switch(),
        conflicts_with_all = ["into", "renames"]
    )]
    pub in_place: bool,
    /// Restore into the deployment at this URI
    #[arg(long, value_name = "URI", env = "BACKSTAY_INTO", hide_env_values = true)]
    pub into: Option<String>,
    /// Give a namespace or a database another name (shop.orders=old.orders, shop.*=old.*); may be repeated, and a time
    /// series goes by its own name
    #[arg(long = "rename", value_name = "FROM=TO", env = "BACKSTAY_RENAME", hide_env_values = true)]
    pub renames: Vec<Rename>,
    /// What to do with a record that changes meanwhile: abort before anything is written where that can be known in
    /// time, skip it, or overwrite it
    #[arg(
        long,
        value_enum,
        value_name = "abort|skip|overwrite",
        default_value = "abort",
        env = "BACKSTAY_ON_CONFLICT",
        hide_env_values = true,
        hide_possible_values = true
    )]
    pub on_conflict: OnConflict,
    /// What to read back for the proof: all that is selected, or only what was written; the default is changed in
    /// place and full elsewhere
    #[arg(
        long,
        value_enum,
        value_name = "changed|full",
        env = "BACKSTAY_PROOF",
        hide_env_values = true,
        hide_possible_values = true
    )]
    pub proof: Option<Proof>,
}

/// Where restored data goes.
#[derive(Debug)]
pub enum Destination {
    /// The live data of the source.
    InPlace,
    /// The deployment at this URI.
    Into(Secret),
}

impl TargetArgs {
    /// Where the data goes, by flag or by variable.
    ///
    /// # Errors
    /// When neither is given, or both, or the variable's file or command cannot be read.
    pub fn destination(&self, environment: &Environment) -> Result<Destination, Failure> {
        if self.in_place {
            return Ok(Destination::InPlace);
        }
        if let Some(uri) = &self.into {
            return Ok(Destination::Into(Secret::new(uri.clone())));
        }
        match secret::from_environment("BACKSTAY_INTO", environment)? {
            Some(uri) => Ok(Destination::Into(uri)),
            None => Err(Failure::usage("it is not said where the data goes")
                .hint("add --into URI to restore beside the live data, or --in-place to rewind it")),
        }
    }
}

/// `backstay restores`
#[derive(Args, Debug)]
pub struct RestoresArgs {
    /// Show this one in full
    pub id: Option<String>,
}
