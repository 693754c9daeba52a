//! Other names for what is restored: `shop.orders=shop.orders_then`, or `shop.*=old.*` for all of a database.
//!
//! A time series is renamed by its own name; where it keeps its records (`system.buckets.…`) goes along.

use std::fmt;
use std::str::FromStr;

/// Databases that are the server's own.
const SERVERS_OWN: [&str; 3] = ["admin", "config", "local"];
/// How the names of collections begin that are the server's own.
const SYSTEM: &str = "system.";
/// Where the definitions of views are.
const VIEWS: &str = "system.views";
/// Where the records of time series are.
const BUCKETS: &str = "system.buckets.";

/// Another name for a namespace, or for all of a database.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rename {
    from: Name,
    to: Name,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Name {
    /// `DATABASE.COLLECTION`
    Namespace(String),
    /// `DATABASE.*`, kept with its dot.
    Database(String),
}

impl Rename {
    /// The new name of the namespace `name`, when this rename is about it.
    pub fn apply(&self, name: &str) -> Option<String> {
        match (&self.from, &self.to) {
            (Name::Namespace(from), Name::Namespace(to)) if name == from => Some(to.clone()),
            (Name::Namespace(from), Name::Namespace(to)) => (name == buckets(from)?).then(|| buckets(to))?,
            (Name::Database(from), Name::Database(to)) => Some(format!("{to}{}", name.strip_prefix(from.as_str())?)),
            // Parsing pairs like with like.
            _ => None,
        }
    }

    /// What it renames, as it was written.
    pub fn from(&self) -> String {
        self.from.to_string()
    }
}

/// Where the records of a time series of this name are.
fn buckets(series: &str) -> Option<String> {
    let (database, collection) = series.split_once('.')?;
    Some(format!("{database}.{BUCKETS}{collection}"))
}

/// The name that people know a namespace by: a time series' own, for where its records are.
pub fn own_name(name: &str) -> String {
    match name.split_once('.') {
        Some((database, collection)) => {
            format!("{database}.{}", collection.strip_prefix(BUCKETS).unwrap_or(collection))
        }
        None => name.to_owned(),
    }
}

/// Why what was called `name` may not be restored as `target`, if so; any collection for an empty name.
pub fn refusal(name: &str, target: &str) -> Option<String> {
    let (database, collection) = target.split_once('.').unwrap_or((target, ""));
    // The server makes the buckets of a time series itself, and views are never restored under another name.
    let goes_along =
        !name.is_empty() && (collection.starts_with(BUCKETS) && name.contains(BUCKETS) || collection == VIEWS);
    if SERVERS_OWN.contains(&database) {
        return Some(format!("the database {database} is the server's own"));
    }
    let is_taken = collection.starts_with(SYSTEM) && !goes_along;
    is_taken.then(|| format!("collections called {SYSTEM}* are the server's own"))
}

impl FromStr for Rename {
    type Err = String;

    fn from_str(text: &str) -> Result<Rename, String> {
        let wrong = || format!("“{text}” is not a rename: write shop.orders=old.orders or shop.*=old.*");
        let (from, to) = text.split_once('=').ok_or_else(wrong)?;
        if from.contains(BUCKETS) {
            let series = own_name(from);
            return Err(format!("“{text}” renames where a time series keeps its records: write {series}=… instead"));
        }
        let (from, to) = (name(from).ok_or_else(wrong)?, name(to).ok_or_else(wrong)?);
        if let Some(why) = refusal("", &to.to_string()) {
            return Err(format!("nothing can be restored as {to}: {why}"));
        }
        match (&from, &to) {
            (Name::Namespace(_), Name::Namespace(_)) | (Name::Database(_), Name::Database(_)) => {
                Ok(Rename { from, to })
            }
            _ => Err(wrong()),
        }
    }
}

fn name(text: &str) -> Option<Name> {
    let (database, rest) = text.split_once('.')?;
    if database.is_empty() || rest.is_empty() || database.contains('*') {
        return None;
    }
    match rest {
        "*" => Some(Name::Database(format!("{database}."))),
        _ if rest.contains('*') => None,
        _ => Some(Name::Namespace(text.to_owned())),
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Namespace(name) => f.write_str(name),
            Name::Database(prefix) => write!(f, "{prefix}*"),
        }
    }
}

impl fmt::Display for Rename {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.from, self.to)
    }
}
