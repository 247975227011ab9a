//! What a child writes to its standard output or error comes line by line to a function of its owner's.
//!
//! A pipe for each stream; a thread of the owner's sleeps in `poll` on all of them. At the child's end, a thread that waits for
//! it takes what is left in the pipe, so that it has come before `join` returns. Calls are made in the owner's
//! [turn](crate::turn).
//! A child whose owner does not read waits when the pipe is full, as with every pipe, and dies with its owner.

mod text;

use std::{
    fmt,
    io::{self, PipeReader, PipeWriter, Read, Write},
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Mutex},
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use crate::{
    lock::lock,
    turn::{self, Turn, Waited},
};
use kernel::{fds, fork_local::ForkLocal, helper};
use text::Text;

type Called = dyn Fn(&str, &str) + Send + Sync;

/// What is called with the name of the process and a line of it.
#[derive(Clone)]
pub(crate) struct LineFn(Arc<Called>);

impl LineFn {
    pub(crate) fn new(f: impl Fn(&str, &str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(f))
    }
}

impl fmt::Debug for LineFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LineFn")
    }
}

/// Bytes that are read at once.
const PIECE_BYTES: usize = 16 * 1024;
/// Pieces of one stream that come before those of others have their turn.
const BATCH: usize = 4;
/// Pieces that are read at the end of a child: as many as a pipe may hold. Its own children may have it still, and write.
const REST: usize = (1 << 20) / PIECE_BYTES;

/// All streams that this process listens to.
#[derive(Debug, Default)]
struct Captures {
    streams: Mutex<Vec<Arc<CapturedStream>>>,
    /// To the thread that listens.
    wake: Mutex<Option<PipeWriter>>,
}

static CAPTURES: ForkLocal<Captures> = ForkLocal::new();

/// A pipe for a child that is yet to be started.
#[derive(Debug)]
pub(crate) struct Capture {
    reader: PipeReader,
    line: LineFn,
}

impl Capture {
    /// Makes one, and ensures that a thread listens; with the child's end.
    pub(crate) fn open(line: LineFn) -> io::Result<(Self, OwnedFd)> {
        let (reader, writer) = fds::pipe()?;
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let captures = CAPTURES.get();
        let mut wake = lock(&captures.wake);
        if wake.is_none() {
            let (woken, waker) = fds::pipe()?;
            fcntl(&waker, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
            helper::spawn_for_callbacks("proc-core-output", move || captures.listen(woken))?;
            *wake = Some(waker);
        }
        Ok((Self { reader, line }, writer.into()))
    }

    /// The child has been started.
    pub(crate) fn connect(self, name: &str) -> Arc<CapturedStream> {
        let Self { reader, line } = self;
        let state = StreamState { reader: Some(Arc::new(reader)), text: Text::default() };
        let captured = Arc::new(CapturedStream { name: name.to_owned(), line, state: Mutex::new(state) });
        let captures = CAPTURES.get();
        lock(&captures.streams).push(Arc::clone(&captured));
        if let Some(wake) = &mut *lock(&captures.wake) {
            // A pipe that is full has woken it already.
            let _ = wake.write(&[0]);
        }
        captured
    }
}

/// A stream of a child.
#[derive(Debug)]
pub(crate) struct CapturedStream {
    name: String,
    line: LineFn,
    state: Mutex<StreamState>,
}

#[derive(Debug)]
struct StreamState {
    /// None after its end.
    reader: Option<Arc<PipeReader>>,
    text: Text,
}

impl CapturedStream {
    /// Passes on all that the child has written. After its end, an unfinished line counts as a line.
    pub(crate) fn drain(&self, has_ended: bool) {
        let Waited::Turn(turn) = turn::take() else { return };
        self.read(&turn, REST);
        if has_ended {
            let rest = lock(&self.state).text.flush();
            self.call(&turn, rest);
        }
    }

    /// The last lines.
    pub(crate) fn end(&self) -> String {
        lock(&self.state).text.end()
    }

    fn reader(&self) -> Option<Arc<PipeReader>> {
        lock(&self.state).reader.clone()
    }

    fn read(&self, turn: &Turn, n_pieces: usize) {
        let Some(reader) = self.reader() else { return };
        let mut piece = vec![0; PIECE_BYTES];
        for _ in 0..n_pieces {
            let lines = match (&*reader).read(&mut piece) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Ok(0) | Err(_) => {
                    let mut state = lock(&self.state);
                    state.reader = None;
                    let rest = state.text.flush();
                    drop(state);
                    return self.call(turn, rest);
                }
                // Not locked while the program is called: that may ask how its children are.
                Ok(len) => lock(&self.state).text.push(&piece[..len]),
            };
            self.call(turn, lines);
        }
    }

    fn call(&self, turn: &Turn, lines: impl IntoIterator<Item = String>) {
        lines.into_iter().for_each(|line| turn.call(|| (self.line.0)(&self.name, &line)));
    }
}

impl Captures {
    /// What the thread does.
    fn listen(&self, mut woken: PipeReader) {
        loop {
            let open: Vec<_> = {
                let mut streams = lock(&self.streams);
                streams.retain(|stream| stream.reader().is_some());
                streams.iter().filter_map(|stream| Some((Arc::clone(stream), stream.reader()?))).collect()
            };
            let mut polled: Vec<_> =
                open.iter().map(|(_, reader)| PollFd::new(reader.as_fd(), PollFlags::POLLIN)).collect();
            polled.push(PollFd::new(woken.as_fd(), PollFlags::POLLIN));
            if poll(&mut polled, PollTimeout::NONE).is_err() {
                continue;
            }
            let is_ready: Vec<_> = polled.iter().map(|fd| fd.any() == Some(true)).collect();
            if is_ready.last() == Some(&true) {
                let _ = woken.read(&mut [0; 64]);
            }
            for ((stream, _), _) in open.iter().zip(is_ready).filter(|(_, is_ready)| *is_ready) {
                // A holder that makes no progress is waited for again: there is a second between two looks.
                if let Waited::Turn(turn) = turn::take() {
                    stream.read(&turn, BATCH);
                }
            }
        }
    }
}
