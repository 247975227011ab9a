//! How waiters learn that something changed.
//!
//! # State table
//! | word          | meaning                                                                                      |
//! |---------------|----------------------------------------------------------------------------------------------|
//! | `notified`    | low half: how many notifications there were; a waiter sleeps while it is as when it came     |
//! | `registered`  | bit 0: waiters may be asleep; above: how many have come to wait, ever                        |
//!
//! A notifier never waits for a waiter, and a waiter leaves nothing behind that would have to be taken back. A waiter
//! reads `notified` before it registers; a notifier looks at `registered` before it counts `notified` up and wakes,
//! both in one system call. So a waiter that had registered by then has been woken or will not fall asleep. If fewer
//! slept than were to be woken, bit 0 can go unless a waiter came since.
//!
//! Orderings: `SeqCst` throughout, since each side writes one word and looks at the other. In the single order of these
//! accesses a notifier that finds no waiter registered came before the waiter, which still holds its lock. `Relaxed` only
//! where a compare-and-swap checks what was loaded.

use kernel::futex::Deadline;

use super::{AtomicU64, Futex, Ordering, word};

const ASLEEP: u64 = 1;
const ONE: u64 = 2;

#[derive(Debug)]
#[repr(C)]
pub(crate) struct CondvarState {
    notified: AtomicU64,
    registered: AtomicU64,
}

/// What a waiter saw when it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket(u32);

impl CondvarState {
    pub(crate) fn new() -> Self {
        Self { notified: AtomicU64::new(0), registered: AtomicU64::new(0) }
    }

    /// Registers a waiter, which still holds its lock.
    pub(crate) fn register(&self) -> Ticket {
        let ticket = Ticket(word(self.notified.load(Ordering::SeqCst)));
        // The count is left to wrap around; two additions cannot meet there, as 2^63 of them lie between.
        let mut old = self.registered.load(Ordering::Relaxed);
        while let Err(now) = self.registered.compare_exchange_weak(
            old,
            old.wrapping_add(ONE) | ASLEEP,
            Ordering::SeqCst,
            Ordering::Relaxed,
        ) {
            old = now;
        }
        ticket
    }

    /// Sleeps until a notification that came after `ticket`; false once the deadline has passed.
    pub(crate) fn wait(&self, ticket: Ticket, futex: &impl Futex, deadline: Option<Deadline>) -> bool {
        loop {
            let in_time = futex.wait(&self.notified, ticket.0, deadline);
            if word(self.notified.load(Ordering::SeqCst)) != ticket.0 {
                return true;
            }
            if !in_time {
                return false;
            }
        }
    }

    /// Wakes at least `n` waiters, or all if there are fewer, and returns how many slept.
    pub(crate) fn notify(&self, n: u32, futex: &impl Futex) -> u32 {
        let registered = self.registered.load(Ordering::SeqCst);
        if n == 0 || registered & ASLEEP == 0 {
            return 0;
        }
        let n_woken = futex.increment_and_wake(&self.notified, n);
        if n_woken < n {
            let idle = registered & !ASLEEP;
            let _ = self.registered.compare_exchange(registered, idle, Ordering::SeqCst, Ordering::Relaxed);
        }
        n_woken
    }
}
