//! The scoreboard: what the workspace promises, each promise as a figure, beside its target and its peers.
#![deny(unsafe_code)]

mod clock;
mod emulated;
mod hostile;
mod leaks;
mod ours;
mod parts;
mod random;
mod record;
mod row;
mod rows;
mod safety;
mod subject;
mod table;
mod trials;
mod words;

use std::{process::ExitCode, time::Instant};

use row::{Effort, Found, Plan, Verdict};

const HELP: &str = "\
usage: cargo xtask score [--full] [--row N]... [--peers] [--json]

Measures each promise, and prints a table: figure, ours, target, peer. It fails if a row misses its target.

  --full   everything, with an hour of kills; the results are kept in crates/score/last.tsv. Without it: what fits in
           three minutes
  --row N  only this row; again for more
  --peers  the same driver against Python's multiprocessing, ProcessPoolExecutor, loky and pebble
  --json   one object a row

Below the table are the last runs of `cargo xtask aarch64`.
";

fn main() -> ExitCode {
    let mut plan = Plan { effort: Effort::Short, with_peers: false };
    let (mut only, mut as_json) = (Vec::new(), false);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--full" => plan.effort = Effort::Full,
            "--peers" => plan.with_peers = true,
            "--json" => as_json = true,
            "--row" => match args.next().and_then(|n| n.parse().ok()).filter(|n| (1..=16).contains(n)) {
                Some(n) => only.push(n),
                None => return usage("--row N, from 1 to 16"),
            },
            "--help" | "-h" => {
                print!("{HELP}");
                return ExitCode::SUCCESS;
            }
            other => return usage(&format!("there is no option {other}")),
        }
    }
    let mut lines = Vec::new();
    for row in rows::ROWS.iter().filter(|row| only.is_empty() || only.contains(&row.number)) {
        eprintln!("==> row {}: {}", row.number, row.figure);
        let begun = Instant::now();
        let found = (row.measure)(plan).unwrap_or_else(Found::missed);
        eprintln!("    row {}: {:.1} s", row.number, begun.elapsed().as_secs_f64());
        lines.push(table::Line { row, found });
    }
    if plan.effort == Effort::Full
        && let Err(e) = record::keep(&lines)
    {
        eprintln!("the results cannot be kept: {e}");
    }
    let last = record::last();
    // No row is about them.
    let emulated = if only.is_empty() { emulated::last() } else { Vec::new() };
    if as_json {
        print!("{}{}", table::json(&lines, &last), emulated::json(&emulated));
    } else {
        print!("{}{}", table::text(&lines, &last), emulated::text(&emulated));
    }
    let missed = lines.iter().filter(|line| line.found.verdict == Verdict::Missed).count();
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn usage(why: &str) -> ExitCode {
    eprintln!("{why}\n\n{HELP}");
    ExitCode::FAILURE
}
