//! The fold against a plain model: a list of what was said, looked through from the start for every question.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::birth::new_id;
use crate::claim::Holder;
use crate::fact::Cover;

const STREAMS: [&str; 2] = ["rs0", "rs1"];

fn head(seq: u64) -> Head {
    Head { seq, hash: [0; 32], written_at: 0 }
}

fn opened() -> Fact {
    Fact::Opened { name: "shop".into(), kind: "toy".into(), identity: "x".into() }
}

fn empty() -> VaultState {
    VaultState::open([1; 16], &[opened()], head(0)).unwrap()
}

/// Begun upon the commit of this number.
fn id(number: u8) -> Id {
    new_id(u64::from(number), [number; 10])
}

fn holder(process: u64) -> Holder {
    Holder { host: "h".into(), process, mark: 0 }
}

fn t(tick: u64) -> Tick {
    Tick::from_u64(tick)
}

fn segment(number: u8, shape: Shape, first: u64, last: u64) -> SegmentInfo {
    SegmentInfo {
        id: id(number),
        shape,
        bytes: 1,
        raw_bytes: 1,
        entries: 1,
        first: t(first),
        last: t(last),
        hash: [0; 32],
        covers: Vec::new(),
        scan: None,
        stream: (shape == Shape::Tail).then(|| STREAMS[0].to_owned()),
    }
}

fn frontier(stream: &str, through: u64, resume: u64) -> Fact {
    Fact::Frontier { stream: stream.to_owned(), through: t(through), resume: t(resume) }
}

fn nonsense(state: &VaultState, facts: &[Fact]) -> String {
    match state.clone().fold(facts, head(9)) {
        Err(Refusal::Nonsense(why)) => why,
        other => panic!("{facts:?}: {other:?}"),
    }
}

/// Only a writer that is wrong makes such a checkpoint; whoever reads it folds the chain instead.
#[test]
fn an_image_that_holds_a_segment_twice_is_refused() {
    let mut state = empty();
    state.put_up(Arc::new(segment(1, Shape::DeltaRun, 5, 6)));
    let sound = image::encode(&state).unwrap();
    assert_eq!(image::decode(&sound, state.vault(), state.head()), Ok(state.clone()));
    let one = minicbor::to_vec(segment(1, Shape::DeltaRun, 5, 6)).unwrap();
    let place = sound.windows(one.len()).position(|window| window == one).unwrap();
    let mut twice = sound.clone();
    // The list of one begins right before it.
    assert_eq!(twice[place - 1], 0x81);
    twice[place - 1] = 0x82;
    twice.splice(place..place, minicbor::to_vec(segment(1, Shape::DeltaRun, 7, 8)).unwrap());
    let refused = image::decode(&twice, state.vault(), state.head()).unwrap_err();
    assert!(refused.ends_with("twice"), "{refused}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut state = empty();
    let start = Fact::ScanStarted { scan: id(1), from: t(10) };
    let tail = Fact::SegmentAdded(segment(1, Shape::Tail, 11, 20));
    state.fold(&[start.clone(), tail, frontier("rs0", 20, 15)], head(1)).unwrap();

    let end = |scan, consistent| Fact::ScanCompleted {
        scan: id(scan),
        consistent: t(consistent),
        records: 0,
        source_bytes: 0,
    };
    let opens = |after| Fact::GapOpened { after: t(after), cause: "c".into() };
    let closes = |resumes| Fact::GapClosed { resumes: t(resumes) };
    let added = |segment| Fact::SegmentAdded(segment);
    let scanned = SegmentInfo { scan: Some(id(7)), ..segment(2, Shape::BaseRun, 1, 2) };
    let homeless = SegmentInfo { stream: None, ..segment(2, Shape::Tail, 21, 22) };
    let all = Cover { incarnation: backstay_model::Incarnation(1), range: backstay_model::IdRange::all() };
    let covering = SegmentInfo { covers: vec![all], ..segment(2, Shape::DeltaRun, 1, 2) };
    let cases: Vec<Vec<Fact>> = vec![
        vec![opened()],
        vec![start],
        vec![frontier("rs0", 19, 15)],
        vec![frontier("rs0", 21, 14)],
        vec![frontier("rs0", 21, 23)],
        vec![added(segment(2, Shape::Tail, 20, 22)), frontier("rs0", 22, 22)],
        vec![added(segment(2, Shape::Tail, 21, 22))],
        vec![added(segment(2, Shape::Tail, 21, 22)), frontier("rs0", 21, 21)],
        vec![added(segment(2, Shape::DeltaRun, 3, 2))],
        vec![added(scanned)],
        vec![added(homeless)],
        vec![added(covering)],
        vec![end(2, 30)],
        vec![end(1, 9)],
        vec![end(1, 30), end(1, 30)],
        vec![Fact::ScanAbandoned { scan: id(2), why: String::new() }],
        vec![Fact::DriftFound { scan: id(2), at: t(1), records: 1 }],
        vec![closes(30)],
        vec![opens(21)],
        vec![opens(20), opens(20)],
        vec![opens(20), closes(20)],
        vec![opens(20), closes(25), opens(20)],
    ];
    for facts in cases {
        nonsense(&state, &facts);
    }
    assert!(VaultState::open([1; 16], &[], head(0)).is_err());
    assert!(VaultState::open([1; 16], &[frontier("rs0", 1, 1)], head(0)).is_err());
}

#[test]
fn what_another_writer_did_first_is_a_conflict() {
    let mut state = empty();
    state.fold(&[Fact::SegmentAdded(segment(1, Shape::DeltaRun, 1, 2))], head(1)).unwrap();
    for facts in [vec![Fact::SegmentRemoved(id(2))], vec![Fact::SegmentAdded(segment(1, Shape::DeltaRun, 1, 2))]] {
        assert!(matches!(state.clone().fold(&facts, head(2)), Err(Refusal::Conflict(_))));
    }
}

#[test]
fn coverage_starts_with_the_first_scan_and_ends_at_the_slowest_stream() {
    let mut state = empty();
    assert_eq!(state.coverage(), Coverage::default());
    let facts = [
        frontier("rs0", 40, 40),
        frontier("rs1", 30, 30),
        Fact::ScanStarted { scan: id(1), from: t(5) },
        Fact::ScanCompleted { scan: id(1), consistent: t(10), records: 1, source_bytes: 1 },
        Fact::ScanStarted { scan: id(2), from: t(20) },
        Fact::ScanCompleted { scan: id(2), consistent: t(25), records: 1, source_bytes: 1 },
        Fact::GapOpened { after: t(30), cause: "c".into() },
    ];
    state.fold(&facts, head(1)).unwrap();
    let coverage = state.coverage();
    assert_eq!((coverage.start, coverage.through), (Some(t(10)), t(30)));
    assert_eq!(state.open_gap(), coverage.gaps.last());
    state.fold(&[Fact::GapClosed { resumes: t(35) }, frontier("rs1", 50, 50)], head(2)).unwrap();
    assert_eq!(state.open_gap(), None);
    assert!(!state.coverage().contains(t(32)) && state.coverage().contains(t(40)));
}

#[test]
fn a_claim_that_was_taken_over_fences_its_commits() {
    let mut state = empty();
    let claimed = |epoch| Fact::StreamClaimed { stream: "rs0".into(), epoch, holder: holder(epoch) };
    let under = |epoch| Fact::UnderClaim { stream: "rs0".into(), epoch };
    let at = |seq, written_at| Head { seq, hash: [0; 32], written_at };
    state.fold(&[claimed(1)], at(1, 100)).unwrap();
    state.fold(&[under(1), frontier("rs0", 10, 10)], at(2, 150)).unwrap();
    let claim = state.claim("rs0").unwrap();
    assert_eq!((claim.since, claim.seen, claim.holder.process), (100, 150, 1));
    assert!(claim.is_live(150 + crate::LEASE - 1) && !claim.is_live(150 + crate::LEASE) && claim.is_live(0));

    state.fold(&[claimed(2)], at(3, 160)).unwrap();
    for facts in
        [vec![under(1), frontier("rs0", 20, 20)], vec![Fact::StreamReleased { stream: "rs0".into(), epoch: 1 }]]
    {
        match state.clone().fold(&facts, at(4, 170)) {
            Err(Refusal::Fenced { stream, by }) => assert_eq!((stream.as_str(), by.epoch, by.since), ("rs0", 2, 160)),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(state.clone().fold(&[claimed(2)], at(4, 170)), Err(Refusal::Conflict(_))));
    state.fold(&[under(2), frontier("rs0", 20, 20)], at(4, 170)).unwrap();
    state.fold(&[Fact::StreamReleased { stream: "rs0".into(), epoch: 2 }], at(5, 180)).unwrap();
    assert!(!state.claim("rs0").unwrap().is_live(180));
    nonsense(&state, &[under(2)]);
    nonsense(&state, &[under(3)]);
    nonsense(&state, &[Fact::UnderClaim { stream: "rs1".into(), epoch: 1 }]);
    state.fold(&[claimed(3)], at(6, 190)).unwrap();
}

#[test]
fn what_was_begun_below_the_floor_is_garbage_and_cannot_be_added() {
    let mut state = empty();
    let run = |number| Fact::SegmentAdded(segment(number, Shape::DeltaRun, 1, 2));
    state.fold(&[run(1), run(2)], head(3)).unwrap();
    state.fold(&[Fact::SegmentRemoved(id(1))], head(4)).unwrap();
    state.fold(&[Fact::SegmentRemoved(id(2)), run(4)], head(5)).unwrap();
    assert!([1, 2, 3, 4].iter().all(|number| !state.is_garbage(&id(*number))), "the floor is still 0");
    nonsense(&state, &[Fact::FloorRaised { floor: 10 }]);

    state.fold(&[Fact::FloorRaised { floor: 5 }], head(6)).unwrap();
    assert!(state.is_garbage(&id(1)), "removed below the floor");
    assert!(!state.is_garbage(&id(2)), "removed at the floor: a reader may have pinned the state before");
    assert!(state.is_garbage(&id(3)), "begun below the floor and never added");
    assert!(!state.is_garbage(&id(4)), "live");
    assert!(!state.is_garbage(&id(5)), "perhaps its commit comes yet");
    for number in [1, 2, 3, 4] {
        assert!(matches!(state.clone().fold(&[run(number)], head(7)), Err(Refusal::Conflict(_))), "{number}");
    }
    assert_eq!(state.removed().keys().collect::<Vec<_>>(), [&id(2)], "what the floor keeps out need not be remembered");
    for floor in [4, 5] {
        assert!(matches!(state.clone().fold(&[Fact::FloorRaised { floor }], head(7)), Err(Refusal::Conflict(_))));
    }
    state.fold(&[run(5), Fact::FloorRaised { floor: 7 }], head(7)).unwrap();
    assert!(state.is_garbage(&id(2)) && !state.is_garbage(&id(5)));
}

#[test]
fn a_time_gives_a_floor_that_spares_what_is_younger() {
    let mut state = VaultState::open([1; 16], &[opened()], Head { seq: 0, hash: [0; 32], written_at: 1000 }).unwrap();
    for seq in 1..=100 {
        state.fold(&[], Head { seq, hash: [0; 32], written_at: 1000 + 600 * seq }).unwrap();
    }
    assert_eq!(state.floor_before(1000), 0);
    assert_eq!(state.floor_before(u64::MAX), 101);
    assert_eq!(state.floor_before(state.head().written_at + 1), 101);
    for unix in (1001..60_000).step_by(97) {
        let floor = state.floor_before(unix);
        assert!(floor == 0 || 1000 + 600 * (floor - 1) < unix, "{unix}: commit {} is younger", floor - 1);
        assert!(1000 + 600 * (floor + 6) >= unix, "{unix}: {floor} is more than an hour behind");
    }
    state.fold(&[Fact::FloorRaised { floor: 50 }], Head { seq: 101, hash: [0; 32], written_at: 70_000 }).unwrap();
    assert_eq!(state.floor_before(2000), 50, "it never falls");
}

/// One step of a random history, in small numbers so that steps meet.
#[derive(Clone, Debug)]
enum Step {
    Tail { number: u8, stream: usize, length: u64, skip: u64 },
    Run { number: u8, base: bool, first: u64, length: u64 },
    Remove { number: u8 },
    Frontier { stream: usize, through: u64, behind: u64 },
    Scan { number: u8, what: u8, at: u64 },
    Gap { at: u64, opens: bool },
    Claim { stream: usize, epoch: u64, what: u8 },
    Floor { floor: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0u8..12, 0usize..2, 0u64..4, 0u64..3)
            .prop_map(|(number, stream, length, skip)| Step::Tail { number, stream, length, skip }),
        2 => (0u8..12, any::<bool>(), 0u64..30, 0u64..5)
            .prop_map(|(number, base, first, length)| Step::Run { number, base, first, length }),
        2 => (0u8..12).prop_map(|number| Step::Remove { number }),
        2 => (0usize..2, 0u64..40, 0u64..4)
            .prop_map(|(stream, through, behind)| Step::Frontier { stream, through, behind }),
        2 => (0u8..4, 0u8..4, 0u64..30).prop_map(|(number, what, at)| Step::Scan { number, what, at }),
        1 => (0u64..40, any::<bool>()).prop_map(|(at, opens)| Step::Gap { at, opens }),
        2 => (0usize..2, 1u64..4, 0u8..4).prop_map(|(stream, epoch, what)| Step::Claim { stream, epoch, what }),
        1 => (0u64..16).prop_map(|floor| Step::Floor { floor }),
    ]
}

/// What the step says, given how far its stream has come.
fn facts_of(step: &Step, through: impl Fn(usize) -> u64) -> Vec<Fact> {
    match *step {
        Step::Tail { number, stream, length, skip } => {
            // A skip of nothing makes an overlap, which must be refused.
            let first = through(stream) + skip;
            let mut tail = segment(number, Shape::Tail, first, first + length);
            tail.stream = Some(STREAMS[stream].to_owned());
            vec![Fact::SegmentAdded(tail), frontier(STREAMS[stream], first + length, first)]
        }
        Step::Run { number, base, first, length } => {
            let shape = if base { Shape::BaseRun } else { Shape::DeltaRun };
            vec![Fact::SegmentAdded(segment(number, shape, first, first + length))]
        }
        Step::Remove { number } => vec![Fact::SegmentRemoved(id(number))],
        Step::Frontier { stream, through, behind } => {
            vec![frontier(STREAMS[stream], through, through.saturating_sub(behind))]
        }
        Step::Scan { number, what, at } => vec![match what {
            0 => Fact::ScanStarted { scan: id(number), from: t(at) },
            1 => Fact::ScanCompleted { scan: id(number), consistent: t(at), records: at, source_bytes: 2 * at },
            2 => Fact::ScanAbandoned { scan: id(number), why: "w".into() },
            _ => Fact::DriftFound { scan: id(number), at: t(at), records: 1 },
        }],
        Step::Gap { at, opens: true } => vec![Fact::GapOpened { after: t(at), cause: "c".into() }],
        Step::Gap { at, opens: false } => vec![Fact::GapClosed { resumes: t(at) }],
        Step::Claim { stream, epoch, what } => {
            let stream = STREAMS[stream].to_owned();
            vec![match what {
                0 | 1 => Fact::StreamClaimed { stream, epoch, holder: holder(epoch) },
                2 => Fact::StreamReleased { stream, epoch },
                _ => Fact::UnderClaim { stream, epoch },
            }]
        }
        Step::Floor { floor } => vec![Fact::FloorRaised { floor }],
    }
}

/// Answers by looking through everything that was said.
struct Model(Vec<Fact>);

impl Model {
    fn live(&self) -> Vec<&SegmentInfo> {
        let mut live: Vec<&SegmentInfo> = Vec::new();
        for fact in &self.0 {
            match fact {
                Fact::SegmentAdded(segment) => live.push(segment),
                Fact::SegmentRemoved(id) => live.retain(|segment| segment.id != *id),
                _ => {}
            }
        }
        live
    }

    fn shape(&self, shape: Shape) -> Vec<Id> {
        let mut found: Vec<_> = self.live().into_iter().filter(|segment| segment.shape == shape).collect();
        found.sort_by_key(|segment| (segment.first, segment.last, segment.id));
        found.into_iter().map(|segment| segment.id).collect()
    }

    fn frontier(&self, stream: &str) -> Option<(Tick, Tick)> {
        self.0.iter().rev().find_map(|fact| match fact {
            Fact::Frontier { stream: of, through, resume } if of == stream => Some((*through, *resume)),
            _ => None,
        })
    }

    fn through(&self) -> Tick {
        STREAMS.iter().filter_map(|stream| self.frontier(stream)).map(|(through, _)| through).min().unwrap_or_default()
    }

    fn completed(&self) -> Vec<(Id, Tick)> {
        let ended = |fact: &Fact| match fact {
            Fact::ScanCompleted { scan, consistent, .. } => Some((*scan, *consistent)),
            _ => None,
        };
        self.0.iter().filter_map(ended).collect()
    }

    fn running(&self) -> Vec<Id> {
        let mut running = Vec::new();
        for fact in &self.0 {
            match fact {
                Fact::ScanStarted { scan, .. } => running.push(*scan),
                Fact::ScanCompleted { scan, .. } | Fact::ScanAbandoned { scan, .. } => running.retain(|id| id != scan),
                _ => {}
            }
        }
        running.sort_unstable();
        running
    }

    fn gaps(&self) -> Vec<(Tick, Option<Tick>)> {
        let mut gaps = Vec::new();
        for fact in &self.0 {
            match fact {
                Fact::GapOpened { after, .. } => gaps.push((*after, None)),
                Fact::GapClosed { resumes } => gaps.last_mut().unwrap().1 = Some(*resumes),
                _ => {}
            }
        }
        gaps
    }

    /// The last that was said of a stream's claims: which, and whether it is held.
    fn claim(&self, name: &str) -> Option<(u64, bool)> {
        self.0.iter().rev().find_map(|fact| match fact {
            Fact::StreamClaimed { stream, epoch, .. } if stream == name => Some((*epoch, true)),
            Fact::StreamReleased { stream, epoch } if stream == name => Some((*epoch, false)),
            _ => None,
        })
    }

    fn floor(&self) -> u64 {
        let floors =
            self.0.iter().filter_map(|fact| if let Fact::FloorRaised { floor } = fact { Some(*floor) } else { None });
        floors.max().unwrap_or(0)
    }

    /// Whether this may be said in commit `seq`; the rules once more, in other words.
    fn allows(&self, fact: &Fact, seq: u64) -> bool {
        let open = self.gaps().last().is_some_and(|gap| gap.1.is_none());
        match fact {
            Fact::Opened { .. } => false,
            Fact::SegmentAdded(new) => {
                let overlaps = new.stream.as_deref().and_then(|stream| self.frontier(stream));
                let above = overlaps.is_none_or(|(through, _)| new.first > through);
                let said = |old: &Fact| matches!(old, Fact::SegmentAdded(old) if old.id == new.id);
                !self.0.iter().any(said) && above && born(&new.id) >= self.floor()
            }
            Fact::SegmentRemoved(id) => self.live().iter().any(|segment| segment.id == *id),
            Fact::Frontier { stream, through, resume } => {
                self.frontier(stream).is_none_or(|old| old.0 <= *through && old.1 <= *resume)
            }
            Fact::ScanStarted { scan, .. } => {
                !self.running().contains(scan) && !self.completed().iter().any(|(id, _)| id == scan)
            }
            Fact::ScanCompleted { scan, consistent, .. } => {
                let from = self.0.iter().rev().find_map(|fact| match fact {
                    Fact::ScanStarted { scan: id, from } if id == scan => Some(*from),
                    _ => None,
                });
                self.running().contains(scan) && from.is_some_and(|from| from <= *consistent)
            }
            Fact::ScanAbandoned { scan, .. } => self.running().contains(scan),
            Fact::DriftFound { scan, .. } => {
                self.running().contains(scan) || self.completed().iter().any(|(id, _)| id == scan)
            }
            Fact::GapOpened { after, .. } => {
                let known = STREAMS.iter().any(|stream| self.frontier(stream).is_some());
                let behind = self.gaps().last().is_none_or(|gap| gap.1.is_some_and(|resumes| resumes <= *after));
                !open && behind && (!known || *after <= self.through())
            }
            Fact::GapClosed { resumes } => open && self.gaps().last().is_some_and(|gap| gap.0 < *resumes),
            Fact::StreamClaimed { stream, epoch, .. } => *epoch == self.claim(stream).map_or(1, |(last, _)| last + 1),
            Fact::StreamReleased { stream, epoch } | Fact::UnderClaim { stream, epoch } => {
                self.claim(stream) == Some((*epoch, true))
            }
            Fact::FloorRaised { floor } => self.floor() < *floor && *floor <= seq,
            Fact::Identified { .. } => true,
            Fact::Protected { from, .. } | Fact::ProtectedBy { from, .. } => {
                let known = |fact: &Fact| match fact {
                    Fact::Protected { from, .. } | Fact::ProtectedBy { from, .. } => Some(*from),
                    _ => None,
                };
                self.0.iter().rev().find_map(known).is_none_or(|last| last <= *from)
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn the_fold_agrees_with_the_model(steps in proptest::collection::vec(step(), 1..60)) {
        let mut state = empty();
        let mut model = Model(Vec::new());
        let mut seq = 0;
        for step in &steps {
            let facts = facts_of(step, |stream| model.frontier(STREAMS[stream]).map_or(0, |(through, _)| through.to_u64()));
            let said = model.0.len();
            let mut allowed = true;
            for fact in &facts {
                allowed = allowed && model.allows(fact, seq + 1);
                model.0.push(fact.clone());
            }
            let mut next = state.clone();
            prop_assert_eq!(next.check(&facts, Moment { seq: seq + 1, written_at: 0 }).is_ok(), allowed);
            prop_assert_eq!(&next, &state);
            let folded = next.fold(&facts, head(seq + 1));
            prop_assert_eq!(folded.is_ok(), allowed, "{:?}: {:?}", facts, folded);
            if !allowed {
                prop_assert_eq!(&next, &state);
                model.0.truncate(said);
                continue;
            }
            state = next;
            seq += 1;

            let ids = |segments: Vec<&Arc<SegmentInfo>>| segments.iter().map(|segment| segment.id).collect::<Vec<_>>();
            prop_assert_eq!(state.head().seq, seq);
            prop_assert_eq!(state.segments().len(), model.live().len());
            prop_assert_eq!(ids(state.tails().collect()), model.shape(Shape::Tail));
            prop_assert_eq!(ids(state.delta_runs().collect()), model.shape(Shape::DeltaRun));
            prop_assert_eq!(ids(state.base_runs().collect()), model.shape(Shape::BaseRun));
            for stream in STREAMS {
                prop_assert_eq!(state.frontier(stream).map(|f| (f.through, f.resume)), model.frontier(stream));
            }
            let done: Vec<_> = state.completed_scans().iter().map(|scan| (scan.id, scan.consistent)).collect();
            prop_assert_eq!(done, model.completed());
            prop_assert_eq!(state.running_scans().map(|scan| scan.id).collect::<Vec<_>>(), model.running());
            let coverage = state.coverage();
            prop_assert_eq!(coverage.start, model.completed().first().map(|scan| scan.1));
            prop_assert_eq!(coverage.through, model.through());
            prop_assert_eq!(state.floor(), model.floor());
            for stream in STREAMS {
                prop_assert_eq!(state.claim(stream).map(|claim| (claim.epoch, claim.held)), model.claim(stream));
            }
            let copy = image::decode(&image::encode(&state).unwrap(), state.vault(), state.head()).unwrap();
            prop_assert_eq!(&copy, &state);
            prop_assert_eq!(coverage.gaps.iter().map(|gap| (gap.after, gap.resumes)).collect::<Vec<_>>(), model.gaps());
        }
    }
}
