#![allow(unsafe_code, reason = "a signal handler")]

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use super::reserve::reserve;

extern "C" fn ignore(_: i32) {}

#[test]
fn signals_do_not_keep_a_file_from_its_memory() {
    let action = SigAction::new(SigHandler::Handler(ignore), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler does nothing.
    unsafe { sigaction(Signal::SIGWINCH, &action) }.unwrap();
    // SAFETY: takes nothing.
    let reserving = unsafe { libc::pthread_self() };
    let fd = memfd_create("reserve", MFdFlags::MFD_CLOEXEC).unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Relaxed) {
                // SAFETY: the thread waits for this one.
                unsafe { libc::pthread_kill(reserving, libc::SIGWINCH) };
                thread::sleep(Duration::from_micros(500));
            }
        });
        reserve(&fd, 0, 64 << 20).unwrap();
        over.store(true, Relaxed);
    });
    assert_eq!(nix::sys::stat::fstat(&fd).unwrap().st_blocks, (64 << 20) / 512);
}
