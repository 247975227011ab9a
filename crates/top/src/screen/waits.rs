//! Which thread waits for which.

use std::cmp::Reverse;

use super::{Mood, Row, format};
use crate::{
    app::App,
    model::{Snapshot, WaitRow},
};

pub(super) fn rows(snapshot: &Snapshot, app: &App) -> Vec<Row> {
    let mut rows = vec![Row::heading("    TID WHO                   SINCE  WAITS")];
    let mut waits: Vec<&WaitRow> = snapshot.waits.iter().collect();
    if app.order() == "time" {
        waits.sort_by_key(|wait| Reverse(wait.seen.ms));
    }
    rows.extend(waits.into_iter().map(|wait| row(wait, snapshot)));
    rows.extend(snapshot.notes.iter().map(|note| Row::new(format!("note: {note}"), Mood::Quiet)));
    rows
}

fn row(wait: &WaitRow, snapshot: &Snapshot) -> Row {
    let name = |pid: &u32| {
        let process = snapshot.processes.iter().find(|row| row.pid == *pid);
        let mark = process.map_or("", |row| match () {
            () if row.is_stopped() => " STOPPED",
            () if row.is_dead() => " DEAD",
            () => "",
        });
        format!("{} ({pid}){mark}", process.map_or("?", |row| row.name.as_str()))
    };
    let by = match &wait.holder {
        Some(holder) => format!("held by {}", format::holder(holder)),
        None if wait.any.is_empty() => "nobody else in sight has it".into(),
        None => format!("any of: {}", wait.any.iter().map(name).collect::<Vec<_>>().join(", ")),
    };
    let is_told = snapshot.findings.iter().any(|finding| finding.pids.contains(&wait.pid));
    let text = format!(
        "{:>7} {} {:>6}  {} {}; {by}",
        wait.tid,
        format::cut(&wait.name, 20),
        format::seen(wait.seen),
        wait.r#for.text(),
        wait.what,
    );
    Row::new(text, if is_told { Mood::Alarm } else { Mood::Plain })
}
