//! A look at a deployment for an operator: its clock, and what the credentials allow.
//!
//! What reading needs is better tried than looked up; what writing needs cannot be tried without writing, so it is read
//! from the server's own account of the credentials (`connectionStatus` with `showPrivileges`).

use std::collections::BTreeSet;

use backstay_source::Result;
use bson::{Document, doc};

use crate::connect::Connection;
use crate::failure::unexpected_reply;
use crate::feed::Feed;

/// What a restore in place does to a database.
const WRITING: [&str; 5] = ["insert", "update", "remove", "createCollection", "createIndex"];

/// What following change streams needs on all databases.
const FOLLOWING: [&str; 2] = ["find", "changeStream"];

/// What was found out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkup {
    /// The primary's clock, in milliseconds since the Unix epoch.
    pub clock_ms: i64,
    /// True when the connection is that of a user; false where the server asks for none.
    pub is_user: bool,
    /// What a restore in place needs and the credentials do not grant on any database, by the server's names.
    pub lacks_for_writing: Vec<String>,
    /// What following change streams needs and the credentials do not grant; nothing where the oplog is followed.
    pub lacks_for_following: Vec<String>,
    /// What is useful beside that, and not granted: what for.
    pub lacks_for_more: Vec<String>,
}

impl Connection {
    pub(crate) async fn checkup(&self) -> Result<Checkup> {
        let hello = self.hello().await?;
        let clock =
            hello.get_datetime("localTime").map_err(|_| unexpected_reply("asking for the time", "localTime"))?;
        let what = "asking what the credentials allow";
        let status = doc! { "connectionStatus": 1, "showPrivileges": true };
        let status = self.command("admin", status, what).await?;
        let info = status.get_document("authInfo").map_err(|_| unexpected_reply(what, "authInfo"))?;
        let is_user = info.get_array("authenticatedUsers").is_ok_and(|users| !users.is_empty());
        let granted = granted(info);
        let (needed, useful) = match self.feed == Feed::ChangeStreams && is_user {
            true => following(info),
            false => (Vec::new(), Vec::new()),
        };
        let lacks = WRITING.iter().filter(|action| is_user && !granted.contains(**action));
        Ok(Checkup {
            clock_ms: clock.timestamp_millis(),
            is_user,
            lacks_for_writing: lacks.map(|action| (*action).to_owned()).collect(),
            lacks_for_following: needed,
            lacks_for_more: useful,
        })
    }
}

/// The actions that are granted on some database that is not the server's own.
fn granted(info: &Document) -> BTreeSet<&str> {
    let mut granted = BTreeSet::new();
    let privileges = info.get_array("authenticatedUserPrivileges").into_iter().flatten();
    for privilege in privileges.filter_map(bson::Bson::as_document) {
        let Ok(resource) = privilege.get_document("resource") else { continue };
        let is_data = resource.get_bool("anyResource").is_ok_and(|any| any)
            || resource.get_str("db").is_ok_and(|db| !matches!(db, "admin" | "config" | "local"));
        if is_data && let Ok(actions) = privilege.get_array("actions") {
            granted.extend(actions.iter().filter_map(bson::Bson::as_str));
        }
    }
    granted
}

/// What is missing of what change streams need, and of what is useful beside it.
fn following(info: &Document) -> (Vec<String>, Vec<String>) {
    let privileges = info.get_array("authenticatedUserPrivileges").into_iter().flatten();
    let (mut everywhere, mut views, mut cluster) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for privilege in privileges.filter_map(bson::Bson::as_document) {
        let (Ok(resource), Ok(actions)) = (privilege.get_document("resource"), privilege.get_array("actions")) else {
            continue;
        };
        let is = |field: &str| resource.get_bool(field).is_ok_and(|it| it);
        let has = |field: &str, wanted: &str| resource.get_str(field).is_ok_and(|value| value == wanted);
        let on = |collection: &str| has("db", "") && has("collection", collection);
        let any = is("anyResource");
        for (holds, to) in [
            (any || on(""), &mut everywhere),
            (any || on("system.views"), &mut views),
            (any || is("cluster"), &mut cluster),
        ] {
            if holds {
                to.extend(actions.iter().filter_map(bson::Bson::as_str));
            }
        }
    }
    let needed = FOLLOWING.iter().filter(|action| !everywhere.contains(**action));
    let needed = needed.map(|action| format!("{action} on all databases")).collect();
    let more = [
        (views.contains("find"), "find on system.views of all databases, to back up views"),
        (cluster.contains("replSetGetConfig"), "replSetGetConfig, to know the set by its id and not by its name"),
        (cluster.contains("serverStatus"), "serverStatus, to know how far back changes reach and how long writes take"),
    ];
    (needed, more.into_iter().filter(|(granted, _)| !granted).map(|(_, what)| what.to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_granted_on_data_counts() {
        let info = doc! { "authenticatedUserPrivileges": [
            { "resource": { "db": "", "collection": "" }, "actions": ["find", "insert"] },
            { "resource": { "db": "local", "collection": "" }, "actions": ["remove"] },
            { "resource": { "cluster": true }, "actions": ["listDatabases"] },
        ] };
        assert_eq!(granted(&info).into_iter().collect::<Vec<_>>(), ["find", "insert"]);
    }

    #[test]
    fn what_change_streams_need_is_told_from_what_is_useful() {
        let info = doc! { "authenticatedUserPrivileges": [
            { "resource": { "db": "", "collection": "" }, "actions": ["find", "changeStream"] },
            { "resource": { "db": "", "collection": "system.views" }, "actions": ["find"] },
            { "resource": { "cluster": true }, "actions": ["serverStatus"] },
        ] };
        let (needed, useful) = following(&info);
        assert_eq!(needed, Vec::<String>::new());
        assert!(matches!(&useful[..], [one] if one.starts_with("replSetGetConfig")), "{useful:?}");
        let info = doc! { "authenticatedUserPrivileges": [
            { "resource": { "db": "shop", "collection": "" }, "actions": ["find", "changeStream"] },
        ] };
        assert_eq!(following(&info).0, ["find on all databases", "changeStream on all databases"]);
        let root = doc! { "authenticatedUserPrivileges": [
            { "resource": { "anyResource": true }, "actions": ["find", "changeStream", "replSetGetConfig", "serverStatus"] },
        ] };
        assert_eq!(following(&root), (Vec::new(), Vec::new()));
    }
}
