//! What was measured, against what, and whether that is good enough: a table for people, a file for programs.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

/// What a ratio must be.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bar {
    /// Less is better.
    AtMost(f64),
    /// More is better.
    AtLeast(f64),
}

impl Bar {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(bar) => value <= bar,
            Self::AtLeast(bar) => value >= bar,
        }
    }
}

impl std::fmt::Display for Bar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtMost(bar) => write!(f, "≤ {bar}"),
            Self::AtLeast(bar) => write!(f, "≥ {bar}"),
        }
    }
}

/// One line of the result.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What is measured ÷ what.
    pub measure: String,
    /// The unit of the two values.
    pub unit: &'static str,
    /// What it is compared with.
    pub baseline: f64,
    /// What backstay took; nothing when it was not run, or failed.
    pub backstay: Option<f64>,
    /// The second by the first.
    pub ratio: Option<f64>,
    /// What the ratio must be; none for rows that only inform.
    pub bar: Option<Bar>,
    /// Whether it is.
    pub pass: Option<bool>,
    /// Why there is no value.
    pub problem: Option<String>,
}

/// All that one run of this program found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The machine, the servers and the inputs.
    pub about: BTreeMap<&'static str, String>,
    /// The measures with a bar, in the order of their table.
    pub rows: Vec<Row>,
    /// Peak memory in KiB: data set, command, size.
    pub peaks: Vec<(String, String, u64)>,
}

impl Report {
    /// Adds a measure; `backstay` is `None` when only baselines are wanted.
    pub fn add(&mut self, measure: &str, unit: &'static str, baseline: f64, backstay: Option<f64>, bar: Bar) {
        let ratio = backstay.map(|value| value / baseline);
        self.rows.push(Row {
            measure: measure.to_owned(),
            unit,
            baseline,
            backstay,
            ratio,
            bar: Some(bar),
            pass: ratio.map(|ratio| bar.holds(ratio)),
            problem: None,
        });
    }

    /// Adds a measure that could not be taken.
    pub fn add_failure(&mut self, measure: &str, problem: &anyhow::Error) {
        eprintln!("{measure} failed: {problem:#}");
        self.rows.push(Row {
            measure: measure.to_owned(),
            unit: "",
            baseline: f64::NAN,
            backstay: None,
            ratio: None,
            bar: None,
            pass: Some(false),
            problem: Some(format!("{problem:#}")),
        });
    }

    /// Notes the peak memory of one run.
    pub fn add_peak(&mut self, data_set: &str, command: &str, kib: u64) {
        self.peaks.push((data_set.to_owned(), command.to_owned(), kib));
    }

    /// The largest peak of a data set, in MiB.
    pub fn peak_mib(&self, data_set: &str) -> Option<f64> {
        let kib = self.peaks.iter().filter(|peak| peak.0 == data_set).map(|peak| peak.2).max()?;
        Some(kib as f64 / 1024.0)
    }

    /// Whether every bar holds.
    pub fn all_pass(&self) -> bool {
        self.rows.iter().all(|row| row.pass != Some(false))
    }

    /// For people.
    pub fn print(&self) {
        println!();
        for (name, value) in &self.about {
            println!("{name}: {value}");
        }
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY);
        table.set_header(["measure", "unit", "baseline", "backstay", "ratio", "bar", ""]);
        let number = |value: Option<f64>, digits: usize| match value {
            Some(value) if value.is_finite() => format!("{value:.digits$}"),
            _ => "-".to_owned(),
        };
        for row in &self.rows {
            let verdict = match row.pass {
                Some(true) => "pass",
                Some(false) if row.problem.is_some() => "FAILED",
                Some(false) => "MISSED",
                None => "",
            };
            table.add_row([
                row.measure.clone(),
                row.unit.to_owned(),
                number(Some(row.baseline), 2),
                number(row.backstay, 2),
                number(row.ratio, 3),
                row.bar.map(|bar| bar.to_string()).unwrap_or_default(),
                verdict.to_owned(),
            ]);
        }
        for column in table.column_iter_mut().skip(2).take(3) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        println!("{table}");
        if !self.peaks.is_empty() {
            let mut table = Table::new();
            table.load_style(presets::UTF8_HORIZONTAL_ONLY);
            table.set_header(["data set", "command", "peak MiB"]);
            for (data_set, command, kib) in &self.peaks {
                table.add_row([data_set.clone(), command.clone(), format!("{:.0}", *kib as f64 / 1024.0)]);
            }
            println!("{table}");
        }
    }

    /// For programs.
    pub fn write(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(std::fs::write(path, text)?)
    }
}

/// The middle one of some measurements.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let [below, above] = [sorted.len().saturating_sub(1) / 2, middle].map(|place| sorted.get(place).copied());
    below.zip(above).map_or(f64::NAN, |(below, above)| f64::midpoint(below, above))
}
