//! Pools, their workers, and what each runs.

use std::cmp::Reverse;

use super::{Mood, Row, format};
use crate::{
    app::App,
    model::{PoolRow, Snapshot, WorkerRow},
};

pub(super) fn rows(snapshot: &Snapshot, app: &App) -> Vec<Row> {
    if snapshot.pools.is_empty() {
        return vec![Row::heading("no pool of processes in sight")];
    }
    snapshot.pools.iter().flat_map(|pool| of_pool(pool, app)).collect()
}

fn of_pool(pool: &PoolRow, app: &App) -> Vec<Row> {
    let n_busy = pool.workers.iter().filter(|worker| worker.task.is_some()).count();
    let chart = app.charts.get(&format!("pool:{}:{}", pool.owner, pool.name)).map(|chart| chart.bars(12));
    let mut rows = vec![
        Row::heading(format!(
            "pool {} of {}: {} workers, {n_busy} busy, {}/s {}",
            pool.name,
            pool.owner,
            pool.workers.len(),
            format::rate(pool.done_per_second),
            chart.unwrap_or_default(),
        )),
        Row::heading(counts(pool)),
        Row::heading("    PID WORKER         GIVEN     OVER  SINCE  RUNS"),
    ];
    let mut workers: Vec<&WorkerRow> = pool.workers.iter().collect();
    match app.order() {
        "time" => workers.sort_by_key(|worker| Reverse(worker.task.as_ref().map(|task| task.seen.ms))),
        "tasks" => workers.sort_by_key(|worker| Reverse(worker.n_over)),
        _ => {}
    }
    rows.extend(workers.into_iter().map(row));
    let deaths = pool.board.iter().flat_map(|board| &board.deaths).take(DEATHS);
    rows.extend(deaths.map(|(pid, text)| Row::new(format!("{pid:>7} died: {text}"), Mood::Alarm)));
    rows
}

/// Deaths that are shown of each pool.
const DEATHS: usize = 3;

fn counts(pool: &PoolRow) -> String {
    match &pool.board {
        Some(board) => format!(
            "  queued {} ({} given), done {}, failed {}, retried {}, restarts {}, deaths {}",
            board.n_waiting + pool.n_given,
            pool.n_given,
            board.n_done,
            board.n_failed,
            board.retried,
            board.restarts,
            board.n_deaths,
        ),
        None => format!("  given {}; since the first look {} went, {} came", pool.n_given, pool.n_gone, pool.n_come),
    }
}

fn row(worker: &WorkerRow) -> Row {
    let (since, runs, mood) = match &worker.task {
        Some(task) => {
            let items = task.n_items.map_or(String::new(), |n| format!(" ({n} items)"));
            (format::seen(task.seen), format!("{}{items}", task.function), Mood::Busy)
        }
        None if worker.is_asleep => ("-".into(), "idle".into(), Mood::Quiet),
        None => ("-".into(), "between two tasks".into(), Mood::Plain),
    };
    let text = format!(
        "{:>7} {} {:>5} {:>8} {:>6}  {runs}",
        worker.pid,
        format::cut(&worker.name, 14),
        worker.n_ready,
        worker.n_over,
        since,
    );
    Row::new(text, mood)
}
