//! The protocol in small.
//!
//! ```text
//!   names    what stands at chain/0, 1, 2 …: a commit, or nothing (never made, or erased: a delete marker)
//!   history  the commit that was first made at each number, upon the one before: the truth, which nobody sees whole
//!   files    the segments that are there
//!   acked    what writers were told to have succeeded
//!
//!   capture    refresh ─ [claim] ─ store a segment ─ create a commit ─ look beyond ─ acknowledged
//!   compactor  refresh ─ store a run ─ create a commit that replaces a segment ─ look beyond ─ acknowledged
//!   collector  refresh ─ create a commit that raises the floor ─ look beyond ─ delete the garbage, one by one
//!   eraser     takes away any commit that has one after it
//! ```
//!
//! Between any two steps of one process all others may take any number of theirs. A request may be carried out and its
//! answer lost, or be lost before it is carried out; a process may die after any of its steps.

use backstay_sim::explore::Model;

/// What a process does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    Capture,
    Compactor,
    Collector,
}

/// A rule of the protocol that can be left out, to see it missed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// A win counts only when nothing after it was made upon another commit.
    LookBeyond,
    /// A segment that was added before is refused.
    Once,
    /// A commit under a claim that is not the newest is refused.
    Fence,
    /// What was begun below the floor is refused.
    Floor,
    /// Nothing is deleted before the floor that condemns it is committed.
    FloorBeforeDelete,
    /// What replaces is decided again on the new state after losing a race.
    LiveInputs,
}

#[derive(Clone, Debug)]
pub struct Protocol {
    pub roles: Vec<Role>,
    /// How many commits each process wants to make.
    pub rounds: u8,
    /// How many answers are lost, processes die and names are erased at most.
    pub lost: u8,
    pub crashes: u8,
    pub erasures: u8,
    pub without: Option<Rule>,
}

/// A segment: who began it, its how-manieth, and the newest commit that its writer had seen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Segment {
    writer: u8,
    number: u8,
    born: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Fact {
    Opened,
    Claim {
        epoch: u8,
    },
    /// A tail under a claim, with the frontier that it reaches.
    Tail {
        epoch: u8,
        segment: Segment,
    },
    Replace {
        input: Segment,
        output: Segment,
    },
    Floor {
        floor: u8,
    },
}

/// A commit is told from all others by who made it and which of its tries it was.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Commit {
    writer: u8,
    attempt: u8,
    prev: (u8, u8),
    fact: Fact,
}

impl Commit {
    fn id(&self) -> (u8, u8) {
        (self.writer, self.attempt)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    Idle,
    /// Its segment is stored.
    Staged(Segment),
    /// A create was sent for this commit, and no answer came.
    Unknown(Commit, u8, Option<Segment>),
    /// A create succeeded; what is after it has not been looked at.
    Won(Commit, u8),
    /// The floor is raised: deleting.
    Deleting,
    Gone,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Process {
    at: At,
    /// The chain as far as it has read it.
    view: Vec<Commit>,
    attempts: u8,
    segments: u8,
    rounds: u8,
    /// The claim that it holds, as far as it knows.
    epoch: u8,
    /// What a compactor's run was made of.
    input: Option<Segment>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct State {
    names: Vec<Option<Commit>>,
    history: Vec<Commit>,
    files: Vec<Segment>,
    acked: Vec<(u8, (u8, u8))>,
    processes: Vec<Process>,
    lost: u8,
    crashes: u8,
    erasures: u8,
}

/// What folding a chain gives.
#[derive(Default)]
struct Folded {
    live: Vec<Segment>,
    added: Vec<Segment>,
    epoch: u8,
    floor: u8,
}

fn fold(commits: &[Commit]) -> Folded {
    let mut folded = Folded::default();
    for commit in commits {
        match commit.fact {
            Fact::Opened => {}
            Fact::Claim { epoch } => folded.epoch = epoch,
            Fact::Tail { segment, .. } => {
                folded.live.push(segment);
                folded.added.push(segment);
            }
            Fact::Replace { input, output } => {
                folded.live.retain(|live| *live != input);
                folded.live.push(output);
                folded.added.push(output);
            }
            Fact::Floor { floor } => folded.floor = floor,
        }
    }
    folded
}

impl Protocol {
    fn has(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    /// Whether a fact may follow this chain: the fold's refusals.
    fn allows(&self, view: &[Commit], fact: &Fact, is_rebase: bool) -> bool {
        let state = fold(view);
        let new = |segment: &Segment| {
            (!self.has(Rule::Floor) || segment.born >= state.floor)
                && (!self.has(Rule::Once) || !state.added.contains(segment))
        };
        match fact {
            Fact::Opened => false,
            Fact::Claim { epoch } => *epoch == state.epoch + 1,
            Fact::Tail { epoch, segment } => (*epoch == state.epoch || !self.has(Rule::Fence)) && new(segment),
            Fact::Replace { input, output } => {
                let unchecked = is_rebase && !self.has(Rule::LiveInputs);
                (unchecked || state.live.contains(input)) && new(output)
            }
            Fact::Floor { floor } => *floor > state.floor,
        }
    }

    /// Reads what is new. False when the chain has a hole or another history.
    fn refresh(names: &[Option<Commit>], process: &mut Process) -> bool {
        let last = names.iter().rposition(Option::is_some).unwrap_or(0);
        while process.view.len() <= last {
            match names[process.view.len()] {
                Some(commit) if process.view.last().is_none_or(|head| commit.prev == head.id()) => {
                    process.view.push(commit);
                }
                _ => return false,
            }
        }
        true
    }

    /// The commit that a process wants to make now, if it wants one.
    fn wanted(&self, role: Role, process: &Process) -> Option<Fact> {
        let state = fold(&process.view);
        match (role, process.at) {
            (Role::Capture, At::Idle) if process.epoch == 0 => Some(Fact::Claim { epoch: state.epoch + 1 }),
            (Role::Capture, At::Staged(segment)) => Some(Fact::Tail { epoch: process.epoch, segment }),
            (Role::Compactor, At::Staged(output)) => Some(Fact::Replace { input: process.input?, output }),
            // As high as it may be: nobody is spared who could have been.
            (Role::Collector, At::Idle) => Some(Fact::Floor { floor: u8::try_from(process.view.len()).unwrap() }),
            _ => None,
        }
    }

    fn create(&self, state: &State, number: usize, next: &mut Vec<(String, State)>) {
        let process = &state.processes[number];
        let Some(fact) = self.wanted(self.roles[number], process) else { return };
        let is_rebase = process.attempts > 0;
        let writer = u8::try_from(number).unwrap();
        let seq = process.view.len();
        if !self.allows(&process.view, &fact, is_rebase) {
            // Fenced, or a conflict: it stops.
            let mut refused = state.clone();
            refused.processes[number].at = At::Gone;
            next.push((format!("{writer}: {fact:?} is refused"), refused));
            return;
        }
        let prev = process.view.last().unwrap().id();
        let commit = Commit { writer, attempt: process.attempts, prev, fact };
        let staged = if let At::Staged(segment) = process.at { Some(segment) } else { None };
        let mut tried = state.clone();
        tried.processes[number].attempts += 1;
        if tried.names.len() <= seq {
            tried.names.resize(seq + 1, None);
        }
        let seq8 = u8::try_from(seq).unwrap();
        if state.lost > 0 {
            let mut unmade = state.clone();
            unmade.lost -= 1;
            unmade.processes[number].attempts += 1;
            unmade.processes[number].at = At::Unknown(commit, seq8, staged);
            next.push((format!("{writer}: {fact:?} at {seq} is lost on its way"), unmade));
        }
        if tried.names[seq].is_some() {
            // Overtaken: it reads what is new and decides again.
            if !Self::refresh(&tried.names, &mut tried.processes[number]) {
                tried.processes[number].at = At::Gone;
            }
            next.push((format!("{writer}: {fact:?} at {seq} is overtaken"), tried));
            return;
        }
        tried.names[seq] = Some(commit);
        let extends = tried.history.len() == seq && tried.history.last().unwrap().id() == prev;
        if extends {
            tried.history.push(commit);
        }
        let mut told = tried.clone();
        told.processes[number].at = At::Won(commit, seq8);
        next.push((format!("{writer}: {fact:?} at {seq} is made"), told));
        if state.lost > 0 {
            tried.lost -= 1;
            tried.processes[number].at = At::Unknown(commit, seq8, staged);
            next.push((format!("{writer}: {fact:?} at {seq} is made, the answer lost"), tried));
        }
    }

    /// What comes after a create: finding out, looking beyond, deleting.
    fn follow_up(&self, state: &State, number: usize, next: &mut Vec<(String, State)>) {
        let mut after = state.clone();
        let process = &mut after.processes[number];
        match process.at {
            At::Unknown(commit, seq, staged) => {
                let there = state.names.get(usize::from(seq)).copied().flatten();
                process.at = match there {
                    Some(found) if found == commit => At::Won(commit, seq),
                    // Taken by another, or by nobody: decided anew on what is there.
                    _ if Self::refresh(&state.names, process) => staged.map_or(At::Idle, At::Staged),
                    _ => At::Gone,
                };
                if state.lost > 0 {
                    let mut unseen = state.clone();
                    unseen.lost -= 1;
                    unseen.processes[number].at = staged.map_or(At::Idle, At::Staged);
                    next.push((format!("{number}: looks for its commit {seq} and gets no answer"), unseen));
                }
                next.push((format!("{number}: looks for its commit {seq}"), after));
            }
            At::Won(commit, seq) => {
                let follower =
                    (usize::from(seq) + 1..state.names.len()).find_map(|at| state.names[at].map(|commit| (at, commit)));
                let goes_on =
                    follower.is_none_or(|(at, follower)| at == usize::from(seq) + 1 && follower.prev == commit.id());
                if goes_on || !self.has(Rule::LookBeyond) {
                    process.acknowledge(commit);
                    after.acked.push((seq, commit.id()));
                    after.acked.sort_unstable();
                    next.push((format!("{number}: {seq} is acknowledged"), after));
                } else {
                    process.at = At::Gone;
                    next.push((format!("{number}: {seq} was made beside the chain"), after));
                }
            }
            At::Deleting => {
                let folded = fold(&process.view);
                let garbage = |file: &&Segment| !folded.live.contains(file) && file.born < folded.floor;
                let Some(file) = state.files.iter().find(garbage).copied() else { return };
                after.files.retain(|other| *other != file);
                next.push((format!("{number}: deletes {file:?}"), after));
            }
            _ => {}
        }
    }
}

impl Process {
    fn acknowledge(&mut self, commit: Commit) {
        self.view.push(commit);
        self.at = match commit.fact {
            Fact::Claim { epoch } => {
                self.epoch = epoch;
                At::Idle
            }
            Fact::Floor { .. } => At::Deleting,
            _ => {
                self.rounds -= 1;
                At::Idle
            }
        };
    }
}

impl Model for Protocol {
    type State = State;
    type Step = String;

    fn first(&self) -> State {
        let opened = Commit { writer: 99, attempt: 0, prev: (99, 99), fact: Fact::Opened };
        // A segment that stands there from the beginning, for compactors.
        let segment = Segment { writer: 98, number: 0, born: 0 };
        let tail = Commit { writer: 99, attempt: 1, prev: opened.id(), fact: Fact::Tail { epoch: 0, segment } };
        let history = vec![opened, tail];
        let process = Process {
            at: At::Idle,
            view: history.clone(),
            attempts: 0,
            segments: 0,
            rounds: self.rounds,
            epoch: 0,
            input: None,
        };
        State {
            names: history.iter().copied().map(Some).collect(),
            history,
            files: vec![segment],
            acked: Vec::new(),
            processes: vec![process; self.roles.len()],
            lost: self.lost,
            crashes: self.crashes,
            erasures: self.erasures,
        }
    }

    fn next(&self, state: &State) -> Vec<(String, State)> {
        let mut next = Vec::new();
        for (number, process) in state.processes.iter().enumerate() {
            let role = self.roles[number];
            if process.at == At::Gone {
                continue;
            }
            if matches!(process.at, At::Idle | At::Staged(_) | At::Deleting) {
                let mut fresh = state.clone();
                if !Self::refresh(&state.names, &mut fresh.processes[number]) {
                    fresh.processes[number].at = At::Gone;
                }
                if fresh != *state {
                    next.push((format!("{number}: reads the chain"), fresh));
                }
            }
            let ready = process.rounds > 0
                && match role {
                    Role::Capture => process.epoch > 0,
                    Role::Compactor => true,
                    Role::Collector => false,
                };
            if process.at == At::Idle && ready {
                let mut staged = state.clone();
                let born = u8::try_from(process.view.len() - 1).unwrap();
                let segment = Segment { writer: u8::try_from(number).unwrap(), number: process.segments, born };
                staged.files.push(segment);
                staged.files.sort_unstable();
                let process = &mut staged.processes[number];
                process.segments += 1;
                process.at = At::Staged(segment);
                // It merges the segment that stands first.
                process.input = fold(&process.view).live.first().copied();
                next.push((format!("{number}: stores {segment:?}"), staged));
            }
            if role == Role::Collector && process.at == At::Idle && !self.has(Rule::FloorBeforeDelete) {
                let folded = fold(&process.view);
                let unnamed = |file: &&Segment| !folded.live.contains(file);
                if let Some(file) = state.files.iter().find(unnamed).copied() {
                    let mut deleted = state.clone();
                    deleted.files.retain(|other| *other != file);
                    next.push((format!("{number}: deletes {file:?} at once"), deleted));
                }
            }
            if process.rounds > 0 {
                self.create(state, number, &mut next);
            }
            self.follow_up(state, number, &mut next);
            if state.crashes > 0 {
                let mut dead = state.clone();
                dead.crashes -= 1;
                dead.processes[number].at = At::Gone;
                next.push((format!("{number}: dies"), dead));
            }
        }
        if state.erasures > 0 {
            let last = state.names.iter().rposition(Option::is_some).unwrap_or(0);
            for seq in (2..last).filter(|seq| state.names[*seq].is_some()) {
                let mut erased = state.clone();
                erased.erasures -= 1;
                erased.names[seq] = None;
                next.push((format!("{seq} is erased"), erased));
            }
        }
        next
    }

    fn broken(&self, state: &State) -> Option<String> {
        for (seq, id) in &state.acked {
            match state.history.get(usize::from(*seq)) {
                Some(commit) if commit.id() == *id => {}
                _ => return Some(format!("L2: the acknowledged commit {seq} is not in the chain")),
            }
        }
        let mut epoch = 0;
        let mut live: Vec<Segment> = Vec::new();
        let mut added: Vec<Segment> = Vec::new();
        for (seq, commit) in state.history.iter().enumerate() {
            let new = match commit.fact {
                Fact::Claim { epoch: claimed } => {
                    epoch = claimed;
                    None
                }
                Fact::Tail { epoch: under, segment } => {
                    if under < epoch {
                        return Some(format!("fencing: commit {seq} under claim {under} stands after claim {epoch}"));
                    }
                    Some(segment)
                }
                Fact::Replace { input, output } => {
                    if !live.contains(&input) {
                        return Some(format!("L1: commit {seq} replaces a segment that is not live"));
                    }
                    live.retain(|segment| *segment != input);
                    Some(output)
                }
                _ => None,
            };
            if let Some(new) = new {
                if added.contains(&new) {
                    return Some(format!("L1: commit {seq} adds a segment a second time"));
                }
                added.push(new);
                live.push(new);
            }
        }
        let lost = live.iter().find(|segment| !state.files.contains(segment));
        lost.map(|segment| format!("R1: {segment:?} is live and its file is gone"))
    }
}
