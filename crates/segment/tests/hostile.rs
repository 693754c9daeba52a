//! Decoders survive anything: bytes at random, sound files with a flipped bit, cut or with bytes exchanged. What opens is
//! exactly what was written.
#![allow(clippy::unwrap_used)]

mod rig;

use backstay_segment::{Header, IndexPage, RunDirectory, Shape, TailDirectory, Trailer};
use proptest::prelude::*;
use rig::{
    cases, golden_base, golden_delta, golden_tail, header, read_run, read_tail, tenant_key, vault_key, write_run,
    write_tail,
};

/// The parts of the header that no reader relies on: the shape tells delta runs from base runs, and the ledger does too.
const SHAPE: usize = 10;

#[test]
fn a_flipped_bit_anywhere_opens_nothing_wrong() {
    let delta = write_run(Shape::Delta, &golden_delta());
    let tail = write_tail(&golden_tail());
    for place in 0..delta.len() {
        for bit in [0, 5, 7] {
            let mut bytes = delta.clone();
            bytes[place] ^= 1 << bit;
            let read = read_run(&bytes);
            assert!(read.is_err() || (place == SHAPE && read.unwrap() == golden_delta()), "bit {bit} of byte {place}");
        }
    }
    for place in 0..tail.len() {
        let mut bytes = tail.clone();
        bytes[place] ^= 1 << (place % 8);
        assert!(read_tail(&bytes).is_err(), "byte {place}");
    }
}

#[test]
fn a_cut_file_does_not_open() {
    for file in [write_run(Shape::Base, &golden_base()), write_run(Shape::Delta, &golden_delta())] {
        assert!((0..file.len()).step_by(7).all(|len| read_run(&file[..len]).is_err()));
        assert!((1..200).all(|cut| read_run(&file[..file.len() - cut]).is_err()));
    }
    let tail = write_tail(&golden_tail());
    assert!((0..tail.len()).all(|len| read_tail(&tail[..len]).is_err()));
}

#[test]
fn a_tail_is_no_run_and_a_run_no_tail() {
    assert!(read_run(&write_tail(&golden_tail())).is_err());
    assert!(read_tail(&write_run(Shape::Base, &golden_base())).is_err());
}

#[test]
fn a_block_does_not_open_in_the_place_of_another() {
    let file = write_run(Shape::Base, &golden_base());
    let same = write_run(Shape::Base, &[golden_base()[1].clone(), golden_base()[0].clone()]);
    // Lay one file's blocks under the other's directory.
    let mut mixed = file.clone();
    let middle = file.len().min(same.len()) / 2;
    mixed[80..middle].copy_from_slice(&same[80..middle]);
    assert!(read_run(&mixed).is_err());
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400), size in any::<u64>()) {
        let _ = Header::parse(&bytes);
        let _ = Trailer::parse(&bytes, size);
        let _ = Trailer::parse(&bytes, bytes.len() as u64);
        prop_assert!(read_run(&bytes).is_err() && read_tail(&bytes).is_err());
        prop_assert!(RunDirectory::open(&header(Shape::Base), &vault_key(), &mut bytes.clone()).is_err());
        prop_assert!(TailDirectory::open(&header(Shape::Tail), &vault_key(), &mut bytes.clone()).is_err());
        prop_assert!(IndexPage::open(&header(Shape::Base), &tenant_key(0), &mut bytes.clone()).is_err());
    }

    #[test]
    fn exchanged_bytes_open_nothing_wrong(from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>(), len in 1usize..64) {
        let file = write_run(Shape::Delta, &golden_delta());
        let (from, to) = (from.index(file.len()), to.index(file.len()));
        let len = len.min(file.len() - from.max(to));
        let mut bytes = file.clone();
        bytes.copy_within(from..from + len, to);
        let read = read_run(&bytes);
        prop_assert!(bytes == file || read.is_err() || read.unwrap() == golden_delta());
    }

    #[test]
    fn a_trailer_reads_back(offset in 80u64..1 << 40, len in 0u64..1 << 30) {
        let trailer = Trailer { offset, len };
        prop_assert_eq!(Trailer::parse(&trailer.to_bytes(), offset + len + 24).unwrap(), trailer);
        prop_assert!(Trailer::parse(&trailer.to_bytes(), offset + len + 25).is_err());
    }
}
