//! The command line of Backstay.
//!
//! ```text
//!   args ──▶ commands ──▶ output          what was asked · what is done · what is said
//!               │   ╲
//!            config  failure              what is in effect · how it ends
//! ```
//!
//! This is the edge: the only room that reads the clock, the environment and the terminal for the rooms below. It
//! decides nothing about data; a command turns its arguments into a call of the engine and the answer into words.

#![allow(
    clippy::disallowed_methods,
    reason = "the edge: it reads the clock and listens for signals for the rooms below"
)]

pub mod args;
pub mod commands;
pub mod config;
pub mod confirm;
pub mod environment;
pub mod failure;
pub mod holder;
pub mod holding;
pub mod installation;
pub mod logging;
pub mod output;
pub mod pattern;
pub mod protected;
pub mod refused;
pub mod selecting;
pub mod signals;
pub mod standing;
pub mod time;
pub mod watch;
pub mod world;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;

use crate::args::Cli;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::output::Output;

/// Runs the program with the arguments and variables of this process.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let environment = Environment::of_process();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return explain(&error, &arguments, &environment),
    };
    let output = Arc::new(Output::standard(cli.global.json));
    let result =
        logging::start(&environment, output.bars()).and_then(|()| commands::run(cli, environment, Arc::clone(&output)));
    match result {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(failure) => {
            failure.report(&output);
            ExitCode::from(failure.exit.code())
        }
    }
}

/// Prints the help that was asked for, or what is wrong with the command line, as JSON when that was asked for.
fn explain(error: &clap::Error, arguments: &[OsString], environment: &Environment) -> ExitCode {
    let by_variable = environment.get("BACKSTAY_JSON").and_then(|value| value.to_str());
    let json = arguments.iter().any(|argument| argument == "--json")
        || by_variable.is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on"));
    if !error.use_stderr() || !json {
        // Nothing is left to be done when the terminal has gone.
        let _ = error.print();
        return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1));
    }
    let text = error.render().to_string();
    let (message, rest) = text.split_once("\n\n").unwrap_or((&text, ""));
    let failure = Failure::usage(message.trim().trim_start_matches("error: "));
    let failure = match rest.trim() {
        "" => failure,
        hint => failure.hint(hint),
    };
    failure.report(&Output::standard(true));
    ExitCode::from(failure.exit.code())
}
