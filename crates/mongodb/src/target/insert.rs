//! Inserting records that are known to be missing.
//!
//! Records go into the command as the bytes they are. A record that turns out to be there already, equal, counts as
//! written: a call whose acknowledgement was lost can be made again.
//!
//! The server replaces an empty timestamp at the top level of a record by the present time
//! (<https://www.mongodb.com/docs/manual/reference/bson-types/#timestamps>). Such records go by an update that inserts.

use std::collections::HashMap;

use backstay_source::{Conflict, RecordBatch, Result, Write, WriteMode, WriteReport};
use bson::doc;

use super::write::Statement;
use super::{DUPLICATE_KEY, MOST_BYTES, MOST_RECORDS, majority};
use crate::catalog::cut;
use crate::command::Command;
use crate::connect::Connection;
use crate::interpret::raw::{self, kind};

impl Connection {
    /// Inserts `records`; a record that a unique index refuses is a conflict, the others are written.
    pub(crate) async fn insert(&self, name: &str, records: &RecordBatch) -> Result<WriteReport> {
        let mut report = WriteReport::default();
        // In the order in which they are given: a capped collection keeps it.
        let (mut plain, mut altered) = (Vec::with_capacity(records.len()), Vec::new());
        for (place, (id, image)) in records.iter().enumerate() {
            if has_empty_timestamp(image)? {
                self.insert_plain(name, &mut plain, place, &mut report).await?;
                altered.push(Statement::new(place, Write::Insert { image })?);
            } else {
                self.bulks(name, "update", &std::mem::take(&mut altered), WriteMode::Guarded, &mut report).await?;
                plain.push((id, image));
            }
        }
        self.insert_plain(name, &mut plain, records.len(), &mut report).await?;
        self.bulks(name, "update", &altered, WriteMode::Guarded, &mut report).await?;
        Ok(report)
    }

    /// Inserts the records that stand in the batch right before the place `end`, and leaves the list empty.
    async fn insert_plain(
        &self,
        name: &str,
        records: &mut Vec<(&[u8], &[u8])>,
        end: usize,
        report: &mut WriteReport,
    ) -> Result<()> {
        let mut rest = records.as_slice();
        while !rest.is_empty() {
            let count = fitting(rest.iter().map(|(_, image)| image.len()));
            let (part, later) = rest.split_at_checked(count).unwrap_or((rest, &[]));
            self.insert_part(name, part, end - rest.len(), report).await?;
            rest = later;
        }
        records.clear();
        Ok(())
    }

    async fn insert_part(
        &self,
        name: &str,
        records: &[(&[u8], &[u8])],
        start: usize,
        report: &mut WriteReport,
    ) -> Result<()> {
        let (database, collection) = cut(name)?;
        let head = doc! {
            "insert": collection,
            "ordered": false,
            "bypassDocumentValidation": true,
            "writeConcern": majority(),
        };
        let command = Command::new(&head)?.array("documents", |out| {
            out.reserve(records.iter().map(|(_, image)| image.len() + 8).sum());
            for (index, (_, image)) in records.iter().enumerate() {
                raw::put_index(out, kind::DOCUMENT, index);
                out.extend_from_slice(image);
            }
            Ok(())
        })?;
        let answer = self.write_command(database, command.finish()?, &format!("inserting into {name}")).await?;
        report.written += answer.n;
        if answer.failed.is_empty() {
            return Ok(());
        }
        let duplicates = answer.failed.iter().filter(|(_, code, _)| *code == DUPLICATE_KEY);
        let ids: Vec<&[u8]> = duplicates.filter_map(|(place, ..)| Some(records.get(*place)?.0)).collect();
        let live = self.fetch(name, &ids).await?;
        let live: HashMap<&[u8], &[u8]> = live.iter().collect();
        for (place, code, why) in answer.failed {
            let now = records.get(place).map(|(id, image)| (live.get(id), image));
            match now {
                Some((Some(now), image)) if now == image => report.written += 1,
                // Refused though no record has its id: another record has a value of it.
                Some((None, _)) if code == DUPLICATE_KEY => {
                    report.conflicts.push(Conflict { write: start + place, taken: true, why });
                }
                _ => report.conflicts.push(Conflict { write: start + place, taken: false, why }),
            }
        }
        Ok(())
    }
}

/// True when the server would not store the record as it is, see above.
pub(super) fn has_empty_timestamp(image: &[u8]) -> Result<bool> {
    for element in raw::elements(image)? {
        if element?.as_timestamp() == Some(0) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// How many of the next records fit into one command; at least one.
pub(super) fn fitting(sizes: impl Iterator<Item = usize>) -> usize {
    let mut bytes = 0;
    let mut count = 0;
    for size in sizes.take(MOST_RECORDS) {
        // An array element costs its kind, its index and a zero byte.
        bytes += size + 8;
        if bytes > MOST_BYTES && count > 0 {
            break;
        }
        count += 1;
    }
    count
}
