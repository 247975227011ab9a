//! Reads a lane from outside: what its worker runs, and how much waits for it.

use std::mem::offset_of;

use kernel::shm::inspect::{Copied, Source, Unreadable};

use crate::{
    layout::{Buffer, Layout, MAGIC, N_BUFFERS, N_SLOTS, Slot, is_spilled},
    machine::{phase, split},
    spill::Place,
};

/// What a lane says. The tasks in it are numbered from 0; `number` of [`RunningView`] is that of the one that runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneView {
    /// Tasks that the worker has not begun.
    pub n_ready: u32,
    /// Tasks that have ended, and whose results the owner has not taken.
    pub n_done: u32,
    /// How often a slot became free again: tasks that are over, and tasks that were taken back.
    pub n_over: u64,
    /// Whether the worker sleeps, or is about to.
    pub is_asleep: bool,
    /// Whether the worker is to leave.
    pub is_to_stop: bool,
    /// The task that it runs.
    pub running: Option<RunningView>,
}

/// A task that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningView {
    /// No other task of this lane has the same.
    pub number: u64,
    /// The owner's remark.
    pub tag: u32,
    /// The first two words of its payload, if it lies in the slot.
    pub begin: [u64; 2],
    /// Where it lies in the lane's other file, if it does not.
    pub spilled_at: Option<u64>,
    /// Of a task on many items, those whose results are published. Counted from the item it was given to begin with.
    pub n_items: Option<u32>,
}

/// The first two words of a payload that lies in the lane's other file.
///
/// # Errors
/// If it cannot be read there.
pub fn spilled(source: &(impl Source + ?Sized), at: u64) -> Result<[u64; 2], Unreadable> {
    let copied = Copied::of(source, at, 16)?;
    Ok([copied.u64(0), copied.u64(8)])
}

/// The number of the first task that has not ended: where to begin with [`step`].
///
/// # Errors
/// If the memory cannot be read.
pub fn first_unended(source: &(impl Source + ?Sized)) -> Result<u64, Unreadable> {
    let copied = Copied::of(source, 0, offset_of!(Layout, buffers))?;
    let number = |index: usize| {
        let at = offset_of!(Layout, slots) + index * size_of::<Slot>();
        let (lap, phase) = split(copied.u64(at + offset_of!(Slot, word)));
        let lap = lap.saturating_add(u64::from(phase == phase::DONE));
        lap.saturating_mul(N_SLOTS as u64).saturating_add(index as u64)
    };
    Ok((0..N_SLOTS).map(number).min().unwrap_or(0))
}

/// Where a worker is, seen again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Tasks that have ended, or were taken back, since the look before: their results may still be there.
    pub n_passed: u64,
    /// The task that it runs.
    pub running: Option<RunningView>,
    /// Where to go on from.
    pub next: u64,
}

/// Looks where a worker is that was not beyond task `from` before: one short read, and one more for each task since.
///
/// # Errors
/// If the memory cannot be read; `Garbled` if the worker is nowhere in its lane.
pub fn step(source: &(impl Source + ?Sized), from: u64) -> Result<Step, Unreadable> {
    for number in from..from.saturating_add(2 * N_SLOTS as u64) {
        let index = (number % N_SLOTS as u64) as usize;
        let slot = offset_of!(Layout, slots) + index * size_of::<Slot>();
        let copied = Copied::of(source, slot as u64, offset_of!(Slot, payload) + 16)?;
        let (lap, phase) = split(copied.u64(offset_of!(Slot, word)));
        let my_lap = number / N_SLOTS as u64;
        let running = match phase {
            _ if lap > my_lap => continue,
            phase::DONE if lap == my_lap => continue,
            phase::TAKEN if lap == my_lap => Some(running(source, &copied, 0, lap, index)),
            _ => None,
        };
        return Ok(Step { n_passed: number - from, running, next: number });
    }
    Err(Unreadable::Garbled("its worker is nowhere"))
}

/// The word that the worker sleeps on.
pub const ASLEEP_AT: u64 = offset_of!(Layout, sleep.asleep) as u64;

/// What a block of memory says, if it is a lane.
///
/// # Errors
/// If it is none.
pub fn lane(source: &(impl Source + ?Sized)) -> Result<LaneView, Unreadable> {
    if source.len_bytes()? != size_of::<Layout>() as u64 {
        return Err(Unreadable::Other);
    }
    let copied = Copied::of(source, 0, offset_of!(Layout, buffers))?;
    if copied.u64(offset_of!(Layout, magic)) != MAGIC {
        return Err(Unreadable::Other);
    }
    let mut view = LaneView {
        is_asleep: copied.u32(offset_of!(Layout, sleep.asleep)) != 0,
        is_to_stop: copied.u32(offset_of!(Layout, sleep.stop)) != 0,
        ..LaneView::default()
    };
    let mut n_running = 0;
    for index in 0..N_SLOTS {
        let at = offset_of!(Layout, slots) + index * size_of::<Slot>();
        let (lap, phase) = split(copied.u64(at + offset_of!(Slot, word)));
        view.n_over = view.n_over.wrapping_add(lap);
        match phase {
            phase::READY => view.n_ready += 1,
            phase::DONE => view.n_done += 1,
            phase::TAKEN => {
                n_running += 1;
                view.running = Some(running(source, &copied, at, lap, index));
            }
            _ => {}
        }
    }
    if n_running > 1 {
        return Err(Unreadable::Garbled("a worker runs one task at a time"));
    }
    Ok(view)
}

fn running(source: &(impl Source + ?Sized), copied: &Copied, at: usize, lap: u64, index: usize) -> RunningView {
    let payload = at + offset_of!(Slot, payload);
    let buffer = Some(copied.u32(at + offset_of!(Slot, buffer))).filter(|buffer| (*buffer as usize) < N_BUFFERS);
    let place = is_spilled(copied.u32(at + offset_of!(Slot, form))).then(|| Place::task(index, buffer).offset() as u64);
    let published = buffer.map(|buffer| {
        let at = offset_of!(Layout, buffers) + buffer as usize * size_of::<Buffer>() + offset_of!(Buffer, published);
        Copied::of(source, at as u64, 8).map_or(0, |copied| (copied.u64(0) >> 32) as u32)
    });
    RunningView {
        number: lap.wrapping_mul(N_SLOTS as u64).wrapping_add(index as u64),
        tag: copied.u32(at + offset_of!(Slot, tag)),
        begin: [copied.u64(payload), copied.u64(payload + 8)],
        spilled_at: place,
        n_items: published,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsFd};

    use super::*;
    use crate::{OwnerLane, layout::Memory};

    fn file(memory: &Memory) -> File {
        File::from(memory.memory().as_fd().try_clone_to_owned().unwrap())
    }

    #[test]
    fn says_what_runs_and_what_waits() {
        let bell = nix::sys::eventfd::EventFd::from_value(0).unwrap();
        let (mut owner, handle) = OwnerLane::new(bell.into()).unwrap();
        let mut worker = handle.open().unwrap();
        let file = file(worker.memory());
        assert_eq!(lane(&file).unwrap(), LaneView::default());
        for n in 0..3_u64 {
            owner.push(5, None, &n.to_ne_bytes()).unwrap();
        }
        let mut claim = worker.claim().unwrap();
        let view = lane(&file).unwrap();
        assert_eq!((view.n_ready, view.n_done), (2, 0));
        let running = view.running.unwrap();
        assert_eq!((running.number, running.tag, running.begin), (0, 5, [0, 0]));
        assert_eq!(running.spilled_at, None);
        claim.finish(0, &[]).unwrap();
        let view = lane(&file).unwrap();
        assert_eq!((view.n_ready, view.n_done, view.running), (2, 1, None));
    }

    #[test]
    fn steps_follow_the_worker() {
        let bell = nix::sys::eventfd::EventFd::from_value(0).unwrap();
        let (mut owner, handle) = OwnerLane::new(bell.into()).unwrap();
        let mut worker = handle.open().unwrap();
        let file = file(worker.memory());
        let mut from = 0;
        for n in 0..3 * N_SLOTS as u64 {
            assert_eq!(step(&file, from).unwrap(), Step { n_passed: 0, running: None, next: n });
            assert_eq!(first_unended(&file).unwrap(), n);
            owner.push(n as u32, None, &[]).unwrap();
            let mut claim = worker.claim().unwrap();
            let seen = step(&file, from).unwrap();
            assert_eq!((seen.n_passed, seen.next), (0, n));
            assert_eq!(seen.running.map(|running| (running.number, running.tag)), Some((n, n as u32)));
            claim.finish(0, &[]).unwrap();
            assert_eq!(step(&file, from).unwrap(), Step { n_passed: 1, running: None, next: n + 1 });
            owner.poll(&mut Vec::new()).unwrap();
            from = n + 1;
        }
        // There was no look for a while.
        assert_eq!(step(&file, from - 100).unwrap().n_passed, 100);
    }

    #[test]
    fn garbage_is_no_lane() {
        assert!(matches!(lane(&[0; 64][..]), Err(Unreadable::Other)));
        let mut bytes = vec![0xff; size_of::<Layout>()];
        assert!(matches!(lane(&bytes[..]), Err(Unreadable::Other)));
        bytes[..8].copy_from_slice(&MAGIC.to_ne_bytes());
        for byte in 0..=255 {
            bytes[8..].fill(byte);
            let _ = lane(&bytes[..]);
        }
        assert!(matches!(step(&bytes[..], 0), Err(Unreadable::Garbled(_))));
        bytes[8..].fill(0xfe);
        assert!(matches!(lane(&bytes[..]), Err(Unreadable::Garbled(_))));
    }
}
