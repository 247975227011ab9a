//! What was to be reached, and what was.

use std::fmt::Write;

use serde::Serialize;

use crate::{
    figure::Side,
    measure::human,
    outcome::Measured,
    targets::{Against, Target},
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
    /// What the ratio should be.
    pub target: f64,
    /// Whether it should be at least that; else at most.
    pub is_floor: bool,
    /// The best of the figure's limits, if it has any.
    pub limit: Option<f64>,
    /// What it is; `None` if one of the two was not measured.
    pub found: Option<Found>,
}

/// Both sides of a target, measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    /// Ours, in the figure's unit.
    pub value: f64,
    /// Ours over what it is compared with.
    pub ratio: f64,
    /// Whether the target is reached.
    pub is_reached: bool,
    /// Whether either side was disturbed.
    pub is_disturbed: bool,
    /// Whether either side's samples lie in two heaps.
    pub is_bimodal: bool,
}

impl Verdict {
    fn of(figure: &Measured, target: &Target) -> Self {
        let against = match &target.against {
            Against::Case(name) => name.clone(),
            Against::Constant(value) => format!("{} {}", human(*value), figure.unit),
        };
        let limits = figure.outcomes.iter().filter(|case| case.side == Side::Limit).map(|case| case.samples.median());
        Self {
            figure: figure.name.clone(),
            ours: target.ours.clone(),
            against,
            target: target.ratio,
            is_floor: target.is_floor,
            limit: limits.reduce(if figure.more_is_better { f64::max } else { f64::min }),
            found: Found::of(figure, target),
        }
    }

    /// Whether the target is reached; one that was not measured is not.
    pub fn is_reached(&self) -> bool {
        self.found.as_ref().is_some_and(|found| found.is_reached)
    }

    pub(super) fn stated(&self) -> String {
        format!("{} {}", if self.is_floor { '≥' } else { '≤' }, short(self.target))
    }
}

impl Found {
    fn of(figure: &Measured, target: &Target) -> Option<Self> {
        let ours = figure.outcome(&target.ours)?;
        let (other, value) = match &target.against {
            Against::Case(name) => {
                let other = figure.outcome(name)?;
                (Some(other), other.samples.median())
            }
            Against::Constant(value) => (None, *value),
        };
        let ratio = ours.samples.median() / value;
        Some(Self {
            value: ours.samples.median(),
            ratio,
            is_reached: if target.is_floor { ratio >= target.ratio } else { ratio <= target.ratio },
            is_disturbed: ours.is_disturbed || other.is_some_and(|other| other.is_disturbed),
            is_bimodal: ours.samples.is_bimodal() || other.is_some_and(|other| other.samples.is_bimodal()),
        })
    }
}

/// What became of a figure's targets, each of them.
pub fn verdicts(figure: &Measured) -> Vec<Verdict> {
    figure.targets.iter().map(|target| Verdict::of(figure, target)).collect()
}

/// The table of ratios, for a terminal.
pub fn table(figures: &[Measured]) -> String {
    let mut text = format!(
        "{:33} {:17} {:>8} {:>8} {:>8} {:>8} {:>8}   against\n",
        "figure", "ours", "ratio", "target", "ours", "peer", "limit"
    );
    for figure in figures {
        for verdict in verdicts(figure) {
            let Verdict { figure, ours, against, limit, found, .. } = &verdict;
            let (ratio, value, peer) = found.as_ref().map_or_else(
                || ("–".into(), "–".into(), "–".into()),
                |found| (format!("{:.3}x", found.ratio), human(found.value), human(found.value / found.ratio)),
            );
            let mark = if verdict.is_reached() { ' ' } else { '!' };
            let notes = match found {
                None => "  (not measured)",
                Some(Found { is_disturbed: true, is_bimodal: true, .. }) => "  (disturbed, bimodal)",
                Some(Found { is_disturbed: true, .. }) => "  (disturbed)",
                Some(Found { is_bimodal: true, .. }) => "  (bimodal)",
                Some(_) => "",
            };
            let (stated, limit) = (verdict.stated(), limit.map_or_else(|| "–".into(), human));
            let _ = writeln!(
                text,
                "{figure:33} {ours:17} {ratio:>8} {mark}{stated:>7} {value:>8} {peer:>8} {limit:>8}   {against}{notes}"
            );
        }
        for failure in &figure.failures {
            let _ = writeln!(text, "{:33} failed: {failure}", figure.name);
        }
    }
    text + &summary(figures) + "\n! not reached   (disturbed) others used the processors   (bimodal) two heaps\n"
}

/// How many targets are reached, in words.
pub(super) fn summary(figures: &[Measured]) -> String {
    let all: Vec<Verdict> = figures.iter().flat_map(verdicts).collect();
    let n_reached = all.iter().filter(|verdict| verdict.is_reached()).count();
    let n_missing = all.iter().filter(|verdict| verdict.found.is_none()).count();
    let missing = if n_missing == 0 { String::new() } else { format!(", {n_missing} not measured") };
    format!("{n_reached} of {} targets reached{missing}", all.len())
}

/// A target as it was stated: `1.05`, `0.35`, `2`.
fn short(ratio: f64) -> String {
    let text = if ratio < 0.1 { format!("1/{:.0}", 1.0 / ratio) } else { format!("{ratio:.3}") };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{measure::Samples, outcome::Outcome};

    #[test]
    fn each_target_has_its_verdict_whatever_was_measured() {
        let outcome = |name: &str, side, value| Outcome {
            name: name.into(),
            side,
            samples: Samples::new(vec![value]),
            is_disturbed: false,
            foreign: 0.0,
        };
        let target = |against, ratio| Target { ours: "us".into(), against, ratio, is_floor: true };
        let mut figure = Measured {
            name: "f".into(),
            unit: "op/s".into(),
            more_is_better: true,
            outcomes: vec![outcome("us", Side::Ours, 3.0), outcome("them", Side::Limit, 2.0)],
            targets: vec![
                target(Against::Case("them".into()), 1.5),
                target(Against::Constant(4.0), 1.0),
                target(Against::Case("absent".into()), 1.0),
            ],
            ..Measured::default()
        };
        let reached = |figure: &Measured| verdicts(figure).iter().map(Verdict::is_reached).collect::<Vec<_>>();
        assert_eq!(reached(&figure), [true, false, false]);
        figure.targets.iter_mut().for_each(|target| target.is_floor = false);
        assert_eq!(reached(&figure), [true, true, false]);
        assert_eq!(verdicts(&figure)[1].limit, Some(2.0));
        let table = table(&[figure]);
        assert!(table.contains("1.500x") && table.contains("2 of 3 targets reached, 1 not measured"), "{table}");
    }

    #[test]
    fn targets_are_written_as_they_were_stated() {
        assert_eq!([1.0, 1.05, 0.35, 1.0 / 150.0].map(short), ["1", "1.05", "0.35", "1/150"]);
    }
}
