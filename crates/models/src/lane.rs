//! The slots of a lane, the worker's sleep, and the owner's bell.

#[path = "../../lane/src/machine.rs"]
#[allow(dead_code, reason = "the rest is for owners that take a lane over")]
#[allow(unreachable_pub, reason = "it is public where it ships")]
mod machine;

use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use loom::{sync::Arc, thread};

use self::machine::{Bell, Found, Sleep, SlotState, SlotWord};
use crate::{
    explore,
    platform::{AtomicU32, AtomicU64, futex},
};

const N_SLOTS: usize = 2;

/// A slot with its payload, which is a number. As in a lane, it is written with `Relaxed` and published by the word.
struct Slot {
    word: SlotWord,
    payload: AtomicU64,
}

/// A lane, whose bell wakes an owner that sleeps on a futex.
struct Lane {
    slots: [Slot; N_SLOTS],
    sleep: Sleep,
    bell: Bell,
    rung: AtomicU32,
}

fn slot_of(position: u64) -> (usize, u64) {
    (position as usize % N_SLOTS, position / N_SLOTS as u64)
}

impl Lane {
    fn new() -> Arc<Self> {
        let slot = || Slot { word: SlotWord(AtomicU64::new(0)), payload: AtomicU64::new(0) };
        let zero = || AtomicU32::new(0);
        Arc::new(Self {
            slots: [slot(), slot()],
            sleep: Sleep { asleep: zero(), stop: zero() },
            bell: Bell(zero()),
            rung: zero(),
        })
    }

    fn give(&self, position: u64, task: u64) {
        let (index, lap) = slot_of(position);
        self.slots[index].payload.store(task, Relaxed);
        self.slots[index].word.give(lap);
    }

    fn recall(&self, position: u64) -> bool {
        let (index, lap) = slot_of(position);
        self.slots[index].word.recall(lap)
    }

    fn state(&self, position: u64) -> SlotState {
        let (index, lap) = slot_of(position);
        self.slots[index].word.state(lap)
    }

    /// The result of what has ended, whose slot is free then.
    fn result(&self, position: u64) -> Option<u64> {
        let (index, lap) = slot_of(position);
        (self.state(position) == SlotState::Done).then(|| {
            let result = self.slots[index].payload.load(Relaxed);
            self.slots[index].word.release(lap);
            result
        })
    }

    /// As the pool waits for a result, without looking for a while first.
    fn wait_for_result(&self, position: u64) -> u64 {
        loop {
            let seen = self.rung.load(SeqCst);
            self.bell.arm();
            if let Some(result) = self.result(position) {
                self.bell.disarm();
                return result;
            }
            futex::wait(&self.rung, seen, None);
        }
    }

    /// As `worker.rs` claims, without looking for a while first.
    fn claim(&self, position: &mut u64) -> Option<u64> {
        loop {
            if let Some(task) = self.try_claim(position) {
                return Some(task);
            }
            if self.sleep.is_to_stop() {
                return self.try_claim(position);
            }
            self.sleep.sleep(|| {
                let (index, lap) = slot_of(*position);
                self.slots[index].word.has_something(lap)
            });
        }
    }

    fn try_claim(&self, position: &mut u64) -> Option<u64> {
        loop {
            let (index, lap) = slot_of(*position);
            match self.slots[index].word.claim(lap) {
                Found::Claimed => return Some(self.slots[index].payload.load(Relaxed)),
                Found::Passed => *position += 1,
                Found::Nothing => return None,
            }
        }
    }

    fn finish(&self, position: &mut u64, result: u64) {
        let (index, lap) = slot_of(*position);
        self.slots[index].payload.store(result, Relaxed);
        self.slots[index].word.finish(lap);
        *position += 1;
        if self.bell.is_to_ring() {
            self.rung.fetch_add(1, SeqCst);
            futex::wake(&self.rung, u32::MAX);
        }
    }

    /// Works until it is told to stop; the tasks that it has run.
    fn work(&self) -> Vec<u64> {
        let (mut position, mut tasks) = (0, Vec::new());
        while let Some(task) = self.claim(&mut position) {
            self.finish(&mut position, task + 100);
            tasks.push(task);
        }
        tasks
    }
}

#[test]
fn tasks_and_results_pass_in_order_and_sleepers_wake() {
    explore(2, || {
        let lane = Lane::new();
        let worker = Arc::clone(&lane);
        let worker = thread::spawn(move || worker.work());
        // Two laps of the ring, with one task ahead.
        lane.give(0, 1);
        lane.sleep.wake();
        for position in 1..4 {
            lane.give(position, position + 1);
            lane.sleep.wake();
            assert_eq!(lane.wait_for_result(position - 1), position + 100);
        }
        assert_eq!(lane.wait_for_result(3), 104);
        lane.sleep.stop();
        assert_eq!(worker.join().unwrap(), [1, 2, 3, 4]);
    });
}

#[test]
fn a_task_given_before_the_order_to_stop_is_run() {
    explore(3, || {
        let lane = Lane::new();
        let worker = Arc::clone(&lane);
        let worker = thread::spawn(move || worker.work());
        lane.give(0, 1);
        lane.sleep.stop();
        assert_eq!(worker.join().unwrap(), [1]);
        assert_eq!(lane.result(0), Some(101));
    });
}

/// What was taken back is not run, what was not is, and what comes to its slot next is.
#[test]
fn a_task_is_taken_back_or_run() {
    explore(3, || {
        let lane = Lane::new();
        let worker = Arc::clone(&lane);
        let worker = thread::spawn(move || worker.work());
        lane.give(0, 1);
        lane.give(1, 2);
        lane.sleep.wake();
        let mut expected = vec![1, 2];
        // The youngest first, as an owner does.
        for position in [1, 0] {
            if lane.recall(position) {
                expected.retain(|task| *task != position + 1);
            } else {
                assert_eq!(lane.wait_for_result(position), position + 101);
            }
        }
        lane.give(2, 3);
        lane.sleep.wake();
        expected.push(3);
        assert_eq!(lane.wait_for_result(2), 103);
        lane.sleep.stop();
        assert_eq!(worker.join().unwrap(), expected);
    });
}

/// A task that was given back is there for the owner, who reads it by the slot.
#[test]
fn a_task_that_a_worker_gives_back_has_not_begun() {
    explore(3, || {
        let lane = Lane::new();
        lane.give(0, 1);
        let worker = Arc::clone(&lane);
        let worker = thread::spawn(move || {
            let mut position = 0;
            let claimed = worker.try_claim(&mut position).is_some();
            if claimed {
                worker.slots[0].word.give_back(0);
            }
        });
        let is_recalled = lane.recall(0);
        worker.join().unwrap();
        assert!(is_recalled || lane.recall(0), "nobody has it");
        assert_eq!(lane.slots[0].word.lap(), (1, false));
    });
}

/// Whenever a worker dies, each task is in one state, and what it finished is there.
#[test]
fn a_dead_worker_leaves_at_most_one_task_that_was_running() {
    explore(3, || {
        let lane = Lane::new();
        let (worker, died) = (Arc::clone(&lane), Arc::new(AtomicU32::new(0)));
        let end = Arc::clone(&died);
        let worker = thread::spawn(move || {
            let mut position = 0;
            if worker.claim(&mut position).is_some() {
                worker.finish(&mut position, 101);
            }
            assert!(worker.claim(&mut position).is_some());
            end.store(1, SeqCst);
        });
        lane.give(0, 1);
        lane.give(1, 2);
        lane.sleep.wake();
        // The later one first: it is begun after the earlier one has ended.
        let (later, earlier) = (lane.state(1), lane.state(0));
        assert!(later == SlotState::Ready || earlier == SlotState::Done, "{earlier:?}, {later:?}");
        worker.join().unwrap();
        assert_eq!(died.load(SeqCst), 1);
        assert_eq!(([lane.state(0), lane.state(1)], lane.result(0)), ([SlotState::Done, SlotState::Taken], Some(101)));
        assert!(!lane.recall(1), "it was running");
    });
}
