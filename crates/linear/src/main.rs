//! Records what threads and processes do with a queue, and checks that it is linearizable: that each call can have
//! happened at one moment.
#![forbid(unsafe_code)]

mod check;
mod history;
mod run;
mod work;

use std::{
    collections::BTreeMap,
    io,
    process::ExitCode,
    time::{Duration, Instant},
};

use run::{Outcome, Scope, Setting, run};
use test_support::watchdog;
use work::{Large, Message, Pair, Pattern};

const HELP: &str = "\
usage: cargo xtask linear [--ops N] [--seed N] [--only TEXT]

Makes about N calls (5,400,000 if not given) on queues of several sizes and messages, from threads, from processes, and
from processes that are stopped at random, on all CPUs and on one; and checks that they are linearizable. TEXT is a part
of a line of the table.
";

const CAPACITIES: [usize; 6] = [1, 2, 0, 4, 64, 1024];

/// Calls on one queue: what is checked at once.
const CHUNK: u64 = 100_000;

/// More are counted, not described.
const MAX_DESCRIBED: usize = 3;

struct Options {
    n_calls: u64,
    seed: u64,
    only: String,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self { n_calls: 5_400_000, seed: 1, only: String::new() };
        while let Some(arg) = args.next() {
            let mut number = || args.next().and_then(|n| n.replace('_', "").parse().ok()).ok_or("how many?");
            match arg.as_str() {
                "--ops" => options.n_calls = number()?,
                "--seed" => options.seed = number()?,
                "--only" => options.only = args.next().ok_or("--only what?")?,
                "--help" | "-h" => return Ok(None),
                other => return Err(format!("there is no option {other}")),
            }
        }
        Ok(Some(options))
    }
}

fn main() -> ExitCode {
    match Options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => all(&options).unwrap_or_else(|e| {
            eprintln!("linear: {e}");
            ExitCode::FAILURE
        }),
        Ok(None) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{message}\n\n{HELP}");
            ExitCode::FAILURE
        }
    }
}

type Run = fn(Setting, u64, u64) -> io::Result<Outcome>;

/// One line of the table.
struct Line {
    name: String,
    run: Run,
    setting: Setting,
    sum: Outcome,
    by_kind: BTreeMap<&'static str, u64>,
    time: Duration,
}

fn lines() -> Vec<Line> {
    fn messages<M: Message>() -> Run {
        run::<M>
    }
    let messages = [("u64", messages::<u64>()), ("pair", messages::<Pair>()), ("large", messages::<Large>())];
    let mut lines = Vec::new();
    for scope in Scope::ALL {
        for is_pinned in [false, true] {
            for pattern in Pattern::ALL {
                for (message, run) in messages {
                    let name = format!(
                        "{} {} {} {message}",
                        scope.name(),
                        if is_pinned { "one-cpu" } else { "all-cpus" },
                        pattern.name()
                    );
                    let setting = Setting { scope, is_pinned, pattern, capacity: 0 };
                    let (sum, by_kind, time) = (Outcome::default(), BTreeMap::new(), Duration::ZERO);
                    lines.push(Line { name, run, setting, sum, by_kind, time });
                }
            }
        }
    }
    lines
}

fn all(options: &Options) -> io::Result<ExitCode> {
    let mut lines: Vec<Line> = lines().into_iter().filter(|line| line.name.contains(&options.only)).collect();
    if lines.is_empty() {
        return Err(io::Error::other(format!("no line has {:?} in it", options.only)));
    }
    // Each line at least once, with one capacity after another.
    let n_runs = (options.n_calls / CHUNK).next_multiple_of(lines.len() as u64).max(lines.len() as u64);
    let chunk = (options.n_calls / n_runs).clamp(1000, CHUNK);
    let mut n_described = 0;
    for i in 0..n_runs {
        let n_lines = lines.len();
        let line = &mut lines[i as usize % n_lines];
        let capacity = CAPACITIES[(i as usize + i as usize / n_lines) % CAPACITIES.len()];
        // A queue that is wedged ends the run.
        let _dog = watchdog(Duration::from_secs(600));
        let begun = Instant::now();
        let seed = options.seed.wrapping_mul(0x2545_f491_4f6c_dd1d).wrapping_add(i);
        let outcome = (line.run)(Setting { capacity, ..line.setting }, chunk, seed)?;
        line.time += begun.elapsed();
        for violation in &outcome.violations {
            *line.by_kind.entry(violation.kind()).or_default() += 1;
            if n_described < MAX_DESCRIBED {
                n_described += 1;
                println!("{}, capacity {capacity}, run {i}: {violation}", line.name);
            }
        }
        line.sum.n_calls += outcome.n_calls;
        line.sum.n_empty += outcome.n_empty;
        line.sum.n_full += outcome.n_full;
        line.sum.n_stops += outcome.n_stops;
        line.sum.violations.extend(outcome.violations);
    }
    Ok(print(&lines))
}

fn print(lines: &[Line]) -> ExitCode {
    println!(
        "{:<32} {:>11} {:>10} {:>10} {:>8} {:>10} {:>8}",
        "who, where, how, message", "calls", "empty", "full", "stops", "violations", "time"
    );
    let (mut n_calls, mut n_stops, mut n_bad, mut time) = (0, 0, 0, Duration::ZERO);
    for line in lines {
        let kinds: Vec<String> = line.by_kind.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
        println!(
            "{:<32} {:>11} {:>10} {:>10} {:>8} {:>10} {:>6.1} s  {}",
            line.name,
            line.sum.n_calls,
            line.sum.n_empty,
            line.sum.n_full,
            line.sum.n_stops,
            line.sum.violations.len(),
            line.time.as_secs_f64(),
            kinds.join(", ")
        );
        n_calls += line.sum.n_calls;
        n_stops += line.sum.n_stops;
        n_bad += line.sum.violations.len();
        time += line.time;
    }
    println!("{n_calls} calls, {n_stops} stops, {n_bad} violations, {:.0} s", time.as_secs_f64());
    if n_bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
