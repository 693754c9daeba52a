//! How a cloud is reached: credentials, addresses, limits and patience.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Fills a buffer with randomness: for the marks on created objects, and for the jitter of pauses.
pub type Chance = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// How the store of a URL is reached. The default asks the machine's own identity for credentials, and knows no limits.
#[derive(Clone, Default)]
pub struct Settings {
    /// The service's address, such as `https://minio.internal:9000`; the provider's own when `None`. S3: the bucket
    /// follows it as a part of the path. Azure: with the account, as in `http://127.0.0.1:10000/devstoreaccount1`.
    pub endpoint: Option<String>,
    /// S3: the region that requests are signed for.
    pub region: Option<String>,
    /// PEM text of certificates that are trusted beside the system's.
    pub ca: Option<Vec<u8>>,
    /// Who asks.
    pub credentials: Credentials,
    /// The provider's own variables, such as `AWS_ACCESS_KEY_ID` or `AZURE_CLIENT_ID`; what `credentials`, `endpoint` and
    /// `region` say wins.
    pub variables: Vec<(String, String)>,
    /// How much may be asked for.
    pub limits: Limits,
    /// How long one waits, and how often one asks again.
    pub patience: Patience,
}

/// Who asks.
#[derive(Clone, Default)]
pub enum Credentials {
    /// Whoever `variables` name, or else the machine's own identity.
    #[default]
    Ambient,
    /// S3: an access key.
    Keys {
        /// The public part.
        id: String,
        /// The secret part.
        secret: String,
        /// The token of temporary credentials.
        token: Option<String>,
    },
    /// Azure: the storage account with its key, a token that the account signed, or (without either) what `Ambient` finds.
    Account {
        /// The account's name.
        name: String,
        /// Its key in base64.
        key: Option<String>,
        /// A shared access signature, as the query string of a URL.
        sas: Option<String>,
    },
    /// Google: a service account's key, as JSON.
    ServiceAccount(String),
    /// Nobody: requests are not signed. For servers in tests.
    Anonymous,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credentials::Ambient => f.write_str("Ambient"),
            Credentials::Keys { id, .. } => write!(f, "Keys({id}, ..)"),
            Credentials::Account { name, .. } => write!(f, "Account({name}, ..)"),
            Credentials::ServiceAccount(_) => f.write_str("ServiceAccount(..)"),
            Credentials::Anonymous => f.write_str("Anonymous"),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("credentials", &self.credentials)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// How much may be asked for by all handles of a store together.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Limits {
    /// Requests a second, retries included.
    pub requests_per_second: Option<f64>,
    /// Bytes a second, both directions together.
    pub bytes_per_second: Option<f64>,
}

/// How long one waits, and how often one asks again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// How long a connection may take to come about.
    pub connect: Duration,
    /// How long nothing may move, in either direction, before a request counts as lost.
    pub idle: Duration,
    /// How often a request is made before its failure is final.
    pub tries: u32,
    /// The pause before the second try; it doubles from try to try, and a random part of up to half is taken off.
    pub first_pause: Duration,
    /// No pause is longer, unless the service asks for it.
    pub longest_pause: Duration,
}

impl Default for Patience {
    /// Eight tries within about twenty seconds: longer than a server takes to restart or a throttled prefix to be split,
    /// shorter than people wait before they interrupt.
    fn default() -> Patience {
        Patience {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            tries: 8,
            first_pause: Duration::from_millis(200),
            longest_pause: Duration::from_secs(10),
        }
    }
}
