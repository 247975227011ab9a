//! What was to be reached, and what was.

use std::fmt::Write;

use crate::{figure::Against, measure::human, run::Measured};

/// What became of a target.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The name of our case.
    pub ours: String,
    /// What it is compared with, in words.
    pub against: String,
    /// Ours over that.
    pub ratio: f64,
    /// What the ratio should be.
    pub target: f64,
    /// Whether more is better.
    pub more_is_better: bool,
    /// Whether it is reached.
    pub is_reached: bool,
    /// Whether either side was disturbed.
    pub is_disturbed: bool,
}

/// What became of a figure's targets; those whose cases were not measured are left out.
pub fn verdicts(figure: &Measured) -> Vec<Verdict> {
    let find = |name: &str| figure.outcomes.iter().find(|case| case.name == name);
    let verdict = |target: &crate::figure::Target| {
        let ours = find(target.ours)?;
        let (value, against, is_other_disturbed) = match target.against {
            Against::Case(name) => {
                let other = find(name)?;
                (other.samples.median(), name.to_owned(), other.is_disturbed)
            }
            Against::Constant(value) => (value, format!("{} {}", human(value), figure.unit), false),
        };
        let ratio = ours.samples.median() / value;
        let is_reached = if figure.more_is_better { ratio >= target.ratio } else { ratio <= target.ratio };
        Some(Verdict {
            ours: ours.name.clone(),
            against,
            ratio,
            target: target.ratio,
            more_is_better: figure.more_is_better,
            is_reached,
            is_disturbed: ours.is_disturbed || is_other_disturbed,
        })
    };
    figure.targets.iter().filter_map(verdict).collect()
}

/// The table of ratios, for a terminal.
pub fn table(figures: &[Measured]) -> String {
    let mut text = format!("{:34} {:22} {:>9} {:>9}   against\n", "figure", "ours", "ratio", "target");
    for figure in figures {
        for verdict in verdicts(figure) {
            let sign = if verdict.more_is_better { '≥' } else { '≤' };
            let mark = if verdict.is_reached { ' ' } else { '!' };
            let note = if verdict.is_disturbed { "  (disturbed)" } else { "" };
            let _ = writeln!(
                text,
                "{:34} {:22} {:>8.3}x {mark}{:>9}   {}{note}",
                figure.name,
                verdict.ours,
                verdict.ratio,
                format!("{sign} {:.3}", verdict.target).trim_end_matches('0').trim_end_matches('.'),
                verdict.against,
            );
        }
        for failure in &figure.failures {
            let _ = writeln!(text, "{:34} failed: {failure}", figure.name);
        }
    }
    text.push_str("! target not reached   (disturbed) others used the processors meanwhile\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        figure::{Side, Target},
        measure::Samples,
        run::Outcome,
    };

    #[test]
    fn a_rate_must_be_above_and_a_cost_below() {
        let outcome = |name: &str, side, value| Outcome {
            name: name.into(),
            side,
            samples: Samples::new(vec![value]),
            is_disturbed: false,
            foreign: 0.0,
        };
        let mut figure = Measured {
            name: "f".into(),
            unit: "op/s",
            more_is_better: true,
            outcomes: vec![outcome("us", Side::Ours, 3.0), outcome("them", Side::Rust, 2.0)],
            targets: vec![
                Target { ours: "us", against: Against::Case("them"), ratio: 1.5 },
                Target { ours: "us", against: Against::Constant(4.0), ratio: 1.0 },
                Target { ours: "us", against: Against::Case("absent"), ratio: 1.0 },
            ],
            curve: None,
            failures: Vec::new(),
        };
        let reached = |figure: &Measured| verdicts(figure).iter().map(|v| v.is_reached).collect::<Vec<_>>();
        assert_eq!(reached(&figure), [true, false]);
        figure.more_is_better = false;
        assert_eq!(reached(&figure), [true, true]);
        assert!(table(&[figure]).contains("1.500x"));
    }
}
