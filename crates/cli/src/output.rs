//! What the program says, and where.
//!
//! ```text
//!   stdout   data: tables and text for people, or with --json one document, or JSON lines for long work
//!   stderr   notes, progress, logs and, for people, errors
//! ```
//!
//! A JSON line is `{"message_type": "status"|"summary"|"error"|…, "schema_version": 1, …}`. A JSON document that is an
//! object carries `schema_version` as well; one that is an array is what the command line's contract says it is. Fields
//! are only ever added within a schema version. What people are shown cannot steer their terminal, whatever the names in
//! it: see [`plain`].

mod human;
pub mod plain;
mod progress;
mod table;

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use indicatif::MultiProgress;
use serde::Serialize;

pub use human::{bytes, count, duration, rate};
pub use progress::{Progress, Unit};
pub use table::{Align, table};

use crate::failure::Failure;

/// The version of the JSON that is written.
pub const SCHEMA_VERSION: u32 = 1;

/// Where data, notes and progress go.
pub struct Output {
    json: bool,
    stdout: Mutex<Box<dyn Write + Send>>,
    bars: MultiProgress,
}

#[derive(Serialize)]
struct Message<'a, T> {
    message_type: &'a str,
    schema_version: u32,
    #[serde(flatten)]
    body: &'a T,
}

#[derive(Serialize)]
struct Document<'a, T> {
    schema_version: u32,
    #[serde(flatten)]
    body: &'a T,
}

impl Output {
    /// The standard streams of this process, in JSON or for people.
    pub fn standard(json: bool) -> Output {
        Output { json, stdout: Mutex::new(Box::new(io::stdout())), bars: MultiProgress::new() }
    }

    /// Whether `--json` was given.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Where progress bars are drawn.
    pub fn bars(&self) -> &MultiProgress {
        &self.bars
    }

    /// Writes one JSON line of this type; `body` serializes to an object.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn message(&self, message_type: &str, body: &impl Serialize) -> Result<(), Failure> {
        self.json_line(&Message { message_type, schema_version: SCHEMA_VERSION, body })
    }

    /// Writes the one JSON document of a command; `body` serializes to an object.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn document(&self, body: &impl Serialize) -> Result<(), Failure> {
        self.json_line(&Document { schema_version: SCHEMA_VERSION, body })
    }

    /// Writes any value as one JSON line, as it is.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn json_line(&self, value: &impl Serialize) -> Result<(), Failure> {
        let mut line =
            serde_json::to_vec(value).map_err(|error| Failure::failed(format!("cannot write JSON: {error}")))?;
        line.push(b'\n');
        self.write(&line)
    }

    /// Writes text for people to stdout, with a line end and without control characters of its own.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn text(&self, text: &str) -> Result<(), Failure> {
        self.write(format!("{}\n", plain::text(text)).as_bytes())
    }

    /// Writes bytes to stdout as they are.
    ///
    /// # Errors
    /// When stdout cannot be written; silent when its reader has gone.
    pub fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = self.stdout.lock().unwrap_or_else(PoisonError::into_inner);
        let written = self.bars.suspend(|| stdout.write_all(bytes).and_then(|()| stdout.flush()));
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::reader_gone(),
            _ => Failure::failed(format!("cannot write to standard output: {error}")),
        })
    }

    /// Tells people something beside the data, on stderr.
    pub fn note(&self, text: &str) {
        // Nobody can be told that stderr cannot be written.
        let _ = self.bars.suspend(|| writeln!(io::stderr(), "{}", plain::text(text)));
    }
}

#[cfg(test)]
pub use captured::Captured;

#[cfg(test)]
mod captured {
    use std::sync::Arc;

    use super::*;

    /// What an [`Output`] has written to its stdout.
    #[derive(Clone, Default)]
    pub struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Captured {
        /// All of it.
        pub fn text(&self) -> String {
            String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
        }
    }

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Output {
        /// An output whose stdout can be looked at.
        pub fn captured(json: bool) -> (Output, Captured) {
            let captured = Captured::default();
            let stdout: Box<dyn Write + Send> = Box::new(captured.clone());
            (Output { json, stdout: Mutex::new(stdout), bars: MultiProgress::new() }, captured)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[derive(Serialize)]
    struct Body {
        records: u64,
    }

    #[test]
    fn people_are_not_sent_control_characters_and_programs_are_sent_what_is_there() {
        let (output, written) = Output::captured(false);
        output.text("one\u{1b}[2J\n\ttwo").unwrap();
        output.json_line(&"\u{9b}").unwrap();
        assert_eq!(written.text(), "one\\u001b[2J\n\ttwo\n\"\u{9b}\"\n");
    }

    #[test]
    fn lines_and_documents_say_which_schema_they_follow() {
        let (output, written) = Output::captured(true);
        output.message("summary", &Body { records: 3 }).unwrap();
        output.document(&Body { records: 4 }).unwrap();
        output.json_line(&[1, 2]).unwrap();
        assert_eq!(
            written.text(),
            "{\"message_type\":\"summary\",\"schema_version\":1,\"records\":3}\n\
             {\"schema_version\":1,\"records\":4}\n[1,2]\n"
        );
    }
}
