//! Which workers are of one pool.

use pool::inspect::BoardView;

use crate::model::{BoardRow, PoolRow, WorkerRow};

/// Groups workers by their owner, and by the event counter that a pool has in common with its workers.
pub(crate) fn group<'a>(
    workers: Vec<(WorkerRow, (u32, Vec<u64>))>,
    events_of: impl Fn(u32) -> &'a [u64],
) -> Vec<PoolRow> {
    let mut pools: Vec<(u64, PoolRow)> = Vec::new();
    for (worker, (owner, events)) in workers {
        let bell = events.into_iter().filter(|event| events_of(owner).contains(event)).min().unwrap_or(0);
        let n_ready = u64::from(worker.n_ready);
        match pools.iter_mut().find(|(of, pool)| *of == bell && pool.owner == owner) {
            Some((_, pool)) => {
                pool.n_given += n_ready;
                pool.workers.push(worker);
            }
            None => {
                // A worker is called after its pool and its seat.
                let name = worker.name.rsplit_once('-').map_or(worker.name.as_str(), |(pool, _)| pool).to_owned();
                let pool = PoolRow {
                    owner,
                    name,
                    workers: vec![worker],
                    n_given: n_ready,
                    done_per_second: None,
                    board: None,
                    n_gone: 0,
                    n_come: 0,
                };
                pools.push((bell, pool));
            }
        }
    }
    pools
        .into_iter()
        .map(|(_, mut pool)| {
            pool.workers.sort_by(|a, b| a.name.len().cmp(&b.name.len()).then_with(|| a.name.cmp(&b.name)));
            pool
        })
        .collect()
}

/// Gives each pool what it shows of itself: the board of its owner that names one of its workers, or the only one.
/// `boards`: those that an owner has, with the pids of some of the workers.
pub(crate) fn add_boards(pools: &mut [PoolRow], boards: impl Fn(u32) -> Vec<(BoardView, Vec<u32>)>) {
    for pool in pools {
        let boards = boards(pool.owner);
        let names_one =
            |(_, pids): &&(BoardView, Vec<u32>)| pool.workers.iter().any(|worker| pids.contains(&worker.pid));
        let board = boards.iter().find(names_one).or_else(|| boards.first().filter(|_| boards.len() == 1));
        pool.board = board.map(|(board, _)| BoardRow {
            n_waiting: board.n_waiting,
            n_done: board.n_done,
            n_failed: board.n_failed,
            retried: board.retried,
            restarts: board.restarts,
            n_wanted: board.n_wanted,
            n_deaths: board.n_deaths,
            deaths: board.deaths.iter().map(|death| (death.pid, death.text.clone())).collect(),
        });
    }
}
