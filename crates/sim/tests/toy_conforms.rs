//! The toy keeps the contract of sources and targets.

use std::sync::Arc;

use async_trait::async_trait;
use backstay_sim::conformance::{self, Driver};
use backstay_sim::toy::{Operation, Record, Toy, ToyFault, ToySource};
use backstay_source::{Error, Source, Start};

struct ToyDriver(Arc<Toy>);

fn record(id: u32, value: &str) -> Record {
    Record::new(&id.to_be_bytes()).with("value", value)
}

#[async_trait]
impl Driver for ToyDriver {
    fn name(&self, number: usize) -> String {
        format!("conform.n{number}")
    }

    fn image(&self, id: u32, value: &str) -> Vec<u8> {
        record(id, value).image()
    }

    fn id(&self, id: u32) -> Vec<u8> {
        id.to_be_bytes().to_vec()
    }

    async fn create(&self, name: &str) {
        assert!(self.0.define(name, |definition| definition.with("indexes", "value")).is_some(), "{name} is there");
    }

    async fn drop_namespace(&self, name: &str) {
        assert!(self.0.drop_namespace(name).is_some(), "{name} is not there");
    }

    async fn put(&self, name: &str, id: u32, value: &str) {
        self.put_together(name, &[id], value).await;
    }

    async fn update(&self, name: &str, id: u32, value: &str) {
        let (name, id, field, value) = (name.to_owned(), self.id(id), "value".to_owned(), value.to_owned());
        assert!(self.0.apply(&[Operation::Set { name, id, field, value }], false).is_some());
    }

    async fn delete(&self, name: &str, id: u32) {
        assert!(self.0.apply(&[Operation::Delete { name: name.to_owned(), id: self.id(id) }], false).is_some());
    }

    async fn put_together(&self, name: &str, ids: &[u32], value: &str) {
        let put = |id: &u32| Operation::Put { name: name.to_owned(), record: record(*id, value) };
        let transaction = self.0.prepare(&ids.iter().map(put).collect::<Vec<_>>());
        assert!(transaction.and_then(|transaction| self.0.commit(transaction)).is_some());
    }
}

fn toy() -> (ToySource, ToyDriver) {
    let toy = Arc::new(Toy::new());
    (ToySource::new(Arc::clone(&toy)), ToyDriver(toy))
}

#[tokio::test]
async fn it_describes_itself() {
    let (source, driver) = toy();
    conformance::source_describes_itself(&source, &driver).await;
}

#[tokio::test]
async fn its_scans_read_one_instant() {
    let (source, driver) = toy();
    conformance::scans_read_one_instant(&source, &driver).await;
}

#[tokio::test]
async fn its_feed_continues_a_scan() {
    let (source, driver) = toy();
    conformance::feed_continues_a_scan(&source, &driver).await;
}

#[tokio::test]
async fn its_feed_resumes_anywhere() {
    let (source, driver) = toy();
    conformance::feed_resumes_anywhere(&source, &driver).await;
}

#[tokio::test]
async fn it_takes_what_it_is_given() {
    let (source, driver) = toy();
    conformance::target_takes_what_it_is_given(&source, &source, &driver).await;
}

#[tokio::test]
async fn it_guards_its_writes() {
    let (source, driver) = toy();
    conformance::target_guards_its_writes(&source, &driver).await;
}

#[tokio::test]
async fn it_fails_when_told_to() {
    let (source, driver) = toy();
    driver.create("conform.n0").await;
    source.fail_call(2, ToyFault::Unavailable);
    assert!(source.snapshot().await.is_ok());
    assert!(matches!(source.snapshot().await, Err(Error::Unavailable { .. })));
    assert!(source.snapshot().await.is_ok());
    let start = Start { resume: Toy::START, through: Toy::START };
    source.toy().roll_over(source.toy().beat());
    assert!(matches!(source.tail(start).await.err(), Some(Error::RolledOver { .. })));
}
