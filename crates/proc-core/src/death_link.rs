//! Children do not outlive their owner: the kernel kills them the moment it is gone, however it went.
//!
//! The owner has a pipe. It alone holds the write end, and never writes to it. When the owner dies the kernel closes it,
//! and signals all processes that asked to be signalled at that ([`death_signal`]). No thread watches, none of the traps of
//! `PR_SET_PDEATHSIG` (which fires when the *thread* that forked ends), and a stopped child dies too.
//!
//! The process that makes a child ties it as soon as it exists, and before it has anything to run: so it is of no use to stop
//! it before. What remains are the microseconds between the two, if both are stopped in them and the owner dies then. The link
//! is a descriptor of the child: it is gone when the child executes another program, or closes all of its descriptors.
//!
//! # Safety
//! In a forked child the write end is closed by number; nothing else ever owns that descriptor there.
#![allow(unsafe_code)]

use std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    sync::{
        Mutex, Once, OnceLock, PoisonError,
        atomic::{AtomicI32, Ordering::Relaxed},
    },
};

use nix::{
    fcntl::OFlag,
    sys::stat::{Mode, fchmod},
    unistd::pipe2,
};

use kernel::{
    at_fork,
    fds::above_standard_streams,
    fork_local::ForkLocal,
    sys::{
        death_signal::{self, Opener},
        fds,
    },
};

#[derive(Default)]
struct Pipe {
    ends: OnceLock<(OwnedFd, Opener)>,
    making: Mutex<()>,
}

static PIPE: ForkLocal<Pipe> = ForkLocal::new();
static WRITE_END: AtomicI32 = AtomicI32::new(-1);

/// The end of the calling process's pipe that its children are to [`tie`] themselves to.
pub(crate) fn end_for_children() -> nix::Result<BorrowedFd<'static>> {
    Ok(ends()?.0.as_fd())
}

/// A link that a child of the calling process can [`tie`] itself with.
pub(crate) fn new_link() -> nix::Result<OwnedFd> {
    let (read_end, opener) = ends()?;
    opener.open_anew(read_end.as_fd())
}

fn ends() -> nix::Result<&'static (OwnedFd, Opener)> {
    static FORGET_IN_CHILD: Once = Once::new();
    FORGET_IN_CHILD.call_once(|| at_fork::on_child(close_inherited_write_end));
    let pipe = PIPE.get();
    let _making = pipe.making.lock().unwrap_or_else(PoisonError::into_inner);
    if pipe.ends.get().is_none() {
        let opener = Opener::new()?;
        let (read_end, write_end) = pipe2(OFlag::O_CLOEXEC)?;
        let (read_end, write_end) = (above_standard_streams(read_end)?, above_standard_streams(write_end)?);
        // Children are to open it too, and may be other users by then. Another process that can reach it here can see all
        // that we have open anyway.
        // Where a confinement refuses it, children that are another user by then are not tied, and say so.
        let _ = fchmod(&read_end, Mode::S_IRUSR | Mode::S_IRGRP | Mode::S_IROTH);
        WRITE_END.store(write_end.as_raw_fd(), Relaxed);
        std::mem::forget(write_end);
        let _ = pipe.ends.set((read_end, opener));
    }
    Ok(pipe.ends.get().expect("just set"))
}

/// A forked child that kept its parent's write end would keep its parent's other children alive.
fn close_inherited_write_end() {
    let number: RawFd = WRITE_END.swap(-1, Relaxed);
    if number >= 0 {
        // SAFETY: the number was made by `pipe2` and forgotten; this process has had no chance to reuse it.
        fds::close(unsafe { OwnedFd::from_raw_fd(number) });
    }
}

/// The open file through which the kernel tells this process of its owner's death.
static OWNER: Mutex<Option<OwnedFd>> = Mutex::new(None);

/// Ties the calling process to the life of the owner of the link. If that one is dead already, does not return.
#[inline]
pub(crate) fn tie(own: OwnedFd) -> nix::Result<()> {
    death_signal::arm(own.as_fd())?;
    hold(own);
    Ok(())
}

/// Goes on with a link that has been tied already.
#[inline]
pub(crate) fn hold(own: OwnedFd) {
    if death_signal::has_fired(own.as_fd()) {
        death_signal::die();
    }
    keep(own);
}

/// Keeps a link open that whoever made the calling process has tied it with.
#[inline]
pub(crate) fn keep(own: OwnedFd) {
    // What a fork may have left here belongs to the parent's life.
    let former = OWNER.lock().unwrap_or_else(PoisonError::into_inner).replace(own);
    former.into_iter().for_each(fds::close);
}

/// Lets the calling process outlive its owner.
pub(crate) fn untie() {
    *OWNER.lock().unwrap_or_else(PoisonError::into_inner) = None;
}
