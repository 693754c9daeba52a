//! The narrator and its terminal: prints what is told, what is typed and what comes back.
//!
//! Commands are those of the real program, run in a folder of their own; their output is passed on as it comes.
//! Colour is for terminals only, and not for those that set `NO_COLOR`.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use backstay_testkit::{Backstay, Run, Running, Signal};

const POLL: Duration = Duration::from_millis(20);
/// No command of the demo takes a tenth of this.
const LONGEST_RUN: Duration = Duration::from_secs(300);
const WIDTH: usize = 100;

/// A place to type commands in.
pub struct Shell {
    backstay: Backstay,
    colour: bool,
}

impl Shell {
    /// A shell in the folder of `backstay`.
    pub fn new(backstay: Backstay) -> Shell {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Shell { backstay, colour }
    }

    /// One or two sentences, broken into lines.
    pub fn tell(&self, text: &str) {
        println!();
        let mut line = String::new();
        for word in text.split_whitespace() {
            if line.len() + word.len() >= WIDTH {
                self.print("36", &line);
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.print("36", &line);
    }

    /// Something that was checked and holds.
    pub fn proved(&self, text: &str) {
        self.print("32", &format!("✓ {text}"));
    }

    /// What is typed, behind a prompt.
    pub fn typed(&self, prompt: &str, line: &str) {
        println!();
        self.print("1", &format!("{prompt} {line}"));
    }

    /// Writes the configuration, and shows it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn configure(&self, yaml: &str) -> Result<()> {
        self.backstay.configure(yaml)?;
        self.typed("$", "cat backstay.yaml");
        print!("{yaml}");
        Ok(())
    }

    /// Runs a command to its end, and returns what it wrote to stdout and how long it took.
    ///
    /// # Errors
    /// When it ends with another exit code than 0.
    pub async fn run(&self, args: &[&str]) -> Result<(String, Duration)> {
        let line = line(args);
        self.typed("$", &line);
        let start = Instant::now();
        let screen = Screen::new(self.backstay.spawn(args)?);
        let run = screen.follow().await.with_context(|| format!("`{line}`"))?;
        ensure!(run.code == 0, "`{line}` ended with exit code {}", run.code);
        Ok((run.stdout, start.elapsed()))
    }

    /// Starts a command in the background; it ends at the latest when the returned value is dropped.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, args: &[&str]) -> Result<Job> {
        let line = line(args);
        self.typed("$", &format!("{line} &"));
        let running = self.backstay.spawn(args)?;
        println!("[1] {}", running.pid());
        Ok(Job { screen: Screen::new(running), line })
    }

    /// Asks a background command to stop, and shows what it said.
    ///
    /// # Errors
    /// When it had ended already, or ends with another exit code than 0.
    pub async fn stop(&self, mut job: Job) -> Result<()> {
        ensure!(!job.screen.running.has_ended()?, "`{}` has ended by itself:\n{}", job.line, job.screen.text());
        self.typed("$", "kill %1; wait");
        job.screen.running.signal(Signal::Terminate)?;
        let run = job.screen.follow().await.with_context(|| format!("`{}`", job.line))?;
        ensure!(run.code == 0, "`{}` ended with exit code {}", job.line, run.code);
        Ok(())
    }

    fn print(&self, code: &str, text: &str) {
        if self.colour {
            println!("\x1b[{code}m{text}\x1b[0m");
        } else {
            println!("{text}");
        }
    }
}

/// A command in the background.
pub struct Job {
    screen: Screen,
    line: String,
}

/// A running command, and how much of what it wrote has been shown.
struct Screen {
    running: Running,
    stdout: usize,
    stderr: usize,
}

impl Screen {
    fn new(running: Running) -> Screen {
        Screen { running, stdout: 0, stderr: 0 }
    }

    /// Shows what it writes until it ends. Never blocks the thread, so that the writers
    /// go on and Ctrl-C is heard.
    async fn follow(mut self) -> Result<Run> {
        let start = Instant::now();
        loop {
            let ended = self.running.has_ended()?;
            show(&self.running.stderr(), &mut self.stderr)?;
            show(&self.running.stdout(), &mut self.stdout)?;
            if ended {
                return self.running.wait(POLL);
            }
            ensure!(start.elapsed() < LONGEST_RUN, "still runs after {} s", LONGEST_RUN.as_secs());
            tokio::time::sleep(POLL).await;
        }
    }

    fn text(&self) -> String {
        format!("{}{}", self.running.stderr(), self.running.stdout())
    }
}

/// Passes on what is new.
fn show(text: &str, shown: &mut usize) -> Result<()> {
    if let Some(new) = text.get(*shown..) {
        print!("{new}");
        std::io::stdout().flush()?;
        *shown = text.len();
    }
    Ok(())
}

/// A number with its thousands apart, as `backstay` writes it.
pub fn count(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().unwrap_or(u64::MAX).to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The command as a person would type it.
fn line(args: &[&str]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.,:/=@%".contains(c);
    let mut line = String::from("backstay");
    for arg in args {
        line.push(' ');
        if !arg.is_empty() && arg.chars().all(plain) {
            line.push_str(arg);
        } else {
            line.push_str(&format!("'{}'", arg.replace('\'', r"'\''")));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_can_be_pasted_into_a_shell() {
        assert_eq!(line(&["get", "shop", "{\"a\": 1}"]), "backstay get shop '{\"a\": 1}'");
        assert_eq!(line(&["restore", "--at", "2026-01-01T00:00:00Z"]), "backstay restore --at 2026-01-01T00:00:00Z");
    }
}
