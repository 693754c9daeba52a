//! Where the built `backstay` program is, for programs that are not its own integration tests.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

/// The program to run: what `BACKSTAY_PROGRAM` names, or else the `backstay` that Cargo built beside the program
/// that asks (so a release build finds the release build).
///
/// # Errors
/// When there is none; the message says how to build it.
pub fn built_program() -> Result<PathBuf> {
    let program = match std::env::var_os("BACKSTAY_PROGRAM") {
        Some(named) => PathBuf::from(named),
        None => std::env::current_exe()?.parent().context("this program has no folder")?.join("backstay"),
    };
    ensure!(
        program.is_file(),
        "there is no {}: run `cargo build --release -p backstay-cli`, or point BACKSTAY_PROGRAM to it",
        program.display()
    );
    Ok(program)
}
