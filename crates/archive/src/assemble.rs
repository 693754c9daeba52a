//! Putting tenants' parts together to a run, whoever made them: a scan or a sorting.

use backstay_ledger::{SegmentInfo, Shape};
use backstay_model::Tick;
use backstay_segment::{Header, RunWriter, TenantPart};
use bytes::Bytes;

use crate::vault::Inner;
use crate::{Error, Result};

/// The file of a run, and what the ledger is told of it. `first` and `last` are the ticks of its versions; it covers
/// nothing and belongs to no scan unless the caller adds that.
pub(crate) fn assemble(
    inner: &Inner,
    header: Header,
    shape: Shape,
    parts: Vec<TenantPart>,
    (first, last): (Tick, Tick),
) -> Result<(SegmentInfo, Bytes)> {
    let mut run = RunWriter::new(header);
    run.reserve(&parts);
    for part in parts {
        run.push(part);
    }
    let (entries, raw_bytes) = (run.entries(), run.raw_bytes());
    let path = inner.segment_path(&header.segment);
    let file = run.finish(inner.vault_key()).map_err(|error| Error::segment(&path, error))?;
    let info = SegmentInfo {
        id: header.segment,
        shape,
        bytes: file.len() as u64,
        raw_bytes,
        entries,
        first,
        last,
        hash: blake3::hash(&file).into(),
        covers: Vec::new(),
        scan: None,
        stream: None,
    };
    Ok((info, Bytes::from(file)))
}
