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

proptest! {
    #[test]
    fn any_bytes_under_a_true_seal_end_or_fail(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let header = header(Shape::Base);
        key().sealer(&header.scope(Purpose::TenantPart)).unwrap().seal(INDEX_PAGE, &mut bytes).unwrap();
        let _ = IndexPage::open(&header, &key(), &mut bytes);
    }

    #[test]
    fn a_page_reads_back(lens in prop::collection::vec((any::<u32>(), any::<u32>(), any::<u64>(), any::<u64>()), 0..20)) {
        let mut page = IndexPage::default();
        let mut offset = 0;
        for (sealed_len, entries, one, other) in lens {
            let (oldest, newest) = (Tick::from_u64(one.min(other)), Tick::from_u64(one.max(other)));
            let (first_key, last_key) = (one.to_be_bytes().to_vec(), other.to_be_bytes().to_vec());
            let raw_len = sealed_len.rotate_left(3);
            page.blocks.push(BlockEntry { offset, sealed_len, raw_len, entries, first_key, last_key, oldest, newest });
            offset += u64::from(sealed_len);
        }
        let header = header(Shape::Delta);
        let mut sealed = page.seal(&mut key().sealer(&header.scope(Purpose::TenantPart)).unwrap()).unwrap();
        prop_assert_eq!(IndexPage::open(&header, &key(), &mut sealed).unwrap(), page);
    }
}
