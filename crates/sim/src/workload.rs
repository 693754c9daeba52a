//! Random things to do to a toy.
//!
//! An [`Action`] is made of one number, so that a test's input is a list of numbers: a property test shrinks it by
//! leaving numbers out, and a failure is kept as the list. Pools are small on purpose: everything happens to the same few
//! records, whose ids are prefixes of one another.

use crate::Chance;
use crate::toy::{Operation, Record, Toy, TransactionId};

/// Names of namespaces; `shop.a` is a prefix of `shop.ab`.
pub const NAMES: [&str; 3] = ["shop.a", "shop.ab", "shop.b"];

/// Names of tenants, some prefixes of others; one is what records without a tenant get.
pub const TENANTS: [&str; 4] = ["acme", "acme2", "b", "_unassigned"];

/// Record ids: empty, prefixes of one another, zeros and the highest bytes.
pub const IDS: [&[u8]; 12] =
    [b"", b"\0", b"\0\0", b"a", b"a\0", b"aa", b"aab", b"ab", b"b", b"\x7F", b"\xFF", b"\xFF\xFF"];

/// Longer than a block of a run.
const LARGE: usize = 70_000;

/// One thing to do.
#[derive(Clone, Debug)]
pub enum Action {
    /// Operations at one tick, in one entry or in several.
    Apply(Vec<Operation>, bool),
    /// Begin a transaction.
    Prepare(Vec<Operation>),
    /// Commit the oldest open transaction.
    Commit,
    /// Give the oldest open transaction up.
    Abort,
    /// Create a namespace.
    Create(String),
    /// Drop one.
    Drop(String),
    /// Rename one.
    Rename(String, String),
    /// Let time pass.
    Pass(u32),
    /// Write a heartbeat.
    Beat,
}

impl Action {
    /// The action of this number.
    pub fn of(number: u64) -> Action {
        let chance = &mut Chance::new(number);
        match chance.below(40) {
            0 => Action::Create(name(chance)),
            1 => Action::Drop(name(chance)),
            2 => Action::Rename(name(chance), name(chance)),
            3 => Action::Pass(1 + chance.below(3) as u32),
            4 => Action::Beat,
            5 | 6 => Action::Prepare(operations(chance)),
            7 | 8 => Action::Commit,
            9 => Action::Abort,
            10..=13 => Action::Apply(operations(chance), true),
            14..=16 => Action::Apply(operations(chance), false),
            _ => Action::Apply(vec![operation(chance)], false),
        }
    }

    /// Does it, as far as it can be done. `open` holds the transactions that are open.
    pub fn carry_out(&self, toy: &Toy, open: &mut Vec<TransactionId>) {
        let oldest = |open: &mut Vec<TransactionId>| if open.is_empty() { None } else { Some(open.remove(0)) };
        match self {
            Action::Apply(operations, together) => {
                toy.apply(operations, *together);
            }
            Action::Prepare(operations) => open.extend(toy.prepare(operations)),
            Action::Commit => {
                oldest(open).and_then(|transaction| toy.commit(transaction));
            }
            Action::Abort => {
                oldest(open).and_then(|transaction| toy.abort(transaction));
            }
            Action::Create(name) => {
                toy.create(name);
            }
            Action::Drop(name) => {
                toy.drop_namespace(name);
            }
            Action::Rename(from, to) => {
                toy.rename(from, to);
            }
            Action::Pass(seconds) => {
                toy.pass(*seconds);
            }
            Action::Beat => {
                toy.beat();
            }
        }
    }
}

fn name(chance: &mut Chance) -> String {
    (*chance.pick(&NAMES)).to_owned()
}

fn operations(chance: &mut Chance) -> Vec<Operation> {
    (0..1 + chance.below(4)).map(|_| operation(chance)).collect()
}

fn operation(chance: &mut Chance) -> Operation {
    let (name, id) = (name(chance), chance.pick(&IDS).to_vec());
    let field = (*chance.pick(&["colour", "size"])).to_owned();
    match chance.below(12) {
        0..=4 => {
            let mut record = Record::new(&id);
            let tenant = *chance.pick(&TENANTS);
            if tenant != "_unassigned" {
                record.set("tenant", tenant);
            }
            let value = value(chance);
            Operation::Put { name, record: record.with(&field, &value) }
        }
        5 | 6 => Operation::Set { name, id, field, value: value(chance) },
        7 | 8 => Operation::Append { name, id, field, more: chance.below(10).to_string() },
        9 => Operation::Move { name, id, tenant: (*chance.pick(&TENANTS)).to_owned() },
        _ => Operation::Delete { name, id },
    }
}

fn value(chance: &mut Chance) -> String {
    match chance.below(24) {
        0 => (0..LARGE / 16).map(|_| format!("{:016x}", chance.number())).collect(),
        1..=3 => String::new(),
        _ => chance.below(1000).to_string(),
    }
}
