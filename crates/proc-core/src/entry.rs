//! Where a freshly executed copy of this program turns into a fork server or a child, before `main`.
//!
//! The loader calls [`ENTRY`] like any other constructor. In an ordinary start it finds no marker in the environment
//! and returns at once: one look-up is all that a program pays. With a marker, and only if what it names is a socket
//! whose other end was made by this process's parent, under the same user, the process serves that parent and never
//! reaches `main`.
//!
//! # Safety
//! Runs before `main` on the only thread. The standard library works there: glibc hands arguments and environment to
//! constructors, and std takes note of them in one that comes earlier (`.init_array.00099`).
#![allow(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::{
    errno::Errno,
    sys::socket::{getsockopt, sockopt::PeerCredentials},
    unistd,
};

use crate::{
    child,
    start::{forkserver, spawn},
    sys::fds,
};

/// Names the socket: `server:FD` or `child:FD`.
pub(crate) const MARKER: &str = "PROC_CORE_ENTRY";

/// One of the constructors without a priority, which come last: what this program's other crates set up before `main`
/// in numbered ones is there for the children too.
#[cfg(feature = "auto-entry")]
#[used]
#[unsafe(link_section = ".init_array")]
static ENTRY: extern "C" fn() = {
    extern "C" fn entry() {
        init();
    }
    entry
};

/// Turns this process into a fork server or a child if that is what it was started for; else returns at once.
///
/// Nobody needs to call this: it happens by itself before `main`. Without the default feature `auto-entry` it does
/// not, and a program that starts processes must call it first thing in `main`, while there is one thread.
pub fn init() {
    if let Some(role) = std::env::var_os(MARKER) {
        // SAFETY: the program has one thread yet, as documented.
        unsafe { std::env::remove_var(MARKER) };
        // SAFETY: asks the kernel's auxiliary vector.
        if unsafe { libc::getauxval(libc::AT_SECURE) } != 0 {
            return;
        }
        enter(role.to_str().unwrap_or_default());
    }
}

/// Whether the marker is still there: then this is a copy that was to serve its parent, but never got to [`init`].
pub(crate) fn was_missed() -> bool {
    std::env::var_os(MARKER).is_some()
}

fn enter(role: &str) -> ! {
    let (kind, socket) = role.split_once(':').unwrap_or_default();
    let Ok(number) = socket.parse() else { child::refuse("a marker that is not ours") };
    let socket = match fds::adopt(number) {
        Ok(socket) if is_parents(socket.as_fd()) => socket,
        Ok(_) => child::refuse("a descriptor that is not its parent's socket"),
        Err(e) => child::refuse(&format!("descriptor {number}, which is not open: {e}")),
    };
    if let Err(e) = prepare(&socket) {
        child::refuse(&format!("standard streams that cannot be opened: {e}"));
    }
    match kind {
        "server" => forkserver::serve(socket),
        "child" => spawn::serve(socket),
        _ => child::refuse("a marker that is not ours"),
    }
}

/// The other end was made by our parent, and runs under our user.
fn is_parents(socket: BorrowedFd<'_>) -> bool {
    getsockopt(&socket, PeerCredentials)
        .is_ok_and(|peer| peer.pid() == unistd::getppid().as_raw() && peer.uid() == unistd::getuid().as_raw())
}

/// Nothing is open but the standard streams and the socket.
fn prepare(socket: &OwnedFd) -> Result<(), Errno> {
    fds::fill_standard_streams()?;
    fds::close_all_but(&[std::os::fd::AsRawFd::as_raw_fd(socket)]);
    Ok(())
}
