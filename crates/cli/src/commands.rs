//! The commands, one file each, and which one a command line means.

mod completions;
mod config;

use std::sync::Arc;

use jiff::Zoned;

use crate::args::{Cli, Command, GlobalArgs};
use crate::config::Config;
use crate::environment::Environment;
use crate::failure::{Exit, Failure};
use crate::output::Output;

/// What every command works with.
pub struct Context {
    /// What every command takes.
    pub global: GlobalArgs,
    /// The variables.
    pub environment: Environment,
    /// Where data, notes and progress go.
    pub output: Arc<Output>,
    /// The present, in the local time zone, as it stood when the program started.
    pub now: Zoned,
}

impl Context {
    /// The configuration in effect.
    ///
    /// # Errors
    /// When there is none, or it has problems.
    pub fn config(&self) -> Result<Config, Failure> {
        Config::load(self.global.config.as_deref(), &self.environment)
    }
}

/// Runs the command.
///
/// # Errors
/// What kept it from doing what it was asked for.
pub fn run(cli: Cli, environment: Environment, output: Arc<Output>) -> Result<Exit, Failure> {
    let context = Context { global: cli.global, environment, output, now: Zoned::now() };
    match cli.command {
        Command::Config(command) => config::run(&context, command),
        Command::Completions(args) => completions::run(&context, &args),
        _ => Err(Failure::failed("this build does not carry the rooms that this command needs")),
    }
}
