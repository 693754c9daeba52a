//! Arguments of the commands that look after Backstay itself.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use clap_complete::Shell;

use super::switch;

/// `backstay doctor`
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Only this source of the configuration
    pub source: Option<String>,
}

/// `backstay config`
#[derive(Subcommand, Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfigCommand {
    /// Print the configuration in effect, without its secrets
    Show,
    /// Check the configuration and name each problem
    Validate,
}

/// `backstay key`
#[derive(Subcommand, Debug)]
pub enum KeyCommand {
    /// List the keys, without their secrets
    List,
    /// Give the following data new keys; what is stored stays readable
    Rotate(KeyRotateArgs),
    /// Destroy the keys of a tenant: nobody can read its data in the archive ever again
    Shred(KeyShredArgs),
    /// Write a keyring that opens one tenant's data and nothing else
    Export(KeyExportArgs),
}

/// `backstay key rotate`
#[derive(Args, Debug)]
pub struct KeyRotateArgs {
    /// Only this tenant's key; may be repeated
    #[arg(long = "tenant", value_name = "X", env = "BACKSTAY_TENANT", hide_env_values = true)]
    pub tenants: Vec<String>,
}

/// `backstay key shred`
#[derive(Args, Debug)]
pub struct KeyShredArgs {
    /// The tenant
    #[arg(long, value_name = "X", env = "BACKSTAY_TENANT", hide_env_values = true)]
    pub tenant: String,
    /// Do not ask
    #[arg(long, env = "BACKSTAY_YES", hide_env_values = true, value_parser = switch())]
    pub yes: bool,
}

/// `backstay key export`
#[derive(Args, Debug)]
pub struct KeyExportArgs {
    /// The tenant
    #[arg(long, value_name = "X", env = "BACKSTAY_TENANT", hide_env_values = true)]
    pub tenant: String,
    /// The file to make, readable by its owner only
    #[arg(long, value_name = "FILE", env = "BACKSTAY_TO", hide_env_values = true)]
    pub to: PathBuf,
}

/// `backstay completions`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  backstay completions bash > /etc/bash_completion.d/backstay
  backstay completions zsh  > \"${fpath[1]}/_backstay\"
  backstay completions fish > ~/.config/fish/completions/backstay.fish")]
pub struct CompletionsArgs {
    /// The shell
    pub shell: Shell,
}
