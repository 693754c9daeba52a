//! Asking before something dangerous.
//!
//! On a terminal the question names the action and its target and waits for `yes`. Anywhere else nobody can answer, so
//! the command is refused (exit code 14) unless `--yes` was given. Nothing has been written when the answer is no.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::failure::{Exit, Failure};
use crate::output::plain;

/// What is about to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Danger {
    /// The action and its target as a sentence without a full stop, such as
    /// `rewind 120 documents of tenant t7 in place on 127.0.0.1:27017`.
    pub action: String,
}

/// Where a question can be asked.
#[derive(Debug)]
pub struct Asker<R, W> {
    /// Whether somebody is there to answer.
    pub interactive: bool,
    /// Where answers come from.
    pub answers: R,
    /// Where questions go.
    pub questions: W,
}

/// Whether somebody is there to be asked.
pub fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Goes on only if `yes` was given or a person at the terminal agrees.
///
/// # Errors
/// [`Exit::Denied`] otherwise.
pub fn confirm(danger: &Danger, yes: bool) -> Result<(), Failure> {
    Asker { interactive: is_interactive(), answers: io::stdin().lock(), questions: io::stderr() }.confirm(danger, yes)
}

impl<R: BufRead, W: Write> Asker<R, W> {
    /// As [`confirm`].
    ///
    /// # Errors
    /// [`Exit::Denied`] without consent.
    pub fn confirm(&mut self, danger: &Danger, yes: bool) -> Result<(), Failure> {
        if yes {
            return Ok(());
        }
        if !self.interactive {
            return Err(Failure::new(
                Exit::Denied,
                format!("refused to {}: nobody is here to confirm it", danger.action),
            )
            .hint("look at it with --preview where there is one, then add --yes"));
        }
        let unanswered = |error: io::Error| Failure::new(Exit::Denied, format!("cannot ask for confirmation: {error}"));
        write!(self.questions, "About to {}.\nType yes to go on: ", plain::line(&danger.action)).map_err(unanswered)?;
        self.questions.flush().map_err(unanswered)?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer).map_err(unanswered)?;
        if answer.trim().eq_ignore_ascii_case("yes") {
            return Ok(());
        }
        Err(Failure::new(Exit::Denied, format!("not confirmed: did not {}", danger.action)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn ask(interactive: bool, yes: bool, answer: &str) -> (Result<(), Failure>, String) {
        let mut asker = Asker { interactive, answers: answer.as_bytes(), questions: Vec::new() };
        let result = asker.confirm(&Danger { action: "shred the keys of tenant t7".into() }, yes);
        (result, String::from_utf8(asker.questions).unwrap())
    }

    #[test]
    fn the_question_names_the_target_and_takes_only_yes() {
        let (result, question) = ask(true, false, "yes\n");
        assert_eq!(result, Ok(()));
        assert_eq!(question, "About to shred the keys of tenant t7.\nType yes to go on: ");
        for answer in ["", "\n", "y\n", "no\n", "yes please\n"] {
            assert_eq!(ask(true, false, answer).0.unwrap_err().exit, Exit::Denied, "{answer}");
        }
    }

    #[test]
    fn where_nobody_can_answer_only_the_flag_consents() {
        let (result, question) = ask(false, false, "yes\n");
        assert_eq!(result.unwrap_err().exit, Exit::Denied);
        assert_eq!(question, "");
        assert_eq!(ask(false, true, "").0, Ok(()));
    }
}
