//! Reading: whole objects and ranges, exactly.
//!
//! An answer that breaks is taken up where it stopped, so that a large object gets through a bad line; if-match keeps two
//! objects from being glued together. A whole object is compared with the sum that its creator left beside it. When it
//! differs twice alike, the object itself was altered in the store, and not the answer on its way: the bytes are handed
//! on as they are, for the layers above know what was damaged and can say so.

use std::ops::Range;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Attribute, GetOptions, GetRange};

use super::Cloud;
use super::create::SUM;
use super::trouble::{Failure, Trouble, trouble};
use crate::{Error, Result};

/// Reading over a gap of this many bytes costs less than another request.
const WORTHWHILE_GAP: u64 = 512 * 1024;
/// Requests are split at this length, so that one slow connection does not hold up a large read.
const LONGEST_REQUEST: u64 = 16 << 20;
/// How many requests of one read run at once.
const AT_ONCE: usize = 8;

/// What has arrived of a range or of a whole object.
struct Arrived {
    range: Option<Range<u64>>,
    bytes: Vec<u8>,
    etag: Option<String>,
    /// The object's length, once an answer has said it.
    size: Option<u64>,
    sum: Option<String>,
}

impl Cloud {
    /// The whole object.
    pub async fn get(&self, path: &str) -> Result<Bytes> {
        let mut wrong: Option<Bytes> = None;
        let mut tries = self.tries();
        loop {
            let arrived = self.read(path, None).await?;
            let bytes = Bytes::from(arrived.bytes);
            let Some(expected) = arrived.sum else { return Ok(bytes) };
            if blake3::hash(&bytes).to_hex().as_str() == expected || wrong.as_ref() == Some(&bytes) {
                return Ok(bytes);
            }
            wrong = Some(bytes);
            tries.pause(Failure::passing(path, "it gave other bytes than were stored")).await?;
        }
    }

    /// The bytes in each of `ranges`, exactly and in the same order. None ends before it starts.
    pub async fn get_ranges(&self, path: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if ranges.iter().all(Range::is_empty) {
            if let Some(end) = ranges.iter().map(|range| range.end).max() {
                let size = self.size(path).await?;
                if end > size {
                    return Err(Error::Short { path: path.to_owned(), wanted: end, size });
                }
            }
            return Ok(vec![Bytes::new(); ranges.len()]);
        }
        let requests = join(ranges);
        let reads = requests.iter().cloned().map(|request| self.read(path, Some(request)));
        let read: Vec<Arrived> = futures::stream::iter(reads).buffered(AT_ONCE).try_collect().await?;
        let size = read.iter().find_map(|arrived| arrived.size).unwrap_or(0);
        // Empty ranges are in no request.
        if let Some(range) = ranges.iter().find(|range| range.end > size) {
            return Err(Error::Short { path: path.to_owned(), wanted: range.end, size });
        }
        let read: Vec<Bytes> = read.into_iter().map(|arrived| Bytes::from(arrived.bytes)).collect();
        Ok(ranges.iter().map(|range| cut(range, &requests, &read)).collect())
    }

    /// The object's length in bytes.
    pub async fn size(&self, path: &str) -> Result<u64> {
        let location = self.location(path)?;
        self.retry(|| async {
            let options = GetOptions::new().with_head(true);
            let answer = self.library.get_opts(&location, options).await;
            answer.map(|answer| answer.meta.size).map_err(|error| self.failure(path, error))
        })
        .await
    }

    async fn read(&self, path: &str, range: Option<Range<u64>>) -> Result<Arrived> {
        let location = self.location(path)?;
        let mut arrived = Arrived { range, bytes: Vec::new(), etag: None, size: None, sum: None };
        let mut tries = self.tries();
        loop {
            let before = arrived.bytes.len();
            let Err(failure) = self.read_on(path, &location, &mut arrived).await else { return Ok(arrived) };
            // An object that was replaced between two answers begins anew.
            let was_replaced = matches!(failure.error, Error::AlreadyExists { .. });
            let failure = match was_replaced {
                true => Failure::passing(path, "it was replaced while it was read"),
                false => failure,
            };
            if was_replaced {
                arrived = Arrived { range: arrived.range, bytes: Vec::new(), etag: None, size: None, sum: None };
            } else if arrived.bytes.len() > before {
                tries.renew();
            }
            // A range behind the end is refused, or (Azurite) answered with nonsense. The size tells.
            let may_be_short = match trouble(&failure.error) {
                Some(trouble) => matches!(trouble, Trouble::Refused { status: 416, .. }),
                None => true,
            };
            if let Some(wanted) = arrived.range.as_ref().map(|range| range.end)
                && may_be_short
                && !matches!(failure.error, Error::NotFound { .. } | Error::Short { .. })
            {
                let size = self.size(path).await?;
                if wanted > size {
                    return Err(Error::Short { path: path.to_owned(), wanted, size });
                }
            }
            tries.pause(failure).await?;
        }
    }

    /// Reads what is missing, until all of it has arrived or the answer breaks.
    async fn read_on(&self, path: &str, location: &Path, arrived: &mut Arrived) -> Result<(), Failure> {
        let have = arrived.bytes.len() as u64;
        let missing = match (&arrived.range, arrived.size) {
            (Some(range), _) => Some(range.start + have..range.end),
            (None, Some(size)) if have > 0 => Some(have..size),
            (None, _) => None,
        };
        let options = GetOptions::new()
            .with_range(missing.clone().map(GetRange::Bounded))
            .with_if_match(arrived.etag.clone().filter(|_| have > 0));
        let answer = self.library.get_opts(location, options).await.map_err(|error| self.failure(path, error))?;
        let size = answer.meta.size;
        if let Some(wanted) = arrived.range.as_ref().map(|range| range.end).filter(|end| *end > size) {
            return Err(Failure::last(Error::Short { path: path.to_owned(), wanted, size }));
        }
        arrived.size = Some(size);
        arrived.etag = answer.meta.e_tag.clone();
        arrived.sum = answer.attributes.get(&Attribute::Metadata(SUM.into())).map(|sum| sum.as_ref().to_owned());
        let end = arrived.range.as_ref().map_or(size, |range| range.end - range.start);
        let room = usize::try_from(end).map_err(|_| Failure::passing(path, "it is too long for this machine"))?;
        if answer.range.start != missing.map_or(0, |missing| missing.start) {
            return Err(Failure::passing(path, "it gave another range than was asked for"));
        }
        arrived.bytes.reserve_exact(room.saturating_sub(arrived.bytes.len()));
        let mut stream = answer.into_stream();
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|error| self.failure(path, error))?;
            if arrived.bytes.len() + piece.len() > room {
                arrived.bytes.clear();
                return Err(Failure::passing(path, "it gave more bytes than it announced"));
            }
            arrived.bytes.extend_from_slice(&piece);
        }
        match arrived.bytes.len() == room {
            true => Ok(()),
            false => Err(Failure::passing(path, "it gave fewer bytes than it announced")),
        }
    }
}

/// The requests that cover `ranges`: joined where they nearly touch, split where they are long; sorted and disjoint.
fn join(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted: Vec<&Range<u64>> = ranges.iter().filter(|range| !range.is_empty()).collect();
    sorted.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match joined.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(WORTHWHILE_GAP) => last.end = last.end.max(range.end),
            _ => joined.push(range.clone()),
        }
    }
    let split = |range: Range<u64>| {
        let pieces = (range.end - range.start).div_ceil(LONGEST_REQUEST);
        (0..pieces).map(move |piece| {
            let start = range.start + piece * LONGEST_REQUEST;
            start..range.end.min(start + LONGEST_REQUEST)
        })
    };
    joined.into_iter().flat_map(split).collect()
}

/// The bytes of `range` out of what was read; `requests` cover it.
fn cut(range: &Range<u64>, requests: &[Range<u64>], read: &[Bytes]) -> Bytes {
    let overlap = |request: &Range<u64>| request.start.max(range.start)..request.end.min(range.end);
    let mut pieces = requests.iter().zip(read).filter_map(|(request, bytes)| {
        let overlap = overlap(request);
        (!overlap.is_empty()).then(|| {
            let from = (overlap.start - request.start) as usize;
            bytes.slice(from..from + (overlap.end - overlap.start) as usize)
        })
    });
    let first = pieces.next().unwrap_or_default();
    let rest: Vec<Bytes> = pieces.collect();
    if rest.is_empty() {
        return first;
    }
    let mut whole = Vec::with_capacity((range.end - range.start) as usize);
    whole.extend_from_slice(&first);
    rest.iter().for_each(|piece| whole.extend_from_slice(piece));
    Bytes::from(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_ranges_are_cut_out_of_their_requests() {
        let object: Vec<u8> = (0..40u64 << 20).map(|at| (at % 251) as u8).collect();
        let far = 30 << 20;
        let ranges = [5..9, 0..0, far..far + 10, 0..7, 1_000..20 << 20, 40 << 20..40 << 20, far + 5..far + 5];
        let requests = join(&ranges);
        assert_eq!(requests, [0..16 << 20, 16 << 20..20 << 20, far..far + 10]);
        let read: Vec<Bytes> =
            requests.iter().map(|r| Bytes::copy_from_slice(&object[r.start as usize..r.end as usize])).collect();
        for range in &ranges {
            let whole = &object[range.start as usize..range.end as usize];
            assert!(cut(range, &requests, &read) == whole, "{range:?}");
        }
        assert!(join(std::slice::from_ref(&(3..3))).is_empty());
    }
}
