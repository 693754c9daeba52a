//! A door before a server: every connection to it passes here, and can be cut or fall silent as a network does.
//!
//! ```text
//!   client ──┐                     open      bytes pass both ways
//!            ├──► Door ──► server  cut       connections break, new ones too: a process or a host that is gone
//!   member ──┘                     silent    connections stand and nothing passes; later it all arrives
//! ```
//!
//! Members of a replica set are told from clients by their first message, in which they name themselves an
//! `internalClient`; so a member can be out of reach for its clients and still replicate. Nothing is understood
//! beyond that: it is bytes that pass.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;

/// How often a connection that is held looks whether it may go on.
const LOOK: Duration = Duration::from_millis(20);
/// What only members say in their first message.
const MEMBER: &[u8] = b"internalClient";

/// What becomes of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// They pass.
    Open,
    /// They break, and new ones break too.
    Cut,
    /// They stand, and nothing arrives until this is over.
    Silent,
}

/// The door; it closes for good when dropped.
#[derive(Debug)]
pub struct Door {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    upstream: Mutex<SocketAddr>,
    rules: Mutex<Rules>,
    links: Mutex<HashMap<u64, Link>>,
    next: AtomicU64,
    stopped: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
struct Rules {
    clients: Passage,
    members: Passage,
}

#[derive(Debug)]
struct Link {
    is_member: bool,
    ends: [TcpStream; 2],
}

impl Door {
    /// Stands before `upstream`, open.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn start(upstream: SocketAddr) -> Result<Door> {
        // As with the servers' own ports: not one from which the kernel takes those of outgoing connections.
        let listener = TcpListener::bind(("127.0.0.1", crate::ports::free()?))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream: Mutex::new(upstream),
            rules: Mutex::new(Rules { clients: Passage::Open, members: Passage::Open }),
            links: Mutex::default(),
            next: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        });
        let handed = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for client in listener.incoming() {
                if handed.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(client) = client else { continue };
                let shared = Arc::clone(&handed);
                // Connections break here by design.
                std::thread::spawn(move || drop(shared.pass(client)));
            }
        });
        Ok(Door { address, shared, thread: Some(thread) })
    }

    /// Where to connect: `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on new connections go to `upstream`.
    pub fn lead_to(&self, upstream: SocketAddr) {
        *lock(&self.shared.upstream) = upstream;
    }

    /// From now on connections of clients and of members suffer this.
    pub fn set(&self, clients: Passage, members: Passage) {
        *lock(&self.shared.rules) = Rules { clients, members };
        for link in lock(&self.shared.links).values() {
            if self.shared.passage(link.is_member) == Passage::Cut {
                link.shut();
            }
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.set(Passage::Cut, Passage::Cut);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Link {
    fn shut(&self) {
        for end in &self.ends {
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn passage(&self, is_member: bool) -> Passage {
        let rules = *lock(&self.rules);
        if is_member { rules.members } else { rules.clients }
    }

    /// Waits while nothing may pass; false when the connection is to break.
    fn may_pass(&self, is_member: bool) -> bool {
        loop {
            match self.passage(is_member) {
                Passage::Open => return true,
                Passage::Cut => return false,
                Passage::Silent => std::thread::sleep(LOOK),
            }
        }
    }

    fn pass(self: &Arc<Self>, mut client: TcpStream) -> Result<()> {
        let rules = *lock(&self.rules);
        if rules.clients == Passage::Cut && rules.members == Passage::Cut {
            return Ok(());
        }
        client.set_nodelay(true)?;
        // Whoever connects speaks first.
        let mut first = vec![0; 16 << 10];
        let length = client.read(&mut first)?;
        first.truncate(length);
        let is_member = first.windows(MEMBER.len()).any(|window| window == MEMBER);
        if length == 0 || !self.may_pass(is_member) {
            return Ok(());
        }
        let upstream = *lock(&self.upstream);
        let mut server = TcpStream::connect(upstream)?;
        server.set_nodelay(true)?;
        server.write_all(&first)?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.links).insert(number, Link { is_member, ends: [client.try_clone()?, server.try_clone()?] });
        let (shared, from, to) = (Arc::clone(self), server.try_clone()?, client.try_clone()?);
        let back = std::thread::spawn(move || shared.pump(from, to, is_member));
        self.pump(client, server, is_member);
        let _ = back.join();
        lock(&self.links).remove(&number);
        Ok(())
    }

    /// Hands on what comes until either end is gone.
    fn pump(&self, mut from: TcpStream, mut to: TcpStream, is_member: bool) {
        let mut buffer = vec![0; 64 << 10];
        // Looked at here too: what was set while this began found no connection to break.
        while self.may_pass(is_member) {
            let Ok(length @ 1..) = from.read(&mut buffer) else { break };
            if !self.may_pass(is_member) || to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
