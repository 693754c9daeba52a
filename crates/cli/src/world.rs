//! The real world: the machine's clock and the system's randomness, handed to the rooms below as an argument.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use backstay_model::World;

/// The clock and the randomness of this machine.
#[derive(Debug)]
pub struct SystemWorld {
    started: Instant,
}

impl SystemWorld {
    /// The world, counting its milliseconds from now on.
    pub fn new() -> SystemWorld {
        SystemWorld { started: Instant::now() }
    }
}

impl Default for SystemWorld {
    fn default() -> SystemWorld {
        SystemWorld::new()
    }
}

impl World for SystemWorld {
    fn now(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the system yields randomness once it has booted");
    }
}
