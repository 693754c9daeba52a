//! A toy that scans or follows in a way of its own, and is the toy in everything else.

use std::sync::Arc;

use async_trait::async_trait;
use backstay_model::{IdRange, Interpreter, Tick};
use backstay_sim::toy::ToySource;
use backstay_source::{Capabilities, Namespace, Position, Records, Result, Source, Start, Tail, Topology};

/// What is different.
#[async_trait]
pub trait Twist: Send + Sync {
    fn toy(&self) -> &ToySource;

    async fn discover(&self) -> Result<Topology> {
        self.toy().discover().await
    }

    async fn scan(&self, namespace: &Namespace, range: &IdRange, at: Tick) -> Result<Box<dyn Records>> {
        Source::scan(self.toy(), namespace, range, at).await
    }

    async fn tail(&self, start: Start) -> Result<Box<dyn Tail>> {
        self.toy().tail(start).await
    }
}

/// The toy with that difference.
pub struct Twisted<T>(pub T);

#[async_trait]
impl<T: Twist> Source for Twisted<T> {
    fn interpreter(&self) -> Arc<dyn Interpreter> {
        self.0.toy().interpreter()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.toy().capabilities()
    }

    async fn discover(&self) -> Result<Topology> {
        self.0.discover().await
    }

    async fn position(&self) -> Result<Position> {
        self.0.toy().position().await
    }

    async fn snapshot(&self) -> Result<Tick> {
        self.0.toy().snapshot().await
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        self.0.toy().namespaces().await
    }

    async fn split(&self, namespace: &Namespace, bytes: u64) -> Result<Vec<IdRange>> {
        self.0.toy().split(namespace, bytes).await
    }

    async fn scan(&self, namespace: &Namespace, range: &IdRange, at: Tick) -> Result<Box<dyn Records>> {
        self.0.scan(namespace, range, at).await
    }

    async fn tail(&self, start: Start) -> Result<Box<dyn Tail>> {
        self.0.tail(start).await
    }
}
