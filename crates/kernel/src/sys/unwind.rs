//! Walks the calling thread's stack. Allocates nothing and takes no lock, so that a signal handler can do it too.
//!
//! # Safety
//! Calls the unwinder that std itself uses and links, by the interface that the Itanium C++ ABI gives it.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};

/// One frame.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Where it is at: inside the call, not after it, so that it belongs to the line of the call even if that is the last
    /// instruction of its function. For what a signal has interrupted, the instruction itself.
    pub address: usize,
    /// Where its function begins.
    pub function: usize,
}

/// Shows `visit` each frame, from the caller outward, until it returns false.
pub fn walk(mut visit: &mut dyn FnMut(Step) -> bool) {
    // SAFETY: `step` takes `data` for the closure that it is, and does not unwind.
    unsafe { _Unwind_Backtrace(step, (&raw mut visit).cast()) };
}

const GO_ON: c_int = 0;
/// `_URC_NORMAL_STOP`.
const STOP: c_int = 4;

extern "C" fn step(context: *mut c_void, data: *mut c_void) -> c_int {
    // SAFETY: `data` is the `&raw mut visit` of `walk`, which nothing else uses during the walk.
    let visit = unsafe { &mut *data.cast::<&mut dyn FnMut(Step) -> bool>() };
    let mut is_before = 0;
    // SAFETY: the context is the unwinder's, valid during this call.
    let address = unsafe { _Unwind_GetIPInfo(context, &raw mut is_before) };
    if address == 0 {
        return STOP;
    }
    // SAFETY: as above.
    let function = unsafe { _Unwind_GetRegionStart(context) };
    let address = if is_before == 0 { address - 1 } else { address };
    if visit(Step { address, function }) { GO_ON } else { STOP }
}

unsafe extern "C-unwind" {
    fn _Unwind_Backtrace(trace: extern "C" fn(*mut c_void, *mut c_void) -> c_int, data: *mut c_void) -> c_int;
    fn _Unwind_GetIPInfo(context: *mut c_void, is_before: *mut c_int) -> usize;
    fn _Unwind_GetRegionStart(context: *mut c_void) -> usize;
}
