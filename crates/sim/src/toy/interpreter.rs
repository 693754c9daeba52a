//! Explains the toy's bytes.

use backstay_model::{
    BodyRef, Change, Incarnation, InterpretError, Interpreter, NamespaceInfo, NamespaceKind, Operator, Tenant,
    TenantHint, Tick, Version,
};

use super::{Entry, Record};

/// Sets a field: `name=value`. Applying it twice does no harm.
pub const OP_SET: Operator = Operator(1);
/// Gives the record to another tenant: the delta is the name.
pub const OP_MOVE: Operator = Operator(2);
/// Appends to a field: `name=more`. Applying it twice shows.
pub const OP_APPEND: Operator = Operator(3);

/// The toy's interpreter.
#[derive(Clone, Copy, Debug, Default)]
pub struct ToyInterpreter;

impl Interpreter for ToyInterpreter {
    fn changes(
        &self,
        entry: &[u8],
        visible: Tick,
        first_ordinal: u32,
        sink: &mut dyn FnMut(Change<'_>),
    ) -> Result<u32, InterpretError> {
        let entry = Entry::parse(entry)?;
        let entries = match &entry {
            Entry::Together(entries) => entries.as_slice(),
            one => std::slice::from_ref(one),
        };
        let mut ordinal = first_ordinal;
        for entry in entries {
            ordinal += change(entry, Version::new(visible, ordinal), sink)?;
        }
        Ok(ordinal - first_ordinal)
    }

    fn fold(&self, operator: Operator, image: &[u8], delta: &[u8], out: &mut Vec<u8>) -> Result<(), InterpretError> {
        let mut record = Record::parse(image)?;
        let malformed = |why: &str| InterpretError::Malformed { what: "toy delta", why: why.to_owned() };
        let delta = std::str::from_utf8(delta).map_err(|_| malformed("it is not text"))?;
        let field = || delta.split_once('=').ok_or_else(|| malformed("it names no field"));
        match operator {
            OP_SET => {
                let (name, value) = field()?;
                record.set(name, value);
            }
            OP_MOVE => record.set("tenant", delta),
            OP_APPEND => {
                let (name, more) = field()?;
                let longer = format!("{}{more}", record.get(name).unwrap_or_default());
                record.set(name, &longer);
            }
            Operator(other) => {
                return Err(InterpretError::Unknown { what: "toy operator", name: other.to_string() });
            }
        }
        out.clear();
        out.extend_from_slice(&record.image());
        Ok(())
    }

    fn tenant<'a>(&self, _name: &str, image: &'a [u8], scratch: &'a mut String) -> &'a str {
        match Record::parse(image) {
            Ok(record) => {
                record.tenant().clone_into(scratch);
                scratch
            }
            Err(_) => Tenant::UNASSIGNED_NAME,
        }
    }

    fn describe(&self, definition: &[u8]) -> Result<NamespaceInfo, InterpretError> {
        let record = Record::parse(definition)?;
        let name = record
            .get("name")
            .ok_or(InterpretError::Malformed { what: "toy definition", why: "it has no name".to_owned() })?;
        let lost = record.get("lost").map(str::to_owned);
        Ok(NamespaceInfo { name: name.to_owned(), kind: NamespaceKind::Collection, lost })
    }

    fn display_id(&self, id: &[u8]) -> String {
        String::from_utf8_lossy(id).into_owned()
    }

    fn display_record(&self, image: &[u8]) -> Result<String, InterpretError> {
        Record::parse(image)?;
        Ok(String::from_utf8_lossy(image).into_owned())
    }
}

fn change(entry: &Entry, version: Version, sink: &mut dyn FnMut(Change<'_>)) -> Result<u32, InterpretError> {
    match entry {
        Entry::Put { namespace, name, id, image } => {
            let tenant = TenantHint::Known(Tenant::new(Record::parse(image)?.tenant()));
            sink(Change { namespace: *namespace, name, id, version, body: BodyRef::Image(image), tenant });
        }
        Entry::Operand { namespace, name, id, operator, delta } => {
            let tenant = if *operator == OP_MOVE { TenantHint::MayMove } else { TenantHint::Kept };
            let body = BodyRef::Delta(*operator, delta);
            sink(Change { namespace: *namespace, name, id, version, body, tenant });
        }
        Entry::Delete { namespace, name, id } => {
            let (body, tenant) = (BodyRef::Tombstone, TenantHint::Kept);
            sink(Change { namespace: *namespace, name, id, version, body, tenant });
        }
        Entry::Define { namespace, definition } => {
            sink(system(&namespace.record_id(), version, BodyRef::Image(definition)));
        }
        Entry::Drop { namespace } => sink(system(&namespace.record_id(), version, BodyRef::Tombstone)),
        Entry::Noop => return Ok(0),
        Entry::Together(_) => {
            return Err(InterpretError::Malformed { what: "toy entry", why: "it is nested".to_owned() });
        }
    }
    Ok(1)
}

fn system<'a>(id: &'a [u8], version: Version, body: BodyRef<'a>) -> Change<'a> {
    let tenant = TenantHint::Known(Tenant::system());
    Change { namespace: Incarnation::SYSTEM, name: "", id, version, body, tenant }
}
