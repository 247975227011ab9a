//! Charts: bars of one figure with their spread, and lines over several.

use std::fmt::Write;

use super::html::escape;
use crate::{
    figure::Side,
    measure::human,
    outcome::{Measured, Outcome},
};

/// Bars that differ by more than this are drawn on a logarithmic scale.
const LINEAR_TO: f64 = 30.0;

/// One bar a case, best first; the line on it goes from the tenth to the ninetieth of a hundred samples.
pub(super) fn bars(figure: &Measured) -> String {
    let mut cases: Vec<&Outcome> = figure.outcomes.iter().collect();
    cases.sort_by(|a, b| {
        let order = a.samples.median().total_cmp(&b.samples.median());
        if figure.more_is_better { order.reverse() } else { order }
    });
    let positive = |p: f64| cases.iter().map(move |case| case.samples.quantile(p)).filter(|value| *value > 0.0);
    let (least, most) = (positive(0.1).fold(f64::INFINITY, f64::min), positive(0.9).fold(0.0, f64::max));
    let is_logarithmic = most / least > LINEAR_TO;
    let percent = |value: f64| {
        // A logarithmic bar begins at a fifth of the smallest.
        let share =
            if is_logarithmic { (value / least * 5.0).max(1.0).ln() / (most / least * 5.0).ln() } else { value / most };
        (share * 100.0).clamp(0.0, 100.0)
    };
    let ours = figure.outcomes.iter().find(|case| case.side == Side::Ours);
    let mut html = String::from("<div class=\"bars\">");
    for case in &cases {
        let value = case.samples.median();
        let (low, high) = (percent(case.samples.quantile(0.1)), percent(case.samples.quantile(0.9)));
        let better = |ours: f64| if figure.more_is_better { ours / value } else { value / ours };
        let ratio = match ours {
            Some(ours) if ours.name != case.name && value > 0.0 => {
                format!("<em>{}x</em>", human(better(ours.samples.median())))
            }
            _ => "<em></em>".into(),
        };
        let _ = write!(
            html,
            "<div class=\"bar {side}\"><span class=\"name\">{name}</span><span class=\"track\">\
             <i style=\"width:{width:.1}%\"></i><b style=\"left:{low:.1}%;width:{spread:.1}%\"></b></span>\
             <span class=\"value\">{value}{marks}</span>{ratio}</div>",
            side = case.side.name(),
            name = escape(&case.name),
            width = percent(value).max(0.3),
            spread = (high - low).max(0.2),
            value = human(value),
            marks = marks(case),
        );
    }
    let scale = if is_logarithmic { ", logarithmic scale" } else { "" };
    let better = if figure.more_is_better { "more is better" } else { "less is better" };
    let ratios = ours.map_or(String::new(), |ours| format!("; at the right, how many times better {} is", ours.name));
    format!("<p class=\"unit\">{}: {better}{scale}{}</p>{html}</div>", escape(&figure.unit), escape(&ratios))
}

/// What is to be known of a case's samples.
pub(super) fn marks(case: &Outcome) -> &'static str {
    match (case.is_disturbed, case.samples.is_bimodal()) {
        (true, true) => " ⚠≈",
        (true, false) => " ⚠",
        (false, true) => " ≈",
        (false, false) => "",
    }
}

const COLOURS: [&str; 20] = [
    "#2f7fd0", "#d1495b", "#3a9a6a", "#d98e04", "#8a63b5", "#00a5b5", "#a9743a", "#777777", "#d65db1", "#7cab1f",
    "#e8590c", "#5c6bc0", "#b59f00", "#4f9d8f", "#a04668", "#9aa5b1", "#ff6f91", "#4b7f52", "#b07cc6", "#c27c0e",
];
const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 34.0;

/// An axis from `low` to `high`, which takes a value to a share of it.
struct Axis {
    low: f64,
    high: f64,
    is_logarithmic: bool,
}

impl Axis {
    fn share(&self, value: f64) -> f64 {
        if self.high <= self.low {
            0.5
        } else if self.is_logarithmic {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }

    /// Round values that lie on it.
    fn ticks(&self) -> Vec<f64> {
        if !self.is_logarithmic {
            let least = (self.high - self.low) / 4.0;
            let decade = 10_f64.powf(least.log10().floor());
            let step = [1.0, 2.0, 2.5, 5.0].map(|step| step * decade).into_iter().find(|step| *step >= least * 0.999);
            let step = step.unwrap_or(decade * 10.0);
            return (0..=4).map(|n| self.low + step * f64::from(n)).filter(|tick| *tick <= self.high).collect();
        }
        let decades = (self.low.log10().floor() as i32)..=(self.high.log10().ceil() as i32);
        let steps: &[f64] = if self.high / self.low > 1e3 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let ticks = decades.flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)));
        ticks.filter(|tick| (self.low * 0.999..=self.high * 1.001).contains(tick)).collect()
    }
}

/// One line a case, over the places of `figures` on the axis, with its legend.
pub(super) fn lines(curve: &str, figures: &[(f64, &Measured)]) -> String {
    let mut names: Vec<(&str, Side)> = Vec::new();
    for case in figures.iter().flat_map(|(_, figure)| &figure.outcomes) {
        if !names.iter().any(|(name, _)| *name == case.name) {
            names.push((&case.name, case.side));
        }
    }
    names.sort_by_key(|(_, side)| *side != Side::Ours);
    let value =
        |figure: &Measured, name: &str| Some(figure.outcome(name)?.samples.median()).filter(|value| *value > 0.0);
    let span = |values: &mut dyn Iterator<Item = f64>| {
        values.fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)))
    };
    let (low, high) = span(&mut figures.iter().map(|(at, _)| *at));
    let x_axis = Axis { low, high, is_logarithmic: true };
    let (low, high) =
        span(&mut figures.iter().flat_map(|(_, figure)| names.iter().filter_map(|(name, _)| value(figure, name))));
    // Shares, and what hardly changes, are seen for what they are from 0 on.
    let is_share = figures.iter().any(|(_, figure)| figure.unit.starts_with("of "));
    let y_axis = match (is_share, high < low * 4.0) {
        (true, _) => Axis { low: 0.0, high: high.max(1.0), is_logarithmic: false },
        (false, true) => Axis { low: 0.0, high: high * 1.1, is_logarithmic: false },
        (false, false) => Axis { low, high, is_logarithmic: true },
    };
    let x = |at: f64| LEFT + x_axis.share(at) * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - y_axis.share(value) * (HEIGHT - BOTTOM - TOP);
    let mut svg = format!(r#"<div class="plot"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">"#);
    for (at, _) in figures {
        let (x, end, label) = (x(*at), HEIGHT - BOTTOM, HEIGHT - BOTTOM + 20.0);
        let text = label_on(curve, *at);
        let _ = write!(svg, r#"<line x1="{x:.1}" x2="{x:.1}" y1="{TOP}" y2="{end}" class="grid"/>"#);
        let _ = write!(svg, r#"<text x="{x:.1}" y="{label}" text-anchor="middle">{text}</text>"#);
    }
    for tick in y_axis.ticks() {
        let (y, end, text) = (y(tick), WIDTH - RIGHT, tidy(tick));
        let _ = write!(svg, r#"<line x1="{LEFT}" x2="{end}" y1="{y:.1}" y2="{y:.1}" class="grid"/>"#);
        let _ = write!(svg, r#"<text x="{}" y="{:.1}" text-anchor="end">{text}</text>"#, LEFT - 6.0, y + 4.0);
    }
    let mut legend = String::from("<p class=\"legend\">");
    // Ours last, so that they lie on top.
    for (idx, (name, side)) in names.iter().enumerate().rev() {
        let (width, colour) = (if *side == Side::Ours { 3.5 } else { 1.5 }, COLOURS[idx % COLOURS.len()]);
        let dash = if *side == Side::Limit { r#" stroke-dasharray="6 4""# } else { "" };
        let points: Vec<(f64, f64)> =
            figures.iter().filter_map(|(at, figure)| Some((x(*at), y(value(figure, name)?)))).collect();
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let path = path.join(" ");
        let _ = write!(svg, r#"<polyline points="{path}" stroke="{colour}" stroke-width="{width}"{dash}/>"#);
        for (x, y) in points {
            let _ = write!(svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="{width}" fill="{colour}"/>"#);
        }
    }
    for (idx, (name, side)) in names.iter().enumerate() {
        let (colour, weight) = (COLOURS[idx % COLOURS.len()], if *side == Side::Ours { "us" } else { "" });
        let _ = write!(legend, r#"<span class="{weight}"><i style="background:{colour}"></i>{}</span> "#, escape(name));
    }
    svg + "</svg></div>" + &legend + "</p>"
}

/// A place on an axis: sizes as multiples of 1024.
fn label_on(curve: &str, at: f64) -> String {
    let Some(unit) = ["B", "KiB", "MiB", "GiB"].iter().position(|unit| curve.ends_with(&format!(", {unit}"))) else {
        return tidy(at);
    };
    let (mut at, mut unit) = (at, unit);
    while at >= 1024.0 && unit < 3 {
        (at, unit) = (at / 1024.0, unit + 1);
    }
    format!("{at} {}", ["B", "KiB", "MiB", "GiB"][unit])
}

/// Without zeros that say nothing.
fn tidy(value: f64) -> String {
    let text = human(value);
    let (number, prefix) = text.split_once(' ').unwrap_or((&text, ""));
    let number = if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number };
    format!("{number} {prefix}").trim_end().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_multiples_of_1024() {
        assert_eq!(label_on("by size, B", 8.0), "8 B");
        assert_eq!(label_on("by size, B", 1048576.0), "1 MiB");
        assert_eq!(label_on("by heap, MiB", 8192.0), "8 GiB");
        assert_eq!(label_on("by workers", 16.0), "16");
        assert_eq!(label_on("by workers", 100.0), "100");
        assert_eq!(label_on("by length, µs", 0.5), "0.5");
    }

    #[test]
    fn ticks_are_round_and_on_the_axis() {
        assert_eq!([1e6, 2.5e4, 0.25, 1000.0].map(tidy), ["1 M", "25 k", "0.25", "1000"]);
        let axis = Axis { low: 3.0, high: 250.0, is_logarithmic: true };
        assert_eq!(axis.ticks(), [5.0, 10.0, 20.0, 50.0, 100.0, 200.0]);
        let axis = Axis { low: 0.0, high: 1.0, is_logarithmic: false };
        assert_eq!(axis.ticks(), [0.0, 0.25, 0.5, 0.75, 1.0]);
        let axis = Axis { low: 0.0, high: 42.0, is_logarithmic: false };
        assert_eq!(axis.ticks(), [0.0, 20.0, 40.0]);
    }
}
