//! The configuration in effect, as it can be shown: where secrets come from, not what they are.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Config, Kind, Repository, SourceConfig, TenantRule, redact};
use crate::failure::Failure;
use crate::pattern::NamespacePattern;

/// What `config show` prints; as YAML for people, as JSON otherwise.
#[derive(Serialize)]
pub struct View<'a> {
    file: String,
    repository: RepositoryView,
    keyring: KeyringView,
    sources: BTreeMap<&'a str, SourceView<'a>>,
}

#[derive(Serialize)]
struct RepositoryView {
    url: String,
}

#[derive(Serialize)]
struct KeyringView {
    file: String,
    passphrase: String,
}

#[derive(Serialize)]
struct SourceView<'a> {
    kind: Kind,
    uri: String,
    include: &'a [NamespacePattern],
    tenants: &'a [TenantRule],
}

impl<'a> View<'a> {
    /// A view of the configuration.
    pub fn of(config: &'a Config) -> View<'a> {
        let Repository::Folder(folder) = &config.repository;
        let passphrase = config.keyring.passphrase.as_ref();
        View {
            file: config.file.display().to_string(),
            repository: RepositoryView { url: format!("file:{}", folder.display()) },
            keyring: KeyringView {
                file: config.keyring.file.display().to_string(),
                passphrase: passphrase.map_or_else(|| "none".to_owned(), |origin| origin.describe()),
            },
            sources: config.sources.iter().map(|(name, source)| (name.as_str(), source_view(source))).collect(),
        }
    }

    /// The view as YAML.
    ///
    /// # Errors
    /// When it cannot be written as YAML.
    pub fn to_yaml(&self) -> Result<String, Failure> {
        let yaml = serde_saphyr::to_string(self)
            .map_err(|error| Failure::failed(format!("cannot write the configuration as YAML: {error}")))?;
        Ok(yaml.trim_end().to_owned())
    }
}

fn source_view(source: &SourceConfig) -> SourceView<'_> {
    let uri = match source.uri.known() {
        Some(uri) => redact::uri(uri.expose()),
        None => source.uri.describe(),
    };
    SourceView { kind: source.kind, uri, include: &source.include, tenants: &source.tenants }
}
