//! Takes the return addresses of the calling thread.
//!
//! # Safety
//! Calls the unwinder that std itself uses and links, by the interface that the Itanium C++ ABI gives it.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};

/// As many frames as are kept: those of a function that calls itself without end say nothing new.
pub(super) const MAX_FRAMES: usize = 128;

/// Whether the environment asks for backtraces, by the rule of [`std::backtrace::Backtrace::capture`].
pub(super) fn is_enabled() -> bool {
    let setting = std::env::var_os("RUST_LIB_BACKTRACE").or_else(|| std::env::var_os("RUST_BACKTRACE"));
    setting.is_some_and(|setting| setting != "0")
}

/// Return addresses, from the caller outward. Each lies inside the call, not after it, so that it belongs to the line
/// of the call even if that is the last instruction of its function.
pub(super) fn addresses() -> Vec<usize> {
    let mut list = List { addresses: [0; MAX_FRAMES], len: 0 };
    // SAFETY: `push` takes `data` for the list that it is, and does not unwind.
    unsafe { _Unwind_Backtrace(push, (&raw mut list).cast()) };
    list.addresses[..list.len].to_vec()
}

struct List {
    addresses: [usize; MAX_FRAMES],
    len: usize,
}

const GO_ON: c_int = 0;
/// `_URC_NORMAL_STOP`.
const STOP: c_int = 4;

extern "C" fn push(context: *mut c_void, data: *mut c_void) -> c_int {
    // SAFETY: `data` is the list of `addresses`, which nothing else uses during the walk.
    let list = unsafe { &mut *data.cast::<List>() };
    let mut is_before = 0;
    // SAFETY: the context is the unwinder's, valid during this call.
    let address = unsafe { _Unwind_GetIPInfo(context, &raw mut is_before) };
    let Some(place) = list.addresses.get_mut(list.len).filter(|_| address != 0) else { return STOP };
    *place = if is_before == 0 { address - 1 } else { address };
    list.len += 1;
    GO_ON
}

unsafe extern "C-unwind" {
    fn _Unwind_Backtrace(trace: extern "C" fn(*mut c_void, *mut c_void) -> c_int, data: *mut c_void) -> c_int;
    fn _Unwind_GetIPInfo(context: *mut c_void, is_before: *mut c_int) -> usize;
}
