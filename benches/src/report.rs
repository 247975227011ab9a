//! What is made of the figures: a table of ratios, `report.json`, and `report.html` with its charts.

mod chart;
mod html;
mod machine;
mod verdict;

use std::{fs, io, path::Path};

use serde_json::{Value, json};

use crate::run::Measured;

pub use machine::Machine;
pub use verdict::{Verdict, table, verdicts};

/// Writes `report.json` and `report.html` into `folder`.
///
/// # Errors
/// If they cannot be written.
pub fn write(folder: &Path, machine: &Machine, figures: &[Measured], before: Option<&Value>) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("report.json"), format!("{:#}\n", to_json(machine, figures)))?;
    fs::write(folder.join("report.html"), html::page(machine, figures, before))
}

/// All that has been found.
pub fn to_json(machine: &Machine, figures: &[Measured]) -> Value {
    let figures: Vec<Value> = figures.iter().map(figure_to_json).collect();
    json!({ "machine": machine.lines(), "figures": figures })
}

fn figure_to_json(figure: &Measured) -> Value {
    let cases: Vec<Value> = figure
        .outcomes
        .iter()
        .map(|case| {
            json!({
                "name": case.name, "side": case.side.name(), "median": case.samples.median(),
                "p10": case.samples.quantile(0.1), "p90": case.samples.quantile(0.9),
                "n_samples": case.samples.len(), "disturbed": case.is_disturbed, "foreign_cpus": case.foreign,
            })
        })
        .collect();
    let targets: Vec<Value> = verdicts(figure)
        .iter()
        .map(|verdict| {
            json!({
                "ours": verdict.ours, "against": verdict.against, "ratio": verdict.ratio, "target": verdict.target,
                "reached": verdict.is_reached, "disturbed": verdict.is_disturbed,
            })
        })
        .collect();
    json!({
        "name": figure.name, "unit": figure.unit, "more_is_better": figure.more_is_better,
        "cases": cases, "targets": targets, "failures": figure.failures,
    })
}

/// The median of a case in a report that was saved before.
pub fn median_in(report: &Value, figure: &str, case: &str) -> Option<f64> {
    let find = |list: &Value, name: &str| list.as_array()?.iter().find(|each| each["name"] == name).cloned();
    find(&find(&report["figures"], figure)?["cases"], case)?["median"].as_f64()
}
