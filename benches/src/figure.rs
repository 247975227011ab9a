//! What a figure is made of.

use std::{io, time::Duration};

use serde::{Deserialize, Serialize};

/// Whose a case is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// This project's.
    Ours,
    /// A Rust peer.
    Rust,
    /// What the C library or the kernel offers.
    C,
    /// A Python peer.
    Python,
    /// Bare, without types, errors or safety: what nobody can beat by much.
    Limit,
}

impl Side {
    /// Its name in reports and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Rust => "rust",
            Self::C => "c",
            Self::Python => "python",
            Self::Limit => "limit",
        }
    }
}

/// Takes one sample of about the length given, in the figure's unit.
pub type Sampler = Box<dyn FnMut(Duration) -> io::Result<f64>>;

/// One of those that a figure compares.
pub struct Case {
    /// Its name, unique in its figure.
    pub name: String,
    /// Whose it is.
    pub side: Side,
    /// Measures it.
    pub sample: Sampler,
}

/// A quantity of several programs that do the same.
pub struct Figure {
    /// Its name.
    pub name: String,
    /// What is counted.
    pub unit: &'static str,
    /// Whether more is better.
    pub more_is_better: bool,
    /// Whether it comes out the same each time, so that one sample of a case is enough and others cannot disturb it.
    pub is_exact: bool,
    /// Who is compared.
    pub cases: Vec<Case>,
}

impl Figure {
    /// A rate: more is better.
    pub fn rate(name: impl Into<String>, unit: &'static str) -> Self {
        Self { name: name.into(), unit, more_is_better: true, is_exact: false, cases: Vec::new() }
    }

    /// A cost: less is better.
    pub fn cost(name: impl Into<String>, unit: &'static str) -> Self {
        Self { more_is_better: false, ..Self::rate(name, unit) }
    }

    /// A cost that is counted, not timed.
    pub fn count(name: impl Into<String>, unit: &'static str) -> Self {
        Self { is_exact: true, ..Self::cost(name, unit) }
    }

    /// Adds a case.
    #[must_use]
    pub fn case(mut self, side: Side, name: &str, sample: impl FnMut(Duration) -> io::Result<f64> + 'static) -> Self {
        self.cases.push(Case { name: name.into(), side, sample: Box::new(sample) });
        self
    }
}

/// A place on a line chart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The chart.
    pub curve: String,
    /// Where on its axis.
    pub at: f64,
}

/// How to come by a figure. It is made only when its turn comes, so that pools and processes live no longer.
pub struct Plan {
    /// What it belongs to: `proc-core`, `queue`, `pipe`, `sync`, `pool`, `tls`, `memory`.
    pub area: &'static str,
    /// The figure's name.
    pub name: String,
    /// The line charts it is a point of, and where on their axes.
    pub curves: Vec<Point>,
    /// Whether a quick run leaves it out: a point of a curve that is drawn without it as well.
    pub is_for_thorough: bool,
    /// Makes it.
    pub make: Box<dyn FnOnce() -> io::Result<Figure>>,
}

impl Plan {
    /// A plan for the figure that `make` makes of its name.
    pub fn new(
        area: &'static str,
        name: impl Into<String>,
        make: impl FnOnce(String) -> io::Result<Figure> + 'static,
    ) -> Self {
        let name = name.into();
        let its_name = name.clone();
        Self { area, name, curves: Vec::new(), is_for_thorough: false, make: Box::new(move || make(its_name)) }
    }

    /// Makes it a point of a line chart.
    #[must_use]
    pub fn on(mut self, curve: &str, at: f64) -> Self {
        self.curves.push(Point { curve: curve.into(), at });
        self
    }

    /// Has quick runs leave it out if `is_for_thorough`.
    #[must_use]
    pub fn thorough_only(mut self, is_for_thorough: bool) -> Self {
        self.is_for_thorough = is_for_thorough;
        self
    }
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan").field("area", &self.area).field("name", &self.name).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Figure").field("name", &self.name).field("cases", &self.cases).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Case").field("name", &self.name).field("side", &self.side).finish_non_exhaustive()
    }
}
