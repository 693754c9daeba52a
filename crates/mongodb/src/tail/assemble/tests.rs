#![allow(clippy::unwrap_used)]

use super::*;
use crate::interpret::oplog::header;
use bson::{Document, RawDocumentBuf, Timestamp, doc};

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
        Feed { assembler: Assembler::new(start), batch: EntryBatch::default(), position: t(resume) }
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
    let pieces = vec![RawDocumentBuf::try_from(&piece(4, 7, 0, doc! { "partialTxn": true })).unwrap().into_bytes()];
    feed.assembler.adopt(key, Chain { pieces, before: t(3), prepared: None });
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
