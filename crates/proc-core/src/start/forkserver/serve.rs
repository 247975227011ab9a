//! The helper's side: it forks itself when it is asked to, until its owner is gone.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use nix::{errno::Errno, unistd};

use super::{
    preload,
    protocol::{LOAD, NEWS_BYTES, RIGHTS, ROOT, SPARE},
};
use crate::{
    child, death_link,
    start::{
        request::Receiver,
        spawn::{self, Greeting},
    },
};
use kernel::{
    at_fork,
    sys::{
        attributes,
        clone::{Cloned, Cloner},
        credentials, death_signal, fds, memfd, seqpacket, signals,
    },
};

/// How many seconds a helper, or a spare, waits for its owner to start something. Then it ends: a host that waits for all its
/// children is not to wait for those that it does not know of. The next start makes others.
const IDLE: i64 = 10;

/// An owner that cannot be told is gone, or would wait for good: it must see an end then, and launches another helper.
fn tell(owner: &OwnedFd, errno: i32, spare: Option<Made>) {
    let mut news = [0; NEWS_BYTES];
    news[..4].copy_from_slice(&errno.to_ne_bytes());
    let sent = match spare {
        Some(Made { pid, pidfd, owners_end }) => {
            news[4..].copy_from_slice(&pid.to_ne_bytes());
            seqpacket::send_bytes(owner.as_fd(), &news, &[pidfd.as_raw_fd(), owners_end.as_raw_fd()])
        }
        None => seqpacket::send_bytes(owner.as_fd(), &news, &[]),
    };
    if sent.is_err() {
        child::end_silently();
    }
}

/// The helper's side: makes a spare each time it is asked to, until its owner is gone.
pub(crate) fn serve(owner: OwnedFd) -> ! {
    let mut receiver = Receiver::new();
    let Greeting { name, link, opener, status } = spawn::await_greeting(&owner, &mut receiver);
    if let Err(e) = opener.open_anew(link.as_fd()).and_then(death_link::tie) {
        child::refuse_owner(owner.as_fd(), &format!("a link to its owner's life that does not hold: {e}"))
    }
    let cloner = match Cloner::new() {
        Ok(cloner) => cloner,
        Err(e) => child::refuse(&format!(
            "a kernel, or a filter, that denies it get_robust_list or PR_GET_TID_ADDRESS ({e}), so that it cannot fork"
        )),
    };
    attributes::set_name(&name);
    child::warm_up();
    // The terminal's signals are for the owner and its children; only SIGKILL ends a helper from outside.
    std::mem::forget(signals::block_all());
    let _ = seqpacket::limit_waits(owner.as_fd(), IDLE);
    let mut has_loaded = false;
    loop {
        let mut what = [0];
        let mut received = seqpacket::receive_small(owner.as_fd(), &mut what, true);
        if received.as_ref().is_err_and(|e| *e == Errno::EAGAIN) {
            // From here on it is the owner that finds out; what has come right now is done.
            let _ = seqpacket::close_for_receiving(owner.as_fd());
            received = seqpacket::receive_small(owner.as_fd(), &mut what, true);
        }
        let done = match received {
            Ok((1, None)) if what == [SPARE] => match make_spare(&cloner, &opener, &link, has_loaded) {
                Ok(Forked::Helper(made)) => Ok(Some(made)),
                Ok(Forked::Spare { socket, own_link, owners_end }) => {
                    for of_helper in [owners_end, owner, link, opener.into(), status.into()] {
                        fds::close(of_helper);
                    }
                    be_spare(socket, own_link, receiver, has_loaded)
                }
                Err(e) => Err(e),
            },
            Ok((1, Some(root))) if what == [ROOT] => enter_root(&root).map(|()| None),
            Ok((1, Some(rights))) if what == [RIGHTS] => take_over(rights, &status).map(|()| None),
            Ok((1, None)) if what == [LOAD] => {
                preload::serve(&owner, &mut receiver);
                has_loaded = true;
                // It is there for as long as its owner wants it.
                let _ = seqpacket::limit_waits(owner.as_fd(), 0);
                Ok(None)
            }
            Err(Errno::EMSGSIZE) => Err(Errno::EMFILE),
            _ => child::end_silently(),
        };
        match done {
            Ok(made) => tell(&owner, 0, made),
            Err(e) => tell(&owner, e as i32, None),
        }
    }
}

/// A spare, as the helper has it.
struct Made {
    pid: i32,
    pidfd: OwnedFd,
    owners_end: OwnedFd,
}

/// Who one is.
enum Forked {
    Helper(Made),
    Spare { socket: OwnedFd, own_link: OwnedFd, owners_end: OwnedFd },
}

fn make_spare(cloner: &Cloner, opener: &death_signal::Opener, link: &OwnedFd, has_loaded: bool) -> nix::Result<Forked> {
    let (owners_end, socket) = seqpacket::pair()?;
    if !has_loaded {
        seqpacket::limit_waits(socket.as_fd(), IDLE)?;
    }
    let own_link = opener.open_anew(link.as_fd())?;
    match cloner.clone_sibling()? {
        Cloned::Original { pid, pidfd } => {
            // Before its owner learns of it, and gives it a request: until then it ends with this helper, which has its owner's end.
            match death_signal::arm_for(own_link.as_fd(), pid) {
                // It was killed, and its owner has reaped it: the owner finds that out.
                Ok(()) | Err(Errno::ESRCH) => Ok(Forked::Helper(Made { pid, pidfd, owners_end })),
                Err(e) => Err(e),
            }
        }
        Cloned::Child => Ok(Forked::Spare { socket, own_link, owners_end }),
    }
}

fn enter_root(root: &OwnedFd) -> nix::Result<()> {
    unistd::fchdir(root)?;
    unistd::chroot(".")
}

fn take_over(rights: OwnedFd, status: &File) -> nix::Result<()> {
    let errno = |e: io::Error| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EINVAL));
    let rights = memfd::read_whole(rights).map_err(errno)?;
    spawn::assume(&String::from_utf8_lossy(&rights), status).map_err(errno)?;
    // The kernel takes a process that changes its user for one with secrets, which nobody may look at. This one was executed
    // by its owner before, and has none that the owner's other children do not have.
    if credentials::is_privileged_start() { Ok(()) } else { nix::sys::prctl::set_dumpable(true) }
}

/// The spare's side. It has been tied to its owner's life.
fn be_spare(socket: OwnedFd, link: OwnedFd, mut receiver: Receiver, has_loaded: bool) -> ! {
    death_link::keep(link);
    if has_loaded {
        // What was loaded may have made state of its process that is not for forked children.
        at_fork::note_bare_fork();
    }
    child::rehearse();
    loop {
        match receiver.receive(socket.as_fd()) {
            Ok(Some((body, fds))) => child::run_request(socket, body, fds),
            // From here on its owner takes another one; what has come right now is run.
            Err(Errno::EAGAIN) if seqpacket::close_for_receiving(socket.as_fd()).is_ok() => {}
            // Nobody needs it any more.
            Ok(None) | Err(Errno::ECONNRESET) => child::end_silently(),
            Err(Errno::EMSGSIZE) => child::refuse("more descriptors than it may have open"),
            Err(_) => child::refuse("bytes on its socket that are no message of ours"),
        }
    }
}
