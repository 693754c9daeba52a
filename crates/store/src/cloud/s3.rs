//! What S3 can do and the library cannot say: parts completed on condition, versions, Object Lock.
//!
//! Requests are signed by the library's own signer and go over the same wire. Keys need no escaping, because paths hold
//! nothing that does. Shapes are those of the S3 API reference (2006-03-01).

use std::time::SystemTime;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::HttpClient;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::trouble::{Failure, Trouble, explain, trouble};
use crate::Error;

/// A bucket that speaks S3.
pub(crate) struct S3 {
    /// The bucket in messages.
    pub bucket: String,
    /// The bucket's address.
    pub base: String,
    pub region: String,
    /// `None`: requests are not signed.
    pub credentials: Option<AwsCredentialProvider>,
    pub client: HttpClient,
}

/// A part that was taken.
pub(crate) struct PartSum {
    etag: String,
    sha256: String,
}

/// How the completion of parts ended.
pub(crate) enum Finished {
    Made,
    /// The name is taken, somebody else is at work on it, or the upload is known no more: it was completed before.
    Taken,
}

/// An upload that was begun and not completed.
pub(crate) struct Upload {
    pub key: String,
    pub id: String,
    pub begun: SystemTime,
}

/// A version of an object, or a delete marker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Version {
    pub key: String,
    pub id: String,
    pub is_delete_marker: bool,
}

/// What a bucket's Object Lock is set to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Lock {
    /// Objects can be locked.
    pub is_enabled: bool,
    /// The mode and the time in words that every new object is locked for by itself.
    pub default: Option<String>,
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl S3 {
    pub async fn begin(&self, key: &str, metadata: &[(&str, &str)]) -> Result<String, Failure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Begun {
            upload_id: String,
        }
        let mut headers = vec![("x-amz-checksum-algorithm".to_owned(), "SHA256".to_owned())];
        headers.extend(metadata.iter().map(|(name, value)| (format!("x-amz-meta-{name}"), (*value).to_owned())));
        let reply = self.call(Method::POST, key, "uploads=", &headers, Bytes::new()).await?;
        Ok(self.parse::<Begun>(key, &self.expect_success(key, reply)?)?.upload_id)
    }

    pub async fn put_part(&self, key: &str, upload: &str, number: usize, part: Bytes) -> Result<PartSum, Failure> {
        let sha256 = BASE64_STANDARD.encode(digest::digest(&digest::SHA256, &part));
        let headers = [("x-amz-checksum-sha256".to_owned(), sha256.clone())];
        let query = format!("partNumber={number}&uploadId={}", escape(upload));
        let reply = self.call(Method::PUT, key, &query, &headers, part).await?;
        let etag = reply.headers.get(http::header::ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        self.expect_success(key, reply)?;
        let etag = etag.ok_or_else(|| Failure::passing(key, "it gave no ETag for a part"))?;
        Ok(PartSum { etag, sha256 })
    }

    /// Completes an upload if its name is free. A failure leaves open whether it was completed.
    pub async fn finish(&self, key: &str, upload: &str, parts: &[PartSum]) -> Result<Finished, Failure> {
        let mut body = String::from("<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
        for (number, part) in parts.iter().enumerate() {
            let (etag, sha256) = (quick_xml::escape::escape(&part.etag), &part.sha256);
            body.push_str(&format!(
                "<Part><PartNumber>{}</PartNumber><ETag>{etag}</ETag><ChecksumSHA256>{sha256}</ChecksumSHA256></Part>",
                number + 1
            ));
        }
        body.push_str("</CompleteMultipartUpload>");
        let headers = [("if-none-match".to_owned(), "*".to_owned())];
        let query = format!("uploadId={}", escape(upload));
        let reply = self.call(Method::POST, key, &query, &headers, body.into()).await?;
        let (code, message) = explain(&reply.body);
        match (reply.status, code.as_str()) {
            // 409: somebody else is at work on the name. 404: the upload was completed by a try before, or taken away.
            (StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT | StatusCode::NOT_FOUND, _)
            | (_, "PreconditionFailed") => Ok(Finished::Taken),
            (status, _) if status.is_success() && contains(&reply.body, b"<Error>") => {
                // S3 begins its answer before it knows the outcome, and may say so under 200.
                Err(self.failure(key, Trouble::Refused { status: 500, code, message, retry_after: None }))
            }
            _ => match contains(&reply.body, b"CompleteMultipartUploadResult") {
                true => Ok(Finished::Made),
                false => Err(Failure::passing(key, "it broke off while it completed an upload")),
            },
        }
    }

    pub async fn abort(&self, key: &str, upload: &str) -> Result<(), Failure> {
        let query = format!("uploadId={}", escape(upload));
        let reply = self.call(Method::DELETE, key, &query, &[], Bytes::new()).await?;
        match reply.status {
            StatusCode::NOT_FOUND => Ok(()),
            _ => self.expect_success(key, reply).map(drop),
        }
    }

    /// All uploads that were begun below `prefix` and not completed.
    pub async fn uploads(&self, prefix: &str) -> Result<Vec<Upload>, Failure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Listing {
            #[serde(default)]
            upload: Vec<Listed>,
            #[serde(default)]
            is_truncated: bool,
            #[serde(default)]
            next_key_marker: String,
            #[serde(default)]
            next_upload_id_marker: String,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Listed {
            key: String,
            upload_id: String,
            initiated: String,
        }
        let mut uploads = Vec::new();
        let mut marker = String::new();
        loop {
            let query = format!("{marker}prefix={}&uploads=", escape(prefix));
            let reply = self.call(Method::GET, "", &query, &[], Bytes::new()).await?;
            let page: Listing = self.parse(prefix, &self.expect_success(prefix, reply)?)?;
            for listed in page.upload {
                // Without a time it cannot be told whether somebody is still at it.
                let Ok(begun) = listed.initiated.parse::<jiff::Timestamp>() else { continue };
                uploads.push(Upload { key: listed.key, id: listed.upload_id, begun: begun.into() });
            }
            let next = format!(
                "key-marker={}&upload-id-marker={}&",
                escape(&page.next_key_marker),
                escape(&page.next_upload_id_marker)
            );
            if !page.is_truncated || next == marker || page.next_key_marker.is_empty() {
                return Ok(uploads);
            }
            marker = next;
        }
    }

    /// Whether the bucket keeps versions: `Enabled`, `Suspended`, or `None` when it never did.
    pub async fn versioning(&self) -> Result<Option<String>, Failure> {
        #[derive(Deserialize)]
        struct Configuration {
            #[serde(rename = "Status")]
            status: Option<String>,
        }
        let reply = self.call(Method::GET, "", "versioning=", &[], Bytes::new()).await?;
        Ok(self.parse::<Configuration>("", &self.expect_success("", reply)?)?.status)
    }

    /// All versions and delete markers below a prefix, newest first for each key.
    pub async fn versions(&self, prefix: &str) -> Result<Vec<Version>, Failure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Listing {
            #[serde(default)]
            version: Vec<Listed>,
            #[serde(default)]
            delete_marker: Vec<Listed>,
            #[serde(default)]
            is_truncated: bool,
            #[serde(default)]
            next_key_marker: String,
            #[serde(default)]
            next_version_id_marker: String,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Listed {
            key: String,
            version_id: String,
        }
        let mut versions = Vec::new();
        let mut marker = String::new();
        loop {
            let query = format!("{marker}prefix={}&versions=", escape(prefix));
            let reply = self.call(Method::GET, "", &query, &[], Bytes::new()).await?;
            let page: Listing = self.parse(prefix, &self.expect_success(prefix, reply)?)?;
            let version = |is_delete_marker: bool| {
                move |listed: Listed| Version { key: listed.key, id: listed.version_id, is_delete_marker }
            };
            versions.extend(page.version.into_iter().map(version(false)));
            versions.extend(page.delete_marker.into_iter().map(version(true)));
            let next = format!(
                "key-marker={}&version-id-marker={}&",
                escape(&page.next_key_marker),
                escape(&page.next_version_id_marker)
            );
            if !page.is_truncated || next == marker || page.next_key_marker.is_empty() {
                return Ok(versions);
            }
            marker = next;
        }
    }

    /// Removes one version for good. False when a lock forbids it.
    pub async fn delete_version(&self, version: &Version) -> Result<bool, Failure> {
        let query = format!("versionId={}", escape(&version.id));
        let sent = self.call(Method::DELETE, &version.key, &query, &[], Bytes::new()).await;
        match sent {
            Err(Failure { error: Error::Denied { .. }, .. }) => Ok(false),
            Err(failure) => Err(failure),
            Ok(reply) if reply.status == StatusCode::NOT_FOUND => Ok(true),
            Ok(reply) if reply.status == StatusCode::CONFLICT => Ok(false),
            Ok(reply) => self.expect_success(&version.key, reply).map(|_| true),
        }
    }

    /// What the bucket's Object Lock is set to.
    pub async fn lock(&self) -> Result<Lock, Failure> {
        #[derive(Deserialize)]
        struct Configuration {
            #[serde(rename = "ObjectLockEnabled", default)]
            enabled: String,
            #[serde(rename = "Rule")]
            rule: Option<Rule>,
        }
        #[derive(Deserialize)]
        struct Rule {
            #[serde(rename = "DefaultRetention")]
            default: Option<Retention>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Retention {
            mode: String,
            days: Option<u32>,
            years: Option<u32>,
        }
        let reply = self.call(Method::GET, "", "object-lock=", &[], Bytes::new()).await?;
        if reply.status == StatusCode::NOT_FOUND {
            return Ok(Lock::default());
        }
        let said: Configuration = self.parse("", &self.expect_success("", reply)?)?;
        let words = |retention: Retention| match (retention.days, retention.years) {
            (Some(days), _) => format!("{} for {days} days", retention.mode.to_lowercase()),
            (_, Some(years)) => format!("{} for {years} years", retention.mode.to_lowercase()),
            (None, None) => retention.mode.to_lowercase(),
        };
        Ok(Lock { is_enabled: said.enabled == "Enabled", default: said.rule.and_then(|rule| rule.default).map(words) })
    }

    /// Writes an object that is locked in governance mode until `until`; its version's id, or `None` when the service
    /// does not take it or says no id.
    pub async fn put_locked(&self, key: &str, bytes: Bytes, until: SystemTime) -> Result<Option<String>, Failure> {
        let until = jiff::Timestamp::try_from(until)
            .and_then(|until| until.round(jiff::Unit::Second))
            .map_err(|error| Failure::passing(key, error))?;
        let headers = [
            ("x-amz-checksum-sha256".to_owned(), BASE64_STANDARD.encode(digest::digest(&digest::SHA256, &bytes))),
            ("x-amz-object-lock-mode".to_owned(), "GOVERNANCE".to_owned()),
            ("x-amz-object-lock-retain-until-date".to_owned(), until.to_string()),
        ];
        let reply = self.call(Method::PUT, key, "", &headers, bytes).await?;
        let id = reply.headers.get("x-amz-version-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        self.expect_success(key, reply)?;
        Ok(id)
    }

    /// Puts `bytes` under the sums of other bytes, as if they had been altered on their way: true when the service notices.
    pub async fn notices_altered(&self, key: &str, bytes: Bytes) -> Result<bool, Failure> {
        let other = digest::digest(&digest::SHA256, b"other bytes");
        let headers = [("x-amz-checksum-sha256".to_owned(), BASE64_STANDARD.encode(other))];
        let reply = self.call_with(Method::PUT, key, "", &headers, bytes, other.as_ref()).await;
        match reply {
            Ok(reply) => Ok(!reply.status.is_success()),
            Err(failure) => match trouble(&failure.error) {
                Some(Trouble::Refused { status: 400..=499, .. }) => Ok(true),
                _ => Err(failure),
            },
        }
    }

    async fn call(
        &self,
        method: Method,
        key: &str,
        query: &str,
        headers: &[(String, String)],
        body: Bytes,
    ) -> Result<Reply, Failure> {
        let sum = digest::digest(&digest::SHA256, &body);
        self.call_with(method, key, query, headers, body, sum.as_ref()).await
    }

    async fn call_with(
        &self,
        method: Method,
        key: &str,
        query: &str,
        headers: &[(String, String)],
        body: Bytes,
        sum: &[u8],
    ) -> Result<Reply, Failure> {
        let unsound = |error: http::Error| Failure::last(Error::Refused { path: key.to_owned(), source: error.into() });
        let separator = if query.is_empty() { "" } else { "?" };
        let slash = if key.is_empty() { "" } else { "/" };
        let url = format!("{}{slash}{key}{separator}{query}", self.base);
        let mut request = http::Request::builder().method(method).uri(url).body(body.into()).map_err(unsound)?;
        for (name, value) in headers {
            let name = HeaderName::try_from(name.as_str()).map_err(|error| unsound(error.into()))?;
            let value = HeaderValue::try_from(value.as_str()).map_err(|error| unsound(error.into()))?;
            request.headers_mut().insert(name, value);
        }
        if let Some(credentials) = &self.credentials {
            let failed = |error| Failure::of(&self.bucket, key, error);
            let credential = credentials.get_credential().await.map_err(failed)?;
            let authorizer = AwsAuthorizer::new(&credential, "s3", &self.region);
            authorizer.try_authorize(&mut request, Some(sum)).map_err(failed)?;
        }
        let broken = |error| Failure::of_http(&self.bucket, key, error);
        let (parts, body) = self.client.execute(request).await.map_err(broken)?.into_parts();
        let body = body.collect().await.map_err(broken)?.to_bytes();
        Ok(Reply { status: parts.status, headers: parts.headers, body })
    }

    fn expect_success(&self, key: &str, reply: Reply) -> Result<Bytes, Failure> {
        if reply.status.is_success() {
            return Ok(reply.body);
        }
        let (code, message) = explain(&reply.body);
        Err(self.failure(key, Trouble::Refused { status: reply.status.as_u16(), code, message, retry_after: None }))
    }

    fn failure(&self, key: &str, trouble: Trouble) -> Failure {
        Failure::of_trouble(&self.bucket, key, trouble)
    }

    fn parse<T: DeserializeOwned>(&self, key: &str, body: &[u8]) -> Result<T, Failure> {
        let text = String::from_utf8_lossy(body);
        quick_xml::de::from_str(&text)
            .map_err(|error| Failure::passing(key, format!("its answer makes no sense: {error}")))
    }
}

fn contains(body: &[u8], word: &[u8]) -> bool {
    body.windows(word.len()).any(|window| window == word)
}

/// A value for a query, as signatures want it: all but unreserved characters escaped.
fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
