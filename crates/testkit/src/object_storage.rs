//! Object stores on this machine: SeaweedFS for S3, Azurite for Azure Blob.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::leash::Leash;
use crate::listener::Request;
use crate::replica_set::temporary_folder;
use crate::{Server, ports};

const START_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// What a bucket keeps beside the newest objects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keeping {
    /// Nothing.
    Newest,
    /// Older versions, below delete markers too.
    Versions,
    /// Older versions, and any of them can be locked.
    Locks,
}

/// A running SeaweedFS; stopped, and its data removed, when dropped or when the process dies.
///
/// Whoever signs as [`SeaweedFs::KEY_ID`] may do everything, and so may whoever does not sign.
#[derive(Debug)]
pub struct SeaweedFs {
    address: SocketAddr,
    _process: Leash,
    folder: TempDir,
}

impl SeaweedFs {
    /// The key's public part.
    pub const KEY_ID: &'static str = "backstay";
    /// The key's secret part.
    pub const SECRET: &'static str = "backstay-secret";

    /// Starts it, and waits until it answers.
    ///
    /// # Errors
    /// When there is no `weed`, or it does not answer within a minute; the message ends with its log.
    pub fn start() -> Result<SeaweedFs> {
        SeaweedFs::with_arguments(|_| Ok(Vec::new()))
    }

    /// As [`SeaweedFs::start`], with more arguments; `arguments` is told the server's folder.
    ///
    /// # Errors
    /// As [`SeaweedFs::start`].
    pub fn with_arguments(arguments: impl FnOnce(&Path) -> Result<Vec<String>>) -> Result<SeaweedFs> {
        let folder = temporary_folder()?;
        let data = folder.path().join("data");
        std::fs::create_dir(&data)?;
        let identities = format!(
            r#"{{"identities": [
                {{"name": "backstay", "credentials": [{{"accessKey": "{}", "secretKey": "{}"}}],
                  "actions": ["Admin", "Read", "Write", "List", "Tagging"]}},
                {{"name": "anonymous", "actions": ["Admin", "Read", "Write", "List"]}}]}}"#,
            SeaweedFs::KEY_ID,
            SeaweedFs::SECRET
        );
        let config = folder.path().join("s3.json");
        std::fs::write(&config, identities)?;
        let s3 = ports::free()?;
        let mut command = Command::new(Server::SeaweedFs.find()?);
        command.args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"]);
        command.args([
            "-master.telemetry=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.autoCreateBucket=false",
        ]);
        // A new bucket takes seven volumes at once.
        command.args(["-volume.max=500", "-master.volumePreallocate=false"]);
        command.arg(format!("-dir={}", data.display())).arg(format!("-s3.config={}", config.display()));
        command.arg(format!("-s3.port={s3}"));
        for port in ["master.port", "volume.port", "filer.port"] {
            command.arg(format!("-{port}={}", ports::free()?)).arg(format!("-{port}.grpc={}", ports::free()?));
        }
        command.arg(format!("-s3.port.grpc={}", ports::free()?));
        command.args(arguments(folder.path())?);
        command.current_dir(&data).env("HOME", folder.path());
        let address = SocketAddr::from(([127, 0, 0, 1], s3));
        let process = start(&command, folder.path(), address, "SeaweedFS")?;
        Ok(SeaweedFs { address, _process: process, folder })
    }

    /// Where it speaks S3: `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it speaks S3, as a URL.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The folder with its data and logs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Makes a bucket.
    ///
    /// # Errors
    /// When the server does not.
    pub fn make_bucket(&self, name: &str, keeping: Keeping) -> Result<()> {
        let lock: &[(&str, &str)] = match keeping {
            Keeping::Locks => &[("x-amz-bucket-object-lock-enabled", "true")],
            Keeping::Newest | Keeping::Versions => &[],
        };
        // Its parts find each other within a moment after it answers.
        let start = Instant::now();
        while let Err(error) = ask(self.address, "PUT", &format!("/{name}"), lock, b"") {
            ensure!(start.elapsed() < START_LIMIT, error);
            std::thread::sleep(POLL);
        }
        if keeping == Keeping::Versions {
            let versions = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
            ask(self.address, "PUT", &format!("/{name}?versioning"), &[], versions)?;
        }
        Ok(())
    }
}

/// A running Azurite; stopped, and its data removed, when dropped or when the process dies.
#[derive(Debug)]
pub struct Azurite {
    address: SocketAddr,
    _process: Leash,
    _folder: TempDir,
}

impl Azurite {
    /// The account that it knows.
    pub const ACCOUNT: &'static str = "devstoreaccount1";
    /// The account's key, the same everywhere and public.
    pub const KEY: &'static str =
        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
    /// A token, signed with that key, that allows everything with blobs until 2099.
    pub const SAS: &'static str = "sv=2020-08-04&ss=b&srt=sco&sp=rwdlac&se=2099-01-01T00%3A00%3A00Z&\
        sig=x%2FQXZVVilc6CBdKa9TN6OcrIf0rB%2Fv0F0GVQBOwF7so%3D";

    /// Starts it, and waits until it answers.
    ///
    /// # Errors
    /// When there is no `azurite-blob`, or it does not answer within a minute; the message ends with its log.
    pub fn start() -> Result<Azurite> {
        let folder = temporary_folder()?;
        let data = folder.path().join("data");
        std::fs::create_dir(&data)?;
        let port = ports::free()?;
        let mut command = Command::new(Server::Azurite.find()?);
        command.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()]);
        command.args(["--skipApiVersionCheck", "--disableTelemetry", "--silent", "--location"]).arg(&data);
        command.current_dir(&data).env("HOME", folder.path());
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let process = start(&command, folder.path(), address, "Azurite")?;
        Ok(Azurite { address, _process: process, _folder: folder })
    }

    /// Where it speaks Azure Blob: `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The account's address, as a URL.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}/{}", self.address, Azurite::ACCOUNT)
    }

    /// Makes a container.
    ///
    /// # Errors
    /// When the server does not.
    pub fn make_container(&self, name: &str) -> Result<()> {
        let target = format!("/{}/{name}?restype=container&{}", Azurite::ACCOUNT, Azurite::SAS);
        ask(self.address, "PUT", &target, &[], b"").map(drop)
    }
}

/// Starts a server and waits until it answers a request, however it does.
fn start(command: &Command, folder: &Path, address: SocketAddr, name: &str) -> Result<Leash> {
    let log = folder.join("server.log");
    let mut process = Leash::spawn(command, &folder.join("stdout.log"), &log, Some(folder))?;
    let start = Instant::now();
    while exchange(address, "GET", "/", &[], b"").is_err() {
        let tail = || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(20)..].join("\n")
        };
        if let Some(code) = process.ended()? {
            anyhow::bail!("{name} ended with code {code}; the end of its log:\n{}", tail());
        }
        ensure!(start.elapsed() < START_LIMIT, "{name} does not answer; the end of its log:\n{}", tail());
        std::thread::sleep(POLL);
    }
    Ok(process)
}

/// Makes a request that must succeed.
fn ask(address: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<String> {
    let answer = exchange(address, method, target, headers, body)?;
    let status = answer.split_whitespace().nth(1).unwrap_or_default();
    ensure!(status.starts_with('2'), "{method} {target}: {answer}");
    Ok(answer)
}

fn exchange(address: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<String> {
    let mut request =
        Request { method: method.into(), target: target.into(), body: body.to_vec(), ..Request::default() };
    request.headers.insert("host".into(), address.to_string());
    request.headers.insert("content-length".into(), body.len().to_string());
    request.headers.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(START_LIMIT))?;
    stream.write_all(&request.to_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    ensure!(!answer.is_empty(), "no answer");
    String::from_utf8(answer).context("an answer that is not text")
}
