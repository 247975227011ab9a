//! Getting at the descriptor inside a [`Stdio`], which std keeps to itself.
//!
//! Only its own `Command` can open one. So a `Command` is started whose child sends its standard streams back over a
//! socket and ends without executing anything. That costs a fork, for processes that ask for other streams only.
//!
//! # Safety
//! Between fork and end the child makes system calls only.
#![allow(unsafe_code)]

use std::{
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{Command, Stdio},
    sync::Arc,
};

use nix::errno::Errno;

use kernel::sys::{fds, seqpacket};

/// A standard stream that was asked for.
#[derive(Debug)]
pub(crate) enum Stream {
    Asked(Stdio),
    /// Opened already, for any number of children.
    Opened(Arc<OwnedFd>),
}

impl Stream {
    fn into_stdio(self) -> io::Result<Stdio> {
        match self {
            Self::Asked(stdio) => Ok(stdio),
            Self::Opened(fd) => Ok(fd.try_clone()?.into()),
        }
    }
}

/// The child's ends of its standard streams, and our ends of those that are pipes.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    /// Which of the three are given.
    pub(crate) given: [bool; 3],
    /// The given ones, in order.
    pub(crate) theirs: Vec<OwnedFd>,
    /// Our ends of pipes.
    pub(crate) ours: [Option<OwnedFd>; 3],
}

impl Streams {
    /// Opens those that are given.
    pub(crate) fn open(streams: [Option<Stream>; 3]) -> io::Result<Self> {
        let given = streams.each_ref().map(Option::is_some);
        if !streams.iter().flatten().any(|stream| matches!(stream, Stream::Asked(_))) {
            let opened = streams.iter().flatten().filter_map(|stream| match stream {
                Stream::Opened(fd) => Some(fd.try_clone()),
                Stream::Asked(_) => None,
            });
            return Ok(Self { given, theirs: opened.collect::<Result<_, _>>()?, ours: Default::default() });
        }
        let [stdin, stdout, stderr] =
            streams.map(|stream| stream.map_or_else(|| Ok(Stdio::inherit()), Stream::into_stdio));
        let (here, there) = seqpacket::pair()?;
        let socket = there.as_raw_fd();
        let mut command = Command::new("/proc/self/exe");
        command.stdin(stdin?).stdout(stdout?).stderr(stderr?);
        // SAFETY: sends a message and ends: two system calls, without allocation.
        unsafe { command.pre_exec(move || send_streams(socket)) };
        let occupied = fds::Occupied::new()?;
        let mut child = command.spawn()?;
        drop(occupied);
        drop(there);
        let mut streams = Vec::new();
        let received = seqpacket::receive(here.as_fd(), &mut [0; 1], &mut streams);
        // Taken out first: `wait` closes the pipe to standard input.
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        match child.wait() {
            // The program ignores its children: the kernel has reaped it, once it had ended.
            Err(e) if e.raw_os_error() == Some(Errno::ECHILD as i32) => {}
            ended => drop(ended?),
        }
        if received? != 1 || streams.len() != 3 {
            return Err(io::Error::other("the standard streams could not be opened"));
        }
        let theirs = streams.into_iter().zip(given).filter(|(_, given)| *given).map(|(fd, _)| fd).collect();
        let ours = [stdin.map(Into::into), stdout.map(Into::into), stderr.map(Into::into)];
        Ok(Self { given, theirs, ours })
    }
}

fn send_streams(socket: i32) -> io::Result<()> {
    // SAFETY: the socket is open in this copy of the process.
    let socket = unsafe { std::os::fd::BorrowedFd::borrow_raw(socket) };
    let sent = seqpacket::send_bytes(socket, &[0], &[0, 1, 2]);
    // SAFETY: ends this process without running anything of its parent's.
    unsafe { libc::_exit(i32::from(sent.is_err())) }
}
