//! Writing to a program and reading from it at the same time.

use std::{
    io::{self, Read, Write},
    mem,
    os::fd::AsFd,
    process::{ChildStderr, ChildStdin, ChildStdout, ExitStatus, Output},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, ppoll},
};

use super::{CommandError, error::Partial};
use crate::process::ProcessHandle;
use kernel::{futex::Deadline, sys::sigpipe};

/// What a program is given to read: text, bytes, or `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Input(Vec<u8>);

macro_rules! input_from {
    ($($t:ty),*) => {
        $(impl From<$t> for Input {
            fn from(bytes: $t) -> Self {
                Self(Vec::from(bytes))
            }
        })*
    };
}
input_from!(&str, String, &[u8], Vec<u8>);

impl<const N: usize> From<&[u8; N]> for Input {
    fn from(bytes: &[u8; N]) -> Self {
        Self(bytes.to_vec())
    }
}

impl From<Option<&[u8]>> for Input {
    fn from(bytes: Option<&[u8]>) -> Self {
        Self(bytes.map(Vec::from).unwrap_or_default())
    }
}

/// What has been exchanged with a program, and what is to be.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    pipes: Option<Pipes>,
    to_write: Vec<u8>,
    written: usize,
    read: Partial,
}

#[derive(Debug)]
struct Pipes {
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
}

/// As much is read or written in one go, so that no stream keeps the others waiting.
const GO: usize = 64 * 1024;

impl Pipes {
    fn take(first: &ProcessHandle, last: &ProcessHandle) -> io::Result<Self> {
        let pipes = Self { stdin: first.take_stdin(), stdout: last.take_stdout(), stderr: last.take_stderr() };
        let fds = [pipes.stdin.as_ref().map(AsFd::as_fd), pipes.stdout.as_ref().map(AsFd::as_fd)];
        for fd in fds.into_iter().chain([pipes.stderr.as_ref().map(AsFd::as_fd)]).flatten() {
            // Of our end only: the program's is another open file.
            fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok(pipes)
    }
}

impl Exchange {
    /// With a pipeline, whose end is that of its last program.
    pub(super) fn between(first: &ProcessHandle, last: &ProcessHandle) -> Result<Self, CommandError> {
        let pipes = Pipes::take(first, last).map_err(|e| CommandError::io(last.name(), e))?;
        Ok(Self { pipes: Some(pipes), ..Self::default() })
    }

    pub(super) fn run(
        &mut self,
        handle: &ProcessHandle,
        input: Input,
        deadline: Option<Deadline>,
        limit: usize,
    ) -> Result<Output, CommandError> {
        self.to_write.extend(input.0);
        let io = |e| CommandError::io(handle.name(), e);
        if self.pipes.is_none() {
            self.pipes = Some(Pipes::take(handle, handle).map_err(io)?);
        }
        match self.converse(handle, deadline, limit).map_err(io)? {
            Completion::Done => {}
            Completion::TimedOut => return Err(CommandError::timed_out(handle.name(), self.read.clone())),
            Completion::TooMuch => {
                let program = handle.name().to_owned();
                return Err(CommandError::TooMuchOutput { program, partial: self.read.clone() });
            }
        }
        let status: ExitStatus = handle.wait()?;
        let Partial { stdout, stderr } = mem::take(&mut self.read);
        Ok(Output { status, stdout, stderr })
    }

    /// Until the program has ended and all that it wrote has been read.
    fn converse(&mut self, handle: &ProcessHandle, deadline: Option<Deadline>, limit: usize) -> io::Result<Completion> {
        let Some(pipes) = &mut self.pipes else { return Ok(Completion::Done) };
        loop {
            if self.written == self.to_write.len() {
                pipes.stdin = None;
            }
            let has_ended = !handle.is_alive();
            if !has_ended {
                let mut fds = vec![PollFd::new(handle.as_fd(), PollFlags::POLLIN)];
                fds.extend(pipes.stdin.as_ref().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLOUT)));
                fds.extend(pipes.stdout.as_ref().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
                fds.extend(pipes.stderr.as_ref().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
                match ppoll(&mut fds, deadline.map(|d| d.remaining().into()), None) {
                    Ok(0) => return Ok(Completion::TimedOut),
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(e) => return Err(e.into()),
                }
            }
            let rest = &self.to_write[self.written..];
            self.written += write(&mut pipes.stdin, rest)?;
            // What the program itself wrote before it ended fits into the pipe. More comes from another process.
            let go = if has_ended { PIPE_CAPACITY } else { GO };
            let fits = read(&mut pipes.stdout, &mut self.read.stdout, go, limit)?
                & read(&mut pipes.stderr, &mut self.read.stderr, go, limit)?;
            match (fits, has_ended) {
                (false, _) => return Ok(Completion::TooMuch),
                (true, true) => return Ok(Completion::Done),
                (true, false) if deadline.is_some_and(|d| d.has_passed()) && handle.is_alive() => {
                    return Ok(Completion::TimedOut);
                }
                (true, false) => {}
            }
        }
    }
}

/// The most that a pipe can be made to hold without privileges (`/proc/sys/fs/pipe-max-size`).
const PIPE_CAPACITY: usize = 1 << 20;

enum Completion {
    Done,
    TimedOut,
    TooMuch,
}

/// How much of `data` the pipe took.
fn write(pipe: &mut Option<ChildStdin>, data: &[u8]) -> io::Result<usize> {
    let Some(open) = pipe else { return Ok(0) };
    match sigpipe::withheld(|| open.write(&data[..data.len().min(GO)])) {
        Ok(n) => Ok(n),
        Err(e) if is_later(&e) => Ok(0),
        // There is no reader any more. The program's status says whether that is an error.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {
            *pipe = None;
            Ok(0)
        }
        Err(e) => Err(e),
    }
}

/// Reads at most `go` bytes, and closes the pipe at its end. False if `into` is full and there is more.
fn read<R: Read>(pipe: &mut Option<R>, into: &mut Vec<u8>, go: usize, limit: usize) -> io::Result<bool> {
    let Some(open) = pipe else { return Ok(true) };
    let mut left = go;
    let mut buffer = [0; 16 * 1024];
    while left > 0 {
        let room = limit - into.len().min(limit);
        // With no room left, one byte tells whether there is more; it is not lost, for the limit may be raised.
        let most = buffer.len().min(left).min(room.max(1));
        match open.read(&mut buffer[..most]) {
            Ok(0) => {
                *pipe = None;
                return Ok(true);
            }
            Ok(n) => {
                into.extend_from_slice(&buffer[..n]);
                left -= n;
                if room == 0 {
                    return Ok(false);
                }
            }
            Err(e) if is_later(&e) => return Ok(true),
            Err(e) => return Err(e),
        }
    }
    Ok(true)
}

fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
