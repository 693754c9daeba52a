//! The wire: every request to a cloud, and every answer, passes here, whoever makes it.
//!
//! ```text
//!   object_store's S3, Azure, GCS ──┐                  ┌─ limits: requests a second, bytes a second both ways
//!   our own signed S3 requests ─────┼──► Line ──► Wire ┼─ patience: nothing may stand still for longer than `idle`
//!   their look-ups of credentials ──┘                  └─ what it says: errors as `Trouble`, the service's clock
//! ```
//!
//! It makes each request once. Who asks again is decided above, where it is known whether that is safe.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, DATE, RETRY_AFTER};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody,
    HttpService,
};
use tokio::time::{Instant, Sleep};

use super::pace::Pace;
use super::trouble::{Trouble, explain};
use crate::{Error, Limits, Patience, Result, Settings};

/// Bodies go out in pieces of this size, so that limits and patience see them move.
const PIECE: usize = 128 * 1024;
/// The body of an error is read up to here.
const LONGEST_ERROR: usize = 64 * 1024;
/// Where providers tell their machines who they are.
const METADATA_HOSTS: [&str; 4] = ["169.254.169.254", "169.254.170.2", "metadata.google.internal", "metadata"];
const METADATA_PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Wire {
    client: reqwest::Client,
    idle: Duration,
    requests: Option<Pace>,
    bytes: Option<Arc<Pace>>,
    server_time: Mutex<Option<SystemTime>>,
}

impl Wire {
    pub fn new(settings: &Settings) -> Result<Arc<Wire>> {
        let Settings { limits: Limits { requests_per_second, bytes_per_second }, patience, .. } = settings;
        let Patience { connect, idle, .. } = *patience;
        let failed = |what: &str, error: reqwest::Error| Error::Unsupported {
            what: format!("{what} ({})", causes(&error)),
            hint: "correct the configuration of the repository".to_owned(),
        };
        let mut client = reqwest::Client::builder()
            .user_agent(concat!("backstay/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(connect)
            .http1_only()
            .tcp_nodelay(true)
            // A redirected request would carry a signature for another address.
            .redirect(reqwest::redirect::Policy::none())
            // Trying again is decided above.
            .retry(reqwest::retry::never());
        if let Some(pem) = &settings.ca {
            let certificates = reqwest::Certificate::from_pem_bundle(pem)
                .map_err(|error| failed("the certificate in `ca_file`", error))?;
            client = client.tls_certs_merge(certificates);
        }
        Ok(Arc::new(Wire {
            client: client.build().map_err(|error| failed("TLS on this machine", error))?,
            idle,
            requests: requests_per_second.map(Pace::new),
            bytes: bytes_per_second.map(|limit| Arc::new(Pace::new(limit))),
            server_time: Mutex::new(None),
        }))
    }

    /// What the service's clock said in its last answer, in whole seconds.
    pub fn server_time(&self) -> Option<SystemTime> {
        *self.server_time.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, Trouble> {
        if let Some(pace) = &self.requests {
            pace.take(1).await;
        }
        let (parts, body) = request.into_parts();
        let host = parts.uri.authority().map_or_else(String::new, ToString::to_string);
        let is_metadata = METADATA_HOSTS.contains(&parts.uri.host().unwrap_or_default());
        let url = reqwest::Url::parse(&parts.uri.to_string())
            .map_err(|error| Trouble::Unreachable { host: host.clone(), why: error.to_string() })?;
        let mut outgoing = reqwest::Request::new(parts.method, url);
        *outgoing.headers_mut() = parts.headers;
        let moved = Moved::now();
        if body.content_length() > 0 {
            outgoing.headers_mut().insert(CONTENT_LENGTH, body.content_length().into());
            *outgoing.body_mut() = Some(self.outgoing(body, moved.clone()).await);
        }
        let answer = self.client.execute(outgoing);
        let answered = match is_metadata {
            true => tokio::time::timeout(METADATA_PATIENCE, answer).await.ok(),
            false => watch(answer, &moved, self.idle).await,
        };
        let response = match answered {
            Some(Ok(response)) => response,
            _ if is_metadata => return Err(Trouble::NoCredentials { host }),
            Some(Err(error)) => return Err(broken(&host, &error)),
            None => return Err(Trouble::Lost { why: format!("{host} did not move for {:?}", self.idle) }),
        };
        let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
        if let Some(date) = date.and_then(|date| jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok()) {
            *self.server_time.lock().unwrap_or_else(PoisonError::into_inner) = Some(date.into());
        }
        let (parts, body) = http::Response::<reqwest::Body>::from(response).into_parts();
        let body = Incoming { host, body, idle: self.idle, bytes: self.bytes.clone(), held: None, timer: None };
        judge(HttpResponse::from_parts(parts, HttpResponseBody::new(body))).await
    }

    async fn outgoing(&self, mut body: HttpRequestBody, moved: Moved) -> reqwest::Body {
        let mut pieces: Vec<Bytes> = Vec::new();
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(mut bytes) = frame.into_data() else { continue };
            while bytes.len() > PIECE {
                pieces.push(bytes.split_to(PIECE));
            }
            pieces.push(bytes);
        }
        let pace = self.bytes.clone();
        let paced = futures::stream::iter(pieces).then(move |piece| {
            let (pace, moved) = (pace.clone(), moved.clone());
            async move {
                if let Some(pace) = pace {
                    let from = pace.reserve(piece.len() as u64);
                    // Waiting for the limit is not standing still.
                    moved.until(from);
                    tokio::time::sleep_until(from).await;
                }
                moved.until(Instant::now());
                Ok::<Bytes, std::convert::Infallible>(piece)
            }
        });
        reqwest::Body::wrap_stream(paced)
    }
}

/// When something last moved.
#[derive(Clone)]
struct Moved(Arc<Mutex<Instant>>);

impl Moved {
    fn now() -> Moved {
        Moved(Arc::new(Mutex::new(Instant::now())))
    }

    fn until(&self, instant: Instant) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last = instant.max(*last);
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The outcome of `work`, or `None` when nothing has moved for `idle`.
async fn watch<T>(work: impl Future<Output = T>, moved: &Moved, idle: Duration) -> Option<T> {
    let mut work = std::pin::pin!(work);
    loop {
        let limit = moved.last() + idle;
        tokio::select! {
            done = &mut work => return Some(done),
            () = tokio::time::sleep_until(limit) => {
                if moved.last() + idle <= limit {
                    return None;
                }
            }
        }
    }
}

/// Lets pass what the library gives a meaning to; all else that is not a success is trouble.
async fn judge(response: HttpResponse) -> Result<HttpResponse, Trouble> {
    let status = response.status();
    let has_meaning = |status: StatusCode| matches!(status.as_u16(), 304 | 404 | 409 | 412);
    if status.is_success() {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    // Azure says it in a header, so that answers to HEAD have it too.
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let said = read_error(body).await;
    let (mut code, mut message) = explain(&said);
    code = header("x-ms-error-code").unwrap_or(code);
    let is_missing_bucket = matches!(code.as_str(), "NoSuchBucket" | "ContainerNotFound");
    if has_meaning(status) && !is_missing_bucket {
        return Ok(HttpResponse::from_parts(parts, Bytes::from(said).into()));
    }
    if let Some(region) = header("x-amz-bucket-region").filter(|_| !status.is_server_error())
        && matches!(status.as_u16(), 301 | 307 | 400)
    {
        message = format!("the bucket is in the region {region}; set `region`");
    }
    let retry_after = header(RETRY_AFTER.as_str()).and_then(|text| text.parse().ok()).map(Duration::from_secs);
    Err(Trouble::Refused { status: status.as_u16(), code, message, retry_after })
}

/// The beginning of a body; what cannot be read of it is left out.
async fn read_error(mut body: HttpResponseBody) -> Vec<u8> {
    let mut said = Vec::new();
    while said.len() < LONGEST_ERROR
        && let Some(Ok(frame)) = body.frame().await
    {
        said.extend_from_slice(&frame.into_data().unwrap_or_default());
    }
    said
}

fn broken(host: &str, error: &reqwest::Error) -> Trouble {
    let (host, why) = (host.to_owned(), causes(error));
    if why.contains("certificate") {
        return Trouble::Untrusted { host, why };
    }
    match error.is_connect() {
        true => Trouble::Unreachable { host, why },
        false => Trouble::Lost { why: format!("the connection to {host} broke: {why}") },
    }
}

/// What lies under a client's error, without the words that the client puts around it and without the URL.
fn causes(error: &reqwest::Error) -> String {
    let mut causes: Vec<String> = Vec::new();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes.pop().unwrap_or_else(|| if error.is_timeout() { "it took too long".into() } else { "no cause given".into() })
}

/// A body on its way in.
struct Incoming {
    host: String,
    body: reqwest::Body,
    idle: Duration,
    bytes: Option<Arc<Pace>>,
    /// What has arrived and may be handed on when the timer has run out.
    held: Option<Frame<Bytes>>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        loop {
            if this.held.is_some() {
                if let Some(timer) = &mut this.timer {
                    std::task::ready!(timer.as_mut().poll(context));
                }
                this.timer = None;
                return Poll::Ready(this.held.take().map(Ok));
            }
            match Pin::new(&mut this.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    let len = frame.data_ref().map_or(0, |data| data.len() as u64);
                    this.timer = this.bytes.as_ref().map(|pace| Box::pin(tokio::time::sleep_until(pace.reserve(len))));
                    this.held = Some(frame);
                }
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Some(Err(http_error(broken(&this.host, &error)))));
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    let idle = this.idle;
                    let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
                    std::task::ready!(timer.as_mut().poll(context));
                    let why = format!("{} sent only a part of its answer and then nothing for {idle:?}", this.host);
                    return Poll::Ready(Some(Err(http_error(Trouble::Lost { why }))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.held {
            None => self.body.size_hint(),
            Some(_) => SizeHint::default(),
        }
    }
}

fn http_error(trouble: Trouble) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, trouble)
}

/// Hands the wire to whoever makes requests.
#[derive(Clone, Debug)]
pub(super) struct Line(pub Arc<Wire>);

#[async_trait]
impl HttpService for Line {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.0.send(request).await.map_err(http_error)
    }
}

impl HttpConnector for Line {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}
