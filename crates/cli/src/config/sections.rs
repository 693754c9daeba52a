//! The file as it is written. A name that means nothing is an error, because a misspelt setting protects nothing.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::UserMessageFormatter;

use super::check::Problem;
use super::pace::PaceSection;
use super::tenants::TenantRule;
use super::{Feed, Kind, redact};
use crate::pattern::NamespacePattern;

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sections {
    #[serde(default)]
    pub repository: RepositorySection,
    #[serde(default)]
    pub keyring: KeyringSection,
    #[serde(default)]
    pub sources: BTreeMap<String, SourceSection>,
    #[serde(default)]
    pub drill: DrillSection,
}

/// `repository:`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct RepositorySection {
    pub url: Option<String>,
    pub endpoint: Option<String>,
    pub region: Option<String>,
    pub ca_file: Option<String>,
    pub account: Option<String>,
    pub access_key_id: Option<String>,
    pub access_key_id_file: Option<String>,
    pub access_key_id_command: Option<String>,
    pub secret_access_key: Option<String>,
    pub secret_access_key_file: Option<String>,
    pub secret_access_key_command: Option<String>,
    pub session_token: Option<String>,
    pub session_token_file: Option<String>,
    pub session_token_command: Option<String>,
    pub account_key: Option<String>,
    pub account_key_file: Option<String>,
    pub account_key_command: Option<String>,
    pub sas_token: Option<String>,
    pub sas_token_file: Option<String>,
    pub sas_token_command: Option<String>,
    pub service_account: Option<String>,
    pub service_account_file: Option<String>,
    pub service_account_command: Option<String>,
    #[serde(default)]
    pub limits: LimitsSection,
}

/// `repository: limits:`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct LimitsSection {
    pub requests_per_second: Option<f64>,
    pub mbytes_per_second: Option<f64>,
}

/// `keyring:`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct KeyringSection {
    pub file: Option<String>,
    pub passphrase_file: Option<String>,
    pub passphrase_command: Option<String>,
}

/// `sources: NAME:`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSection {
    pub kind: Kind,
    pub uri: Option<String>,
    pub uri_file: Option<String>,
    pub uri_command: Option<String>,
    #[serde(default)]
    pub include: Vec<NamespacePattern>,
    #[serde(default)]
    pub tenants: Vec<TenantRule>,
    #[serde(default)]
    pub feed: Feed,
    #[serde(default)]
    pub pace: PaceSection,
    pub commit_every_ms: Option<u64>,
}

/// `drill:`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct DrillSection {
    pub into: Option<String>,
    pub into_file: Option<String>,
    pub into_command: Option<String>,
}

/// Reads the file's text; an error shows the lines around it, without their credentials.
pub fn parse(text: &str, name: &str) -> Result<Sections, Problem> {
    serde_saphyr::from_str(text).map_err(|error| {
        let formatter = UserMessageFormatter;
        let rendered =
            error.render_with_options(serde_saphyr::render_options! { formatter: &formatter, source_name: Some(name) });
        let location = error.location().map(|at| format!("line {}, column {}", at.line(), at.column()));
        Problem { place: location.unwrap_or_default(), problem: redact::text(without_label(rendered.trim_end())) }
    })
}

/// The rendered error without `error: line L column C: `, which the snippet below it says again.
fn without_label(rendered: &str) -> &str {
    let said = rendered.strip_prefix("error: ").unwrap_or(rendered);
    match said.split_once(": ") {
        Some((label, rest)) if label.starts_with("line ") && !label.contains('\n') => rest,
        _ => said,
    }
}
