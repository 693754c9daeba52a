//! Checking that the archive is what its ledger says, down to every record when asked to.
//!
//! ```text
//!   marker    `backstay.json`: its signature                               always
//!   chain     every commit: signature, hash link, place                    always
//!   objects   every live segment: there, its length, its BLAKE3 hash       always, or a sample
//!   content   every directory, page and block opens and decodes;           with --content
//!             the digest of every base run is computed again and compared
//! ```

use std::sync::Arc;

use backstay_ledger::{SegmentInfo, Shape, verify_chain};
use backstay_seal::Digest;
use backstay_segment::{BlockCursor, Header, IndexPage, RunDirectory, TailBlock, Trailer, split_key};
use bytes::Bytes;
use serde::Serialize;

use crate::load::Opener;
use crate::repository::MARKER;
use crate::vault::Inner;
use crate::{Error, Result, Vault, parallel};

/// How thorough to be.
#[derive(Clone, Copy, Debug, Default)]
pub struct VerifyOptions {
    /// Only the segments number n, n + t, n + 2t, … of those that are live: `(n, t)`, n from 1.
    pub sample: Option<(u64, u64)>,
    /// Open and decode everything.
    pub content: bool,
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Problem {
    /// `missing`, `altered`, `foreign`, `unreadable`, `key`, `newer` or `cut`.
    pub kind: String,
    /// The object's path.
    pub object: String,
    /// What is wrong, in words.
    pub detail: String,
}

/// What was checked and found.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct VerifyReport {
    /// How many objects were checked.
    pub checked: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Records and entries that were decoded.
    pub records: u64,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

impl Vault {
    /// Checks the vault. Goes on after a problem, so that one report names them all. `progress` hears bytes done and
    /// bytes in all.
    pub async fn verify(
        repository: &crate::Repository,
        name: &str,
        options: VerifyOptions,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<VerifyReport> {
        let trusted = repository
            .keyring
            .verifying_key()
            .map_err(|source| Error::Key { object: format!("the vault of `{name}`"), source })?;
        let chain = verify_chain(&repository.store, name, &trusted).await?;
        let mut report = VerifyReport { checked: chain.checked, ..VerifyReport::default() };
        for problem in chain.problems {
            let kind = match problem.kind {
                backstay_ledger::ProblemKind::Missing => "missing",
                backstay_ledger::ProblemKind::Foreign => "foreign",
                backstay_ledger::ProblemKind::Unreadable => "unreadable",
                backstay_ledger::ProblemKind::Newer => "newer",
                _ => "altered",
            };
            report.problems.push(Problem { kind: kind.into(), object: problem.object, detail: problem.detail });
        }
        report.checked += 1;
        if let Err(error) = repository.check_marker().await {
            report.problems.push(problem(MARKER.to_owned(), &error));
        }
        let vault = match repository.vault(name).await {
            Ok(vault) => vault,
            Err(Error::Cut { object, why, .. }) => {
                report.problems.push(Problem { kind: "cut".to_owned(), object, detail: why });
                return Ok(report);
            }
            Err(error) => {
                if report.problems.is_empty() {
                    return Err(error);
                }
                return Ok(report);
            }
        };
        let state = vault.state().await;
        let mut segments: Vec<Arc<SegmentInfo>> = state.segments().cloned().collect();
        if let Some((n, t)) = options.sample.filter(|(_, t)| *t > 0) {
            let mut number = 0;
            segments.retain(|_| {
                number += 1;
                number % t == n % t
            });
        }
        let total: u64 = segments.iter().map(|info| info.bytes).sum();
        for info in segments {
            let path = vault.inner.segment_path(&info.id);
            report.checked += 1;
            match check_segment(&vault.inner, &info, options.content).await {
                Ok(records) => report.records += records,
                Err(error) => report.problems.push(problem(path, &error)),
            }
            report.bytes += info.bytes;
            progress(report.bytes, total);
        }
        Ok(report)
    }
}

fn problem(path: String, error: &Error) -> Problem {
    let kind = match error {
        Error::Missing { .. } => "missing",
        Error::Key { .. } => "key",
        Error::Store(_) => "unreadable",
        _ => "altered",
    };
    let detail = match error {
        Error::Damaged { object, why } if *object == path => why.clone(),
        other => other.to_string(),
    };
    Problem { kind: kind.to_owned(), object: path, detail }
}

async fn check_segment(inner: &Arc<Inner>, info: &Arc<SegmentInfo>, content: bool) -> Result<u64> {
    let path = inner.segment_path(&info.id);
    let file = inner.read_whole(info).await?;
    let (inner, info) = (Arc::clone(inner), Arc::clone(info));
    let check = tokio::task::spawn_blocking(move || {
        if <[u8; 32]>::from(blake3::hash(&file)) != info.hash {
            return Err(Error::Damaged { object: path, why: "its bytes are not those that were committed".to_owned() });
        }
        match (content, info.shape) {
            (false, _) => Ok(0),
            (true, Shape::Tail) => check_tail(&inner, &path, &file, &info),
            (true, _) => check_run(&inner, &path, &file, &info),
        }
    });
    check.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

fn check_tail(inner: &Inner, path: &str, file: &[u8], info: &SegmentInfo) -> Result<u64> {
    let mut entries = 0;
    TailBlock::open_all(file, inner.vault_key(), |block| {
        block.for_each(|_, _| {
            entries += 1;
            Ok(())
        })
    })
    .map_err(|error| Error::segment(path, error))?;
    expect_count(path, entries, info.entries)
}

fn check_run(inner: &Inner, path: &str, file: &Bytes, info: &SegmentInfo) -> Result<u64> {
    let segment_error = |error| Error::segment(path, error);
    let header = Header::parse(file).map_err(segment_error)?;
    let trailer = Trailer::parse(file, file.len() as u64).map_err(segment_error)?;
    let mut sealed = slice(file, trailer.offset, trailer.len).to_vec();
    let directory = RunDirectory::open(&header, inner.vault_key(), &mut sealed).map_err(segment_error)?;
    let parts = parallel::map_with(
        &directory.tenants,
        || Ok(Opener::default()),
        |opener, tenant| {
            if inner.keys.is_shredded(tenant.key_id()) {
                return Ok(None);
            }
            let key_error = |source| Error::Key { object: format!("{path} (tenant `{}`)", tenant.name), source };
            let key = inner.keys.key(tenant.key_id()).map_err(key_error)?;
            let mut sealed = slice(file, tenant.index_offset, tenant.index_len).to_vec();
            let page = IndexPage::open(&header, &key, &mut sealed).map_err(segment_error)?;
            let opener = opener.turn_to(&header, &key).map_err(segment_error)?;
            let mut digest = Digest::default();
            let mut plain = Vec::new();
            let mut entries = 0u64;
            for (number, block) in page.blocks.iter().enumerate() {
                let place = crate::run::place(tenant, block);
                let sealed = slice(file, place.start, place.end - place.start);
                opener.open(number, block, sealed, &mut plain).map_err(segment_error)?;
                let mut cursor = BlockCursor::new(&plain).map_err(segment_error)?;
                while let Some((_, body)) = cursor.advance().map_err(segment_error)? {
                    entries += 1;
                    if let (backstay_model::BodyRef::Image(image), Shape::BaseRun) = (body, info.shape)
                        && let Some((namespace, id)) = split_key(cursor.key())
                    {
                        digest.add(namespace.0, id, image);
                    }
                }
            }
            Ok::<_, Error>(Some((digest, entries)))
        },
    )?;
    let shredded = parts.iter().any(Option::is_none);
    let mut digest = Digest::default();
    let mut entries = 0;
    for (part, count) in parts.into_iter().flatten() {
        digest.combine(&part);
        entries += count;
    }
    if shredded {
        // What is left opens; sums over all tenants cannot be made any more.
        return Ok(entries);
    }
    if let Some(expected) = directory.digest().map_err(segment_error)?
        && expected != digest
    {
        let why = "the digest of its records is not the one that was written".to_owned();
        return Err(Error::Damaged { object: path.to_owned(), why });
    }
    expect_count(path, entries, info.entries)
}

fn expect_count(path: &str, found: u64, expected: u64) -> Result<u64> {
    if found != expected {
        let why = format!("it holds {found} entries, the ledger says {expected}");
        return Err(Error::Damaged { object: path.to_owned(), why });
    }
    Ok(found)
}

fn slice(file: &[u8], offset: u64, len: u64) -> &[u8] {
    let from = usize::try_from(offset).unwrap_or(usize::MAX);
    let to = from.saturating_add(usize::try_from(len).unwrap_or(usize::MAX));
    file.get(from..to).unwrap_or_default()
}
