#![allow(clippy::unwrap_used)]

use super::*;
use backstay_model::Body;
use proptest::prelude::*;

fn versions() -> impl Strategy<Value = Vec<(Vec<u8>, Version, Body)>> {
    let body = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Body::Image),
        (any::<u16>(), proptest::collection::vec(any::<u8>(), 0..20)).prop_map(|(o, d)| Body::Delta(Operator(o), d)),
        Just(Body::Tombstone),
    ];
    let version = (any::<u64>(), any::<u32>()).prop_map(|(t, o)| Version::new(Tick::from_u64(t), o));
    proptest::collection::vec((proptest::collection::vec(0u8..4, 8..14), version, body), 1..50)
}

proptest! {
    #[test]
    fn a_block_reads_back_what_was_laid_out(mut versions in versions()) {
        versions.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        let mut builder = BlockBuilder::default();
        for (key, version, body) in &versions {
            builder.push(&Entry { key, version: *version, body: body.as_ref() });
        }
        let mut cursor = BlockCursor::new(builder.bytes()).unwrap();
        for (key, version, body) in &versions {
            prop_assert_eq!(cursor.advance().unwrap(), Some((*version, body.as_ref())));
            prop_assert_eq!(cursor.key(), &key[..]);
        }
        prop_assert!(cursor.advance().unwrap().is_none());
        prop_assert_eq!(builder.keys().0, &versions[0].0[..]);
        prop_assert_eq!(builder.keys().1, &versions[versions.len() - 1].0[..]);
    }

    #[test]
    fn any_bytes_end_or_fail(bytes: Vec<u8>) {
        if let Ok(mut cursor) = BlockCursor::new(&bytes) {
            while let Ok(Some(_)) = cursor.advance() {}
        }
    }
}
