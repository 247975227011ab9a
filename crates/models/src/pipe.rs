//! The locks of a pipe's ends: between threads (`biased.rs`) and between processes (`claim.rs`).

#[path = "../../ipc/src/pipe/biased.rs"]
#[allow(dead_code, reason = "the rest is for the ends themselves")]
mod biased;
#[path = "../../ipc/src/pipe/claim.rs"]
#[allow(dead_code, reason = "as above")]
mod claim;
#[path = "../../ipc/src/pipe/turn.rs"]
mod turn;

use std::{mem, sync::atomic::Ordering::Relaxed};

use loom::{cell::UnsafeCell, sync::Arc, thread};

use self::{
    biased::{Biased, Blocked, WaitLimit},
    claim::Claim,
    turn::TurnWords,
    users::Users,
};
use crate::{
    barrier::{self, Membarrier},
    explore,
    platform::{AtomicU32, AtomicU64, futex::Deadline},
};

/// The users of a model, each of which is a thread.
mod users {
    use std::sync::atomic::Ordering::{Acquire, Release};

    use crate::platform::AtomicU32;

    pub(super) struct Users<'a> {
        pub(super) me: u64,
        pub(super) dead: &'a AtomicU32,
    }

    impl Users<'_> {
        pub(super) fn me(&self) -> u64 {
            self.me
        }

        /// The kernel tells of a death once it is complete.
        pub(super) fn is_gone(&self, user: u64) -> bool {
            user == 0 || self.dead.load(Acquire) & 1 << user != 0
        }

        pub(super) fn die(&self) {
            self.dead.fetch_or(1 << self.me, Release);
            crate::platform::note_a_death();
        }
    }
}

/// What a lock protects: loom reports two threads that are inside at once, or that do not see each other's writes.
#[derive(Default)]
struct Content(UnsafeCell<u32>);

impl Content {
    fn change(&self) {
        self.0.with_mut(|n| {
            #[allow(unsafe_code)]
            // SAFETY: loom checks that nobody else is here.
            unsafe {
                *n += 1;
            }
        });
    }

    fn get(&self) -> u32 {
        self.0.with(|n| {
            #[allow(unsafe_code)]
            // SAFETY: as above.
            unsafe {
                *n
            }
        })
    }
}

fn enter_biased_lock(lock: &Biased<Content>) {
    match lock.enter_biased() {
        Some(inside) => inside.change(),
        None => lock.lock(WaitLimit::FOREVER).expect("the bias can be revoked").change(),
    }
}

/// The lock is biased towards each in turn, or shared in the end.
#[test]
fn threads_that_share_a_biased_lock_are_inside_one_at_a_time() {
    explore(2, || {
        let lock = Arc::new(Biased::new(Content::default()));
        enter_biased_lock(&lock);
        let others = [1, 1].map(|n| {
            let lock = Arc::clone(&lock);
            thread::spawn(move || (0..n).for_each(|_| enter_biased_lock(&lock)))
        });
        (0..2).for_each(|_| enter_biased_lock(&lock));
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(lock.lock(WaitLimit::FOREVER).expect("nobody is inside").get(), 5);
    });
}

/// Two threads that take the bias from each other again and again, until the lock is a mutex.
#[test]
fn a_bias_that_is_revoked_again_and_again_lets_in_one_at_a_time() {
    explore(2, || {
        let lock = Arc::new(Biased::new(Content::default()));
        let other = Arc::clone(&lock);
        let other = thread::spawn(move || (0..3).for_each(|_| enter_biased_lock(&other)));
        (0..3).for_each(|_| enter_biased_lock(&lock));
        other.join().unwrap();
        assert_eq!(lock.lock(WaitLimit::FOREVER).expect("nobody is inside").get(), 6);
    });
}

/// A thread that gives up waiting puts the bias back.
#[test]
fn a_thread_that_does_not_wait_for_the_bias_leaves_the_lock_in_order() {
    explore(3, || {
        let lock = Arc::new(Biased::new(Content::default()));
        enter_biased_lock(&lock);
        let other = Arc::clone(&lock);
        let other = thread::spawn(move || {
            let inside = other.lock(WaitLimit::None);
            inside.map(|inside| inside.change()).is_ok()
        });
        (0..2).for_each(|_| enter_biased_lock(&lock));
        let n = 3 + u32::from(other.join().unwrap());
        assert_eq!(lock.lock(WaitLimit::FOREVER).expect("nobody is inside").get(), n);
    });
}

/// It is not let in at all, since it could not know that it is alone.
#[test]
fn a_thread_without_membarrier_is_refused_a_biased_lock() {
    explore(3, || {
        let lock = Arc::new(Biased::new(Content::default()));
        barrier::set(Membarrier::IsRefusedToAnother);
        enter_biased_lock(&lock);
        let other = Arc::clone(&lock);
        let other = thread::spawn(move || {
            barrier::set(Membarrier::IsRefused);
            matches!(other.lock(WaitLimit::FOREVER), Err(Blocked::Refused))
        });
        (0..2).for_each(|_| enter_biased_lock(&lock));
        assert!(other.join().unwrap());
        assert_eq!(lock.lock(WaitLimit::FOREVER).expect("it is biased").get(), 3);
    });
}

/// Half of an end, in shared memory.
struct Half {
    words: TurnWords,
    content: Content,
    dead: AtomicU32,
}

const FIRST: u64 = 1;
const SECOND: u64 = 2;
const THIRD: u64 = 3;

impl Half {
    fn new() -> Arc<Self> {
        let zero = || AtomicU64::new(0);
        let words = TurnWords {
            bias: zero(),
            busy: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            biased: zero(),
            holder: zero(),
            last: zero(),
            refused: AtomicU32::new(0),
            unused: AtomicU32::new(0),
        };
        Arc::new(Self { words, content: Content::default(), dead: AtomicU32::new(0) })
    }

    fn users(&self, me: u64) -> Users<'_> {
        Users { me, dead: &self.dead }
    }

    /// As an end goes inside.
    fn use_it(&self, claim: &mut Claim, me: u64, deadline: Option<Deadline>) -> Result<(), Blocked> {
        if let Some(_inside) = claim.enter(&self.words) {
            self.content.change();
            return Ok(());
        }
        let turn = claim.lock(&self.words, &self.users(me), deadline)?;
        self.content.change();
        claim.settle(&turn, &self.users(me));
        Ok(())
    }

    /// Uses it so many times, and then closes the end or not.
    fn use_often(&self, me: u64, n: u32, closes: bool) {
        let mut claim = Claim::default();
        (0..n).for_each(|_| self.use_it(&mut claim, me, None).expect("there is no deadline"));
        if closes {
            claim.give_up(&self.words);
        }
    }
}

/// One of them has the bias, and keeps it, loses it, or gives it up.
#[test]
fn users_of_a_half_are_inside_one_at_a_time() {
    for closes in [false, true] {
        explore(2, move || {
            let half = Half::new();
            let mut claim = Claim::default();
            half.use_it(&mut claim, FIRST, None).expect("there is no deadline");
            let others = [SECOND, THIRD].map(|me| {
                let half = Arc::clone(&half);
                thread::spawn(move || half.use_often(me, 1, closes))
            });
            (0..2).for_each(|_| half.use_it(&mut claim, FIRST, None).expect("there is no deadline"));
            if closes {
                claim.give_up(&half.words);
            }
            others.into_iter().for_each(|other| other.join().unwrap());
            half.use_often(4, 1, false);
            assert_eq!(half.content.get(), 6);
        });
    }
}

#[test]
fn a_user_takes_over_from_one_that_died_with_the_bias() {
    explore(3, || {
        let half = Half::new();
        let mut claim = Claim::default();
        half.use_it(&mut claim, FIRST, None).expect("there is no deadline");
        let other = Arc::clone(&half);
        let other = thread::spawn(move || other.use_often(SECOND, 2, false));
        // Killed where it has the bias, or has lost it and not noticed.
        half.words.busy.store(1, Relaxed);
        half.users(FIRST).die();
        other.join().unwrap();
        assert_eq!(half.content.get(), 3);
    });
}

#[test]
fn a_user_takes_over_from_a_holder_that_died() {
    explore(3, || {
        let half = Half::new();
        let others = [SECOND, THIRD].map(|me| {
            let half = Arc::clone(&half);
            thread::spawn(move || half.use_often(me, 1, false))
        });
        let mut claim = Claim::default();
        mem::forget(claim.lock(&half.words, &half.users(FIRST), None).expect("there is no deadline"));
        half.users(FIRST).die();
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(half.content.get(), 2);
    });
}

/// It gets its turn from an acknowledgement, or none at all.
#[test]
fn a_user_without_membarrier_is_inside_only_after_an_acknowledgement() {
    explore(3, || {
        let half = Half::new();
        barrier::set(Membarrier::IsRefusedToAnother);
        let mut claim = Claim::default();
        half.use_it(&mut claim, FIRST, None).expect("there is no deadline");
        let other = Arc::clone(&half);
        let other = thread::spawn(move || {
            barrier::set(Membarrier::IsRefused);
            let mut claim = Claim::default();
            let entered = other.use_it(&mut claim, SECOND, None);
            assert!(matches!(entered, Ok(()) | Err(Blocked::Refused)));
            entered.is_ok()
        });
        // After each use, the other may be inside by an acknowledgement that this one has given.
        let n = (0..3).filter(|_| half.use_it(&mut claim, FIRST, None).is_ok()).count() as u32;
        let n = 1 + n + u32::from(other.join().unwrap());
        half.use_it(&mut claim, FIRST, None).expect("nobody else is left");
        assert_eq!((n, half.content.get()), (n, n + 1));
        assert_eq!(half.words.refused.load(Relaxed), 1);
    });
}

/// A bias that one could not revoke is revoked by the next one that can.
#[test]
fn a_bias_that_a_user_without_membarrier_put_back_is_revoked_by_another() {
    explore(2, || {
        let half = Half::new();
        let mut claim = Claim::default();
        half.use_it(&mut claim, FIRST, None).expect("there is no deadline");
        let (refused, able) = (Arc::clone(&half), Arc::clone(&half));
        let refused = thread::spawn(move || {
            barrier::set(Membarrier::IsRefused);
            refused.use_it(&mut Claim::default(), SECOND, None).is_ok()
        });
        let able = thread::spawn(move || able.use_often(THIRD, 1, false));
        half.use_it(&mut claim, FIRST, None).expect("there is no deadline");
        let n = 3 + u32::from(refused.join().unwrap());
        able.join().unwrap();
        assert_eq!(half.content.get(), n);
    });
}
