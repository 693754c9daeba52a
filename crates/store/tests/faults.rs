//! What the network does to requests, done on purpose: by a proxy before a real S3 server.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(clippy::disallowed_methods, reason = "a real server keeps real time, and is reached from real threads")]

mod rig;

use std::sync::OnceLock;
use std::time::Duration;

use backstay_store::{Error, Patience, Settings, Store};
use backstay_testkit::{Fault, FaultyProxy, Keeping, Passing, Response, SeaweedFs, Server};
use bytes::Bytes;
use rig::{HASTE, open, seaweed};

struct Rig {
    proxy: FaultyProxy,
    /// By way of the proxy.
    store: Store,
    /// Straight.
    sound: Store,
}

/// A bucket of its own for each test.
fn rig(bucket: &str) -> Option<Rig> {
    rig_with(bucket, HASTE.idle)
}

fn rig_with(bucket: &str, idle: Duration) -> Option<Rig> {
    static SERVER: OnceLock<SeaweedFs> = OnceLock::new();
    Server::SeaweedFs.require()?;
    let server = SERVER.get_or_init(|| SeaweedFs::start().unwrap());
    server.make_bucket(bucket, Keeping::Newest).unwrap();
    let proxy = FaultyProxy::start(server.address()).unwrap();
    let url = format!("s3://{bucket}/p");
    let patience = Patience { idle, ..HASTE };
    let store = open(&url, &Settings { patience, ..seaweed(proxy.address()) });
    Some(Rig { proxy, store, sound: open(&url, &seaweed(server.address())) })
}

fn puts(passing: &Passing) -> bool {
    passing.method == "PUT"
}

fn gets(passing: &Passing) -> bool {
    passing.method == "GET"
}

fn refusal(status: u16, code: &str) -> Fault {
    Fault::Answer(Response::new(status, format!("<Error><Code>{code}</Code><Message>later</Message></Error>")))
}

fn noise(len: u32) -> Bytes {
    (0..len).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<u8>>().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn passing_refusals_are_waited_out() {
    let Some(Rig { proxy, store, sound }) = rig("refusals") else { return };
    let faults = || [refusal(503, "SlowDown"), refusal(429, ""), refusal(500, "InternalError"), refusal(502, "")];
    proxy.next(puts, faults());
    store.create("a", noise(1000)).await.unwrap();
    assert!(sound.get("a").await.unwrap() == noise(1000));
    assert_eq!(proxy.passed().iter().filter(|passing| puts(passing)).count(), 5);
    proxy.next(gets, faults());
    assert!(store.get("a").await.unwrap() == noise(1000));
    proxy.next(gets, faults());
    assert_eq!(store.list("").await.unwrap().len(), 1);
    proxy.next(|passing| passing.method == "DELETE", faults());
    store.delete("a").await.unwrap();
    assert!(!sound.exists("a").await.unwrap());
}

#[tokio::test]
async fn patience_ends_with_the_services_own_words() {
    let Some(Rig { proxy, store, .. }) = rig("patience") else { return };
    proxy.plan(|_| Some(refusal(503, "SlowDown")));
    let error = store.create("a", noise(10)).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert_eq!(error.to_string(), "the store did not complete the request for `a`: it answered 503 SlowDown: later");
    assert_eq!(proxy.passed().iter().filter(|passing| puts(passing)).count(), HASTE.tries as usize);
    // What asking again cannot help is asked once.
    proxy.plan(|_| Some(refusal(403, "AccessDenied")));
    let error = store.create("a", noise(10)).await.unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error}");
    assert_eq!(proxy.passed().len(), 1);
}

/// The trap: the first try made the object, and the second one is told that it exists.
#[tokio::test]
async fn a_create_whose_answer_was_lost_knows_its_own() {
    let Some(Rig { proxy, store, sound }) = rig("lost") else { return };
    proxy.next(puts, [Fault::LoseAnswer]);
    store.create("a", noise(1000)).await.unwrap();
    assert_eq!(proxy.passed().iter().filter(|passing| puts(passing)).count(), 2, "it was put twice");
    // Equal bytes of another are not one's own, though.
    proxy.next(puts, [Fault::LoseAnswer]);
    assert!(matches!(store.create("a", noise(1000)).await, Err(Error::AlreadyExists { .. })));
    // Nor is what another makes between the tries.
    let other = sound.clone();
    proxy.plan({
        let mut is_first = true;
        move |passing| {
            let cut = puts(passing) && std::mem::take(&mut is_first);
            if cut {
                let (sender, receiver) = std::sync::mpsc::channel();
                let other = other.clone();
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    sender.send(runtime.block_on(other.create("b", noise(7)))).unwrap();
                });
                receiver.recv().unwrap().unwrap();
            }
            cut.then_some(Fault::CutRequest)
        }
    });
    assert!(matches!(store.create("b", noise(1000)).await, Err(Error::AlreadyExists { .. })));
    assert!(sound.get("b").await.unwrap() == noise(7));
}

/// A request that is thought lost and arrives after the try that followed it.
#[tokio::test]
async fn a_late_request_changes_nothing() {
    let Some(Rig { proxy, store, sound }) = rig("late") else { return };
    proxy.next(puts, [Fault::Late(Duration::from_millis(300))]);
    store.create("a", noise(1000)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(sound.get("a").await.unwrap() == noise(1000));
    assert_eq!(sound.list("").await.unwrap().len(), 1);
}

/// 409 is S3's word for "somebody else is at work on this name": neither a win nor a loss.
#[tokio::test]
async fn a_conflict_is_settled_by_asking_again() {
    let Some(Rig { proxy, store, sound }) = rig("conflict") else { return };
    proxy.next(puts, [refusal(409, "ConditionalRequestConflict"), refusal(409, "OperationAborted")]);
    store.create("a", noise(100)).await.unwrap();
    assert!(sound.get("a").await.unwrap() == noise(100));
    proxy.next(puts, [refusal(409, "ConditionalRequestConflict")]);
    assert!(matches!(store.create("a", noise(101)).await, Err(Error::AlreadyExists { .. })));
    // Somebody in between answers 412 for an object that nobody can see.
    proxy.next(puts, [refusal(412, "PreconditionFailed")]);
    store.create("b", noise(100)).await.unwrap();
}

#[tokio::test]
async fn a_body_that_was_half_sent_is_sent_again() {
    let Some(Rig { proxy, store, sound }) = rig("halfsent") else { return };
    proxy.next(puts, [Fault::CutRequest, refusal(400, "RequestTimeout"), refusal(400, "IncompleteBody")]);
    store.create("a", noise(3_000_000)).await.unwrap();
    assert!(sound.get("a").await.unwrap() == noise(3_000_000));
}

#[tokio::test]
async fn an_answer_that_breaks_off_goes_on_where_it_stopped() {
    let Some(Rig { proxy, store, sound }) = rig("breaks") else { return };
    let content = noise(4_000_000);
    sound.create("a", content.clone()).await.unwrap();
    // Half of what is missing each time: more often than tries are granted without progress.
    proxy.next(gets, (0..9).map(|_| Fault::CutAnswer));
    assert!(store.get("a").await.unwrap() == content);
    assert_eq!(proxy.passed().iter().filter(|passing| gets(passing)).count(), 10);
    proxy.next(gets, [Fault::CutAnswer, Fault::CutAnswer]);
    assert!(store.get_range("a", 1000..3_000_000).await.unwrap() == content[1000..3_000_000]);
    proxy.next(gets, [Fault::CutAnswer]);
    assert_eq!(store.list("").await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_answer_that_was_altered_on_its_way_is_read_again() {
    let Some(Rig { proxy, store, sound }) = rig("altered") else { return };
    sound.create("a", noise(10_000)).await.unwrap();
    proxy.next(gets, [Fault::AlterAnswer]);
    assert!(store.get("a").await.unwrap() == noise(10_000));
    assert_eq!(proxy.passed().iter().filter(|passing| gets(passing)).count(), 2);
}

#[tokio::test]
async fn silence_and_stalls_do_not_hold_up_for_ever() {
    let Some(Rig { proxy, store, sound }) = rig_with("silence", Duration::from_secs(3)) else { return };
    sound.create("a", noise(1_000_000)).await.unwrap();
    let long = Duration::from_secs(30);
    let start = tokio::time::Instant::now();
    proxy.next(gets, [Fault::Silence(long), Fault::StallAnswer(long)]);
    assert!(store.get("a").await.unwrap() == noise(1_000_000));
    proxy.next(puts, [Fault::Silence(long)]);
    store.create("b", noise(1000)).await.unwrap();
    let took = start.elapsed();
    assert!(took > Duration::from_secs(8) && took < Duration::from_secs(25), "{took:?}");
}

/// Parts, and the completion of parts: each of its requests fails once, the completion in every way.
#[tokio::test(flavor = "multi_thread")]
async fn uploads_in_parts_survive_the_same() {
    let Some(Rig { proxy, store, sound }) = rig("parts") else { return };
    let content = noise(66 << 20);
    let is_completion = |passing: &Passing| passing.method == "POST" && passing.target.contains("uploadId=");
    proxy.plan(move |passing| {
        let is_part = passing.method == "PUT" && passing.target.contains("partNumber=2");
        let is_first = passing.number < 8;
        (is_first && is_part).then_some(Fault::CutRequest)
    });
    store.create("a", content.clone()).await.unwrap();
    assert!(sound.get("a").await.unwrap() == content);

    // The completion's answer is lost: asked again, the upload is known no more.
    proxy.next(is_completion, [Fault::LoseAnswer]);
    store.create("b", content.clone()).await.unwrap();
    assert!(sound.get("b").await.unwrap() == content);

    // S3 says 200 before it knows, and an error after.
    let two_hundred = Response::new(200, "<?xml version=\"1.0\"?>\n  <Error><Code>InternalError</Code></Error>");
    proxy.next(is_completion, [Fault::Answer(two_hundred), refusal(409, "ConditionalRequestConflict")]);
    store.create("c", content.clone()).await.unwrap();
    assert!(sound.get("c").await.unwrap() == content);
    // What failed was taken away.
    let later = std::time::SystemTime::now() + Duration::from_secs(3600);
    assert_eq!(sound.sweep_partials(later).await.unwrap(), [""; 0]);

    // A writer that vanished leaves parts, which are no object and are swept.
    proxy.plan(move |passing| is_completion(passing).then_some(Fault::Silence(Duration::from_secs(60))));
    let vanished = tokio::time::timeout(Duration::from_secs(2), store.create("d", content.clone())).await;
    if vanished.is_err() {
        assert!(!sound.exists("d").await.unwrap());
        assert_eq!(sound.sweep_partials(std::time::UNIX_EPOCH).await.unwrap(), [""; 0]);
        assert_eq!(sound.sweep_partials(later).await.unwrap(), ["d"]);
        assert_eq!(sound.sweep_partials(later).await.unwrap(), [""; 0]);
    }
}
