//! The toy itself: what is true, and how it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use backstay_model::{Body, Incarnation, Interpreter, Operator, Tick, Version};

use super::log::{Logged, What};
use super::{Entry, OP_APPEND, OP_MOVE, OP_SET, Record, ToyInterpreter};
use crate::{Event, Oracle};

/// Names a transaction that is open.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TransactionId(u64);

/// One change of one record, as a client asks for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Writes a whole record, new or not.
    Put {
        /// Into the namespace of this name.
        name: String,
        /// The record.
        record: Record,
    },
    /// Sets a field.
    Set {
        /// In the namespace of this name.
        name: String,
        /// The record's id.
        id: Vec<u8>,
        /// Which field.
        field: String,
        /// To what.
        value: String,
    },
    /// Appends to a field.
    Append {
        /// In the namespace of this name.
        name: String,
        /// The record's id.
        id: Vec<u8>,
        /// Which field.
        field: String,
        /// What.
        more: String,
    },
    /// Gives the record to another tenant.
    Move {
        /// In the namespace of this name.
        name: String,
        /// The record's id.
        id: Vec<u8>,
        /// To whom.
        tenant: String,
    },
    /// Deletes a record.
    Delete {
        /// From the namespace of this name.
        name: String,
        /// The record's id.
        id: Vec<u8>,
    },
}

impl Operation {
    fn target(&self) -> (&str, &[u8]) {
        match self {
            Operation::Put { name, record } => (name, &record.id),
            Operation::Set { name, id, .. }
            | Operation::Append { name, id, .. }
            | Operation::Move { name, id, .. }
            | Operation::Delete { name, id } => (name, id),
        }
    }
}

/// The state behind the lock.
pub(super) struct State {
    clock: Tick,
    /// How many changes the newest tick has.
    counted: (Tick, u32),
    next_incarnation: u64,
    next_transaction: u64,
    pub(super) oracle: Oracle,
    pub(super) log: Vec<Logged>,
    /// Everything at or before this position is gone from the log.
    pub(super) rolled_over: Tick,
    /// Snapshots before this tick are not held any more.
    pub(super) oldest_snapshot: Tick,
    open: BTreeMap<TransactionId, Vec<Operation>>,
    locked: BTreeSet<(Incarnation, Vec<u8>)>,
    names: BTreeMap<String, Incarnation>,
}

/// A tiny database.
pub struct Toy {
    state: Mutex<State>,
}

impl Default for Toy {
    fn default() -> Toy {
        Toy::new()
    }
}

impl Toy {
    /// The tick at which every toy begins.
    pub const START: Tick = Tick::new(1_700_000_000, 1);

    /// An empty one.
    pub fn new() -> Toy {
        let state = State {
            clock: Toy::START,
            counted: (Tick::ZERO, 0),
            next_incarnation: 1,
            next_transaction: 1,
            oracle: Oracle::default(),
            log: vec![Logged { position: Toy::START, what: What::Visible(vec![Entry::Noop.to_bytes()]) }],
            rolled_over: Tick::ZERO,
            oldest_snapshot: Tick::ZERO,
            open: BTreeMap::new(),
            locked: BTreeSet::new(),
            names: BTreeMap::new(),
        };
        Toy { state: Mutex::new(state) }
    }

    /// The newest tick.
    pub fn now(&self) -> Tick {
        self.lock().clock
    }

    /// What is true, up to now.
    pub fn oracle(&self) -> Oracle {
        self.lock().oracle.clone()
    }

    /// The namespaces as they stand now, by name.
    pub fn namespaces(&self) -> BTreeMap<String, Incarnation> {
        self.lock().names.clone()
    }

    /// Lets whole seconds pass, and writes a heartbeat.
    pub fn pass(&self, seconds: u32) -> Tick {
        let mut state = self.lock();
        state.clock = Tick::new(state.clock.seconds().saturating_add(seconds), 0);
        drop(state);
        self.beat()
    }

    /// Writes a heartbeat.
    pub fn beat(&self) -> Tick {
        let mut state = self.lock();
        let at = state.next_tick();
        state.log.push(Logged { position: at, what: What::Visible(vec![Entry::Noop.to_bytes()]) });
        at
    }

    /// Creates a namespace; `None` when the name is taken.
    pub fn create(&self, name: &str) -> Option<Incarnation> {
        self.define(name, |definition| definition)
    }

    /// Creates a namespace with more in its definition.
    pub fn define(&self, name: &str, with: impl FnOnce(Record) -> Record) -> Option<Incarnation> {
        let mut state = self.lock();
        if state.names.contains_key(name) {
            return None;
        }
        let namespace = Incarnation(state.next_incarnation);
        state.next_incarnation += 1;
        state.names.insert(name.to_owned(), namespace);
        let definition = with(Record::new(&namespace.record_id()).with("name", name)).image();
        state.redefine(namespace, Some(definition));
        Some(namespace)
    }

    /// Changes the definition of a namespace.
    pub fn alter(&self, name: &str, with: impl FnOnce(Record) -> Record) -> Option<Tick> {
        let mut state = self.lock();
        let namespace = *state.names.get(name)?;
        let record = state.definition(namespace)?;
        Some(state.redefine(namespace, Some(with(record).image())))
    }

    /// Gives a namespace another name; `None` when there is none, the name is taken, or a transaction is at work in it.
    pub fn rename(&self, from: &str, to: &str) -> Option<Tick> {
        let mut state = self.lock();
        let namespace = *state.names.get(from)?;
        if state.names.contains_key(to) || state.is_busy(namespace) {
            return None;
        }
        state.names.remove(from);
        state.names.insert(to.to_owned(), namespace);
        let definition = state.definition(namespace)?.with("name", to).image();
        Some(state.redefine(namespace, Some(definition)))
    }

    /// Drops a namespace; `None` when there is none or a transaction is at work in it.
    pub fn drop_namespace(&self, name: &str) -> Option<Tick> {
        let mut state = self.lock();
        let namespace = *state.names.get(name)?;
        if state.is_busy(namespace) {
            return None;
        }
        state.names.remove(name);
        Some(state.redefine(namespace, None))
    }

    /// Carries out operations at one tick, as one entry or as several. Those that cannot be (no such namespace or
    /// record, or a transaction holds the record) are left out; `None` when none is left.
    pub fn apply(&self, operations: &[Operation], together: bool) -> Option<Tick> {
        let mut state = self.lock();
        let at = state.clock.next();
        let entries: Vec<Entry> = operations.iter().filter_map(|operation| state.carry_out(operation, at)).collect();
        if entries.is_empty() {
            return None;
        }
        state.clock = at;
        let entries = if together { vec![Entry::Together(entries)] } else { entries };
        let entries = entries.iter().map(Entry::to_bytes).collect();
        state.log.push(Logged { position: at, what: What::Visible(entries) });
        Some(at)
    }

    /// Opens a transaction: its operations stand in the log from now on, and take effect when it commits. Only the first
    /// operation on each record counts. `None` when none can be carried out.
    pub fn prepare(&self, operations: &[Operation]) -> Option<TransactionId> {
        let mut state = self.lock();
        let mut kept = Vec::new();
        let mut entries = Vec::new();
        for operation in operations {
            let Some((key, entry)) = state.entry_for(operation) else { continue };
            state.locked.insert(key);
            entries.push(entry.to_bytes());
            kept.push(operation.clone());
        }
        if kept.is_empty() {
            return None;
        }
        let transaction = TransactionId(state.next_transaction);
        state.next_transaction += 1;
        let at = state.next_tick();
        state.log.push(Logged { position: at, what: What::Prepared(transaction, entries) });
        state.open.insert(transaction, kept);
        Some(transaction)
    }

    /// Commits an open transaction; `None` when it is not open.
    pub fn commit(&self, transaction: TransactionId) -> Option<Tick> {
        let mut state = self.lock();
        let operations = state.release(transaction)?;
        let at = state.next_tick();
        for operation in &operations {
            state.carry_out(operation, at);
        }
        state.log.push(Logged { position: at, what: What::Commit(transaction) });
        Some(at)
    }

    /// Gives an open transaction up; `None` when it is not open.
    pub fn abort(&self, transaction: TransactionId) -> Option<Tick> {
        let mut state = self.lock();
        state.release(transaction)?;
        let at = state.next_tick();
        state.log.push(Logged { position: at, what: What::Abort(transaction) });
        Some(at)
    }

    /// Forgets the log up to and with `through`, as a full oplog does.
    pub fn roll_over(&self, through: Tick) {
        let mut state = self.lock();
        state.log.retain(|logged| logged.position > through);
        state.rolled_over = through;
    }

    /// Forgets snapshots before `oldest`.
    pub fn forget_snapshots(&self, oldest: Tick) {
        self.lock().oldest_snapshot = oldest;
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next_tick(&mut self) -> Tick {
        self.clock = self.clock.next();
        self.clock
    }

    pub(super) fn clock(&self) -> Tick {
        self.clock
    }

    pub(super) fn namespace(&self, name: &str) -> Option<Incarnation> {
        self.names.get(name).copied()
    }

    pub(super) fn definition(&self, namespace: Incarnation) -> Option<Record> {
        let (_, image) = self.oracle.state(Incarnation::SYSTEM, &namespace.record_id(), self.clock)?;
        Record::parse(image).ok()
    }

    fn is_busy(&self, namespace: Incarnation) -> bool {
        self.locked.iter().any(|(of, _)| *of == namespace)
    }

    fn redefine(&mut self, namespace: Incarnation, definition: Option<Vec<u8>>) -> Tick {
        let at = self.next_tick();
        let (body, entry) = match &definition {
            Some(definition) => {
                (Body::Image(definition.clone()), Entry::Define { namespace, definition: definition.clone() })
            }
            None => (Body::Tombstone, Entry::Drop { namespace }),
        };
        let event = Event { body, after: definition.map(|definition| (String::new(), definition)) };
        self.oracle.note(Incarnation::SYSTEM, &namespace.record_id(), Version::new(at, 0), event);
        self.log.push(Logged { position: at, what: What::Visible(vec![entry.to_bytes()]) });
        at
    }

    /// The entry of an operation, and the record it changes; `None` when it cannot be carried out.
    fn entry_for(&self, operation: &Operation) -> Option<((Incarnation, Vec<u8>), Entry)> {
        let (name, id) = operation.target();
        let namespace = self.namespace(name)?;
        let key = (namespace, id.to_vec());
        if self.locked.contains(&key) {
            return None;
        }
        let exists = self.oracle.state(namespace, id, Tick::MAX).is_some();
        let (name, id) = (name.to_owned(), id.to_vec());
        let operand = |operator: Operator, delta: String| Entry::Operand {
            namespace,
            name: name.clone(),
            id: id.clone(),
            operator,
            delta: delta.into_bytes(),
        };
        let entry = match operation {
            Operation::Put { record, .. } => {
                Entry::Put { namespace, name: name.clone(), id: id.clone(), image: record.image() }
            }
            _ if !exists => return None,
            Operation::Set { field, value, .. } => operand(OP_SET, format!("{field}={value}")),
            Operation::Append { field, more, .. } => operand(OP_APPEND, format!("{field}={more}")),
            Operation::Move { tenant, .. } => operand(OP_MOVE, tenant.clone()),
            Operation::Delete { .. } => Entry::Delete { namespace, name: name.clone(), id: id.clone() },
        };
        Some((key, entry))
    }

    fn carry_out(&mut self, operation: &Operation, at: Tick) -> Option<Entry> {
        let ((namespace, id), entry) = self.entry_for(operation)?;
        let before = self.oracle.state(namespace, &id, Tick::MAX).map(|(_, image)| image.to_vec());
        let (body, image) = match &entry {
            Entry::Put { image, .. } => (Body::Image(image.clone()), Some(image.clone())),
            Entry::Operand { operator, delta, .. } => {
                let mut image = Vec::new();
                ToyInterpreter.fold(*operator, &before?, delta, &mut image).expect("the toy folds its own deltas");
                (Body::Delta(*operator, delta.clone()), Some(image))
            }
            _ => (Body::Tombstone, None),
        };
        let tenant = |image: &[u8]| Record::parse(image).expect("the toy wrote it").tenant().to_owned();
        let after = image.map(|image| (tenant(&image), image));
        let version = self.next_version(at);
        self.oracle.note(namespace, &id, version, Event { body, after });
        Some(entry)
    }

    /// Changes of one tick are counted in their order.
    fn next_version(&mut self, at: Tick) -> Version {
        if self.counted.0 != at {
            self.counted = (at, 0);
        }
        let version = Version::new(at, self.counted.1);
        self.counted.1 += 1;
        version
    }

    fn release(&mut self, transaction: TransactionId) -> Option<Vec<Operation>> {
        let operations = self.open.remove(&transaction)?;
        for operation in &operations {
            let (name, id) = operation.target();
            if let Some(namespace) = self.namespace(name) {
                self.locked.remove(&(namespace, id.to_vec()));
            }
        }
        Some(operations)
    }
}
