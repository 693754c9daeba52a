//! A seal proves who wrote, not that it makes sense: decoders survive any bytes under a true seal.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::header::Shape;
use backstay_seal::{KeyId, Secret};
use proptest::prelude::*;

fn key() -> DataKey {
    DataKey::new(KeyId([3; 16]), Secret::take(&mut [4; 32]))
}

fn header(shape: Shape) -> Header {
    Header { format: crate::FORMAT, shape, vault: [1; 16], segment: [2; 16], salt: [5; 32] }
}

/// A tail with one block of these bytes, for which the directory claims these lengths.
fn tail(mut block: Vec<u8>, entry: impl FnOnce(TailBlockEntry) -> TailBlockEntry) -> Vec<u8> {
    let header = header(Shape::Tail);
    let mut sealer = key().sealer(&header.scope(Purpose::Tail)).unwrap();
    let raw_len = block.len() as u64;
    block = zstd::bulk::compress(&block, 1).unwrap();
    sealer.seal(TAIL_BLOCK, &mut block).unwrap();
    let (offset, sealed_len) = (crate::HEADER_LEN as u64, block.len() as u64);
    let claimed = entry(TailBlockEntry { offset, sealed_len, raw_len, entries: 1, first: 0, last: 0 });
    let directory = TailDirectory { blocks: vec![claimed] }.seal(&mut sealer).unwrap();
    let mut file = header.to_bytes().to_vec();
    file.extend_from_slice(&block);
    let trailer = Trailer { offset: file.len() as u64, len: directory.len() as u64 };
    file.extend_from_slice(&directory);
    file.extend_from_slice(&trailer.to_bytes());
    file
}

fn read(file: &[u8]) -> Result<usize> {
    let mut entries = 0;
    TailBlock::open_all(file, &key(), |block| {
        block.for_each(|_, _| {
            entries += 1;
            Ok::<(), Error>(())
        })
    })?;
    Ok(entries)
}

#[test]
fn claimed_lengths_are_not_trusted() {
    let entry = [&7u64.to_le_bytes()[..], &1u32.to_le_bytes(), b"x"].concat();
    assert_eq!(read(&tail(entry.clone(), |entry| entry)).unwrap(), 1);
    for len in [0, 1, 12, 14, 1 << 20, 1 << 40, u64::MAX] {
        assert!(read(&tail(entry.clone(), |entry| TailBlockEntry { raw_len: len, ..entry })).is_err(), "{len}");
        assert!(read(&tail(entry.clone(), |entry| TailBlockEntry { sealed_len: len, ..entry })).is_err(), "{len}");
        assert!(read(&tail(entry.clone(), |entry| TailBlockEntry { offset: len, ..entry })).is_err(), "{len}");
    }
}

proptest! {
    #[test]
    fn any_bytes_under_a_true_seal_end_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&tail(bytes, |entry| entry));
    }
}
