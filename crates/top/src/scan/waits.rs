//! Which thread waits, for what, and for whom.

use ipc::inspect::Bed;
use sync::process::inspect::Kind;

use super::{Member, Segments};
use crate::{
    ids::Ids,
    model::{For, Role, Seen, WaitRow},
    process::{Mapped, MemoryFile, Place},
    segment::{Content, Segment},
};

pub(super) fn waits(members: &[Member], segments: &Segments, ids: &Ids) -> Vec<WaitRow> {
    let mut waits = Vec::new();
    for member in members {
        let is_asleep = member.places.iter().any(|place| matches!(place, Place::Futex(_)));
        let mapped = if is_asleep { Mapped::of(member.row.pid) } else { Mapped::default() };
        for (thread, place) in member.row.threads.iter().zip(&member.places) {
            let row = |r#for, id, offset, what: String, any| WaitRow {
                pid: member.row.pid,
                tid: thread.tid,
                name: ids.name(thread.tid).unwrap_or_default().into(),
                r#for,
                id,
                offset,
                what,
                holder: None,
                any,
                is_assumed: false,
                seen: Seen::default(),
            };
            match place {
                Place::Futex(address) => {
                    let Some((id, offset)) = mapped.find(*address) else { continue };
                    let Some((memory, segment, holders)) = segments.get(&id) else { continue };
                    let (r#for, what, holder) = meaning(id, offset, memory, segment);
                    let others = holders.iter().copied().filter(|pid| *pid != member.row.pid).collect();
                    let mut row = row(r#for, id, offset, what, others);
                    row.holder = holder.map(|tid| ids.holder(tid, holders));
                    waits.push(row);
                }
                Place::Descriptor | Place::Packet => {
                    let ends: Vec<u32> = if member.open.watched.is_empty() {
                        let children = members.iter().filter(|other| other.row.parent == member.row.pid);
                        children.map(|child| child.row.pid).collect()
                    } else {
                        member.open.watched.clone()
                    };
                    if let Some((r#for, id, holders)) = pipe_of(member.row.pid, segments, ids) {
                        let others = holders.iter().copied().filter(|pid| *pid != member.row.pid).collect();
                        waits.push(row(r#for, id, 0, format!("pipe:{id}"), others));
                    } else if *place == Place::Descriptor
                        && thread.tid == member.row.pid
                        && !ends.is_empty()
                        && member.row.role != Role::Spare
                    {
                        let ends: Vec<u32> = ends.into_iter().filter(|pid| !is_helper(members, *pid)).collect();
                        if !ends.is_empty() {
                            waits.push(row(For::End, 0, u64::from(thread.tid), "one of its children".into(), ends));
                        }
                    }
                }
                Place::Elsewhere | Place::Unknown => {}
            }
        }
    }
    waits
}

/// The pipe at which a process sleeps, and what for.
fn pipe_of<'a>(pid: u32, segments: &'a Segments, ids: &Ids) -> Option<(For, u64, &'a [u32])> {
    segments.iter().find_map(|(id, (_, segment, holders))| {
        let Content::Pipe(rings) = &segment.content else { return None };
        let is_me = |of: Option<u32>| of.and_then(|of| ids.outer(of, holders)) == Some(pid);
        let r#for = rings.iter().find_map(|ring| match () {
            () if is_me(ring.sleeping_reader) => Some(For::PipeMessage),
            () if ring.has_sleeping_writer && is_me(ring.writer) => Some(For::PipeRoom),
            () => None,
        })?;
        Some((r#for, *id, holders.as_slice()))
    })
}

fn is_helper(members: &[Member], pid: u32) -> bool {
    members.iter().any(|member| member.row.pid == pid && matches!(member.row.role, Role::ForkServer | Role::Spare))
}

/// What it means to sleep at a word of some memory; and the thread that holds it, if it is a lock.
fn meaning(id: u64, offset: u64, memory: &MemoryFile, segment: &Segment) -> (For, String, Option<u32>) {
    let holder = || sync::process::inspect::holder_at(&memory.open().ok()?, offset);
    match &segment.content {
        Content::Queue(_) => {
            let r#for = match ipc::inspect::bed_at(offset) {
                Some(Bed::Items) => For::Message,
                Some(Bed::Space) => For::Room,
                Some(Bed::Done) => For::ItemDone,
                None => For::Word,
            };
            (r#for, format!("queue:{id}"), None)
        }
        Content::Lane(_) if offset == lane::inspect::ASLEEP_AT => (For::Task, format!("lane:{id}"), None),
        Content::Lock(kind, _) => {
            let (r#for, name) = match kind {
                Kind::Lock => (For::Lock, "lock"),
                Kind::RLock => (For::Lock, "rlock"),
                Kind::RwLock => (For::Lock, "rwlock"),
                Kind::Semaphore => (For::Permit, "semaphore"),
                Kind::Event => (For::Event, "event"),
                Kind::Condvar => (For::Notification, "condvar"),
                Kind::Barrier => (For::Parties, "barrier"),
            };
            let holder = if r#for == For::Lock { holder() } else { None };
            (r#for, format!("{name}:{id}"), holder)
        }
        Content::Value(shared) => {
            let holder = holder();
            let r#for = if holder.is_some() { For::Lock } else { For::Word };
            (r#for, format!("{} in {}:{id}", if holder.is_some() { "a lock" } else { "a word" }, shared.label), holder)
        }
        _ => {
            let holder = holder();
            (if holder.is_some() { For::Lock } else { For::Word }, format!("memory:{id}+{offset}"), holder)
        }
    }
}
