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

fn sealed(shape: Shape, purpose: Purpose, mut bytes: Vec<u8>) -> Vec<u8> {
    key().sealer(&header(shape).scope(purpose)).unwrap().seal(DIRECTORY, &mut bytes).unwrap();
    bytes
}

#[test]
fn numbers_that_no_tail_reaches_do_not_overflow() {
    let block = TailBlockEntry { offset: 80, sealed_len: 9, raw_len: 9, entries: u64::MAX, first: 1, last: 2 };
    assert_eq!(TailDirectory { blocks: vec![block, block] }.entries(), u64::MAX);
}

proptest! {
    #[test]
    fn any_bytes_under_a_true_seal_end_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut run = sealed(Shape::Base, Purpose::Directory, bytes.clone());
        if let Ok(directory) = RunDirectory::open(&header(Shape::Base), &key(), &mut run) {
            let _ = directory.digest();
        }
        let mut tail = sealed(Shape::Tail, Purpose::Tail, bytes);
        let _ = TailDirectory::open(&header(Shape::Tail), &key(), &mut tail);
    }

    #[test]
    fn a_changed_directory_under_a_true_seal_ends_or_fails(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let namespaces = vec![NamespaceSummary { namespace: 7, entries: 3, bytes: 900 }];
        let entry = TenantEntry::new("acme".to_owned(), KeyId([6; 16]), 80, namespaces);
        let directory = RunDirectory::new(vec![entry], Some(&Digest::default()));
        let mut bytes = minicbor::to_vec(&directory).unwrap();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Ok(directory) = RunDirectory::open(&header(Shape::Base), &key(), &mut sealed(Shape::Base, Purpose::Directory, bytes)) {
            let _ = directory.digest();
            let _ = directory.tenant("acme").map(|tenant| tenant.has(Incarnation(7)));
        }
    }
}

#[test]
fn a_directory_of_one_shape_is_refused_for_another() {
    let mut empty = RunDirectory::new(Vec::new(), None)
        .seal(&mut key().sealer(&header(Shape::Base).scope(Purpose::Directory)).unwrap())
        .unwrap();
    assert!(RunDirectory::open(&header(Shape::Tail), &key(), &mut empty.clone()).is_err());
    assert!(TailDirectory::open(&header(Shape::Base), &key(), &mut empty.clone()).is_err());
    assert!(RunDirectory::open(&header(Shape::Base), &key(), &mut empty).is_ok());
}
