//! What came of it, for people.

use std::{collections::BTreeMap, time::Duration};

use crate::mode::{Mode, Report};

/// Prints line by line, and adds up.
#[derive(Debug, Default)]
pub(crate) struct Table {
    sums: BTreeMap<&'static str, Sum>,
}

/// What came of a number of experiments.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    points: u64,
    judged: u64,
    bad: u64,
    time: Duration,
}

impl Table {
    pub(crate) fn head(&self) {
        println!(
            "{:<30} {:<12} {:<6} {:>12} {:>9} {:>9} {:>9} {:>8}",
            "operation", "state", "mode", "instructions", "points", "judged", "survived", "time"
        );
    }

    pub(crate) fn line(&mut self, operation: &str, state: &str, mode: Mode, report: &Report, time: Duration) {
        let survived = report.points - report.bad.min(report.points);
        println!(
            "{operation:<30} {state:<12} {:<6} {:>12} {:>9} {:>9} {survived:>9} {:>6.1} s",
            mode.name(),
            report.instructions,
            report.points,
            report.judged,
            time.as_secs_f64()
        );
        for failure in &report.failures {
            println!("  FAILED {}\n         at {}", failure.place, failure.instruction);
            for line in failure.why.lines() {
                println!("         {line}");
            }
        }
        if report.bad > 0 {
            println!("  again: cargo xtask crash {operation} --state {state} --mode {}", mode.name());
        }
        if report.bad > report.failures.len() as u64 {
            println!("  … and {} more", report.bad - report.failures.len() as u64);
        }
        let sum = self.sums.entry(mode.name()).or_default();
        let of_this = Sum { points: report.points, judged: report.judged, bad: report.bad, time };
        *sum = sum.and(of_this);
    }

    /// Says of which operations no copies can be judged, and why.
    pub(crate) fn why_no_snap<'a>(&self, rows: impl Iterator<Item = (&'a str, Option<&'static str>)>) {
        let mut by_reason = BTreeMap::<_, Vec<_>>::new();
        for (name, why) in rows {
            if let Some(why) = why {
                by_reason.entry(why).or_default().push(name);
            }
        }
        for (why, names) in by_reason {
            println!("\nno snap of {}: {why}", names.join(", "));
        }
    }

    /// The sums, by mode and in all; the last line is for quoting.
    pub(crate) fn foot(&self, time: Duration) {
        println!("\n{:<6} {:>9} {:>9} {:>12} {:>8}", "mode", "points", "judged", "not survived", "time");
        for mode in Mode::ALL {
            let Some(Sum { points, judged, bad, time }) = self.sums.get(mode.name()) else { continue };
            println!("{:<6} {points:>9} {judged:>9} {bad:>12} {:>6.1} s", mode.name(), time.as_secs_f64());
        }
        let double = self.sums.get(Mode::Snap2.name()).copied().unwrap_or_default();
        let pair = self.sums.get(Mode::Pair.name()).copied().unwrap_or_default();
        let Sum { points, judged, bad, .. } = self.all();
        println!(
            "\n{} single, {} double-fault and {} pair points, {judged} different images judged, {bad} not survived, {:.0} s",
            points - double.points - pair.points,
            double.points,
            pair.points,
            time.as_secs_f64()
        );
    }

    pub(crate) fn is_good(&self) -> bool {
        self.all().bad == 0
    }

    fn all(&self) -> Sum {
        self.sums.values().fold(Sum::default(), |all, sum| all.and(*sum))
    }
}

impl Sum {
    fn and(self, other: Self) -> Self {
        Self {
            points: self.points + other.points,
            judged: self.judged + other.judged,
            bad: self.bad + other.bad,
            time: self.time + other.time,
        }
    }
}
