//! Kills processes at every instruction of the operations of this workspace, and judges what the survivors see.
#![deny(unsafe_code)]

mod cast;
mod code;
mod driver;
mod errors;
mod experiment;
mod fault;
mod fifo;
mod film;
mod ledger;
mod mode;
mod operation;
mod ops;
mod pair;
mod ring;
mod stack;
mod stopwatch;
mod storm;
mod table;
mod walk;
mod world;

use std::{
    collections::BTreeMap,
    process::ExitCode,
    time::{Duration, Instant},
};

use driver::Driver;
use experiment::Effort;
use mode::Mode;

const HELP: &str = "\
usage: cargo xtask crash [OPERATION|CRATE] [--mode MODE] [--state STATE] [--full] [--mutants] [--jobs N]

Single-steps a process through each operation and kills it; then other processes must find everything in order.
OPERATION is a part of a name, as in the table; CRATE one of proc-core, sync, ipc, pool. Without --full, a quick
sample.

  kill   SIGKILL after k instructions, for every k
  call   SIGKILL at the entry and exit of each system call, and inside those that block
  fault  nobody is killed: each system call fails once in turn, with each error that it may have
  wake   SIGKILL k instructions after a call that blocked has come back
  wait   as kill, with another process already there that the victim may block
  stop   the victim stands still after k instructions, alive, and goes on later
  snap   one victim; after each instruction a copy of the shared memory is judged
  snap2  from each of these copies a recoverer starts, and is judged after each of its instructions
  pair   two victims stand still at once, for each pair of their instructions or a sample, while a third process
         works; then both go on, in either order, or die

cargo xtask crash storm [--kills N] [--stops N] [--seconds N] [--busy N] kills and stops at random times instead.
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1).peekable();
    if args.next_if_eq("storm").is_some() {
        return storm::run(args);
    }
    match Options::parse(args) {
        Ok(Some(options)) => run(&options),
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

struct Options {
    operation: String,
    mode: Option<Mode>,
    state: Option<String>,
    effort: Effort,
    mutants: bool,
    jobs: usize,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self {
            operation: String::new(),
            mode: None,
            state: None,
            effort: Effort::Quick,
            mutants: false,
            jobs: cpus(),
        };
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--full" => options.effort = Effort::Full,
                "--mutants" => options.mutants = true,
                "--jobs" => {
                    let n = args.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0);
                    options.jobs = n.ok_or("--jobs how many?")?;
                }
                "--state" => options.state = Some(args.next().ok_or("--state what?")?),
                "--mode" => {
                    let name = args.next().ok_or("--mode what?")?;
                    let mode = Mode::ALL.into_iter().find(|mode| mode.name() == name);
                    options.mode = Some(mode.ok_or_else(|| format!("there is no mode {name:?}"))?);
                }
                "--help" | "-h" => return Ok(None),
                flag if flag.starts_with('-') => return Err(format!("there is no option {flag}")),
                operation => options.operation = operation.into(),
            }
        }
        Ok(Some(options))
    }
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

/// A process asks once whether it has one CPU only, and keeps the answer: the victims, who are bound to one now and then,
/// are to have it from here.
fn count_cpus() {
    let _ = ipc::Queue::<u64>::new(1).map(|queue| queue.get_timeout(Duration::from_micros(1)));
}

fn run(options: &Options) -> ExitCode {
    let begun = Instant::now();
    count_cpus();
    let rows = if options.mutants { ops::mutants(&options.operation) } else { ops::like(&options.operation) };
    if options.mutants {
        cast::lose_patience(Duration::from_secs(1));
    }
    let mut table = table::Table::default();
    table.head();
    let experiments = rows
        .iter()
        .flat_map(|row| row.states().iter().map(move |state| (row, *state)))
        .filter(|(_, state)| options.state.as_deref().is_none_or(|only| only == *state))
        .flat_map(|(row, state)| Mode::ALL.map(|mode| (row, state, mode)))
        .filter(|(.., mode)| options.mode.is_none_or(|only| only == *mode));
    let mut waiting = experiments.enumerate();
    let mut at_work = Vec::new();
    let mut over = BTreeMap::new();
    let mut n_printed = 0;
    loop {
        while at_work.len() < options.jobs
            && let Some((i, (row, state, mode))) = waiting.next()
        {
            match Driver::start(&**row, state, mode, options.effort) {
                Ok(driver) => at_work.push((driver, i, (row.name(), state, mode))),
                Err(e) => {
                    eprintln!("cannot start an experiment: {e}");
                    return ExitCode::FAILURE;
                }
            }
        }
        if at_work.is_empty() {
            break;
        }
        let first = driver::first_over(at_work.iter_mut().map(|(driver, ..)| driver));
        let (driver, i, experiment) = at_work.swap_remove(first);
        over.insert(i, (experiment, driver.finish()));
        // In the order of the table, whoever was first.
        while let Some(((operation, state, mode), outcome)) = over.remove(&n_printed) {
            n_printed += 1;
            if let Some((report, time)) = outcome {
                table.line(operation, state, mode, &report, time);
            }
        }
    }
    if n_printed == 0 {
        eprintln!("there is no operation like {:?} in such a state", options.operation);
        return ExitCode::FAILURE;
    }
    table.why_no_snap(rows.iter().map(|row| (row.name(), row.why_no_snap())));
    table.foot(begun.elapsed());
    if table.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
