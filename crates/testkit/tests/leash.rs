//! What is leashed ends with its owner, and obeys signals meanwhile.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use backstay_testkit::{Backstay, Leash, Signal};

const LIMIT: Duration = Duration::from_secs(30);

fn files(folder: &Path) -> (PathBuf, PathBuf) {
    (folder.join("out"), folder.join("err"))
}

fn sleeper() -> Command {
    let mut command = Command::new("sleep");
    command.arg("1000");
    command
}

fn is_alive(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    !status.is_empty() && !status.contains("State:\tZ")
}

fn wait_until_dead(pid: u32) {
    let start = Instant::now();
    while is_alive(pid) {
        assert!(start.elapsed() < LIMIT, "process {pid} is still alive");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn passes_output_and_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let (out, err) = files(folder.path());
    let mut command = Command::new("sh");
    command.args(["-c", "echo $WORD; echo oops >&2; exit 7"]).env("WORD", "hello");
    let mut leash = Leash::spawn(&command, &out, &err, None).unwrap();
    assert_eq!(leash.wait(LIMIT).unwrap(), 7);
    assert_eq!(std::fs::read_to_string(out).unwrap(), "hello\n");
    assert_eq!(std::fs::read_to_string(err).unwrap(), "oops\n");
}

#[test]
fn obeys_signals() {
    let folder = tempfile::tempdir().unwrap();
    let (out, err) = files(folder.path());
    for (signal, code) in [(Signal::Terminate, 143), (Signal::Kill, 137)] {
        let mut leash = Leash::spawn(&sleeper(), &out, &err, None).unwrap();
        assert!(is_alive(leash.pid()));
        leash.signal(signal).unwrap();
        assert_eq!(leash.wait(LIMIT).unwrap(), code);
        assert!(folder.path().exists());
    }
}

#[test]
fn a_drop_kills_and_removes_the_folder() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data");
    std::fs::create_dir(&folder).unwrap();
    let (out, err) = files(&folder);
    let leash = Leash::spawn(&sleeper(), &out, &err, Some(&folder)).unwrap();
    let pid = leash.pid();
    drop(leash);
    assert!(!is_alive(pid));
    assert!(!folder.exists());
}

/// The owner is this same test program, run again for the one test below, and killed with SIGKILL.
#[test]
fn an_owner_killed_with_sigkill_takes_the_program_along() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data");
    std::fs::create_dir(&folder).unwrap();
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "owner_that_never_ends", "--ignored", "--nocapture"])
        .env("LEASH_TEST_FOLDER", &folder)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let note = parent.path().join("pid");
    let start = Instant::now();
    let pid: u32 = loop {
        match std::fs::read_to_string(&note).ok().and_then(|text| text.trim().parse().ok()) {
            Some(pid) => break pid,
            None => assert!(start.elapsed() < LIMIT, "the owner did not start its program"),
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(is_alive(pid));
    std::fs::remove_file(&note).unwrap();
    owner.kill().unwrap();
    owner.wait().unwrap();
    wait_until_dead(pid);
    let start = Instant::now();
    while folder.exists() {
        assert!(start.elapsed() < LIMIT, "the folder was not removed");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
#[ignore = "the other half of the test above; it never ends by itself"]
fn owner_that_never_ends() {
    let Some(folder) = std::env::var_os("LEASH_TEST_FOLDER").map(PathBuf::from) else {
        return;
    };
    let (out, err) = files(&folder);
    let leash = Leash::spawn(&sleeper(), &out, &err, Some(&folder)).unwrap();
    let parent = folder.parent().unwrap();
    std::fs::write(parent.join("pid.new"), leash.pid().to_string()).unwrap();
    std::fs::rename(parent.join("pid.new"), parent.join("pid")).unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_backstay_run_gives_code_streams_and_json() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("program");
    let script = "#!/bin/sh\necho '{\"message_type\":\"status\"}'\necho '{\"message_type\":\"summary\",\"n\":3}'\necho $1 $KEY >&2\nexit 3\n";
    std::fs::write(&program, script).unwrap();
    Command::new("chmod").arg("+x").arg(&program).status().unwrap();

    let backstay = Backstay::new(&program).unwrap().env("KEY", "value");
    let run = backstay.run(["backup"]).unwrap().expect_code(3);
    assert_eq!(run.json()["n"], 3);
    assert_eq!(run.json_lines().len(), 2);
    assert_eq!(run.stderr, "backup value\n");

    let run = backstay.spawn(["capture"]).unwrap().wait(LIMIT).unwrap();
    assert_eq!((run.code, run.stderr.as_str()), (3, "capture value\n"));
}
