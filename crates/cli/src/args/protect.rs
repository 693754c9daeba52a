//! Arguments of the commands that build and keep the archive.

use clap::Args;

use super::switch;
use super::values::{Sample, Until};

/// `backstay backup`
#[derive(Args, Debug)]
#[command(after_help = "\
The first backup reads everything. A later one reads everything again, stores only what differs from the \
archive, and reports the difference as drift. A backup that was stopped goes on where it was.

One backup of a source runs at a time: a second one ends with exit code 11. A capture may run beside it.

It reads no faster than the source bears: the source's section `pace` in the configuration sets a limit, how long the \
users of the source may wait for their writes, and the hours of the day in which it is scanned.")]
pub struct BackupArgs {
    /// A source of the configuration
    pub source: String,
    /// Scan at once, whatever pace.off_peak says
    #[arg(long, env = "BACKSTAY_NOW", hide_env_values = true, value_parser = switch())]
    pub now: bool,
    /// Go on in place of the process that is scanning the source now, and keep it from writing any more
    #[arg(long, env = "BACKSTAY_TAKE_OVER", hide_env_values = true, value_parser = switch())]
    pub take_over: bool,
}

/// `backstay capture`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  backstay capture shop                     follow the changes until SIGINT or SIGTERM
  backstay capture shop --until now         catch up with the present, then stop
  backstay capture shop --until 23:00       stop once the archive is complete up to that time

Capture starts where the last one stopped; nothing is lost or doubled in between, even after a crash. When \
the source no longer holds the changes that are missing, the gap is recorded with its cause, the source is \
scanned again, and capture goes on.

One capture follows a source at a time: a second one ends with exit code 11 and names the process that holds it; \
if that one no longer runs, the second goes on in its place. With --until it may run beside one that follows.")]
pub struct CaptureArgs {
    /// A source of the configuration
    pub source: String,
    /// Stop once the archive is complete up to here: now, or a time
    #[arg(long, value_name = "now|TIME", env = "BACKSTAY_UNTIL", hide_env_values = true, allow_hyphen_values = true)]
    pub until: Option<Until>,
    /// Go on in place of the process that captures the source now, and keep it from writing any more
    #[arg(long, env = "BACKSTAY_TAKE_OVER", hide_env_values = true, value_parser = switch())]
    pub take_over: bool,
}

/// `backstay verify`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  backstay verify shop                      chain, signatures, and that every object is there
  backstay verify shop --content            open every block as well, and recompute the digests
  backstay verify shop --content --sample 3/7    the third of seven parts: one for each day of the week

Ends with exit code 15 when anything is wrong; each problem names its object.")]
pub struct VerifyArgs {
    /// A source of the configuration
    pub source: String,
    /// Open and decrypt the content as well
    #[arg(long, env = "BACKSTAY_CONTENT", hide_env_values = true, value_parser = switch())]
    pub content: bool,
    /// Check only the Nth of T parts of the objects
    #[arg(long, value_name = "N/T", env = "BACKSTAY_SAMPLE", hide_env_values = true)]
    pub sample: Option<Sample>,
}

/// `backstay compact`
#[derive(Args, Debug)]
pub struct CompactArgs {
    /// A source of the configuration
    pub source: String,
}
