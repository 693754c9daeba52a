//! The tenants at work: a bounded stream of inserts, updates and deletes, and a book of what the server acknowledged.
//!
//! Each lane writes the documents whose number leaves its own remainder, so that no two lanes write one document and
//! the book needs no order between them. A document's entry in the book is its revision, which is all that is needed
//! to know its every byte (see `shop`). One tenant can be closed: from then on nothing of it is written.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bson::{RawDocumentBuf, doc};
use mongodb::{Client, Collection};
use tokio::sync::RwLock;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::shop::{DATABASE, Kind, VICTIM, mix, tenant};

/// How many writes there are in a second, at most.
pub const WRITES_PER_SECOND: u32 = 500;
const LANES: u32 = 10;

/// The revision of every document, by its number; 0 where there is none.
#[derive(Clone, Debug)]
pub struct Book {
    orders: Vec<u32>,
    customers: Vec<u32>,
}

impl Book {
    fn new() -> Book {
        let all = |kind: Kind| vec![1; kind.count() as usize];
        Book { orders: all(Kind::Order), customers: all(Kind::Customer) }
    }

    /// The revisions of one kind.
    pub fn revisions(&self, kind: Kind) -> &[u32] {
        match kind {
            Kind::Order => &self.orders,
            Kind::Customer => &self.customers,
        }
    }

    fn revision(&self, kind: Kind, number: u32) -> u32 {
        self.revisions(kind).get(number as usize).copied().unwrap_or_default()
    }

    fn set(&mut self, kind: Kind, number: u32, revision: u32) {
        let revisions = match kind {
            Kind::Order => &mut self.orders,
            Kind::Customer => &mut self.customers,
        };
        let place = number as usize;
        if revisions.len() <= place {
            revisions.resize(place + 1, 0);
        }
        revisions[place] = revision;
    }
}

struct Shared {
    book: Mutex<Book>,
    acknowledged: AtomicU64,
    stop: AtomicBool,
    /// True once the victim is closed. A lane holds it for reading while it writes.
    closed: RwLock<bool>,
}

/// The lanes; they end when this is dropped.
pub struct Writers {
    shared: Arc<Shared>,
    lanes: JoinSet<Result<()>>,
}

impl Writers {
    /// Starts to write.
    pub fn start(client: &Client) -> Writers {
        let shared = Arc::new(Shared {
            book: Mutex::new(Book::new()),
            acknowledged: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            closed: RwLock::new(false),
        });
        let mut lanes = JoinSet::new();
        for number in 0..LANES {
            let lane = Lane {
                shared: Arc::clone(&shared),
                client: client.clone(),
                number,
                draws: 0,
                next: Kind::Order.count().next_multiple_of(LANES) + number,
            };
            lanes.spawn(lane.run());
        }
        Writers { shared, lanes }
    }

    /// How many writes the server has acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::SeqCst)
    }

    /// Returns when nothing is written for the victim any more.
    pub async fn close_victim(&self) {
        *self.shared.closed.write().await = true;
    }

    /// Stops, and returns the book.
    ///
    /// # Errors
    /// When a write failed.
    pub async fn stop(mut self) -> Result<Book> {
        self.shared.stop.store(true, Ordering::SeqCst);
        while let Some(lane) = self.lanes.join_next().await {
            lane?.context("a writer of the shop failed")?;
        }
        Ok(self.shared.book.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

struct Lane {
    shared: Arc<Shared>,
    client: Client,
    number: u32,
    draws: u64,
    /// The number of the next new order.
    next: u32,
}

enum Write {
    Insert,
    Change,
    Delete,
}

impl Lane {
    async fn run(mut self) -> Result<()> {
        let mut pace = interval(Duration::from_secs(1) * LANES / WRITES_PER_SECOND);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.shared.stop.load(Ordering::SeqCst) {
            pace.tick().await;
            let shared = Arc::clone(&self.shared);
            let closed = shared.closed.read().await;
            let (write, kind, number) = self.choose(*closed);
            self.write(&write, kind, number).await?;
        }
        Ok(())
    }

    /// Four of five writes change something, one in six is a new order, a few orders go.
    fn choose(&mut self, closed: bool) -> (Write, Kind, u32) {
        loop {
            self.draws += 1;
            let bits = mix(u64::from(self.number) << 48 | self.draws);
            let kind = if bits & 7 == 0 { Kind::Customer } else { Kind::Order };
            let write = match (kind, (bits >> 8) % 20) {
                (Kind::Order, 0) => Write::Delete,
                (Kind::Order, 1..=3) => Write::Insert,
                _ => Write::Change,
            };
            let number = match write {
                Write::Insert => {
                    self.next += LANES;
                    self.next - LANES
                }
                Write::Change | Write::Delete => {
                    let draw = (bits >> 32) % u64::from(kind.count() / LANES);
                    u32::try_from(draw).unwrap_or_default() * LANES + self.number
                }
            };
            let exists = self.revision(kind, number) > 0;
            if exists != matches!(write, Write::Insert) && !(closed && tenant(number) == VICTIM) {
                return (write, kind, number);
            }
        }
    }

    fn revision(&self, kind: Kind, number: u32) -> u32 {
        self.shared.book.lock().unwrap_or_else(PoisonError::into_inner).revision(kind, number)
    }

    async fn write(&self, write: &Write, kind: Kind, number: u32) -> Result<()> {
        let collection: Collection<RawDocumentBuf> = self.client.database(DATABASE).collection(kind.collection());
        let filter = doc! { "_id": kind.id(number) };
        // Between the accident and its closing the victim's writers find documents gone, and so does nobody else.
        let expected = |found: u64| found == 1 || tenant(number) == VICTIM;
        let revision = match write {
            Write::Insert => {
                collection.insert_one(kind.document(number, 1)).await?;
                1
            }
            Write::Change => {
                let revision = self.revision(kind, number) + 1;
                let done = collection.update_one(filter, kind.change(number, revision)).await?;
                ensure!(expected(done.matched_count), "there is no {} in {kind} to change", kind.id(number));
                revision
            }
            Write::Delete => {
                let done = collection.delete_one(filter).await?;
                ensure!(expected(done.deleted_count), "there is no {} in {kind} to delete", kind.id(number));
                0
            }
        };
        self.shared.book.lock().unwrap_or_else(PoisonError::into_inner).set(kind, number, revision);
        self.shared.acknowledged.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}
