//! One run: a seed decides who moves, what the network does to each request, who dies, who stalls, and what a stranger
//! takes away.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use backstay_archive::{BaseWriter, Repository, Vault};
use backstay_ledger::{Fact, chain_prefix, commit_path, verify_chain};
use backstay_model::{IdRange, Incarnation, RecordBatch, Tick, World};
use backstay_seal::Keyring;
use backstay_sim::toy::{Record, Toy, TransactionId};
use backstay_sim::workload::Action;
use backstay_sim::{Cast, Chance, Fate, SimWorld, Verb, Wire};

use super::processes::{Role, Stage, Tally};
use super::reading::{as_of, same};
use super::witness::History;
use super::{NAME, STREAM};

/// After so many turns the network is mended and the run comes to its end.
const TURNS: usize = 260;

/// Who may be at work at a time.
const ROLES: [Role; 9] = [
    Role::Capture { impatient: false },
    Role::Capture { impatient: true },
    Role::CatchUp,
    Role::Scan { impatient: false },
    Role::Scan { impatient: true },
    Role::Compact,
    Role::Compact,
    Role::Collect,
    Role::Read,
];

/// What is done to processes and requests in a run; each is "once in so many".
struct Weather {
    faults: usize,
    crashes: usize,
    stalls: usize,
    erasures: usize,
    collections: usize,
}

impl Weather {
    fn of(chance: &mut Chance) -> Weather {
        let mut some = |rare: usize, often: usize| *chance.pick(&[rare, often, usize::MAX]);
        Weather {
            faults: some(40, 8),
            crashes: some(200, 30),
            stalls: some(150, 30),
            erasures: some(200, 50),
            collections: some(6, 1),
        }
    }
}

/// A process of a role, and until which turn it stands still.
struct Slot {
    role: Role,
    process: Option<usize>,
    stalled: usize,
}

pub struct Run {
    chance: Chance,
    weather: Weather,
    stage: Stage,
    cast: Cast,
    slots: Vec<Slot>,
    open: Vec<TransactionId>,
    erased: BTreeMap<u64, bytes::Bytes>,
    trace: VecDeque<String>,
    turns: u64,
}

impl Run {
    /// What is wrong with the run of this seed, if anything, and the last of what happened.
    pub fn of(seed: u64, wire: Wire, tally: Arc<Tally>) -> Result<u64, String> {
        let mut run = Run::begin(seed, wire, tally);
        let turned = run.turn();
        turned.and_then(|()| run.end()).map_err(|why| {
            let trace: Vec<String> = run.trace.drain(..).collect();
            format!("{why}\n  after\n    {}", trace.join("\n    "))
        })?;
        Ok(run.turns)
    }

    fn begin(seed: u64, wire: Wire, tally: Arc<Tally>) -> Run {
        let mut chance = Chance::new(seed);
        let weather = Weather::of(&mut chance);
        let toy = Arc::new(Toy::new());
        let history = Arc::new(Mutex::new(History::default()));
        let witness = Arc::clone(&history);
        wire.watch(Box::new(move |deed| witness.lock().unwrap().saw(deed)));
        let keyring = Arc::new(Keyring::in_memory(SimWorld::START).unwrap());
        let mut open = Vec::new();
        for name in ["shop.a", "shop.b"] {
            toy.create(name);
        }
        for _ in 0..6 {
            Action::of(chance.number()).carry_out(&toy, &mut open);
        }
        for transaction in open.drain(..) {
            toy.commit(transaction);
        }
        let clock = Arc::new(AtomicU64::new(SimWorld::START * 1000));
        let stage = Stage {
            wire: wire.clone(),
            clock,
            consistent: toy.beat(),
            toy,
            keyring,
            history,
            dead: Arc::default(),
            tally,
            seed,
        };
        wait_for(first_backup(&stage));
        let slots = ROLES.map(|role| Slot { role, process: None, stalled: 0 }).into();
        let cast = Cast::new(wire);
        let (erased, trace) = (BTreeMap::new(), VecDeque::new());
        Run { chance, weather, stage, cast, slots, open, erased, trace, turns: 0 }
    }

    fn note(&mut self, what: String) {
        if self.trace.len() == 80 {
            self.trace.pop_front();
        }
        self.trace.push_back(what);
    }

    fn check(&self) -> Result<(), String> {
        match &self.stage.history.lock().unwrap().wrong {
            Some(why) => Err(why.clone()),
            None => Ok(()),
        }
    }

    fn turn(&mut self) -> Result<(), String> {
        for turn in 0..TURNS {
            self.pass_time();
            self.start_processes();
            self.meddle(turn);
            let moving: Vec<(usize, Verb, String, usize)> = self
                .stage
                .wire
                .waiting()
                .into_iter()
                .enumerate()
                .filter(|(_, (process, ..))| self.is_moving(*process, turn))
                .map(|(place, (process, verb, path))| (process, verb, path, place))
                .collect();
            if !moving.is_empty() {
                let (process, verb, path, place) = self.chance.pick(&moving).clone();
                self.let_go(process, verb, &path, place);
            }
            self.check()?;
            self.turns += 1;
        }
        Ok(())
    }

    fn is_moving(&self, process: usize, turn: usize) -> bool {
        self.slots.iter().any(|slot| slot.process == Some(process) && slot.stalled <= turn)
    }

    fn pass_time(&mut self) {
        let ms = match self.chance.below(300) {
            0 => 7_200_000,
            1 | 2 => 100_000,
            _ => self.chance.below(3_000) as u64,
        };
        let now = self.stage.clock.fetch_add(ms, Ordering::SeqCst) + ms;
        self.stage.wire.set_clock(now / 1000);
        if self.chance.once_in(4) {
            Action::of(self.chance.number()).carry_out(&self.stage.toy, &mut self.open);
        }
    }

    fn start_processes(&mut self) {
        for at in 0..self.slots.len() {
            let role = self.slots[at].role;
            if self.slots[at].process.is_some_and(|process| self.cast.lives(process)) {
                continue;
            }
            if let Some(process) = self.slots[at].process.take() {
                self.stage.dead.lock().unwrap().push(process as u64);
                self.note(format!("{role:?} {process} has ended"));
            }
            // Nobody can read a chain with a hole; who began before may be caught out by it.
            let trying = if self.erased.is_empty() { 1 } else { 8 };
            let rarely = match role {
                Role::Capture { impatient: false } | Role::CatchUp => 15,
                Role::Collect => 25usize.saturating_mul(self.weather.collections),
                Role::Compact => 40,
                _ => 80,
            };
            if self.chance.once_in(rarely.saturating_mul(trying)) {
                let stage = self.stage.clone();
                let process = self.cast.start(|me| stage.play(role, me));
                self.slots[at] = Slot { role, process: Some(process), stalled: 0 };
                self.note(format!("{role:?} {process} begins"));
            }
        }
    }

    /// What happens that nobody of us does.
    fn meddle(&mut self, turn: usize) {
        let at = self.chance.below(self.slots.len());
        if let Some(process) = self.slots[at].process {
            if self.chance.once_in(self.weather.crashes) {
                let standing = self.stage.wire.waiting().into_iter().find(|(of, ..)| *of == process);
                match standing.map(|(_, verb, _)| verb) {
                    Some(Verb::Create | Verb::Delete) => count(&self.stage.tally.died_before_a_deed),
                    Some(Verb::Answer) => count(&self.stage.tally.died_before_the_answer),
                    _ => {}
                }
                self.note(format!("{process} dies"));
                self.cast.kill(process);
            } else if self.chance.once_in(self.weather.stalls) {
                self.slots[at].stalled = turn + 10 + self.chance.below(200);
                self.note(format!("{process} stalls until turn {}", self.slots[at].stalled));
            }
        }
        let late = self.stage.wire.stragglers();
        if late > 0 && self.chance.once_in(10) {
            self.stage.wire.deliver(self.chance.below(late));
            count(&self.stage.tally.came_late);
            self.note("a late request arrives".to_owned());
        }
        let length = self.stage.history.lock().unwrap().len();
        if self.chance.once_in(self.weather.erasures) && length > 3 {
            // Among the newest, where somebody may be about to write. Never the newest: nobody could tell.
            let seq = (length - 2 - self.chance.below(4.min(length - 3))) as u64;
            if !self.erased.contains_key(&seq)
                && let Some(bytes) = self.stage.wire.erase(&commit_path(NAME, seq))
            {
                self.note(format!("commit {seq} is erased"));
                self.stage.history.lock().unwrap().erased.insert(seq);
                self.erased.insert(seq, bytes);
            }
        }
        if !self.erased.is_empty() && self.chance.once_in(30) {
            self.put_back();
        }
    }

    fn put_back(&mut self) {
        for (seq, bytes) in std::mem::take(&mut self.erased) {
            self.note(format!("commit {seq} is put back"));
            self.stage.history.lock().unwrap().erased.remove(&seq);
            self.stage.wire.put_back(&commit_path(NAME, seq), bytes);
        }
    }

    fn let_go(&mut self, process: usize, verb: Verb, path: &str, place: usize) {
        let fate = match verb {
            Verb::Rest | Verb::Answer => Fate::Done,
            // Opening takes dozens of reads, and is to succeed now and then.
            Verb::Read if !self.chance.once_in(16) => Fate::Done,
            _ if !self.chance.once_in(self.weather.faults) => Fate::Done,
            Verb::Read | Verb::List => Fate::Refused,
            Verb::Create | Verb::Delete => {
                *self.chance.pick(&[Fate::Refused, Fate::AnswerLost, Fate::Repeated, Fate::Late, Fate::Doubled])
            }
        };
        if !matches!(verb, Verb::Rest | Verb::Answer | Verb::Read) {
            self.note(format!("{process}: {verb:?} {path} {fate:?}"));
        }
        self.stage.wire.let_go(place, fate, self.chance.number());
        self.cast.run(process);
        // Most answers come at once, and what reads goes on reading.
        let plain = |(of, verb, _): &(usize, Verb, String)| {
            *of == process && matches!((fate, *verb), (_, Verb::Answer) | (Fate::Done, Verb::Read))
        };
        while let Some(place) = self.stage.wire.waiting().iter().position(plain) {
            if self.chance.once_in(8) {
                break;
            }
            self.stage.wire.let_go(place, Fate::Done, self.chance.number());
            self.cast.run(process);
        }
    }

    /// All processes die, the network is mended, what was taken away is put back; then everything must be there.
    fn end(&mut self) -> Result<(), String> {
        for slot in &self.slots {
            slot.process.into_iter().for_each(|process| self.cast.kill(process));
        }
        while self.stage.wire.stragglers() > 0 {
            self.stage.wire.deliver(0);
        }
        self.put_back();
        for transaction in self.open.drain(..) {
            self.stage.toy.commit(transaction);
        }
        self.stage.history.lock().unwrap().check_fences();
        self.check()?;
        let stage = self.stage.clone();
        wait_for(stage.reckon(&mut self.chance))?;
        self.check()
    }
}

impl Stage {
    /// What is to be found when all has come to rest.
    async fn reckon(&self, chance: &mut Chance) -> Result<(), String> {
        let say = |error: backstay_archive::Error| format!("at rest: {error}");
        let store = self.wire.sound();
        let commits = self.history.lock().unwrap().len();
        // L1: nothing was written over, nothing is missing.
        for seq in 0..commits {
            let path = commit_path(NAME, seq as u64);
            let found = store.get(&path).await.map_err(|error| format!("L2: {error}"))?;
            if Some(found) != self.history.lock().unwrap().bytes(seq) {
                return Err(format!("L1: {path} has other bytes than it was made with"));
            }
        }
        let trusted = self.keyring.verifying_key().expect("the keyring has it");
        let report = verify_chain(&store, NAME, &trusted).await.map_err(|error| error.to_string())?;
        if !report.is_sound() || report.checked != commits as u64 {
            let listed = store.list(&chain_prefix(NAME)).await.map_or(0, |objects| objects.len());
            let (checked, problems) = (report.checked, report.problems);
            return Err(format!("L1: {checked} of {commits} commits, {listed} listed: {problems:?}"));
        }
        let vault = self.open(store, u64::MAX - 1).await.map_err(say)?;
        if vault.state().await.head().seq + 1 != commits as u64 {
            return Err("L2: the chain is shorter than what was acknowledged".to_owned());
        }
        self.compare(&vault, chance).await?;
        // A1: and after all is captured, sorted and collected it is still so.
        self.catch_up_wholly(&vault).await.map_err(say)?;
        vault.compact(&backstay_sim::toy::ToyInterpreter, |_, _| {}).await.map_err(say)?;
        vault.sweep(u64::MAX).await.map_err(say)?;
        self.compare(&vault, chance).await
    }

    async fn catch_up_wholly(&self, vault: &Vault) -> Result<(), backstay_archive::Error> {
        let end = self.toy.beat();
        while vault.refresh().await?.through() < end {
            self.follow(vault, usize::MAX).await?;
        }
        Ok(())
    }

    /// A2 at some instants, and R1: nothing that they need is gone.
    async fn compare(&self, vault: &Vault, chance: &mut Chance) -> Result<(), String> {
        let through = vault.state().await.through();
        let oracle = self.toy.oracle();
        let seconds = (through.seconds() - self.consistent.seconds()) as usize;
        let between = Tick::new(self.consistent.seconds() + chance.below(seconds + 1) as u32, 1);
        for at in [between.clamp(self.consistent, through), through] {
            let found = as_of(vault, at).await.map_err(|error| format!("R1: {at} cannot be read: {error}"))?;
            same(&oracle, &found, at).map_err(|why| format!("A2: {why}"))?;
        }
        Ok(())
    }
}

/// The repository, the vault and a base of what is there.
async fn first_backup(stage: &Stage) {
    let world: Arc<dyn World> = Arc::new(SimWorld::new(stage.seed));
    let keyring = Arc::clone(&stage.keyring);
    let repository =
        Repository::create(stage.wire.sound(), "wire", keyring, world, std::env::temp_dir()).await.unwrap();
    let vault = repository.vault_for(NAME, "toy", "toy").await.unwrap();
    let (at, scan) = (stage.consistent, repository.world().id());
    let begun = vec![
        Fact::Frontier { stream: STREAM.to_owned(), through: at, resume: at },
        Fact::ScanStarted { scan, from: at },
    ];
    vault.commit(|_| Ok(begun.clone())).await.unwrap();
    let mut writer = BaseWriter::new(&vault, scan);
    let oracle = stage.toy.oracle();
    let mut namespaces = vec![Incarnation::SYSTEM];
    namespaces.extend(oracle.definitions(at).into_iter().map(|(namespace, _)| namespace));
    for namespace in namespaces {
        let mut batch = RecordBatch::default();
        for record in oracle.records(namespace, at) {
            batch.push(&record.id, &record.image);
        }
        writer.push(namespace, at, batch, |image, sink| match namespace {
            Incarnation::SYSTEM => sink(""),
            _ => sink(Record::parse(image).unwrap().tenant()),
        });
        writer.cover(namespace, IdRange::all());
    }
    let base = writer.write().await.unwrap().unwrap();
    let (records, source_bytes) = (0, 0);
    let done = vec![Fact::SegmentAdded(base.info), Fact::ScanCompleted { scan, consistent: at, records, source_bytes }];
    vault.commit(|_| Ok(done.clone())).await.unwrap();
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Outside of the network nothing is waited for but other threads.
fn wait_for<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Handle::current().block_on(work)
}
