//! A small Google Cloud Storage: as much of its XML API as `object_store` uses, in memory.
//!
//! No server that can be fetched speaks it well enough. It follows the reference of the XML API
//! (cloud.google.com/storage/docs/xml-api): what it does not know it answers with 501.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use backstay_testkit::{Listener, Request, Response};

const PAGE: usize = 100;

#[derive(Clone)]
struct Object {
    bytes: Vec<u8>,
    metadata: Vec<(String, String)>,
    generation: u64,
}

#[derive(Default)]
struct Bucket {
    objects: BTreeMap<String, Object>,
    generation: u64,
}

/// Starts one with the bucket `bucket`.
pub fn google() -> Listener {
    let bucket = Arc::new(Mutex::new(Bucket::default()));
    Listener::start(move |request| answer(&mut bucket.lock().unwrap(), &request)).unwrap()
}

fn answer(bucket: &mut Bucket, request: &Request) -> Response {
    let path = unescape(request.path().trim_start_matches('/'));
    let Some(key) = path.strip_prefix("bucket").map(|key| key.trim_start_matches('/')) else {
        return error(404, "NoSuchBucket");
    };
    match request.method.as_str() {
        "GET" if key.is_empty() => list(bucket, request),
        "PUT" => put(bucket, key, request),
        "GET" | "HEAD" => get(bucket, key, request),
        "DELETE" => match bucket.objects.remove(key) {
            Some(_) => Response::new(204, ""),
            None => error(404, "NoSuchKey"),
        },
        _ => error(501, "NotImplemented"),
    }
}

fn put(bucket: &mut Bucket, key: &str, request: &Request) -> Response {
    match request.headers.get("x-goog-if-generation-match").map(String::as_str) {
        None => {}
        Some("0") if !bucket.objects.contains_key(key) => {}
        Some("0") => return error(412, "PreconditionFailed"),
        Some(_) => return error(501, "NotImplemented"),
    }
    bucket.generation += 1;
    let is_metadata = |(name, _): &(&String, &String)| name.starts_with("x-goog-meta-");
    let metadata = request.headers.iter().filter(is_metadata).map(|(n, v)| (n.clone(), v.clone())).collect();
    let object = Object { bytes: request.body.clone(), metadata, generation: bucket.generation };
    let response = describe(&object, Response::new(200, ""));
    bucket.objects.insert(key.to_owned(), object);
    response
}

fn get(bucket: &Bucket, key: &str, request: &Request) -> Response {
    let Some(object) = bucket.objects.get(key) else { return error(404, "NoSuchKey") };
    let etag = format!("\"{}\"", object.generation);
    if request.headers.get("if-match").is_some_and(|wanted| *wanted != etag) {
        return error(412, "PreconditionFailed");
    }
    let size = object.bytes.len();
    let whole = || describe(object, Response::new(200, object.bytes.clone()));
    let mut response = match request.headers.get("range").and_then(|range| range.strip_prefix("bytes=")) {
        None => whole(),
        Some(range) => {
            let (first, last) = range.split_once('-').unwrap();
            let first: usize = first.parse().unwrap();
            let end = last.parse::<usize>().map_or(size, |last| (last + 1).min(size));
            if first >= size {
                return error(416, "InvalidRange");
            }
            describe(object, Response::new(206, &object.bytes[first..end]))
                .header("content-range", format!("bytes {first}-{}/{size}", end - 1))
        }
    };
    if request.method == "HEAD" {
        response.length = Some(response.body.len() as u64);
        response.body.clear();
    }
    response
}

fn list(bucket: &Bucket, request: &Request) -> Response {
    let prefix = request.parameter("prefix").unwrap_or_default();
    // `start-after` leaves out what it names; a continuation is a name that has been listed.
    let after = request.parameter("continuation-token").or_else(|| request.parameter("start-after"));
    let mut found = bucket
        .objects
        .iter()
        .filter(|(key, _)| key.starts_with(&prefix) && after.as_ref().is_none_or(|after| *key > after));
    let mut xml = String::from("<ListBucketResult>");
    let mut last = String::new();
    for (key, object) in found.by_ref().take(PAGE) {
        xml.push_str(&format!(
            "<Contents><Key>{key}</Key><Size>{}</Size><LastModified>2026-11-21T12:00:00.000Z</LastModified>\
             <ETag>\"{}\"</ETag></Contents>",
            object.bytes.len(),
            object.generation
        ));
        last.clone_from(key);
    }
    if found.next().is_some() {
        xml.push_str(&format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{last}</NextContinuationToken>"));
    }
    Response::new(200, xml + "</ListBucketResult>")
}

fn describe(object: &Object, response: Response) -> Response {
    let mut response = response
        .header("etag", format!("\"{}\"", object.generation))
        .header("x-goog-generation", object.generation.to_string())
        .header("last-modified", "Sat, 21 Nov 2026 12:00:00 GMT");
    response.headers.extend(object.metadata.iter().cloned());
    response
}

fn error(status: u16, code: &str) -> Response {
    Response::new(status, format!("<Error><Code>{code}</Code><Message>mock</Message></Error>"))
}

fn unescape(path: &str) -> String {
    let request = Request { target: format!("?p={path}"), ..Request::default() };
    request.parameter("p").unwrap()
}
