//! Charts as SVG: bars of one figure with their spread, and lines over several.

use std::fmt::Write;

use super::html::escape;
use crate::{
    figure::Side,
    measure::human,
    run::{Measured, Outcome},
};

const WIDTH: f64 = 920.0;
const LEFT: f64 = 230.0;
const RIGHT: f64 = 190.0;
const ROW: f64 = 26.0;

/// One bar a case, longest first; the line on it goes from the tenth to the ninetieth of a hundred samples.
pub(super) fn bars(figure: &Measured) -> String {
    let mut cases: Vec<&Outcome> = figure.outcomes.iter().collect();
    cases.sort_by(|a, b| {
        let order = a.samples.median().total_cmp(&b.samples.median());
        if figure.more_is_better { order.reverse() } else { order }
    });
    let medians = || cases.iter().map(|case| case.samples.median()).filter(|value| *value > 0.0);
    let (least, most) = (medians().fold(f64::INFINITY, f64::min), medians().fold(0.0, f64::max));
    let is_logarithmic = most / least > 30.0;
    let room = WIDTH - LEFT - RIGHT;
    let length = |value: f64| {
        let share = if is_logarithmic {
            // A tenth of the smallest is where bars begin.
            (value / least * 10.0).max(1.0).ln() / (most / least * 10.0).ln()
        } else {
            value / most
        };
        (share * room).clamp(0.0, room)
    };
    let height = ROW * cases.len() as f64 + 8.0;
    let mut svg = format!(r#"<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">"#);
    let best_ours = cases.iter().find(|case| case.side == Side::Ours).map(|case| case.samples.median());
    for (row, case) in cases.iter().enumerate() {
        let (top, value) = (row as f64 * ROW + 4.0, case.samples.median());
        let (low, high) = (length(case.samples.quantile(0.1)), length(case.samples.quantile(0.9)));
        let ratio = best_ours.map_or(String::new(), |ours| format!(" · {:.2}x", value / ours));
        let mark = if case.is_disturbed { " ⚠" } else { "" };
        let _ = write!(
            svg,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="end" class="{}">{}</text>
<rect x="{LEFT}" y="{:.1}" width="{:.1}" height="18" rx="2" class="{}"/>
<line x1="{:.1}" x2="{:.1}" y1="{:.1}" y2="{:.1}" class="spread"/>
<text x="{:.1}" y="{:.1}" class="value">{}{ratio}{mark}</text>"#,
            LEFT - 8.0,
            top + 14.0,
            if case.side == Side::Ours { "name us" } else { "name" },
            escape(&case.name),
            top,
            length(value).max(1.0),
            case.side.name(),
            LEFT + low,
            LEFT + high,
            top + 9.0,
            top + 9.0,
            LEFT + length(value).max(high) + 8.0,
            top + 14.0,
            human(value),
        );
    }
    svg.push_str("</svg>");
    let scale = if is_logarithmic { ", logarithmic" } else { "" };
    let better = if figure.more_is_better { "longer" } else { "shorter" };
    format!("<p class=\"unit\">{}{scale}; {better} is better; ratios to our best</p>{svg}", escape(figure.unit))
}

const COLOURS: [&str; 12] = [
    "#1b6ca8", "#d1495b", "#66a182", "#edae49", "#6d597a", "#00b4c4", "#8d6a3a", "#444444", "#e377c2", "#9acd32",
    "#ff7f0e", "#a0a0a0",
];

/// One line a case, over the places of `figures` on the axis; both axes logarithmic.
pub(super) fn lines(figures: &[(f64, &Measured)]) -> String {
    let (height, bottom, top) = (340.0, 40.0, 12.0);
    let names: Vec<&str> = figures.iter().flat_map(|(_, figure)| &figure.outcomes).map(|case| case.name.as_str()).fold(
        Vec::new(),
        |mut names, name| {
            if !names.contains(&name) {
                names.push(name);
            }
            names
        },
    );
    let value = |figure: &Measured, name: &str| {
        let case = figure.outcomes.iter().find(|case| case.name == name)?;
        Some(case.samples.median()).filter(|value| *value > 0.0)
    };
    let values: Vec<f64> =
        figures.iter().flat_map(|(_, figure)| names.iter().filter_map(|name| value(figure, name))).collect();
    let span = |values: &mut dyn Iterator<Item = f64>| {
        values.fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)))
    };
    let (x_low, x_high) = span(&mut figures.iter().map(|(at, _)| *at));
    let (y_low, y_high) = span(&mut values.iter().copied());
    let share = |value: f64, low: f64, high: f64| {
        if high > low { (value / low).ln() / (high / low).ln() } else { 0.5 }
    };
    let x = |at: f64| 70.0 + share(at, x_low, x_high) * (WIDTH - RIGHT - 110.0);
    let y = |value: f64| height - bottom - share(value, y_low, y_high) * (height - bottom - top);
    let mut svg = format!(r#"<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">"#);
    for (at, _) in figures {
        let _ = write!(
            svg,
            r#"<line x1="{0:.1}" x2="{0:.1}" y1="{top}" y2="{1:.1}" class="grid"/><text x="{0:.1}" y="{2:.1}" text-anchor="middle" class="value">{3}</text>"#,
            x(*at),
            height - bottom,
            height - bottom + 18.0,
            human(*at),
        );
    }
    for tick in 0..=4 {
        let tick = y_low * (y_high / y_low).powf(f64::from(tick) / 4.0);
        let _ = write!(
            svg,
            r#"<line x1="70" x2="{1:.1}" y1="{0:.1}" y2="{0:.1}" class="grid"/><text x="64" y="{2:.1}" text-anchor="end" class="value">{3}</text>"#,
            y(tick),
            WIDTH - RIGHT - 40.0,
            y(tick) + 4.0,
            human(tick),
        );
    }
    for (idx, name) in names.iter().enumerate() {
        let colour = COLOURS[idx % COLOURS.len()];
        let dash = if idx >= COLOURS.len() { r#" stroke-dasharray="5 3""# } else { "" };
        let points: Vec<(f64, f64)> =
            figures.iter().filter_map(|(at, figure)| Some((x(*at), y(value(figure, name)?)))).collect();
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = write!(
            svg,
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>"#,
            path.join(" ")
        );
        for (x, y) in points {
            let _ = write!(svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="{colour}"/>"#);
        }
        let legend_y = top + 14.0 + idx as f64 * 18.0;
        let _ = write!(
            svg,
            r#"<rect x="{0:.1}" y="{1:.1}" width="12" height="12" fill="{colour}"/><text x="{2:.1}" y="{3:.1}" class="value">{4}</text>"#,
            WIDTH - RIGHT - 20.0,
            legend_y - 10.0,
            WIDTH - RIGHT - 2.0,
            legend_y,
            escape(name),
        );
    }
    svg.push_str("</svg>");
    svg
}
