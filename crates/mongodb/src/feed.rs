//! The two ways to follow what changes, and what each cannot show.
//!
//! ```text
//!                     reads                        needs                       does not show
//!   oplog             local.oplog.rs               `read` on `local`           nothing
//!   change streams    $changeStream, cluster-wide  `find` and `changeStream`   [`HIDDEN`]
//! ```
//!
//! Both say the same of the same write: its tick is the cluster time, its collection goes by its UUID, an update is the
//! server's own diff. So an archive may hold entries of either, and what was captured by one is read beside the other.

use backstay_source::Capabilities;

use crate::interpret::scope::{ROLES, USERS};

/// How changes are followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Feed {
    /// By the oplog, of which every member keeps a copy.
    #[default]
    Oplog,
    /// By a change stream over all databases, from MongoDB 6.0 on: for servers that let nobody read the oplog.
    ChangeStreams,
}

/// The name under which it is recorded in the ledger.
pub(crate) const CHANGE_STREAMS: &str = "change-streams";

/// What a change stream keeps quiet about.
const HIDDEN: &[&str] = &[
    "users and roles",
    "records that the command applyOps writes, which mongorestore --oplogReplay uses",
    "system.views being dropped as a collection, and collections that importCollection brings",
];

impl Feed {
    /// What is recorded of it in the ledger: nothing for the oplog.
    pub(crate) fn recorded(self) -> &'static str {
        match self {
            Feed::Oplog => "",
            Feed::ChangeStreams => CHANGE_STREAMS,
        }
    }

    /// What the planner may promise.
    pub fn capabilities(self) -> Capabilities {
        let hidden = match self {
            Feed::Oplog => &[],
            Feed::ChangeStreams => HIDDEN,
        };
        Capabilities { snapshot_scans: true, complete_feed: true, hidden }
    }

    /// What the feed of this name in the ledger keeps quiet about; nothing for one that this version does not know.
    pub fn hidden_by(recorded: &str) -> &'static [&'static str] {
        if recorded == CHANGE_STREAMS { HIDDEN } else { &[] }
    }

    /// Why the records of a namespace cannot be told between two scans, if they cannot.
    pub(crate) fn loses(self, name: &str) -> Option<&'static str> {
        let is_lost = self == Feed::ChangeStreams && matches!(name, USERS | ROLES);
        is_lost.then_some("change streams do not show changes of users and roles")
    }
}
