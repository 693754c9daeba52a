#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

fn spool(budget: usize) -> Spool {
    Spool::new(std::env::temp_dir(), budget)
}

#[derive(Debug, Clone)]
enum Deed {
    Push(usize, usize),
    Pop(usize),
    Spill(usize),
    Discard(usize),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let sizes = prop_oneof![0..20usize, 60_000..70_000usize, 0..400_000usize];
    let deed = prop_oneof![
        6 => (0..3usize, sizes).prop_map(|(strand, size)| Deed::Push(strand, size)),
        5 => (0..3usize).prop_map(Deed::Pop),
        2 => (0..3usize).prop_map(Deed::Spill),
        1 => (0..3usize).prop_map(Deed::Discard),
    ];
    prop::collection::vec(deed, 0..60)
}

proptest! {
    /// Wherever it lies, what goes in comes out in its order.
    #[test]
    fn a_strand_is_a_queue(deeds in deeds()) {
        let mut spool = spool(0);
        let mut strands: [(Strand, VecDeque<Vec<u8>>); 3] = Default::default();
        let mut out = Vec::new();
        for (number, deed) in deeds.into_iter().enumerate() {
            match deed {
                Deed::Push(strand, size) => {
                    let (strand, expected) = &mut strands[strand];
                    let bytes: Vec<u8> = (0..size).map(|at| (at ^ number) as u8).collect();
                    let middle = size / 3;
                    spool.push(strand, &[&bytes[..middle], &bytes[middle..]]).unwrap();
                    expected.push_back(bytes);
                }
                Deed::Pop(strand) => {
                    let (strand, expected) = &mut strands[strand];
                    out.clear();
                    let popped = spool.pop(strand, &mut out).unwrap().then(|| out.clone());
                    prop_assert!(popped == expected.pop_front());
                }
                Deed::Spill(strand) => spool.spill(&mut strands[strand].0).unwrap(),
                Deed::Discard(strand) => {
                    spool.discard(&mut strands[strand].0);
                    strands[strand].1.clear();
                }
            }
            let held: u64 = strands.iter().map(|(strand, _)| strand.len()).sum();
            let paged: usize = strands.iter().flat_map(|(strand, _)| &strand.pages).map(|page| page.len).sum();
            prop_assert_eq!(held, (spool.in_memory + paged) as u64);
            let pages: u64 = strands.iter().map(|(strand, _)| strand.pages.len() as u64).sum();
            prop_assert_eq!(spool.disk.as_ref().map_or(0, |disk| disk.slots - disk.free.len() as u64), pages);
        }
        out.clear();
        for (strand, expected) in &mut strands {
            while spool.pop(strand, &mut out).unwrap() {
                prop_assert!(Some(&out) == expected.pop_front().as_ref());
                out.clear();
            }
            prop_assert!(expected.is_empty() && strand.is_empty());
        }
        prop_assert!(spool.disk.is_none() && spool.in_memory == 0, "nothing is left behind");
    }
}

#[test]
fn the_file_has_no_name_and_nothing_that_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::new(folder.path().join("made when needed"), 0);
    let mut strand = Strand::default();
    let secret = b"a user's own words ".repeat(10_000);
    spool.push(&mut strand, &[&secret]).unwrap();
    spool.spill(&mut strand).unwrap();
    assert_eq!(std::fs::read_dir(folder.path().join("made when needed")).unwrap().count(), 0);
    let disk = spool.disk.as_mut().unwrap();
    let mut bytes = Vec::new();
    disk.file.seek(SeekFrom::Start(0)).unwrap();
    disk.file.read_to_end(&mut bytes).unwrap();
    assert!(bytes.len() > secret.len() && !bytes.windows(9).any(|window| window == b"own words"));
    // What was altered there does not come back.
    disk.file.seek(SeekFrom::Start(SLOT + 7)).unwrap();
    disk.file.write_all(&[bytes[SLOT as usize + 7] ^ 1]).unwrap();
    let error = spool.pop(&mut strand, &mut Vec::new()).unwrap_err();
    assert!(matches!(&error, Error::Scratch { why, .. } if why.contains("altered")), "{error}");
}

#[test]
fn room_in_the_file_is_used_again() {
    let mut spool = spool(0);
    let (mut old, mut out) = (Strand::default(), Vec::new());
    spool.push(&mut old, &[b"stays"]).unwrap();
    spool.spill(&mut old).unwrap();
    for _ in 0..20 {
        let mut strand = Strand::default();
        spool.push(&mut strand, &[&[7; 300_000]]).unwrap();
        spool.spill(&mut strand).unwrap();
        assert!(spool.pop(&mut strand, &mut out).unwrap() && out == [7; 300_000]);
        out.clear();
    }
    assert_eq!(spool.disk.as_ref().unwrap().slots, 6);
    assert!(spool.pop(&mut old, &mut out).unwrap() && out == b"stays");
}

#[test]
fn a_folder_that_cannot_be_used_is_named() {
    let mut spool = Spool::new(PathBuf::from("/proc/no-such-folder"), 0);
    let mut strand = Strand::default();
    spool.push(&mut strand, &[b"entry"]).unwrap();
    let error = spool.spill(&mut strand).unwrap_err().to_string();
    assert!(error.contains("/proc/no-such-folder"), "{error}");
}
