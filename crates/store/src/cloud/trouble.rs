//! What goes wrong between here and a cloud, and what can be done about it.
//!
//! ```text
//!   wire ──Trouble──► object_store's error, wrapped several times ──► Failure { error, remedy }
//! ```
//!
//! The wire says what happened in a type of its own, which is found again at the bottom of whatever the library makes of
//! it: so a decision never hangs on somebody's wording. Answers that the library gives a meaning (404, 409, 412) pass
//! through the wire untouched.

use std::time::Duration;

use object_store::client::HttpError;
use serde::Deserialize;

use crate::Error;

/// What happened on the wire.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// The service answered with an error.
    #[error("it answered {status}{}{}", spaced(.code), after_colon(.message))]
    Refused { status: u16, code: String, message: String, retry_after: Option<Duration> },
    /// No connection came about: nothing was sent.
    #[error("no connection to {host}: {why}")]
    Unreachable { host: String, why: String },
    /// The service's certificate is not trusted.
    #[error("the certificate of {host} is not trusted: {why}; name the authority's certificate with `ca_file`")]
    Untrusted { host: String, why: String },
    /// The machine has no identity to ask for credentials.
    #[error(
        "no credentials are configured, and the machine has no identity of its own: {host} does not answer as a \
         provider's metadata service"
    )]
    NoCredentials { host: String },
    /// The connection broke, or nothing moved for too long; what was sent may have been received.
    #[error("{why}")]
    Lost { why: String },
}

fn spaced(code: &str) -> String {
    if code.is_empty() { String::new() } else { format!(" {code}") }
}

fn after_colon(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {}", message.trim()) }
}

/// An error, and whether asking again can help.
#[derive(Debug)]
pub(crate) struct Failure {
    pub error: Error,
    pub remedy: Remedy,
}

/// What can be done about a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Remedy {
    /// Nothing.
    None,
    /// Ask again.
    Again,
    /// Ask again, but not soon: the service is overloaded. With the pause that it asked for, if it did.
    Later(Option<Duration>),
}

impl Failure {
    pub fn last(error: Error) -> Failure {
        Failure { error, remedy: Remedy::None }
    }

    /// A passing failure.
    pub fn passing(path: &str, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
        let error = Error::Unavailable { path: path.to_owned(), source: why.into() };
        Failure { error, remedy: Remedy::Again }
    }

    /// What an answer of the library means for the object `path` of `bucket`.
    pub fn of(bucket: &str, path: &str, source: object_store::Error) -> Failure {
        match trouble(&source) {
            Some(trouble) => Failure::of_trouble(bucket, path, trouble.clone()),
            None => {
                let error = Error::from_store(path, source);
                let remedy = if error.is_retryable() { Remedy::Again } else { Remedy::None };
                Failure { error, remedy }
            }
        }
    }

    pub fn of_http(bucket: &str, path: &str, source: HttpError) -> Failure {
        match trouble(&source) {
            Some(trouble) => Failure::of_trouble(bucket, path, trouble.clone()),
            None => Failure::passing(path, source),
        }
    }

    pub fn of_trouble(bucket: &str, path: &str, trouble: Trouble) -> Failure {
        let object = path.to_owned();
        let (status, code, retry_after) = match &trouble {
            Trouble::Refused { status, code, retry_after, .. } => (*status, code.as_str(), *retry_after),
            Trouble::Unreachable { .. } | Trouble::Lost { .. } => return Failure::passing(path, trouble),
            Trouble::Untrusted { .. } | Trouble::NoCredentials { .. } => {
                return Failure::last(Error::Denied { path: bucket.to_owned(), source: trouble.into() });
            }
        };
        match (status, code) {
            (_, "NoSuchBucket" | "ContainerNotFound") => Failure::last(Error::NoBucket { bucket: bucket.to_owned() }),
            (429, _) | (503, _) | (_, "SlowDown" | "ServerBusy" | "TooManyRequests") => {
                let error = Error::Unavailable { path: object, source: trouble.into() };
                Failure { error, remedy: Remedy::Later(retry_after) }
            }
            (507, _) | (_, "QuotaExceeded" | "XMinioStorageFull") => {
                Failure::last(Error::Full { path: object, source: trouble.into() })
            }
            (501, _) => Failure::last(Error::Unsupported {
                what: format!("what is asked of {bucket} ({trouble})"),
                hint: "backstay repo probe tells what else this storage lacks".to_owned(),
            }),
            // The body was cut or altered on its way, or took longer than the server waits: 400 in S3's words.
            (408 | 500..=599, _)
            | (_, "RequestTimeout" | "IncompleteBody" | "BadDigest" | "Md5Mismatch" | "InternalError")
            | (_, "XAmzContentSHA256Mismatch" | "OperationTimedOut") => Failure::passing(path, trouble),
            (401 | 403, _) => Failure::last(Error::Denied { path: object, source: trouble.into() }),
            _ => Failure::last(Error::Refused { path: object, source: trouble.into() }),
        }
    }
}

/// The trouble at the bottom of a chain of wrappers.
pub(super) fn trouble<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e Trouble> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(trouble) = error.downcast_ref::<Trouble>() {
            return Some(trouble);
        }
        next = error.source();
    }
    None
}

/// Code and message of an error's body: XML from all three clouds, JSON from some of their other services.
pub(super) fn explain(body: &[u8]) -> (String, String) {
    #[derive(Deserialize, Default)]
    struct Said {
        #[serde(rename = "Code", default)]
        code: String,
        #[serde(rename = "Message", default)]
        message: String,
    }
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}').trim();
    if let Ok(said) = quick_xml::de::from_str::<Said>(text)
        && !(said.code.is_empty() && said.message.is_empty())
    {
        return (said.code, said.message);
    }
    let short: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
    (String::new(), short)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn remedy(status: u16, code: &str) -> Remedy {
        let trouble = Trouble::Refused { status, code: code.into(), message: String::new(), retry_after: None };
        Failure::of_trouble("s3://b", "p", trouble).remedy
    }

    #[test]
    fn what_helps() {
        for (status, code) in [(500, "InternalError"), (502, ""), (504, ""), (408, ""), (400, "RequestTimeout")] {
            assert_eq!(remedy(status, code), Remedy::Again, "{status} {code}");
        }
        assert_eq!(remedy(400, "BadDigest"), Remedy::Again);
        assert_eq!(remedy(503, "SlowDown"), Remedy::Later(None));
        assert_eq!(remedy(429, ""), Remedy::Later(None));
        for (status, code) in [(403, "AccessDenied"), (400, "InvalidBucketName"), (404, "NoSuchBucket"), (501, "")] {
            assert_eq!(remedy(status, code), Remedy::None, "{status} {code}");
        }
    }

    #[test]
    fn a_refusal_is_found_under_the_library() {
        let trouble = Trouble::Refused { status: 503, code: "SlowDown".into(), message: "".into(), retry_after: None };
        let http = HttpError::new(object_store::client::HttpErrorKind::Unknown, trouble);
        let wrapped = object_store::Error::Generic { store: "S3", source: Box::new(http) };
        let failure = Failure::of("s3://b", "x", wrapped);
        assert_eq!(failure.remedy, Remedy::Later(None));
        assert!(matches!(super::trouble(&failure.error), Some(Trouble::Refused { status: 503, .. })));
        assert_eq!(
            failure.error.to_string(),
            "the store did not complete the request for `x`: it answered 503 SlowDown"
        );
    }

    #[test]
    fn bodies_of_errors() {
        let xml =
            br#"<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Reduce it</Message><Key>a</Key></Error>"#;
        assert_eq!(explain(xml), ("SlowDown".into(), "Reduce it".into()));
        assert_eq!(explain(b"<html>no</html>").0, "");
        assert_eq!(explain(b""), (String::new(), String::new()));
        assert_eq!(explain(b"{\"error\":\"x\"}").1, "{\"error\":\"x\"}");
    }
}
