//! Reads a queue from outside: how full it is, and which process has what of it.

use std::mem::offset_of;

use kernel::{
    liveness::Participant,
    shm::inspect::{Copied, Source, Unreadable},
};

use super::{
    layout::{CLASSES, Geometry, HEADER_BYTES, Header, Line, MAGIC, PARTICIPANTS, Pool, Record, Slot, VERSION},
    ring::SLEEPERS,
    word::{BlockState, SlotWord},
};

/// What a queue says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueView {
    /// How many messages fit in; `None` if it grows.
    pub capacity: Option<u64>,
    /// How many there are, about: the hints of putters and getters may lag behind.
    pub depth: u64,
    /// How many were put into the section that putters use now. Only differences mean something.
    pub n_put: u64,
    /// How many were taken from the section that takers use now.
    pub n_taken: u64,
    /// Whether nothing will be put any more.
    pub is_closed: bool,
    /// Whether it leases its items.
    pub leases: bool,
    /// Whether there may be sleepers that wait for a message, for room, for an item to be done.
    pub sleeps: [bool; 3],
    /// Pids of the processes that use it, as they see themselves; those that had no need to enter are missing.
    pub users: Vec<u32>,
    /// The pids of the processes that have items on lease, and how many.
    pub leased: Vec<(u32, u64)>,
    /// Items whose taker died or gave them back, which wait for the next one.
    pub n_orphans: u64,
    /// Items that were delivered too often.
    pub n_dead_letters: u64,
    /// There are more records of items than were looked at.
    pub is_partial: bool,
}

/// A word of a queue that its users sleep on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bed {
    /// Until there is a message.
    Items,
    /// Until there is room.
    Space,
    /// Until an item is done.
    Done,
}

/// Which word is at an offset of a queue's file.
pub fn bed_at(offset: u64) -> Option<Bed> {
    let beds = [
        (offset_of!(Header, items), Bed::Items),
        (offset_of!(Header, space), Bed::Space),
        (offset_of!(Header, done), Bed::Done),
    ];
    beds.into_iter().find(|(at, _)| *at as u64 == offset).map(|(_, bed)| bed)
}

/// Records that are looked at, in each class: a look takes some milliseconds at most.
const MAX_RECORDS: usize = 1 << 16;

/// What a file says, if it is a queue.
///
/// # Errors
/// If it is none.
pub fn queue(source: &(impl Source + ?Sized)) -> Result<QueueView, Unreadable> {
    let len = source.len_bytes()?;
    if len < (HEADER_BYTES + PARTICIPANTS * 8) as u64 {
        return Err(Unreadable::Other);
    }
    let header = Copied::of(source, 0, size_of::<Header>())?;
    let version = header.u32(offset_of!(Header, version));
    match header.u64(offset_of!(Header, magic)) {
        MAGIC if version == VERSION => {}
        MAGIC => return Err(Unreadable::Version(version)),
        _ => return Err(Unreadable::Other),
    }
    let [capacity, fitted, max_message] =
        [offset_of!(Header, capacity), offset_of!(Header, fitted), offset_of!(Header, max_message)]
            .map(|at| header.u64(at));
    let geometry = Geometry::new(capacity, fitted, max_message)
        .filter(|geometry| geometry.file_bytes == len)
        .ok_or(Unreadable::Garbled("its header contradicts itself"))?;
    let mut view = QueueView {
        capacity: (!geometry.grows()).then_some(capacity),
        leases: header.u32(offset_of!(Header, leases)) != 0,
        sleeps: [offset_of!(Header, items), offset_of!(Header, space), offset_of!(Header, done)]
            .map(|at| header.u32(at) & SLEEPERS != 0),
        ..QueueView::default()
    };
    add_ring(source, &header, &geometry, &mut view)?;
    let table = Copied::of(source, HEADER_BYTES as u64, PARTICIPANTS * 8)?;
    let user = |index: usize| Participant::from_word(table.u64(index * 8)).map(Participant::pid);
    view.users = (1..PARTICIPANTS).filter_map(user).collect();
    view.users.sort_unstable();
    view.users.dedup();
    if view.leases {
        add_leases(source, &header, &geometry, &user, &mut view)?;
    }
    Ok(view)
}

fn add_ring(
    source: &(impl Source + ?Sized),
    header: &Copied,
    geometry: &Geometry,
    view: &mut QueueView,
) -> Result<(), Unreadable> {
    let ring = geometry.ring;
    let (head, tail) = (header.u64(offset_of!(Header, head)), header.u64(offset_of!(Header, tail)));
    let outside = Unreadable::Garbled("a position lies outside its ring");
    let (Some((lap, slot)), Some((head_lap, head_slot))) = (ring.split(tail), ring.split(head)) else {
        return Err(outside);
    };
    let ((first, len), (head_first, head_len)) = (ring.around(slot), ring.around(head_slot));
    let (len, head_len) = (u64::from(len), u64::from(head_len));
    let put = lap.wrapping_mul(len).wrapping_add(u64::from(slot - first));
    let taken = head_lap.wrapping_mul(head_len).wrapping_add(u64::from(head_slot - head_first));
    (view.n_put, view.n_taken) = (put, taken);
    view.depth = if first == head_first {
        // The two hints were not read at the same moment: the head may have passed the tail meanwhile.
        ring.distance(head, tail).unwrap_or(0).min(len)
    } else {
        let between = u64::from(first).saturating_sub(u64::from(head_first) + head_len);
        let n_looked_at = (head_len as usize).min(MAX_RECORDS);
        view.is_partial |= n_looked_at < head_len as usize;
        let slots = Copied::of(source, geometry.slot_at(head_first), n_looked_at * size_of::<Slot>())?;
        let words = (0..n_looked_at).map(|slot| SlotWord(slots.u64(slot * size_of::<Slot>())));
        put.saturating_add(between).saturating_add(words.filter(|word| !word.is_free()).count() as u64)
    };
    // Beyond what has memory there are zeros: a free slot.
    let word = Copied::of(source, geometry.slot_at(slot), 8)?;
    view.is_closed = SlotWord(word.u64(0)).is_end();
    Ok(())
}

fn add_leases(
    source: &(impl Source + ?Sized),
    header: &Copied,
    geometry: &Geometry,
    user: &impl Fn(usize) -> Option<u32>,
    view: &mut QueueView,
) -> Result<(), Unreadable> {
    for index in 0..CLASSES {
        let class = &geometry.classes[index];
        let pool = offset_of!(Header, pools) + index * size_of::<Line<Pool>>();
        let high = header.u32(pool + offset_of!(Pool, high)).min(class.near) as usize;
        view.is_partial |= high > MAX_RECORDS;
        let high = high.min(MAX_RECORDS);
        let records = Copied::of(source, class.record_at(0), high * size_of::<Record>())?;
        for record in 0..high {
            match BlockState::from_word(records.u64(record * size_of::<Record>())) {
                BlockState::Leased { to, .. } => {
                    let pid = user(usize::from(to.owner.0)).unwrap_or(0);
                    match view.leased.iter_mut().find(|(of, _)| *of == pid) {
                        Some((_, n)) => *n += 1,
                        None => view.leased.push((pid, 1)),
                    }
                }
                BlockState::Orphan { .. } => view.n_orphans += 1,
                BlockState::DeadLetter { .. } => view.n_dead_letters += 1,
                _ => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use kernel::handover;

    use super::*;
    use crate::{JoinableQueue, Queue};

    fn file(queue: &(impl serde::Serialize + serde::de::DeserializeOwned)) -> File {
        File::from(handover::pack_owned_behind(Vec::new(), queue).unwrap().fds.remove(0))
    }

    #[test]
    fn says_how_full_it_is() {
        let few = Queue::<u64>::new(3).unwrap();
        let file = file(&few);
        assert_eq!(queue(&file).unwrap().capacity, Some(3));
        for lap in 0..5 {
            assert_eq!(queue(&file).unwrap().depth, 0, "{lap}");
            few.put(1).unwrap();
            few.put(2).unwrap();
            assert_eq!(queue(&file).unwrap().depth, 2, "{lap}");
            few.get().unwrap();
            few.get().unwrap();
        }
        let view = queue(&file).unwrap();
        assert!(view.n_put > view.depth && view.n_put == view.n_taken && !view.is_closed, "{view:?}");
        few.close();
        assert!(queue(&file).unwrap().is_closed);
    }

    #[test]
    fn counts_across_sections() {
        let grows = Queue::<u64>::new(0).unwrap();
        let file = file(&grows);
        for n in 0..100_000 {
            grows.put(n).unwrap();
        }
        let view = queue(&file).unwrap();
        assert_eq!((view.capacity, view.depth), (None, 100_000));
        for _ in 0..90_000 {
            grows.get().unwrap();
        }
        assert_eq!(queue(&file).unwrap().depth, 10_000);
    }

    #[test]
    fn says_whose_leases_there_are() {
        let items = JoinableQueue::<String>::new(0).unwrap();
        let file = file(&items);
        items.put("one".into()).unwrap();
        items.put("two".into()).unwrap();
        let item = items.get().unwrap();
        let view = queue(&file).unwrap();
        assert_eq!((view.capacity, view.depth, view.leased), (None, 1, vec![(std::process::id(), 1)]));
        item.task_done();
        assert_eq!(queue(&file).unwrap().leased, []);
    }

    #[test]
    fn garbage_is_refused() {
        let few = Queue::<u64>::new(3).unwrap();
        let mut bytes = vec![0; HEADER_BYTES + PARTICIPANTS * 8];
        file(&few).read(0, &mut bytes).unwrap();
        assert!(matches!(queue(&bytes[..]), Err(Unreadable::Garbled(_))));
        bytes[offset_of!(Header, version)] ^= 1;
        assert!(matches!(queue(&bytes[..]), Err(Unreadable::Version(_))));
        bytes[0] ^= 1;
        assert!(matches!(queue(&bytes[..]), Err(Unreadable::Other)));
    }
}
