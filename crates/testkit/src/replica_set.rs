//! A real MongoDB replica set on loopback, made for one test and gone after it.
//!
//! Members listen on free ports of 127.0.0.1 and keep their data in a temporary folder. Elections are made quick;
//! everything else is the server's default, except a small cache and no diagnostic files. Stopping, killing and
//! starting again keep ports and data, so that a [`Client`] made before finds its way back.
//!
//! With [`Options::doors`] the members know each other, and clients know them, by a [`Door`] before each: what the
//! network does to a member is then a matter of [`ReplicaSet::door`].

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use bson::{Bson, Document, doc};
use mongodb::Client;
use mongodb::options::ClientOptions;
use tempfile::TempDir;

use crate::door::Door;
use crate::leash::{Leash, Signal};
use crate::{ports, server};

const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// What mongod exits with when its address is taken.
const EXIT_NET_ERROR: i32 = 48;

/// How to start a [`ReplicaSet`].
#[derive(Clone, Debug)]
pub struct Options {
    /// The set's name, `rs0` unless told otherwise.
    pub name: String,
    /// How many members, 1 to 7; all of them vote and hold data.
    pub members: usize,
    /// The oplog's size in megabytes; the server's own choice when `None`.
    pub oplog_mb: Option<u32>,
    /// The storage engine's cache in gigabytes (at least 0.25).
    pub cache_gb: f32,
    /// More arguments for every `mongod`, such as `--setParameter` and its value.
    pub args: Vec<String>,
    /// Whether there is a [`Door`] before each member.
    pub doors: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { name: "rs0".into(), members: 1, oplog_mb: None, cache_gb: 0.5, args: Vec::new(), doors: false }
    }
}

/// A running replica set; stopped, and its data removed, when dropped or when the process dies.
#[derive(Debug)]
pub struct ReplicaSet {
    options: Options,
    program: PathBuf,
    is_since_5: bool,
    members: Vec<Member>,
    /// Owns the members' folders; dropped after the members.
    folder: TempDir,
}

#[derive(Debug)]
struct Member {
    port: u16,
    door: Option<Door>,
    folder: PathBuf,
    log: PathBuf,
    process: Option<Leash>,
}

impl ReplicaSet {
    /// Starts the set and waits until it has a primary and every other member is a secondary.
    ///
    /// # Errors
    /// When there is no `mongod`, or the set is not ready within a minute; the message ends with the server's log.
    pub async fn start(options: Options) -> Result<Self> {
        let program = server::mongod()?;
        let folder = temporary_folder()?;
        let members = (0..options.members)
            .map(|index| Member::new(folder.path(), index, options.doors))
            .collect::<Result<_>>()?;
        let is_since_5 = server::release(&program).is_none_or(|release| release >= (5, 0));
        let mut set = Self { options, program, is_since_5, members, folder };
        // The first start may choose another port when someone was faster; later ones keep theirs.
        for index in 0..set.members.len() {
            let mut tries = 0;
            while let Err(error) = set.start_member(index).await {
                tries += 1;
                let taken = error.downcast_ref::<PortTaken>().is_some();
                ensure!(taken && tries < 5, error);
                set.member(index)?.move_to(ports::free()?);
            }
        }
        set.initiate().await?;
        set.wait_until_ready().await?;
        Ok(set)
    }

    /// The connection string, naming all members and the set.
    #[must_use]
    pub fn uri(&self) -> String {
        let hosts: Vec<String> = self.members.iter().map(Member::address).collect();
        format!("mongodb://{}/?replicaSet={}", hosts.join(","), self.options.name)
    }

    /// The connection string of one member alone, past its door.
    ///
    /// # Panics
    /// When there is no member `index`.
    #[must_use]
    pub fn direct_uri(&self, index: usize) -> String {
        format!("mongodb://127.0.0.1:{}/?directConnection=true", self.members[index].port)
    }

    /// The door before a member; none without [`Options::doors`].
    #[must_use]
    pub fn door(&self, index: usize) -> Option<&Door> {
        self.members.get(index)?.door.as_ref()
    }

    /// A new client for the set. It belongs to the current tokio runtime.
    ///
    /// # Errors
    /// When the driver refuses the connection string.
    pub async fn client(&self) -> Result<Client> {
        Ok(Client::with_uri_str(self.uri()).await?)
    }

    /// A new client for one member, whatever its state.
    ///
    /// # Errors
    /// When the driver refuses the connection string.
    pub async fn direct_client(&self, index: usize) -> Result<Client> {
        direct(&self.direct_uri(index)).await
    }

    /// Stops all members cleanly, last one first; the data stay.
    ///
    /// # Errors
    /// When a member does not end within a minute.
    pub async fn stop(&mut self) -> Result<()> {
        for index in (0..self.members.len()).rev() {
            self.end_member(index, Signal::Terminate).await?;
        }
        Ok(())
    }

    /// Kills all members at once, as a power cut would; the data stay.
    ///
    /// # Errors
    /// When a member does not end within a minute.
    pub async fn kill(&mut self) -> Result<()> {
        for index in 0..self.members.len() {
            self.end_member(index, Signal::Kill).await?;
        }
        Ok(())
    }

    /// Stops what runs, then starts every member on its own port and data, and waits for a primary.
    ///
    /// # Errors
    /// As [`ReplicaSet::start`].
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        for index in 0..self.members.len() {
            self.start_member(index).await?;
        }
        self.wait_until_ready().await
    }

    /// Kills one member.
    ///
    /// # Errors
    /// When there is no such member, or it does not end within a minute.
    pub async fn kill_member(&mut self, index: usize) -> Result<()> {
        self.end_member(index, Signal::Kill).await
    }

    /// Freezes one member: its connections stand, and nothing is answered.
    ///
    /// # Errors
    /// When there is no such member.
    pub fn pause_member(&mut self, index: usize) -> Result<()> {
        self.signal_member(index, Signal::Stop)
    }

    /// Lets a member that was frozen go on.
    ///
    /// # Errors
    /// When there is no such member.
    pub fn resume_member(&mut self, index: usize) -> Result<()> {
        self.signal_member(index, Signal::Continue)
    }

    fn signal_member(&mut self, index: usize, signal: Signal) -> Result<()> {
        self.member(index)?.process.as_mut().map_or(Ok(()), |process| process.signal(signal))
    }

    /// Starts one member that was stopped or killed; returns when it accepts connections.
    ///
    /// # Errors
    /// As [`ReplicaSet::start`].
    pub async fn start_member(&mut self, index: usize) -> Result<()> {
        self.start_member_as(index, true).await
    }

    /// Kills one member and starts it without its data: it copies all from the others, and its oplog begins anew. Returns
    /// when it accepts connections.
    ///
    /// # Errors
    /// As [`ReplicaSet::start`]; when its files cannot be removed.
    pub async fn empty_member(&mut self, index: usize) -> Result<()> {
        self.kill_member(index).await?;
        let folder = self.member(index)?.folder.clone();
        std::fs::remove_dir_all(&folder)?;
        std::fs::create_dir(&folder)?;
        self.start_member(index).await
    }

    /// Makes a set of one member anew of its files, as after a snapshot was put back: with what `work` made of the data, and
    /// without the oplog, the configuration and the elections that were.
    ///
    /// # Errors
    /// As [`ReplicaSet::start`]; when `local` cannot be dropped.
    pub async fn make_anew(&mut self, work: impl AsyncFnOnce(&Client)) -> Result<()> {
        self.stop().await?;
        self.start_member_as(0, false).await?;
        let client = self.direct_client(0).await?;
        work(&client).await;
        client.database("local").drop().await?;
        client.shutdown().await;
        self.stop().await?;
        self.start_member(0).await?;
        self.initiate().await?;
        self.wait_until_ready().await
    }

    async fn start_member_as(&mut self, index: usize, in_set: bool) -> Result<()> {
        let mut command = Command::new(&self.program);
        let is_since_5 = self.is_since_5;
        let options = self.options.clone();
        let member = self.member(index)?;
        if member.process.is_some() {
            return Ok(());
        }
        command
            .args(["--bind_ip", "127.0.0.1", "--port", &member.port.to_string()])
            .args(if in_set { vec!["--replSet", options.name.as_str()] } else { Vec::new() })
            .arg("--dbpath")
            .arg(&member.folder)
            .args(["--nounixsocket", "--wiredTigerCacheSizeGB", &options.cache_gb.to_string()])
            .args(["--setParameter", "diagnosticDataCollectionEnabled=false"]);
        if is_since_5 {
            // How long a primary that is asked to stop hesitates; 15 s by default.
            command.args(["--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100"]);
        }
        if let Some(megabytes) = options.oplog_mb {
            command.args(["--oplogSize", &megabytes.to_string()]);
        }
        command.args(&options.args);
        let process = Leash::spawn(&command, &member.log, &member.folder.join("stderr.log"), Some(&member.folder))?;
        member.process = Some(process);
        member.wait_until_listening().await
    }

    /// Adds a member, and waits until it has copied the data. Its oplog begins about where the copying began, however
    /// much longer the others' is.
    ///
    /// # Errors
    /// As [`ReplicaSet::start`].
    pub async fn add_member(&mut self) -> Result<()> {
        let index = self.members.len();
        let member = Member::new(self.folder.path(), index, self.options.doors)?;
        self.members.push(member);
        self.start_member(index).await?;
        let client = self.client().await?;
        let admin = client.database("admin");
        let reply = admin.run_command(doc! { "replSetGetConfig": 1 }).await?;
        let mut config = reply.get_document("config")?.clone();
        config.insert("version", config.get_i32("version")? + 1);
        let id = i32::try_from(index)?;
        let host = self.member(index)?.address();
        config.get_array_mut("members")?.push(doc! { "_id": id, "host": host, "priority": 0 }.into());
        admin.run_command(doc! { "replSetReconfig": config }).await?;
        client.shutdown().await;
        self.wait_until_ready().await
    }

    fn member(&mut self, index: usize) -> Result<&mut Member> {
        self.members.get_mut(index).with_context(|| format!("the replica set has no member {index}"))
    }

    async fn end_member(&mut self, index: usize, signal: Signal) -> Result<()> {
        let member = self.member(index)?;
        let Some(process) = member.process.as_mut() else {
            return Ok(());
        };
        process.signal(signal)?;
        let start = Instant::now();
        while process.ended()?.is_none() {
            ensure!(start.elapsed() < STOP_LIMIT, "mongod on port {} does not end", member.port);
            tokio::time::sleep(POLL).await;
        }
        member.process = None;
        Ok(())
    }

    async fn initiate(&self) -> Result<()> {
        let members: Vec<Bson> = (0i32..)
            .zip(&self.members)
            .map(|(id, member)| Bson::from(doc! { "_id": id, "host": member.address() }))
            .collect();
        let config = doc! {
            "_id": &self.options.name,
            "members": members,
            "settings": { "electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 250 },
        };
        let client = self.direct_client(0).await?;
        client.database("admin").run_command(doc! { "replSetInitiate": config }).await?;
        client.shutdown().await;
        Ok(())
    }

    /// Waits until there is a primary that takes writes, and every other member is a secondary.
    ///
    /// # Errors
    /// When that is not so within a minute.
    pub async fn wait_until_ready(&self) -> Result<()> {
        let start = Instant::now();
        let client = self.direct_client(0).await?;
        let admin = client.database("admin");
        loop {
            let status = admin.run_command(doc! { "replSetGetStatus": 1 }).await;
            let hello = admin.run_command(doc! { "hello": 1 }).await;
            if let (Ok(status), Ok(hello)) = (&status, &hello)
                && self.is_ready(status, hello)
            {
                client.shutdown().await;
                return Ok(());
            }
            if start.elapsed() > START_LIMIT {
                let log = self.members.first().map(Member::end_of_log).unwrap_or_default();
                bail!(
                    "the replica set has no primary after {START_LIMIT:?}; the end of the first member's log:\n{log}"
                );
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn is_ready(&self, status: &Document, hello: &Document) -> bool {
        let Ok(members) = status.get_array("members") else {
            return false;
        };
        let count = |state: &str| {
            let is = |member: &&Bson| member.as_document().and_then(|m| m.get_str("stateStr").ok()) == Some(state);
            members.iter().filter(is).count()
        };
        // `hello` names a primary only once it takes writes.
        count("PRIMARY") == 1
            && count("SECONDARY") + 1 == self.members.len()
            && hello.get_str("primary").is_ok()
            && (self.members.len() > 1 || hello.get_bool("isWritablePrimary").is_ok_and(|is| is))
    }
}

impl Member {
    fn new(parent: &Path, index: usize, door: bool) -> Result<Self> {
        let folder = parent.join(format!("member-{index}"));
        fs::create_dir(&folder)?;
        let port = ports::free()?;
        let door = door.then(|| Door::start(loopback(port))).transpose()?;
        Ok(Self { port, door, log: folder.join("mongod.log"), folder, process: None })
    }

    /// What it is known by, to the other members and to clients.
    fn address(&self) -> String {
        self.door.as_ref().map_or(loopback(self.port), Door::address).to_string()
    }

    fn move_to(&mut self, port: u16) {
        self.port = port;
        if let Some(door) = &self.door {
            door.lead_to(loopback(port));
        }
    }

    /// Reads the log rather than trying to connect: another server may answer on this port.
    async fn wait_until_listening(&mut self) -> Result<()> {
        let start = Instant::now();
        loop {
            if fs::read_to_string(&self.log).is_ok_and(|log| log.contains("aiting for connections")) {
                return Ok(());
            }
            let Some(process) = self.process.as_mut() else { bail!("mongod was not started") };
            if let Some(code) = process.ended()? {
                self.process = None;
                // The watchdog only removes the folder of a server that it had to kill.
                if code == EXIT_NET_ERROR {
                    return Err(PortTaken(self.port).into());
                }
                bail!("mongod ended with code {code}; the end of its log:\n{}", self.end_of_log());
            }
            ensure!(
                start.elapsed() < START_LIMIT,
                "mongod does not accept connections after {START_LIMIT:?}; the end of its log:\n{}",
                self.end_of_log()
            );
            tokio::time::sleep(POLL).await;
        }
    }

    fn end_of_log(&self) -> String {
        let mut text = fs::read_to_string(self.folder.join("stderr.log")).unwrap_or_default();
        text.push_str(&fs::read_to_string(&self.log).unwrap_or_default());
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[derive(Debug)]
struct PortTaken(u16);

impl std::fmt::Display for PortTaken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "port {} is taken", self.0)
    }
}

impl std::error::Error for PortTaken {}

async fn direct(uri: &str) -> Result<Client> {
    let mut options = ClientOptions::parse(uri).await?;
    options.server_selection_timeout = Some(START_LIMIT);
    Ok(Client::with_options(options)?)
}

/// Below `CARGO_TARGET_TMPDIR` when that is set while the test runs, else in the system's place.
pub(crate) fn temporary_folder() -> Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("backstay-");
    Ok(match std::env::var_os("CARGO_TARGET_TMPDIR") {
        Some(parent) => {
            fs::create_dir_all(&parent)?;
            builder.tempdir_in(parent)?
        }
        None => builder.tempdir()?,
    })
}
