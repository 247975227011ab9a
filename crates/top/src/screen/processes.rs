//! The tree of processes.

use std::cmp::Reverse;

use super::{Mood, Row, format};
use crate::{
    app::App,
    model::{ProcessRow, Snapshot},
};

pub(super) fn rows(snapshot: &Snapshot, app: &App) -> Vec<Row> {
    let mut processes: Vec<&ProcessRow> = snapshot.processes.iter().collect();
    let is_tree = app.order() == "tree";
    match app.order() {
        "cpu" => processes.sort_by(|a, b| b.cpu_percent.unwrap_or(0.0).total_cmp(&a.cpu_percent.unwrap_or(0.0))),
        "memory" => processes.sort_by_key(|row| Reverse(row.private_bytes)),
        "age" => processes.sort_by_key(|row| row.age_ms),
        _ => {}
    }
    let mut rows =
        vec![Row::heading("    PID NAME                ROLE        STATE     CPU% PRIVATE SHARED    AGE THR")];
    rows.extend(processes.into_iter().map(|process| row(process, is_tree)));
    rows
}

fn row(process: &ProcessRow, is_tree: bool) -> Row {
    let indent = if is_tree { "  ".repeat(usize::from(process.depth).min(5)) } else { String::new() };
    let (state, mood) = match process.state {
        'R' => ("running", Mood::Busy),
        'S' => ("sleeps", Mood::Plain),
        'D' => ("disk", Mood::Plain),
        'T' => ("STOPPED", Mood::Alarm),
        't' => ("TRACED", Mood::Alarm),
        'Z' => ("DEAD", Mood::Alarm),
        _ => ("other", Mood::Plain),
    };
    let mut text = format!(
        "{:>7} {} {} {} {:>5} {:>7} {:>6} {:>6} {:>3}",
        process.pid,
        format::cut(&format!("{indent}{}", process.name), 19),
        format::cut(process.role.name(), 11),
        format::cut(state, 8),
        process.cpu_percent.map_or("-".into(), |percent| format!("{percent:.0}")),
        format::bytes(process.private_bytes),
        format::bytes(process.shared_bytes),
        format::time(process.age_ms),
        process.threads.len(),
    );
    if let Some(hidden) = &process.hidden {
        text.push_str("  ");
        text.push_str(hidden);
    }
    Row::new(text, mood)
}
