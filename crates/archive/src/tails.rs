//! From tails to memory, within a budget.

use std::sync::Arc;

use backstay_ledger::SegmentInfo;
use backstay_model::{EntryBatch, Interpreter, Tick};
use backstay_segment::{Header, TailBlock};

use crate::table::Table;
use crate::vault::Inner;
use crate::{Error, Result};

/// Reads `tails` (in stream order), and then the entries of `ahead`, which no tail holds yet, into a table, leaving out
/// what became visible after `through`.
pub(crate) async fn read(
    inner: &Inner,
    tails: &[Arc<SegmentInfo>],
    ahead: &[EntryBatch],
    interpreter: &dyn Interpreter,
    through: Tick,
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
        let mut ordinals = Ordinals::default();
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
                    Failure::Interpret(error) => ordinals.fail(error),
                })
        });
        if let Some(error) = ordinals.failure {
            return Err(Error::interpret(&path, error));
        }
        result.map_err(|error| Error::segment(&path, error))?;
    }
    let mut ordinals = Ordinals::default();
    for (visible, entry) in ahead.iter().flat_map(EntryBatch::iter).take_while(|(visible, _)| *visible <= through) {
        let read = ordinals.read(entry, visible, interpreter, &mut table);
        read.map_err(|error| Error::interpret("the change feed", error))?;
    }
    table.group();
    Ok(table)
}

/// Counts the changes of one tick over several entries: the entries of a transaction share a tick.
#[derive(Default)]
struct Ordinals {
    visible: Tick,
    next: u32,
    failure: Option<backstay_model::InterpretError>,
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

    /// Keeps an interpreter's failure, which a segment's error cannot carry, and stops the reading.
    fn fail(&mut self, error: backstay_model::InterpretError) -> backstay_segment::Error {
        self.failure = Some(error);
        backstay_segment::Error::Corrupt { part: "tail block", why: "an entry cannot be interpreted" }
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
