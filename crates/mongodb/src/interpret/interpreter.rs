//! The whole as one object, for the archive.

use std::borrow::Cow;

use backstay_model::{Break, Change, Incarnation, InterpretError, Interpreter, NamespaceInfo, Operator, Tick};

use crate::interpret::oplog::form_of;
use crate::interpret::raw::{self, Element};
use crate::interpret::scope::{Include, Scope};
use crate::interpret::tenants::Rules;
use crate::interpret::update::{self, Form};
use crate::interpret::{decode_id, definition, event, extjson, oplog};

/// The `$set` and `$unset` of servers up to 4.4; the delta is the field `o` of the entry.
pub const UPDATE_PATHS: Operator = Operator(1);
/// The diff of servers from 5.0 on; the delta is the field `o` of the entry.
pub const UPDATE_DIFF: Operator = Operator(2);

/// Explains MongoDB's bytes, for what is included and by the tenant rules.
#[derive(Debug, Default)]
pub struct MongoInterpreter {
    scope: Scope,
}

impl MongoInterpreter {
    /// An interpreter for these namespaces and tenant rules.
    pub fn new(include: Include, rules: Rules) -> MongoInterpreter {
        MongoInterpreter { scope: Scope::new(include, rules) }
    }

    /// What is protected, and whose it is.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }
}

impl Interpreter for MongoInterpreter {
    fn changes(
        &self,
        entry: &[u8],
        visible: Tick,
        first_ordinal: u32,
        sink: &mut dyn FnMut(Change<'_>),
    ) -> Result<u32, InterpretError> {
        oplog::changes(&self.scope, entry, visible, first_ordinal, sink)
    }

    fn break_at(&self, entry: &[u8]) -> Option<Break> {
        oplog::break_at(&self.scope, entry)
    }

    fn begins_again(&self, namespace: Incarnation) -> bool {
        event::is_made_of_a_name(namespace)
    }

    fn fold(&self, operator: Operator, image: &[u8], delta: &[u8], out: &mut Vec<u8>) -> Result<(), InterpretError> {
        match form_of(operator) {
            Some(Form::Diff) => update::apply_diff(image, delta, out),
            Some(Form::Paths) => update::apply_paths(image, delta, out),
            _ => definition::edit(operator, image, delta, out),
        }
    }

    fn tenant<'a>(&self, name: &str, image: &'a [u8], scratch: &'a mut String) -> &'a str {
        let known = self.scope.namespace(name);
        scratch.clear();
        // A record that cannot be read has no field that could assign it.
        match known.owner.by_field(image) {
            Ok(Some(Cow::Borrowed(tenant))) => return tenant,
            Ok(Some(Cow::Owned(tenant))) => *scratch = tenant,
            Ok(None) | Err(_) => scratch.push_str(known.owner.otherwise().as_str()),
        }
        scratch
    }

    fn describe(&self, definition: &[u8]) -> Result<NamespaceInfo, InterpretError> {
        definition::describe(definition)
    }

    fn expires(&self, definition: &[u8]) -> bool {
        // What cannot be read is not restored either.
        definition::expires(definition).unwrap_or(false)
    }

    fn display_id(&self, id: &[u8]) -> String {
        let shown = decode_id(id).and_then(|(kind, value)| extjson::value(Element { kind, name: &[], value: &value }));
        shown.unwrap_or_else(|_| format!("(not an id: {})", backstay_model::hex(id)))
    }

    fn display_id_in(&self, image: &[u8], id: &[u8]) -> String {
        let own = raw::find(image, b"_id").ok().flatten().and_then(|own| extjson::value(own).ok());
        own.unwrap_or_else(|| self.display_id(id))
    }

    fn display_record(&self, image: &[u8]) -> Result<String, InterpretError> {
        extjson::document(image)
    }
}
