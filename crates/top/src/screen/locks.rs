//! Locks and their kin: which threads hold them, which wait.

use std::cmp::Reverse;

use super::{Mood, Row, format};
use crate::{
    app::App,
    model::{LockRow, Snapshot, WaitRow},
};

pub(super) fn rows(snapshot: &Snapshot, app: &App) -> Vec<Row> {
    let mut rows = vec![Row::heading("LOCK       KIND       HELD BY               SINCE TURNS/s WAITING")];
    let waiters = |lock: &LockRow| snapshot.waits.iter().filter(|wait| wait.id == lock.id).collect::<Vec<_>>();
    let mut locks: Vec<(&LockRow, Vec<&WaitRow>)> = snapshot.locks.iter().map(|lock| (lock, waiters(lock))).collect();
    match app.order() {
        "waiters" => locks.sort_by_key(|(_, waiters)| Reverse(waiters.len())),
        "hand-overs" => locks.sort_by_key(|(lock, _)| Reverse(lock.n_turns)),
        _ => {}
    }
    rows.extend(locks.into_iter().flat_map(|(lock, waiters)| of_lock(lock, &waiters)));
    if snapshot.locks.is_empty() {
        rows.push(Row::new(
            "none with memory of its own; locks inside other values show by who waits for them".into(),
            Mood::Quiet,
        ));
    }
    rows
}

/// Columns for who holds a lock; what is longer has a line of its own.
const HELD_COLUMNS: usize = 20;

fn of_lock(lock: &LockRow, waiters: &[&WaitRow]) -> Vec<Row> {
    let held: Vec<String> = lock.holders.iter().map(format::holder).collect();
    let held = match (held.is_empty(), lock.detail.is_empty()) {
        (true, true) => "-".into(),
        (true, false) => lock.detail.clone(),
        (false, true) => held.join(", "),
        (false, false) => format!("{}: {}", lock.detail, held.join(", ")),
    };
    let waiting: Vec<String> =
        waiters.iter().map(|wait| format!("{} {}", format::waiter(wait), format::seen(wait.seen))).collect();
    let waiting = match () {
        () if !waiting.is_empty() => waiting.join(", "),
        () if lock.has_waiters => "somebody may".into(),
        () => String::new(),
    };
    let since = lock.holders.iter().map(|holder| holder.seen).max_by_key(|seen| seen.ms);
    let dead = if lock.is_inconsistent { "HOLDER DIED " } else { "" };
    let text = format!(
        "{:<10} {} {} {:>6} {:>7} {dead}{waiting}",
        lock.id,
        format::cut(&lock.kind, 10),
        format::cut(&held, HELD_COLUMNS),
        since.map_or("-".into(), format::seen),
        format::rate(lock.turns_per_second),
    );
    let mood = if lock.is_inconsistent { Mood::Alarm } else { Mood::Plain };
    let is_long = held.chars().count() > HELD_COLUMNS;
    let more = is_long.then(|| Row::new(format!("           held by {held}"), mood));
    [Row::new(text, mood)].into_iter().chain(more).collect()
}
