//! `backstay config`: what is in effect, and whether it can work.

use serde::Serialize;

use super::Context;
use crate::args::ConfigCommand;
use crate::config::{Config, Problem, View};
use crate::failure::{Exit, Failure};

/// Shows or checks the configuration.
///
/// # Errors
/// When there is none, it cannot be read, or, for `show`, it has problems.
pub fn run(context: &Context, command: ConfigCommand) -> Result<Exit, Failure> {
    match command {
        ConfigCommand::Show => show(context),
        ConfigCommand::Validate => validate(context),
    }
}

fn show(context: &Context) -> Result<Exit, Failure> {
    let config = context.config()?;
    let view = View::of(&config);
    if context.output.is_json() {
        context.output.document(&view)?;
    } else {
        context.output.text(&view.to_yaml()?)?;
    }
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Verdict<'a> {
    file: String,
    valid: bool,
    problems: &'a [Problem],
}

fn validate(context: &Context) -> Result<Exit, Failure> {
    let (file, problems) = Config::validate(context.global.config.as_deref(), &context.environment)?;
    let (file, valid) = (file.display().to_string(), problems.is_empty());
    if context.output.is_json() {
        context.output.document(&Verdict { file, valid, problems: &problems })?;
    } else if valid {
        context.output.text(&format!("{file} is in order"))?;
    } else {
        for problem in &problems {
            context.output.text(&problem.to_string())?;
        }
    }
    Ok(if valid { Exit::Done } else { Exit::Usage })
}
