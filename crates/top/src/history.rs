//! What only several looks tell: rates, and for how long something has been as it is.

use std::collections::{HashMap, HashSet};

use crate::model::{For, PoolRow, Seen, Snapshot, WaitRow};

/// What earlier looks have seen.
#[derive(Default)]
pub(crate) struct History {
    before: Option<Snapshot>,
    /// The time of the first look.
    first_ms: Option<u64>,
    /// Since when something has been seen as it is now, in milliseconds since 1970.
    since: HashMap<Key, u64>,
    /// Workers that went and came, for each owner and name of a pool.
    workers: HashMap<(u32, String), Workers>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Wait { tid: u32, id: u64, offset: u64 },
    Task { lane: u64, number: u64 },
    Held { id: u64, tid: u32, n_turns: u64 },
}

#[derive(Default)]
struct Workers {
    pids: HashSet<u32>,
    n_gone: u64,
    n_come: u64,
}

impl History {
    /// Adds what earlier looks tell of this one, and remembers it.
    pub(crate) fn add(&mut self, now: &mut Snapshot) {
        let before = self.before.take();
        let ms = before.as_ref().map_or(0, |before| now.at_ms.saturating_sub(before.at_ms));
        if let Some(before) = before.filter(|_| ms > 0) {
            add_rates(&before, now, ms as f64 / 1000.0);
            keep_waits(&before, now);
        }
        for pool in &mut now.pools {
            self.count_workers(pool);
        }
        self.add_durations(now);
        self.before = Some(now.clone());
    }

    fn count_workers(&mut self, pool: &mut PoolRow) {
        let pids: HashSet<u32> = pool.workers.iter().map(|worker| worker.pid).collect();
        let known = self
            .workers
            .entry((pool.owner, pool.name.clone()))
            .or_insert_with(|| Workers { pids: pids.clone(), ..Workers::default() });
        known.n_gone += known.pids.difference(&pids).count() as u64;
        known.n_come += pids.difference(&known.pids).count() as u64;
        known.pids = pids;
        (pool.n_gone, pool.n_come) = (known.n_gone, known.n_come);
    }

    fn add_durations(&mut self, now: &mut Snapshot) {
        let (at_ms, old) = (now.at_ms, std::mem::take(&mut self.since));
        let first_ms = *self.first_ms.get_or_insert(at_ms);
        let mut seen = |key: Key| {
            let since = old.get(&key).copied().unwrap_or(at_ms);
            self.since.insert(key, since);
            Seen { ms: at_ms.saturating_sub(since), is_older: since <= first_ms }
        };
        for wait in &mut now.waits {
            wait.seen = seen(Key::Wait { tid: wait.tid, id: wait.id, offset: wait.offset });
        }
        for worker in now.pools.iter_mut().flat_map(|pool| &mut pool.workers) {
            if let Some(task) = &mut worker.task {
                task.seen = seen(Key::Task { lane: worker.lane, number: task.number });
            }
        }
        for lock in &mut now.locks {
            for holder in &mut lock.holders {
                holder.seen = seen(Key::Held { id: lock.id, tid: holder.tid, n_turns: lock.n_turns });
            }
        }
    }
}

/// Keeps the waits of the look before at queues through which nothing has gone since, once: their threads wake up now and
/// then to look around, and are seen awake then.
fn keep_waits(before: &Snapshot, now: &mut Snapshot) {
    let is_quiet = |id: u64| {
        let counts = |snapshot: &Snapshot| {
            let queue = snapshot.queues.iter().find(|queue| queue.id == id);
            queue.map(|queue| (queue.n_put, queue.n_taken, queue.depth, queue.is_closed))
        };
        counts(before).is_some() && counts(before) == counts(now)
    };
    let has_thread = |tid: u32| now.processes.iter().flat_map(|row| &row.threads).any(|thread| thread.tid == tid);
    let kept = before.waits.iter().filter(|old| {
        let is_of_a_queue = matches!(old.r#for, For::Message | For::Room);
        let is_seen = now.waits.iter().any(|wait| wait.tid == old.tid);
        is_of_a_queue && !old.is_assumed && !is_seen && has_thread(old.tid) && is_quiet(old.id)
    });
    let kept: Vec<WaitRow> = kept.map(|old| WaitRow { is_assumed: true, ..old.clone() }).collect();
    now.waits.extend(kept);
}

fn add_rates(before: &Snapshot, now: &mut Snapshot, seconds: f64) {
    // A count that is smaller than before is of another section, or of a later process.
    let rate = |now: u64, before: u64| now.checked_sub(before).map(|n| n as f64 / seconds);
    for row in &mut now.processes {
        let old = before.processes.iter().find(|old| old.pid == row.pid);
        row.cpu_percent = old.and_then(|old| rate(row.cpu_ms, old.cpu_ms)).map(|ms| ms / 10.0);
    }
    for row in &mut now.queues {
        let Some(old) = before.queues.iter().find(|old| old.id == row.id) else { continue };
        row.put_per_second = rate(row.n_put, old.n_put);
        row.taken_per_second = rate(row.n_taken, old.n_taken);
    }
    for row in &mut now.pipes {
        let same = |old: &&crate::model::PipeRow| old.id == row.id && old.direction == row.direction;
        let Some(old) = before.pipes.iter().find(same) else { continue };
        row.in_per_second = rate(row.tail, old.tail);
        row.out_per_second = rate(row.head, old.head);
    }
    for row in &mut now.locks {
        let Some(old) = before.locks.iter().find(|old| old.id == row.id) else { continue };
        row.turns_per_second = rate(row.n_turns, old.n_turns);
    }
    let old_lanes: HashMap<u64, u64> =
        before.pools.iter().flat_map(|pool| &pool.workers).map(|worker| (worker.lane, worker.n_over)).collect();
    for pool in &mut now.pools {
        let over = pool.workers.iter().map(|worker| {
            // A worker that is new has done all of it since.
            worker.n_over.saturating_sub(old_lanes.get(&worker.lane).copied().unwrap_or(0))
        });
        let is_it = |old: &&PoolRow| old.owner == pool.owner && old.name == pool.name;
        let old = before.pools.iter().find(is_it).and_then(|old| old.board.as_ref());
        pool.done_per_second = match (&pool.board, old) {
            (Some(board), Some(old)) => rate(board.n_done, old.n_done),
            _ => Some(over.sum::<u64>() as f64 / seconds),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_waiter_that_looks_around_still_waits() {
        let mut history = History::default();
        let mut looks = [0, 1, 2].map(|n| Snapshot { at_ms: 1000 + n, ..testing::snapshot() });
        looks[1].waits.clear();
        looks[2].waits.clear();
        looks.iter_mut().for_each(|look| history.add(look));
        assert_eq!((looks[1].waits.len(), looks[1].waits[0].seen.ms), (1, 1));
        assert!(looks[2].waits.is_empty(), "not for good");
        let mut history = History::default();
        let mut looks = [0, 1].map(|n| Snapshot { at_ms: 1000 + n, ..testing::snapshot() });
        looks[1].waits.clear();
        looks[1].queues[0].n_put += 1;
        looks.iter_mut().for_each(|look| history.add(look));
        assert!(looks[1].waits.is_empty(), "it may have been the one that put");
    }

    #[test]
    fn rates_and_durations_need_two_looks() {
        let mut history = History::default();
        let mut first = testing::snapshot();
        history.add(&mut first);
        assert_eq!(first.queues[0].put_per_second, None);
        let mut second = testing::snapshot();
        second.at_ms += 2000;
        second.queues[0].n_put += 10;
        second.pools[0].board.as_mut().unwrap().n_done += 6;
        second.pools[0].workers[1].pid += 1000;
        history.add(&mut second);
        assert_eq!(second.queues[0].put_per_second, Some(5.0));
        assert_eq!(second.pools[0].done_per_second, Some(3.0));
        assert_eq!((second.pools[0].n_gone, second.pools[0].n_come), (1, 1));
        assert_eq!(second.waits[0].seen, Seen { ms: 2000, is_older: true });
        let mut third = testing::snapshot();
        third.at_ms += 3000;
        third.waits[0].offset += 1;
        history.add(&mut third);
        assert_eq!(third.waits[0].seen, Seen::default(), "another wait, which began since the look before");
        assert_eq!(third.queues[0].put_per_second, None, "fewer than before: another section");
    }
}
