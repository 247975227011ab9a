//! The README's picture: bars of four figures, ours beside those that people know, in a light and in a dark file.

use std::fmt::Write;

use super::{Report, html::escape};
use crate::{figure::Side, measure::human, outcome::Outcome};

/// A figure, what it is called here, and the cases to show with their names here.
type Panel = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const PANELS: [Panel; 4] = [
    (
        "start",
        "a process started, its value returned",
        &[
            ("ForkServer", "here: fork server"),
            ("bare fork + wait", "bare fork and wait"),
            ("procspawn", "procspawn"),
            ("Python fork", "Python: fork"),
            ("Python forkserver", "Python: forkserver"),
        ],
    ),
    (
        "queue, 8 B, 1:1",
        "numbers through a queue, one process to another",
        &[
            ("Queue", "here: Queue"),
            ("crossbeam (threads)", "crossbeam, between threads"),
            ("boost message_queue", "Boost message_queue"),
            ("iceoryx2", "iceoryx2"),
            ("ipc-channel, bytes", "ipc-channel"),
            ("Python Queue", "Python: Queue"),
        ],
    ),
    (
        "pool, tasks",
        "tasks of a pool, a handle each",
        &[
            ("ProcessPool", "here: ProcessPool"),
            ("rayon, a handle each", "rayon (threads)"),
            ("procspawn", "procspawn"),
            ("Python Pool", "Python: Pool"),
            ("Python ProcessPoolExecutor", "Python: executor"),
        ],
    ),
    (
        "pool, map of 1e6",
        "a map over a million numbers",
        &[
            ("ProcessPool", "here: ProcessPool"),
            ("rayon par_iter", "rayon par_iter (threads)"),
            ("Python Pool", "Python: Pool"),
            ("Python ProcessPoolExecutor", "Python: executor"),
        ],
    ),
];

/// Text, faint text, ours, others.
const LIGHT: [&str; 4] = ["#1f2328", "#59636e", "#0969da", "#c4ccd4"];
const DARK: [&str; 4] = ["#f0f6fc", "#9198a1", "#4493f8", "#444c56"];

const WIDTH: f64 = 880.0;
/// Where bars begin, and how long the longest is.
const LEFT: f64 = 230.0;
const LENGTH: f64 = 540.0;
const ROW: f64 = 22.0;

/// The light and the dark file; nothing if one of the figures is not in the report.
pub fn pictures(report: &Report) -> Option<[String; 2]> {
    let panels: Option<Vec<_>> = PANELS.iter().map(|panel| found(report, panel)).collect();
    let panels = panels?;
    Some([LIGHT, DARK].map(|colours| picture(&panels, colours)))
}

/// What is shown of a panel.
struct Found<'a> {
    title: &'a str,
    unit: &'a str,
    more_is_better: bool,
    bars: Vec<(&'a str, &'a Outcome)>,
}

/// `None` without ours and somebody else.
fn found<'a>(report: &'a Report, (name, title, cases): &Panel) -> Option<Found<'a>> {
    let figure = report.figures.iter().find(|figure| figure.name == *name)?;
    let bar = |&(case, label): &(&str, &'static str)| Some((label, figure.outcome(case)?));
    let bars: Vec<_> = cases.iter().filter_map(bar).collect();
    let is_shown = bars.len() > 1 && bars[0].1.side == Side::Ours;
    is_shown.then_some(Found { title, unit: &figure.unit, more_is_better: figure.more_is_better, bars })
}

fn picture(panels: &[Found<'_>], [text, faint, ours, others]: [&str; 4]) -> String {
    let mut body = String::new();
    let mut y = 8.0;
    for panel in panels {
        y += 22.0;
        let better = if panel.more_is_better { "longer is better" } else { "shorter is better" };
        let _ = writeln!(
            body,
            "<text x=\"0\" y=\"{y}\" class=\"title\">{}</text><text x=\"{WIDTH}\" y=\"{y}\" class=\"unit\">{}, {better}</text>",
            escape(panel.title),
            escape(panel.unit)
        );
        y += 10.0;
        let values: Vec<f64> = panel.bars.iter().map(|(_, case)| case.samples.median()).collect();
        let most = values.iter().copied().fold(0.0, f64::max);
        for ((label, case), value) in panel.bars.iter().zip(&values) {
            let (middle, width) = (y + ROW / 2.0 + 4.5, (value / most * LENGTH).max(1.5));
            let fill = if case.side == Side::Ours { ours } else { others };
            let _ = writeln!(
                body,
                "<text x=\"{}\" y=\"{middle:.1}\" class=\"label\">{}</text>\
                 <rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\" rx=\"2\" fill=\"{fill}\"/>\
                 <text x=\"{:.1}\" y=\"{middle:.1}\">{}</text>",
                LEFT - 10.0,
                escape(label),
                y + 3.0,
                ROW - 6.0,
                LEFT + width + 8.0,
                human(*value),
            );
            y += ROW;
        }
        y += 8.0;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif\" font-size=\"13\" fill=\"{text}\">\n\
         <style>.title {{ font-weight: 600; font-size: 14px }} .label {{ text-anchor: end }} \
         .unit {{ text-anchor: end; fill: {faint} }}</style>\n{body}</svg>\n",
        height = y.ceil(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{measure::Samples, outcome::Measured};

    fn figure(name: &str, cases: &[(&str, Side, f64)]) -> Measured {
        let outcome = |&(name, side, value): &(&str, Side, f64)| Outcome {
            name: name.into(),
            side,
            samples: Samples::new(vec![value; 3]),
            is_disturbed: false,
            foreign: 0.0,
        };
        Measured {
            name: name.into(),
            unit: "µs".into(),
            outcomes: cases.iter().map(outcome).collect(),
            ..Measured::default()
        }
    }

    #[test]
    fn bars_are_as_long_as_their_values_are_large() {
        let mut report = Report::default();
        for (name, _, cases) in PANELS {
            let cases: Vec<_> = cases.iter().zip([Side::Ours, Side::Rust]).zip([1.0, 4.0]).collect();
            let cases: Vec<_> = cases.into_iter().map(|((case, side), value)| (case.0, side, value)).collect();
            report.figures.push(figure(name, &cases));
        }
        let [light, dark] = pictures(&report).unwrap();
        for (picture, colours) in [(&light, LIGHT), (&dark, DARK)] {
            let n_bars = |width: f64, fill: &str| {
                picture.matches(&format!("width=\"{width:.1}\" height=\"16.0\" rx=\"2\" fill=\"{fill}\"")).count()
            };
            assert_eq!((n_bars(LENGTH / 4.0, colours[2]), n_bars(LENGTH, colours[3])), (4, 4));
        }
        report.figures.pop();
        assert!(pictures(&report).is_none());
    }
}
