//! Fixed keys and headers, small segments made of them, and reading them back through the public interface only.
#![allow(dead_code, clippy::unwrap_used, missing_docs)]

use backstay_model::{Body, Operator, Tick, Version};
use backstay_seal::{DataKey, KeyId, Secret};
use backstay_segment::{
    BlockCursor, BlockOpener, Entry, Error, FORMAT, Header, IndexPage, PartBench, PartWriter, RunDirectory, RunWriter,
    Shape, TailBlock, TailWriter, Trailer,
};

/// One version of a run: key, version, body.
pub type Row = (Vec<u8>, Version, Body);

/// Cases of a property test: more with `BACKSTAY_SOAK=1`.
pub fn cases(quick: u32) -> proptest::test_runner::Config {
    let soak = std::env::var("BACKSTAY_SOAK").is_ok_and(|value| value == "1");
    proptest::test_runner::Config { cases: if soak { quick * 50 } else { quick }, ..Default::default() }
}

pub fn key(seed: u8) -> DataKey {
    DataKey::new(KeyId([seed; 16]), Secret::take(&mut [seed; 32]))
}

pub fn vault_key() -> DataKey {
    key(1)
}

/// Each tenant's key, by the number of the tenant.
pub fn tenant_key(number: usize) -> DataKey {
    key(10 + number as u8)
}

pub fn header(shape: Shape) -> Header {
    let number = shape.number();
    Header { format: FORMAT, shape, vault: [0x11; 16], segment: [0x20 + number; 16], salt: [0x30 + number; 32] }
}

/// A run of tenants `t0`, `t1`, …
pub fn write_run(shape: Shape, tenants: &[Vec<Row>]) -> Vec<u8> {
    let header = header(shape);
    let mut run = RunWriter::new(header);
    let mut bench = PartBench::new().unwrap();
    for (number, rows) in tenants.iter().enumerate() {
        let name = format!("t{number}");
        let mut part = PartWriter::new(&header, &name, &tenant_key(number), &mut bench, shape == Shape::Base).unwrap();
        for (key, version, body) in rows {
            part.push(&Entry { key, version: *version, body: body.as_ref() }).unwrap();
        }
        run.push(part.finish().unwrap());
    }
    run.finish(&vault_key()).unwrap()
}

/// The directory of a run.
pub fn open_directory(file: &[u8]) -> Result<(Header, RunDirectory), Error> {
    let header = Header::parse(file)?;
    let trailer = Trailer::parse(file, file.len() as u64)?;
    let mut sealed = part(file, trailer.offset, trailer.len)?.to_vec();
    Ok((header, RunDirectory::open(&header, &vault_key(), &mut sealed)?))
}

/// The rows of a run, tenant by tenant.
pub fn read_run(file: &[u8]) -> Result<Vec<Vec<Row>>, Error> {
    let (header, directory) = open_directory(file)?;
    let mut tenants = Vec::new();
    for (number, tenant) in directory.tenants.iter().enumerate() {
        let key = tenant_key(number);
        let mut sealed = part(file, tenant.index_offset, tenant.index_len)?.to_vec();
        let page = IndexPage::open(&header, &key, &mut sealed)?;
        let mut opener = BlockOpener::new(&header, &key)?;
        let (mut rows, mut plain) = (Vec::new(), Vec::new());
        for (index, block) in page.blocks.iter().enumerate() {
            let sealed = part(file, tenant.blocks_offset + block.offset, u64::from(block.sealed_len))?;
            opener.open(index, block, sealed, &mut plain)?;
            let mut cursor = BlockCursor::new(&plain)?;
            let before = rows.len();
            while let Some((version, body)) = cursor.advance()? {
                assert!(block.oldest <= version.tick && version.tick <= block.newest);
                rows.push((cursor.key().to_vec(), version, body.to_owned()));
            }
            assert_eq!(rows.len() - before, block.entries as usize);
            assert_eq!((&rows[before].0, &rows[rows.len() - 1].0), (&block.first_key, &block.last_key));
        }
        tenants.push(rows);
    }
    Ok(tenants)
}

fn part(file: &[u8], offset: u64, len: u64) -> Result<&[u8], Error> {
    let range = offset as usize..(offset + len) as usize;
    file.get(range).ok_or(Error::Corrupt { part: "file", why: "a part lies outside" })
}

pub fn write_tail(entries: &[(Tick, Vec<u8>)]) -> Vec<u8> {
    let mut tail = TailWriter::new(&header(Shape::Tail), &vault_key(), 1).unwrap();
    for (visible, entry) in entries {
        tail.push(*visible, entry).unwrap();
    }
    tail.finish().unwrap()
}

pub fn read_tail(file: &[u8]) -> Result<Vec<(Tick, Vec<u8>)>, Error> {
    let mut entries = Vec::new();
    TailBlock::open_all(file, &vault_key(), |block| {
        block.for_each(|visible, entry| {
            entries.push((visible, entry.to_vec()));
            Ok::<(), Error>(())
        })
    })?;
    Ok(entries)
}

fn row(namespace: u64, id: &[u8], tick: Tick, body: Body) -> Row {
    (backstay_segment::record_key(backstay_model::Incarnation(namespace), id), Version::new(tick, 0), body)
}

/// What the golden base run holds.
pub fn golden_base() -> Vec<Vec<Row>> {
    let at = |id: &[u8], image: &[u8]| {
        let (key, version, body) = row(7, id, Tick::new(1_700_000_000, 5), Body::Image(image.to_vec()));
        (key, Version::snapshot(version.tick), body)
    };
    let large: Vec<u8> = (0..70_000u32).map(|n| (n % 251) as u8).collect();
    vec![vec![at(b"", b""), at(b"a", b"first"), at(b"ab", b"second")], vec![at(b"a\0", &large), at(b"\xFF", b"last")]]
}

/// What the golden delta run holds.
pub fn golden_delta() -> Vec<Vec<Row>> {
    let tick = |ordinal| Tick::new(1_700_000_001, ordinal);
    vec![
        vec![
            row(7, b"a", tick(9), Body::Tombstone),
            row(7, b"a", tick(2), Body::Delta(Operator(2), b"delta".to_vec())),
            row(8, b"a", tick(3), Body::Image(b"image".to_vec())),
        ],
        vec![row(7, b"b", Tick::MAX, Body::Delta(Operator(u16::MAX), Vec::new()))],
    ]
}

/// What the golden tail holds.
pub fn golden_tail() -> Vec<(Tick, Vec<u8>)> {
    let tick = |ordinal| Tick::new(1_700_000_002, ordinal);
    vec![(tick(1), b"one".to_vec()), (tick(1), Vec::new()), (tick(2), vec![0xAB; 300_000]), (tick(7), b"end".to_vec())]
}
