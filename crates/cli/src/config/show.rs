//! The configuration in effect, as it can be shown: where secrets come from, not what they are.

use std::collections::BTreeMap;

use backstay_store::Limits;
use serde::Serialize;

use super::{Config, Feed, Kind, Origin, PaceConfig, Repository, SourceConfig, TenantRule, redact};
use crate::failure::Failure;
use crate::pattern::NamespacePattern;

/// What `config show` prints; as YAML for people, as JSON otherwise.
#[derive(Serialize)]
pub struct View<'a> {
    file: String,
    repository: RepositoryView,
    keyring: KeyringView,
    sources: BTreeMap<&'a str, SourceView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drill: Option<DrillView>,
}

#[derive(Serialize)]
struct DrillView {
    into: String,
}

#[derive(Serialize, Default)]
struct RepositoryView {
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    /// Where each secret comes from.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    credentials: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<LimitsView>,
}

#[derive(Serialize)]
struct LimitsView {
    requests_per_second: Option<f64>,
    mbytes_per_second: Option<f64>,
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
    feed: Feed,
    pace: &'a PaceConfig,
    commit_every_ms: u64,
}

impl<'a> View<'a> {
    /// A view of the configuration.
    pub fn of(config: &'a Config) -> View<'a> {
        let passphrase = config.keyring.passphrase.as_ref();
        View {
            file: config.file.display().to_string(),
            repository: repository_view(&config.repository),
            keyring: KeyringView {
                file: config.keyring.file.display().to_string(),
                passphrase: passphrase.map_or_else(|| "none".to_owned(), |origin| origin.describe()),
            },
            sources: config.sources.iter().map(|(name, source)| (name.as_str(), source_view(source))).collect(),
            drill: config.drill.as_ref().map(|origin| DrillView { into: shown_uri(origin) }),
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

fn repository_view(repository: &Repository) -> RepositoryView {
    let bucket = match repository {
        Repository::Folder(folder) => {
            return RepositoryView { url: format!("file:{}", folder.display()), ..RepositoryView::default() };
        }
        Repository::Bucket(bucket) => bucket,
    };
    let Limits { requests_per_second, bytes_per_second } = bucket.limits;
    let is_limited = requests_per_second.is_some() || bytes_per_second.is_some();
    RepositoryView {
        url: bucket.bucket.to_string(),
        endpoint: bucket.endpoint.as_deref().map(redact::uri),
        region: bucket.region.clone(),
        ca_file: bucket.ca_file.as_ref().map(|file| file.display().to_string()),
        account: bucket.account.clone(),
        credentials: bucket.secrets.iter().map(|(name, origin)| (*name, origin.describe())).collect(),
        limits: is_limited
            .then(|| LimitsView { requests_per_second, mbytes_per_second: bytes_per_second.map(|bytes| bytes / 1e6) }),
    }
}

fn source_view(source: &SourceConfig) -> SourceView<'_> {
    SourceView {
        kind: source.kind,
        uri: shown_uri(&source.uri),
        include: &source.include,
        tenants: &source.tenants,
        feed: source.feed,
        pace: &source.pace,
        commit_every_ms: source.commit_every_ms,
    }
}

fn shown_uri(origin: &Origin) -> String {
    match origin.known() {
        Some(uri) => redact::uri(uri.expose()),
        None => origin.describe(),
    }
}
