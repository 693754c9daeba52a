//! Chance for tests: SplitMix64 (Steele, Lea, Flood: “Fast splittable pseudorandom number generators”, OOPSLA 2014), and
//! the two variables that steer a random test.
//!
//! `BACKSTAY_SEED` repeats a run, `BACKSTAY_SOAK` enlarges it.

/// A seeded stream of numbers. Good enough to choose test cases with, and for nothing else.
#[derive(Clone, Debug)]
pub struct Chance(pub u64);

impl Chance {
    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which must not be 0.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.number() % limit as u64).unwrap_or(0)
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of these, of which there must be some.
    pub fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    /// From -4 to 7.
    pub fn small(&mut self) -> i32 {
        i32::try_from(self.below(12)).map_or(0, |number| number - 4)
    }
}

/// The seed of this run: `BACKSTAY_SEED`, or another one each time.
#[must_use]
pub fn seed() -> u64 {
    given_seed().unwrap_or_else(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| u64::try_from(since.as_nanos() & u128::from(u64::MAX)).unwrap_or(0))
    })
}

/// `BACKSTAY_SEED`, when a run is to be repeated.
#[must_use]
pub fn given_seed() -> Option<u64> {
    std::env::var("BACKSTAY_SEED").ok().and_then(|seed| seed.parse().ok())
}

/// How many times larger than usual a run is: 1, or with `BACKSTAY_SOAK` what that says, at least 2.
#[must_use]
pub fn soak() -> usize {
    match std::env::var("BACKSTAY_SOAK") {
        Ok(times) if !times.is_empty() && times != "0" => times.parse::<usize>().unwrap_or(10).max(2),
        _ => 1,
    }
}
