//! Real object stores, opened with little patience.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use backstay_store::{Chance, Credentials, Patience, Place, Settings, Store};
use backstay_testkit::{Azurite, SeaweedFs};

/// Pauses of a few milliseconds.
pub const HASTE: Patience = Patience {
    connect: Duration::from_secs(2),
    idle: Duration::from_secs(20),
    tries: 6,
    first_pause: Duration::from_millis(4),
    longest_pause: Duration::from_millis(20),
};

/// Numbers that never repeat within this process.
pub fn chance() -> Chance {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    Arc::new(|bytes| {
        let number = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
        bytes.iter_mut().zip(number.iter().cycle()).for_each(|(byte, random)| *byte = *random);
    })
}

pub fn open(url: &str, settings: &Settings) -> Store {
    Store::open(&Place::read(url, Path::new("/")).unwrap(), settings, chance()).unwrap()
}

pub fn seaweed(address: SocketAddr) -> Settings {
    Settings {
        endpoint: Some(format!("http://{address}")),
        credentials: Credentials::Keys { id: SeaweedFs::KEY_ID.into(), secret: SeaweedFs::SECRET.into(), token: None },
        patience: HASTE,
        ..Settings::default()
    }
}

pub fn azurite(address: SocketAddr) -> Settings {
    Settings {
        endpoint: Some(format!("http://{address}/{}", Azurite::ACCOUNT)),
        credentials: Credentials::Account { name: Azurite::ACCOUNT.into(), key: Some(Azurite::KEY.into()), sas: None },
        patience: HASTE,
        ..Settings::default()
    }
}

pub fn google(address: SocketAddr) -> Settings {
    Settings {
        endpoint: Some(format!("http://{address}")),
        credentials: Credentials::Anonymous,
        patience: HASTE,
        ..Settings::default()
    }
}
