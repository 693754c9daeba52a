//! A clock that stands still until it is moved, and seeded chance.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use backstay_model::World;

use crate::Chance;

/// A world of one seed.
#[derive(Debug)]
pub struct SimWorld {
    now_ms: AtomicU64,
    chance: Mutex<Chance>,
}

impl SimWorld {
    /// The time at which every simulation starts, in seconds since the Unix epoch.
    pub const START: u64 = 1_700_000_000;

    /// The world of this seed, at [`SimWorld::START`].
    pub fn new(seed: u64) -> SimWorld {
        SimWorld { now_ms: AtomicU64::new(Self::START * 1000), chance: Mutex::new(Chance::new(seed)) }
    }

    /// Lets time pass.
    pub fn advance_ms(&self, milliseconds: u64) {
        self.now_ms.fetch_add(milliseconds, Ordering::SeqCst);
    }
}

impl World for SimWorld {
    fn now(&self) -> u64 {
        self.now_ms.load(Ordering::SeqCst) / 1000
    }

    fn elapsed_ms(&self) -> u64 {
        self.now_ms.load(Ordering::SeqCst) - Self::START * 1000
    }

    fn fill(&self, bytes: &mut [u8]) {
        self.chance.lock().unwrap_or_else(PoisonError::into_inner).fill(bytes);
    }
}
