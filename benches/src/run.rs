//! Measures a figure: its cases take turns, and what others disturbed is measured again.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use crate::{
    figure::{Figure, Side, Target},
    load::{self, Load},
    measure::Samples,
};

/// How thoroughly to measure.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a sample takes, about.
    pub sample: Duration,
    /// How many samples a case gets.
    pub n_samples: usize,
    /// How many more, at most, in place of disturbed ones.
    pub n_repeats: usize,
    /// How long to wait for a quiet machine before a figure, at most.
    pub patience: Duration,
    /// Which peers to measure.
    pub sides: Vec<Side>,
}

impl Settings {
    /// For a figure to rely on.
    pub fn thorough(sides: Vec<Side>) -> Self {
        Self {
            sample: Duration::from_millis(250),
            n_samples: 7,
            n_repeats: 7,
            patience: Duration::from_secs(20),
            sides,
        }
    }

    /// For a look.
    pub fn quick(sides: Vec<Side>) -> Self {
        Self { sample: Duration::from_millis(60), n_samples: 3, n_repeats: 1, patience: Duration::from_secs(1), sides }
    }
}

/// A processor's share that others may use without a sample being called disturbed.
const DISTURBED: f64 = 0.15;

const SAMPLE_LIMIT_SECONDS: u32 = 60;

/// What came out for one case.
#[derive(Clone, Debug)]
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
#[derive(Clone, Debug)]
pub struct Measured {
    /// The figure's name.
    pub name: String,
    /// What is counted.
    pub unit: &'static str,
    /// Whether more is better.
    pub more_is_better: bool,
    /// The cases.
    pub outcomes: Vec<Outcome>,
    /// What is to be reached.
    pub targets: Vec<Target>,
    /// The line chart it is a point of, and where.
    pub curve: Option<(&'static str, f64)>,
    /// Which cases failed, and why.
    pub failures: Vec<String>,
}

/// Measures `figure`.
pub fn measure(figure: Figure, settings: &Settings) -> Measured {
    load::wait_for_quiet(DISTURBED, settings.patience);
    let mut failures = Vec::new();
    let mut taken: Vec<Vec<(f64, f64)>> = figure.cases.iter().map(|_| Vec::new()).collect();
    let mut cases = figure.cases;
    let is_wanted = |side| matches!(side, Side::Ours | Side::Limit) || settings.sides.contains(&side);
    let mut is_open: Vec<bool> = cases.iter().map(|case| is_wanted(case.side)).collect();
    let begun = Instant::now();
    // The first round is for warming up: caches, spin lengths, the samples' own calibration.
    for round in 0..=settings.n_samples + settings.n_repeats {
        for (idx, case) in cases.iter_mut().enumerate() {
            let n_quiet = taken[idx].iter().filter(|sample| sample.1 < DISTURBED).count();
            if !is_open[idx] || (round > settings.n_samples && n_quiet >= settings.n_samples) {
                continue;
            }
            progress(&format!("{} · {} · {:.0} s", figure.name, case.name, begun.elapsed().as_secs_f64()));
            let load = Load::now();
            // Who waits for somebody dead ends here, and keeps what has been written so far.
            nix::unistd::alarm::set(SAMPLE_LIMIT_SECONDS);
            match (case.sample)(settings.sample) {
                Ok(value) if round > 0 => taken[idx].push((value, load.foreign_since())),
                Ok(_) => {}
                Err(e) => {
                    failures.push(format!("{}: {e}", case.name));
                    is_open[idx] = false;
                }
            }
        }
    }
    progress("");
    nix::unistd::alarm::cancel();
    let outcomes = cases.iter().zip(taken).filter(|(_, taken)| !taken.is_empty());
    let outcomes = outcomes.map(|(case, taken)| outcome(&case.name, case.side, &taken, settings.n_samples)).collect();
    Measured {
        name: figure.name,
        unit: figure.unit,
        more_is_better: figure.more_is_better,
        outcomes,
        targets: figure.targets,
        curve: None,
        failures,
    }
}

fn outcome(name: &str, side: Side, taken: &[(f64, f64)], n_samples: usize) -> Outcome {
    let quiet: Vec<f64> = taken.iter().filter(|sample| sample.1 < DISTURBED).map(|sample| sample.0).collect();
    let is_disturbed = quiet.len() * 2 < n_samples;
    let values = if is_disturbed { taken.iter().map(|sample| sample.0).collect() } else { quiet };
    let foreign = taken.iter().map(|sample| sample.1).sum::<f64>() / taken.len() as f64;
    Outcome { name: name.into(), side, samples: Samples::new(values), is_disturbed, foreign }
}

/// A line on the terminal that the next one replaces.
pub fn progress(line: &str) {
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[K{line}");
        let _ = io::stderr().flush();
    }
}

/// Calls `many(n)`, which returns seconds, with an `n` that takes about as long as a sample shall; it learns from call
/// to call. Returns how many a second.
pub fn rate(mut many: impl FnMut(u64) -> io::Result<f64>) -> impl FnMut(Duration) -> io::Result<f64> {
    let mut n = 64_u64;
    move |length| {
        loop {
            let seconds = many(n)?.max(1e-9);
            let rate = n as f64 / seconds;
            let is_long_enough = seconds >= length.as_secs_f64() / 2.0;
            let ideal = (rate * length.as_secs_f64()) as u64;
            n = (ideal.min(n.saturating_mul(32)).max(64)).next_multiple_of(64);
            if is_long_enough {
                return Ok(rate);
            }
        }
    }
}

/// As [`rate`], in nanoseconds a call.
pub fn nanoseconds(mut call: impl FnMut()) -> impl FnMut(Duration) -> io::Result<f64> {
    let mut rate = rate(move |n| {
        let begun = Instant::now();
        (0..n).for_each(|_| call());
        Ok(begun.elapsed().as_secs_f64())
    });
    move |length| Ok(1e9 / rate(length)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disturbed_samples_do_not_count_if_there_are_others() {
        let found = outcome("a", Side::Ours, &[(1.0, 0.0), (9.0, 1.5), (3.0, 0.1)], 3);
        assert_eq!((found.samples.median(), found.is_disturbed), (2.0, false));
        let found = outcome("a", Side::Ours, &[(1.0, 0.9), (9.0, 1.5), (3.0, 0.0)], 3);
        assert_eq!((found.samples.median(), found.is_disturbed), (3.0, true));
    }

    #[test]
    fn samples_grow_to_the_length_asked_for() {
        let mut calls = Vec::new();
        let mut sample = rate(|n| {
            calls.push(n);
            Ok(n as f64 * 1e-6)
        });
        let found = sample(Duration::from_millis(10)).unwrap();
        assert!((found - 1e6).abs() < 1.0);
        drop(sample);
        assert!(calls.iter().any(|&n| n >= 5_000) && calls.iter().all(|&n| n <= 10_100), "{calls:?}");
    }
}
