//! Faults over a replica set, one after the other, each chosen at random, held for a while and mended.
//!
//! ```text
//!   strike: step down · kill · freeze · cut · fall silent · all at once · lose writes ──▶ mend ──▶ a primary ──▶ rest
//! ```
//!
//! **Writes that are lost.** Two members die, the third goes on as the primary for as long as it takes it to notice; what it is
//! given then, only it has. It is killed or frozen, the two others come back and elect one of them, and when the third
//! returns it must roll back. What was written so carries [`LOST`] in its id or its name: nothing may ever show it.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, reason = "a test's own tool")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use backstay_testkit::{Chance, Passage, ReplicaSet};
use bson::{Document, doc};
use mongodb::Client;
use mongodb::options::{ClientOptions, WriteConcern};
use tokio::time::{sleep, timeout};

/// How the ids and names of all that must be rolled back begin.
pub const LOST: &str = "lost";
const MEMBERS: usize = 3;
/// How long one member may take to answer.
const ANSWER: Duration = Duration::from_secs(2);
const CALM: Duration = Duration::from_secs(60);

/// What can happen to the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    StepDown,
    KillPrimary,
    KillSecondary,
    KillAll,
    FreezePrimary,
    FreezeSecondary,
    /// Nobody reaches a member; it reaches the others.
    Cut,
    /// The other members do not reach the primary, clients do.
    CutFromMembers,
    /// Clients do not reach a member, the other members do.
    CutFromClients,
    /// What clients and a member say to each other does not arrive, for a while.
    Silence,
    /// Writes that only one member has are lost.
    LoseWrites,
}

const ALL: &[&Fault] = &[
    &Fault::StepDown,
    &Fault::KillPrimary,
    &Fault::KillSecondary,
    &Fault::KillAll,
    &Fault::FreezePrimary,
    &Fault::FreezeSecondary,
    &Fault::Cut,
    &Fault::CutFromMembers,
    &Fault::CutFromClients,
    &Fault::Silence,
    &Fault::LoseWrites,
];

/// The set, what befalls it, and what has befallen it.
pub struct Storm {
    pub set: ReplicaSet,
    pub struck: BTreeMap<Fault, usize>,
    /// The numbers of the writes that were lost.
    pub lost: Vec<usize>,
    chance: Chance,
    /// Past the doors.
    members: Vec<Client>,
    queue: Vec<Fault>,
}

impl Storm {
    pub async fn over(set: ReplicaSet, seed: u64) -> Result<Storm> {
        let members = alone(&set).await?;
        let (struck, lost, queue) = (BTreeMap::new(), Vec::new(), Vec::new());
        Ok(Storm { set, struck, lost, chance: Chance(!seed), members, queue })
    }

    /// As many faults as that, with some time between them; `done` counts along.
    pub async fn rage(mut self, faults: usize, done: Arc<AtomicUsize>) -> Result<Storm> {
        for _ in 0..faults {
            self.strike().await?;
            done.fetch_add(1, Ordering::SeqCst);
            sleep(Duration::from_millis(200 + u64::try_from(self.chance.below(1500)).unwrap())).await;
        }
        Ok(self)
    }

    /// One fault, from its beginning until there is a primary again. All kinds come before one comes again.
    pub async fn strike(&mut self) -> Result<Fault> {
        if self.queue.is_empty() {
            self.queue = ALL.iter().map(|fault| **fault).collect();
        }
        let fault = self.queue.swap_remove(self.chance.below(self.queue.len()));
        let primary = self.primary().await?;
        let secondary = (primary + 1 + self.chance.below(MEMBERS - 1)) % MEMBERS;
        let any = self.chance.below(MEMBERS);
        match fault {
            Fault::StepDown => {
                let down =
                    doc! { "replSetStepDown": 3, "secondaryCatchUpPeriodSecs": 1, "force": self.chance.one_in(2) };
                // A primary that the others lag behind refuses, unless it is forced.
                let _ = self.ask(primary, "admin", down).await;
            }
            Fault::KillPrimary => self.kill(&[primary]).await?,
            Fault::KillSecondary => self.kill(&[secondary]).await?,
            Fault::KillAll => self.kill(&[0, 1, 2]).await?,
            Fault::FreezePrimary => self.freeze(primary).await?,
            Fault::FreezeSecondary => self.freeze(secondary).await?,
            Fault::Cut => self.befall(any, Passage::Cut, Passage::Cut).await,
            Fault::CutFromMembers => self.befall(primary, Passage::Open, Passage::Cut).await,
            Fault::CutFromClients => self.befall(any, Passage::Cut, Passage::Open).await,
            Fault::Silence => self.befall(any, Passage::Silent, Passage::Open).await,
            Fault::LoseWrites => self.lose_writes(primary).await?,
        }
        self.calm().await?;
        *self.struck.entry(fault).or_default() += 1;
        Ok(fault)
    }

    /// Waits until there is a primary that a majority follows.
    pub async fn calm(&self) -> Result<()> {
        self.set.wait_until_ready().await
    }

    async fn hold(&mut self) {
        sleep(Duration::from_millis(300 + u64::try_from(self.chance.below(2500)).unwrap())).await;
    }

    async fn kill(&mut self, members: &[usize]) -> Result<()> {
        for member in members {
            self.set.kill_member(*member).await?;
        }
        self.hold().await;
        for member in members {
            self.set.start_member(*member).await?;
        }
        Ok(())
    }

    async fn freeze(&mut self, member: usize) -> Result<()> {
        self.set.pause_member(member)?;
        self.hold().await;
        self.set.resume_member(member)
    }

    async fn befall(&mut self, member: usize, clients: Passage, members: Passage) {
        self.set.door(member).unwrap().set(clients, members);
        self.hold().await;
        self.set.door(member).unwrap().set(Passage::Open, Passage::Open);
    }

    async fn lose_writes(&mut self, primary: usize) -> Result<()> {
        let others: Vec<usize> = (0..MEMBERS).filter(|member| *member != primary).collect();
        for other in &others {
            self.set.kill_member(*other).await?;
        }
        let number = self.struck.values().sum::<usize>();
        let written = timeout(ANSWER, self.write_what_is_lost(primary, number)).await;
        let frozen = self.chance.one_in(2);
        match frozen {
            true => self.set.pause_member(primary)?,
            false => self.set.kill_member(primary).await?,
        }
        for other in &others {
            self.set.start_member(*other).await?;
        }
        let elected = self.wait_for_primary(&others).await;
        match frozen {
            true => self.set.resume_member(primary)?,
            false => self.set.start_member(primary).await?,
        }
        elected?;
        // A primary that noticed at once takes nothing: then there was nothing to lose.
        if matches!(written, Ok(Ok(()))) {
            self.lost.push(number);
        }
        Ok(())
    }

    /// A changed document, a new one, a new collection, an index and a drop, on one member's disk and nowhere else.
    async fn write_what_is_lost(&self, primary: usize, number: usize) -> Result<()> {
        let mine = WriteConcern::builder().w(mongodb::options::Acknowledgment::Nodes(1)).journal(true).build();
        let shop = self.members[primary].database("shop");
        let new = doc! { "_id": format!("{LOST}-{number}"), "tenant": "t1", LOST: true };
        shop.collection::<Document>("c0").insert_one(new.clone()).write_concern(mine.clone()).await?;
        let concern = doc! { "w": 1, "j": true };
        let name = format!("{LOST}_{number}");
        let index = doc! { "key": { LOST: 1 }, "name": &name };
        let all = doc! { "q": {}, "u": { "$set": { LOST: number.to_string() } }, "multi": true };
        for command in [
            doc! { "insert": &name, "documents": [new], "writeConcern": &concern },
            doc! { "createIndexes": &name, "indexes": [index], "commitQuorum": 1, "writeConcern": &concern },
            doc! { "update": "c0", "updates": [all], "writeConcern": &concern },
            doc! { "drop": "c1", "writeConcern": &concern },
        ] {
            // What comes when the primary has noticed is refused, and what came before is lost all the same.
            let _ = shop.run_command(command).await;
        }
        Ok(())
    }

    async fn ask(&self, member: usize, database: &str, command: Document) -> Result<Document> {
        let database = self.members[member].database(database);
        Ok(timeout(ANSWER, database.run_command(command)).await??)
    }

    async fn primary(&self) -> Result<usize> {
        self.wait_for_primary(&[0, 1, 2]).await
    }

    async fn wait_for_primary(&self, among: &[usize]) -> Result<usize> {
        let begun = Instant::now();
        loop {
            for member in among {
                let hello = self.ask(*member, "admin", doc! { "hello": 1 }).await;
                if hello.is_ok_and(|hello| hello.get_bool("isWritablePrimary").unwrap_or(false)) {
                    return Ok(*member);
                }
            }
            ensure!(begun.elapsed() < CALM, "there is no primary among {among:?}");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A client for each member by itself, past its door.
pub async fn alone(set: &ReplicaSet) -> Result<Vec<Client>> {
    let mut members = Vec::new();
    for index in 0..MEMBERS {
        let mut options = ClientOptions::parse(set.direct_uri(index)).await?;
        options.server_selection_timeout = Some(ANSWER);
        members.push(Client::with_options(options)?);
    }
    Ok(members)
}
