//! What is to be reached: ratios within one run, each named once, here.
//!
//! A target belongs to a figure by its name, and is in the report whatever becomes of that figure.

use serde::{Deserialize, Serialize};

/// What ours is compared with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Against {
    /// Another case of the figure.
    Case(String),
    /// A constant, in the figure's unit.
    Constant(f64),
}

/// A ratio that is to be reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// The name of our case.
    pub ours: String,
    /// What it is compared with.
    pub against: Against,
    /// Ours over that.
    pub ratio: f64,
    /// Whether the ratio is to be at least this; else at most.
    pub is_floor: bool,
}

const START: &str = "start";
const BUSY: &str = "round trip, busy";
const ASLEEP: &str = "round trip, asleep";
const ONE_CPU: &str = "round trip, one CPU";
const CPU: &str = "CPU of a round trip, asleep";
const ALONE: &str = "lock, alone";
const CONTENDED: &str = "lock, two contending";
const TASKS: &str = "pool, tasks";
const MAP: &str = "pool, map of 1e6";
const WORDS: &str = "wordcount";
const BARE_FORK: &str = "bare fork + wait";
const RING: &str = "bare MPMC ring";
const CROSSBEAM: &str = "crossbeam (threads)";
const PARKING_LOT: &str = "parking_lot (threads)";
const RAYON: &str = "rayon, a handle each";

/// The figure, ours, at least which ratio, to what.
const AT_LEAST: &[(&str, &str, f64, &str)] = &[
    ("queue, 8 B, 1:1", "Queue", 1.5, CROSSBEAM),
    ("queue, 8 B, 1:1", "Queue", 0.75, RING),
    ("queue, 8 B, 1:1", "Queue", 5.0, "boost message_queue"),
    ("queue, 8 B, 1:1", "Queue", 20.0, "ipc-channel, bytes"),
    ("queue, 8 B, 1:1", "Queue", 20.0, "iceoryx2"),
    ("queue, 8 B, 1:1", "Queue", 100.0, "Python Queue"),
    ("queue, 8 B, 1:1", "put_many/get_many", 1.3, "Queue"),
    ("queue, struct of 256 B, 1:1", "put_many/get_many", 1.5, "Queue"),
    ("queue, 8 B, 2:2", "Queue", 1.5, CROSSBEAM),
    ("queue, 8 B, 2:2", "Queue", 0.75, RING),
    ("queue, 256 B, 1:1", "Queue", 0.7, RING),
    ("queue, 256 B, 2:2", "Queue", 0.7, RING),
    ("queue, 4 KiB, 1:1", "Queue", 0.9, RING),
    ("queue, 4 KiB, 2:2", "Queue", 0.9, RING),
    ("queue, 1 MiB, 1:1", "Queue", 0.85, "memcpy"),
    ("queue, 1 MiB, 1:1", "Queue, loan", 1.5, "Queue"),
    ("pipe, 8 B", "Connection", 0.7, "bare SPSC ring"),
    (CONTENDED, "Lock", 1.5, "pthread shared, robust"),
    (TASKS, "ProcessPool", 1.0, RAYON),
    (TASKS, "ProcessPool", 25.0, "Python Pool"),
    (TASKS, "ProcessPool", 40.0, "procspawn"),
    (TASKS, "ThreadPool", 1.0, RAYON),
];

/// The figure, ours, at most which ratio, to what.
const AT_MOST: &[(&str, &str, f64, &str)] = &[
    (START, "ForkServer", 0.75, BARE_FORK),
    (START, "Spawn", 1.1, "Command of itself"),
    (START, "Fork", 1.15, "bare fork + pipe"),
    ("start, 1 GiB heap", "ForkServer", 1.1, "ForkServer, small parent"),
    ("start, 1 GiB heap", "ForkServer", 1.0 / 150.0, BARE_FORK),
    ("start, 8 threads", "ForkServer", 1.1, "ForkServer, small parent"),
    (BUSY, "Queue", 1.3, RING),
    (BUSY, "Connection", 1.3, RING),
    (ASLEEP, "Queue", 1.15, "raw futex"),
    (ASLEEP, "Connection", 1.3, "raw futex"),
    // The spin costs no time where the other side shares the processor, and none of a processor where it is slow.
    (ONE_CPU, "Queue", 1.1, "raw futex"),
    (ONE_CPU, "Connection", 1.1, "raw futex"),
    (CPU, "Queue", 1.2, "raw futex"),
    (CPU, "Connection", 1.2, "raw futex"),
    (ALONE, "Lock", 1.2, PARKING_LOT),
    (ALONE, "thread::Lock", 1.05, PARKING_LOT),
    (ALONE, "RLock", 1.3, "Lock"),
    ("lock, wake", "Semaphore", 1.05, "raw futex"),
    ("pool, round trip, asleep", "ProcessPool", 1.2, "raw futex"),
    (MAP, "ProcessPool", 1.0, "rayon par_iter"),
    (MAP, "ThreadPool", 1.0, "rayon par_iter"),
    (WORDS, "ProcessPool", 1.03, "ThreadPool"),
    (WORDS, "ProcessPool", 0.12, "Python Pool"),
    ("tls, one access", "Local", 1.1, "thread_local crate"),
];

/// The figure, ours, at least which value.
const FLOORS: &[(&str, &str, f64)] = &[
    ("lock, share of the weaker of two", "Lock", 0.35),
    ("pool, tasks of 5 µs", "ProcessPool", 0.9),
    ("pool, tasks of 10 µs", "ProcessPool", 0.95),
    ("pool, tasks of 50 µs", "ProcessPool", 0.97),
    ("pool, tasks of 200 µs", "ProcessPool", 0.98),
];

/// The figure, ours, at most which value.
const CEILINGS: &[(&str, &str, f64)] = &[
    ("pool, round trip, busy", "ProcessPool", 2.0),
    // None: but a machine that others use may once have run somebody else in between.
    ("wake-ups of 64 idle workers", "ProcessPool", 0.5),
    ("memory of an idle worker", "ProcessPool", 48.0),
    ("memory of an idle queue", "Queue", 128.0),
    ("descriptors of a queue", "Queue", 1.0),
];

/// All of them, each with the name of its figure.
pub fn all() -> impl Iterator<Item = (&'static str, Target)> {
    let of_cases = [(AT_MOST, false), (AT_LEAST, true)].into_iter().flat_map(|(table, is_floor)| {
        table.iter().map(move |&(figure, ours, ratio, case)| {
            (figure, Target { ours: ours.into(), against: Against::Case(case.into()), ratio, is_floor })
        })
    });
    let of_values = [(FLOORS, true), (CEILINGS, false)].into_iter().flat_map(|(table, is_floor)| {
        table.iter().map(move |&(figure, ours, value)| {
            (figure, Target { ours: ours.into(), against: Against::Constant(value), ratio: 1.0, is_floor })
        })
    });
    of_cases.chain(of_values)
}

/// Those of the figure of that name.
pub fn of(figure: &str) -> Vec<Target> {
    all().filter(|(name, _)| *name == figure).map(|(_, target)| target).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures;

    #[test]
    fn each_has_a_figure_that_is_in_every_run() {
        let plans = figures::all();
        for (figure, target) in all() {
            let plan = plans.iter().find(|plan| plan.name == figure);
            assert!(plan.is_some_and(|plan| !plan.is_for_thorough), "no figure {figure:?} for {target:?}");
        }
    }
}
