//! `backstay completions`: what a shell needs to know.

use clap::CommandFactory;

use super::Context;
use crate::args::{Cli, CompletionsArgs};
use crate::failure::{Exit, Failure};

/// Prints the completions.
///
/// # Errors
/// When stdout cannot be written.
pub fn run(context: &Context, args: &CompletionsArgs) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "backstay", &mut script);
    context.output.write(&script)?;
    Ok(Exit::Done)
}
