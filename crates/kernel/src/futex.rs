//! Futex words in memory that several processes share.
//!
//! Every call here is the *shared* kind (never `FUTEX_PRIVATE_FLAG`), and every deadline is on the monotonic clock.
//!
//! # Safety
//! The kernel reads the word that the reference points at, or changes it atomically; a reference to an `AtomicU32` is always a valid,
//! aligned address for that.
#![allow(unsafe_code)]

use std::{sync::atomic::AtomicU32, time::Duration};

/// A moment on the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(libc::timespec);

impl Deadline {
    /// The moment `timeout` from now; `None`, which means "never", if that is further away than the clock can count.
    pub fn after(timeout: Duration) -> Option<Self> {
        let now = now();
        let mut seconds = now.tv_sec.checked_add(i64::try_from(timeout.as_secs()).ok()?)?;
        let mut nanos = now.tv_nsec + i64::from(timeout.subsec_nanos());
        if nanos >= 1_000_000_000 {
            nanos -= 1_000_000_000;
            seconds = seconds.checked_add(1)?;
        }
        Some(Self(libc::timespec { tv_sec: seconds, tv_nsec: nanos }))
    }

    /// How long until then; zero once it has passed. At most 136 years, which every clock and system call can count.
    pub fn remaining(&self) -> Duration {
        let now = now();
        let nanos = i128::from(self.0.tv_sec - now.tv_sec) * 1_000_000_000 + i128::from(self.0.tv_nsec - now.tv_nsec);
        let longest = Duration::from_secs(u64::from(u32::MAX));
        u64::try_from(nanos.max(0)).map_or(longest, |nanos| Duration::from_nanos(nanos).min(longest))
    }

    /// Whether it has passed.
    pub fn has_passed(&self) -> bool {
        self.remaining().is_zero()
    }
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Another thread called [`wake`], or a signal arrived, or nothing happened at all: look at the word again.
    Woken,
    /// The word did not hold the expected value when the kernel looked.
    Changed,
    /// The deadline passed.
    TimedOut,
}

/// Sleeps while `word` holds `expected`, until a [`wake`] or the deadline; `None` waits for ever.
///
/// One system call; may return [`Wait::Woken`] without cause, so call it in a loop.
pub fn wait(word: &AtomicU32, expected: u32, deadline: Option<Deadline>) -> Wait {
    let timeout = deadline.as_ref().map_or(std::ptr::null(), |d| &raw const d.0);
    // SAFETY: `word` and `timeout` outlive the call; FUTEX_WAIT_BITSET takes an absolute monotonic time or null.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT_BITSET,
            expected,
            timeout,
            std::ptr::null::<u32>(),
            libc::FUTEX_BITSET_MATCH_ANY,
        )
    };
    if rc == 0 {
        return Wait::Woken;
    }
    match nix::errno::Errno::last() {
        nix::errno::Errno::EAGAIN => Wait::Changed,
        nix::errno::Errno::ETIMEDOUT => Wait::TimedOut,
        _ => Wait::Woken,
    }
}

/// As [`wait`], on several words at once: at most 128. One that does not hold its value is [`Wait::Changed`].
///
/// # Errors
/// `ENOSYS` before Linux 5.16, `EPERM` under a filter that does not know the call, `EINVAL` for too many words.
pub fn wait_any(words: &[(&AtomicU32, u32)], deadline: Option<Deadline>) -> nix::Result<Wait> {
    #[repr(C)]
    struct Waiter {
        value: u64,
        address: u64,
        flags: u32,
        reserved: u32,
    }
    const FUTEX2_SIZE_U32: u32 = 2;
    let waiter = |(word, expected): &(&AtomicU32, u32)| Waiter {
        value: u64::from(*expected),
        address: word.as_ptr().addr() as u64,
        flags: FUTEX2_SIZE_U32,
        reserved: 0,
    };
    let waiters: Vec<_> = words.iter().map(waiter).collect();
    let timeout = deadline.as_ref().map_or(std::ptr::null(), |d| &raw const d.0);
    // SAFETY: `waiters` and `timeout` outlive the call, and the words do, being borrowed; the time is an absolute one.
    let woken = unsafe {
        libc::syscall(libc::SYS_futex_waitv, waiters.as_ptr(), waiters.len(), 0, timeout, libc::CLOCK_MONOTONIC)
    };
    match nix::errno::Errno::result(woken) {
        Err(nix::errno::Errno::EAGAIN) => Ok(Wait::Changed),
        Err(nix::errno::Errno::ETIMEDOUT) => Ok(Wait::TimedOut),
        Err(e @ (nix::errno::Errno::ENOSYS | nix::errno::Errno::EPERM | nix::errno::Errno::EINVAL)) => Err(e),
        _ => Ok(Wait::Woken),
    }
}

/// Wakes at most `n` sleepers of `word`; returns how many woke.
pub fn wake(word: &AtomicU32, n: u32) -> usize {
    let n = i32::try_from(n).unwrap_or(i32::MAX);
    // SAFETY: FUTEX_WAKE uses the address as a key only.
    let woken = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, n) };
    usize::try_from(woken).unwrap_or(0)
}

/// What [`change_and_wake`] does with the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds 1.
    Increment = 1,
    /// Sets bit 0.
    SetLowestBit = 2,
}

/// Changes the word and wakes at most `n` of its sleepers, in one step; returns how many woke.
pub fn change_and_wake(word: &AtomicU32, change: Change, n: u32) -> usize {
    let n = i32::try_from(n).unwrap_or(i32::MAX);
    // The operand is 1. The call can wake more if the former value equals another one; it may as well, once in 2^32.
    let (operand, compare_equal, other) = (1, 0, 0x800);
    let encoded: u32 = (change as u32) << 28 | compare_equal << 24 | operand << 12 | other;
    let address = word.as_ptr();
    // SAFETY: both addresses are that of an atomic word that outlives the call; the kernel changes it atomically.
    let woken = unsafe { libc::syscall(libc::SYS_futex, address, libc::FUTEX_WAKE_OP, n, 0usize, address, encoded) };
    usize::try_from(woken).unwrap_or(0)
}

fn now() -> libc::timespec {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is writable; CLOCK_MONOTONIC exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_word_does_not_sleep() {
        assert_eq!(wait(&AtomicU32::new(1), 2, None), Wait::Changed);
    }

    #[test]
    fn a_word_is_changed_even_if_nobody_sleeps_on_it() {
        let word = AtomicU32::new(4);
        assert_eq!(change_and_wake(&word, Change::Increment, 1), 0);
        assert_eq!(change_and_wake(&word, Change::Increment, 1), 0);
        assert_eq!(change_and_wake(&word, Change::SetLowestBit, u32::MAX), 0);
        assert_eq!(word.into_inner(), 7);
    }

    #[test]
    fn one_of_several_words_ends_the_wait() {
        let (first, second) = (AtomicU32::new(1), AtomicU32::new(1));
        match wait_any(&[(&first, 1), (&second, 2)], None) {
            Ok(how) => assert_eq!(how, Wait::Changed),
            Err(e) => return println!("(a kernel without it: {e})"),
        }
        let deadline = Deadline::after(Duration::from_millis(1));
        while wait_any(&[(&first, 1), (&second, 1)], deadline) != Ok(Wait::TimedOut) {}
        assert!(deadline.is_some_and(|deadline| deadline.has_passed()));
    }

    #[test]
    fn deadline_ends_the_wait_no_earlier() {
        let begun = std::time::Instant::now();
        let word = AtomicU32::new(0);
        let deadline = Deadline::after(Duration::from_millis(20));
        while wait(&word, 0, deadline) != Wait::TimedOut {}
        assert!(begun.elapsed() >= Duration::from_millis(20));
    }

    #[test]
    fn a_deadline_beyond_the_clock_is_never() {
        assert!(Deadline::after(Duration::MAX).is_none());
        assert!(Deadline::after(Duration::ZERO).is_some_and(|d| d.has_passed()));
    }
}
