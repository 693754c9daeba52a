//! The commands of the oplog, by what they do to records and definitions.

use backstay_model::InterpretError;

/// A command by its effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// `create`: an incarnation begins.
    Create,
    /// `drop`: an incarnation ends.
    Drop,
    /// `renameCollection`: a name moves; the incarnation that had it ends.
    Rename,
    /// `createIndexes`, `commitIndexBuild`: indexes are there.
    AddIndexes,
    /// `dropIndexes` and its older names: an index is gone.
    DropIndexes,
    /// `collMod`: options or indexes change.
    Modify,
    /// `applyOps`: entries within the entry.
    ApplyOps,
    /// Known, and no record or definition changes.
    Nothing,
}

impl Command {
    /// The command of this name.
    ///
    /// # Errors
    /// [`InterpretError::Unknown`] when it is not known, or known to change records in a way that cannot be followed.
    pub fn by_name(name: &str) -> Result<Command, InterpretError> {
        Ok(match name {
            "create" => Command::Create,
            "drop" => Command::Drop,
            "renameCollection" => Command::Rename,
            "createIndexes" | "commitIndexBuild" => Command::AddIndexes,
            "dropIndexes" | "dropIndex" | "deleteIndexes" | "deleteIndex" => Command::DropIndexes,
            "collMod" => Command::Modify,
            "applyOps" => Command::ApplyOps,
            // Collections are dropped one by one before their database. What converts to a capped collection does so
            // by inserting into a new one and renaming it.
            "dropDatabase"
            | "startIndexBuild"
            | "abortIndexBuild"
            | "commitTransaction"
            | "abortTransaction"
            | "convertToCapped"
            | "dbCheck"
            | "setMultikeyMetadata"
            | "dropIdent"
            | "createDatabaseMetadata"
            | "dropDatabaseMetadata"
            | "modifyCollectionShardingIndexCatalog" => Command::Nothing,
            // `importCollection`, `emptycapped`, `truncateRange`, `upgradeDowngradeViewlessTimeseries` and what is
            // yet to come: records change that no entry names.
            other => return Err(InterpretError::Unknown { what: "oplog entry", name: other.to_owned() }),
        })
    }
}
