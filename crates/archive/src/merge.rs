//! Merging the layers of one tenant: the runs that hold versions of the same keys.
//!
//! ```text
//!   delta run   k1@9Δ        k3@8†
//!   delta run   k1@5Δ  k2@4
//!   base run    k1@3   k2@3  k3@3  k4@3
//!               └─────┴─────┴─────┴──▶ as of T: the newest image or tombstone at or below T, and the deltas above it
//! ```

use std::borrow::Cow;

use backstay_model::{Body, BodyRef, InterpretError, Interpreter, Tick, Version};
use backstay_segment::BlockCursor;

/// A run's opened blocks of one tenant, read front to back.
pub(crate) struct Layer<'a> {
    blocks: std::slice::Iter<'a, Vec<u8>>,
    cursor: Option<BlockCursor<'a>>,
    current: Option<(Version, BodyRef<'a>)>,
}

impl<'a> Layer<'a> {
    pub fn new(blocks: &'a [Vec<u8>]) -> Result<Layer<'a>, backstay_segment::Error> {
        let mut layer = Layer { blocks: blocks.iter(), cursor: None, current: None };
        layer.advance()?;
        Ok(layer)
    }

    fn advance(&mut self) -> Result<(), backstay_segment::Error> {
        loop {
            if let Some(cursor) = &mut self.cursor
                && let Some(next) = cursor.advance()?
            {
                self.current = Some(next);
                return Ok(());
            }
            match self.blocks.next() {
                Some(block) => self.cursor = Some(BlockCursor::new(block)?),
                None => {
                    self.current = None;
                    return Ok(());
                }
            }
        }
    }

    fn key(&self) -> Option<&[u8]> {
        self.current.as_ref().and_then(|_| self.cursor.as_ref().map(BlockCursor::key))
    }
}

/// The versions of one key after another, over all layers.
pub(crate) struct Merge<'a> {
    layers: Vec<Layer<'a>>,
    key: Vec<u8>,
    versions: Vec<(Version, BodyRef<'a>)>,
}

impl<'a> Merge<'a> {
    pub fn new(layers: Vec<Layer<'a>>) -> Merge<'a> {
        Merge { layers, key: Vec::new(), versions: Vec::new() }
    }

    /// Moves to the next key: its versions, newest first. None at the end.
    #[allow(clippy::type_complexity, reason = "a key with its versions; a name would hide it")]
    pub fn next(&mut self) -> Result<Option<(&[u8], &[(Version, BodyRef<'a>)])>, backstay_segment::Error> {
        self.versions.clear();
        let Some(lowest) = self.layers.iter().filter_map(Layer::key).min() else { return Ok(None) };
        self.key.clear();
        self.key.extend_from_slice(lowest);
        let mut layers_with_key = 0;
        for layer in &mut self.layers {
            let mut found = false;
            while layer.key() == Some(self.key.as_slice()) {
                self.versions.extend(layer.current);
                layer.advance()?;
                found = true;
            }
            layers_with_key += usize::from(found);
        }
        if layers_with_key > 1 {
            self.versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
        }
        Ok(Some((&self.key, &self.versions)))
    }
}

/// Orders the versions of a record that come from several tenants. A move between tenants is a tombstone with one and an
/// image with the other, at the same version: the image is what happened to the record.
pub(crate) fn newest_first(versions: &mut Vec<(Version, Body)>) {
    let rank = |body: &Body| match body {
        Body::Image(_) => 0,
        Body::Delta(..) => 1,
        Body::Tombstone => 2,
    };
    versions.sort_by(|a, b| b.0.cmp(&a.0).then(rank(&a.1).cmp(&rank(&b.1))));
    versions.dedup_by(|second, first| second.0 == first.0);
}

/// The versions of a record with the changes of the tails among them, newest first. The tails are not always above the
/// runs: an image that a scan read stands above the changes that the scan already saw.
pub(crate) fn with_tail<'a>(
    below: &[(Version, BodyRef<'a>)],
    tail: impl DoubleEndedIterator<Item = (Version, BodyRef<'a>)>,
) -> Vec<(Version, BodyRef<'a>)> {
    let mut versions: Vec<_> = tail.rev().chain(below.iter().copied()).collect();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    versions
}

/// The state of a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum State<'a> {
    /// There is no such record.
    Absent,
    /// The record.
    Present(Cow<'a, [u8]>),
    /// Deltas without an image below them: the archive does not know the record.
    Baseless,
}

/// The state as of `at` by `versions`, newest first.
pub(crate) fn state_at<'a>(
    versions: &[(Version, BodyRef<'a>)],
    at: Tick,
    interpreter: &dyn Interpreter,
) -> Result<State<'a>, InterpretError> {
    let visible = &versions[versions.partition_point(|(version, _)| version.tick > at)..];
    if visible.is_empty() {
        return Ok(State::Absent);
    }
    let base = visible.iter().position(|(_, body)| !matches!(body, BodyRef::Delta(..)));
    let Some(base) = base else { return Ok(State::Baseless) };
    let BodyRef::Image(image) = visible[base].1 else { return Ok(above_nothing(base)) };
    let mut state = Cow::Borrowed(image);
    for (_, body) in visible[..base].iter().rev() {
        state = fold_one(state, body, interpreter)?;
    }
    Ok(State::Present(state))
}

/// Deltas above a tombstone have no record to apply to.
fn above_nothing<'a>(deltas: usize) -> State<'a> {
    if deltas == 0 { State::Absent } else { State::Baseless }
}

/// Applies one delta.
pub(crate) fn fold_one<'a>(
    image: Cow<'a, [u8]>,
    body: &BodyRef<'_>,
    interpreter: &dyn Interpreter,
) -> Result<Cow<'a, [u8]>, InterpretError> {
    let BodyRef::Delta(operator, delta) = body else { return Ok(image) };
    let mut out = Vec::with_capacity(image.len() + delta.len());
    interpreter.fold(*operator, &image, delta, &mut out)?;
    Ok(Cow::Owned(out))
}
