//! How much of the calling thread's stack is left: what decodes nested values recurses, as deep as the bytes say.
//!
//! # Safety
//! Asks the C library for the bounds of the calling thread's stack, and reads the stack pointer.
#![allow(unsafe_code)]

use std::{
    arch::asm,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

/// So much is used without asking for the stack's bounds, which takes a while on the main thread.
const UNASKED_BYTES: usize = 32 * 1024;
/// What may be used of a stack whose bounds are not known.
const UNKNOWN_BYTES: usize = 256 * 1024;

/// What a recursion may use of the stack: half of what is left where it begins. The other half is for what is done with
/// the result, above all for dropping it, which recurses as deep, but takes less for each level.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    begin: usize,
    floor: usize,
    is_known: bool,
}

/// There is no room for another level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted;

impl std::fmt::Display for Exhausted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("nested too deeply for this thread's stack")
    }
}

impl std::error::Error for Exhausted {}

impl Room {
    /// The calling thread's, from here on.
    #[inline]
    #[must_use]
    pub fn here() -> Self {
        let begin = position();
        Self { begin, floor: begin.saturating_sub(UNASKED_BYTES), is_known: false }
    }

    /// Checks that there is room for another level. On the thread that made this only.
    ///
    /// # Errors
    /// [`Exhausted`] if half of the stack that was left is in use.
    #[inline]
    pub fn check(&mut self) -> Result<(), Exhausted> {
        if position() >= self.floor {
            return Ok(());
        }
        // By value: what is lent to a call cannot be kept in registers.
        *self = self.bounded();
        if position() >= self.floor { Ok(()) } else { Err(Exhausted) }
    }

    /// The same, with the bounds of the thread's stack.
    #[cold]
    fn bounded(mut self) -> Self {
        if !self.is_known {
            self.is_known = true;
            let lowest = lowest().filter(|lowest| (*lowest..).contains(&self.begin));
            let room = lowest.map_or(UNKNOWN_BYTES, |lowest| (self.begin - lowest) / 2);
            self.floor = self.begin.saturating_sub(room);
        }
        self
    }
}

/// Where the stack pointer is.
#[inline(always)]
fn position() -> usize {
    let position: usize;
    // SAFETY: copies a register.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!("mov {}, rsp", out(reg) position, options(pure, nomem, nostack, preserves_flags));
    }
    // SAFETY: copies a register.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!("mov {}, sp", out(reg) position, options(pure, nomem, nostack, preserves_flags));
    }
    position
}

/// The bounds of the main thread's stack, once they have been asked for: its lowest address, and the address behind it. Relaxed:
/// whoever sees one and not the other asks once more, and finds the same.
static MAIN: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// Finds out, and remembers, what the bounds of the calling thread's stack are. The C library reads `/proc` for those of the
/// main thread, which may be out of reach later.
pub fn learn_stack() {
    let _ = lowest();
}

/// The lowest address of the calling thread's stack; `None` if it cannot be found out (the main thread's, without
/// `/proc`), or if this is another stack than the thread's own (a signal's, a coroutine's).
fn lowest() -> Option<usize> {
    let [main, end] = MAIN.each_ref().map(|bound| bound.load(Relaxed));
    if main != 0 && (main..end).contains(&position()) {
        return Some(main);
    }
    let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: names the calling thread.
    let this = unsafe { libc::pthread_self() };
    // SAFETY: asks about this thread itself; the attributes are initialised where the call succeeds.
    if unsafe { libc::pthread_getattr_np(this, attributes.as_mut_ptr()) } != 0 {
        return None;
    }
    let (mut lowest, mut len) = (std::ptr::null_mut(), 0);
    // SAFETY: initialised above; both places are this function's own.
    let known = unsafe { libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut lowest, &raw mut len) } == 0;
    // SAFETY: initialised above, and not used again.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    let lowest = lowest as usize;
    let end = lowest.saturating_add(len);
    let is_own = known && (lowest..end).contains(&position());
    // SAFETY: takes and changes nothing.
    let (thread, process) = (unsafe { libc::gettid() }, std::process::id());
    if is_own && thread.cast_unsigned() == process {
        MAIN[0].store(lowest, Relaxed);
        MAIN[1].store(end, Relaxed);
    }
    is_own.then_some(lowest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descend(room: &mut Room, depth: usize) -> usize {
        let frame = std::hint::black_box([0_u8; 256]);
        let reached = if room.check().is_ok() { descend(room, depth + 1) } else { depth };
        std::hint::black_box(frame);
        reached
    }

    #[test]
    fn bounds_of_this_thread_are_its_own() {
        let inside = || lowest().unwrap() < position();
        assert!(inside() && inside());
        std::thread::spawn(move || assert!(inside())).join().unwrap();
    }

    #[test]
    fn half_of_any_stack_can_be_used() {
        let depth = |stack_bytes| {
            let thread = std::thread::Builder::new().stack_size(stack_bytes);
            thread.spawn(|| descend(&mut Room::here(), 0)).unwrap().join().unwrap()
        };
        let (small, large) = (depth(256 * 1024), depth(8 * 1024 * 1024));
        assert!(small > 50 && large > 20 * small, "{small} {large}");
    }
}
