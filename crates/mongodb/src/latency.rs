//! What the primary says of its users' writes.
//!
//! `opLatencies.writes` of `serverStatus` sums up inserts, updates and deletes, their wait for the write concern included
//! (<https://www.mongodb.com/docs/manual/reference/command/serverStatus/#oplatencies>). Reads are left aside: those of a
//! scan would count among them. The section needs the action `serverStatus`, which the role `clusterMonitor` grants.

use backstay_source::{Error, Result, WriteLatency};
use bson::{Document, doc};

use crate::connect::Connection;

/// Sections that the server leaves out when told so; the answer would be a hundred times as long.
pub(crate) const UNWANTED: [&str; 12] = [
    "asserts",
    "connections",
    "extra_info",
    "flowControl",
    "globalLock",
    "locks",
    "metrics",
    "network",
    "opcounters",
    "tcmalloc",
    "transactions",
    "wiredTiger",
];

impl Connection {
    /// `None` when the credentials do not allow the question, or the server does not answer it.
    pub(crate) async fn write_latency(&self) -> Result<Option<WriteLatency>> {
        let mut command = doc! { "serverStatus": 1, "opLatencies": { "histograms": false } };
        for section in UNWANTED {
            command.insert(section, 0);
        }
        match self.command("admin", command, "asking how long writes take").await {
            Ok(status) => Ok(of(&status)),
            Err(Error::Refused { .. } | Error::Denied { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn of(status: &Document) -> Option<WriteLatency> {
    let writes = status.get_document("opLatencies").ok()?.get_document("writes").ok()?;
    let number = |field| writes.get_i64(field).ok().and_then(|value| u64::try_from(value).ok());
    Some(WriteLatency { writes: number("ops")?, micros: number("latency")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_writes_count() {
        let status = doc! { "opLatencies": {
            "reads": { "latency": 9_i64, "ops": 3_i64 },
            "writes": { "latency": 120_000_i64, "ops": 40_i64 },
        } };
        assert_eq!(of(&status), Some(WriteLatency { writes: 40, micros: 120_000 }));
        assert_eq!(of(&doc! { "ok": 1 }), None);
    }
}
