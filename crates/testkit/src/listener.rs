//! A little HTTP/1.1 server for tests: one request a connection, threads, no TLS.
//!
//! It understands what our own client sends: bodies with a length. Every answer ends its connection, so that a handler
//! can also break one off at any byte.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result};

/// A request as it arrived.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `GET`, `PUT`, …
    pub method: String,
    /// The path with its query.
    pub target: String,
    /// Names in small letters.
    pub headers: BTreeMap<String, String>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Request {
    /// The target before the `?`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The value of a parameter of the query, percent escapes resolved.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<String> {
        let query = self.target.split_once('?')?.1;
        let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| unescape(value))
    }

    /// The bytes of the request, for handing it on; its connection is to be closed after the answer.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\nconnection: close\r\n", self.method, self.target).into_bytes();
        for (name, value) in self.headers.iter().filter(|(name, _)| *name != "connection") {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }

    fn read(stream: &TcpStream) -> Result<Request> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, target) = (words.next().context("no method")?, words.next().context("no target")?);
        let mut request = Request { method, target, ..Request::default() };
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            request.headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let length = request.headers.get("content-length").map_or(Ok(0), |length| length.parse())?;
        request.body = vec![0; length];
        reader.read_exact(&mut request.body)?;
        Ok(request)
    }
}

/// Resolves percent escapes.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        let escaped = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ if *first == b'+' => bytes.push(b' '),
            _ => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An answer to be.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Headers beside the length.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The length to announce, when it is not the body's: for the answer to HEAD, or a lie.
    pub length: Option<u64>,
}

impl Response {
    /// An answer with a body.
    #[must_use]
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Response {
        Response { status, body: body.into(), ..Response::default() }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Response {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The bytes of the answer.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let length = self.length.unwrap_or(self.body.len() as u64);
        let mut head = format!("HTTP/1.1 {} .\r\ncontent-length: {length}\r\nconnection: close\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        [head.into_bytes(), self.body.clone()].concat()
    }
}

/// A server on a free loopback port; stops when dropped.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Answers each request with what `handler` makes of it, each on a thread of its own.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn start(handler: impl Fn(Request) -> Response + Send + Sync + 'static) -> Result<Listener> {
        Listener::raw(move |request, mut stream| {
            // Whoever asked may have gone.
            let _ = stream.write_all(&handler(request).to_bytes());
        })
    }

    /// Hands each request to `handler` with its connection, which is closed when the handler lets go of it.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn raw(handler: impl Fn(Request, TcpStream) + Send + Sync + 'static) -> Result<Listener> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let stopped = Arc::new(AtomicBool::new(false));
        let (handler, is_stopped) = (Arc::new(handler), Arc::clone(&stopped));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if is_stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let handler = Arc::clone(&handler);
                std::thread::spawn(move || {
                    if let Ok(request) = Request::read(&stream) {
                        handler(request, stream);
                    }
                });
            }
        });
        Ok(Listener { address, stopped, thread: Some(thread) })
    }

    /// Where it listens: `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts. Those that answer end with their connections.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
