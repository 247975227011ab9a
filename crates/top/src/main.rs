//! Shows what a running program that is built on these crates is doing, from outside.
//!
//! ```text
//! cargo run --release -p top -- wordcount        # by name, or by pid
//! top 4711 --json                                # one look, as JSON
//! top 4711 --text                                # one look, all screens as text
//! top 4711 --record looks.jsonl                  # to be seen again: top --replay looks.jsonl
//! top 4711 --trace trace.json                    # what the workers run, for Perfetto and chrome://tracing
//! top --replay looks.jsonl --svg looks.svg       # an animated picture
//! ```
//!
//! The program has not prepared anything for it. Its shared memory is anonymous files, which are found by their names
//! under `/proc/PID/fd`, opened read-only and copied from: nothing is written, locked, traced or stopped, and a hole in a
//! file is not given a page. What is read is believed in nothing: what contradicts itself is shown as garbled.
#![forbid(unsafe_code)]

mod app;
mod chart;
mod graph;
mod history;
mod ids;
mod looks;
mod model;
mod pools;
mod process;
mod scan;
mod screen;
mod segment;
mod show;
mod svg;
mod symbols;
#[cfg(test)]
mod testing;
mod trace;

use std::{
    fs::File,
    io::{IsTerminal, Write, stderr, stdout},
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::Duration,
};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use nix::{errno::Errno, sys::signal::kill, unistd::Pid};

use self::{
    app::App,
    looks::{Live, Looks, Replay},
    scan::Root,
};

fn command() -> Command {
    let flag = |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    let file = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("FILE").value_parser(value_parser!(PathBuf)).help(help)
    };
    let number = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("N")
            .default_value(value)
            .value_parser(value_parser!(u64).range(1..=3_600_000))
            .help(help)
    };
    Command::new("top")
        .about("Shows what a running program that is built on these crates is doing")
        .arg(Arg::new("target").value_name("PID|NAME").required_unless_present("replay").help("The program"))
        .arg(flag("json", "Prints one look as JSON").conflicts_with("text"))
        .arg(flag("text", "Prints one look as text: all screens"))
        .arg(flag("stream", "Prints a look a line, as JSON, until the program ends"))
        .arg(file("record", "Writes each look to a new file"))
        .arg(file("replay", "Shows looks that were recorded").conflicts_with_all(["target", "record", "trace"]))
        .arg(file("trace", "Writes what workers run to a new file that Perfetto and chrome://tracing open"))
        .arg(
            file("svg", "Draws the screens, one after another, as an animated picture in a new file")
                .conflicts_with_all(["json", "text", "stream", "trace"]),
        )
        .arg(number("seconds", "10", "How long to trace, or to draw"))
        .arg(number("interval", "1000", "Milliseconds from look to look"))
        .arg(number("width", "80", "Columns of the text").value_parser(value_parser!(u64).range(20..=1000)))
}

fn main() -> ExitCode {
    match run(&command().get_matches()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            // It may quote from a recording.
            let _ = writeln!(stderr(), "top: {}", process::printable(&e.to_string()));
            ExitCode::FAILURE
        }
    }
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn run(matches: &ArgMatches) -> Outcome {
    let file = |name| matches.get_one::<PathBuf>(name);
    let number = |name| *matches.get_one::<u64>(name).expect("it has a default");
    if let (Some(path), Some(target)) = (file("trace"), matches.get_one::<String>("target")) {
        let n_slices = trace::trace(find(target)?, path, Duration::from_secs(number("seconds")), TRACE_PAUSE)?;
        return Ok(writeln!(stdout(), "{n_slices} tasks in {}", path.display())?);
    }
    let is_for_eyes = file("svg").is_none() && !["stream", "json", "text"].iter().any(|flag| matches.get_flag(flag));
    if is_for_eyes && !stdout().is_terminal() {
        // Before a file is made for a recording.
        return Err("this is no terminal: --text, --json and --stream need none".into());
    }
    let mut looks: Box<dyn Looks> = match (file("replay"), matches.get_one::<String>("target")) {
        (Some(path), _) => Box::new(Replay::open(path).map_err(|e| format!("cannot open {}: {e}", path.display()))?),
        (None, target) => {
            let root = find(target.expect("it is required without a recording"))?;
            let mut live = Live::new(root, Duration::from_millis(number("interval")));
            if let Some(path) = file("record") {
                live.record(path).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
            }
            Box::new(live)
        }
    };
    if matches.get_flag("stream") {
        return stream(&mut *looks);
    }
    let has_colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if let Some(path) = file("svg") {
        let mut out = new_file(path)?;
        let is_live = file("replay").is_none();
        let n_looks = svg::draw(&mut *looks, is_live, Duration::from_secs(number("seconds")), has_colours, &mut out)?;
        return Ok(writeln!(stdout(), "{n_looks} looks in {}", path.display())?);
    }
    if is_for_eyes {
        return show::on_terminal(&mut *looks, has_colours);
    }
    let mut app = App::new(false);
    // Rates need two looks, and a finding a wait that was seen twice: in one look of three it may be missed.
    for n in 1..=LOOKS {
        let Some(look) = looks.next()? else { break };
        app.look(look);
        if n < LOOKS {
            thread::sleep(looks.pause().min(AT_MOST));
        }
    }
    let mut out = stdout().lock();
    match &app.shown {
        None => Err(looks.end().into()),
        Some(look) if matches.get_flag("json") => Ok(writeln!(out, "{}", serde_json::to_string_pretty(look)?)?),
        Some(_) => Ok(show::as_text(&mut app, u16::try_from(number("width"))?, &mut out)?),
    }
}

fn new_file(path: &Path) -> Result<File, String> {
    File::create_new(path).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

/// Between two looks of a trace.
const TRACE_PAUSE: Duration = Duration::from_millis(1);

/// How many looks one answer needs.
const LOOKS: usize = 3;

/// Between two of those, at most.
const AT_MOST: Duration = Duration::from_millis(125);

fn stream(looks: &mut dyn Looks) -> Outcome {
    let mut out = stdout().lock();
    while let Some(look) = looks.next()? {
        writeln!(out, "{}", serde_json::to_string(&look)?)?;
        out.flush()?;
        thread::sleep(looks.pause());
    }
    Ok(())
}

/// Whether there is such a process, though `/proc` does not show it.
fn is_hidden(pid: &str) -> bool {
    // Nothing is sent: whether it may be signalled is said, and whether it is there.
    pid.parse().is_ok_and(|pid: i32| pid > 0 && kill(Pid::from_raw(pid), None) == Err(Errno::EPERM))
}

/// The one process that is meant.
fn find(target: &str) -> Result<Root, String> {
    let all = process::all().map_err(|e| format!("cannot read /proc: {e}"))?;
    match process::named(&all, target)[..] {
        [pid] => Ok(Root { pid, start: all[&pid].start }),
        [] if is_hidden(target) => Err(format!(
            "process {target} is another user's, and this host's /proc hides those (hidepid): run top as its user, or as root"
        )),
        [] => Err(format!("there is no process {target:?}")),
        ref several => {
            let pids: Vec<String> = several.iter().map(u32::to_string).collect();
            Err(format!("there are several processes {target:?}: {}", pids.join(", ")))
        }
    }
}
