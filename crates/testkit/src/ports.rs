//! Free loopback ports.
//!
//! A port is chosen below the range from which the kernel takes the local ports of outgoing connections, so that
//! a busy test run does not take it between the choice and the server's bind. Two test processes may still choose
//! the same one: whoever starts a server on it must be ready to choose again.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};

const FIRST: u16 = 20_000;
const COUNT: u32 = 12_000;

/// A port of 127.0.0.1 on which nothing listens now.
pub fn free() -> Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);

    let nanos = SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos();
    let start = nanos.wrapping_add(std::process::id().wrapping_mul(2_654_435_761));
    for _ in 0..COUNT {
        let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = FIRST + u16::try_from(offset)?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port between {FIRST} and {}", u32::from(FIRST) + COUNT)
}
