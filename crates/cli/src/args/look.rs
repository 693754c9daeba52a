//! Arguments of the commands that look into the archive and write nothing.

use clap::Args;

use super::selection::{AtArgs, SelectionArgs};
use super::switch;
use super::values::{DiffEnd, ExtJson};
use crate::pattern::NamespacePattern;
use crate::time::TimeSpec;

/// `backstay timeline`
#[derive(Args, Debug)]
pub struct TimelineArgs {
    /// A source of the configuration
    pub source: String,
}

/// `backstay ls`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  backstay ls shop                          namespaces and tenants, with counts and sizes
  backstay ls shop --tenant t7 --at -2h     what tenant t7 had two hours ago
  backstay ls shop shop.orders --tenant t7  the ids of its orders")]
pub struct LsArgs {
    /// A source of the configuration
    pub source: String,
    /// List the record ids of this namespace
    pub ns: Option<String>,
    /// As of when.
    #[command(flatten)]
    pub at: AtArgs,
    /// Only this tenant's; may be repeated
    #[arg(long = "tenant", value_name = "X", env = "BACKSTAY_TENANT", hide_env_values = true)]
    pub tenants: Vec<String>,
}

/// `backstay get`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  backstay get shop shop.orders 4711
  backstay get shop shop.orders '\"o-4711\"' --at \"yesterday 14:00\"
  backstay get shop shop.orders '{\"$oid\": \"65f1a3b4c5d6e7f8091a2b3c\"}' --history

ID is Extended JSON: a number is written as it is, a string with its double quotes inside single ones. A word \
that is no JSON is taken as a string. With --history each version says when it was written and how.")]
pub struct GetArgs {
    /// A source of the configuration
    pub source: String,
    /// The namespace, such as shop.orders
    pub ns: String,
    /// The record's id in Extended JSON
    #[arg(allow_hyphen_values = true)]
    pub id: ExtJson,
    /// As of when.
    #[command(flatten)]
    pub at: AtArgs,
    /// Show all versions that are held, oldest first
    #[arg(long, env = "BACKSTAY_HISTORY", hide_env_values = true, value_parser = switch(), conflicts_with = "at")]
    pub history: bool,
}

/// `backstay diff`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  backstay diff shop --from -1h --to latest --tenant t7
  backstay diff shop --from \"today 09:30\" --to live --ns shop.orders")]
pub struct DiffArgs {
    /// A source of the configuration
    pub source: String,
    /// The earlier time
    #[arg(long, value_name = "T", env = "BACKSTAY_FROM", hide_env_values = true, allow_hyphen_values = true)]
    pub from: TimeSpec,
    /// The later time, or live for the database as it is now
    #[arg(long, value_name = "T|live", env = "BACKSTAY_TO", hide_env_values = true, allow_hyphen_values = true)]
    pub to: DiffEnd,
    /// Which records.
    #[command(flatten)]
    pub selection: SelectionArgs,
}

/// `backstay schema`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  backstay schema shop --at \"yesterday 14:00\"
  backstay schema shop --ns shop.orders --at -1d --diff latest

Fields are told from the records: each path, how many records have it, and the types of its values. Of a large \
collection some stretches of ids are read, always the same for the same archive and time; --full reads all of it.")]
pub struct SchemaArgs {
    /// A source of the configuration
    pub source: String,
    /// As of when.
    #[command(flatten)]
    pub at: AtArgs,
    /// Show what is different as of this other time
    #[arg(long, value_name = "T2", env = "BACKSTAY_DIFF", hide_env_values = true, allow_hyphen_values = true)]
    pub diff: Option<TimeSpec>,
    /// Only this namespace, or those that the pattern matches (shop.*); may be repeated
    #[arg(long = "ns", value_name = "DB.COLL|GLOB", env = "BACKSTAY_NS", hide_env_values = true)]
    pub namespaces: Vec<NamespacePattern>,
    /// Read all records of large collections too
    #[arg(long, env = "BACKSTAY_FULL", hide_env_values = true, value_parser = switch())]
    pub full: bool,
}
