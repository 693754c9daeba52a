//! Which entries are kept.

use std::sync::Arc;

use crate::interpret::MongoInterpreter;
use crate::interpret::event::Event;
use crate::interpret::oplog::{Command, Header};

/// The operations that the oplog format names (`OpTypeEnum` in `src/mongo/db/repl/oplog_entry.idl` of the server).
const KNOWN: [&str; 10] = ["i", "u", "d", "c", "n", "xi", "ci", "cu", "cd", "km"];

/// How many unknown kinds are named: what an entry calls itself may be anything.
const MOST_NAMED: usize = 100;

/// Decides which entries are kept.
pub(super) struct Sieve {
    interpreter: Arc<MongoInterpreter>,
    /// The namespace that was asked for last, and the answer: entries come in runs.
    last: (String, bool),
    /// Unknown kinds that were named already.
    named: Vec<String>,
}

impl Sieve {
    pub(super) fn new(interpreter: Arc<MongoInterpreter>) -> Sieve {
        Sieve { interpreter, last: (String::new(), false), named: Vec::new() }
    }

    /// False for changes of records that are nobody's: of namespaces not included, or the server's own. Everything else
    /// is kept; a kind of operation that the format does not name is kept, and named once.
    ///
    /// Commands are known by name below `o`; an unknown one is named by the same rule.
    pub(super) fn keeps(&mut self, entry: &Header<'_>) -> bool {
        if entry.ns.starts_with("config.") || entry.ns.starts_with("local.") {
            return false;
        }
        if matches!(entry.op, "i" | "u" | "d") {
            return self.includes(entry.ns);
        }
        let unknown = match entry.op {
            "c" if Command::by_name(entry.command).is_err() => Some(entry.command),
            op if !KNOWN.contains(&op) => Some(op),
            _ => None,
        };
        if let Some(kind) = unknown
            && self.named.len() < MOST_NAMED
            && !self.named.iter().any(|named| named == kind)
        {
            let namespace = entry.ns;
            tracing::warn!(kind, namespace, at = %entry.ts, "the oplog holds entries of an unknown kind");
            self.named.push(kind.to_owned());
        }
        true
    }

    /// As [`Sieve::keeps`], of an event of a change stream. An unknown one breaks the feed when it is archived.
    pub(super) fn keeps_event(&mut self, event: &Event<'_>) -> bool {
        if !event.is_of_record() {
            return true;
        }
        if event.is_in(&self.last.0) { self.last.1 } else { self.includes(&event.namespace()) }
    }

    fn includes(&mut self, ns: &str) -> bool {
        if self.last.0 != ns {
            self.last.0.clear();
            self.last.0.push_str(ns);
            self.last.1 = self.interpreter.scope().namespace(ns).included;
        }
        self.last.1
    }
}
