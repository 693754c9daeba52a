//! A look at a deployment for an operator: its clock, and what the credentials allow.
//!
//! What reading needs is better tried than looked up; what writing needs cannot be tried without writing, so it is read
//! from the server's own account of the credentials (`connectionStatus` with `showPrivileges`).

use std::collections::BTreeSet;

use backstay_source::Result;
use bson::{Document, doc};

use crate::connect::Connection;
use crate::failure::unexpected_reply;

/// What a restore in place does to a database.
const WRITING: [&str; 5] = ["insert", "update", "remove", "createCollection", "createIndex"];

/// What was found out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkup {
    /// The primary's clock, in milliseconds since the Unix epoch.
    pub clock_ms: i64,
    /// True when the connection is that of a user; false where the server asks for none.
    pub is_user: bool,
    /// What a restore in place needs and the credentials do not grant on any database, by the server's names.
    pub lacks_for_writing: Vec<String>,
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
        let lacks = WRITING.iter().filter(|action| is_user && !granted.contains(**action));
        Ok(Checkup {
            clock_ms: clock.timestamp_millis(),
            is_user,
            lacks_for_writing: lacks.map(|action| (*action).to_owned()).collect(),
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
}
