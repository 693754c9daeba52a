//! What every target must do.

use std::collections::BTreeMap;

use backstay_model::IdRange;
use backstay_source::{Namespace, RecordBatch, Source, Target, Write, WriteMode};

use super::Driver;

/// A namespace is made by its definition, filled, and read back; nothing differs then.
pub async fn target_takes_what_it_is_given(source: &dyn Source, target: &dyn Target, driver: &dyn Driver) {
    let (name, copy) = (driver.name(0), driver.name(1));
    driver.create(&name).await;
    let namespaces = source.namespaces().await.expect("a list");
    let definition = &namespaces.iter().find(|namespace| namespace.name == name).expect("it is listed").definition;
    target.create(&copy, definition).await.expect("a namespace is created");
    target.build_indexes(&copy, definition).await.expect("indexes are built");
    let differences = target.definition_differences(&copy, definition).await.expect("definitions are compared");
    assert_eq!(differences, Vec::<String>::new());
    let listed: Vec<Namespace> = target.definitions().await.expect("a list");
    assert!(listed.iter().any(|namespace| namespace.name == copy) && listed.is_sorted_by(|a, b| a.name < b.name));

    let mut batch = RecordBatch::default();
    for id in 0..100 {
        batch.push(&driver.id(id), &driver.image(id, "given"));
    }
    let report = target.insert(&copy, &batch).await.expect("records are inserted");
    assert_eq!((report.written, report.conflicts.len()), (100, 0));
    let found = read(target, &copy, &IdRange::all()).await;
    assert!(found.iter().map(|(id, image)| (id.as_slice(), image.as_slice())).eq(batch.iter()), "what was given");
    let part = read(target, &copy, &IdRange::all().after(&driver.id(49))).await;
    assert_eq!(part.len(), 50, "a range yields only what lies in it");
    let ids = [driver.id(3), driver.id(7), driver.id(500)];
    let ids: Vec<&[u8]> = ids.iter().map(Vec::as_slice).collect();
    let fetched = target.fetch(&copy, &ids).await.expect("records are fetched");
    let mut fetched: Vec<&[u8]> = fetched.iter().map(|(id, _)| id).collect();
    fetched.sort_unstable();
    assert_eq!(fetched, &ids[..2], "as far as they exist");
}

/// A guarded write takes effect only on what the plan saw; an unguarded one always.
pub async fn target_guards_its_writes(target: &dyn Target, driver: &dyn Driver) {
    let name = driver.name(0);
    driver.create(&name).await;
    for id in 0..4 {
        driver.put(&name, id, "seen").await;
    }
    driver.put(&name, 1, "changed meanwhile").await;
    let image = |id: u32, value: &str| driver.image(id, value);
    let (seen, wanted) = ([0, 1, 2, 3].map(|id| image(id, "seen")), [0, 1, 2, 3, 4].map(|id| image(id, "wanted")));
    let writes = [
        Write::Replace { expected: &seen[0], image: &wanted[0] },
        Write::Replace { expected: &seen[1], image: &wanted[1] },
        Write::Delete { expected: &seen[2] },
        Write::Insert { image: &wanted[3] },
        Write::Insert { image: &wanted[4] },
    ];
    let report = target.write(&name, &writes, WriteMode::Guarded).await.expect("writes are carried out");
    assert_eq!(report.written, 3, "{report:?}");
    let conflicts: Vec<usize> = report.conflicts.iter().map(|conflict| conflict.write).collect();
    assert_eq!(conflicts, [1, 3], "what changed, and what is there already: {report:?}");
    let found = read(target, &name, &IdRange::all()).await;
    let expected: BTreeMap<Vec<u8>, Vec<u8>> = [
        (driver.id(0), wanted[0].clone()),
        (driver.id(1), image(1, "changed meanwhile")),
        (driver.id(3), seen[3].clone()),
        (driver.id(4), wanted[4].clone()),
    ]
    .into();
    assert!(found == expected, "conflicts leave everything as it was");

    let again = [Write::Replace { expected: &seen[1], image: &wanted[1] }, Write::Delete { expected: &seen[3] }];
    let report = target.write(&name, &again, WriteMode::Overwrite).await.expect("writes are carried out");
    assert!(report.conflicts.is_empty(), "{report:?}");
    let found = read(target, &name, &IdRange::all()).await;
    assert!(found.get(&driver.id(1)) == Some(&wanted[1]) && !found.contains_key(&driver.id(3)));
}

async fn read(target: &dyn Target, name: &str, range: &IdRange) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut scan = target.scan(name, range, None).await.expect("a scan");
    let (mut records, mut batch) = (BTreeMap::new(), RecordBatch::default());
    while scan.next(&mut batch).await.expect("records") {
        records.extend(batch.iter().map(|(id, image)| (id.to_vec(), image.to_vec())));
    }
    records
}
