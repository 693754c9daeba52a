//! Definitions of collections: from the server's lists or the oplog, and their edits.

use backstay_mongodb::interpret::definition::{self, ADD_INDEXES, DROP_INDEXES, Definition, MODIFY, RENAME};

use crate::forge::Forge;

/// One that is built of options and indexes, or taken as it is; then edited.
pub(crate) fn definition(bytes: &[u8]) {
    let mut forge = Forge::new(bytes);
    let made = if forge.byte() & 1 == 0 {
        forge.document()
    } else {
        let options = forge.document();
        let indexes: Vec<Vec<u8>> = (0..forge.byte() % 4).map(|_| forge.document()).collect();
        let built = definition::build("shop.orders", &[7; 16], &options, indexes.iter().map(Vec::as_slice));
        let Ok(built) = built else { return };
        reads_back(&built);
        built
    };
    let _ = definition::describe(&made);
    let Ok(read) = Definition::read(&made) else { return };
    let mut current = read.to_bytes().expect("it is small");
    reads_back(&current);
    for _ in 0..4 {
        if forge.is_empty() {
            return;
        }
        let operator = forge.choose(&[RENAME, ADD_INDEXES, DROP_INDEXES, MODIFY]);
        let edit = forge.document();
        let mut edited = Vec::new();
        if definition::edit(operator, &current, &edit, &mut edited).is_ok() {
            reads_back(&edited);
            current = edited;
        }
    }
}

/// A definition is in one form: reading and writing it changes nothing.
fn reads_back(bytes: &[u8]) {
    definition::describe(bytes).expect("what was written is described");
    let read = Definition::read(bytes).expect("what was written is read");
    assert_eq!(read.to_bytes().expect("it is small"), bytes);
}
