//! This process as others see it, and whether another is gone for good.
//!
//! ```text
//!   mark (64 bits) = where it runs: boot and process namespace (32) ‖ when it started there (32)
//! ```
//!
//! Only of a process of the same boot and the same process namespace can anything be told from here; it is gone when no
//! process has its number, or one that started at another time. Of all others their claim tells: it lapses.

use std::fs;
use std::path::Path;

use backstay_archive::Holder;

/// This process.
pub fn this_process() -> Holder {
    let process = std::process::id();
    let started = seen(process).map_or(0, |(_, started)| started);
    let host = fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| fs::read_to_string("/etc/hostname"));
    let host = host.map_or_else(|_| "this host".to_owned(), |name| name.trim().to_owned());
    Holder { host, process: u64::from(process), mark: u64::from(place().unwrap_or(0)) << 32 | u64::from(started) }
}

/// Whether this process is known to have ended. False when that cannot be known from here.
pub fn is_gone(holder: &Holder) -> bool {
    let (Some(place), Ok(process)) = (place(), u32::try_from(holder.process)) else { return false };
    // Where other users' processes are hidden, so is the first of all.
    if holder.mark >> 32 != u64::from(place) || !Path::new("/proc/1").exists() {
        return false;
    }
    seen(process).is_none_or(|(state, started)| matches!(state, 'Z' | 'X') || u64::from(started) != holder.mark & LOW)
}

const LOW: u64 = 0xFFFF_FFFF;

/// The boot and the process namespace, in one number; `None` on systems that do not say.
fn place() -> Option<u32> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    // FNV-1a, 32 bits (Fowler, Noll, Vo).
    let bytes = boot.bytes().chain(namespace.to_string_lossy().into_owned().into_bytes());
    Some(bytes.fold(0x811C_9DC5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)))
}

/// The state of a process and when it started, as the lower 32 bits of clock ticks since the boot (`proc_pid_stat(5)`).
fn seen(process: u32) -> Option<(char, u32)> {
    let text = fs::read(format!("/proc/{process}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    // The name of the program stands in parentheses, and may hold any.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let started: u64 = fields.nth(18)?.parse().ok()?;
    Some((state, u32::try_from(started & LOW).ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_process_is_gone_once_it_has_ended() {
        let this = this_process();
        assert!(!is_gone(&this) && this == this_process() && !this.host.is_empty());
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let started = seen(child.id()).unwrap().1;
        let running =
            Holder { process: u64::from(child.id()), mark: this.mark & !LOW | u64::from(started), ..this.clone() };
        assert!(!is_gone(&running));
        // The same number, another process.
        assert!(is_gone(&Holder { mark: running.mark ^ 1, ..running.clone() }));
        // Elsewhere nobody knows.
        assert!(!is_gone(&Holder { mark: running.mark ^ 1 ^ 1 << 32, ..running.clone() }));
        child.kill().unwrap();
        while seen(child.id()).is_some_and(|(state, _)| state != 'Z') {
            std::thread::yield_now();
        }
        assert!(is_gone(&running), "it has ended, and its parent has not asked for how yet");
        child.wait().unwrap();
        assert!(is_gone(&running));
    }
}
