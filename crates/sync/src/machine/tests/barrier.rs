//! Models of a barrier for two.

use loom::{sync::Arc, thread};

use super::{
    super::{Acquired, BarrierState, Broken, Deadline, Seat},
    Doomed, Futex, LockState, Model, explore, mortal,
};

loom::thread_local! {
    static ME: std::cell::Cell<u32> = std::cell::Cell::new(1);
}

fn me() -> u32 {
    ME.with(std::cell::Cell::get)
}

struct Chair {
    lock: LockState,
    futex: Arc<Model>,
}

impl Seat for Chair {
    fn try_acquire(&self) -> Option<Acquired> {
        self.lock.try_acquire(me())
    }

    fn acquire(&self, deadline: Option<Deadline>) -> Option<Acquired> {
        if self.lock.try_acquire_idle(me()) {
            return Some(Acquired::Orderly);
        }
        self.lock.acquire(me(), &*self.futex, deadline)
    }

    fn release(&self) {
        if self.lock.owner() == me() {
            super::release(&self.lock, me(), &*self.futex);
        }
    }

    fn is_held(&self) -> bool {
        self.lock.owner() != 0
    }

    fn is_dead(&self) -> bool {
        !self.is_held() && self.lock.is_inconsistent()
    }

    fn mark_consistent(&self) {
        self.lock.mark_consistent();
    }
}

struct ForTwo {
    futex: Arc<Model>,
    barrier: BarrierState<Chair, 2>,
}

impl ForTwo {
    fn new() -> Arc<Self> {
        let futex = Arc::new(Model::new());
        let chair = || Chair { lock: LockState::new(), futex: Arc::clone(&futex) };
        let barrier = BarrierState::new(2, chair(), [chair(), chair()]);
        Arc::new(Self { futex, barrier })
    }

    fn wait(&self) -> Result<usize, Broken> {
        self.barrier.wait(&*self.futex, None, || ())
    }

    /// Waits, and is killed when it has been woken, or before it wakes the other.
    fn wait_and_die(&self) {
        let epitaph = || {
            self.barrier.locks().filter(|chair| chair.lock.owner() == me()).for_each(|chair| {
                chair.lock.holder_dies(me(), &*self.futex);
            });
            self.futex.wake(self.barrier.state(), 1);
        };
        mortal(|| drop(self.barrier.wait(&Doomed { model: &self.futex, epitaph }, None, || ())));
    }
}

/// Calls `work` in another thread.
fn beside<R: 'static>(shared: &Arc<ForTwo>, work: impl FnOnce(&ForTwo) -> R + 'static) -> thread::JoinHandle<R> {
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        ME.with(|me| me.set(2));
        work(&shared)
    })
}

#[test]
fn barrier_lets_two_go_together() {
    explore(3, || {
        let shared = ForTwo::new();
        let other = beside(&shared, ForTwo::wait);
        let mine = shared.wait().unwrap();
        assert_eq!(mine + other.join().unwrap().unwrap(), 1);
        assert_eq!(shared.barrier.n_waiting(), 0);
    });
}

#[test]
fn barrier_lets_nobody_into_a_round_that_others_still_leave() {
    explore(2, || {
        let shared = ForTwo::new();
        let twice = |shared: &ForTwo| [shared.wait(), shared.wait()];
        let other = beside(&shared, twice);
        let mine = twice(&shared);
        for (mine, others) in mine.into_iter().zip(other.join().unwrap()) {
            assert_eq!(mine.unwrap() + others.unwrap(), 1);
        }
    });
}

#[test]
fn barrier_aborted_lets_who_waits_go_with_an_error() {
    explore(3, || {
        let shared = ForTwo::new();
        let other = beside(&shared, ForTwo::wait);
        shared.barrier.reset(&*shared.futex);
        shared.barrier.abort(&*shared.futex);
        assert_eq!(other.join().unwrap(), Err(Broken));
        assert!(shared.barrier.is_broken());
    });
}

#[test]
fn barrier_survives_a_killed_waiter() {
    explore(3, || {
        let shared = ForTwo::new();
        let doomed = beside(&shared, ForTwo::wait_and_die);
        // All had come, or it is broken; nobody waits for the dead.
        let outcome = shared.wait();
        doomed.join().unwrap();
        if outcome == Err(Broken) {
            assert!(shared.barrier.is_broken());
        }
    });
}
