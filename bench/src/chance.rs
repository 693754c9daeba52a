//! Seeded chance: SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
//!
//! Small, fast, the same on every machine and in every version of this program; not for secrets.

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A stream of numbers that its seed determines.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The stream that belongs to item `index` of a data set, independent of all others.
    pub fn of(seed: u64, index: u64) -> Self {
        Self(mix(seed ^ mix(index.wrapping_mul(GOLDEN))))
    }

    /// 64 even bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// A number in `0..below`, which must not be 0. The bias is below 2⁻³² for the small ranges used here.
    pub fn below(&mut self, below: u32) -> u32 {
        let product = (self.bits() >> 32) * u64::from(below);
        u32::try_from(product >> 32).expect("a 32-bit factor times less than 2^32, shifted back, fits")
    }

    /// The smaller of two draws: small numbers come more often, as popular things do.
    pub fn skewed(&mut self, below: u32) -> u32 {
        self.below(below).min(self.below(below))
    }

    /// One of the words.
    pub fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        let count = u32::try_from(words.len()).expect("a word list is short");
        words[self.below(count) as usize]
    }

    /// One of the words, those at the head more often.
    pub fn pick_skewed<'a>(&mut self, words: &[&'a str]) -> &'a str {
        let count = u32::try_from(words.len()).expect("a word list is short");
        words[self.skewed(count) as usize]
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference values of the algorithm for seed 1234567.
    #[test]
    fn is_splitmix64() {
        let mut chance = Chance(1_234_567);
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([chance.bits(), chance.bits(), chance.bits()], expected);
    }

    #[test]
    fn stays_below() {
        let mut chance = Chance::of(1, 2);
        assert!((0..1000).all(|_| chance.below(7) < 7 && chance.skewed(3) < 3));
    }
}
