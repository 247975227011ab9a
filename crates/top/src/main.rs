//! Shows what a running program that is built on these crates is doing, from outside.
//!
//! ```text
//! cargo run --release -p top -- wordcount        # by name, or by pid
//! top 4711 --json                                # one look, as JSON
//! ```
//!
//! The program has not prepared anything for it. Its shared memory is anonymous files, which are found by their names
//! under `/proc/PID/fd`, opened read-only and copied from: nothing is written, locked, traced or stopped, and a hole in a
//! file is not given a page. What is read is believed in nothing: what contradicts itself is shown as garbled.
#![forbid(unsafe_code)]

mod graph;
mod history;
mod model;
mod pools;
mod process;
mod scan;
mod segment;
mod symbols;
#[cfg(test)]
mod testing;

use std::{io::Write, process::ExitCode, time::Duration};

use clap::{Arg, ArgAction, Command, value_parser};

use self::{history::History, model::Snapshot, scan::ScanError, symbols::Programs};

/// Repeated looks at one program.
struct Looks {
    root: u32,
    programs: Programs,
    history: History,
}

impl Looks {
    fn next(&mut self) -> Result<Snapshot, ScanError> {
        let mut snapshot = scan::scan(self.root, &mut self.programs)?;
        self.history.add(&mut snapshot);
        snapshot.findings = graph::findings(&snapshot);
        Ok(snapshot)
    }
}

fn command() -> Command {
    Command::new("top")
        .about("Shows what a running program that is built on these crates is doing")
        .arg(Arg::new("target").value_name("PID|NAME").required(true))
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Prints one look as JSON"))
        .arg(
            Arg::new("stream")
                .long("stream")
                .action(ArgAction::SetTrue)
                .help("With --json: a look a line, until it ends"),
        )
        .arg(
            Arg::new("interval")
                .long("interval")
                .value_name("MS")
                .default_value("1000")
                .value_parser(value_parser!(u64).range(10..=3_600_000))
                .help("Milliseconds from look to look"),
        )
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = writeln!(std::io::stderr(), "top: {e}");
            ExitCode::FAILURE
        }
    }
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn run() -> Outcome {
    let matches = command().get_matches();
    let target = matches.get_one::<String>("target").expect("it is required");
    let interval = Duration::from_millis(*matches.get_one("interval").expect("it has a default"));
    let root = find(target)?;
    let mut looks = Looks { root, programs: Programs::default(), history: History::default() };
    let mut out = std::io::stdout().lock();
    if matches.get_flag("stream") {
        loop {
            match looks.next() {
                Ok(snapshot) => writeln!(out, "{}", serde_json::to_string(&snapshot)?)?,
                Err(ScanError::Gone) => return Ok(()),
                Err(e) => return Err(e.into()),
            }
            out.flush()?;
            std::thread::sleep(interval);
        }
    }
    // Rates need two looks.
    looks.next()?;
    std::thread::sleep(interval.min(Duration::from_millis(250)));
    writeln!(out, "{}", serde_json::to_string_pretty(&looks.next()?)?)?;
    Ok(())
}

/// The one process that is meant.
fn find(target: &str) -> Result<u32, String> {
    let all = process::all().map_err(|e| format!("cannot read /proc: {e}"))?;
    match process::named(&all, target)[..] {
        [pid] => Ok(pid),
        [] => Err(format!("there is no process {target:?}")),
        ref several => {
            let pids: Vec<String> = several.iter().map(u32::to_string).collect();
            Err(format!("there are several processes {target:?}: {}", pids.join(", ")))
        }
    }
}
