//! A toy's feed with batches so small that what shares a tick comes in several.

use std::collections::VecDeque;

use async_trait::async_trait;
use backstay_model::Tick;
use backstay_sim::toy::ToySource;
use backstay_source::{EntryBatch, Error, Result, Source, Start, Tail};

use super::twisted::Twist;

/// A connection whose feed hands over so few entries at a time.
pub struct Cutting {
    pub inner: ToySource,
    pub entries: usize,
    /// The feed is lost after so many batches.
    pub lost_after: Option<usize>,
}

#[async_trait]
impl Twist for Cutting {
    fn toy(&self) -> &ToySource {
        &self.inner
    }

    async fn tail(&self, start: Start) -> Result<Box<dyn Tail>> {
        let inner = self.inner.tail(start).await?;
        let (entries, left) = (self.entries, self.lost_after);
        Ok(Box::new(CutTail { inner, entries, left, cut: VecDeque::new(), told: start }))
    }
}

struct CutTail {
    inner: Box<dyn Tail>,
    entries: usize,
    left: Option<usize>,
    /// Ready to be handed over.
    cut: VecDeque<EntryBatch>,
    told: Start,
}

impl CutTail {
    /// Cuts a batch: ticks with more entries than one batch may have get several of their own.
    fn cut(&mut self, batch: &EntryBatch) {
        let entries: Vec<(Tick, &[u8])> = batch.iter().collect();
        for of_a_tick in entries.chunk_by(|a, b| a.0 == b.0) {
            let tick = of_a_tick[0].0;
            let last = of_a_tick.len().div_ceil(self.entries) - 1;
            for (number, part) in of_a_tick.chunks(self.entries).enumerate() {
                let continues = number < last;
                let through = if continues { tick.previous() } else { tick };
                let mut piece = EntryBatch::default();
                (piece.through, piece.resume, piece.continues) = (through, self.told.resume, continues);
                part.iter().for_each(|(visible, entry)| piece.push(*visible, entry));
                self.cut.push_back(piece);
            }
        }
        self.told = Start { resume: batch.resume, through: batch.through };
        let mut end = EntryBatch::default();
        (end.through, end.resume) = (batch.through, batch.resume);
        self.cut.push_back(end);
    }
}

#[async_trait]
impl Tail for CutTail {
    async fn next(&mut self, batch: &mut EntryBatch) -> Result<()> {
        if self.cut.is_empty() {
            let mut whole = EntryBatch::default();
            self.inner.next(&mut whole).await?;
            self.cut(&whole);
        }
        if let Some(left) = &mut self.left {
            let Some(fewer) = left.checked_sub(1) else {
                return Err(Error::Unavailable { what: "following".to_owned(), why: "the feed was lost".to_owned() });
            };
            *left = fewer;
        }
        *batch = self.cut.pop_front().unwrap_or_default();
        Ok(())
    }
}
