//! Where a random test against a real server begins.

use anyhow::Result;
use mongodb::Client;

use crate::{Chance, Options, ReplicaSet, require_mongod, seed};

/// A server with nothing in it, a client, and the chance that decides what happens there.
pub struct RandomServer {
    /// The server; it stops when this is dropped.
    pub set: ReplicaSet,
    /// A client of it.
    pub client: Client,
    /// What is drawn from.
    pub chance: Chance,
    /// With what it was begun, for messages.
    pub seed: u64,
}

impl RandomServer {
    /// Starts one with `options` and names the seed; `None` where there is no server to test with.
    ///
    /// # Errors
    /// As [`ReplicaSet::start`].
    pub async fn start(options: Options) -> Result<Option<RandomServer>> {
        if require_mongod().is_none() {
            return Ok(None);
        }
        let seed = seed();
        println!("BACKSTAY_SEED={seed}");
        let set = ReplicaSet::start(options).await?;
        let client = set.client().await?;
        Ok(Some(RandomServer { set, client, chance: Chance(seed), seed }))
    }
}
