//! What a component may know of the world: the time and chance.
//!
//! Both come in as an argument, so that a simulation with a seed does the same twice.

/// The clock and the source of randomness of a run.
pub trait World: Send + Sync {
    /// Seconds since the Unix epoch.
    fn now(&self) -> u64;

    /// Milliseconds since an arbitrary fixed instant; never runs backwards.
    fn elapsed_ms(&self) -> u64;

    /// Fills `bytes` with randomness that nobody can predict, except in a simulation.
    fn fill(&self, bytes: &mut [u8]);

    /// A fresh random id.
    fn id(&self) -> [u8; 16] {
        let mut id = [0; 16];
        self.fill(&mut id);
        id
    }

    /// A fresh random salt.
    fn salt(&self) -> [u8; 32] {
        let mut salt = [0; 32];
        self.fill(&mut salt);
        salt
    }
}
