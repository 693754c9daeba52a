//! Writers of the source's own: updates at a fixed rate, whatever the server does, and how long each command took.
//!
//! ```text
//!   schedule   |----|----|----|----|----      a command every 5 ms, of 50 updates or of fewer
//!   latency    from when a command was due to its answer: one that waits for others counts its waiting
//! ```
//!
//! Commands have the server's default write concern, as a person's have.

use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bson::{Bson, Timestamp, doc};
use mongodb::Client;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use crate::bare::{self, COLLECTION, DATABASE};

/// As many updates in a second as a server on two cores bears.
pub const MANY: u64 = 10_000;
/// So many that it has half of its time left.
pub const SOME: u64 = 2_000;
/// So many commands wait for an answer only when the server falls behind for good: some ten seconds.
const TOO_MANY: usize = 2000;
const COMMANDS_PER_SECOND: u64 = 200;

/// A command that was answered.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// From when it was due to its answer.
    pub latency: Duration,
    /// When the answer came.
    pub at: Instant,
    /// The cluster time at which its updates are visible, at the latest.
    pub tick: Timestamp,
}

/// Writers at work.
pub struct Writers {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<Vec<Answered>>>,
}

impl Writers {
    /// Starts to update the orders below `documents`, `rate` of them a second; `lane` makes the updates other ones.
    pub fn start(client: &Client, seed: u64, documents: u64, rate: u64, lane: u64) -> Writers {
        let (stop, mut stopped) = oneshot::channel();
        let client = client.clone();
        let task = tokio::spawn(async move {
            let every = Duration::from_micros(1_000_000 / COMMANDS_PER_SECOND);
            let statements = rate / COMMANDS_PER_SECOND;
            let mut due = tokio::time::interval(every);
            let mut commands = JoinSet::new();
            let mut answered = Vec::new();
            for number in 0_u64.. {
                let due = tokio::select! {
                    due = due.tick() => due.into_std(),
                    _ = &mut stopped => break,
                };
                let numbers = number * statements..(number + 1) * statements;
                commands.spawn(command(client.clone(), seed ^ lane << 40, documents, numbers, due));
                while let Some(done) = commands.try_join_next() {
                    answered.push(done??);
                }
                ensure!(commands.len() < TOO_MANY, "the server does not bear {rate} updates a second here");
            }
            while let Some(done) = commands.join_next().await {
                answered.push(done??);
            }
            Ok(answered)
        });
        Writers { stop, task }
    }

    /// Stops them; every command that was answered.
    pub async fn stop(self) -> Result<Vec<Answered>> {
        // Gone already when a command failed, which the task then tells.
        let _ = self.stop.send(());
        self.task.await?
    }
}

async fn command(client: Client, seed: u64, documents: u64, numbers: Range<u64>, due: Instant) -> Result<Answered> {
    let statements: Vec<Bson> = numbers.map(|number| bare::statement(seed, documents, number)).collect();
    let command = doc! { "update": COLLECTION, "updates": statements, "ordered": false };
    let answer = client.database(DATABASE).run_command(command).await?;
    let at = Instant::now();
    let tick = answer.get_timestamp("operationTime").context("an answer without operationTime")?;
    Ok(Answered { latency: at - due, at, tick })
}

/// The value below which so many in a hundred lie, in milliseconds.
pub fn percentile_ms(percent: usize, durations: impl Iterator<Item = Duration>) -> f64 {
    let mut sorted: Vec<Duration> = durations.collect();
    sorted.sort();
    let place = sorted.len().saturating_sub(1) * percent / 100;
    sorted.get(place).map_or(f64::NAN, |duration| duration.as_secs_f64() * 1000.0)
}
