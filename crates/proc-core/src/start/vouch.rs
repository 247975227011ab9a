//! How a copy of this program that has more rights than it was started with makes sure of whom it serves.
//!
//! A program with file capabilities, with the set-user-ID bit, or after `seteuid` starts copies of itself that the kernel
//! calls privileged (`AT_SECURE`). Anybody can start such a program with a marker and a socket of his own. What a parent has
//! that an impostor cannot have is the rights themselves. So the copy
//!
//! 1. looks which capabilities its parent has in this moment;
//! 2. then asks, over the socket, with a number that nobody can know before. The parent answers as each of its users and
//!    groups, the real, the effective and the saved. The kernel notes who sends, and lets nobody send as what he is not. So
//!    whoever has the other end now is the parent itself, after it had these capabilities;
//! 3. gives up what the parent does not have. A program's file changes nothing else: the rest is inherited.
//!
//! None of it is read from `/proc`, which may hide the parent from the copy (`hidepid`).
//!
//! To look at the program that the parent runs would not do: under a debugger or `no_new_privs` it is the same program, but
//! in other hands, and without the rights.
//!
//! # Safety
//! A socket option that takes an integer, and random bytes that the kernel writes into an array.
#![allow(unsafe_code)]

use std::{
    fs::File,
    io::{self, IoSlice, IoSliceMut},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use nix::{
    cmsg_space,
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg, sendmsg, setsockopt, sockopt::PassCred,
    },
    unistd::{Pid, getpid, getppid, getresgid, getresuid},
};

use crate::child;
use kernel::{
    futex::Deadline,
    sys::{
        credentials::{self, Credentials},
        seqpacket,
    },
};

/// How long an owner waits for the question.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

type Question = [u8; 16];

/// Whether copies that the calling process starts will ask.
pub(crate) fn is_needed() -> bool {
    let (uids, gids) = (getresuid(), getresgid());
    credentials::is_privileged_start()
        || uids.is_ok_and(|ids| ids.real != ids.effective)
        || gids.is_ok_and(|ids| ids.real != ids.effective)
}

/// In the copy: gives up what its parent does not have, and asks it.
///
/// # Errors
/// Why the parent could not be made sure of.
pub(crate) fn demand(socket: BorrowedFd<'_>) -> Result<(), String> {
    let own = File::open("/proc/self/status").and_then(|status| Ok((Credentials::own(&status)?, status)));
    let (mut rights, status) = own.map_err(|e| format!("more rights, of which it cannot see what they are: {e}"))?;
    let parent = getppid();
    let seen = rights.capabilities.take_over(parent.as_raw().cast_unsigned());
    seen.map_err(|e| format!("more rights than its parent can be seen to have: {e}"))?;
    let answers = ask(socket, parent).unwrap_or_else(|e| {
        let why = format!("more rights, by a parent that does not answer: {e}");
        child::refuse_owner(socket, &why)
    });
    let answers = answers.filter(|_| getppid() == parent).ok_or("rights that are not for the one who answers")?;
    rights.uids = answers.map(|sender| sender.uid());
    rights.gids = answers.map(|sender| sender.gid());
    rights.assume(&status).map_err(|e| format!("rights that are not its parent's, and that it cannot give up: {e}"))
}

/// As whom the parent answers: the real user and group, the effective ones, and the saved ones. `None` if another process does.
fn ask(socket: BorrowedFd<'_>, parent: Pid) -> io::Result<Option<[UnixCredentials; 3]>> {
    let mut question: Question = [0; 16];
    // SAFETY: the kernel writes at most so many bytes.
    let len = unsafe { libc::getrandom(question.as_mut_ptr().cast(), question.len(), 0) };
    if len != question.len() as isize {
        return Err(io::Error::last_os_error());
    }
    setsockopt(&socket, PassCred, &true)?;
    seqpacket::send_bytes(socket, &question, &[])?;
    let mut answers = [UnixCredentials::new(); 3];
    for answer in &mut answers {
        *answer = await_answer(socket, question)?;
        if answer.pid() != parent.as_raw() {
            return Ok(None);
        }
    }
    setsockopt(&socket, PassCred, &false)?;
    Ok(Some(answers))
}

/// Who sends the question back.
fn await_answer(socket: BorrowedFd<'_>, question: Question) -> io::Result<UnixCredentials> {
    let mut answer = Question::default();
    let mut parts = [IoSliceMut::new(&mut answer)];
    let mut control = cmsg_space!(UnixCredentials);
    let message = loop {
        // What came before the question comes before the answer too, and is none.
        match recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC) {
            Err(Errno::EINTR) => {}
            message => break message?,
        }
    };
    let sender = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::ScmCredentials(sender) => Some(sender),
        _ => None,
    });
    let len = message.bytes;
    match sender {
        Some(sender) if len == answer.len() && answer == question => Ok(sender),
        _ => Err(io::Error::other("the answer is another one's")),
    }
}

/// In the owner: answers the copy at the other end. One that ends or says nothing is found out later, by its silence.
pub(crate) fn answer(socket: &OwnedFd, pidfd: &OwnedFd) -> nix::Result<()> {
    let deadline = Deadline::after(PATIENCE);
    loop {
        let mut fds = [socket, pidfd].map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN));
        match ppoll(&mut fds, deadline.map(|deadline| deadline.remaining().into()), None) {
            Ok(0) => return Err(Errno::ETIMEDOUT),
            Ok(_) if fds[0].any() == Some(true) => break,
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e),
        }
    }
    let mut question = Question::default();
    match seqpacket::receive_small(socket.as_fd(), &mut question, false) {
        Ok((len, _)) if len == question.len() => match send_as_all(socket.as_fd(), &question) {
            Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(()),
            sent => sent,
        },
        Ok(_) | Err(Errno::EAGAIN | Errno::ECONNRESET) => Ok(()),
        Err(e) => Err(e),
    }
}

/// Sends a packet as the real user and group, one as the effective ones, and one as the saved ones.
fn send_as_all(socket: BorrowedFd<'_>, packet: &[u8]) -> nix::Result<()> {
    let (uids, gids) = (getresuid()?, getresgid()?);
    for (uid, gid) in [(uids.real, gids.real), (uids.effective, gids.effective), (uids.saved, gids.saved)] {
        let sender = libc::ucred { pid: getpid().as_raw(), uid: uid.as_raw(), gid: gid.as_raw() }.into();
        let control = [ControlMessage::ScmCredentials(&sender)];
        sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(packet)], &control, MsgFlags::MSG_NOSIGNAL, None)?;
    }
    Ok(())
}
