//! Where a freshly executed copy of this program turns into a fork server or a child, before `main`.
//!
//! The loader calls `ENTRY` like any other constructor. In an ordinary start it finds no marker in the environment
//! and returns at once: one look-up is all that a program pays. With a marker, the process never reaches `main`, whatever
//! else is the case: a copy that went on to `main` would start copies of itself, which would do so too. It calls the
//! constructors that come after this one, so that a child sees what its parent sees; and only if what the marker names is a
//! socket whose other end was made by this process's parent, under the same user, it serves that parent. One with more rights
//! than it was started with looks twice ([`vouch`]).
//!
//! # Safety
//! Runs before `main` on the only thread. The standard library works there: glibc hands arguments and environment to
//! constructors, and std takes note of them in one that comes earlier (`.init_array.00099`).
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::{
    errno::Errno,
    sys::socket::{getsockopt, sockopt::PeerCredentials},
    unistd,
};

use crate::{
    child, death_link,
    start::{
        forkserver,
        marker::{MARKER, VOUCH},
        spawn, vouch,
    },
};
use kernel::sys::{credentials, fds};

#[cfg(feature = "auto-entry")]
mod constructor {
    use std::sync::atomic::Ordering::Relaxed;

    use super::{enter, take_marker};
    use crate::start::marker::IS_BEFORE_MAIN;
    use kernel::sys::constructors::{Arguments, Constructor, run_rest};

    /// One of the constructors without a priority, which come last, in the order in which the linker met them.
    #[used]
    #[unsafe(link_section = ".init_array")]
    static ENTRY: Constructor = {
        extern "C" fn entry(argc: i32, argv: *const *const libc::c_char, envp: *const *const libc::c_char) {
            if let Some(role) = take_marker() {
                IS_BEFORE_MAIN.store(true, Relaxed);
                run_rest(&raw const ENTRY, Arguments { argc, argv, envp });
                IS_BEFORE_MAIN.store(false, Relaxed);
                enter(&role);
            }
        }
        entry
    };
}

/// Turns this process into a fork server or a child if that is what it was started for; else returns at once.
///
/// A program need not call this: it happens by itself before `main`. Without the default feature `auto-entry` it does
/// not, and a program that starts processes must call it first thing in `main`, while there is one thread.
pub fn init() {
    if let Some(role) = take_marker() {
        enter(&role);
    }
}

fn take_marker() -> Option<String> {
    let role = std::env::var_os(MARKER)?;
    // SAFETY: the program has one thread yet, as documented.
    unsafe { std::env::remove_var(MARKER) };
    Some(role.into_string().unwrap_or_default())
}

fn enter(role: &str) -> ! {
    let (role, expects_question) = role.strip_suffix(VOUCH).map_or((role, false), |role| (role, true));
    let (kind, socket) = role.split_once(':').unwrap_or_default();
    let (socket, link) = socket.split_once(',').map_or((socket, None), |(socket, link)| (socket, link.parse().ok()));
    let Ok(number) = socket.parse() else { child::refuse("a marker that is not ours") };
    let socket = match fds::adopt(number) {
        Ok(socket) if is_parents(socket.as_fd(), expects_question) => socket,
        // Its parent may have ended, and it have another one by now.
        Ok(other) => child::refuse_owner(other.as_fd(), "a descriptor that is not its parent's socket"),
        Err(e) => child::refuse(&format!("descriptor {number}, which is not open: {e}")),
    };
    let link = link.and_then(|number| fds::adopt(number).ok());
    if let Err(e) = prepare(&socket, link.as_ref()) {
        child::refuse(&format!("standard streams that cannot be opened: {e}"));
    }
    // Armed by its owner, until this process ties itself.
    if let Some(link) = link {
        death_link::hold(link);
    }
    if expects_question {
        if let Err(why) = vouch::demand(socket.as_fd()) {
            child::refuse(&why);
        }
    } else if credentials::is_privileged_start() {
        child::refuse("more rights than its parent says it has");
    }
    match kind {
        "server" => forkserver::serve(socket),
        "child" => spawn::serve(socket),
        _ => child::refuse("a marker that is not ours"),
    }
}

/// Whether our parent made the other end, under our user. If the parent is going to be asked, the user does not matter: it
/// may have been another one when it made the socket.
fn is_parents(socket: BorrowedFd<'_>, is_to_be_asked: bool) -> bool {
    getsockopt(&socket, PeerCredentials).is_ok_and(|peer| {
        let is_our_user = is_to_be_asked || peer.uid() == unistd::getuid().as_raw();
        peer.pid() == unistd::getppid().as_raw() && is_our_user
    })
}

/// After this, nothing is open but the standard streams, the socket and the link.
fn prepare(socket: &OwnedFd, link: Option<&OwnedFd>) -> Result<(), Errno> {
    fds::fill_standard_streams()?;
    let kept: Vec<RawFd> = [socket].into_iter().chain(link).map(AsRawFd::as_raw_fd).collect();
    fds::close_all_but(&kept);
    Ok(())
}
