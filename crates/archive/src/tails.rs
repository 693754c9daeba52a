//! From tails to memory, within a budget.

use std::sync::Arc;

use backstay_ledger::SegmentInfo;
use backstay_model::{EntryBatch, Interpreter, Tick};
use backstay_segment::{Header, TailBlock};

use crate::table::Table;
use crate::vault::Inner;
use crate::{Error, Result};

/// Reads `tails` (in stream order), and then the entries of `ahead`, which no tail holds yet, into a table, leaving out
/// what became visible after `through`. `ordinals` goes on from the tails before these.
pub(crate) async fn read(
    inner: &Inner,
    tails: &[Arc<SegmentInfo>],
    ahead: &[EntryBatch],
    interpreter: &dyn Interpreter,
    through: Tick,
    ordinals: &mut Ordinals,
) -> Result<Table> {
    let mut table = Table::default();
    for tail in tails {
        let path = inner.segment_path(&tail.id);
        let file = inner.read_whole(tail).await?;
        let header = Header::parse(&file).map_err(|error| Error::segment(&path, error))?;
        if header.segment != tail.id {
            let why = "another segment stands under this name".to_owned();
            return Err(Error::Damaged { object: path, why });
        }
        let mut not_understood = None;
        let result = TailBlock::open_all(&file, inner.vault_key(), |block| {
            block
                .for_each(|visible, entry| {
                    if visible <= through {
                        ordinals.read(entry, visible, interpreter, &mut table).map_err(Failure::Interpret)?;
                    }
                    Ok(())
                })
                .map_err(|failure| match failure {
                    Failure::Segment(error) => error,
                    // A segment's error cannot carry it; this one stops the reading.
                    Failure::Interpret(error) => {
                        not_understood = Some(error);
                        backstay_segment::Error::Corrupt { part: "tail block", why: "an entry cannot be interpreted" }
                    }
                })
        });
        if let Some(error) = not_understood {
            return Err(Error::interpret(&path, error));
        }
        result.map_err(|error| Error::segment(&path, error))?;
    }
    for (visible, entry) in ahead.iter().flat_map(EntryBatch::iter).take_while(|(visible, _)| *visible <= through) {
        let read = ordinals.read(entry, visible, interpreter, &mut table);
        read.map_err(|error| Error::interpret("the change feed", error))?;
    }
    table.group();
    Ok(table)
}

/// True when the tick that `tails` end with goes on in the one that follows: changes are numbered through both, so that
/// no commit may replace the one without the other.
pub(crate) fn goes_on(tails: &[Arc<SegmentInfo>], following: &[Arc<SegmentInfo>]) -> bool {
    matches!((tails.last(), following.first()), (Some(last), Some(next)) if last.last == next.first)
}

/// Counts the changes of one tick over several entries, and several tails: the entries of a transaction share a tick, and
/// may be more than a tail holds.
#[derive(Default)]
pub(crate) struct Ordinals {
    visible: Tick,
    next: u32,
}

impl Ordinals {
    fn read(
        &mut self,
        entry: &[u8],
        visible: Tick,
        interpreter: &dyn Interpreter,
        table: &mut Table,
    ) -> Result<(), backstay_model::InterpretError> {
        if visible != self.visible {
            self.visible = visible;
            self.next = 0;
        }
        let used = interpreter.changes(entry, visible, self.next, &mut |change| table.push(&change))?;
        self.next = self.next.saturating_add(used);
        Ok(())
    }
}

enum Failure {
    Segment(backstay_segment::Error),
    Interpret(backstay_model::InterpretError),
}

impl From<backstay_segment::Error> for Failure {
    fn from(error: backstay_segment::Error) -> Failure {
        Failure::Segment(error)
    }
}
