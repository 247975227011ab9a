//! The page: ratios first, then charts and tables. It needs nothing but itself.

use std::fmt::Write;

use super::{Report, chart, verdict::summary, verdicts};
use crate::{measure::human, outcome::Measured};

const STYLE: &str = include_str!("style.css");

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

pub(super) fn page(report: &Report, before: Option<&Report>) -> String {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>Ours beside everyone's</title>\
         <style>{STYLE}</style></head><body><h1>Ours beside everyone's, in one run</h1>"
    );
    page.push_str(&targets(&report.figures));
    page.push_str(&facts(&report.machine));
    page.push_str(
        "<p class=\"key\"><span class=\"ours\">ours</span><span class=\"limit\">limit: bare, unsafe</span>\
         <span class=\"rust\">Rust</span><span class=\"c\">C, kernel</span><span class=\"python\">Python</span></p>\
         <p class=\"unit\">A bar is the median, the thin line on it the spread (p10 to p90). ⚠ others used the processors \
         meanwhile; ≈ the samples lie in two heaps, so that ratios below 1.5 mean little.</p>",
    );
    page.push_str(&curves(&report.figures));
    for figure in &report.figures {
        let _ = write!(page, "<h2>{}</h2>{}", escape(&figure.name), chart::bars(figure));
        for failure in &figure.failures {
            let _ = write!(page, "<p class=\"missed\">failed: {}</p>", escape(failure));
        }
        page.push_str(&numbers(figure, before));
    }
    page.push_str("</body></html>\n");
    page
}

fn facts(lines: &[(String, String)]) -> String {
    let mut table = String::from("<table class=\"facts\">");
    for (key, value) in lines {
        let _ = write!(table, "<tr><td>{}</td><td>{}</td></tr>", escape(key), escape(value));
    }
    table + "</table>"
}

fn targets(figures: &[Measured]) -> String {
    let mut table = format!(
        "<h2>{}</h2><div class=\"wide\"><table><tr><th class=\"n\">ratio</th>\
         <th class=\"n\">target</th><th></th><th>figure</th><th>ours</th><th>against</th><th class=\"n\">ours</th>\
         <th class=\"n\">against</th><th class=\"n\">limit</th><th>unit</th></tr>",
        summary(figures)
    );
    for figure in figures {
        for verdict in verdicts(figure) {
            let found = verdict.found.as_ref();
            let state = found.map_or("– not measured", |found| if found.is_reached { "✓ reached" } else { "✗ missed" });
            let marks = found.map_or([(false, ""); 2], |found| [(found.is_disturbed, " ⚠"), (found.is_bimodal, " ≈")]);
            let marks: String = marks.iter().filter(|mark| mark.0).map(|mark| mark.1).collect();
            let _ = write!(
                table,
                "<tr class=\"{class}\"><td class=\"n\"><b>{}</b></td><td class=\"n\">{}</td>\
                 <td class=\"state\">{state}{marks}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td>\
                 <td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
                found.map_or("–".into(), |found| format!("{:.3}x", found.ratio)),
                verdict.stated(),
                escape(&figure.name),
                escape(&verdict.ours),
                escape(&verdict.against),
                found.map_or("–".into(), |found| human(found.value)),
                found.map_or("–".into(), |found| human(found.value / found.ratio)),
                verdict.limit.map_or("–".into(), human),
                escape(&figure.unit),
                class = if verdict.is_reached() { "met" } else { "missed" },
            );
        }
    }
    table + "</table></div>"
}

fn curves(figures: &[Measured]) -> String {
    let mut page = String::new();
    let mut done: Vec<&str> = Vec::new();
    for curve in figures.iter().flat_map(|figure| &figure.curves) {
        if done.contains(&curve.curve.as_str()) {
            continue;
        }
        done.push(&curve.curve);
        let on_it = |figure: &Measured| figure.curves.iter().find(|each| each.curve == curve.curve).map(|each| each.at);
        let mut points: Vec<(f64, &Measured)> =
            figures.iter().filter_map(|figure| Some((on_it(figure)?, figure))).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        if let [(_, first), _, ..] = points[..] {
            let _ = write!(page, "<h2>{}</h2><p class=\"unit\">{}</p>", escape(&curve.curve), escape(&first.unit));
            page.push_str(&chart::lines(&curve.curve, &points));
        }
    }
    page
}

fn numbers(figure: &Measured, before: Option<&Report>) -> String {
    let mut table = String::from(
        "<details><summary>numbers</summary><div class=\"wide\"><table><tr><th>case</th><th>side</th>\
         <th class=\"n\">median</th><th class=\"n\">p10</th><th class=\"n\">p90</th><th class=\"n\">samples</th>\
         <th class=\"n\">others' CPUs</th><th class=\"n\">against before</th></tr>",
    );
    for case in &figure.outcomes {
        let median = case.samples.median();
        let earlier = before.and_then(|report| report.outcome(&figure.name, &case.name));
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
            chart::marks(case),
            earlier.map_or(String::new(), |earlier| format!("{:.3}x", median / earlier.samples.median())),
        );
    }
    table + "</table></div></details>"
}
