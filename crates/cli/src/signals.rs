//! Stopping cleanly.
//!
//! The first SIGINT or SIGTERM asks the running command to stop where it can be resumed; a second one ends the process
//! at once with exit code 130, which is safe because everything durable is written create-if-absent and whole.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::failure::Exit;

/// Tells whether the command should stop. Cheap to clone; every clone hears the same request.
#[derive(Clone, Debug)]
pub struct Stop {
    asked: watch::Receiver<bool>,
}

/// Asks every [`Stop`] made with it to stop.
#[derive(Clone, Debug)]
pub struct Stopper {
    ask: watch::Sender<bool>,
}

impl Stopper {
    /// Asks to stop.
    pub fn stop(&self) {
        self.ask.send_replace(true);
    }
}

impl Stop {
    /// A request to stop that has not been made, and what makes it.
    pub fn new() -> (Stopper, Stop) {
        let (ask, asked) = watch::channel(false);
        (Stopper { ask }, Stop { asked })
    }

    /// A request that SIGINT and SIGTERM make. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the system does not let the process listen for signals.
    pub fn on_signals() -> io::Result<Stop> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let (stopper, stop) = Stop::new();
        tokio::spawn(async move {
            for first in [true, false] {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if first {
                    stopper.stop();
                } else {
                    std::process::exit(i32::from(Exit::Cancelled.code()));
                }
            }
        });
        Ok(stop)
    }

    /// Whether to stop.
    pub fn is_asked(&self) -> bool {
        *self.asked.borrow()
    }

    /// Waits until it is time to stop.
    pub async fn asked(&mut self) {
        // An error means that nobody is left who could ask.
        if self.asked.wait_for(|asked| *asked).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The plain channel, for rooms that know no signals.
    pub fn channel(&self) -> watch::Receiver<bool> {
        self.asked.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_clone_hears_the_request() {
        let (stopper, stop) = Stop::new();
        let mut clone = stop.clone();
        assert!(!stop.is_asked());
        stopper.stop();
        clone.asked().await;
        assert!(stop.is_asked() && *stop.channel().borrow());
    }
}
