//! The built `backstay` program, run as a person would, in a folder of its own.
//!
//! The folder holds `backstay.yaml`, the archive and the keyring, and is the program's working folder and home.
//! `BACKSTAY_…` and `XDG_…` variables of the caller do not leak in. The program's path is given by the caller,
//! because only a test of the crate that builds it knows it: `env!("CARGO_BIN_EXE_backstay")`.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tempfile::TempDir;

use crate::leash::{Leash, Signal};
use crate::replica_set::temporary_folder;

const LONGEST_RUN: Duration = Duration::from_secs(600);

/// A configuration with one source, `shop`, at `uri`: the namespaces `include`, and tenants by these rules, each a mapping
/// in YAML. The archive and the keyring stand beside it.
#[must_use]
pub fn shop_configuration(uri: &str, include: &[&str], tenants: &[&str]) -> String {
    let include = include.iter().map(|pattern| format!("\"{pattern}\"")).collect::<Vec<_>>().join(", ");
    let tenants = tenants.iter().map(|rule| format!("      - {{ {rule} }}\n")).collect::<String>();
    format!(
        "repository:\n  url: file:./archive\nkeyring:\n  file: ./backstay.keys\nsources:\n  shop:\n    kind: mongodb\n    \
         uri: {uri}\n    include: [{include}]\n    tenants:\n{tenants}"
    )
}

/// A place to run `backstay` in.
#[derive(Debug)]
pub struct Backstay {
    program: PathBuf,
    folder: TempDir,
    environment: Vec<(OsString, OsString)>,
    runs: AtomicU32,
}

impl Backstay {
    /// A new, empty folder for `program`.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(program: impl Into<PathBuf>) -> Result<Self> {
        Ok(Self {
            program: program.into(),
            folder: temporary_folder()?,
            environment: Vec::new(),
            runs: AtomicU32::new(0),
        })
    }

    /// Writes `backstay.yaml`, which the program finds in its working folder.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn configure(&self, yaml: &str) -> Result<()> {
        Ok(fs::write(self.folder.path().join("backstay.yaml"), yaml)?)
    }

    /// Sets a variable for every later run, a crash point for instance.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// The working folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs to the end, whatever that is.
    ///
    /// # Errors
    /// When the program cannot be started, or hangs: it is killed after ten minutes.
    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<Run> {
        self.spawn(args)?.wait(LONGEST_RUN)
    }

    /// Starts in the background; killed when the returned value is dropped or this process dies.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn spawn<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<Running> {
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        let command = self.command(args);
        let stdout = self.folder.path().join(format!(".run-{run}.out"));
        let stderr = self.folder.path().join(format!(".run-{run}.err"));
        let process = Leash::spawn(&command, &stdout, &stderr, None)?;
        Ok(Running { line: describe(&command), process, stdout, stderr })
    }

    fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("BACKSTAY_") || text.starts_with("XDG_") {
                command.env_remove(name);
            }
        }
        command
            .args(args)
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path())
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// The command as a person would type it, for messages.
fn describe(command: &Command) -> String {
    let mut line = String::from("backstay");
    for arg in command.get_args() {
        line.push(' ');
        line.push_str(&arg.to_string_lossy());
    }
    line
}

/// A run that goes on.
#[derive(Debug)]
pub struct Running {
    line: String,
    process: Leash,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Running {
    /// The program's process id, for looking at `/proc`.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Whether it has ended.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.process.ended()?.is_some())
    }

    /// What it has written to stdout so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        read_lossy(&self.stdout)
    }

    /// What it has written to stderr so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        read_lossy(&self.stderr)
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// As [`Leash::signal`].
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// `kill -9`, and waits until it is gone.
    ///
    /// # Errors
    /// As [`Running::wait`].
    pub fn kill(mut self) -> Result<Run> {
        self.signal(Signal::Kill)?;
        self.wait(Duration::from_secs(30))
    }

    /// Blocks until it ends by itself.
    ///
    /// # Errors
    /// When it still runs after `limit`; it is then killed.
    pub fn wait(mut self, limit: Duration) -> Result<Run> {
        let code = self
            .process
            .wait(limit)
            .with_context(|| format!("{}\nstdout: {}\nstderr: {}", self.line, self.stdout(), self.stderr()))?;
        Ok(Run { code, stdout: self.stdout(), stderr: self.stderr(), line: self.line })
    }
}

fn read_lossy(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// A run that has ended.
#[derive(Clone, Debug)]
pub struct Run {
    /// The command, as typed.
    pub line: String,
    /// The exit code; after a signal 128 and its number, as shells count.
    pub code: i32,
    /// All of stdout.
    pub stdout: String,
    /// All of stderr.
    pub stderr: String,
}

impl Run {
    /// Itself, when the exit code is `code`.
    ///
    /// # Panics
    /// Otherwise, with all that the program wrote.
    #[must_use = "read the output, or use `ok`"]
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert!(self.code == code, "expected exit code {code}, got {self}");
        self
    }

    /// Itself, when the run succeeded.
    ///
    /// # Panics
    /// Otherwise, with all that the program wrote.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.expect_code(0)
    }

    /// Each line of stdout as a JSON document, for commands that print JSON lines.
    ///
    /// # Panics
    /// When a line is not JSON.
    #[must_use]
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in: {self}"));
        self.stdout.lines().filter(|line| !line.trim().is_empty()).map(parse).collect()
    }

    /// Stdout as one JSON document, or else the last of its JSON lines whose `message_type` is `summary`.
    ///
    /// # Panics
    /// When there is neither.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        if let Ok(value) = serde_json::from_str(&self.stdout) {
            return value;
        }
        let summary = self.json_lines().into_iter().rev().find(|line| line["message_type"] == "summary");
        summary.unwrap_or_else(|| panic!("no summary in: {self}"))
    }

    /// The `error` document that `--json` prints, from either stream.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    #[track_caller]
    pub fn json_error(&self) -> Value {
        let lines = self.stdout.lines().chain(self.stderr.lines());
        let mut values = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let error = values.find(|value| value["message_type"] == "error" || value["code"].is_string());
        error.unwrap_or_else(|| panic!("no error document in: {self}"))
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "`{}`, exit code {}", self.line, self.code)?;
        write!(f, "--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr)
    }
}
