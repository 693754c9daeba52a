//! What happened to one record.

use crate::{Incarnation, Tenant, Version};

/// Identifies how a delta is to be applied. A reader that does not know an operator's number moves its operands along
/// and refuses to fold them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Operator(pub u16);

/// What a change leaves behind, owning its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// The whole record.
    Image(Vec<u8>),
    /// An operand for the merge operator of this number.
    Delta(Operator, Vec<u8>),
    /// The record is gone.
    Tombstone,
}

/// What a change leaves behind, borrowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyRef<'a> {
    /// The whole record.
    Image(&'a [u8]),
    /// An operand for the merge operator of this number.
    Delta(Operator, &'a [u8]),
    /// The record is gone.
    Tombstone,
}

impl BodyRef<'_> {
    /// The same with bytes of its own.
    pub fn to_owned(&self) -> Body {
        match *self {
            BodyRef::Image(image) => Body::Image(image.to_vec()),
            BodyRef::Delta(operator, delta) => Body::Delta(operator, delta.to_vec()),
            BodyRef::Tombstone => Body::Tombstone,
        }
    }
}

impl Body {
    /// A view of it.
    pub fn as_ref(&self) -> BodyRef<'_> {
        match self {
            Body::Image(image) => BodyRef::Image(image),
            Body::Delta(operator, delta) => BodyRef::Delta(*operator, delta),
            Body::Tombstone => BodyRef::Tombstone,
        }
    }
}

/// What an entry of a change feed says about the owner of the record it changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TenantHint {
    /// The owner after the change.
    Known(Tenant),
    /// The owner before the change, whoever that is: the change cannot alter it.
    Kept,
    /// Only the record as it stands after the change tells.
    MayMove,
}

/// One change of one record, as an interpreter reads it out of a source's entry.
#[derive(Debug)]
pub struct Change<'a> {
    /// The namespace's identity; [`Incarnation::SYSTEM`] for a change of a definition.
    pub namespace: Incarnation,
    /// The namespace's name at that moment; empty for the system space.
    pub name: &'a str,
    /// The record's id in memcomparable form.
    pub id: &'a [u8],
    /// The change's place in history.
    pub version: Version,
    /// What it leaves behind.
    pub body: BodyRef<'a>,
    /// Whose record it is.
    pub tenant: TenantHint,
}
