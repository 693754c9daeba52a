//! Where the archive is, and how a cloud that holds it is reached.
//!
//! Each setting `repository.x` has the variable `BACKSTAY_REPOSITORY_X`; secrets have `_file` and `_command` beside it. The
//! providers' own variables (`AWS_…`, `AZURE_…`, `GOOGLE_…`) count where nothing of that kind is set here.

use std::path::{Path, PathBuf};

use backstay_store::{Bucket, CloudKind, Credentials, Limits, Patience, Settings};

use super::secret::{self, Origin, Secret};
use super::sections::RepositorySection;
use crate::environment::Environment;
use crate::failure::Failure;

/// Where the archive is.
#[derive(Debug)]
pub enum Repository {
    /// In a folder of this machine.
    Folder(PathBuf),
    /// In a bucket of a cloud.
    Bucket(Box<BucketConfig>),
}

impl Repository {
    /// The place for people.
    pub fn place(&self) -> String {
        match self {
            Repository::Folder(folder) => folder.display().to_string(),
            Repository::Bucket(bucket) => bucket.bucket.to_string(),
        }
    }
}

/// A bucket, and how it is reached.
#[derive(Debug)]
pub struct BucketConfig {
    /// The bucket.
    pub bucket: Bucket,
    /// The service's address, when it is not the provider's own.
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    pub region: Option<String>,
    /// The certificates that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// The storage account, for Azure.
    pub account: Option<String>,
    /// Secrets by the name of their setting.
    pub secrets: Vec<(&'static str, Origin)>,
    /// How much may be asked for.
    pub limits: Limits,
    /// The provider's own variables.
    variables: Vec<(String, String)>,
}

/// The secrets that go with each kind of cloud.
const fn secrets_of(kind: CloudKind) -> &'static [&'static str] {
    match kind {
        CloudKind::S3 => &["access_key_id", "secret_access_key", "session_token"],
        CloudKind::Azure => &["account_key", "sas_token"],
        CloudKind::Google => &["service_account"],
    }
}

/// What is wrong with the settings: the setting, and the problem.
pub(super) type Complaint = (String, String);

impl BucketConfig {
    /// Puts the sections and the variables together. Paths in the file are relative to `folder`.
    ///
    /// # Errors
    /// When a variable cannot be read.
    pub(super) fn check(
        bucket: Bucket,
        section: RepositorySection,
        folder: &Path,
        environment: &Environment,
    ) -> Result<(BucketConfig, Vec<Complaint>), Failure> {
        let mut complaints: Vec<Complaint> = Vec::new();
        let mut complain = |name: &str, problem: &str| {
            complaints.push((format!("repository.{name}"), problem.to_owned()));
        };
        let text = |name: &str, in_file: Option<String>| -> Result<Option<String>, Failure> {
            Ok(environment.text(&variable(name))?.map(str::to_owned).or(in_file))
        };
        let endpoint = text("endpoint", section.endpoint)?;
        if endpoint.as_ref().is_some_and(|url| !url.starts_with("https://") && !url.starts_with("http://")) {
            complain("endpoint", "it begins with https:// (or http://, for a server on this machine)");
        }
        let region = text("region", section.region)?;
        let account = text("account", section.account)?;
        let ca_file = environment.path(&variable("ca_file")).or(section.ca_file.map(|file| folder.join(file)));
        let mut secrets: Vec<(&'static str, Origin)> = Vec::new();
        for (name, value, file, command) in [
            ("access_key_id", section.access_key_id, section.access_key_id_file, section.access_key_id_command),
            (
                "secret_access_key",
                section.secret_access_key,
                section.secret_access_key_file,
                section.secret_access_key_command,
            ),
            ("session_token", section.session_token, section.session_token_file, section.session_token_command),
            ("account_key", section.account_key, section.account_key_file, section.account_key_command),
            ("sas_token", section.sas_token, section.sas_token_file, section.sas_token_command),
            ("service_account", section.service_account, section.service_account_file, section.service_account_command),
        ] {
            let setting = format!("repository.{name}");
            let in_file = [
                value.map(|value| Origin::value(&setting, Secret::new(value))),
                file.map(|file| Origin::file(format!("{setting}_file"), folder.join(file))),
                command.map(|command| Origin::command(format!("{setting}_command"), command)),
            ];
            let mut in_file = in_file.into_iter().flatten();
            let first = in_file.next();
            if in_file.next().is_some() {
                complain(name, "it is set in more than one way; keep one of them");
            }
            if let Some(origin) = secret::origin(&variable(name), environment)?.or(first) {
                match secrets_of(bucket.kind).contains(&name) {
                    true => secrets.push((name, origin)),
                    false => complain(name, &format!("it means nothing for {}://", bucket.kind.scheme())),
                }
            }
        }
        let has = |name: &str| secrets.iter().any(|(secret, _)| *secret == name);
        match bucket.kind {
            CloudKind::S3 if has("access_key_id") != has("secret_access_key") => {
                complain("access_key_id", "it goes together with secret_access_key");
            }
            CloudKind::Azure if account.is_none() && (has("account_key") || has("sas_token")) => {
                complain("account", "it is not said which storage account is meant");
            }
            CloudKind::S3 | CloudKind::Azure | CloudKind::Google => {}
        }
        let mut limit = |name: &str, in_file: Option<f64>| -> Result<Option<f64>, Failure> {
            let variable = variable(&format!("limits_{name}"));
            let value = match environment.text(&variable)? {
                Some(text) => Some(text.parse().map_err(|_| Failure::usage(format!("{variable} is not a number")))?),
                None => in_file,
            };
            if value.is_some_and(|value: f64| !value.is_finite() || value <= 0.0) {
                complain(&format!("limits.{name}"), "it is not a number above 0");
                return Ok(None);
            }
            Ok(value)
        };
        let limits = Limits {
            requests_per_second: limit("requests_per_second", section.limits.requests_per_second)?,
            bytes_per_second: limit("mbytes_per_second", section.limits.mbytes_per_second)?.map(|mega| mega * 1e6),
        };
        let prefixes: &[&str] = match bucket.kind {
            CloudKind::S3 => &["AWS_"],
            CloudKind::Azure => &["AZURE_", "IDENTITY_", "MSI_"],
            CloudKind::Google => &["GOOGLE_"],
        };
        let variables = environment.with_prefixes(prefixes)?;
        let config = BucketConfig { bucket, endpoint, region, ca_file, account, secrets, limits, variables };
        Ok((config, complaints))
    }

    /// The settings with their secrets.
    ///
    /// # Errors
    /// When a secret or the certificates cannot be read.
    pub fn settings(&self) -> Result<Settings, Failure> {
        let secret = |name: &str| -> Result<Option<String>, Failure> {
            let origin = self.secrets.iter().find(|(secret, _)| *secret == name).map(|(_, origin)| origin);
            Ok(origin.map(Origin::read).transpose()?.map(|secret| secret.expose().to_owned()))
        };
        let credentials = match self.bucket.kind {
            CloudKind::S3 => match (secret("access_key_id")?, secret("secret_access_key")?) {
                (Some(id), Some(key)) => Credentials::Keys { id, secret: key, token: secret("session_token")? },
                _ => Credentials::Ambient,
            },
            CloudKind::Azure => match &self.account {
                Some(name) => {
                    let (key, sas) = (secret("account_key")?, secret("sas_token")?);
                    Credentials::Account { name: name.clone(), key, sas }
                }
                None => Credentials::Ambient,
            },
            CloudKind::Google => secret("service_account")?.map_or(Credentials::Ambient, Credentials::ServiceAccount),
        };
        let read = |file: &PathBuf| {
            std::fs::read(file).map_err(|error| {
                Failure::usage(format!("cannot read {}, which repository.ca_file names: {error}", file.display()))
            })
        };
        Ok(Settings {
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            ca: self.ca_file.as_ref().map(read).transpose()?,
            credentials,
            variables: self.variables.clone(),
            limits: self.limits,
            patience: Patience::default(),
        })
    }
}

/// The variable of a setting of the repository.
fn variable(name: &str) -> String {
    format!("BACKSTAY_REPOSITORY_{}", name.to_ascii_uppercase())
}
