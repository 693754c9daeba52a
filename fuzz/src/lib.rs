//! Everything that reads bytes from a server or from storage, as functions that take any bytes: for a fuzzer.
//!
//! ```text
//!   libfuzzer/   one program a target ──┐
//!                                       ├──▶ a target ──▶ the decoder, and what must hold of what it makes
//!   tests/corpus.rs   every kept input ─┘
//!   corpus/{target}/  inputs that reach what others do not; kept, so that every test run goes there again
//! ```
//!
//! A target returns, or panics: then there is a defect, in the decoder or in what is said of it here. Decoders that stand
//! behind a cipher are reached without it, through the modules `fuzzing` of their crates. `docs/how-to/fuzz.md` has the
//! commands.

mod definition;
mod forge;
mod ids;
mod oplog;
mod query;
mod update;

macro_rules! targets {
    ($($(#[doc = $words:literal])+ $name:ident => $function:expr,)+) => {
        $($(#[doc = $words])+ pub fn $name(bytes: &[u8]) { let function: fn(&[u8]) = $function; function(bytes) })+

        /// All targets, by name.
        pub const TARGETS: &[(&str, fn(&[u8]))] = &[$((stringify!($name), $name)),+];
    };
}

targets! {
    /// Header and trailer of a segment.
    segment_header => backstay_segment::fuzzing::header,
    /// The directory of a run.
    segment_run_directory => backstay_segment::fuzzing::run_directory,
    /// The directory of a tail.
    segment_tail_directory => backstay_segment::fuzzing::tail_directory,
    /// A tenant's index page.
    segment_index_page => backstay_segment::fuzzing::index_page,
    /// A block of a run.
    segment_block => backstay_segment::fuzzing::block,
    /// A block of a tail.
    segment_tail_block => backstay_segment::fuzzing::tail_block,
    /// A compressed block, whose directory says how long it is.
    segment_compressed => backstay_segment::fuzzing::compressed,
    /// A commit as an object.
    ledger_object => backstay_ledger::fuzzing::object,
    /// The public part of a commit or a checkpoint.
    ledger_skeleton => backstay_ledger::fuzzing::skeleton,
    /// The facts of a commit, and the state that they make.
    ledger_facts => backstay_ledger::fuzzing::facts,
    /// The state that a checkpoint holds.
    ledger_image => backstay_ledger::fuzzing::image,
    /// The names of commits and checkpoints.
    ledger_names => backstay_ledger::fuzzing::names,
    /// A keyring's file.
    seal_keyring => backstay_seal::fuzzing::keyring,
    /// Digests and ids as text and as bytes.
    seal_text => backstay_seal::fuzzing::text,
    /// The notes of what was seen of each vault.
    archive_anchors => backstay_archive::fuzzing::anchors,
    /// The marker of a repository.
    archive_marker => backstay_archive::fuzzing::marker,
    /// An entry of the journal of restores.
    engine_journal => backstay_engine::fuzz_journal,
    /// A configuration.
    cli_config => config,
    /// An answer of an object store.
    store_answer => backstay_store::fuzzing::answer,
    /// Repository URLs and object paths.
    store_names => backstay_store::fuzzing::names,
    /// Documents: walked, checked, shown, and their fields counted.
    bson_walk => ids::walk,
    /// Record ids, from a document and from their own form.
    record_id => ids::record_id,
    /// Record ids and documents as text.
    extended_json => ids::text,
    /// An entry of the oplog.
    oplog_entry => oplog::entry,
    /// Entries of the oplog as capture follows them.
    oplog_tail => oplog::tail,
    /// An event of a change stream.
    stream_event => oplog::event,
    /// The diffs of servers from 5.0 on, against a simple model.
    update_diff => update::diff,
    /// The paths of servers up to 4.4, against a simple model.
    update_paths => update::paths,
    /// Definitions of collections, and their edits.
    definition => definition::definition,
    /// A filter, asked of a record.
    filter => query::filter,
    /// Protected namespaces and tenant rules, as the ledger keeps them.
    protection => query::protection,
}

fn config(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        backstay_cli::config::fuzz(text);
    }
}
