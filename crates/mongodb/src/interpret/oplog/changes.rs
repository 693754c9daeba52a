//! From an entry, of the oplog or of a change stream, to the changes it makes.

mod event;

use backstay_model::{
    BodyRef, Break, Change, Incarnation, InterpretError, Operator, Tenant, TenantHint, Tick, Version,
};

use super::touched::{Touched, touched};
use super::{Command, database, incarnation, text, uuid};
use crate::interpret::event::{Event, is_event};
use crate::interpret::raw::{self, MAX_DEPTH, Result, malformed};
use crate::interpret::scope::Scope;
use crate::interpret::update::Form;
use crate::interpret::{UPDATE_DIFF, UPDATE_PATHS, definition, id, update};

/// Hands each change of `entry`, visible at `visible`, to `sink`, with ordinals from `first_ordinal`; returns how many
/// there were.
///
/// # Errors
/// When the entry is malformed, or [`InterpretError::Unknown`]: records change in a way that cannot be followed, and it
/// does not say in which collection. Where it does, that collection's definition says from then on that it is lost.
/// [`break_at()`] keeps such entries from being archived.
pub fn changes(
    scope: &Scope,
    entry: &[u8],
    visible: Tick,
    first_ordinal: u32,
    sink: &mut dyn FnMut(Change<'_>),
) -> Result<u32> {
    let id = Vec::with_capacity(32);
    let mut reading = Reading { scope, visible, next: first_ordinal, id, sink, looks: Looks::AtChanges };
    reading.entry(entry)?;
    Ok(reading.next - first_ordinal)
}

/// What must be done at `entry` before it is archived, if anything: when [`changes()`] would find that it cannot be followed,
/// or when it gives a collection a name for which other tenant rules hold. Changes of records are passed over.
pub fn break_at(scope: &Scope, entry: &[u8]) -> Option<Break> {
    let op = raw::find(entry, b"op").ok().flatten().and_then(|op| op.as_str());
    if op.is_some_and(|op| matches!(op, "i" | "u" | "d" | "n")) {
        return None;
    }
    let (visible, next, id, looks) = (Tick::ZERO, 0, Vec::new(), Looks::AtBreaks(None));
    let mut reading = Reading { scope, visible, next, id, sink: &mut |_| {}, looks };
    let followed = reading.entry(entry);
    match (reading.looks, followed) {
        (Looks::AtBreaks(Some(found)), _) => Some(found),
        (_, Ok(())) => None,
        (_, Err(InterpretError::Unknown { what, name })) => {
            Some(Break::Untold(format!("the {what} {name} changes records, and does not say where")))
        }
        (_, Err(error)) => Some(Break::Untold(error.to_string())),
    }
}

/// One operation: an entry, or one inside an `applyOps`.
pub(super) struct Operation<'a> {
    pub(super) op: &'a str,
    pub(super) ns: &'a str,
    pub(super) ui: Option<&'a [u8; 16]>,
    pub(super) o: &'a [u8],
    o2: Option<&'a [u8]>,
}

impl<'a> Operation<'a> {
    fn read(entry: &'a [u8]) -> Result<Operation<'a>> {
        let mut op = None;
        let mut ns = None;
        let mut o = None;
        let mut o2 = None;
        let mut ui = None;
        for element in raw::elements(entry)? {
            let element = element?;
            match element.name {
                b"op" => op = Some(text(element, "op")?),
                b"ns" => ns = Some(text(element, "ns")?),
                b"ui" => ui = uuid(element),
                b"o" => o = element.as_document(),
                b"o2" => o2 = element.as_document(),
                _ => {}
            }
        }
        match (op, ns, o) {
            (Some(op), Some(ns), Some(o)) => Ok(Operation { op, ns, ui, o, o2 }),
            _ => Err(malformed("oplog entry", "it lacks its op, ns or o")),
        }
    }

    fn incarnation(&self) -> Result<Incarnation> {
        match self.ui {
            Some(uuid) => Ok(incarnation(uuid)),
            None => Err(malformed("oplog entry", format!("an operation on {} has no collection UUID", self.ns))),
        }
    }
}

/// The state of one entry being read.
struct Reading<'s> {
    scope: &'s Scope,
    visible: Tick,
    next: u32,
    id: Vec<u8>,
    sink: &'s mut dyn FnMut(Change<'_>),
    looks: Looks,
}

/// What a reading is for.
enum Looks {
    AtChanges,
    /// With the first one that was found.
    AtBreaks(Option<Break>),
}

impl Reading<'_> {
    fn entry(&mut self, entry: &[u8]) -> Result<()> {
        match is_event(entry) {
            true => self.event(&Event::read(entry)?),
            false => self.operation(&Operation::read(entry)?, MAX_DEPTH),
        }
    }

    /// What cannot be followed marks its namespace as lost.
    fn operation(&mut self, operation: &Operation<'_>, depth: u32) -> Result<()> {
        match self.follow(operation, depth) {
            Err(InterpretError::Unknown { what, name }) => self.lose(operation, what, name),
            followed => followed,
        }
    }

    fn follow(&mut self, operation: &Operation<'_>, depth: u32) -> Result<()> {
        match operation.op {
            "i" | "u" | "d" if matches!(self.looks, Looks::AtBreaks(_)) => Ok(()),
            "i" | "u" | "d" => self.record(operation),
            "c" => self.command(operation, depth),
            // Nothing, or the server's own bookkeeping below the records.
            "n" | "xi" | "ci" | "cu" | "cd" | "km" => Ok(()),
            other => Err(InterpretError::Unknown { what: "oplog entry", name: format!("op {other}") }),
        }
    }

    fn record(&mut self, operation: &Operation<'_>) -> Result<()> {
        let known = self.scope.namespace(operation.ns);
        if !known.included {
            return Ok(());
        }
        let namespace = operation.incarnation()?;
        let owner = &known.owner;
        let fixed = || owner.constant().map_or(TenantHint::Kept, |tenant| TenantHint::Known(tenant.clone()));
        self.id.clear();
        match operation.op {
            "i" => {
                id::id_of(operation.o, &mut self.id)?;
                let tenant = TenantHint::Known(owner.of(operation.o)?);
                self.emit(namespace, operation.ns, BodyRef::Image(operation.o), tenant)
            }
            "d" => {
                id::id_of(operation.o, &mut self.id)?;
                self.emit(namespace, operation.ns, BodyRef::Tombstone, fixed())
            }
            _ => {
                let Some(o2) = operation.o2 else { return Err(malformed("oplog entry", "an update has no o2")) };
                id::id_of(o2, &mut self.id)?;
                let form = update::form(operation.o)?;
                let operator = match form {
                    Form::Replacement => return self.replacement(namespace, operation, o2),
                    Form::Paths => UPDATE_PATHS,
                    Form::Diff => UPDATE_DIFF,
                };
                let mut tenant = fixed();
                for root in owner.roots() {
                    if update::touches(form, operation.o, root)? {
                        tenant = TenantHint::MayMove;
                        break;
                    }
                }
                self.emit(namespace, operation.ns, BodyRef::Delta(operator, operation.o), tenant)
            }
        }
    }

    fn replacement(&mut self, namespace: Incarnation, operation: &Operation<'_>, o2: &[u8]) -> Result<()> {
        let owner = &self.scope.namespace(operation.ns).owner;
        let first = raw::elements(operation.o)?.next().transpose()?;
        let completed;
        let image = if first.is_some_and(|first| first.name == b"_id") {
            operation.o
        } else {
            completed = with_id_first(operation.o, o2)?;
            &completed
        };
        let tenant = TenantHint::Known(owner.of(image)?);
        self.emit(namespace, operation.ns, BodyRef::Image(image), tenant)
    }

    fn command(&mut self, operation: &Operation<'_>, depth: u32) -> Result<()> {
        let Some(first) = raw::elements(operation.o)?.next().transpose()? else {
            return Err(malformed("oplog entry", "its command is empty"));
        };
        let name = std::str::from_utf8(first.name).map_err(|_| malformed("oplog entry", "its command is not text"))?;
        let command = Command::by_name(name)?;
        match command {
            Command::Nothing => Ok(()),
            Command::ApplyOps => {
                let depth = raw::descend(depth)?;
                let Some(inner) = first.as_array() else {
                    return Err(malformed("oplog entry", "its applyOps is not an array"));
                };
                for operation in raw::elements(inner)? {
                    let Some(operation) = operation?.as_document() else {
                        return Err(malformed("oplog entry", "an operation of its applyOps is not a document"));
                    };
                    self.operation(&Operation::read(operation)?, depth)?;
                }
                Ok(())
            }
            Command::Rename => self.rename(operation, text(first, "old name")?, depth),
            _ => {
                let ns = format!("{}.{}", database(operation.ns), text(first, "collection")?);
                if !self.scope.namespace(&ns).included {
                    return Ok(());
                }
                self.definition(operation, command, &ns)
            }
        }
    }

    fn definition(&mut self, operation: &Operation<'_>, command: Command, ns: &str) -> Result<()> {
        let operator = match command {
            Command::Create => {
                if raw::find(operation.o, b"viewOn")?.is_some() {
                    // A view is a record of `system.views`.
                    return Ok(());
                }
                let definition = definition::build(ns, operation.ui.ok_or_else(|| no_uuid(ns))?, operation.o, [])?;
                return self.emit_definition(operation.incarnation()?, BodyRef::Image(&definition));
            }
            Command::Drop => return self.emit_definition(operation.incarnation()?, BodyRef::Tombstone),
            Command::AddIndexes => definition::ADD_INDEXES,
            Command::DropIndexes => definition::DROP_INDEXES,
            _ => definition::MODIFY,
        };
        self.emit_definition(operation.incarnation()?, BodyRef::Delta(operator, operation.o))
    }

    fn rename(&mut self, operation: &Operation<'_>, from: &str, depth: u32) -> Result<()> {
        let Some(to) = raw::find(operation.o, b"to")?.and_then(|to| to.as_str()) else {
            return Err(malformed("oplog entry", "its renameCollection has no new name"));
        };
        let (old, new) = (self.scope.namespace(from), self.scope.namespace(to));
        let (left, entered) = (old.included, new.included);
        if entered && let Some(dropped) = raw::find(operation.o, b"dropTarget")? {
            match uuid(dropped) {
                Some(uuid) => self.emit_definition(incarnation(uuid), BodyRef::Tombstone)?,
                None if dropped.is_true() => {
                    let why = "its renameCollection does not say which collection it replaces";
                    return Err(malformed("oplog entry", why));
                }
                None => {}
            }
        }
        match (left, entered) {
            (true, true) => {
                if old.owner != new.owner {
                    let namespace = operation.incarnation()?;
                    self.found(|| match depth {
                        MAX_DEPTH => Break::Renamed { namespace, name: to.to_owned() },
                        // Beside it, at the same instant, records may change.
                        _ => Break::Untold(format!("{from} was renamed to {to} together with other changes")),
                    });
                }
                self.emit_definition(operation.incarnation()?, BodyRef::Delta(definition::RENAME, operation.o))
            }
            // It is no longer among what is protected.
            (true, false) => self.emit_definition(operation.incarnation()?, BodyRef::Tombstone),
            (false, true) => {
                self.found(|| Break::Untold(format!("{from}, which is not protected, was renamed to {to}")));
                Err(InterpretError::Unknown {
                    what: "oplog entry",
                    name: format!("renameCollection of {from}, whose records are not held, to {to}"),
                })
            }
            (false, false) => Ok(()),
        }
    }

    fn lose(&mut self, operation: &Operation<'_>, what: &'static str, name: String) -> Result<()> {
        match touched(operation)? {
            Touched::Nothing => Ok(()),
            Touched::Namespace(ns, _) if !self.scope.namespace(&ns).included => Ok(()),
            Touched::Namespace(ns, Some(uuid)) => {
                self.found(|| {
                    Break::Untold(format!("the {what} {name} changes records of {ns}, and does not say which"))
                });
                let definition = definition::lost(&ns, &uuid, &name)?;
                self.emit_definition(incarnation(&uuid), BodyRef::Image(&definition))
            }
            Touched::Namespace(_, None) | Touched::Anything => Err(InterpretError::Unknown { what, name }),
        }
    }

    /// Notes a break, if it is the first, and if breaks are what is looked for.
    fn found(&mut self, found: impl FnOnce() -> Break) {
        if let Looks::AtBreaks(first @ None) = &mut self.looks {
            *first = Some(found());
        }
    }

    fn emit_definition(&mut self, incarnation: Incarnation, body: BodyRef<'_>) -> Result<()> {
        self.id.clear();
        self.id.extend_from_slice(&incarnation.record_id());
        self.emit(Incarnation::SYSTEM, "", body, TenantHint::Known(Tenant::system()))
    }

    fn emit(&mut self, namespace: Incarnation, name: &str, body: BodyRef<'_>, tenant: TenantHint) -> Result<()> {
        let version = Version::new(self.visible, self.next);
        let next = self.next.checked_add(1);
        self.next = next.ok_or_else(|| malformed("oplog entry", "one instant has more than 2^32 changes"))?;
        (self.sink)(Change { namespace, name, id: &self.id, version, body, tenant });
        Ok(())
    }
}

fn no_uuid(ns: &str) -> InterpretError {
    malformed("oplog entry", format!("the creation of {ns} has no collection UUID"))
}

/// A replacement without an `_id` keeps the record's; one that has it elsewhere, as a pipeline may leave it, is logged so,
/// but stored with it in front.
fn with_id_first(o: &[u8], o2: &[u8]) -> Result<Vec<u8>> {
    let own = raw::find(o, b"_id")?;
    let Some(id) = own.map_or_else(|| raw::find(o2, b"_id"), |own| Ok(Some(own)))? else {
        return Err(malformed("oplog entry", "its o2 has no _id"));
    };
    let mut image = Vec::with_capacity(o.len() + id.value.len() + 5);
    let start = raw::open(&mut image);
    raw::put(&mut image, id.kind, id.name, id.value);
    let mut moved = own.is_none();
    for element in raw::elements(o)? {
        let element = element?;
        if !moved && element.name == b"_id" {
            moved = true;
            continue;
        }
        raw::put(&mut image, element.kind, element.name, element.value);
    }
    raw::close(&mut image, start)?;
    Ok(image)
}

/// The operator of a form of update.
pub(crate) fn form_of(operator: Operator) -> Option<Form> {
    match operator {
        UPDATE_PATHS => Some(Form::Paths),
        UPDATE_DIFF => Some(Form::Diff),
        _ => None,
    }
}
