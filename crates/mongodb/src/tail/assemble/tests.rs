#![allow(clippy::unwrap_used)]

use super::*;
use crate::interpret::oplog::header;
use bson::{Document, RawDocumentBuf, Timestamp, doc};
use proptest::prelude::*;

/// All in memory, and handed over as soon as it is visible.
const ENDLESS: Bounds = Bounds { memory: usize::MAX, batch: usize::MAX };

fn t(n: u32) -> Tick {
    Tick::new(n, 0)
}

fn ts(n: u32) -> Timestamp {
    Timestamp { time: n, increment: 0 }
}

fn plain(at: u32) -> Document {
    doc! { "op": "i", "ns": "a.b", "o": { "_id": 1 }, "ts": ts(at) }
}

fn piece(at: u32, session: i32, previous: u32, more: Document) -> Document {
    let mut o = doc! { "applyOps": [] };
    o.extend(more);
    command(at, session, previous, o)
}

fn command(at: u32, session: i32, previous: u32, o: Document) -> Document {
    doc! {
        "op": "c", "ns": "admin.$cmd", "o": o, "ts": ts(at), "lsid": { "id": session }, "txnNumber": 1i64,
        "prevOpTime": { "ts": ts(previous), "t": 1i64 },
    }
}

struct Feed {
    assembler: Assembler,
    batch: EntryBatch,
    position: Tick,
}

impl Feed {
    fn new(resume: u32, through: u32) -> Feed {
        let start = Start { resume: t(resume), through: t(through) };
        Feed::bounded(start, ENDLESS)
    }

    fn bounded(start: Start, bounds: Bounds) -> Feed {
        let assembler = Assembler::new(start, bounds, std::env::temp_dir());
        Feed { assembler, batch: EntryBatch::default(), position: start.resume }
    }

    fn offer(&mut self, entry: &Document) -> Outcome {
        let raw = RawDocumentBuf::try_from(entry).unwrap();
        let header = header(raw.as_bytes()).unwrap();
        let outcome = self.assembler.accept(&header, raw.as_bytes(), self.position, &mut self.batch).unwrap();
        if outcome == Outcome::Done {
            self.position = header.ts;
        }
        outcome
    }

    /// Visible ticks, then how far it has come, and where to resume.
    fn take(&mut self, entries: &[Document]) -> (Vec<u32>, u32, u32) {
        for entry in entries {
            assert_eq!(self.offer(entry), Outcome::Done);
        }
        self.assembler.finish(self.position, &mut self.batch);
        let visible = self.batch.iter().map(|(tick, _)| tick.seconds()).collect();
        self.batch.clear();
        (visible, self.batch.through.seconds(), self.batch.resume.seconds())
    }
}

#[test]
fn a_chain_is_handed_over_whole_at_its_last_piece() {
    let mut feed = Feed::new(1, 1);
    let partial = doc! { "partialTxn": true };
    let (first, second) = (piece(2, 7, 0, partial.clone()), piece(4, 7, 2, partial));
    assert_eq!(feed.take(&[first, plain(3), second, plain(5)]), (vec![3, 5], 5, 1));
    assert_eq!(feed.take(&[piece(6, 7, 4, doc! { "count": 3 }), plain(7)]), (vec![6, 6, 6, 7], 7, 7));
}

#[test]
fn a_single_entry_and_vectored_inserts_are_visible_at_once() {
    let mut feed = Feed::new(1, 1);
    let mut vectored = piece(3, 7, 2, doc! {});
    vectored.insert("multiOpType", 1);
    assert_eq!(feed.take(&[piece(2, 7, 0, doc! {}), vectored]), (vec![2, 3], 3, 3));
}

#[test]
fn a_prepared_transaction_holds_back_what_may_come_after_it() {
    let mut feed = Feed::new(1, 1);
    let prepare = piece(3, 7, 0, doc! { "prepare": true });
    assert_eq!(feed.take(&[plain(2), prepare, plain(5), plain(8)]), (vec![2], 2, 2));
    let commit = command(9, 7, 3, doc! { "commitTransaction": 1, "commitTimestamp": ts(6) });
    assert_eq!(feed.take(&[commit, plain(10)]), (vec![5, 6, 6, 8, 10], 10, 10));
}

#[test]
fn two_prepared_transactions_are_ordered_by_their_commit_ticks() {
    let mut feed = Feed::new(1, 1);
    let prepare = |at, session| piece(at, session, 0, doc! { "prepare": true });
    let commit = |at, session, previous, visible| {
        command(at, session, previous, doc! { "commitTransaction": 1, "commitTimestamp": ts(visible) })
    };
    assert_eq!(feed.take(&[prepare(2, 1), prepare(4, 2), plain(5), commit(8, 1, 2, 7)]), (vec![], 3, 1));
    assert_eq!(feed.take(&[plain(9)]), (vec![], 3, 1));
    assert_eq!(feed.take(&[commit(10, 2, 4, 6)]), (vec![5, 6, 6, 7, 7, 9], 10, 10));
}

#[test]
fn an_aborted_transaction_leaves_nothing() {
    let mut feed = Feed::new(1, 1);
    let abort = command(5, 7, 2, doc! { "abortTransaction": 1 });
    let entries = [piece(2, 7, 0, doc! { "prepare": true }), plain(4), abort];
    assert_eq!(feed.take(&entries), (vec![4], 5, 5));
}

#[test]
fn earlier_pieces_are_asked_for() {
    let mut feed = Feed::new(5, 5);
    let last = piece(6, 7, 4, doc! { "count": 2 });
    let Outcome::Missing { key, last: at } = feed.offer(&last) else { panic!("the first piece is not here") };
    assert_eq!(at, t(4));
    let first = RawDocumentBuf::try_from(&piece(4, 7, 0, doc! { "partialTxn": true })).unwrap();
    let mut chain = Chain { before: t(3), ..Chain::default() };
    feed.assembler.keep(&mut chain, first.as_bytes()).unwrap();
    feed.assembler.adopt(key, chain);
    assert_eq!(feed.take(&[last]), (vec![6, 6], 6, 6));
}

#[test]
fn what_is_held_already_is_not_handed_over_again() {
    let mut feed = Feed::new(1, 4);
    let chain = [piece(2, 7, 0, doc! { "partialTxn": true }), piece(4, 7, 2, doc! { "count": 2 })];
    assert_eq!(feed.take(&chain), (vec![], 4, 4));
    assert_eq!(feed.take(&[plain(5)]), (vec![5], 5, 5));
    let mut feed = Feed::new(1, 9);
    assert_eq!(feed.take(&[plain(2)]), (vec![], 9, 2));
}

#[test]
fn pieces_of_a_dead_primary_are_forgotten() {
    let mut feed = Feed::new(1, 1);
    let entries = [piece(2, 7, 0, doc! { "partialTxn": true }), piece(3, 8, 0, doc! { "prepare": true })];
    assert_eq!(feed.take(&entries), (vec![], 2, 1));
    let elected = doc! { "op": "n", "ns": "", "o": { "msg": "new primary" }, "ts": ts(4) };
    assert_eq!(feed.take(&[elected]), (vec![], 2, 2));
}

/// A batch as it was handed over.
#[derive(Debug, Clone, PartialEq)]
struct Handed {
    entries: Vec<(Tick, Vec<u8>)>,
    through: Tick,
    resume: Tick,
    continues: bool,
}

impl Feed {
    /// Reads `oplog` after the position as a tail does, `reply` entries at a time, and fetches what lies before it.
    fn follow(&mut self, oplog: &[RawDocumentBuf], reply: usize) -> Vec<Handed> {
        let rest: Vec<&[u8]> = oplog.iter().map(|raw| raw.as_bytes()).collect();
        let after = rest.partition_point(|raw| header(raw).unwrap().ts <= self.position);
        let mut replies = rest[after..].chunks(reply.max(1));
        let (mut unread, mut handed) = (None, Vec::new());
        loop {
            self.batch.clear();
            self.assembler.release(&mut self.batch).unwrap();
            let mut ended = false;
            if self.batch.is_empty() {
                match unread.take().or_else(|| replies.next()) {
                    Some(reply) => unread = self.read(oplog, reply),
                    None => ended = true,
                }
            }
            self.assembler.finish(self.position, &mut self.batch);
            handed.push(Handed {
                entries: self.batch.iter().map(|(visible, raw)| (visible, raw.to_vec())).collect(),
                through: self.batch.through,
                resume: self.batch.resume,
                continues: self.batch.continues,
            });
            if ended {
                return handed;
            }
        }
    }

    /// Reads a reply, or what of it goes into the batch; returns the rest.
    fn read<'r>(&mut self, oplog: &[RawDocumentBuf], reply: &'r [&'r [u8]]) -> Option<&'r [&'r [u8]]> {
        for (number, raw) in reply.iter().enumerate() {
            let entry = header(raw).unwrap();
            while let Outcome::Missing { key, last } =
                self.assembler.accept(&entry, raw, self.position, &mut self.batch).unwrap()
            {
                let chain = self.fetch(oplog, last);
                self.assembler.adopt(key, chain);
            }
            self.position = entry.ts;
            if self.assembler.is_behind() {
                return Some(&reply[number + 1..]).filter(|rest| !rest.is_empty());
            }
        }
        None
    }

    fn fetch(&mut self, oplog: &[RawDocumentBuf], mut at: Tick) -> Chain {
        let (mut pieces, mut chain) = (Vec::new(), Chain::default());
        while at > Tick::ZERO {
            let place = oplog.iter().position(|raw| header(raw.as_bytes()).unwrap().ts == at).unwrap();
            let found = header(oplog[place].as_bytes()).unwrap();
            chain.before = place.checked_sub(1).map_or(Tick::ZERO, |place| header(oplog[place].as_bytes()).unwrap().ts);
            chain.prepared = chain.prepared.or(found.prepare.then_some(at));
            pieces.push(place);
            at = found.prev_op_time;
        }
        for place in pieces.into_iter().rev() {
            self.assembler.keep(&mut chain, oplog[place].as_bytes()).unwrap();
        }
        chain
    }
}

/// An oplog of entries, chains and prepared transactions that overlap, of all sizes; and what becomes visible of it.
#[derive(Debug)]
struct Oplog {
    entries: Vec<RawDocumentBuf>,
    /// By tick.
    visible: Vec<(Tick, Vec<u8>)>,
    /// Nothing that is visible from here on is told: what is prepared may yet come before.
    limit: Tick,
}

#[derive(Debug, Clone, Copy)]
struct Running {
    session: i32,
    last: u32,
    prepared: Option<u32>,
}

/// What a number makes happen at each tick.
fn oplog(numbers: &[(u8, u8, u16)]) -> Oplog {
    let mut entries: Vec<RawDocumentBuf> = Vec::new();
    let mut open: Vec<(Running, Vec<usize>)> = Vec::new();
    let mut whole: Vec<(u32, Vec<usize>)> = Vec::new();
    let mut sessions = 0;
    for (number, (what, which, size)) in numbers.iter().enumerate() {
        let at = u32::try_from(number).unwrap() + 10;
        let noise = bson::Binary {
            subtype: bson::spec::BinarySubtype::Generic,
            bytes: (0..*size).map(|n| (n ^ u16::from(*what)) as u8).collect(),
        };
        let mine = entries.len();
        let chosen = (!open.is_empty()).then(|| usize::from(*which) % open.len());
        let entry = match (what % 8, chosen) {
            (0, _) | (2..=7, None) => {
                whole.push((at, vec![mine]));
                let mut entry = plain(at);
                entry.insert("pad", noise);
                entry
            }
            (1, _) => {
                sessions += 1;
                open.push((Running { session: sessions, last: at, prepared: None }, vec![mine]));
                let mut entry = piece(at, sessions, 0, doc! { "partialTxn": true });
                entry.insert("pad", noise);
                entry
            }
            (act, Some(chosen)) => {
                let (running, pieces) = &mut open[chosen];
                let Running { session, last, prepared } = *running;
                let end = |o| command(at, session, last, o);
                match (act, prepared) {
                    (2..=4, None) => {
                        pieces.push(mine);
                        running.last = at;
                        let mut entry = piece(at, session, last, doc! { "partialTxn": true });
                        entry.insert("pad", noise);
                        entry
                    }
                    (5, None) => {
                        pieces.push(mine);
                        (running.last, running.prepared) = (at, Some(at));
                        let mut entry = piece(at, session, last, doc! { "prepare": true });
                        entry.insert("pad", noise);
                        entry
                    }
                    (2..=5, Some(prepared)) => {
                        let (_, mut pieces) = open.remove(chosen);
                        pieces.push(mine);
                        let visible = prepared + u32::from(*size) % (at - prepared + 1);
                        whole.push((visible, pieces));
                        end(doc! { "commitTransaction": 1, "commitTimestamp": ts(visible) })
                    }
                    (6, None) => {
                        let (_, mut pieces) = open.remove(chosen);
                        pieces.push(mine);
                        whole.push((at, pieces));
                        piece(at, session, last, doc! { "count": 9 })
                    }
                    _ => {
                        open.remove(chosen);
                        end(doc! { "abortTransaction": 1 })
                    }
                }
            }
            (_, None) => unreachable!("every other number was handled"),
        };
        entries.push(RawDocumentBuf::try_from(&entry).unwrap());
    }
    let limit = open.iter().filter_map(|(running, _)| running.prepared).min().map_or(Tick::MAX, t);
    whole.sort_by_key(|(visible, _)| *visible);
    let visible = whole.into_iter().filter(|(visible, _)| t(*visible) < limit);
    let visible = visible.flat_map(|(visible, pieces)| pieces.into_iter().map(move |piece| (t(visible), piece)));
    let visible = visible.map(|(visible, piece)| (visible, entries[piece].as_bytes().to_vec())).collect();
    Oplog { entries, visible, limit }
}

fn numbers() -> impl Strategy<Value = Vec<(u8, u8, u16)>> {
    let size = prop_oneof![4 => 0..200u16, 1 => 0..3000u16];
    prop::collection::vec((any::<u8>(), any::<u8>(), size), 0..80)
}

proptest! {
    /// However little is kept in memory, and however small the batches are: the same entries in the same order, batches
    /// of bounded size, and no tick shared by batches that do not say so.
    #[test]
    fn bounds_change_nothing_but_where_batches_end(
        numbers in numbers(), memory in 0..4000usize, batch in 1..2000usize, reply in 1..30usize,
    ) {
        let oplog = oplog(&numbers);
        let start = Start { resume: t(1), through: t(1) };
        let endless = Feed::bounded(start, ENDLESS).follow(&oplog.entries, reply);
        let mut feed = Feed::bounded(start, Bounds { memory, batch });
        let handed = feed.follow(&oplog.entries, reply);
        let all = |handed: &[Handed]| handed.iter().flat_map(|batch| batch.entries.clone()).collect::<Vec<_>>();
        prop_assert!(all(&endless) == oplog.visible, "what is visible, by its tick");
        prop_assert!(all(&handed) == oplog.visible, "the same in pieces");
        let last = |handed: &[Handed]| handed.last().map(|last| (last.through, last.resume, last.continues));
        prop_assert_eq!(last(&handed), last(&endless));
        prop_assert!(last(&handed).is_none_or(|(through, _, continues)| through < oplog.limit && !continues));
        let mut told = t(1);
        for (number, this) in handed.iter().enumerate() {
            prop_assert!(this.through >= told, "it does not move back");
            let next = handed.get(number + 1);
            let end = this.entries.last().map(|(visible, _)| *visible);
            let goes_on = next.is_some_and(|next| end.is_some() && next.entries.first().map(|(tick, _)| *tick) == end);
            prop_assert_eq!(this.continues, goes_on);
            if this.continues {
                let within = next.is_some_and(|next| next.entries.iter().all(|(visible, _)| Some(*visible) == end));
                prop_assert!(within, "what goes on has the next batch to itself");
                prop_assert!(Some(this.through) < end, "a tick does not count before it is whole");
            }
            prop_assert!(end.is_none_or(|end| this.continues || end <= this.through));
            told = this.through;
        }
        prop_assert!(feed.assembler.spool.is_empty() || oplog.limit < Tick::MAX || !feed.assembler.open.is_empty());
    }

    /// Whoever starts again where any whole batch ended gets exactly what is missing.
    #[test]
    fn a_restart_loses_and_doubles_nothing(
        numbers in numbers(), memory in 0..4000usize, batch in 1..2000usize, reply in 1..30usize, at in any::<prop::sample::Index>(),
    ) {
        let oplog = oplog(&numbers);
        let (start, bounds) = (Start { resume: t(1), through: t(1) }, Bounds { memory, batch });
        let handed = Feed::bounded(start, bounds).follow(&oplog.entries, reply);
        let at = at.index(handed.len());
        let told = handed[at].through;
        let start = Start { resume: handed[at].resume, through: told };
        let kept = handed[..=at].iter().flat_map(|batch| batch.entries.clone()).filter(|(visible, _)| *visible <= told);
        let mut again = Feed::bounded(start, bounds);
        // As a tail does: what is prepared before the position is known before anything is read.
        for (key, chain) in prepared_before(&mut again, &oplog.entries) {
            again.assembler.adopt(key, chain);
        }
        let rest = again.follow(&oplog.entries, reply);
        let all: Vec<_> = kept.chain(rest.iter().flat_map(|batch| batch.entries.clone())).collect();
        prop_assert!(all == oplog.visible, "from {start:?}: {} entries instead of {}", all.len(), oplog.visible.len());
    }
}

/// The transactions that are prepared at or before the position and end after it.
fn prepared_before(feed: &mut Feed, oplog: &[RawDocumentBuf]) -> Vec<(Key, Chain)> {
    let mut prepared: std::collections::BTreeMap<Vec<u8>, (Key, Tick)> = std::collections::BTreeMap::new();
    for raw in oplog {
        let entry = header(raw.as_bytes()).unwrap();
        let Some(id) = entry.transaction.filter(|_| entry.ts <= feed.position) else { continue };
        match entry.part() {
            Part::Pending if entry.prepare => drop(prepared.insert(id.lsid.to_vec(), (id.into(), entry.ts))),
            Part::Commit(_) | Part::Abort => drop(prepared.remove(id.lsid)),
            _ => {}
        }
    }
    prepared.into_values().map(|(key, last)| (key, feed.fetch(oplog, last))).collect()
}
