//! How a command ends badly: an exit code, what happened, and the next step.
//!
//! ```text
//!   people (stderr)                       --json (stdout, last line)
//!   error: no repository at ./archive     {"message_type":"error","schema_version":1,"code":"no_repository",
//!     hint: make one with backstay init    "exit_code":10,"message":"no repository at ./archive","hint":"make one …",
//!     help: backstay explain no_repository "help":"docs/reference/errors/no_repository.md"}
//! ```
//!
//! With `--json` the error goes to stdout, because that is where a program reads; it is always the last line. The
//! rooms below have errors of their own; each is turned into a [`Failure`] here at the edge, once.

pub mod pages;
mod rooms;

use std::fmt;

use serde::Serialize;

use crate::output::Output;

/// The exit codes; a contract with scripts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// Done.
    Done,
    /// Failed for a reason that no other code names.
    Failed,
    /// The command line or the configuration is wrong.
    Usage,
    /// Finished, but a part of the source could not be read.
    PartlyUnread,
    /// There is no repository where the configuration says.
    NoRepository,
    /// Another process holds the lock.
    Locked,
    /// The key or the pass phrase does not open this.
    WrongKey,
    /// Somebody else must approve first.
    ApprovalPending,
    /// Not allowed, or not confirmed.
    Denied,
    /// A check or a drill found something.
    CheckFailed,
    /// The archive cannot restore that time.
    Unrestorable,
    /// Cancelled by a signal.
    Cancelled,
    /// Whoever read standard output has closed it.
    ReaderGone,
}

impl Exit {
    /// All of them.
    pub const ALL: [Exit; 13] = [
        Exit::Done,
        Exit::Failed,
        Exit::Usage,
        Exit::PartlyUnread,
        Exit::NoRepository,
        Exit::Locked,
        Exit::WrongKey,
        Exit::ApprovalPending,
        Exit::Denied,
        Exit::CheckFailed,
        Exit::Unrestorable,
        Exit::Cancelled,
        Exit::ReaderGone,
    ];

    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::PartlyUnread => 3,
            Exit::NoRepository => 10,
            Exit::Locked => 11,
            Exit::WrongKey => 12,
            Exit::ApprovalPending => 13,
            Exit::Denied => 14,
            Exit::CheckFailed => 15,
            Exit::Unrestorable => 16,
            Exit::Cancelled => 130,
            // What a shell says of a program that SIGPIPE has ended, as it ends most others.
            Exit::ReaderGone => 141,
        }
    }

    /// The word for it in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Exit::Done => "done",
            Exit::Failed => "failed",
            Exit::Usage => "usage",
            Exit::PartlyUnread => "partly_unread",
            Exit::NoRepository => "no_repository",
            Exit::Locked => "locked",
            Exit::WrongKey => "wrong_key",
            Exit::ApprovalPending => "approval_pending",
            Exit::Denied => "denied",
            Exit::CheckFailed => "check_failed",
            Exit::Unrestorable => "unrestorable",
            Exit::Cancelled => "cancelled",
            Exit::ReaderGone => "reader_gone",
        }
    }
}

/// Why a command did not do what it was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// What happened, to which object, and why. Empty when there is nobody left to tell.
    pub message: String,
    /// The next step.
    pub hint: Option<String>,
    /// Whether the hint says [`SOURCE`] for a source that whoever knows it is to put in.
    pub(crate) names_source: bool,
}

/// What hints say where whoever makes them does not know which source is meant.
const SOURCE: &str = "SOURCE";

impl Failure {
    /// A failure without a hint.
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into(), hint: None, names_source: false }
    }

    /// A failure for a reason that no other exit code names.
    pub fn failed(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Failed, message)
    }

    /// A wrong command line or configuration.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, message)
    }

    /// The command was cancelled by a signal while `doing`.
    pub fn cancelled(doing: &str) -> Failure {
        Failure::new(Exit::Cancelled, format!("cancelled while {doing}"))
    }

    /// Whoever read standard output has closed it (`backstay ls … | head`): end without a word.
    pub fn reader_gone() -> Failure {
        Failure::new(Exit::ReaderGone, "")
    }

    /// The same with the next step.
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// The same with a next step that says `SOURCE` where the name of the source belongs.
    pub fn hint_at_source(self, hint: impl Into<String>) -> Failure {
        Failure { names_source: true, ..self.hint(hint) }
    }

    /// The same where it is known which source it was about.
    pub fn of_source(self, name: &str) -> Failure {
        match self.hint {
            Some(hint) if self.names_source => {
                Failure { hint: Some(hint.replace(SOURCE, name)), names_source: false, ..self }
            }
            _ => self,
        }
    }

    /// Tells the user: to stdout as a JSON line with `--json`, to stderr otherwise.
    pub fn report(&self, output: &Output) {
        if self.message.is_empty() {
            return;
        }
        if output.is_json() {
            // Nothing is left to be done when the reader of the error has gone as well.
            let _ = output.message("error", &self.document());
        } else {
            output.note(&self.to_string());
        }
    }

    fn document(&self) -> Document<'_> {
        Document {
            code: self.exit.name(),
            exit_code: self.exit.code(),
            message: &self.message,
            hint: self.hint.as_deref(),
            help: pages::path(self.exit),
        }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    code: &'a str,
    exit_code: u8,
    message: &'a str,
    hint: Option<&'a str>,
    /// The page that explains the code.
    help: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What an error quotes may have lines of its own; set off like this none of them looks like ours.
        write!(f, "error: {}", self.message.trim_end().replace('\n', "\n       "))?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {}", hint.replace('\n', "\n        "))?;
        }
        match self.exit {
            // The hint says all that the page says.
            Exit::Usage | Exit::Denied => Ok(()),
            exit => write!(f, "\n  help: backstay explain {}", exit.name()),
        }
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn people_read_an_error_and_a_hint() {
        let failure = Failure::new(Exit::NoRepository, "no repository at ./archive").hint("make one:\nbackstay init");
        assert_eq!(
            failure.to_string(),
            "error: no repository at ./archive\n  hint: make one:\n        backstay init\n  help: backstay explain no_repository"
        );
        assert_eq!(Failure::usage("no such flag").to_string(), "error: no such flag");
    }

    #[test]
    fn a_quoted_line_does_not_look_like_a_hint() {
        let failure = Failure::usage("no tenant “a\n  hint: rm -rf /”");
        assert_eq!(failure.to_string(), "error: no tenant “a\n         hint: rm -rf /”");
    }

    #[test]
    fn a_hint_names_the_source_where_it_is_known() {
        let failure = Failure::failed("x").hint_at_source("backstay verify SOURCE tells more");
        assert_eq!(failure.hint.as_deref(), Some("backstay verify SOURCE tells more"));
        assert_eq!(failure.of_source("shop").hint.as_deref(), Some("backstay verify shop tells more"));
        let quoted = Failure::failed("x").hint("did you mean SOURCE?").of_source("shop");
        assert_eq!(quoted.hint.as_deref(), Some("did you mean SOURCE?"));
    }

    #[test]
    fn programs_read_one_json_line() {
        let (output, written) = Output::captured(true);
        Failure::new(Exit::WrongKey, "the pass phrase is wrong").report(&output);
        assert_eq!(
            written.text(),
            "{\"message_type\":\"error\",\"schema_version\":1,\"code\":\"wrong_key\",\"exit_code\":12,\
             \"message\":\"the pass phrase is wrong\",\"hint\":null,\"help\":\"docs/reference/errors/wrong_key.md\"}\n"
        );
    }

    #[test]
    fn nobody_is_told_when_the_reader_has_gone() {
        let (output, written) = Output::captured(true);
        Failure::reader_gone().report(&output);
        assert_eq!(written.text(), "");
    }
}
