//! Queues, pipes, and other shared memory.

use std::cmp::Reverse;

use super::{Mood, Row, format};
use crate::{
    app::App,
    model::{For, PipeRow, QueueRow, Snapshot, WaitRow},
};

pub(super) fn rows(snapshot: &Snapshot, app: &App) -> Vec<Row> {
    let mut rows = vec![Row::heading("QUEUE        DEPTH      OF    IN/s   OUT/s HISTORY   MEMORY  BLOCKED")];
    let mut queues: Vec<&QueueRow> = snapshot.queues.iter().collect();
    match app.order() {
        "depth" => queues.sort_by_key(|queue| Reverse(queue.depth)),
        "rate" => queues.sort_by(|a, b| b.put_per_second.unwrap_or(0.0).total_cmp(&a.put_per_second.unwrap_or(0.0))),
        _ => {}
    }
    for queue in queues {
        rows.push(of_queue(queue, snapshot, app));
        rows.extend(leases(queue));
    }
    rows.push(Row::heading("PIPE          BYTES    IN/s   OUT/s  FROM -> TO            BLOCKED"));
    rows.extend(snapshot.pipes.iter().map(|pipe| of_pipe(pipe, snapshot)));
    rows.push(Row::heading("OTHER MEM.   SIZE  WHAT"));
    rows.extend(snapshot.others.iter().map(|other| {
        let mood = if other.is_garbled { Mood::Alarm } else { Mood::Plain };
        let mark = if other.is_garbled { "GARBLED: " } else { "" };
        Row::new(format!("{:<10} {:>6}  {mark}{}", other.id, format::bytes(other.memory_bytes), other.what), mood)
    }));
    rows
}

/// Which threads wait at a queue, and for how long.
fn blocked(queue: &QueueRow, snapshot: &Snapshot) -> String {
    let at = snapshot.waits.iter().filter(|wait| wait.id == queue.id);
    let who = at.filter_map(|wait| {
        let side = match wait.r#for {
            For::Message => "get",
            For::Room => "put",
            For::ItemDone => "join",
            _ => return None,
        };
        Some(format!("{side} {} {}", wait.name, format::seen(wait.seen)))
    });
    let who: Vec<String> = who.collect();
    match queue.sleeps {
        _ if !who.is_empty() => who.join(", "),
        [true, _] => "get: somebody may".into(),
        [_, true] => "put: somebody may".into(),
        _ => String::new(),
    }
}

fn of_queue(queue: &QueueRow, snapshot: &Snapshot, app: &App) -> Row {
    let is_full = queue.capacity.is_some_and(|capacity| queue.depth >= capacity);
    let chart = app.charts.get(&format!("queue:{}", queue.id)).map(|chart| chart.bars(8)).unwrap_or_default();
    let state = match () {
        () if queue.is_closed => "closed ",
        () if is_full => "FULL ",
        () => "",
    };
    let text = format!(
        "{:<10} {:>7} {:>7} {:>7} {:>7} {} {:>7}  {state}{}",
        queue.id,
        queue.depth,
        queue.capacity.map_or("grows".into(), |capacity| capacity.to_string()),
        format::rate(queue.put_per_second),
        format::rate(queue.taken_per_second),
        format::cut(&chart, 8),
        format::bytes(queue.memory_bytes),
        blocked(queue, snapshot),
    );
    Row::new(text, if is_full { Mood::Alarm } else { Mood::Plain })
}

fn leases(queue: &QueueRow) -> Option<Row> {
    if !queue.leases {
        return None;
    }
    let leased: Vec<String> = queue
        .leased
        .iter()
        .map(|(pid, n)| if *pid == 0 { format!("{n} by ?") } else { format!("{n} by {pid}") })
        .collect();
    let leased = if leased.is_empty() { "none".into() } else { leased.join(", ") };
    let mood = if queue.n_dead_letters > 0 { Mood::Alarm } else { Mood::Plain };
    let text = format!(
        "           leased: {leased}; to be taken again: {}; dead letters: {}",
        queue.n_orphans, queue.n_dead_letters
    );
    Some(Row::new(text, mood))
}

fn of_pipe(pipe: &PipeRow, snapshot: &Snapshot) -> Row {
    let who = |pid: Option<u32>| pid.map_or("?".into(), |pid| pid.to_string());
    let blocked = |call: &str, r#for: For, pid: Option<u32>| {
        let is_it = |wait: &&WaitRow| wait.id == pipe.id && wait.r#for == r#for && Some(wait.pid) == pid;
        let wait = snapshot.waits.iter().find(is_it);
        format!("{call} {} {}", who(pid), wait.map(|wait| format::seen(wait.seen)).unwrap_or_default())
    };
    let blocked = match (pipe.sleeping_reader, pipe.has_sleeping_writer) {
        (Some(_), _) => blocked("recv", For::PipeMessage, pipe.sleeping_reader),
        (None, true) => blocked("send", For::PipeRoom, pipe.writer),
        _ => String::new(),
    };
    let direction = if pipe.direction == 0 { "" } else { "'" };
    let text = format!(
        "{:<10} {:>8} {:>7} {:>7}  {} {blocked}",
        format!("{}{direction}", pipe.id),
        format::bytes(pipe.n_bytes),
        format::rate(pipe.in_per_second),
        format::rate(pipe.out_per_second),
        format::cut(&format!("{} -> {}", who(pipe.writer), who(pipe.reader)), 21),
    );
    Row::new(text, Mood::Plain)
}
