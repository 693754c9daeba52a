//! Many processes, moved by hand.
//!
//! A process is a future. It is polled until it waits for its turn on the [`Wire`] and for nothing else, so that at any
//! moment all processes stand at a request, and whoever lets one request go decides all that happens. What a process
//! does on other threads meanwhile (sorting, encrypting) is waited for.
//!
//! To die is to be dropped: nothing runs after, as little as after `kill -9`.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crate::Wire;

type Process = Pin<Box<dyn Future<Output = ()>>>;

/// How long a process may be at work between two requests before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// The processes that are alive.
pub struct Cast {
    wire: Wire,
    processes: BTreeMap<usize, Process>,
    next: usize,
}

impl Cast {
    /// Nobody yet.
    pub fn new(wire: Wire) -> Cast {
        Cast { wire, processes: BTreeMap::new(), next: 0 }
    }

    /// Starts a process, which is told its number, and runs it to its first request. Numbers are used once.
    pub fn start<F: Future<Output = ()> + 'static>(&mut self, process: impl FnOnce(usize) -> F) -> usize {
        let number = self.next;
        self.next += 1;
        self.processes.insert(number, Box::pin(process(number)));
        self.run(number);
        number
    }

    /// Whether a process is alive.
    pub fn lives(&self, number: usize) -> bool {
        self.processes.contains_key(&number)
    }

    /// Runs a process, one request of which was let go, to where it stands again.
    ///
    /// # Panics
    /// When it waits for anything that does not come.
    pub fn run(&mut self, number: usize) {
        let Some(process) = self.processes.get_mut(&number) else { return };
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(Arc::clone(&bell));
        loop {
            match process.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(()) => {
                    self.kill(number);
                    return;
                }
                Poll::Pending if bell.has_rung() => {}
                Poll::Pending if self.wire.waits(number) => return,
                Poll::Pending => assert!(bell.wait(), "process {number} waits for nothing that comes"),
            }
        }
    }

    /// Ends a process where it stands.
    pub fn kill(&mut self, number: usize) {
        self.processes.remove(&number);
        self.wire.forget(number);
    }
}

/// Rung by whatever a process waits for.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl Bell {
    fn has_rung(&self) -> bool {
        std::mem::take(&mut self.rung.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until it rings; false when it does not.
    fn wait(&self) -> bool {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut rung, _) =
            self.heard.wait_timeout_while(rung, PATIENCE, |rung| !*rung).unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut rung)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.heard.notify_all();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bytes::Bytes;

    use super::*;
    use crate::Fate;

    /// Two processes race for a name; whoever's request is let go first has it.
    #[test]
    fn who_is_let_go_first_wins() {
        for first in [0, 1] {
            let wire = Wire::new();
            let mut cast = Cast::new(wire.clone());
            let won = Arc::new(Mutex::new(Vec::new()));
            for _ in 0..2 {
                let (wire, won) = (wire.clone(), Arc::clone(&won));
                cast.start(|me| async move {
                    let made = wire.store(me).create("name", Bytes::new()).await.is_ok();
                    won.lock().unwrap().push((me, made));
                });
            }
            for process in [first, 1 - first] {
                for _ in ["the request", "its answer"] {
                    let place = wire.waiting().iter().position(|(of, ..)| *of == process).unwrap();
                    wire.let_go(place, Fate::Done, 0);
                    cast.run(process);
                }
            }
            assert_eq!(*won.lock().unwrap(), [(first, true), (1 - first, false)]);
        }
    }

    #[test]
    fn a_request_may_arrive_after_its_process_has_died() {
        let wire = Wire::new();
        let mut cast = Cast::new(wire.clone());
        let store = wire.store(0);
        let me = cast.start(|_| async move { drop(store.create("name", Bytes::new()).await) });
        wire.let_go(0, Fate::Late, 0);
        cast.run(me);
        cast.kill(me);
        assert!(!cast.lives(me) && wire.waiting().is_empty() && !wire.holds("name"));
        wire.deliver(0);
        assert!(wire.holds("name"));
    }
}
