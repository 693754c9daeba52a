//! Prints how long a 30 MiB object takes to read through the store, through `std::fs::read`, and through the library's
//! own local store, the page cache warm.
//!
//! `cargo run --release -p backstay-store --example read_speed`

#![allow(clippy::disallowed_methods)] // Measuring needs the clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backstay_store::Store;
use backstay_store::object_store::local::LocalFileSystem;
use bytes::Bytes;

const SIZE: usize = 30 << 20;

async fn measure<F: Future<Output = usize>>(what: &str, read: impl Fn() -> F) {
    let mut best = Duration::MAX;
    for _ in 0..20 {
        let start = Instant::now();
        assert_eq!(read().await, SIZE);
        best = best.min(start.elapsed());
    }
    println!("{what:<28} {:>7.2} ms", best.as_secs_f64() * 1000.0);
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("backstay-read-speed-{}", std::process::id()));
    let ours = Store::local(&folder)?;
    ours.create("object", Bytes::from(vec![7; SIZE])).await?;
    let file = folder.join("object");
    let library = Store::from_object_store(Arc::new(LocalFileSystem::new_with_prefix(&folder)?));
    let blocks: Vec<_> = (0..SIZE as u64 / 65536).map(|block| block * 65536..(block + 1) * 65536).collect();

    measure("std::fs::read", async || std::fs::read(&file).map_or(0, |bytes| bytes.len())).await;
    measure("Store::get", async || ours.get("object").await.map_or(0, |bytes| bytes.len())).await;
    measure("Store::get_ranges, 480", async || {
        ours.get_ranges("object", &blocks).await.map_or(0, |read| read.iter().map(Bytes::len).sum())
    })
    .await;
    measure("the library's get", async || library.get("object").await.map_or(0, |bytes| bytes.len())).await;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
