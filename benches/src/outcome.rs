//! What comes out of a measurement: told as it goes on, and gathered.

use serde::{Deserialize, Serialize};

use crate::{
    figure::{Plan, Point, Side},
    measure::Samples,
    targets::{self, Target},
};

/// What happens while a figure is measured. Cases go by their number in the figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// The first.
    Begins {
        /// What is counted.
        unit: String,
        /// Whether more is better.
        more_is_better: bool,
        /// How many samples a case is to get.
        n_samples: usize,
        /// Who is compared.
        cases: Vec<(String, Side)>,
    },
    /// The case is being sampled.
    Takes {
        /// Which.
        case: usize,
    },
    /// It has been sampled.
    Took {
        /// Which.
        case: usize,
        /// The sample.
        value: f64,
        /// How many processors others used meanwhile; 0 if no more than the clocks can tell.
        foreign: f64,
    },
    /// It could not be, and will not be again.
    Failed {
        /// Which.
        case: usize,
        /// Why.
        error: String,
    },
}

/// What came out for one case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The case.
    pub name: String,
    /// Whose it is.
    pub side: Side,
    /// The undisturbed samples, or all of them if there are too few of those.
    pub samples: Samples,
    /// Whether others disturbed the samples.
    pub is_disturbed: bool,
    /// How many processors others used meanwhile, on average.
    pub foreign: f64,
}

/// What came out for a figure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The figure's name.
    pub name: String,
    /// What is counted.
    pub unit: String,
    /// Whether more is better.
    pub more_is_better: bool,
    /// The cases.
    pub outcomes: Vec<Outcome>,
    /// What is to be reached.
    pub targets: Vec<Target>,
    /// Where on which line charts it is.
    pub curves: Vec<Point>,
    /// Which cases failed, and why.
    pub failures: Vec<String>,
}

impl Measured {
    /// The case of that name.
    pub fn outcome(&self, name: &str) -> Option<&Outcome> {
        self.outcomes.iter().find(|outcome| outcome.name == name)
    }
}

/// Events of one figure, so far.
#[derive(Clone, Debug, Default)]
pub struct Gathered {
    figure: Measured,
    n_samples: usize,
    cases: Vec<(String, Side)>,
    taken: Vec<Vec<(f64, f64)>>,
    current: Option<usize>,
}

impl Gathered {
    /// For the figure of that plan.
    pub fn new(plan: &Plan) -> Self {
        let (name, curves, targets) = (plan.name.clone(), plan.curves.clone(), targets::of(&plan.name));
        Self { figure: Measured { name, curves, targets, ..Measured::default() }, ..Self::default() }
    }

    /// Adds what happened.
    pub fn add(&mut self, event: Event) {
        match event {
            Event::Begins { unit, more_is_better, n_samples, cases } => {
                self.figure = Measured { unit, more_is_better, ..std::mem::take(&mut self.figure) };
                self.n_samples = n_samples;
                self.taken = vec![Vec::new(); cases.len()];
                self.cases = cases;
            }
            Event::Takes { case } => self.current = Some(case),
            Event::Took { case, value, foreign } => self.taken[case].push((value, foreign)),
            Event::Failed { case, error } => self.figure.failures.push(format!("{}: {error}", self.cases[case].0)),
        }
    }

    /// Which case is being sampled.
    pub fn current(&self) -> Option<&str> {
        Some(&self.cases[self.current?].0)
    }

    /// Notes that nothing more will come, and why.
    pub fn fail(&mut self, error: &str) {
        let case = self.current().map_or(String::new(), |name| format!("{name}: "));
        self.figure.failures.push(format!("{case}{error}"));
    }

    /// What came out of it all.
    pub fn finish(self) -> Measured {
        let cases = self.cases.into_iter().zip(&self.taken).filter(|(_, taken)| !taken.is_empty());
        let outcomes = cases.map(|((name, side), taken)| outcome(name, side, taken, self.n_samples)).collect();
        Measured { outcomes, ..self.figure }
    }
}

fn outcome(name: String, side: Side, taken: &[(f64, f64)], n_samples: usize) -> Outcome {
    let quiet: Vec<f64> = taken.iter().filter(|sample| sample.1 == 0.0).map(|sample| sample.0).collect();
    let is_disturbed = quiet.len() * 2 < n_samples.min(taken.len());
    let values = if is_disturbed { taken.iter().map(|sample| sample.0).collect() } else { quiet };
    let foreign = taken.iter().map(|sample| sample.1).sum::<f64>() / taken.len() as f64;
    Outcome { name, side, samples: Samples::new(values), is_disturbed, foreign }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Figure;

    fn begun() -> Gathered {
        let mut gathered = Gathered::new(&Plan::new("area", "f", |name| Ok(Figure::cost(name, "s"))));
        let cases = vec![("ours".into(), Side::Ours), ("theirs".into(), Side::Rust)];
        gathered.add(Event::Begins { unit: "s".into(), more_is_better: false, n_samples: 3, cases });
        gathered
    }

    #[test]
    fn disturbed_samples_do_not_count_if_there_are_others() {
        let found = |samples: [(f64, f64); 3]| {
            let mut gathered = begun();
            samples.iter().for_each(|&(value, foreign)| gathered.add(Event::Took { case: 0, value, foreign }));
            let found = gathered.finish().outcomes.remove(0);
            (found.samples.median(), found.is_disturbed)
        };
        assert_eq!(found([(1.0, 0.0), (9.0, 1.5), (3.0, 0.0)]), (2.0, false));
        assert_eq!(found([(1.0, 0.9), (9.0, 1.5), (3.0, 0.0)]), (3.0, true));
    }

    #[test]
    fn what_was_measured_before_a_death_is_kept() {
        let mut gathered = begun();
        gathered.add(Event::Took { case: 0, value: 1.0, foreign: 0.0 });
        gathered.add(Event::Takes { case: 1 });
        gathered.fail("it hangs");
        let figure = gathered.finish();
        assert_eq!((figure.outcomes.len(), figure.outcomes[0].name.as_str()), (1, "ours"));
        assert_eq!(figure.failures, ["theirs: it hangs"]);
    }
}
