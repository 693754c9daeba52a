//! The toy as a target: every write goes through its log, like a client's.

use async_trait::async_trait;
use backstay_model::{IdRange, Tick};
use backstay_source::{
    Conflict, Error, Namespace, RecordBatch, Records, Result, Target, Write, WriteMode, WriteReport,
};

use super::{Operation, Record, ToySource};

#[async_trait]
impl Target for ToySource {
    fn location(&self) -> String {
        "toy".to_owned()
    }

    async fn definitions(&self) -> Result<Vec<Namespace>> {
        self.call("list the namespaces")?;
        Ok(self.list_namespaces())
    }

    async fn create(&self, name: &str, definition: &[u8]) -> Result<()> {
        self.call("create a namespace")?;
        let wanted = Record::parse(definition)?;
        let created = self.toy.define(name, |mut record| {
            for (field, value) in wanted.fields.iter().filter(|(field, _)| field != "name" && field != "indexes") {
                record.set(field, value);
            }
            record
        });
        let refused = || Error::Refused { what: format!("create {name}"), why: "it is there already".to_owned() };
        created.map(drop).ok_or_else(refused)
    }

    async fn build_indexes(&self, name: &str, definition: &[u8]) -> Result<()> {
        self.call("build indexes")?;
        if let Some(indexes) = Record::parse(definition)?.get("indexes") {
            self.toy.alter(name, |record| record.with("indexes", indexes)).ok_or_else(|| missing(name))?;
        }
        Ok(())
    }

    async fn drop_namespace(&self, name: &str) -> Result<()> {
        self.call("drop a namespace")?;
        let busy = || Error::Refused { what: format!("drop {name}"), why: "a transaction holds it".to_owned() };
        let there = self.toy.lock().namespace(name).is_some();
        match there {
            true => self.toy.drop_namespace(name).map(drop).ok_or_else(busy),
            false => Ok(()),
        }
    }

    async fn definition_differences(&self, name: &str, definition: &[u8]) -> Result<Vec<String>> {
        self.call("compare definitions")?;
        let wanted = Record::parse(definition)?;
        let state = self.toy.lock();
        let namespace = state.namespace(name).ok_or_else(|| missing(name))?;
        let found = state.definition(namespace).ok_or_else(|| missing(name))?;
        let comparable = |record: &Record| -> Vec<(String, String)> {
            let mut fields: Vec<_> = record.fields.iter().filter(|(field, _)| field != "name").cloned().collect();
            fields.sort();
            fields
        };
        let (wanted, found) = (comparable(&wanted), comparable(&found));
        let lacks = wanted
            .iter()
            .filter(|field| !found.contains(field))
            .map(|(name, value)| format!("{name} should be {value}"));
        let extra = found.iter().filter(|(name, _)| !wanted.iter().any(|(wanted, _)| wanted == name));
        Ok(lacks.chain(extra.map(|(name, _)| format!("{name} should not be set"))).collect())
    }

    async fn scan(&self, name: &str, range: &IdRange, tenant: Option<&str>) -> Result<Box<dyn Records>> {
        self.call("scan")?;
        let namespace = self.toy.lock().namespace(name).ok_or_else(|| missing(name))?;
        Ok(Box::new(self.records(namespace, range, Tick::MAX, tenant)))
    }

    async fn fetch(&self, name: &str, ids: &[&[u8]]) -> Result<RecordBatch> {
        self.call("fetch records")?;
        let state = self.toy.lock();
        let namespace = state.namespace(name).ok_or_else(|| missing(name))?;
        let mut batch = RecordBatch::default();
        for id in ids {
            if let Some((_, image)) = state.oracle.state(namespace, id, Tick::MAX) {
                batch.push(id, image);
            }
        }
        Ok(batch)
    }

    async fn insert(&self, name: &str, records: &RecordBatch) -> Result<WriteReport> {
        let writes: Vec<Write<'_>> = records.iter().map(|(_, image)| Write::Insert { image }).collect();
        Target::write(self, name, &writes, WriteMode::Guarded).await
    }

    async fn write(&self, name: &str, writes: &[Write<'_>], mode: WriteMode) -> Result<WriteReport> {
        self.call("write records")?;
        let namespace = self.toy.lock().namespace(name).ok_or_else(|| missing(name))?;
        let mut report = WriteReport::default();
        for (number, write) in writes.iter().enumerate() {
            let (image, expected) = match write {
                Write::Insert { image } => (*image, None),
                Write::Replace { expected, .. } | Write::Delete { expected } => (*expected, Some(*expected)),
            };
            let id = Record::parse(image)?.id;
            let live = self.toy.lock().oracle.state(namespace, &id, Tick::MAX).map(|(_, image)| image.to_vec());
            let done = match write {
                Write::Replace { image, .. } | Write::Insert { image } => live.as_deref() == Some(*image),
                Write::Delete { .. } => live.is_none(),
            };
            if mode == WriteMode::Guarded && live.as_deref() != expected {
                report.conflicts.push(Conflict { write: number, taken: false, why: "it changed meanwhile".to_owned() });
                continue;
            }
            let operation = match write {
                Write::Insert { image } | Write::Replace { image, .. } => {
                    Operation::Put { name: name.to_owned(), record: Record::parse(image)? }
                }
                Write::Delete { .. } => Operation::Delete { name: name.to_owned(), id },
            };
            if done || self.toy.apply(&[operation], false).is_some() {
                report.written += 1;
            } else {
                report.conflicts.push(Conflict {
                    write: number,
                    taken: false,
                    why: "a transaction holds it".to_owned(),
                });
            }
        }
        Ok(report)
    }
}

fn missing(name: &str) -> Error {
    Error::Refused { what: format!("use {name}"), why: "there is no such namespace".to_owned() }
}
