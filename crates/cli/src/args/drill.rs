//! Arguments of `backstay drill`.

use clap::Args;

use super::selection::{AtArgs, SelectionArgs};
use super::switch;

/// `backstay drill`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  backstay drill shop --into mongodb://10.0.0.9:27017      everything, as of the newest time
  backstay drill shop --tenant t7 --at \"yesterday 14:00\"   into the deployment of drill.into

What is selected is restored into databases of its own, backstay_drill_…, on a deployment that is not the source's; \
it is read back and compared with the archive by digest, and dropped again. Nothing else on that deployment is \
touched. Ends with exit code 15 when the drill did not bring back what the archive holds.

A URI with credentials is better not on the command line: use drill.into_file or drill.into_command in the \
configuration, or BACKSTAY_DRILL_INTO, BACKSTAY_DRILL_INTO_FILE or BACKSTAY_DRILL_INTO_COMMAND.")]
pub struct DrillArgs {
    /// A source of the configuration
    pub source: String,
    /// As of when.
    #[command(flatten)]
    pub at: AtArgs,
    /// Which records.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// The deployment for drills; the default is drill.into of the configuration
    #[arg(long, value_name = "URI", env = "BACKSTAY_INTO", hide_env_values = true)]
    pub into: Option<String>,
    /// Keep what was restored, to look at it
    #[arg(long, env = "BACKSTAY_KEEP", hide_env_values = true, value_parser = switch())]
    pub keep: bool,
}
