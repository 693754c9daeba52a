//! A proxy before an HTTP server that loses, cuts, delays and holds up what passes through it.
//!
//! ```text
//!   client ──► FaultyProxy ──► server         the plan, a function of each request, says what goes wrong with it
//! ```

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;

use crate::listener::{Listener, Request, Response};

/// What goes wrong with one request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The server never sees it; this is the answer.
    Answer(Response),
    /// The server does what is asked, and the connection breaks before the answer.
    LoseAnswer,
    /// The server sees half of the body and then a broken connection; so does the client.
    CutRequest,
    /// The client gets the head of the answer and half of the body, and then a broken connection.
    CutAnswer,
    /// The client gets the head of the answer and half of the body, and then nothing for this long.
    StallAnswer(Duration),
    /// The client hears nothing for this long, and the server sees nothing.
    Silence(Duration),
    /// The connection breaks at once, and the server sees the request after this time.
    Late(Duration),
    /// One byte of the answer's body arrives altered.
    AlterAnswer,
}

/// A request that passes, for the plan.
#[derive(Clone, Debug)]
pub struct Passing {
    /// How many have passed before it.
    pub number: usize,
    /// `GET`, `PUT`, …
    pub method: String,
    /// The path with its query.
    pub target: String,
}

type Plan = Box<dyn FnMut(&Passing) -> Option<Fault> + Send>;

struct Shared {
    upstream: SocketAddr,
    plan: Mutex<Plan>,
    passed: Mutex<Vec<Passing>>,
    forgotten: Mutex<Option<String>>,
}

/// The proxy; stops when dropped.
pub struct FaultyProxy {
    listener: Listener,
    shared: Arc<Shared>,
}

impl FaultyProxy {
    /// Stands before `upstream`; nothing goes wrong yet.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn start(upstream: SocketAddr) -> Result<FaultyProxy> {
        let shared = Shared {
            upstream,
            plan: Mutex::new(Box::new(|_| None)),
            passed: Mutex::default(),
            forgotten: Mutex::default(),
        };
        let shared = Arc::new(shared);
        let handed = Arc::clone(&shared);
        let listener = Listener::raw(move |request, client| {
            // Connections break here by design.
            let _ = handed.pass(&request, client);
        })?;
        Ok(FaultyProxy { listener, shared })
    }

    /// Where clients connect: `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// From now on `plan` says what goes wrong with each request. What has passed is forgotten.
    pub fn plan(&self, plan: impl FnMut(&Passing) -> Option<Fault> + Send + 'static) {
        *self.shared.plan.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(plan);
        self.shared.passed.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The next requests for which `concerns` holds suffer these faults, one each; all others pass.
    pub fn next(&self, concerns: impl Fn(&Passing) -> bool + Send + 'static, faults: impl IntoIterator<Item = Fault>) {
        let mut faults = faults.into_iter().collect::<Vec<_>>().into_iter();
        self.plan(move |passing| concerns(passing).then(|| faults.next()).flatten());
    }

    /// From now on this header of requests, in small letters, does not reach the server, and the server is not asked to
    /// check a signature: it takes requests of nobody for what they are.
    pub fn forget_header(&self, name: &str) {
        *self.shared.forgotten.lock().unwrap_or_else(PoisonError::into_inner) = Some(name.to_owned());
    }

    /// What has passed since the plan was made.
    #[must_use]
    pub fn passed(&self) -> Vec<Passing> {
        self.shared.passed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Shared {
    fn pass(&self, request: &Request, mut client: TcpStream) -> Result<()> {
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        let passing = Passing { number: passed.len(), method: request.method.clone(), target: request.target.clone() };
        passed.push(passing.clone());
        drop(passed);
        let fault = (self.plan.lock().unwrap_or_else(PoisonError::into_inner))(&passing);
        let mut request = request.clone();
        if let Some(name) = &*self.forgotten.lock().unwrap_or_else(PoisonError::into_inner) {
            request.headers.retain(|header, _| header != name && header != "authorization");
        }
        match fault {
            None => client.write_all(&self.ask(&request.to_bytes())?)?,
            Some(Fault::Answer(response)) => client.write_all(&response.to_bytes())?,
            Some(Fault::LoseAnswer) => drop(self.ask(&request.to_bytes())?),
            Some(Fault::CutRequest) => {
                let bytes = request.to_bytes();
                let mut server = TcpStream::connect(self.upstream)?;
                server.write_all(&bytes[..bytes.len() - request.body.len() / 2])?;
                server.shutdown(Shutdown::Both)?;
            }
            Some(Fault::CutAnswer) => client.write_all(first_half(&self.ask(&request.to_bytes())?))?,
            Some(Fault::StallAnswer(time)) => {
                client.write_all(first_half(&self.ask(&request.to_bytes())?))?;
                std::thread::sleep(time);
            }
            Some(Fault::Silence(time)) => std::thread::sleep(time),
            Some(Fault::Late(time)) => {
                drop(client);
                std::thread::sleep(time);
                self.ask(&request.to_bytes())?;
            }
            Some(Fault::AlterAnswer) => {
                let mut answer = self.ask(&request.to_bytes())?;
                if let Some(byte) = answer.last_mut() {
                    *byte ^= 1;
                }
                client.write_all(&answer)?;
            }
        }
        Ok(())
    }

    /// The server's whole answer.
    fn ask(&self, request: &[u8]) -> Result<Vec<u8>> {
        let mut server = TcpStream::connect(self.upstream)?;
        server.write_all(request)?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer)?;
        Ok(answer)
    }
}

/// The head of an answer and half of its body.
fn first_half(answer: &[u8]) -> &[u8] {
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
    &answer[..head + (answer.len() - head) / 2]
}
