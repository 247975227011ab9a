//! Which workers are of one pool.

use crate::model::{PoolRow, WorkerRow};

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
