//! What was to be reached, and what was.

use std::fmt::Write;

use serde::Serialize;

use crate::{
    figure::{Against, Side},
    measure::human,
    outcome::Measured,
};

/// What became of a target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// The name of the figure.
    pub figure: String,
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
    /// Whether either side's samples lie in two heaps.
    pub is_bimodal: bool,
    /// What ours is, in the figure's unit.
    pub value: f64,
    /// The best of the figure's limits, if it has any.
    pub limit: Option<f64>,
}

/// What became of a figure's targets; those whose cases were not measured are left out.
pub fn verdicts(figure: &Measured) -> Vec<Verdict> {
    let limits = figure.outcomes.iter().filter(|case| case.side == Side::Limit).map(|case| case.samples.median());
    let limit = limits.reduce(if figure.more_is_better { f64::max } else { f64::min });
    let verdict = |target: &crate::figure::Target| {
        let ours = figure.outcome(&target.ours)?;
        let (other, value, against) = match &target.against {
            Against::Case(name) => {
                let other = figure.outcome(name)?;
                (Some(other), other.samples.median(), name.clone())
            }
            Against::Constant(value) => (None, *value, format!("{} {}", human(*value), figure.unit)),
        };
        let ratio = ours.samples.median() / value;
        let is_reached = if figure.more_is_better { ratio >= target.ratio } else { ratio <= target.ratio };
        Some(Verdict {
            figure: figure.name.clone(),
            ours: ours.name.clone(),
            against,
            ratio,
            target: target.ratio,
            more_is_better: figure.more_is_better,
            is_reached,
            is_disturbed: ours.is_disturbed || other.is_some_and(|other| other.is_disturbed),
            is_bimodal: ours.samples.is_bimodal() || other.is_some_and(|other| other.samples.is_bimodal()),
            value: ours.samples.median(),
            limit,
        })
    };
    figure.targets.iter().filter_map(verdict).collect()
}

/// The table of ratios, for a terminal.
pub fn table(figures: &[Measured]) -> String {
    let mut text =
        format!("{:36} {:20} {:>9} {:>9} {:>9}   against\n", "figure", "ours", "ratio", "target", "to limit");
    for figure in figures {
        for verdict in verdicts(figure) {
            let sign = if verdict.more_is_better { '≥' } else { '≤' };
            let mark = if verdict.is_reached { ' ' } else { '!' };
            let _ = writeln!(
                text,
                "{:36} {:20} {:>8.3}x {mark}{:>9} {:>9}   {}{}{}",
                figure.name,
                verdict.ours,
                verdict.ratio,
                format!("{sign} {}", short(verdict.target)),
                verdict.limit.map_or(String::new(), |limit| format!("{:.2}x", verdict.value / limit)),
                verdict.against,
                if verdict.is_disturbed { "  (disturbed)" } else { "" },
                if verdict.is_bimodal { "  (bimodal)" } else { "" },
            );
        }
        for failure in &figure.failures {
            let _ = writeln!(text, "{:36} failed: {failure}", figure.name);
        }
    }
    let all: Vec<Verdict> = figures.iter().flat_map(verdicts).collect();
    let n_reached = all.iter().filter(|verdict| verdict.is_reached).count();
    let _ = writeln!(
        text,
        "{n_reached} of {} targets reached   ! not reached   (disturbed) others used the processors   (bimodal) two heaps",
        all.len()
    );
    text
}

/// A target as it was stated: `1.05`, `0.35`, `2`.
pub(super) fn short(ratio: f64) -> String {
    let text = if ratio < 0.1 { format!("1/{:.0}", 1.0 / ratio) } else { format!("{ratio:.3}") };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{figure::Target, measure::Samples, outcome::Outcome};

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
            unit: "op/s".into(),
            more_is_better: true,
            outcomes: vec![outcome("us", Side::Ours, 3.0), outcome("them", Side::Limit, 2.0)],
            targets: vec![
                Target { ours: "us".into(), against: Against::Case("them".into()), ratio: 1.5 },
                Target { ours: "us".into(), against: Against::Constant(4.0), ratio: 1.0 },
                Target { ours: "us".into(), against: Against::Case("absent".into()), ratio: 1.0 },
            ],
            curves: Vec::new(),
            failures: Vec::new(),
        };
        let reached = |figure: &Measured| verdicts(figure).iter().map(|v| v.is_reached).collect::<Vec<_>>();
        assert_eq!(reached(&figure), [true, false]);
        figure.more_is_better = false;
        assert_eq!(reached(&figure), [true, true]);
        assert_eq!(verdicts(&figure)[1].limit, Some(2.0));
        let table = table(&[figure]);
        assert!(table.contains("1.500x") && table.contains("2 of 2"), "{table}");
    }

    #[test]
    fn targets_are_written_as_they_were_stated() {
        assert_eq!([1.0, 1.05, 0.35, 1.0 / 150.0].map(short), ["1", "1.05", "0.35", "1/150"]);
    }
}
