//! From a bucket and settings to something that answers.

use std::str::FromStr;
use std::sync::Arc;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, Checksum};
use object_store::azure::{AzureConfigKey, MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::client::HttpConnector;
use object_store::gcp::{GcpCredential, GoogleCloudStorage, GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::list::PaginatedListStore;
use object_store::{ClientOptions, ObjectStore, RetryConfig, StaticCredentialProvider};

use super::azure::Azure;
use super::wire::{Line, Wire};
use super::{Cloud, S3};
use crate::{Bucket, Chance, CloudKind, Credentials, Error, Result, Settings};

/// The region of a bucket whose region nobody said.
const DEFAULT_REGION: &str = "us-east-1";

/// Retrying is done above.
fn once() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

impl Cloud {
    /// Prepares to reach `place`. Nothing is asked yet, so a wrong address or key shows at the first use.
    pub fn new(place: Bucket, settings: &Settings, chance: Chance) -> Result<Cloud> {
        let wire = Wire::new(settings)?;
        let line = Line(Arc::clone(&wire));
        type Both = (Arc<dyn ObjectStore>, Arc<dyn PaginatedListStore>);
        let ((library, pages), s3, azure): (Both, _, _) = match place.kind {
            CloudKind::S3 => {
                let (library, s3) = s3(&place, settings, line)?;
                ((library.clone(), library), Some(s3), None)
            }
            CloudKind::Azure => {
                let (library, azure) = azure(&place, settings, line)?;
                ((library.clone(), library), None, azure)
            }
            CloudKind::Google => {
                let library = google(&place, settings, line)?;
                ((library.clone(), library), None, None)
            }
        };
        Ok(Cloud { place, library, pages, s3, azure, wire, patience: settings.patience, chance })
    }
}

fn unusable(place: &Bucket) -> impl Fn(object_store::Error) -> Error + '_ {
    move |error| Error::Unsupported {
        what: format!("{place} as it is configured ({error})"),
        hint: "correct the configuration of the repository".to_owned(),
    }
}

/// Credentials of another provider's kind.
fn mismatch(place: &Bucket, wanted: &str) -> Error {
    Error::Unsupported { what: format!("{place} with these credentials"), hint: format!("it takes {wanted}") }
}

fn s3(place: &Bucket, settings: &Settings, line: Line) -> Result<(Arc<AmazonS3>, S3)> {
    let mut builder = AmazonS3Builder::new();
    for (name, value) in &settings.variables {
        if let Ok(key) = AmazonS3ConfigKey::from_str(&name.to_ascii_lowercase()) {
            builder = builder.with_config(key, value);
        }
    }
    match &settings.credentials {
        Credentials::Ambient => {}
        Credentials::Keys { id, secret, token } => {
            builder = builder.with_access_key_id(id).with_secret_access_key(secret);
            if let Some(token) = token {
                builder = builder.with_token(token);
            }
        }
        Credentials::Anonymous => builder = builder.with_skip_signature(true),
        Credentials::Account { .. } | Credentials::ServiceAccount(_) => {
            return Err(mismatch(place, "access_key_id and secret_access_key"));
        }
    }
    if let Some(region) = &settings.region {
        builder = builder.with_region(region);
    }
    let setting = |key| builder.get_config_value(&key);
    let region = setting(AmazonS3ConfigKey::Region)
        .or_else(|| setting(AmazonS3ConfigKey::DefaultRegion))
        .unwrap_or_else(|| DEFAULT_REGION.to_owned());
    let endpoint = (settings.endpoint.clone())
        .or_else(|| setting(AmazonS3ConfigKey::S3Endpoint))
        .or_else(|| setting(AmazonS3ConfigKey::Endpoint))
        .unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
    let endpoint = endpoint.trim_end_matches('/');
    let base = format!("{endpoint}/{}", place.name);
    let client = line.connect(&ClientOptions::new()).map_err(unusable(place))?;
    let library = builder
        .with_region(&region)
        .with_config(AmazonS3ConfigKey::S3Endpoint, endpoint)
        .with_virtual_hosted_style_request(false)
        .with_bucket_name(&place.name)
        // The sum that is signed anyway; buckets with a default retention ask for it.
        .with_checksum_algorithm(Checksum::SHA256)
        .with_disable_bulk_delete(true)
        .with_retry(once())
        .with_http_connector(line)
        .build()
        .map_err(unusable(place))?;
    let is_signed = !matches!(settings.credentials, Credentials::Anonymous);
    let s3 = S3 {
        bucket: format!("s3://{}", place.name),
        base,
        region,
        credentials: is_signed.then(|| Arc::clone(library.credentials())),
        client,
    };
    Ok((Arc::new(library), s3))
}

fn azure(place: &Bucket, settings: &Settings, line: Line) -> Result<(Arc<MicrosoftAzure>, Option<Azure>)> {
    let mut builder = MicrosoftAzureBuilder::new();
    for (name, value) in &settings.variables {
        if let Ok(key) = AzureConfigKey::from_str(&name.to_ascii_lowercase()) {
            builder = builder.with_config(key, value);
        }
    }
    match &settings.credentials {
        Credentials::Ambient => {}
        Credentials::Account { name, key, sas } => {
            builder = builder.with_account(name);
            if let Some(key) = key {
                builder = builder.with_access_key(key);
            }
            if let Some(sas) = sas {
                builder = builder.with_config(AzureConfigKey::SasKey, sas);
            }
        }
        Credentials::Anonymous => builder = builder.with_skip_signature(true),
        Credentials::Keys { .. } | Credentials::ServiceAccount(_) => {
            return Err(mismatch(place, "account, and account_key or sas_token"));
        }
    }
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
    }
    let client = line.connect(&ClientOptions::new()).map_err(unusable(place))?;
    let account = builder.get_config_value(&AzureConfigKey::AccountName).unwrap_or_default();
    let endpoint = builder.get_config_value(&AzureConfigKey::Endpoint);
    let endpoint = endpoint.unwrap_or_else(|| format!("https://{account}.blob.core.windows.net"));
    let library = builder
        .with_container_name(&place.name)
        // It would choose addresses of its own.
        .with_use_emulator(false)
        .with_config(AzureConfigKey::UseFabricEndpoint, "false")
        .with_retry(once())
        .with_http_connector(line)
        .build()
        .map_err(unusable(place))?;
    let is_signed = !matches!(settings.credentials, Credentials::Anonymous);
    let azure = is_signed.then(|| Azure {
        container: format!("az://{}", place.name),
        base: format!("{}/{}", endpoint.trim_end_matches('/'), place.name),
        account,
        credentials: Arc::clone(library.credentials()),
        client,
    });
    Ok((Arc::new(library), azure))
}

fn google(place: &Bucket, settings: &Settings, line: Line) -> Result<Arc<GoogleCloudStorage>> {
    let mut builder = GoogleCloudStorageBuilder::new();
    for (name, value) in &settings.variables {
        if let Ok(key) = GoogleConfigKey::from_str(&name.to_ascii_lowercase()) {
            builder = builder.with_config(key, value);
        }
    }
    match &settings.credentials {
        Credentials::Ambient => {}
        Credentials::ServiceAccount(json) => builder = builder.with_service_account_key(json),
        Credentials::Anonymous => {
            let nobody = GcpCredential { bearer: String::new() };
            let nobody = Arc::new(StaticCredentialProvider::new(nobody));
            builder = builder.with_credentials(nobody).with_skip_signature(true);
        }
        Credentials::Keys { .. } | Credentials::Account { .. } => {
            return Err(mismatch(place, "service_account: the JSON key of a service account"));
        }
    }
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_base_url(endpoint.trim_end_matches('/'));
    }
    let library = builder
        .with_bucket_name(&place.name)
        .with_retry(once())
        .with_http_connector(line)
        .build()
        .map_err(unusable(place))?;
    Ok(Arc::new(library))
}
