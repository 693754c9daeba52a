//! What this crate reads of a service's answers and of a configuration's URLs: for `fuzz/` only, behind the feature
//! `fuzzing`. Answers come through the very calls that ask for them, from a service that gives always the same one.

use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use http::{Response, StatusCode};
use object_store::client::{HttpClient, HttpError, HttpRequest, HttpResponse, HttpService};

use crate::cloud::S3;
use crate::{Place, path};

#[derive(Debug)]
struct Always {
    status: StatusCode,
    body: Bytes,
}

#[async_trait]
impl HttpService for Always {
    async fn call(&self, _: HttpRequest) -> Result<HttpResponse, HttpError> {
        let mut response = Response::new(self.body.clone().into());
        *response.status_mut() = self.status;
        Ok(response)
    }
}

/// An answer of S3: the first byte chooses the status and what was asked.
pub fn answer(bytes: &[u8]) {
    let Some((choice, body)) = bytes.split_first() else { return };
    let status = match choice >> 4 {
        0 => StatusCode::NOT_FOUND,
        1 => StatusCode::PRECONDITION_FAILED,
        2 => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::OK,
    };
    let client = HttpClient::new(Always { status, body: Bytes::copy_from_slice(body) });
    let base = "http://127.0.0.1/bucket".to_owned();
    let s3 = S3 { bucket: "s3://bucket".to_owned(), base, region: "us-east-1".to_owned(), credentials: None, client };
    let asked = async {
        match choice & 7 {
            0 => s3.begin("a", &[("m", "1")]).await.map(drop),
            1 => s3.finish("a", "id", &[]).await.map(drop),
            2 => s3.uploads("a/").await.map(drop),
            3 => s3.versions("a/").await.map(drop),
            4 => s3.versioning().await.map(drop),
            5 => s3.lock().await.map(drop),
            6 => s3.abort("a", "id").await,
            _ => s3.put_part("a", "id", 1, Bytes::new()).await.map(drop),
        }
    };
    match asked.now_or_never() {
        Some(Err(failure)) => assert!(!failure.error.to_string().is_empty()),
        Some(Ok(())) => {}
        None => panic!("nothing here waits"),
    }
}

/// A repository's URL and an object's path.
pub fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(place) = Place::read(text, Path::new("/etc")) {
        let again = Place::read(&place.to_string(), Path::new("/etc")).expect("what was written is read");
        assert_eq!(again, place);
    }
    if let Ok(location) = path::object(text) {
        assert_eq!(location.as_ref(), text);
    }
    let _ = path::prefix(text);
}
