//! What has changed since an earlier report.

use std::fmt::Write;

use super::Report;
use crate::{figure::Side, measure::human};

/// More than this, and what is counted has grown for certain.
const REGRESSION: f64 = 1.02;

/// The unit of figures that count instructions.
pub const INSTRUCTIONS: &str = "instructions";
/// The units of what is counted, and comes out the same on a busy machine.
const COUNTED: [&str; 2] = [INSTRUCTIONS, "fds"];

/// One of our cases, then and now.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The figure and the case.
    pub name: String,
    /// The earlier median.
    pub before: f64,
    /// The later one.
    pub after: f64,
    /// Whether the spreads do not even touch.
    pub is_beyond_spread: bool,
    /// Whether it is counted, not timed, and has grown.
    pub is_regression: bool,
}

/// How ours have changed.
pub fn changes(before: &Report, after: &Report) -> Vec<Change> {
    let ours = after.figures.iter().flat_map(|figure| {
        figure.outcomes.iter().filter(|case| case.side == Side::Ours).map(move |case| (figure, case))
    });
    let change = |(figure, case): (&crate::outcome::Measured, &crate::outcome::Outcome)| {
        let (old, new) = (&before.outcome(&figure.name, &case.name)?.samples, &case.samples);
        let is_counted = COUNTED.contains(&figure.unit.as_str());
        Some(Change {
            name: format!("{}: {}", figure.name, case.name),
            before: old.median(),
            after: new.median(),
            is_beyond_spread: !is_counted
                && (old.quantile(0.9) < new.quantile(0.1) || new.quantile(0.9) < old.quantile(0.1)),
            is_regression: is_counted && new.median() > old.median() * REGRESSION,
        })
    };
    ours.filter_map(change).collect()
}

/// For a terminal.
pub fn changes_table(changes: &[Change]) -> String {
    let mut text = String::new();
    for change in changes {
        let note = match change {
            Change { is_regression: true, .. } => "MORE",
            Change { is_beyond_spread: true, .. } => "beyond the spread",
            _ => "",
        };
        let (before, after) = (human(change.before), human(change.after));
        let ratio = change.after / change.before;
        let _ = writeln!(text, "{:58} {before:>9} -> {after:>9} {ratio:8.3}x  {note}", change.name);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        measure::Samples,
        outcome::{Measured, Outcome},
    };

    fn report(unit: &str, values: &[f64]) -> Report {
        let outcome = Outcome {
            name: "ours".into(),
            side: Side::Ours,
            samples: Samples::new(values.to_vec()),
            is_disturbed: false,
            foreign: 0.0,
        };
        let figure = Measured { name: "f".into(), unit: unit.into(), outcomes: vec![outcome], ..Measured::default() };
        Report { figures: vec![figure], ..Report::default() }
    }

    #[test]
    fn only_counts_are_regressions() {
        let verdict = |unit, before: &[f64], after: &[f64]| {
            let change = changes(&report(unit, before), &report(unit, after)).remove(0);
            (change.is_beyond_spread, change.is_regression)
        };
        assert_eq!(verdict("ns", &[1.0, 2.0], &[1.5, 3.0]), (false, false));
        assert_eq!(verdict("ns", &[1.0, 2.0], &[4.0, 5.0]), (true, false));
        assert_eq!(verdict(INSTRUCTIONS, &[100.0], &[101.0]), (false, false));
        assert_eq!(verdict("fds", &[100.0], &[103.0]), (false, true));
        assert!(changes(&Report::default(), &report("ns", &[1.0])).is_empty());
    }
}
