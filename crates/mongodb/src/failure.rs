//! What the driver's and the server's errors mean to a caller.
//!
//! The contract's errors are decisions (try again, take a new snapshot, record a gap, tell a person). Here is the one
//! place that derives them from error codes, whose list is `src/mongo/base/error_codes.yml` of the server's source.

use backstay_model::Tick;
use backstay_source::Error;
use mongodb::error::{Error as DriverError, ErrorKind, WriteFailure};

/// `HostUnreachable` 6, `HostNotFound` 7, `NetworkTimeout` 89, `ShutdownInProgress` 91, `PrimarySteppedDown` 189,
/// `ExceededTimeLimit` 262, `LockTimeout` 24, `MaxTimeMSExpired` 50, `WriteConflict` 112, `InterruptedAtShutdown` 11600,
/// `Interrupted` 11601, `InterruptedDueToReplStateChange` 11602, `NotWritablePrimary` 10107, `NotPrimaryNoSecondaryOk`
/// 13435, `NotPrimaryOrSecondary` 13436, `SocketException` 9001, `ReadConcernMajorityNotAvailableYet` 134,
/// `CursorNotFound` 43, `CursorKilled` 237, `WriteConcernFailed` 64, `LockBusy` 46.
const PASSING: [i32; 22] =
    [6, 7, 24, 43, 46, 50, 64, 89, 91, 112, 134, 189, 237, 262, 9001, 10107, 11600, 11601, 11602, 13435, 13436, 13388];
/// `Unauthorized` 13 and `AuthenticationFailed` 18.
const DENIED: [i32; 2] = [13, 18];
/// `SnapshotTooOld` 239 and `SnapshotUnavailable` 246.
const SNAPSHOT_GONE: [i32; 2] = [239, 246];
/// `QueryPlanKilled` 175 and `NamespaceNotFound` 26.
const NAMESPACE_GONE: [i32; 2] = [175, 26];
const CAPPED_POSITION_LOST: i32 = 136;
const NAMESPACE_EXISTS: i32 = 48;

/// The server's error code, when the error came from the server.
pub(crate) fn code(error: &DriverError) -> Option<i32> {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => Some(command.code),
        ErrorKind::Write(WriteFailure::WriteError(write)) => Some(write.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => Some(concern.code),
        _ => None,
    }
}

/// The error in the server's or the driver's own words, without codes and structures around them.
pub(crate) fn words(error: &DriverError) -> String {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => command.message.clone(),
        ErrorKind::Write(WriteFailure::WriteError(write)) => write.message.clone(),
        ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => concern.message.clone(),
        other => other.to_string(),
    }
}

/// What `error`, met while doing `what`, means to the caller.
pub(crate) fn translate(what: &str, error: &DriverError) -> Error {
    let (what, why) = (what.to_owned(), words(error));
    match code(error) {
        Some(code) if DENIED.contains(&code) => Error::Denied { what, why },
        Some(code) if PASSING.contains(&code) => Error::Unavailable { what, why },
        Some(NAMESPACE_EXISTS) => Error::Occupied { what, why },
        Some(_) => Error::Refused { what, why },
        None => match error.kind.as_ref() {
            ErrorKind::Authentication { .. } => Error::Denied { what, why },
            ErrorKind::Io(_)
            | ErrorKind::ConnectionPoolCleared { .. }
            | ErrorKind::ServerSelection { .. }
            | ErrorKind::DnsResolve { .. } => Error::Unavailable { what, why },
            ErrorKind::InvalidTlsConfig { .. } => Error::Configuration { what, why },
            _ if error.contains_label("RetryableWriteError") || error.contains_label("TransientTransactionError") => {
                Error::Unavailable { what, why }
            }
            _ => Error::Refused { what, why },
        },
    }
}

/// As it is, with the way around it where the oplog may not be read.
pub(crate) fn oplog_closed(error: Error) -> Error {
    match error {
        Error::Denied { what, why } => Error::Denied {
            what,
            why: format!(
                "{why}; where nobody may read the oplog, as in managed services, changes can be followed by change streams: \
                 set feed: change-streams"
            ),
        },
        other => other,
    }
}

/// As [`translate`], for a read of the namespace `name` as of `at`.
pub(crate) fn translate_scan(name: &str, at: Option<Tick>, error: &DriverError) -> Error {
    match (code(error), at) {
        (Some(code), Some(at)) if SNAPSHOT_GONE.contains(&code) => Error::SnapshotTooOld(at),
        // The oldest records were removed beneath the cursor.
        (Some(CAPPED_POSITION_LOST), _) => Error::Unavailable { what: format!("reading {name}"), why: words(error) },
        (Some(code), _) if NAMESPACE_GONE.contains(&code) => Error::NamespaceChanged { name: name.to_owned() },
        _ => translate(&format!("reading {name}"), error),
    }
}

/// True when the position of a cursor on the oplog has been overwritten.
pub(crate) fn is_position_lost(error: &DriverError) -> bool {
    code(error) == Some(CAPPED_POSITION_LOST)
}

/// True when a read at a cluster time failed because the server does not hold that snapshot.
pub(crate) fn is_snapshot_gone(error: &DriverError) -> bool {
    code(error).is_some_and(|code| SNAPSHOT_GONE.contains(&code))
}

/// A reply of the server lacks `field`.
pub(crate) fn unexpected_reply(what: &str, field: &str) -> Error {
    Error::Refused { what: what.to_owned(), why: format!("the server's answer has no usable “{field}”") }
}
