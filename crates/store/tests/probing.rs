//! The probe against real object stores: it finds them sound, tells what they keep, and leaves nothing.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(clippy::disallowed_methods, reason = "the clock of this machine is compared with the server's")]

mod mock;
mod rig;

use std::time::{Duration, SystemTime};

use backstay_store::Store;
use backstay_store::probe::{Effort, Report, Verdict, probe};
use backstay_testkit::{Azurite, Keeping, SeaweedFs, Server};
use rig::{azurite, google, open, seaweed};

const EFFORT: Effort = Effort { racers: 12, rounds: 3, lock: Duration::from_secs(2) };

async fn probed(store: &Store) -> Report {
    let report = probe(store, [9; 16], EFFORT, &SystemTime::now).await.unwrap();
    assert!(report.usable, "{report:#?}");
    assert!(store.list("").await.unwrap().is_empty(), "it cleans up after itself");
    report
}

fn verdict(report: &Report, name: &str) -> Verdict {
    let check = report.checks.iter().find(|check| check.check == name);
    check.unwrap_or_else(|| panic!("no check {name}: {report:#?}")).verdict
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_keeps_what_it_is_set_to_keep() {
    if Server::SeaweedFs.require().is_none() {
        return;
    }
    let server = SeaweedFs::start().unwrap();
    for (bucket, keeping, versions, lock) in [
        ("newest", Keeping::Newest, Verdict::Absent, Verdict::Absent),
        ("versions", Keeping::Versions, Verdict::Kept, Verdict::Absent),
        ("locks", Keeping::Locks, Verdict::Kept, Verdict::Kept),
    ] {
        server.make_bucket(bucket, keeping).unwrap();
        let report = probed(&open(&format!("s3://{bucket}/p"), &seaweed(server.address()))).await;
        // Its uploads in parts and its sums are known to be careless: nothing is asserted about them.
        for kept in ["create", "race", "read", "list", "ranges", "marks", "clock"] {
            assert_eq!(verdict(&report, kept), Verdict::Kept, "{report:#?}");
        }
        assert_eq!(verdict(&report, "versions"), versions, "{report:#?}");
        assert_eq!(verdict(&report, "lock"), lock, "{report:#?}");
        assert!(report.left_behind.is_empty(), "{report:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn azure_and_google_are_found_sound() {
    let google_server = mock::google();
    let report = probed(&open("gs://bucket/p", &google(google_server.address()))).await;
    assert_eq!(verdict(&report, "marks"), Verdict::Kept);
    if Server::Azurite.require().is_none() {
        return;
    }
    let server = Azurite::start().unwrap();
    server.make_container("container").unwrap();
    let report = probed(&open("az://container/p", &azurite(server.address()))).await;
    for kept in ["create", "race", "read", "list", "ranges", "marks", "clock"] {
        assert_eq!(verdict(&report, kept), Verdict::Kept, "{report:#?}");
    }
}
