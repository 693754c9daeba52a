//! Commands as bytes: a head made the comfortable way, and behind it what must not pass through a tree of values (ids
//! of every type, whole records).
//!
//! ```text
//!   Command::new(doc!{ "insert": … })   .array("documents", |elements| …)   .finish()
//! ```

use backstay_source::{Error, Result};
use bson::{Document, RawDocumentBuf};

use crate::interpret::raw::{self, Element, kind};

/// A command that is being written.
#[derive(Debug)]
pub(crate) struct Command {
    /// A document that lacks its end.
    bytes: Vec<u8>,
}

impl Command {
    /// A command that begins with `head`, which names it.
    pub(crate) fn new(head: &Document) -> Result<Command> {
        let raw = RawDocumentBuf::try_from(head).map_err(|error| unwritable(&error))?;
        let mut bytes = raw.into_bytes();
        bytes.pop();
        Ok(Command { bytes })
    }

    /// Adds a field with a document that `fill` writes the elements of.
    pub(crate) fn document(mut self, field: &str, fill: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<Command> {
        self.nested(kind::DOCUMENT, field, fill)?;
        Ok(self)
    }

    /// Adds a field with an array that `fill` writes the elements of.
    pub(crate) fn array(mut self, field: &str, fill: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<Command> {
        self.nested(kind::ARRAY, field, fill)?;
        Ok(self)
    }

    /// Adds a field as it stands in another document.
    pub(crate) fn element(mut self, element: &Element<'_>) -> Command {
        raw::put(&mut self.bytes, element.kind, element.name, element.value);
        self
    }

    /// The finished command.
    pub(crate) fn finish(mut self) -> Result<RawDocumentBuf> {
        raw::close(&mut self.bytes, 0)?;
        RawDocumentBuf::from_bytes(self.bytes).map_err(|error| unwritable(&error))
    }

    fn nested(&mut self, kind: u8, field: &str, fill: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        let start = raw::put_document(&mut self.bytes, kind, field.as_bytes());
        fill(&mut self.bytes)?;
        Ok(raw::close(&mut self.bytes, start)?)
    }
}

fn unwritable(error: &bson::error::Error) -> Error {
    Error::Refused { what: "writing a command".to_owned(), why: error.to_string() }
}
