//! The governor with a clock that only pauses move, and with a source that says what the test wants.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::AtomicBool;

use backstay_model::NamespaceKind;
use backstay_source::Error;

use super::*;

/// Reading a batch takes 100 ms, and each holds 1,000,000 bytes.
const BATCH_MS: u64 = 100;
const BATCH_LEN: usize = 1_000_000;

struct Clock(tokio::time::Instant);

impl World for Clock {
    fn now(&self) -> u64 {
        1_763_733_785 + self.elapsed_ms() / 1000
    }

    fn elapsed_ms(&self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }

    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

/// A write each `every_ms`, twenty a second as a rule, that takes `mean_ms`.
struct Busy {
    clock: Arc<dyn World>,
    every_ms: u64,
    mean_ms: Arc<AtomicU64>,
    total: Mutex<(u64, WriteLatency)>,
}

impl Busy {
    fn source(clock: &Arc<dyn World>, every_ms: u64, mean_ms: &Arc<AtomicU64>) -> Arc<dyn Source> {
        Arc::new(Busy { clock: Arc::clone(clock), every_ms, mean_ms: Arc::clone(mean_ms), total: Mutex::default() })
    }
}

#[async_trait]
impl Source for Busy {
    fn interpreter(&self) -> Arc<dyn Interpreter> {
        unreachable!("nothing is interpreted here")
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { snapshot_scans: true, complete_feed: true, hidden: &[] }
    }

    async fn discover(&self) -> Result<Topology> {
        Err(Error::Unavailable { what: "discovering".into(), why: "not wanted".into() })
    }

    async fn position(&self) -> Result<Position> {
        Ok(Position { oldest: Some(Tick::default()), committed: Tick::default() })
    }

    async fn snapshot(&self) -> Result<Tick> {
        Ok(Tick::default())
    }

    async fn write_latency(&self) -> Result<Option<WriteLatency>> {
        let now = self.clock.elapsed_ms();
        let mut total = self.total.lock().unwrap();
        let writes = (now - total.0) / self.every_ms;
        total.0 += writes * self.every_ms;
        total.1.writes += writes;
        total.1.micros += writes * self.mean_ms.load(Ordering::Relaxed) * 1000;
        Ok(Some(total.1))
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        Ok(Vec::new())
    }

    async fn split(&self, _: &Namespace, _: u64) -> Result<Vec<IdRange>> {
        Ok(Vec::new())
    }

    async fn scan(&self, _: &Namespace, _: &IdRange, _: Tick) -> Result<Box<dyn Records>> {
        Ok(Box::new(Endless))
    }

    async fn tail(&self, _: Start) -> Result<Box<dyn Tail>> {
        Err(Error::Unavailable { what: "following".into(), why: "not wanted".into() })
    }
}

struct Endless;

#[async_trait]
impl Records for Endless {
    async fn next(&mut self, batch: &mut RecordBatch) -> Result<bool> {
        tokio::time::sleep(Duration::from_millis(BATCH_MS)).await;
        batch.clear();
        batch.push(b"", &[0; BATCH_LEN]);
        Ok(true)
    }
}

struct Stage {
    clock: Arc<dyn World>,
    mean_ms: Arc<AtomicU64>,
    monitor: Monitor,
    paced: Paced,
    records: Box<dyn Records>,
}

async fn scan(paced: &Paced) -> Box<dyn Records> {
    let namespace = Namespace {
        name: "shop.orders".into(),
        incarnation: backstay_model::Incarnation(9),
        kind: NamespaceKind::Collection,
        definition: Vec::new(),
        bytes: 0,
        records: 0,
    };
    paced.scan(&namespace, &IdRange::all(), Tick::default()).await.unwrap()
}

impl Stage {
    async fn with(pace: Pace) -> Stage {
        Stage::beside(50, 1, pace).await
    }

    /// With a write each `every_ms` that takes `mean_ms`.
    async fn beside(every_ms: u64, mean_ms: u64, pace: Pace) -> Stage {
        let clock: Arc<dyn World> = Arc::new(Clock(tokio::time::Instant::now()));
        let mean_ms = Arc::new(AtomicU64::new(mean_ms));
        let monitor = Monitor::default();
        let paced = Paced::new(Busy::source(&clock, every_ms, &mean_ms), pace, &monitor, &clock);
        // It is the source's, which says nothing here; what counts is when it is asked.
        assert!(paced.discover().await.is_err());
        let records = scan(&paced).await;
        Stage { clock, mean_ms, monitor, paced, records }
    }

    /// How many batches are read in so many seconds.
    async fn batches_in(&mut self, seconds: u64) -> u64 {
        batches_in(seconds, self.records.as_mut(), &self.clock, &self.monitor).await
    }
}

async fn batches_in(seconds: u64, records: &mut dyn Records, clock: &Arc<dyn World>, monitor: &Monitor) -> u64 {
    let end = clock.elapsed_ms() + seconds * 1000;
    let mut batches = 0;
    let mut batch = RecordBatch::default();
    while clock.elapsed_ms() < end && !monitor.is_cancelled() {
        assert!(records.next(&mut batch).await.unwrap());
        batches += 1;
    }
    batches
}

#[tokio::test(start_paused = true)]
async fn without_a_pace_nothing_is_waited_for() {
    let mut stage = Stage::with(Pace::default()).await;
    assert_eq!(stage.batches_in(10).await, 100);
    assert_eq!(stage.paced.waited(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn bytes_keep_to_the_limit() {
    let mut stage = Stage::with(Pace { bytes_per_second: Some(2e6), ..Pace::default() }).await;
    let batches = stage.batches_in(100).await;
    assert!((199..=201).contains(&batches), "{batches}");
    assert!(stage.paced.waited() > Duration::from_secs(75), "{:?}", stage.paced.waited());
}

/// A capture scans over a gap while writes are slow, follows for an hour, and scans over another.
#[tokio::test(start_paused = true)]
async fn time_between_scans_is_no_work_to_rest_from() {
    let mut stage = Stage::with(Pace { target: Some(Duration::from_millis(20)), ..Pace::default() }).await;
    stage.mean_ms.store(50, Ordering::Relaxed);
    stage.batches_in(60).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    stage.records = scan(&stage.paced).await;
    let batches = stage.batches_in(60).await;
    assert!((20..60).contains(&batches), "a twentieth of the time: {batches} of 600");
}

#[tokio::test(start_paused = true)]
async fn slow_writes_slow_the_scan_down_and_quick_ones_let_it_go_on() {
    let bounds =
        Pace { target: Some(Duration::from_millis(20)), ceiling: Some(Duration::from_millis(200)), ..Pace::default() };
    let mut stage = Stage::with(bounds).await;
    stage.batches_in(20).await;
    assert_eq!(stage.batches_in(10).await, 100, "writes take 1 ms, and a scan grows from its slow start");
    stage.mean_ms.store(50, Ordering::Relaxed);
    stage.batches_in(20).await;
    let slowly = stage.batches_in(60).await;
    assert!((20..60).contains(&slowly), "a twentieth of the time: {slowly} of 600");
    stage.mean_ms.store(1, Ordering::Relaxed);
    stage.batches_in(120).await;
    assert_eq!(stage.batches_in(10).await, 100, "and it is back at its full speed");
    stage.mean_ms.store(500, Ordering::Relaxed);
    stage.batches_in(3).await;
    let hardly = stage.batches_in(60).await;
    assert!((15..40).contains(&hardly), "it all but stops at once, and never wholly: {hardly}");
}

fn target(millis: u64) -> Pace {
    Pace { target: Some(Duration::from_millis(millis)), ..Pace::default() }
}

#[tokio::test(start_paused = true)]
async fn beside_others_a_scan_begins_slowly_and_rests_now_and_then() {
    let mut stage = Stage::beside(50, 10, target(50)).await;
    let begun = stage.batches_in(2).await;
    assert!(begun < 8, "a tenth of the time, and a little more: {begun} of 20");
    stage.batches_in(30).await;
    let mut second = scan(&stage.paced).await;
    let Stage { clock, monitor, records, .. } = &mut stage;
    let (first, second) = tokio::join!(
        batches_in(60, records.as_mut(), clock, monitor),
        batches_in(60, second.as_mut(), clock, monitor),
    );
    for batches in [first, second] {
        assert!((550..=580).contains(&batches), "writes take what they took; both rest, six times: {first}, {second}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_nobody_writes_a_scan_begins_at_full_speed() {
    let mut stage = Stage::beside(u64::MAX, 1, target(50)).await;
    assert_eq!(stage.batches_in(10).await, 100);
    assert!(stage.paced.waited() < Duration::from_millis(100), "{:?}", stage.paced.waited());
}

#[tokio::test(start_paused = true)]
async fn few_writes_that_take_long_are_seen() {
    let mut stage = Stage::beside(400, 800, target(50)).await;
    stage.batches_in(60).await;
    let slowly = stage.batches_in(60).await;
    assert!(slowly < 60, "a twentieth of the time: {slowly} of 600");
}

#[tokio::test(start_paused = true)]
async fn closed_hours_are_waited_for_until_it_is_told_to_stop() {
    let is_open = Arc::new(AtomicBool::new(true));
    let door = Arc::clone(&is_open);
    let closed_for: ClosedFor = Arc::new(move || match door.load(Ordering::Relaxed) {
        true => Duration::ZERO,
        false => Duration::from_secs(3600),
    });
    let mut stage = Stage::with(Pace { closed_for: Some(closed_for), ..Pace::default() }).await;
    assert_eq!(stage.batches_in(10).await, 100);
    is_open.store(false, Ordering::Relaxed);
    let opening = async {
        tokio::time::sleep(Duration::from_secs(600)).await;
        is_open.store(true, Ordering::Relaxed);
    };
    let (batches, ()) = tokio::join!(stage.batches_in(700), opening);
    assert!((900..=1010).contains(&batches), "about 100 seconds were left: {batches}");
    is_open.store(false, Ordering::Relaxed);
    let monitor = stage.monitor.clone();
    let cancelling = async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        monitor.cancel();
    };
    let (batches, ()) = tokio::join!(stage.batches_in(3600), cancelling);
    assert!(batches <= 1, "it ends where it stood: {batches}");
}
