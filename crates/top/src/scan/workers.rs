//! The workers of pools: which process works at which lane, and at what.

use lane::inspect::RunningView;

use super::{Member, Segments};
use crate::{
    model::{Seen, TaskRow, WorkerRow},
    process::MemoryFile,
    segment::Content,
    symbols::Programs,
};

/// The workers of all pools, and the event counters that they have: those of a pool share one with its owner.
pub(super) fn workers(
    members: &[Member],
    segments: &Segments,
    mut programs: Option<&mut Programs>,
) -> Vec<(WorkerRow, (u32, Vec<u64>))> {
    let mut workers = Vec::new();
    for (id, (_, segment, holders)) in segments {
        let Content::Lane(lane) = &segment.content else { continue };
        // The owner has it, too; and so have children that the owner forked, with all else that it has.
        let both = members.iter().filter(|it| holders.contains(&it.row.pid) && holders.contains(&it.row.parent));
        let worker = both.min_by_key(|member| {
            let n_lanes = member.open.memory.iter().filter(|memory| is_lane(segments, memory)).count();
            (n_lanes, member.open.memory.len())
        });
        let Some(worker) = worker else { continue };
        let pid = worker.row.pid;
        let task = lane.running.as_ref().map(|running| {
            let name = |programs: &mut &mut Programs| task_name(worker, running, programs);
            let function = programs.as_mut().map(name).unwrap_or_default();
            TaskRow { number: running.number, function, n_items: running.n_items, seen: Seen::default() }
        });
        let row = WorkerRow {
            pid,
            lane: *id,
            name: worker.row.name.clone(),
            is_asleep: lane.is_asleep,
            n_ready: lane.n_ready,
            n_over: lane.n_over.wrapping_add(lane.n_done.into()),
            task,
        };
        workers.push((row, (worker.row.parent, worker.open.events.clone())));
    }
    workers
}

/// What a worker's task calls.
fn task_name(worker: &Member, running: &RunningView, programs: &mut Programs) -> String {
    let begin = match running.spilled_at {
        None => Some(running.begin),
        Some(at) => {
            let spill = worker.open.memory.iter().find(|memory| memory.name == "lane-spill");
            spill.and_then(|memory| lane::inspect::spilled(&memory.open().ok()?, at).ok())
        }
    };
    let Some(begin) = begin else { return "(its arguments cannot be read)".into() };
    let (offset, is_initializer) = pool::inspect::function_of(running.tag, begin);
    let name = programs.of(worker.row.pid).map(|symbols| symbols.name(offset)).unwrap_or_default();
    if is_initializer { format!("initializer {name}") } else { name }
}

fn is_lane(segments: &Segments, memory: &MemoryFile) -> bool {
    segments.get(&memory.inode).is_some_and(|(_, segment, _)| matches!(segment.content, Content::Lane(_)))
}
