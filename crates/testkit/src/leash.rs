//! A child process that dies with its owner, whatever the owner dies of.
//!
//! ```text
//!   owner ──stdin──> sh ──┬── the program            (its pid is the first line on the watchdog's stdout)
//!                         └── reader: a line "TERM" on stdin is a signal to send, end of file is KILL
//! ```
//!
//! `prctl(PR_SET_PDEATHSIG)` would need `unsafe` code between fork and exec, and knows Linux only. A pipe does the
//! same everywhere: the kernel closes the owner's end even after SIGKILL, the reader sees the end of file, kills
//! the program, and the watchdog removes the folder that was to go with it. Signals travel through the same pipe,
//! so that a pid which the system has given to someone else is never signalled.
//!
//! The watchdog leaves with the program's exit status (128 + number after a signal, as shells count).

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

/// Arguments: the folder to remove when the leash is cut (or nothing), the files for the program's stdout and
/// stderr, then the program and its arguments.
///
/// A trapped signal interrupts `wait`: hence the loop. Signals are trapped only once the program's process is there: one
/// that is forked with traps forgets what reaches it before it has dropped them. The background jobs of a shell read
/// from /dev/null: hence descriptor 3.
const WATCHDOG: &str = r#"
folder=$1 out=$2 err=$3
shift 3
exec 3<&0
"$@" </dev/null >"$out" 2>"$err" 3<&- &
program=$!
trap : TERM INT HUP
(
    trap '' TERM INT HUP
    exec >/dev/null 2>&1
    while read -r signal <&3; do kill -s "$signal" "$program"; done
    if [ -n "$folder" ]; then : >"$folder/.cut"; fi
    kill -s KILL "$program"
) &
reader=$!
echo "$program"
exec >/dev/null
while :; do
    wait "$program"
    status=$?
    kill -0 "$program" 2>/dev/null || break
done
kill -s KILL "$reader"
wait "$reader"
if [ -n "$folder" ] && [ -e "$folder/.cut" ]; then
    rm -rf "$folder"
    rmdir "$(dirname "$folder")" 2>/dev/null
fi
exit "$status"
"#;

/// What can be sent to a leashed process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: please stop.
    Terminate,
    /// SIGINT: what Ctrl-C sends.
    Interrupt,
    /// SIGKILL: no chance to tidy up.
    Kill,
    /// SIGSTOP: freeze.
    Stop,
    /// SIGCONT: go on after a freeze.
    Continue,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Terminate => "TERM",
            Self::Interrupt => "INT",
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Continue => "CONT",
        }
    }
}

/// A running program, killed when this is dropped or its owner dies.
#[derive(Debug)]
pub struct Leash {
    watchdog: Child,
    reins: Option<ChildStdin>,
    pid: u32,
}

impl Leash {
    /// Starts `command` (program, arguments, environment and working folder are taken from it; its stdio is not)
    /// with stdout and stderr written to the two files. When the leash is cut, by a drop or by the owner's
    /// death, `folder` is removed after the program's end, and so is its parent if then empty.
    ///
    /// # Errors
    /// When `sh` cannot be started. A program that cannot be started shows as exit code 126 or 127.
    pub fn spawn(command: &Command, stdout: &Path, stderr: &Path, folder: Option<&Path>) -> Result<Self> {
        // Made here, so that a reader finds them from the start.
        for file in [stdout, stderr] {
            File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
        }
        let mut watchdog = Command::new("sh");
        watchdog.args(["-c", WATCHDOG, "leash"]);
        watchdog.arg(folder.unwrap_or(Path::new(""))).arg(stdout).arg(stderr);
        watchdog.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => watchdog.env(name, value),
                None => watchdog.env_remove(name),
            };
        }
        if let Some(dir) = command.get_current_dir() {
            watchdog.current_dir(dir);
        }
        watchdog.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut watchdog = watchdog.spawn().context("cannot start sh")?;
        let reins = watchdog.stdin.take();
        let mut line = String::new();
        if let Some(stdout) = watchdog.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let pid = line.trim().parse().context("the watchdog did not report the program's process id")?;
        Ok(Self { watchdog, reins, pid })
    }

    /// The program's own process id (not the watchdog's); for looking at `/proc`, not for signals.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal. One that has already ended does not mind.
    ///
    /// # Errors
    /// When the watchdog cannot be written to for another reason than its end.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        let Some(reins) = self.reins.as_mut() else {
            return Ok(());
        };
        match writeln!(reins, "{}", signal.name()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// The exit code, when the program has ended; never waits.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn ended(&mut self) -> Result<Option<i32>> {
        Ok(self.watchdog.try_wait()?.map(|status| status.code().unwrap_or(-1)))
    }

    /// Blocks until the program has ended, and returns its exit code.
    ///
    /// # Errors
    /// When it still runs after `limit`; it is then left running.
    pub fn wait(&mut self, limit: Duration) -> Result<i32> {
        let start = Instant::now();
        loop {
            if let Some(code) = self.ended()? {
                return Ok(code);
            }
            ensure!(start.elapsed() < limit, "process {} still runs after {limit:?}", self.pid);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        // Closing the pipe cuts the leash. A failure to wait leaves at worst a zombie until this process ends.
        drop(self.reins.take());
        let _ = self.watchdog.wait();
    }
}
