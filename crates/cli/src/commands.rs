//! The commands, one file each, and which one a command line means.
//!
//! Commands that commit as they go (backup, capture, restore, undo, drill) are asked to stop by a signal and end where they can be
//! resumed. All others write nothing that a signal could cut, and are simply left.

mod backup;
mod capture;
mod compact;
mod completions;
mod config;
mod diff;
mod doctor;
mod drill;
mod explain;
mod get;
mod init;
mod key;
mod ls;
mod repo;
mod restore;
mod restores;
mod schema;
mod status;
mod timeline;
mod undo;
mod verify;

use std::future::Future;
use std::sync::Arc;

use backstay_model::Interpreter;
use jiff::Zoned;

use crate::args::{Cli, Command, GlobalArgs, RepoCommand};
use crate::config::Config;
use crate::confirm::{self, Danger};
use crate::environment::Environment;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::signals::Stop;
use crate::watch::Watch;

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
    /// Whether a signal asked to stop.
    pub stop: Stop,
}

impl Context {
    /// The configuration in effect.
    ///
    /// # Errors
    /// When there is none, or it has problems.
    pub fn config(&self) -> Result<Config, Failure> {
        Config::load(self.global.config.as_deref(), &self.environment)
    }

    /// Watches a verb: shows its progress, and asks it to stop at a signal.
    pub fn watch(&self) -> Watch {
        Watch::start(&self.output, &self.stop)
    }

    /// Whether somebody is there to be asked, and reads text rather than JSON.
    pub fn is_interactive(&self) -> bool {
        !self.output.is_json() && confirm::is_interactive()
    }

    /// Goes on only with consent; a signal while the question stands is a no.
    ///
    /// # Errors
    /// [`Exit::Denied`] without consent, [`Exit::Cancelled`] after a signal.
    pub async fn confirm(&self, danger: Danger, yes: bool) -> Result<(), Failure> {
        let mut stop = self.stop.clone();
        let asked = tokio::task::spawn_blocking(move || confirm::confirm(&danger, yes));
        tokio::select! {
            answer = asked => answer.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())),
            () = stop.asked() => Err(Failure::cancelled("waiting for an answer")),
        }
    }

    /// Writes the summary of long work: a JSON line, or text for people.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn summary(&self, body: &impl serde::Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
        match self.output.is_json() {
            true => self.output.message("summary", body),
            false => self.output.text(&text()),
        }
    }

    /// Writes what a short command found: a JSON document, or text for people.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn document(&self, body: &impl serde::Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
        match self.output.is_json() {
            true => self.output.document(body),
            false => self.output.text(&text()),
        }
    }
}

/// Runs the command.
///
/// # Errors
/// What kept it from doing what it was asked for.
pub fn run(cli: Cli, environment: Environment, output: Arc<Output>) -> Result<Exit, Failure> {
    if matches!(cli.command, Command::Backup(_)) {
        stand_back();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start the threads that do the work: {error}")))?;
    let result = runtime.block_on(async {
        let stop =
            Stop::on_signals().map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))?;
        let context = Context { global: cli.global, environment, output, now: Zoned::now(), stop };
        dispatch(&context, cli.command).await
    });
    // The process is about to end. Taking the threads down first would wait for a question that nobody answers, and let
    // the driver's own tasks, such as closing cursors, find their connections gone and panic on stderr.
    std::mem::forget(runtime);
    result
}

/// Lets the processes beside this one go first: the source's server is one of them where they share a machine. Threads have
/// it from the one that starts them, so it comes before all others.
fn stand_back() {
    const STEPS: i32 = 10;
    if let Err(error) = rustix::process::nice(STEPS) {
        tracing::debug!(%error, "the backup goes on at the priority that it was started with");
    }
}

/// A record in canonical Extended JSON.
fn document_of(interpreter: &dyn Interpreter, image: &[u8]) -> Result<serde_json::Value, Failure> {
    let unreadable = |why: String| Failure::failed(format!("a record of the archive cannot be shown: {why}"));
    let text = interpreter.display_record(image).map_err(|error| unreadable(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))
}

async fn dispatch(context: &Context, command: Command) -> Result<Exit, Failure> {
    let source = command.source().map(str::to_owned);
    let done = carry_out(context, command).await;
    done.map_err(|failure| match &source {
        Some(name) => failure.of_source(name),
        None => failure,
    })
}

async fn carry_out(context: &Context, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Backup(args) => Box::pin(backup::run(context, &args)).await,
        Command::Capture(args) => Box::pin(capture::run(context, &args)).await,
        Command::Restore(args) => Box::pin(restore::run(context, &args)).await,
        Command::Drill(args) => Box::pin(drill::run(context, &args)).await,
        Command::Undo(args) => Box::pin(undo::run(context, &args)).await,
        Command::Init => leave(context, init::run(context)).await,
        Command::Timeline(args) => leave(context, timeline::run(context, &args)).await,
        Command::Ls(args) => leave(context, ls::run(context, &args)).await,
        Command::Get(args) => leave(context, get::run(context, &args)).await,
        Command::Diff(args) => leave(context, diff::run(context, &args)).await,
        Command::Schema(args) => leave(context, schema::run(context, &args)).await,
        Command::Restores(args) => leave(context, restores::run(context, &args)).await,
        Command::Verify(args) => leave(context, verify::run(context, &args)).await,
        Command::Compact(args) => leave(context, compact::run(context, &args)).await,
        Command::Status => leave(context, status::run(context)).await,
        Command::Doctor(args) => leave(context, doctor::run(context, &args)).await,
        Command::Repo(RepoCommand::Probe) => leave(context, repo::probe(context)).await,
        Command::Key(command) => leave(context, key::run(context, command)).await,
        Command::Config(command) => config::run(context, command),
        Command::Explain(args) => explain::run(context, &args),
        Command::Completions(args) => completions::run(context, &args),
    }
}

/// Does the work unless a signal comes first.
async fn leave(context: &Context, work: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let mut stop = context.stop.clone();
    tokio::select! {
        result = Box::pin(work) => result,
        () = stop.asked() => Err(Failure::new(Exit::Cancelled, "cancelled by a signal")),
    }
}
