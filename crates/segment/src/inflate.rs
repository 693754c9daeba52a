//! Decompressing what a page or a directory says the length of.

use zstd::bulk::Decompressor;

use crate::error::{Error, Result, corrupt};

/// What one block of a zstd frame holds at most, and the fewest bytes that such a block takes: three of its header and
/// one that is repeated (RFC 8878, section 3.1.1.2).
const MOST_IN_A_BLOCK: u64 = 128 * 1024;
const LEAST_OF_A_BLOCK: u64 = 4;

/// Decompresses `packed` into `plain`, replacing what was there. It must come to `raw_len` bytes, and room for them is only
/// made when `packed` could hold as many.
pub(crate) fn inflate(
    decompressor: &mut Decompressor<'static>,
    part: &'static str,
    packed: &[u8],
    raw_len: u64,
    plain: &mut Vec<u8>,
) -> Result<()> {
    let too_large = || corrupt(part, "it is too large");
    let most = u64::try_from(packed.len()).unwrap_or(u64::MAX) / LEAST_OF_A_BLOCK;
    if raw_len > most.saturating_mul(MOST_IN_A_BLOCK) {
        return Err(corrupt(part, "it is not as long as is said of it"));
    }
    let raw_len = usize::try_from(raw_len).map_err(|_| too_large())?;
    plain.clear();
    plain.try_reserve(raw_len).map_err(|_| too_large())?;
    decompressor.decompress_to_buffer(packed, plain).map_err(|source| Error::Compression { part, source })?;
    if plain.len() != raw_len {
        return Err(corrupt(part, "it is not as long as is said of it"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn inflated(packed: &[u8], raw_len: u64) -> (Result<()>, usize) {
        let mut plain = Vec::new();
        let result = inflate(&mut Decompressor::new().unwrap(), "block", packed, raw_len, &mut plain);
        (result, plain.capacity())
    }

    #[test]
    fn the_best_compression_there_is_passes() {
        let zeros = vec![0; 48 << 20];
        let packed = zstd::bulk::compress(&zeros, 19).unwrap();
        let mut plain = Vec::new();
        inflate(&mut Decompressor::new().unwrap(), "block", &packed, zeros.len() as u64, &mut plain).unwrap();
        assert!(plain == zeros);
    }

    #[test]
    fn a_length_that_cannot_be_takes_no_memory() {
        let packed = zstd::bulk::compress(&[7; 1000], 1).unwrap();
        for raw_len in [999, 1001, u64::from(u32::MAX), u64::MAX] {
            let (result, capacity) = inflated(&packed, raw_len);
            assert!(result.is_err() && capacity <= packed.len() << 16, "{raw_len} {capacity}");
        }
        assert!(inflated(&packed, 1000).0.is_ok());
        // No frame at all is no bytes; whoever reads them finds out that they are cut.
        assert_eq!(inflated(&[], 0).1, 0);
        assert!(inflated(&[], 1).0.is_err());
    }
}
