//! The demo: one tenant of a real MongoDB is rescued from an accident, and every claim made on the way is checked.
//!
//! ```text
//!   shop (generated) ──load──▶ replica set rs0 ◀──500 writes a second── writers
//!                                 │      ▲
//!                  backup, capture│      │restore --in-place: acme alone
//!                                 ▼      │
//!                              archive ──┴──restore --into──▶ replica set rs1
//!
//!   witness: reads rs0 and rs1 with the driver alone, and compares
//! ```
//!
//! What is shown is what a person would type and see: the release build of `backstay`, run as a child process in a
//! folder of its own. What is claimed is checked without it: `witness` remembers what the server itself answered
//! before the accident, and `writers` remembers every write that the server acknowledged. A claim that does not hold
//! ends the demo with exit code 1.
//!
//! Servers and processes hang on leashes: they end with this program, whatever it ends of.
#![allow(clippy::disallowed_methods, reason = "a demo waits for real servers with the real clock")]

mod load;
mod shell;
mod shop;
mod story;
mod witness;
mod writers;

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

/// What a shell reports for a program that Ctrl-C has ended.
const CANCELLED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    // Leaving the story early drops it, and with it all servers, processes and folders.
    tokio::select! {
        result = story::tell() => match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("\nThe demo failed: {error:#}");
                ExitCode::FAILURE
            }
        },
        () = asked_to_stop() => {
            eprintln!("\nStopped; servers and folders are removed.");
            ExitCode::from(CANCELLED)
        }
    }
}

/// Returns at the first SIGINT or SIGTERM.
async fn asked_to_stop() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
