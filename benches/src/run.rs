//! Measures a figure: its cases take turns, and what others disturbed is measured again.

use std::{
    io,
    time::{Duration, Instant},
};

use crate::{
    figure::{Figure, Side},
    load::{self, Load},
    outcome::Event,
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
    /// How long the samples of a case take together, at most, once there is one.
    pub budget: Duration,
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
            budget: Duration::from_secs(20),
            sides,
        }
    }

    /// For a look.
    pub fn quick(sides: Vec<Side>) -> Self {
        Self {
            sample: Duration::from_millis(60),
            n_samples: 5,
            n_repeats: 1,
            patience: Duration::from_secs(1),
            budget: Duration::from_millis(700),
            sides,
        }
    }
}

/// Measures `figure`, and tells `report` what goes on.
///
/// # Errors
/// Those of `report`.
pub fn measure(figure: Figure, settings: &Settings, report: impl Fn(&Event) -> io::Result<()>) -> io::Result<()> {
    report(&Event::Begins {
        unit: figure.unit.into(),
        more_is_better: figure.more_is_better,
        n_samples: if figure.is_exact { 1 } else { settings.n_samples },
        cases: figure.cases.iter().map(|case| (case.name.clone(), case.side)).collect(),
    })?;
    if !figure.is_exact {
        load::wait_for_quiet(settings.patience);
    }
    let is_wanted = |side| matches!(side, Side::Ours | Side::Limit) || settings.sides.contains(&side);
    let mut cases: Vec<_> = figure.cases.into_iter().enumerate().filter(|(_, case)| is_wanted(case.side)).collect();
    let n_cases = cases.iter().map(|(idx, _)| idx + 1).max().unwrap_or_default();
    let (mut n_taken, mut n_quiet, mut spent) = (vec![0; n_cases], vec![0; n_cases], vec![Duration::ZERO; n_cases]);
    // The first round is for warming up: caches, spin lengths, the samples' own calibration. What has used up its budget
    // several times by then counts nevertheless, and is not taken again.
    let is_warm_up = |round, took| round == 0 && took <= 4 * settings.budget;
    let rounds = if figure.is_exact { 1..=1 } else { 0..=settings.n_samples + settings.n_repeats };
    for round in rounds {
        let mut failed = Vec::new();
        for (idx, case) in &mut cases {
            let is_complete = round > settings.n_samples && n_quiet[*idx] >= settings.n_samples;
            if is_complete || (n_taken[*idx] > 0 && spent[*idx] > settings.budget) {
                continue;
            }
            report(&Event::Takes { case: *idx })?;
            let (load, begun) = (Load::now(), Instant::now());
            match (case.sample)(settings.sample) {
                Ok(_) if is_warm_up(round, begun.elapsed()) => {}
                Ok(value) => {
                    let foreign = if figure.is_exact { 0.0 } else { load.foreign_since() };
                    n_taken[*idx] += 1;
                    n_quiet[*idx] += usize::from(foreign == 0.0);
                    report(&Event::Took { case: *idx, value, foreign })?;
                }
                Err(e) => {
                    report(&Event::Failed { case: *idx, error: e.to_string() })?;
                    failed.push(*idx);
                }
            }
            spent[*idx] += begun.elapsed();
        }
        cases.retain(|(idx, _)| !failed.contains(idx));
    }
    Ok(())
}

/// Calls `many(n)`, which returns seconds, with an `n` that takes about as long as a sample shall; it learns from call
/// to call. Returns how many a second.
pub fn rate(many: impl FnMut(u64) -> io::Result<f64>) -> impl FnMut(Duration) -> io::Result<f64> {
    rate_in(64, many)
}

/// As [`rate`], with multiples of `step`: few where one takes long, and as many as those who share them.
pub fn rate_in(step: u64, mut many: impl FnMut(u64) -> io::Result<f64>) -> impl FnMut(Duration) -> io::Result<f64> {
    let mut n = step;
    move |length| {
        loop {
            let seconds = many(n)?.max(1e-9);
            let rate = n as f64 / seconds;
            let is_long_enough = seconds >= length.as_secs_f64() / 2.0;
            let ideal = (rate * length.as_secs_f64()) as u64;
            n = (ideal.min(n.saturating_mul(32)).max(step)).next_multiple_of(step);
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
    use std::cell::RefCell;

    use super::*;

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

    #[test]
    fn what_takes_much_longer_than_its_budget_is_taken_once() {
        let figure = Figure::cost("f", "s").case(Side::Ours, "slow", |_| {
            std::thread::sleep(Duration::from_millis(10));
            Ok(1.0)
        });
        let settings =
            Settings { patience: Duration::ZERO, budget: Duration::from_millis(1), ..Settings::quick(vec![]) };
        let n_taken = std::cell::Cell::new(0);
        measure(figure, &settings, |event| {
            n_taken.set(n_taken.get() + usize::from(matches!(event, Event::Took { .. })));
            Ok(())
        })
        .unwrap();
        assert_eq!(n_taken.get(), 1);
    }

    #[test]
    fn what_fails_is_left_out_from_then_on() {
        let mut n_bad = 0;
        let figure = Figure::count("f", "calls").case(Side::Rust, "unwanted", |_| unreachable!());
        let figure = figure.case(Side::Ours, "good", |_| Ok(1.0)).case(Side::Limit, "bad", move |_| {
            n_bad += 1;
            assert_eq!(n_bad, 1);
            Err(io::Error::other("no"))
        });
        let events = RefCell::new(Vec::new());
        let settings = Settings { patience: Duration::ZERO, ..Settings::quick(Vec::new()) };
        let rounds = Figure { is_exact: false, ..figure };
        measure(rounds, &settings, |event| {
            events.borrow_mut().push(event.clone());
            Ok(())
        })
        .unwrap();
        let events = events.into_inner();
        let n = |wanted: fn(&Event) -> bool| events.iter().filter(|event| wanted(event)).count();
        assert_eq!(n(|event| matches!(event, Event::Failed { case: 2, .. })), 1);
        assert!(n(|event| matches!(event, Event::Took { case: 1, .. })) >= settings.n_samples);
        assert_eq!(n(|event| matches!(event, Event::Took { case: 0 | 2, .. })), 0);
    }
}
