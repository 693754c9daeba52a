//! Randomness that repeats itself: splitmix64 (Steele, Lea, Flood: “Fast splittable pseudorandom number generators”,
//! OOPSLA 2014).

/// A seeded stream of numbers. Good enough to choose test cases with, and for nothing else.
#[derive(Clone, Debug)]
pub struct Chance {
    state: u64,
}

impl Chance {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Chance {
        Chance { state: seed }
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 when `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { (self.number() % end as u64) as usize }
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of `items`, which must not be empty.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let number = self.number().to_le_bytes();
            chunk.copy_from_slice(&number[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let (mut one, mut two) = (Chance::new(7), Chance::new(7));
        assert!((0..100).all(|_| one.number() == two.number()));
        assert_ne!(Chance::new(7).number(), Chance::new(8).number());
    }

    #[test]
    fn splitmix64_gives_the_published_first_numbers_of_seed_0() {
        // The first outputs for seed 0, as in the reference program by Sebastiano Vigna (prng.di.unimi.it/splitmix64.c).
        let mut chance = Chance::new(0);
        assert_eq!(chance.number(), 0xE220_A839_7B1D_CDAF);
        assert_eq!(chance.number(), 0x6E78_9E6A_A1B9_65F4);
    }
}
