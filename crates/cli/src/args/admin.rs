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

/// `backstay repo`
#[derive(Subcommand, Clone, Copy, PartialEq, Eq, Debug)]
pub enum RepoCommand {
    /// Find out whether the storage keeps the promises that Backstay needs
    #[command(after_help = PROBE_HELP)]
    Probe,
}

const PROBE_HELP: &str = "\
It writes some hundred small objects below probe/, races for their names, reads, lists and deletes them, and removes what \
it made. No repository and no keyring need be there. Exit code 15 says that a promise is broken that Backstay cannot do \
without.";

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
#[command(after_help = "\
Without --tenant the key that wraps all others is replaced. The keyring is then protected by the new pass phrase that \
BACKSTAY_NEW_PASSPHRASE, BACKSTAY_NEW_PASSPHRASE_FILE or BACKSTAY_NEW_PASSPHRASE_COMMAND gives, else by the one that \
it had, else by its file's permissions. With --tenant, what is written from now on for that tenant is sealed under a \
new key; its older keys still open what was written before.

Copies of the keyring made earlier still open: destroy or replace them.")]
pub struct KeyRotateArgs {
    /// The source whose keys are meant; may be left out when there is only one
    #[arg(long, value_name = "SOURCE", env = "BACKSTAY_SOURCE", hide_env_values = true)]
    pub source: Option<String>,
    /// Only this tenant's key; may be repeated
    #[arg(long = "tenant", value_name = "X", env = "BACKSTAY_TENANT", hide_env_values = true)]
    pub tenants: Vec<String>,
}

/// `backstay key shred`
#[derive(Args, Debug)]
#[command(after_help = "\
The captured changes are sorted first, so that nothing of the tenant stays under a key that others share, and what \
that replaced is deleted at once: let no restore run meanwhile. Then the tenant's keys are destroyed in the keyring. \
Copies of the keyring made earlier still hold them: destroy those as well.")]
pub struct KeyShredArgs {
    /// The source whose keys are meant; may be left out when there is only one
    #[arg(long, value_name = "SOURCE", env = "BACKSTAY_SOURCE", hide_env_values = true)]
    pub source: Option<String>,
    /// The tenant
    #[arg(long, value_name = "X", env = "BACKSTAY_TENANT", hide_env_values = true)]
    pub tenant: String,
    /// Do not ask
    #[arg(long, env = "BACKSTAY_YES", hide_env_values = true, value_parser = switch())]
    pub yes: bool,
}

/// `backstay key export`
#[derive(Args, Debug)]
#[command(after_help = "\
The new keyring is protected by the pass phrase that BACKSTAY_NEW_PASSPHRASE, BACKSTAY_NEW_PASSPHRASE_FILE or \
BACKSTAY_NEW_PASSPHRASE_COMMAND gives, else by its file's permissions.")]
pub struct KeyExportArgs {
    /// The source whose keys are meant; may be left out when there is only one
    #[arg(long, value_name = "SOURCE", env = "BACKSTAY_SOURCE", hide_env_values = true)]
    pub source: Option<String>,
    /// The tenant
    #[arg(long, value_name = "X", env = "BACKSTAY_TENANT", hide_env_values = true)]
    pub tenant: String,
    /// The file to make, readable by its owner only
    #[arg(long, value_name = "FILE", env = "BACKSTAY_TO", hide_env_values = true)]
    pub to: PathBuf,
}

/// `backstay explain`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  backstay explain unrestorable
  backstay explain 16")]
pub struct ExplainArgs {
    /// The code of a JSON error, or the exit code
    pub code: String,
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
