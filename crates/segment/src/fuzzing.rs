//! The decoders of this crate without the seal in front of them: for `fuzz/` only, behind the feature `fuzzing`.
//!
//! Each function decodes bytes that an attacker chose, and panics where what holds for a decoder does not: what decodes
//! encodes again to something that decodes to the same.

use backstay_model::Tick;
use backstay_seal::{DataKey, KeyId, Secret};

use crate::block::BlockBuilder;
use crate::directory::{TailBlockEntry, from_bytes, to_bytes};
use crate::header::Purpose;
use crate::{BlockCursor, Entry, Header, IndexPage, RunDirectory, Shape, TailBlock, TailDirectory, Trailer, tail};

/// Header and trailer.
pub fn header(bytes: &[u8]) {
    if let Ok(header) = Header::parse(bytes) {
        assert!(bytes.starts_with(&header.to_bytes()));
    }
    let size = bytes.len() as u64;
    if let Ok(trailer) = Trailer::parse(bytes, size) {
        assert!(bytes.ends_with(&trailer.to_bytes()) && trailer.offset + trailer.len < size);
    }
}

/// The directory of a run.
pub fn run_directory(plain: &[u8]) {
    let Ok(directory) = from_bytes::<RunDirectory>(plain) else { return };
    let again: RunDirectory = from_bytes(&to_bytes(&directory)).expect("what was written is read");
    assert_eq!(again, directory);
    if let Ok(Some(digest)) = directory.digest() {
        assert!(directory.digest().is_ok_and(|again| again.as_ref() == Some(&digest)));
    }
    for tenant in &directory.tenants {
        let found = directory.tenant(&tenant.name);
        assert!(found.is_none_or(|found| found.name == tenant.name));
        for summary in &tenant.namespaces {
            tenant.has(summary.incarnation());
        }
    }
}

/// The directory of a tail.
pub fn tail_directory(plain: &[u8]) {
    let Ok(directory) = from_bytes::<TailDirectory>(plain) else { return };
    let again: TailDirectory = from_bytes(&to_bytes(&directory)).expect("what was written is read");
    assert_eq!(again, directory);
    directory.entries();
    assert!(directory.ticks(directory.len()).is_none());
}

/// A tenant's index page.
pub fn index_page(plain: &[u8]) {
    let Ok(page) = IndexPage::from_bytes(plain) else { return };
    assert_eq!(IndexPage::from_bytes(&page.to_bytes()).expect("what was written is read"), page);
}

/// A block of a run.
pub fn block(plain: &[u8]) {
    let Ok(mut cursor) = BlockCursor::new(plain) else { return };
    let mut builder = BlockBuilder::default();
    let mut read = Vec::new();
    while let Ok(Some((version, body))) = cursor.advance() {
        builder.push(&Entry { key: cursor.key(), version, body });
        read.push((cursor.key().to_vec(), version, body));
    }
    if read.is_empty() {
        return;
    }
    assert_eq!(builder.entries() as usize, read.len());
    let mut cursor = BlockCursor::new(builder.bytes()).expect("what was written is read");
    for (key, version, body) in read {
        assert_eq!(cursor.advance().expect("what was written is read"), Some((version, body)));
        assert_eq!(cursor.key(), key);
    }
    assert!(cursor.advance().is_ok_and(|end| end.is_none()));
}

/// A block of a tail.
pub fn tail_block(plain: &[u8]) {
    let mut written = Vec::new();
    let read = TailBlock::of(plain.to_vec()).for_each(|visible, entry| {
        written.extend_from_slice(&visible.to_u64().to_le_bytes());
        written.extend_from_slice(&u32::try_from(entry.len()).expect("as it was read").to_le_bytes());
        written.extend_from_slice(entry);
        Ok::<(), crate::Error>(())
    });
    assert!(plain.starts_with(&written) && read.is_ok() == (plain == written));
}

/// A whole tail, sealed under a key of its own: the first bytes say how long its block is, the others are its block as
/// the compressor would have left it.
pub fn compressed(bytes: &[u8]) {
    let Some((raw_len, packed)) = bytes.split_first_chunk::<4>() else { return };
    let key = DataKey::new(KeyId([1; 16]), Secret::take(&mut [2; 32]));
    let header = Header { format: crate::FORMAT, shape: Shape::Tail, vault: [3; 16], segment: [4; 16], salt: [5; 32] };
    let mut sealer = key.sealer(&header.scope(Purpose::Tail)).expect("any key seals");
    let mut file = header.to_bytes().to_vec();
    let mut sealed = packed.to_vec();
    sealer.seal(tail::TAIL_BLOCK, &mut sealed).expect("any block is sealed");
    let entry = TailBlockEntry {
        offset: file.len() as u64,
        sealed_len: sealed.len() as u64,
        raw_len: u64::from(u32::from_le_bytes(*raw_len)),
        entries: 1,
        first: 1,
        last: 1,
    };
    file.extend_from_slice(&sealed);
    let directory = TailDirectory { blocks: vec![entry] }.seal(&mut sealer).expect("any directory is sealed");
    let trailer = Trailer { offset: file.len() as u64, len: directory.len() as u64 };
    file.extend_from_slice(&directory);
    file.extend_from_slice(&trailer.to_bytes());
    // Whatever comes of it.
    let _ = TailBlock::open_all(&file, &key, |block| block.for_each(|_: Tick, _| Ok(())));
}

/// Small real inputs, with the names of their targets.
pub fn samples() -> Vec<(&'static str, Vec<u8>)> {
    use backstay_model::{BodyRef, Operator, Version};
    use backstay_seal::Digest;

    use crate::{BlockEntry, NamespaceSummary, TenantEntry};

    let header = Header { format: crate::FORMAT, shape: Shape::Base, vault: [1; 16], segment: [2; 16], salt: [3; 32] };
    let trailer = Trailer { offset: 80, len: 5 };
    let head = [&header.to_bytes()[..], b"12345", &trailer.to_bytes()].concat();
    let summaries = vec![NamespaceSummary { namespace: 7, entries: 2, bytes: 30 }];
    let tenants = ["a", "b"].map(|name| TenantEntry::new(name.to_owned(), KeyId([4; 16]), 80, summaries.clone()));
    let mut digest = Digest::new();
    digest.add(7, b"id", b"image");
    let directories = [RunDirectory::new(tenants.to_vec(), None), RunDirectory::new(tenants.to_vec(), Some(&digest))];
    let entry = TailBlockEntry { offset: 80, sealed_len: 90, raw_len: 200, entries: 3, first: 1 << 32, last: 2 << 32 };
    let tail = TailDirectory { blocks: vec![entry, entry] };
    let page = BlockEntry {
        offset: 0,
        sealed_len: 100,
        raw_len: 200,
        entries: 2,
        first_key: b"\0\0\0\0\0\0\0\x07a".to_vec(),
        last_key: b"\0\0\0\0\0\0\0\x07b".to_vec(),
        oldest: Tick::new(5, 0),
        newest: Tick::new(6, 1),
    };
    let bodies = [BodyRef::Image(b"image"), BodyRef::Delta(Operator(2), b"delta"), BodyRef::Tombstone];
    let mut builder = BlockBuilder::default();
    for (second, body) in (5..).zip(bodies) {
        builder.push(&Entry { key: b"\0\0\0\0\0\0\0\x07a", version: Version::new(Tick::new(second, 1), second), body });
    }
    let entries = [&[1; 8][..], &3u32.to_le_bytes(), b"abc", &[2; 8], &0u32.to_le_bytes()].concat();
    let packed = zstd::bulk::compress(&entries, 1).expect("it is small");
    let length = u32::try_from(entries.len()).expect("it is small").to_le_bytes();
    vec![
        ("segment_header", head),
        ("segment_run_directory", to_bytes(&directories[0])),
        ("segment_run_directory", to_bytes(&directories[1])),
        ("segment_tail_directory", to_bytes(&tail)),
        ("segment_index_page", IndexPage { blocks: vec![page.clone(), page] }.to_bytes()),
        ("segment_block", builder.bytes().to_vec()),
        ("segment_compressed", [&length[..], &packed].concat()),
        ("segment_tail_block", entries),
    ]
}
