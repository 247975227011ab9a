//! The page: verdicts first, then charts and tables. It needs nothing but itself.

use std::fmt::Write;

use serde_json::Value;

use super::{Machine, chart, median_in, verdicts};
use crate::{measure::human, run::Measured};

const STYLE: &str = "
body { font: 15px/1.45 system-ui, sans-serif; max-width: 960px; margin: 2em auto; padding: 0 1em; color: #222; background: #fff }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin: 2em 0 .3em }
table { border-collapse: collapse; font-size: 14px; margin: .5em 0 } td, th { padding: 2px 12px 2px 0; text-align: left }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums } tr.missed td { color: #b3261e } tr.met td.n { color: #1d6b35 }
svg { max-width: 100%; height: auto; display: block } svg text { font: 13px system-ui, sans-serif; fill: #333 }
svg .us { font-weight: 700 } .unit { color: #666; font-size: 13px; margin: .2em 0 }
.ours { fill: #1b6ca8 } .rust { fill: #c9a88d } .c { fill: #b5b8bd } .python { fill: #e3cf8b } .limit { fill: #8fbf9f }
.spread { stroke: #222; stroke-width: 1.5; opacity: .55 } .grid { stroke: #ddd }
.key span { display: inline-block; padding: 0 .6em; margin-right: .5em; border-radius: 2px }
.warn { color: #b3261e } details { margin: .3em 0 1em }
";

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

pub(super) fn page(machine: &Machine, figures: &[Measured], before: Option<&Value>) -> String {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Ours beside everyone's</title>\
         <style>{STYLE}</style></head><body><h1>Ours beside everyone's, in one run</h1>"
    );
    page.push_str(&facts(machine));
    page.push_str(&targets(figures));
    page.push_str(
        "<p class=\"key\"><span style=\"background:#1b6ca8;color:#fff\">ours</span>\
         <span style=\"background:#8fbf9f\">limit: bare, unsafe</span><span style=\"background:#c9a88d\">Rust</span>\
         <span style=\"background:#b5b8bd\">C, kernel</span><span style=\"background:#e3cf8b\">Python</span>\
         The thin line is the spread, p10 to p90; ⚠ marks what others disturbed.</p>",
    );
    page.push_str(&curves(figures));
    for figure in figures {
        let _ = write!(page, "<h2>{}</h2>{}", escape(&figure.name), chart::bars(figure));
        for failure in &figure.failures {
            let _ = write!(page, "<p class=\"warn\">failed: {}</p>", escape(failure));
        }
        page.push_str(&numbers(figure, before));
    }
    page.push_str("</body></html>\n");
    page
}

fn facts(machine: &Machine) -> String {
    let mut table = String::from("<table>");
    for (key, value) in machine.lines() {
        let _ = write!(table, "<tr><td>{}</td><td>{}</td></tr>", escape(key), escape(value));
    }
    table + "</table>"
}

fn targets(figures: &[Measured]) -> String {
    let mut table = String::from(
        "<h2>Ratios and targets</h2><table><tr><th>figure</th><th>ours</th><th>against</th>\
         <th class=\"n\">ratio</th><th class=\"n\">target</th><th></th></tr>",
    );
    for figure in figures {
        for verdict in verdicts(figure) {
            let _ = write!(
                table,
                "<tr class=\"{}\"><td>{}</td><td>{}</td><td>{}</td><td class=\"n\">{:.3}x</td><td class=\"n\">{} {}</td>\
                 <td>{}{}</td></tr>",
                if verdict.is_reached { "met" } else { "missed" },
                escape(&figure.name),
                escape(&verdict.ours),
                escape(&verdict.against),
                verdict.ratio,
                if verdict.more_is_better { "≥" } else { "≤" },
                human(verdict.target),
                if verdict.is_reached { "reached" } else { "missed" },
                if verdict.is_disturbed { " ⚠" } else { "" },
            );
        }
    }
    table + "</table>"
}

fn curves(figures: &[Measured]) -> String {
    let mut page = String::new();
    let mut done: Vec<&str> = Vec::new();
    for (name, _) in figures.iter().filter_map(|figure| figure.curve) {
        if done.contains(&name) {
            continue;
        }
        done.push(name);
        let mut points: Vec<(f64, &Measured)> =
            figures.iter().filter_map(|f| f.curve.filter(|curve| curve.0 == name).map(|(_, at)| (at, f))).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        if let [(_, first), _, ..] = points[..] {
            let unit = escape(first.unit);
            let _ = write!(page, "<h2>{}</h2><p class=\"unit\">{unit}; both axes logarithmic</p>", escape(name));
            page.push_str(&chart::lines(&points));
        }
    }
    page
}

fn numbers(figure: &Measured, before: Option<&Value>) -> String {
    let mut table = String::from(
        "<details><summary>numbers</summary><table><tr><th>case</th><th>side</th><th class=\"n\">median</th>\
         <th class=\"n\">p10</th><th class=\"n\">p90</th><th class=\"n\">samples</th><th class=\"n\">others' CPUs</th>\
         <th class=\"n\">against before</th></tr>",
    );
    for case in &figure.outcomes {
        let median = case.samples.median();
        let earlier = before.and_then(|report| median_in(report, &figure.name, &case.name));
        let _ = write!(
            table,
            "<tr><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{:.2}{}</td><td class=\"n\">{}</td></tr>",
            escape(&case.name),
            case.side.name(),
            human(median),
            human(case.samples.quantile(0.1)),
            human(case.samples.quantile(0.9)),
            case.samples.len(),
            case.foreign,
            if case.is_disturbed { " ⚠" } else { "" },
            earlier.map_or(String::new(), |earlier| format!("{:.3}x", median / earlier)),
        );
    }
    table + "</table></details>"
}
