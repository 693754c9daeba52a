//! The changes of unsorted tails, in memory, grouped by record.
//!
//! ```text
//!   arena   ids and values, one behind the other
//!   ops     one a change: version, body, what is known of the tenant
//!   groups  one a record, ascending by (namespace, id): its ops, ascending by version
//! ```
//!
//! The table is what makes a read see changes that no run holds yet. Its size is bounded by whoever fills it (see
//! `tails`).

use std::collections::HashMap;
use std::ops::Range;

use backstay_model::{BodyRef, Change, Incarnation, Operator, Tenant, TenantHint, Tick, Version};
use backstay_segment::split_key;

/// One change.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    pub version: Version,
    pub tenant: OpTenant,
    /// Which name its namespace had.
    pub name: u32,
    key: Range<u32>,
    kind: OpKind,
    value: Range<u32>,
}

#[derive(Clone, Copy, Debug)]
enum OpKind {
    Image,
    Delta(Operator),
    Tombstone,
}

/// What is known of the owner after a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OpTenant {
    /// The tenant with this number in the table.
    Known(u32),
    /// The same as before.
    Kept,
    /// To be seen from the image.
    MayMove,
}

/// A record and its changes.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    key: Range<u32>,
    ops: Range<u32>,
}

/// Changes grouped by record.
#[derive(Default)]
pub(crate) struct Table {
    arena: Vec<u8>,
    ops: Vec<Op>,
    groups: Vec<Group>,
    tenants: Vec<Tenant>,
    tenant_numbers: HashMap<Tenant, u32>,
    names: Vec<String>,
    name_numbers: HashMap<String, u32>,
    last_name: u32,
}

impl Table {
    /// Adds a change; the groups are made by [`Table::group`] afterwards.
    pub fn push(&mut self, change: &Change<'_>) {
        let key_start = self.mark();
        self.arena.extend_from_slice(&change.namespace.0.to_be_bytes());
        self.arena.extend_from_slice(change.id);
        let key = key_start..self.mark();
        let (kind, bytes): (OpKind, &[u8]) = match change.body {
            BodyRef::Image(image) => (OpKind::Image, image),
            BodyRef::Delta(operator, delta) => (OpKind::Delta(operator), delta),
            BodyRef::Tombstone => (OpKind::Tombstone, &[]),
        };
        let value_start = self.mark();
        self.arena.extend_from_slice(bytes);
        let value = value_start..self.mark();
        let tenant = match &change.tenant {
            TenantHint::Known(tenant) => OpTenant::Known(self.tenant_number(tenant)),
            TenantHint::Kept => OpTenant::Kept,
            TenantHint::MayMove => OpTenant::MayMove,
        };
        let name = self.name_number(change.name);
        self.ops.push(Op { version: change.version, tenant, name, key, kind, value });
    }

    fn mark(&self) -> u32 {
        u32::try_from(self.arena.len()).expect("the tail budget is far below 4 GiB")
    }

    pub fn tenant_number(&mut self, tenant: &Tenant) -> u32 {
        if let Some(number) = self.tenant_numbers.get(tenant) {
            return *number;
        }
        let number = self.tenants.len() as u32;
        self.tenants.push(tenant.clone());
        self.tenant_numbers.insert(tenant.clone(), number);
        number
    }

    fn name_number(&mut self, name: &str) -> u32 {
        if self.names.get(self.last_name as usize).is_some_and(|last| last == name) {
            return self.last_name;
        }
        self.last_name = match self.name_numbers.get(name) {
            Some(number) => *number,
            None => {
                self.names.push(name.to_owned());
                let number = self.names.len() as u32 - 1;
                self.name_numbers.insert(name.to_owned(), number);
                number
            }
        };
        self.last_name
    }

    /// Sorts the changes and groups them by record. The same change twice (tails that overlap) counts once.
    pub fn group(&mut self) {
        let arena = &self.arena;
        let key = |op: &Op| &arena[op.key.start as usize..op.key.end as usize];
        self.ops.sort_by(|a, b| key(a).cmp(key(b)).then(a.version.cmp(&b.version)));
        self.ops.dedup_by(|a, b| a.version == b.version && key(a) == key(b));
        self.groups.clear();
        let mut start = 0;
        for at in 1..=self.ops.len() {
            if at == self.ops.len() || key(&self.ops[at]) != key(&self.ops[start]) {
                self.groups.push(Group { key: self.ops[start].key.clone(), ops: start as u32..at as u32 });
                start = at;
            }
        }
    }

    /// The records, ascending by key.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The key of a record.
    pub fn key(&self, group: &Group) -> &[u8] {
        &self.arena[group.key.start as usize..group.key.end as usize]
    }

    /// The namespace of a record.
    pub fn namespace(&self, group: &Group) -> Incarnation {
        split_key(self.key(group)).map_or(Incarnation::SYSTEM, |(namespace, _)| namespace)
    }

    /// The changes of a record, ascending by version.
    pub fn ops(&self, group: &Group) -> &[Op] {
        &self.ops[group.ops.start as usize..group.ops.end as usize]
    }

    /// What a change leaves behind.
    pub fn body(&self, op: &Op) -> BodyRef<'_> {
        let value = &self.arena[op.value.start as usize..op.value.end as usize];
        match op.kind {
            OpKind::Image => BodyRef::Image(value),
            OpKind::Delta(operator) => BodyRef::Delta(operator, value),
            OpKind::Tombstone => BodyRef::Tombstone,
        }
    }

    /// The name that the namespace of a change had.
    pub fn name(&self, op: &Op) -> &str {
        &self.names[op.name as usize]
    }

    /// A tenant by its number.
    pub fn tenant(&self, number: u32) -> &Tenant {
        &self.tenants[number as usize]
    }

    /// The positions of the records of a namespace.
    pub fn namespace_groups(&self, namespace: Incarnation) -> Range<usize> {
        let from = self.groups.partition_point(|group| self.namespace(group) < namespace);
        let to = self.groups.partition_point(|group| self.namespace(group) <= namespace);
        from..to
    }

    /// The position of the record with this key.
    pub fn find(&self, key: &[u8]) -> Option<usize> {
        self.groups.binary_search_by(|group| self.key(group).cmp(key)).ok()
    }
}

/// The changes of `ops` (ascending) up to and with `through`.
pub(crate) fn up_to(ops: &[Op], through: Tick) -> &[Op] {
    &ops[..ops.partition_point(|op| op.version.tick <= through)]
}
