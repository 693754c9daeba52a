//! The head of an oplog entry, in one pass.

use backstay_model::Tick;

use super::text;
use crate::interpret::raw::{self, Result, kind, malformed};

/// What identifies a transaction: the session and its number within it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TransactionId<'a> {
    /// The session's id, a document.
    pub lsid: &'a [u8],
    /// The number of the transaction, or retryable write, within the session.
    pub number: i64,
}

/// The head of an oplog entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header<'a> {
    /// The entry's own position.
    pub ts: Tick,
    /// The kind: `i`, `u`, `d`, `n`, `c` and some internal ones of two letters.
    pub op: &'a str,
    /// The namespace; `database.$cmd` for a command.
    pub ns: &'a str,
    /// The command's name, the first field of `o`; empty for all but `c`.
    pub command: &'a str,
    /// The collection's UUID, when the entry carries one.
    pub ui: Option<&'a [u8; 16]>,
    /// The session and number, when the entry carries both: a transaction or a retryable write.
    pub transaction: Option<TransactionId<'a>>,
    /// More entries of the same transaction follow.
    pub partial_txn: bool,
    /// The transaction waits for its `commitTransaction` or `abortTransaction`.
    pub prepare: bool,
    /// The entry before this one in the session, [`Tick::ZERO`] when there is none.
    pub prev_op_time: Tick,
    /// 1 for several inserts of one retryable command, which are no transaction.
    pub multi_op_type: i64,
    /// At which tick a `commitTransaction` makes its transaction visible.
    pub commit_timestamp: Option<Tick>,
    /// Moved by a chunk migration, not written by a user.
    pub from_migrate: bool,
    /// What is changed, or how: a document.
    pub o: &'a [u8],
    /// Which record is changed, or more about the command: a document.
    pub o2: Option<&'a [u8]>,
}

/// Which part of a transaction an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// Of none: its changes are visible at its own tick.
    None,
    /// One of several to be held back; with `prepare` the last one before the outcome.
    Pending,
    /// The last or only one: all its entries are visible at its own tick.
    Committing,
    /// The outcome of a prepared one: all its entries are visible at this tick.
    Commit(Tick),
    /// The outcome of one: none of its entries ever become visible.
    Abort,
}

impl Header<'_> {
    /// Which part of a transaction the entry is. Parts of one transaction share [`Header::transaction`].
    pub fn part(&self) -> Part {
        if self.transaction.is_none() {
            return Part::None;
        }
        match self.command {
            "applyOps" if self.multi_op_type == 1 => Part::None,
            "applyOps" if self.partial_txn || self.prepare => Part::Pending,
            "applyOps" => Part::Committing,
            "commitTransaction" => Part::Commit(self.commit_timestamp.unwrap_or(self.ts)),
            "abortTransaction" => Part::Abort,
            _ => Part::None,
        }
    }
}

/// Reads the head of an entry.
///
/// # Errors
/// When the entry is malformed, or lacks its position, kind, namespace or `o`.
pub fn header(entry: &[u8]) -> Result<Header<'_>> {
    let mut ts = None;
    let mut op = None;
    let mut ns = None;
    let mut o = None;
    let mut lsid = None;
    let mut number = None;
    let mut header = Header {
        ts: Tick::ZERO,
        op: "",
        ns: "",
        command: "",
        ui: None,
        transaction: None,
        partial_txn: false,
        prepare: false,
        prev_op_time: Tick::ZERO,
        multi_op_type: 0,
        commit_timestamp: None,
        from_migrate: false,
        o: &[],
        o2: None,
    };
    for element in raw::elements(entry)? {
        let element = element?;
        match element.name {
            b"ts" => ts = element.as_timestamp(),
            b"op" => op = Some(text(element, "op")?),
            b"ns" => ns = Some(text(element, "ns")?),
            b"o" => o = element.as_document(),
            b"o2" => header.o2 = element.as_document(),
            b"ui" => header.ui = super::uuid(element),
            b"lsid" => lsid = element.as_document(),
            b"txnNumber" => number = element.as_integer(),
            b"fromMigrate" => header.from_migrate = element.is_true(),
            b"multiOpType" => header.multi_op_type = element.as_integer().unwrap_or(0),
            b"prevOpTime" => {
                if let Some(previous) = element.as_document() {
                    let ts = raw::find(previous, b"ts")?.and_then(|ts| ts.as_timestamp());
                    header.prev_op_time = Tick::from_u64(ts.unwrap_or(0));
                }
            }
            // Before 4.2 the flag of a prepared transaction stood here.
            b"prepare" => header.prepare = element.is_true(),
            _ => {}
        }
    }
    let lacks = |what: &str| malformed("oplog entry", format!("it has no {what}"));
    header.ts = Tick::from_u64(ts.ok_or_else(|| lacks("ts"))?);
    header.op = op.ok_or_else(|| lacks("op"))?;
    header.ns = ns.ok_or_else(|| lacks("ns"))?;
    header.o = o.ok_or_else(|| lacks("o"))?;
    if let (Some(lsid), Some(number)) = (lsid, number) {
        header.transaction = Some(TransactionId { lsid, number });
    }
    if header.op == "c" {
        read_command(&mut header)?;
    }
    Ok(header)
}

fn read_command(header: &mut Header<'_>) -> Result<()> {
    for (place, element) in raw::elements(header.o)?.enumerate() {
        let element = element?;
        match element.name {
            name if place == 0 => {
                header.command =
                    std::str::from_utf8(name).map_err(|_| malformed("oplog entry", "its command is not text"))?;
            }
            b"partialTxn" => header.partial_txn = element.is_true(),
            b"prepare" => header.prepare = element.is_true(),
            b"commitTimestamp" if element.kind == kind::TIMESTAMP => {
                header.commit_timestamp = element.as_timestamp().map(Tick::from_u64);
            }
            _ => {}
        }
    }
    Ok(())
}
