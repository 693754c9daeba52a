//! The `backstay` program under measurement: a folder with a configuration, and timed runs in it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use backstay_testkit::{Backstay, shop_configuration};
use serde_json::Value;

/// How often memory and the end of a run are looked at.
const POLL: Duration = Duration::from_millis(10);

/// A run that succeeded.
pub struct Timed {
    /// Wall time, from before the start to after the end.
    pub seconds: f64,
    /// The most memory that was resident at once, in KiB.
    pub peak_kib: u64,
    /// The summary that it printed.
    pub summary: Value,
}

/// A new folder whose configuration protects the orders on the server at `uri` as source `shop`; initialised.
pub fn home(program: &Path, uri: &str) -> Result<Backstay> {
    let backstay = Backstay::new(program)?;
    let tenants = ["ns: \"shop.*\", field: tenant", "ns: \"*\", fixed: shared"];
    backstay.configure(&shop_configuration(uri, &["shop.*"], &tenants))?;
    timed(&backstay, &["init", "--json"])?;
    Ok(backstay)
}

/// A second folder with the same archive, keys and configuration.
pub fn copy(program: &Path, of: &Backstay) -> Result<Backstay> {
    let copy = Backstay::new(program)?;
    copy_folder(of.folder(), copy.folder())?;
    Ok(copy)
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            std::fs::create_dir_all(&target)?;
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// The bytes that the archive takes on disk: all its files, whatever they are.
pub fn archive_bytes(backstay: &Backstay) -> Result<u64> {
    fn size(folder: &PathBuf) -> Result<u64> {
        let mut sum = 0;
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            sum += if metadata.is_dir() { size(&entry.path())? } else { metadata.len() };
        }
        Ok(sum)
    }
    size(&backstay.folder().join("archive"))
}

/// Runs to the end; anything but exit code 0 and a JSON document on stdout is an error.
pub fn timed(backstay: &Backstay, args: &[&str]) -> Result<Timed> {
    println!("  $ backstay {}", args.join(" "));
    let start = Instant::now();
    let mut running = backstay.spawn(args)?;
    let mut peak_kib = 0;
    loop {
        peak_kib = peak_kib.max(high_water_mark(running.pid()));
        if running.has_ended()? {
            break;
        }
        std::thread::sleep(POLL);
    }
    let seconds = start.elapsed().as_secs_f64();
    let run = running.wait(POLL)?;
    ensure!(run.code == 0, "{run}");
    let documents = serde_json::Deserializer::from_str(&run.stdout).into_iter::<Value>();
    let documents = documents.collect::<Result<Vec<_>, _>>().with_context(|| format!("not JSON: {run}"))?;
    let is_summary = |document: &&Value| document["message_type"] == "summary";
    let summary = documents.iter().rev().find(is_summary).or(documents.last()).cloned().unwrap_or_default();
    println!("    {seconds:.2} s, peak {} MiB", peak_kib / 1024);
    Ok(Timed { seconds, peak_kib, summary })
}

/// As [`timed`], for a restore: its proof must say that archive and target are equal.
pub fn timed_restore(backstay: &Backstay, args: &[&str]) -> Result<Timed> {
    let timed = timed(backstay, &[&["restore", "shop"], args, &["--yes", "--json"]].concat())?;
    ensure!(timed.summary["proof"]["equal"] == true, "the restore has no proof: {}", timed.summary);
    Ok(timed)
}

/// `VmHWM` of a process in KiB; 0 when it is gone.
fn high_water_mark(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|value| value.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or_default()
}
