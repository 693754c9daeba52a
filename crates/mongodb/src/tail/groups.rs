//! When the events of a tick are all there. Pure.
//!
//! ```text
//!   events   a@7  t@8 t@8 t@8  b@9 …      each tick is handed over when something shows that it is over: a later event, a later
//!                                         mark, or silence
//! ```
//!
//! One oplog entry may give many events: that of a transaction, and since 6.1 also those of many inserts or deletes at
//! once, which say nothing of belonging together. All share the entry's tick, and none says that it is the last. So the newest
//! tick is held back; when its events are more than [`Groups::bound`], those that came are handed over in batches that
//! [continue](EntryBatch::continues), and the newest stays back, so that the batch that ends the tick has something of it.

use backstay_model::{EntryBatch, Tick};

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// It is taken care of; the next one may come.
    Taken,
    /// It is, and the batch is to be handed over before the next one.
    Last,
    /// The batch is to be handed over first, and the event offered again.
    Full,
}

/// Events in, whole ticks out.
#[derive(Debug)]
pub(super) struct Groups {
    /// Bytes in a batch beyond which it takes no more.
    bound: usize,
    /// Every change at or before this tick was handed over, or is in the batch that is being filled.
    complete: Tick,
    /// The newest tick at or before [`Groups::complete`] that has events.
    last: Option<Tick>,
    /// The tick whose end is not known yet.
    open: Option<Tick>,
    /// Its events that were not handed over.
    events: Vec<Vec<u8>>,
    bytes: usize,
    /// Some of its events were handed over.
    continued: bool,
}

impl Groups {
    /// Everything up to and with `through` is held already; `last` has the newest events of it, if that is known.
    pub(super) fn new(through: Tick, last: Option<Tick>, bound: usize) -> Groups {
        Groups { bound, complete: through, last, open: None, events: Vec::new(), bytes: 0, continued: false }
    }

    /// Up to where everything was taken.
    pub(super) fn complete(&self) -> Tick {
        self.complete
    }

    /// True when events were taken of which none was handed over yet.
    pub(super) fn holds(&self) -> bool {
        !self.events.is_empty() && !self.continued
    }

    /// Takes the event `raw` at `at`; `None` for one that is not wanted, and counts all the same. Events come in order.
    pub(super) fn accept(&mut self, at: Tick, raw: Option<&[u8]>, batch: &mut EntryBatch) -> Fit {
        if self.open == Some(at) {
            return raw.map_or(Fit::Taken, |raw| self.accept_more(at, raw, batch));
        }
        if self.open.is_some() {
            let alone = self.continued;
            if !alone && !batch.is_empty() && batch.bytes() + self.bytes > self.bound {
                return Fit::Full;
            }
            self.settle(batch);
            // What continues has its last batch to itself.
            if alone {
                return Fit::Full;
            }
        }
        self.open = Some(at);
        raw.into_iter().for_each(|raw| self.hold(raw));
        self.complete = self.complete.max(at.previous());
        Fit::Taken
    }

    fn accept_more(&mut self, at: Tick, raw: &[u8], batch: &mut EntryBatch) -> Fit {
        if self.bytes + raw.len() <= self.bound {
            self.hold(raw);
            return Fit::Taken;
        }
        if !batch.is_empty() {
            return Fit::Full;
        }
        self.hand_over(at, batch);
        self.hold(raw);
        self.continued = true;
        Fit::Last
    }

    /// Everything up to and with `through` has been offered.
    pub(super) fn reach(&mut self, through: Tick, batch: &mut EntryBatch) {
        if self.open.is_none_or(|open| open <= through) {
            self.settle(batch);
            self.complete = self.complete.max(through);
        }
    }

    /// Nothing more is to come of what was begun.
    pub(super) fn settle(&mut self, batch: &mut EntryBatch) {
        let Some(at) = self.open.take() else { return };
        self.hand_over(at, batch);
        self.complete = self.complete.max(at);
        self.last = Some(at);
        self.continued = false;
    }

    /// Ends a batch. It resumes with the newest tick that has events, where there is one.
    pub(super) fn finish(&self, batch: &mut EntryBatch) {
        (batch.through, batch.resume) = (self.complete, self.last.map_or(self.complete, Tick::previous));
        batch.continues = self.continued;
    }

    fn hold(&mut self, raw: &[u8]) {
        self.bytes += raw.len();
        self.events.push(raw.to_vec());
    }

    fn hand_over(&mut self, at: Tick, batch: &mut EntryBatch) {
        for event in self.events.drain(..) {
            batch.push(at, &event);
        }
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn t(n: u32) -> Tick {
        Tick::new(n, 0)
    }

    /// A tick, and how many events it has.
    fn feeds() -> impl Strategy<Value = Vec<(u32, usize)>> {
        let steps = prop::collection::vec((1u32..4, prop_oneof![Just(1), 1usize..9]), 1..20);
        steps.prop_map(|steps| {
            let mut at = 10;
            let feed = steps.into_iter().map(|(step, times)| {
                at += step;
                (at, times)
            });
            feed.collect()
        })
    }

    proptest! {
        /// Cut into replies anywhere, and settled by whatever settles: each event once, in order, and nothing of a tick
        /// counts before all of it is there.
        #[test]
        fn a_tick_counts_when_all_of_it_is_there(
            feed in feeds(), cuts in prop::collection::vec(any::<bool>(), 200), bound in 1usize..40, silent in any::<bool>(),
        ) {
            let events: Vec<(u32, Vec<u8>)> = feed
                .iter()
                .flat_map(|(at, times)| (0..*times).map(move |n| (*at, vec![u8::try_from(n).unwrap(); 5])))
                .collect();
            let mut groups = Groups::new(t(10), None, bound);
            let (mut out, mut through, mut unfinished) = (Vec::<(Tick, Vec<u8>)>::new(), t(10), None);
            let mut hand_over = |groups: &Groups, batch: &mut EntryBatch| {
                groups.finish(batch);
                let anchor = feed.iter().map(|(at, _)| t(*at)).filter(|at| *at <= batch.through).max();
                assert!(batch.through >= through && batch.resume == anchor.map_or(batch.through, Tick::previous));
                let ticks: Vec<Tick> = batch.iter().map(|(at, _)| at).collect();
                if let Some(tick) = unfinished && !batch.is_empty() {
                    assert!(ticks.iter().all(|at| *at == tick), "what continues comes alone: {ticks:?} after {tick}");
                }
                let whole = ticks.iter().all(|at| *at > through && *at <= batch.through);
                assert!(whole || batch.continues);
                if batch.continues {
                    unfinished = ticks.last().copied().or(unfinished);
                    assert!(batch.through < unfinished.unwrap());
                } else {
                    assert!(unfinished.take().is_none_or(|tick| ticks.first() == Some(&tick)), "it ends with something");
                }
                through = batch.through;
                out.extend(batch.iter().map(|(at, raw)| (at, raw.to_vec())));
                batch.clear();
            };
            let mut batch = EntryBatch::default();
            for (n, (at, raw)) in events.iter().enumerate() {
                if cuts[n % cuts.len()] {
                    hand_over(&groups, &mut batch);
                }
                let mut fit = groups.accept(t(*at), Some(raw), &mut batch);
                while fit == Fit::Full {
                    hand_over(&groups, &mut batch);
                    fit = groups.accept(t(*at), Some(raw), &mut batch);
                }
                if fit == Fit::Last {
                    hand_over(&groups, &mut batch);
                }
            }
            let last = t(events.last().unwrap().0);
            hand_over(&groups, &mut batch);
            if silent { groups.settle(&mut batch) } else { groups.reach(last.next(), &mut batch) }
            hand_over(&groups, &mut batch);
            prop_assert!(through >= last);
            let expected: Vec<(Tick, Vec<u8>)> = events.iter().map(|(at, raw)| (t(*at), raw.clone())).collect();
            prop_assert_eq!(out, expected);
        }
    }
}
