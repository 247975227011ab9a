//! A stack for the handler on a thread whose own may be used up.
//!
//! # Safety
//! Memory of its own is given to the kernel, and taken back before it is freed.
#![allow(unsafe_code)]

use std::ptr::null_mut;

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use super::handler;

/// Until it is dropped, the calling thread handles signals on memory of its own. On that thread only.
#[derive(Debug)]
pub(crate) struct AlternateStack(std::ptr::NonNull<std::ffi::c_void>);

impl AlternateStack {
    /// One for the calling thread, if the handler is there and the thread has none; std gives one to its threads where it
    /// has set up `main`.
    pub(crate) fn new() -> Option<Self> {
        // SAFETY: a stack_t is plain data.
        let mut present: libc::stack_t = unsafe { std::mem::zeroed() };
        // SAFETY: asks only.
        let known = handler::is_installed() && unsafe { libc::sigaltstack(std::ptr::null(), &raw mut present) } == 0;
        if !known || present.ss_flags & libc::SS_DISABLE == 0 {
            return None;
        }
        let len = std::num::NonZero::new(handler::STACK_BYTES)?;
        let (read_write, private) = (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE);
        // SAFETY: new memory, wherever the kernel likes.
        let memory = unsafe { mmap_anonymous(None, len, read_write, private) }.ok()?;
        let stack = libc::stack_t { ss_sp: memory.as_ptr(), ss_flags: 0, ss_size: handler::STACK_BYTES };
        // SAFETY: the memory is this value's own, for as long as it is the thread's stack.
        unsafe { libc::sigaltstack(&raw const stack, null_mut()) };
        Some(Self(memory))
    }
}

impl Drop for AlternateStack {
    fn drop(&mut self) {
        let none = libc::stack_t { ss_sp: null_mut(), ss_flags: libc::SS_DISABLE, ss_size: handler::STACK_BYTES };
        // SAFETY: takes the stack back from this thread.
        unsafe { libc::sigaltstack(&raw const none, null_mut()) };
        // SAFETY: mapped by `new` with that length; nothing uses it any more.
        let unmapped = unsafe { munmap(self.0, handler::STACK_BYTES) };
        debug_assert!(unmapped.is_ok());
    }
}
