//! Whatever is written reads back, and every summary beside it is true.
#![allow(clippy::unwrap_used)]

mod rig;

use backstay_model::{Body, Incarnation, Operator, Tick, Version};
use backstay_segment::{Shape, record_key};
use proptest::prelude::*;
use rig::{Row, cases, open_directory, read_run, read_tail, write_run, write_tail};

fn body() -> impl Strategy<Value = Body> {
    let bytes = prop_oneof![
        9 => prop::collection::vec(any::<u8>(), 0..60),
        1 => (any::<u64>(), 60_000usize..140_000).prop_map(|(seed, len)| {
            let mut bytes = vec![0; len];
            backstay_sim::Chance::new(seed).fill(&mut bytes);
            bytes
        }),
    ];
    prop_oneof![
        bytes.clone().prop_map(Body::Image),
        (any::<u16>(), bytes).prop_map(|(operator, delta)| Body::Delta(Operator(operator), delta)),
        Just(Body::Tombstone),
    ]
}

fn tenant() -> impl Strategy<Value = Vec<Row>> {
    let key = (0u64..3, prop::collection::vec(0u8..3, 0..4)).prop_map(|(ns, id)| record_key(Incarnation(ns), &id));
    let version = (any::<u64>(), any::<u32>()).prop_map(|(tick, ordinal)| Version::new(Tick::from_u64(tick), ordinal));
    prop::collection::vec((key, version, body()), 1..30).prop_map(|mut rows| {
        rows.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        rows
    })
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn a_run_reads_back(tenants in prop::collection::vec(tenant(), 0..4)) {
        let file = write_run(Shape::Delta, &tenants);
        prop_assert_eq!(&read_run(&file).unwrap(), &tenants);
        let (_, directory) = open_directory(&file).unwrap();
        for (number, rows) in tenants.iter().enumerate() {
            let entry = directory.tenant(&format!("t{number}")).unwrap();
            prop_assert_eq!(entry.namespaces.iter().map(|summary| summary.entries).sum::<u64>(), rows.len() as u64);
            for namespace in 0..4 {
                let has = rows.iter().any(|(key, ..)| key[..8] == u64::to_be_bytes(namespace));
                prop_assert_eq!(entry.has(Incarnation(namespace)), has);
            }
        }
        prop_assert!(directory.tenant("t9").is_none());
    }

    #[test]
    fn a_tail_reads_back(mut ticks in prop::collection::vec(any::<u64>(), 0..40), len in 0usize..40_000) {
        ticks.sort_unstable();
        let entries: Vec<(Tick, Vec<u8>)> =
            ticks.iter().map(|tick| (Tick::from_u64(*tick), vec![*tick as u8; len.min(*tick as usize % 40_000)])).collect();
        prop_assert_eq!(read_tail(&write_tail(&entries)).unwrap(), entries);
    }
}
