//! What came of it, for people.

use std::time::Duration;

use crate::mode::{Mode, Report};

/// Prints line by line, and adds up.
#[derive(Debug, Default)]
pub(crate) struct Table {
    single: u64,
    double: u64,
    judged: u64,
    bad: u64,
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
        if report.bad > report.failures.len() as u64 {
            println!("  … and {} more", report.bad - report.failures.len() as u64);
        }
        *if mode == Mode::Snap2 { &mut self.double } else { &mut self.single } += report.points;
        self.judged += report.judged;
        self.bad += report.bad;
    }

    pub(crate) fn foot(&self, time: Duration) {
        let Self { single, double, judged, bad } = self;
        println!(
            "\n{single} single and {double} double-fault points, {judged} of them different and judged; {bad} not \
             survived; {:.1} s",
            time.as_secs_f64()
        );
    }

    pub(crate) fn is_good(&self) -> bool {
        self.bad == 0
    }
}
