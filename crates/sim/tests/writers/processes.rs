//! The processes of a run: what they do by the real vault, until something fails. Whoever fails ends; the next one of its
//! kind starts anew, as a service does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use backstay_archive::{Duty, Error, Holder, Repository, Vault};
use backstay_ledger::{Fact, Frontier, VaultState};
use backstay_model::{EntryBatch, Tick, World};
use backstay_seal::Keyring;
use backstay_sim::source::{Source, Start};
use backstay_sim::toy::{Toy, ToyInterpreter, ToySource};
use backstay_sim::{Chance, Wire};
use backstay_store::Store;

use super::reading::{as_of, same};
use super::witness::History;
use super::{NAME, STREAM};

/// What a process is there for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Follows the stream under a claim; one that is impatient takes it from whoever holds it.
    Capture { impatient: bool },
    /// Follows it as well, under none, as a backup and a restore do.
    CatchUp,
    /// Scans, under the claim for it; here it finds no differences.
    Scan { impatient: bool },
    /// Sorts tails.
    Compact,
    /// Collects, as greedily as it may.
    Collect,
    /// Reads as of an instant and compares.
    Read,
}

/// How often what happened to processes, over all runs.
#[derive(Default)]
pub struct Tally {
    pub done: AtomicU64,
    pub held: AtomicU64,
    pub fenced: AtomicU64,
    pub conflicts: AtomicU64,
    pub beside: AtomicU64,
    pub failed: AtomicU64,
    pub overtaken: AtomicU64,
    pub read: AtomicU64,
    pub collected: AtomicU64,
    pub sorted: AtomicU64,
    pub died_before_a_deed: AtomicU64,
    pub died_before_the_answer: AtomicU64,
    pub came_late: AtomicU64,
}

impl Tally {
    /// Each count by what it counts.
    pub fn counts(&self) -> [(&'static str, u64); 13] {
        [
            ("done", &self.done),
            ("held", &self.held),
            ("fenced", &self.fenced),
            ("conflict", &self.conflicts),
            ("beside", &self.beside),
            ("failed", &self.failed),
            ("overtaken", &self.overtaken),
            ("read", &self.read),
            ("collected", &self.collected),
            ("sorted", &self.sorted),
            ("died before a deed", &self.died_before_a_deed),
            ("died before the answer", &self.died_before_the_answer),
            ("came late", &self.came_late),
        ]
        .map(|(what, count)| (what, count.load(Ordering::Relaxed)))
    }
}

/// What all processes of a run share.
#[derive(Clone)]
pub struct Stage {
    pub wire: Wire,
    pub clock: Arc<AtomicU64>,
    pub toy: Arc<Toy>,
    pub keyring: Arc<Keyring>,
    pub history: Arc<Mutex<History>>,
    pub dead: Arc<Mutex<Vec<u64>>>,
    pub tally: Arc<Tally>,
    pub consistent: Tick,
    pub seed: u64,
}

/// A clock that all share, each a bit off, and chance of one's own.
struct Here {
    clock: Arc<AtomicU64>,
    ahead_ms: u64,
    chance: Mutex<Chance>,
}

impl World for Here {
    fn now(&self) -> u64 {
        self.elapsed_ms() / 1000
    }

    fn elapsed_ms(&self) -> u64 {
        self.clock.load(Ordering::SeqCst) + self.ahead_ms
    }

    fn fill(&self, bytes: &mut [u8]) {
        self.chance.lock().unwrap().fill(bytes);
    }
}

type Done = Result<(), Error>;

impl Stage {
    /// The repository as a new process sees it, through this store.
    pub async fn open(&self, store: Store, number: u64) -> Result<Vault, Error> {
        let mut chance = Chance::new(self.seed ^ (number + 1).wrapping_mul(0x9E37_79B9));
        let ahead_ms = chance.below(20_000) as u64;
        let world = Here { clock: Arc::clone(&self.clock), ahead_ms, chance: Mutex::new(chance) };
        let keyring = Arc::clone(&self.keyring);
        let repository = Repository::open(store, "wire", keyring, Arc::new(world), std::env::temp_dir()).await?;
        repository.vault(NAME).await
    }

    /// Plays a role to its end.
    pub async fn play(self, role: Role, me: usize) {
        let mut chance = Chance::new(self.seed ^ ((me as u64 + 1) << 32));
        let done = match role {
            Role::Capture { impatient } => self.capture(me, impatient, &mut chance).await,
            Role::CatchUp => self.catch_up(me, &mut chance).await,
            Role::Scan { impatient } => self.scan(me, impatient).await,
            Role::Compact => self.compact(me).await,
            Role::Collect => self.collect(me, &mut chance).await,
            Role::Read => self.read(me, &mut chance).await,
        };
        let tally = &self.tally;
        let counter = match done {
            Ok(()) => &tally.done,
            Err(Error::Held { .. }) => &tally.held,
            Err(Error::Fenced { .. }) => &tally.fenced,
            Err(Error::Conflict(_)) => &tally.conflicts,
            Err(Error::Ledger(backstay_ledger::Error::Beside { .. })) => &tally.beside,
            Err(Error::Ledger(error @ backstay_ledger::Error::Nonsense { .. })) => {
                return self.history.lock().unwrap().fail(format!("{role:?} {me}: {error}"));
            }
            Err(_) => &tally.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// What this process has read is written down.
    async fn know(&self, vault: &Vault) -> Arc<VaultState> {
        let state = vault.state().await;
        self.history.lock().unwrap().read(state.head().seq, &state.head().hash);
        state
    }

    /// What this process was told of its own commit, the newest that it knows, is written down.
    async fn acknowledge(&self, vault: &Vault) -> Arc<VaultState> {
        let state = vault.state().await;
        self.history.lock().unwrap().acknowledged(state.head().seq, &state.head().hash);
        state
    }

    async fn claim(&self, me: usize, vault: &Vault, duty: Duty, impatient: bool) -> Result<(Vault, u64), Error> {
        let holder = Holder { host: "sim".to_owned(), process: me as u64, mark: self.seed };
        let may_take = |other: &Holder| impatient || self.dead.lock().unwrap().contains(&other.process);
        let vault = vault.claim(std::slice::from_ref(&duty), &holder, may_take).await?;
        let state = self.acknowledge(&vault).await;
        let name = name(&duty);
        let claim = state.claim(name).filter(|claim| claim.holder == holder).expect("it was told that it has it");
        self.history.lock().unwrap().claimed(name, state.head().seq, claim.epoch);
        Ok((vault, claim.epoch))
    }

    async fn capture(&self, me: usize, impatient: bool, chance: &mut Chance) -> Done {
        let vault = self.open(self.wire.store(me), me as u64).await?;
        let (vault, epoch) = self.claim(me, &vault, Duty::Capture(STREAM.to_owned()), impatient).await?;
        for _ in 0..2 + chance.below(12) {
            self.wire.rest(me).await;
            if let Some(seq) = self.follow(&vault, 1 + chance.below(6)).await? {
                self.history.lock().unwrap().committed_under(STREAM, seq, epoch);
            }
            vault.renew().await?;
        }
        vault.release().await
    }

    async fn catch_up(&self, me: usize, chance: &mut Chance) -> Done {
        let vault = self.open(self.wire.store(me), me as u64).await?;
        for _ in 0..2 + chance.below(6) {
            self.follow(&vault, 1 + chance.below(6)).await?;
            self.wire.rest(me).await;
        }
        Ok(())
    }

    /// Archives some of what has happened since, decided upon the frontier as the engine's capture decides. The number
    /// of the commit, if one was made.
    pub async fn follow(&self, vault: &Vault, batches: usize) -> Result<Option<u64>, Error> {
        let expected = vault.refresh().await?.frontier(STREAM).expect("the stream was begun");
        let (entries, reached) = self.changes(expected, batches).await;
        let tail = vault.write_tail(STREAM, entries).await?;
        let mut won = true;
        vault
            .commit(|state| {
                won = state.frontier(STREAM) == Some(expected);
                if !won {
                    return Ok(Vec::new());
                }
                let mut facts: Vec<Fact> = tail.iter().cloned().map(Fact::SegmentAdded).collect();
                let Frontier { through, resume } = reached;
                facts.push(Fact::Frontier { stream: STREAM.to_owned(), through, resume });
                Ok(facts)
            })
            .await?;
        match won {
            true => Ok(Some(self.acknowledge(vault).await.head().seq)),
            false => {
                self.tally.overtaken.fetch_add(1, Ordering::Relaxed);
                Ok(None)
            }
        }
    }

    /// What the source's log says next.
    async fn changes(&self, from: Frontier, batches: usize) -> (Vec<EntryBatch>, Frontier) {
        let end = self.toy.beat();
        let source = ToySource::new(Arc::clone(&self.toy)).with_batch(3);
        let mut tail = source.tail(Start { resume: from.resume, through: from.through }).await.unwrap();
        let (mut read, mut reached) = (Vec::new(), from);
        while reached.through < end && read.len() < batches {
            let mut batch = EntryBatch::default();
            tail.next(&mut batch).await.unwrap();
            let resume = batch.resume.max(from.resume);
            reached = Frontier { through: batch.through.max(reached.through), resume };
            read.push(batch);
        }
        (read, reached)
    }

    async fn scan(&self, me: usize, impatient: bool) -> Done {
        let vault = self.open(self.wire.store(me), me as u64).await?;
        let (vault, epoch) = self.claim(me, &vault, Duty::Scan, impatient).await?;
        let scan = vault.repository().world().id();
        vault
            .commit(|state| {
                let why = "another scan began".to_owned();
                let running = state.running_scans();
                let mut facts: Vec<Fact> =
                    running.map(|old| Fact::ScanAbandoned { scan: old.id, why: why.clone() }).collect();
                facts.push(Fact::ScanStarted { scan, from: state.through() });
                Ok(facts)
            })
            .await?;
        let seq = self.acknowledge(&vault).await.head().seq;
        self.history.lock().unwrap().committed_under(name(&Duty::Scan), seq, epoch);
        self.wire.rest(me).await;
        vault.renew().await?;
        let done = |state: &VaultState| {
            let (consistent, records, source_bytes) = (state.through(), 0, 0);
            vec![Fact::ScanCompleted { scan, consistent, records, source_bytes }]
        };
        vault.commit(|state| Ok(done(state))).await?;
        let seq = self.acknowledge(&vault).await.head().seq;
        self.history.lock().unwrap().committed_under(name(&Duty::Scan), seq, epoch);
        vault.release().await
    }

    async fn compact(&self, me: usize) -> Done {
        let vault = self.open(self.wire.store(me), me as u64).await?;
        let sorted = vault.compact(&ToyInterpreter, |_, _| {}).await?;
        self.tally.sorted.fetch_add(sorted, Ordering::Relaxed);
        if sorted > 0 {
            self.acknowledge(&vault).await;
        }
        Ok(())
    }

    async fn collect(&self, me: usize, chance: &mut Chance) -> Done {
        let vault = self.open(self.wire.store(me), me as u64).await?;
        let now = vault.repository().world().now();
        let before = *chance.pick(&[u64::MAX, u64::MAX, now, now - 3600]);
        let collected = vault.sweep(before).await?;
        self.tally.collected.fetch_add(collected.0, Ordering::Relaxed);
        self.know(&vault).await;
        Ok(())
    }

    /// What is read is right, or nothing is: a collection may take away what it reads.
    async fn read(&self, me: usize, chance: &mut Chance) -> Done {
        let vault = self.open(self.wire.store(me), me as u64).await?;
        let state = self.know(&vault).await;
        let ticks = u64::from(state.through().seconds().saturating_sub(self.consistent.seconds())).max(1);
        let back = u32::try_from(chance.number() % ticks).unwrap();
        let at = Tick::new(state.through().seconds() - back, 0).clamp(self.consistent, state.through());
        let found = as_of(&vault, at).await?;
        if let Err(why) = same(&self.toy.oracle(), &found, at) {
            self.history.lock().unwrap().fail(format!("A2: {why}"));
        }
        self.tally.read.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

fn name(duty: &Duty) -> &str {
    match duty {
        Duty::Capture(stream) => stream,
        Duty::Scan => "*scan",
    }
}
