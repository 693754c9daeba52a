//! What the errors of the rooms below mean at the edge: an exit code and the next step.
//!
//! | the room says | the program ends with |
//! |---|---|
//! | no repository | 10 |
//! | somebody else holds the lock, or was faster | 11 |
//! | a key or a pass phrase is missing, wrong or shredded | 12 |
//! | the instant is not covered | 16, and the nearest instants that are |
//! | what would be written would be refused | 15 |
//! | cancelled | 130 |
//! | the configuration of a source cannot work | 2 |
//! | anything else | 1 |

use backstay_archive::{Duty, utc};
use backstay_engine::Refusal;
use backstay_model::Tick;

use super::{Exit, Failure};
use crate::config::redact;
use crate::refused::{removals, ways_out};
use crate::time::rfc3339;

impl From<backstay_engine::Error> for Failure {
    fn from(error: backstay_engine::Error) -> Failure {
        use backstay_engine::Error;
        let message = error.to_string();
        match error {
            Error::Source(error) => error.into(),
            Error::Archive(error) => error.into(),
            Error::NoBase { source_name } => {
                Failure::failed(message).hint(format!("take the base image first: backstay backup {source_name}"))
            }
            Error::Unfollowable { .. } => Failure::failed(message).hint(
                "every scan of the source met such a change; run it again when there are fewer, or protect the name that \
                 is renamed, by the same tenant rules",
            ),
            Error::NothingSelected(_) => {
                Failure::failed(message).hint_at_source("backstay ls SOURCE --at T shows what there was")
            }
            Error::WrongNames { instead, .. } => Failure::usage(message).hint(instead),
            Error::Conflict { .. } => Failure::failed(message).hint(
                "what was written before stays and running it again goes on from there; --on-conflict skip leaves such \
                 records alone, --on-conflict overwrite writes over them",
            ),
            Error::Refused { refusals, elsewhere } => {
                Failure::new(Exit::CheckFailed, message).hint(refused(&refusals, elsewhere))
            }
            Error::NotUndoable { .. } => Failure::failed(message)
                .hint("backstay restores ID shows what it did; a restore as of just before brings that back"),
            Error::ChangedSince { .. } => Failure::failed(message).hint(
                "nothing was written; --on-conflict skip leaves such records alone and takes back the rest, --on-conflict \
                 overwrite writes over them",
            ),
            Error::Shredded { .. } => {
                Failure::new(Exit::WrongKey, message).hint(
                    "name other tenants, or none: then it is left out; what it has had since it came back can be restored as \
                     of a time after that",
                )
            }
            Error::NotProved { .. } => Failure::new(Exit::CheckFailed, message).hint(
                "stop whoever writes there and run the same again: it writes what differs and proves it anew",
            ),
            Error::Journal { .. } => {
                Failure::failed(message).hint_at_source("backstay verify SOURCE tells whether more is damaged")
            }
            Error::Cancelled => Failure::new(Exit::Cancelled, "cancelled by a signal")
                .hint("what was committed stays; run the same command again to go on"),
        }
    }
}

/// What can be done about refusals.
fn refused(refusals: &[Refusal], elsewhere: bool) -> String {
    let mut removals: Vec<&str> = removals(refusals).collect();
    removals.dedup();
    let removal = (!removals.is_empty()).then(|| format!("take away first what refuses it ({})", removals.join("; ")));
    let ways = ways_out(refusals, elsewhere, removal).map(|ways| format!("; then {ways}")).unwrap_or_default();
    format!("--preview names records{ways}")
}

impl From<backstay_archive::Error> for Failure {
    fn from(error: backstay_archive::Error) -> Failure {
        use backstay_archive::Error;
        let message = error.to_string();
        match error {
            Error::NoRepository { .. } => {
                Failure::new(Exit::NoRepository, message).hint("make one with backstay init, or correct repository.url")
            }
            Error::RepositoryExists { .. } => {
                Failure::failed(message).hint_at_source("it is ready for use: backstay backup SOURCE")
            }
            Error::NoVault { name } => {
                Failure::failed(message).hint(format!("take the base image first: backstay backup {name}"))
            }
            Error::OtherSource { .. } => Failure::usage(message)
                .hint("if the deployment was replaced, protect the new one under another name in the configuration"),
            Error::Unidentified { .. } => Failure::usage(message)
                .hint("grant the user in MongoDB the action replSetGetConfig on the cluster, as clusterMonitor has it"),
            Error::NotCovered { at, why, before, after } => not_covered(at, &why, before, after),
            Error::Untold { before, after, .. } => Failure::new(
                Exit::Unrestorable,
                format!("{message}{}", nearest(before, after)),
            )
            .hint(match before.or(after) {
                Some(near) => format!("name other namespaces with --ns to leave it out, or give --at {near}"),
                None => "name other namespaces with --ns to leave it out".to_owned(),
            }),
            Error::Damaged { .. } | Error::Missing { .. } | Error::Interpret { .. } => {
                Failure::failed(message).hint_at_source("backstay verify SOURCE --content tells what else is affected")
            }
            Error::Key { object, source } => {
                let failure = Failure::from(source);
                Failure { message: format!("{object}: {}", failure.message), ..failure }
            }
            Error::Cut { .. } => Failure::new(Exit::CheckFailed, message).hint(
                "bring the archive back from a copy that has it; if it was put back on purpose, remove the file that is \
                 named: what is found then counts from there on",
            ),
            Error::Conflict(_) => {
                Failure::new(Exit::Locked, message).hint("another process is at work here; try again")
            }
            Error::Held { duty, lapses, .. } => {
                let command = match duty {
                    Duty::Capture(_) => "backstay capture SOURCE --take-over",
                    Duty::Scan => "backstay backup SOURCE --take-over",
                };
                Failure::new(Exit::Locked, message).hint_at_source(format!(
                    "stop that process first, or fence it: {command}; if it is gone, its claim lapses at {}",
                    utc(lapses)
                ))
            }
            Error::Fenced { .. } => Failure::new(Exit::Locked, message)
                .hint("nothing is lost: the other process goes on from the last commit; keep one of the two"),
            Error::Scratch { .. } => Failure::failed(message)
                .hint("make room there, or set BACKSTAY_SCRATCH to another folder; nothing of the archive is affected"),
            Error::Store(error) => error.into(),
            Error::Ledger(_) => Failure::failed(message).hint_at_source("backstay verify SOURCE tells more"),
        }
    }
}

/// The instant asked for, why it cannot be had, and the nearest that can.
fn not_covered(at: Tick, why: &str, before: Option<Tick>, after: Option<Tick>) -> Failure {
    let message = format!("{} cannot be restored: {why}{}", shown(at), nearest(before, after));
    let failure = Failure::new(Exit::Unrestorable, message);
    match before.or(after) {
        Some(nearest) => failure.hint_at_source(format!("give --at {nearest}, or look at backstay timeline SOURCE")),
        None => failure.hint_at_source("take the base image first: backstay backup SOURCE"),
    }
}

/// The nearest instants that can be had, as the end of a sentence.
fn nearest(before: Option<Tick>, after: Option<Tick>) -> String {
    match (before, after) {
        (Some(before), Some(after)) => {
            format!("; the nearest that can are {} before and {} after", shown(before), shown(after))
        }
        (Some(before), None) => format!("; the nearest that can is {}, before it", shown(before)),
        (None, Some(after)) => format!("; the nearest that can is {}, after it", shown(after)),
        (None, None) => String::new(),
    }
}

fn shown(tick: Tick) -> String {
    match tick.ordinal() {
        // The end of a second, as people give it.
        u32::MAX => rfc3339(tick),
        _ => format!("{tick} ({})", rfc3339(tick)),
    }
}

impl From<backstay_seal::Error> for Failure {
    fn from(error: backstay_seal::Error) -> Failure {
        use backstay_seal::Error;
        let message = error.to_string();
        match error {
            Error::Missing { .. } => Failure::new(Exit::WrongKey, message)
                .hint("bring the keyring back from its copy, or correct keyring.file in the configuration; \
                       where there is no repository yet, backstay init makes both"),
            Error::PassphraseNeeded { .. } => Failure::new(Exit::WrongKey, message)
                .hint("set BACKSTAY_PASSPHRASE, BACKSTAY_PASSPHRASE_FILE or BACKSTAY_PASSPHRASE_COMMAND"),
            Error::WrongPassphrase { .. } => Failure::new(Exit::WrongKey, message).hint(
                "give the pass phrase that this keyring was last put under, in BACKSTAY_PASSPHRASE, \
                 BACKSTAY_PASSPHRASE_FILE or BACKSTAY_PASSPHRASE_COMMAND; or bring back the copy of the keyring that this \
                 one belongs to",
            ),
            Error::Permissions { .. }
            | Error::Corrupt { .. }
            | Error::UnknownFormat { .. }
            | Error::BadSignature => Failure::new(Exit::WrongKey, message),
            Error::UnknownKey { .. } | Error::NoKey { .. } => {
                Failure::new(Exit::WrongKey, message).hint("backstay key list shows which keys this keyring holds")
            }
            Error::Shredded { .. } => Failure::new(Exit::WrongKey, message)
                .hint("the data of other tenants is not affected: name them with --tenant"),
            Error::Locked { .. } | Error::Rekeyed { .. } => Failure::new(Exit::Locked, message),
            Error::UnusablePassphrase { .. } => Failure::usage(message),
            _ => Failure::failed(message),
        }
    }
}

impl From<backstay_store::Error> for Failure {
    fn from(error: backstay_store::Error) -> Failure {
        use backstay_store::Error;
        let message = error.to_string();
        match error {
            Error::NoBucket { .. } => Failure::new(Exit::NoRepository, message)
                .hint("make the bucket first (Backstay makes none), or correct repository.url"),
            Error::Denied { .. } => Failure::failed(message).hint(
                "run Backstay as the user who owns the repository, or grant the access; backstay config show tells where \
                 the credentials come from",
            ),
            Error::Full { .. } => {
                Failure::failed(message).hint("nothing that was committed is lost; make room and run it again")
            }
            Error::Unavailable { .. } => Failure::failed(message).hint("try again; what was committed stays"),
            _ => Failure::failed(message),
        }
    }
}

impl From<backstay_source::Error> for Failure {
    fn from(error: backstay_source::Error) -> Failure {
        use backstay_source::Error;
        // A driver may quote the connection string.
        let message = redact::text(&error.to_string());
        match error {
            Error::Unavailable { .. } => {
                Failure::failed(message).hint("check that the server runs and can be reached: backstay doctor")
            }
            Error::Denied { .. } => Failure::failed(message).hint("backstay doctor names the role that is needed"),
            Error::Configuration { .. } => Failure::usage(message),
            Error::Scratch { .. } => Failure::failed(message)
                .hint("make room there, or set BACKSTAY_SCRATCH to another folder; what was committed stays"),
            Error::RolledOver { .. } | Error::Unshown { .. } => Failure::failed(message)
                .hint_at_source("run backstay capture SOURCE: it records the gap and scans the source again"),
            Error::SnapshotTooOld(_) | Error::NamespaceChanged { .. } => {
                Failure::failed(message).hint("run it again; what was committed stays")
            }
            Error::Occupied { .. } => Failure::failed(message).hint(
                "if it was made just now, run the same command again: it is compared then; otherwise drop or rename what \
                 stands there, or restore under another name with --into and --rename",
            ),
            Error::Refused { .. } | Error::Interpret(_) => Failure::failed(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_in_a_gap_names_its_neighbours() {
        let error = backstay_archive::Error::NotCovered {
            at: Tick::new(1_763_733_790, 1),
            why: "it lies in a gap: the feed had rolled over".into(),
            before: Some(Tick::new(1_763_733_785, 4)),
            after: Some(Tick::new(1_763_733_800, 1)),
        };
        let failure = Failure::from(backstay_engine::Error::Archive(error));
        assert_eq!(failure.exit, Exit::Unrestorable);
        assert_eq!(
            failure.message,
            "1763733790:1 (2025-11-21T14:03:10Z) cannot be restored: it lies in a gap: the feed had rolled over; the \
             nearest that can are 1763733785:4 (2025-11-21T14:03:05Z) before and 1763733800:1 (2025-11-21T14:03:20Z) after"
        );
    }

    #[test]
    fn a_namespace_that_is_lost_is_named_with_the_way_around_it() {
        let error = backstay_archive::Error::Untold {
            name: "shop.log".into(),
            at: Tick::new(1_763_733_790, 1),
            why: "emptycapped".into(),
            before: Some(Tick::new(1_763_733_785, 4)),
            after: None,
        };
        let failure = Failure::from(error);
        assert_eq!(failure.exit, Exit::Unrestorable);
        assert_eq!(
            failure.message,
            "what shop.log held at 1763733790:1 cannot be told: emptycapped; the nearest that can is 1763733785:4 \
             (2025-11-21T14:03:05Z), before it"
        );
        assert!(failure.hint.is_some_and(|hint| hint.contains("--ns") && hint.contains("1763733785:4")));
    }

    #[test]
    fn a_connection_string_in_an_error_loses_its_password() {
        let error = backstay_source::Error::Unavailable {
            what: "connecting".into(),
            why: "no answer from mongodb://ann:pw@h/".into(),
        };
        assert!(!Failure::from(error).message.contains("pw@"));
    }
}
