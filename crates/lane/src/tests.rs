use std::{os::fd::OwnedFd, thread};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::eventfd::{EfdFlags, EventFd},
};
use std::os::fd::AsFd;

use super::{layout::BUFFER_WORDS, *};

fn lane() -> (OwnerLane, WorkerLane, OwnedFd) {
    let bell: OwnedFd = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap().into();
    let (owner, handle) = OwnerLane::new(bell.try_clone().unwrap()).unwrap();
    (owner, handle.open().unwrap(), bell)
}

fn rung(bell: &OwnedFd) -> bool {
    let rung = poll(&mut [PollFd::new(bell.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO).unwrap() == 1;
    if rung {
        nix::unistd::read(bell, &mut [0; 8]).unwrap();
    }
    rung
}

/// Makes the worker echo one task.
fn echo(worker: &mut WorkerLane) -> Vec<u8> {
    let mut task = Vec::new();
    let mut claim = worker.claim().unwrap();
    claim.read(&mut task).unwrap();
    let tag = claim.tag();
    claim.finish(tag + 1, &task).unwrap();
    task
}

fn poll_bytes(owner: &mut OwnerLane) -> Option<(usize, u32, Vec<u8>)> {
    let mut arena = vec![9; 3];
    let finished = owner.poll(&mut arena)?;
    Some((finished.slot, finished.tag, arena[finished.bytes.unwrap()].to_vec()))
}

#[test]
fn payloads_of_all_sizes_there_and_back() {
    let (mut owner, mut worker, _bell) = lane();
    for (n, len) in [0, 1, 7, 8, 31, 32, 223, 224, 225, 4096, 1 << 20].into_iter().enumerate() {
        let payload: Vec<u8> = (0..len).map(|i| (i * 7 + n) as u8).collect();
        let slot = owner.push(n as u32, None, &payload).unwrap().unwrap();
        assert_eq!(echo(&mut worker), payload);
        assert_eq!(poll_bytes(&mut owner), Some((slot, n as u32 + 1, payload)));
    }
    assert!(owner.is_empty() && poll_bytes(&mut owner).is_none());
}

#[test]
fn a_full_lane_says_so_and_goes_round() {
    let (mut owner, mut worker, _bell) = lane();
    for lap in 0..3 {
        for n in 0..N_SLOTS {
            assert_eq!(owner.push(lap, None, &[n as u8]).unwrap(), Some(n));
        }
        assert_eq!(owner.push(0, None, b"").unwrap(), None);
        echo(&mut worker);
        assert_eq!(owner.push(0, None, b"").unwrap(), None, "its result has not been taken");
        (1..N_SLOTS).for_each(|_| drop(echo(&mut worker)));
        for n in 0..N_SLOTS {
            assert_eq!(poll_bytes(&mut owner), Some((n, lap + 1, vec![n as u8])));
        }
    }
}

#[test]
fn what_is_taken_back_is_never_run() {
    let (mut owner, mut worker, _bell) = lane();
    for n in 0..4 {
        owner.push(n, None, &[]).unwrap();
    }
    let mut claim = worker.claim().unwrap();
    assert!(!owner.recall(0), "it is running");
    assert!(owner.recall(1) && owner.recall(3) && !owner.recall(3));
    claim.finish(10, &[]).unwrap();
    let mut claim = worker.claim().unwrap();
    assert_eq!(claim.tag(), 2);
    claim.finish(12, &[]).unwrap();
    assert_eq!((poll_bytes(&mut owner).unwrap().1, poll_bytes(&mut owner).unwrap().1), (10, 12));
    // Holes that were filled again, a lap later, before the worker passed them.
    (4..N_SLOTS).for_each(|n| assert_eq!(owner.push(n as u32, None, &[]).unwrap(), Some(n)));
    (4..N_SLOTS).rev().for_each(|n| assert!(owner.recall(n)));
    (0..10).for_each(|n| assert_eq!(owner.push(n as u32, None, &[]).unwrap(), Some(n)));
    for n in 0..10 {
        let mut claim = worker.claim().unwrap();
        assert_eq!(claim.tag(), n);
        claim.finish(n, &[]).unwrap();
        assert_eq!(poll_bytes(&mut owner).unwrap().1, n);
    }
}

#[test]
fn states_tell_the_one_that_was_running() {
    let (mut owner, mut worker, _bell) = lane();
    (0..3).for_each(|n| assert!(owner.push(n, None, &[]).unwrap().is_some()));
    echo(&mut worker);
    let _running = worker.claim().unwrap();
    let states: Vec<_> = owner.slots().map(|(_, state)| state).collect();
    assert_eq!(states, [SlotState::Done, SlotState::Taken, SlotState::Ready]);
    assert!(owner.has_finished());
}

#[test]
fn a_worker_that_gives_back_takes_no_more() {
    let (mut owner, mut worker, _bell) = lane();
    (0..2).for_each(|n| assert!(owner.push(n, None, &[]).unwrap().is_some()));
    worker.claim().unwrap().give_back();
    assert!(worker.claim().is_none());
    assert!(owner.slots().all(|(_, state)| state == SlotState::Ready));
    assert!(owner.recall(0) && owner.recall(1));
}

#[test]
fn streams_publish_item_by_item() {
    let (mut owner, mut worker, _bell) = lane();
    owner.push(0, Some(5), b"items").unwrap();
    let mut claim = worker.claim().unwrap();
    let mut stream = claim.stream();
    assert_eq!(stream.first(), 5);
    let mut whole = Vec::new();
    let mut publish = |item: &[u8]| {
        assert!(stream.publish(item));
        whole.extend(item);
        let mut arena = Vec::new();
        let progress = owner.progress(0, &mut arena).unwrap();
        assert_eq!((progress.n_items, &arena[progress.bytes]), (stream.n_items(), &whole[..]));
        whole.len()
    };
    for len in (0..40).chain([7, 1, 8, 16, 3]) {
        publish(&(0..len).map(|i| len * 5 + i).collect::<Vec<u8>>());
    }
    let used = publish(b"");
    let n_items = stream.n_items();
    let too_long = vec![1; BUFFER_WORDS * 8 - used + 1];
    assert!(!stream.publish(&too_long));
    assert!(stream.publish(&too_long[1..]) && stream.publish(b"") && !stream.publish(b"x"));
    claim.finish(1, b"done").unwrap();
    let mut arena = Vec::new();
    let finished = owner.poll(&mut arena).unwrap();
    let progress = finished.progress.unwrap();
    assert_eq!((progress.n_items, progress.bytes.len()), (n_items + 2, BUFFER_WORDS * 8));
    assert_eq!(&arena[finished.bytes.unwrap()], b"done");
}

#[test]
fn stream_buffers_run_out_and_come_back() {
    let (mut owner, mut worker, _bell) = lane();
    (0..layout::N_BUFFERS).for_each(|_| assert!(owner.push(0, Some(0), &[]).unwrap().is_some()));
    assert!(owner.push(0, Some(0), &[]).unwrap().is_none());
    assert!(owner.push(0, None, &[]).unwrap().is_some());
    echo(&mut worker);
    poll_bytes(&mut owner).unwrap();
    assert!(owner.recall(1));
    assert!(owner.push(0, Some(0), &[]).unwrap().is_some());
    assert!(owner.push(0, Some(0), &[]).unwrap().is_some());
    assert!(owner.push(0, Some(0), &[]).unwrap().is_none());
}

#[test]
fn chunks_leave_their_memory_to_the_next_while_others_follow() {
    let (mut owner, mut worker, _bell) = lane();
    // No whole number of pages, however long these are.
    let chunk = vec![7; (200 << 10) + 1];
    let push = |owner: &mut OwnerLane| owner.push(0, Some(0), &chunk).unwrap().unwrap();
    push(&mut owner);
    for _ in 0..4 {
        push(&mut owner);
        let mut claim = worker.claim().unwrap();
        claim.finish(1, &[]).unwrap();
        owner.poll(&mut Vec::new()).unwrap();
        assert!(owner.spilled_bytes() >= 2 * (200 << 10), "{}", owner.spilled_bytes());
    }
    worker.claim().unwrap().finish(1, &[]).unwrap();
    owner.poll(&mut Vec::new()).unwrap();
    assert_eq!(owner.spilled_bytes(), 0);
    // What is larger than that goes at once.
    owner.push(0, Some(0), &vec![7; 2 << 20]).unwrap().unwrap();
    push(&mut owner);
    worker.claim().unwrap().finish(1, &[]).unwrap();
    owner.poll(&mut Vec::new()).unwrap();
    assert!(owner.spilled_bytes() < 1 << 20, "{}", owner.spilled_bytes());
}

#[test]
fn the_bell_rings_once_for_each_time_it_is_armed() {
    let (mut owner, mut worker, bell) = lane();
    (0..3).for_each(|n| assert!(owner.push(n, None, &[]).unwrap().is_some()));
    assert!(!owner.arm());
    echo(&mut worker);
    assert!(rung(&bell));
    echo(&mut worker);
    assert!(!rung(&bell));
    assert!(owner.arm(), "there are results");
    owner.disarm();
    echo(&mut worker);
    assert!(!rung(&bell));
}

#[test]
fn sleeping_workers_are_woken_for_tasks_and_for_the_end() {
    let (mut owner, mut worker, bell) = lane();
    let thread = thread::spawn(move || {
        let mut n = 0;
        while let Some(mut claim) = worker.claim() {
            claim.finish(0, &[]).unwrap();
            n += 1;
        }
        n
    });
    for _ in 0..2000 {
        owner.push(0, None, &[]).unwrap().unwrap();
        owner.notify();
        // A ring may come late, and be found by the next waiter.
        while poll_bytes(&mut owner).is_none() {
            if !owner.arm() {
                poll(&mut [PollFd::new(bell.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
            }
            rung(&bell);
        }
    }
    owner.stop();
    assert_eq!(thread.join().unwrap(), 2000);
}

#[test]
fn racing_claims_and_recalls_run_each_task_once() {
    let (mut owner, mut worker, _bell) = lane();
    let thread = thread::spawn(move || {
        let mut ran = Vec::new();
        while let Some(mut claim) = worker.claim() {
            ran.push(claim.tag());
            claim.finish(claim.tag(), &[]).unwrap();
        }
        ran
    });
    let (mut recalled, mut finished) = (Vec::new(), Vec::new());
    let mut in_slot = [0; N_SLOTS];
    let mut next = 0;
    while next < 200_000 {
        while let Some(slot) = owner.push(next, None, &[]).unwrap() {
            in_slot[slot] = next;
            next += 1;
        }
        owner.notify();
        let last: Vec<_> = owner.slots().rev().take(8).map(|(slot, _)| slot).collect();
        recalled.extend(last.into_iter().filter(|slot| owner.recall(*slot)).map(|slot| in_slot[slot]));
        while let Some((slot, tag, _)) = poll_bytes(&mut owner) {
            assert_eq!(tag, in_slot[slot]);
            finished.push(tag);
        }
    }
    owner.stop();
    let ran = thread.join().unwrap();
    while let Some((_, tag, _)) = poll_bytes(&mut owner) {
        finished.push(tag);
    }
    assert_eq!(ran, finished);
    let mut all = [ran, recalled].concat();
    all.sort();
    assert_eq!(all, (0..next).collect::<Vec<_>>());
}

#[test]
fn a_scribbled_lane_is_noticed_and_harms_nobody() {
    let (mut owner, mut worker, _bell) = lane();
    owner.push(0, Some(0), b"x").unwrap();
    let mut claim = worker.claim().unwrap();
    claim.finish(0, &[1; 300]).unwrap();
    // A length that would take the owner's memory, and a stream beyond its buffer.
    let layout = worker_layout(&worker);
    layout.slots[0].len.store(u64::MAX / 2, std::sync::atomic::Ordering::Relaxed);
    layout.buffers[0].published.store(u64::MAX, std::sync::atomic::Ordering::Relaxed);
    let mut arena = Vec::new();
    let finished = owner.poll(&mut arena).unwrap();
    assert!(finished.bytes.is_err());
    assert_eq!(finished.progress.unwrap().bytes.len(), BUFFER_WORDS * 8);
    owner.push(0, None, b"x").unwrap();
    worker_layout(&worker).slots[1].word.0.store(u64::MAX, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(owner.slots().next(), Some((1, SlotState::Corrupt)));
    assert!(owner.poll(&mut arena).is_none() && !owner.recall(1));
}

fn worker_layout(worker: &WorkerLane) -> &layout::Layout {
    worker.memory().get()
}

#[test]
fn an_adopted_lane_goes_on_where_it_was() {
    let bell: OwnedFd = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap().into();
    let (mut owner, handle) = OwnerLane::new(bell).unwrap();
    let mut worker = handle.open().unwrap();
    for n in 0..N_SLOTS as u32 + 5 {
        owner.push(n, None, &[n as u8]).unwrap().unwrap();
        echo(&mut worker);
        poll_bytes(&mut owner).unwrap();
    }
    (0..3).for_each(|n| assert!(owner.push(n, Some(n), &[7; 300]).unwrap().is_some()));
    assert!(owner.recall(6));
    echo(&mut worker);
    drop(owner);
    let mut owner = OwnerLane::adopt(&handle).unwrap();
    let states: Vec<_> = owner.slots().collect();
    assert_eq!(states, [(5, SlotState::Done), (7, SlotState::Ready)]);
    assert_eq!(poll_bytes(&mut owner), Some((5, 1, vec![7; 300])));
    assert_eq!(owner.push(9, None, b"next").unwrap(), Some(8));
    assert_eq!((echo(&mut worker).len(), echo(&mut worker)), (300, b"next".to_vec()));
    assert_eq!((poll_bytes(&mut owner).unwrap().1, poll_bytes(&mut owner).unwrap().1), (3, 10));
}
