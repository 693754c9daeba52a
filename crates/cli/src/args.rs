//! The command line.
//!
//! Every flag can be given as a variable as well: `--on-conflict` is `BACKSTAY_ON_CONFLICT`, always by the same rule.
//! A variable holds one value; the command line wins. What is declared here is only parsed; what it means is decided
//! by the command that uses it.

mod admin;
mod drill;
mod look;
mod protect;
mod rename;
mod restore;
mod selection;
mod undo;
mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use admin::{
    CompletionsArgs, ConfigCommand, DoctorArgs, ExplainArgs, KeyCommand, KeyExportArgs, KeyRotateArgs, KeyShredArgs,
    RepoCommand,
};
pub use drill::DrillArgs;
pub use look::{DiffArgs, GetArgs, LsArgs, SchemaArgs, TimelineArgs};
pub use protect::{BackupArgs, CaptureArgs, CompactArgs, VerifyArgs};
pub use rename::{Rename, own_name, refusal};
pub use restore::{Destination, OnConflict, Proof, RestoreArgs, RestoresArgs};
pub use selection::SelectionArgs;
pub use undo::UndoArgs;
pub use values::{DiffEnd, ExtJson, Filter, Sample, Until};

/// How a flag's variable is read: `true`, `yes`, `on`, `1` and their opposites.
pub(crate) fn switch() -> clap::builder::BoolishValueParser {
    clap::builder::BoolishValueParser::new()
}

/// The whole command line.
#[derive(Parser, Debug)]
#[command(
    name = "backstay",
    version,
    about = "Brings one record, one tenant or a whole database back as of any second",
    after_help = FIRST_STEPS,
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What is to be done.
    #[command(subcommand)]
    pub command: Command,
}

const FIRST_STEPS: &str = "\
First steps, with a backstay.yaml that names a repository and a source “shop”:
  backstay init                     make the repository and its keyring
  backstay backup shop              take the base image
  backstay capture shop             follow the changes, until stopped
  backstay timeline shop            see what can be brought back
  backstay restore shop --at \"yesterday 14:00\" --tenant t7 --in-place --preview

Times are 2026-11-21T14:03:05Z, SECONDS:ORDINAL, latest, -2h, \"yesterday 14:00\" or 14:03.

Exit codes: 0 done, 1 failed, 2 usage, 3 part of the source unread, 10 no repository, 11 locked, \
12 wrong key, 13 approval pending, 14 denied, 15 a check failed, 16 that time cannot be restored, \
130 cancelled.";

/// What every command takes.
#[derive(Args, Debug)]
pub struct GlobalArgs {
    /// The configuration; else ./backstay.yaml, then ~/.config/backstay/ and /etc/backstay/
    #[arg(long, global = true, value_name = "FILE", env = "BACKSTAY_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// Write JSON: one document, or a line at a time for long work
    #[arg(long, global = true, env = "BACKSTAY_JSON", hide_env_values = true, value_parser = switch())]
    pub json: bool,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Make the repository that the configuration names, and its keyring
    Init,
    /// Bring the base image of a source up to date, then stop
    Backup(BackupArgs),
    /// Follow the changes of a source
    Capture(CaptureArgs),
    /// Show which times can be restored, and each gap with its cause
    Timeline(TimelineArgs),
    /// List namespaces, or the records of one
    Ls(LsArgs),
    /// Show one record as of a time, or all its versions
    Get(GetArgs),
    /// Show what changed between two times
    Diff(DiffArgs),
    /// Show collections, indexes and fields as of a time, or what changed in them
    Schema(SchemaArgs),
    /// Bring data back as of a time
    Restore(RestoreArgs),
    /// Show past restores, their state, plan and proof
    Restores(RestoresArgs),
    /// Take a restore back
    Undo(UndoArgs),
    /// Check that the archive is whole and unaltered
    Verify(VerifyArgs),
    /// Restore into a scratch deployment, compare, time, report, and clean up
    Drill(DrillArgs),
    /// Rewrite the archive so that it is smaller and faster to read
    Compact(CompactArgs),
    /// Show how the sources are protected at the moment
    Status,
    /// Find out what would keep Backstay from working
    Doctor(DoctorArgs),
    /// Show or check the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look after the keyring
    #[command(subcommand)]
    Key(KeyCommand),
    /// Look after the storage
    #[command(subcommand)]
    Repo(RepoCommand),
    /// Explain an error code: what happened, what it means for recovery, what to do
    Explain(ExplainArgs),
    /// Print the completions of a shell
    Completions(CompletionsArgs),
}

impl Command {
    /// The source that the command is about, where it is about one.
    pub fn source(&self) -> Option<&str> {
        match self {
            Command::Backup(args) => Some(&args.source),
            Command::Capture(args) => Some(&args.source),
            Command::Timeline(args) => Some(&args.source),
            Command::Ls(args) => Some(&args.source),
            Command::Get(args) => Some(&args.source),
            Command::Diff(args) => Some(&args.source),
            Command::Schema(args) => Some(&args.source),
            Command::Restore(args) => Some(&args.source),
            Command::Verify(args) => Some(&args.source),
            Command::Drill(args) => Some(&args.source),
            Command::Compact(args) => Some(&args.source),
            Command::Doctor(args) => args.source.as_deref(),
            Command::Init
            | Command::Restores(_)
            | Command::Undo(_)
            | Command::Status
            | Command::Config(_)
            | Command::Key(_)
            | Command::Repo(_)
            | Command::Explain(_)
            | Command::Completions(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
