//! Logs go to stderr, and past the progress bar without tearing it.
//!
//! `BACKSTAY_LOG` holds the filter in the words of `tracing` (`info`, `backstay_mongodb=debug`), by default `warn`.
//! `BACKSTAY_LOG_FORMAT=json` writes a JSON document a line.

use std::io::{self, Write};

use indicatif::MultiProgress;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::environment::Environment;
use crate::failure::Failure;

/// Starts logging for the process. `bars` are put aside while a line is written.
///
/// # Errors
/// When the filter or the format is not understood.
pub fn start(environment: &Environment, bars: &MultiProgress) -> Result<(), Failure> {
    let filter = environment.text("BACKSTAY_LOG")?.unwrap_or("warn");
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| Failure::usage(format!("BACKSTAY_LOG is not a log filter: {error}")).hint("such as info"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(BesideBars { bars: bars.clone() });
    let started = match environment.text("BACKSTAY_LOG_FORMAT")? {
        None | Some("text") => builder.try_init(),
        Some("json") => builder.json().try_init(),
        Some(other) => {
            return Err(Failure::usage(format!("BACKSTAY_LOG_FORMAT is “{other}”, which is neither text nor json")));
        }
    };
    started.map_err(|error| Failure::failed(format!("cannot start logging: {error}")))
}

struct BesideBars {
    bars: MultiProgress,
}

impl<'a> MakeWriter<'a> for BesideBars {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { bars: &self.bars, text: Vec::new() }
    }
}

/// One log line, written when it is whole.
struct Line<'a> {
    bars: &'a MultiProgress,
    text: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        // A log line that cannot be written has nowhere else to go.
        let _ = self.bars.suspend(|| io::stderr().write_all(&self.text));
    }
}
