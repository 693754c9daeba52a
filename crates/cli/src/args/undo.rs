//! Arguments of `backstay undo`.

use clap::Args;

use super::restore::OnConflict;
use super::switch;
use crate::config::{Secret, secret};
use crate::environment::Environment;
use crate::failure::Failure;

/// `backstay undo`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  backstay undo 3f9c21aa --preview          what would be put back, and what somebody changed since
  backstay undo 3f9c21aa                    do it

A restore in place is taken back record by record: each gets what stood there just before the restore wrote it, \
as long as it still is what the restore made of it. What a restore created, in place or elsewhere, is dropped as \
long as nobody changed it since. What a restore elsewhere wrote into a namespace that was there before stays: \
nobody archived what it had held.

backstay restores lists the ids; the first few digits will do.")]
pub struct UndoArgs {
    /// The restore's id, or how it begins
    pub id: String,
    /// Show what would be written, and write nothing
    #[arg(long, env = "BACKSTAY_PREVIEW", hide_env_values = true, value_parser = switch())]
    pub preview: bool,
    /// Do not ask
    #[arg(long, env = "BACKSTAY_YES", hide_env_values = true, value_parser = switch())]
    pub yes: bool,
    /// Where the restore had gone, when that was another deployment than the source
    #[arg(long, value_name = "URI", env = "BACKSTAY_INTO", hide_env_values = true)]
    pub into: Option<String>,
    /// What to do with a record that somebody changed since: abort before anything is written, skip it, or overwrite it
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
}

impl UndoArgs {
    /// Where the restore had gone, if that was said.
    ///
    /// # Errors
    /// When the variable's file or command cannot be read.
    pub fn destination(&self, environment: &Environment) -> Result<Option<Secret>, Failure> {
        match &self.into {
            Some(uri) => Ok(Some(Secret::new(uri.clone()))),
            None => secret::from_environment("BACKSTAY_INTO", environment),
        }
    }
}
