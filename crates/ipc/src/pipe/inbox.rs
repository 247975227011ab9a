//! The receiving half of an end of a pipe.

use std::{
    os::fd::{BorrowedFd, OwnedFd},
    sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release},
    time::Duration,
};

use super::{
    RecvError,
    biased::{Biased, WaitLimit},
    claim::{Claim, Inside},
    handles::{NO_LIMIT, Taker},
    layout::ReaderWords,
    lobby::{For, Lobby, Outcome},
    ring::{Damaged, FrameKind, FrameRing, Reader, SMALL, Small},
    socket::Rung,
    stop::RecvStop,
    turn::TurnWords,
};
use crate::{barrier, spin::Spin};

/// The receiving half of an end.
pub(super) struct Inbox {
    ring: FrameRing,
    state: Biased<Receiving>,
    spin: Spin,
}

#[derive(Default)]
struct Receiving {
    claim: Claim,
    reader: Reader,
    /// The message whose first part has been taken, and its descriptors.
    begun: Option<Begun>,
    /// Memory for large messages, kept from one to the next.
    spare: Vec<u8>,
}

struct Begun {
    bytes: Vec<u8>,
    fds: Option<FdsOf>,
}

/// What precedes the bytes of a message with descriptors.
struct FdsOf {
    taker: Taker,
    n: usize,
}

/// A message, taken out of the ring.
enum TakenMessage {
    /// Into the buffer.
    Small,
    Large(Vec<u8>, Option<FdsOf>),
    /// There is none yet; the next frame will stand here.
    Nothing(u64),
}

const MOMENT: Duration = Duration::from_millis(1);

/// Memory that is kept for the next large message, at most: 4 MiB, and what the codec says of them.
const MAX_SPARE: usize = (4 << 20) + 4096;

const PREFIX_BYTES: usize = 16;

impl Inbox {
    pub(super) fn new(ring: FrameRing) -> Self {
        Self { ring, state: Biased::new(Receiving::default()), spin: Spin::new(1) }
    }

    /// Receives a message and hands it to `f`, outside of all locks.
    #[inline]
    pub(super) fn receive<R, E: From<RecvStop>>(
        &self,
        lobby: &Lobby,
        limit: WaitLimit,
        f: impl FnOnce(&[u8], Vec<OwnedFd>) -> Result<R, E>,
    ) -> Result<R, E> {
        let mut small = Small::new();
        loop {
            match self.take(lobby, limit, &mut small)? {
                TakenMessage::Small => return f(small.bytes(), Vec::new()),
                TakenMessage::Large(bytes, fds) => return self.hand_over(lobby, bytes, fds, f),
                TakenMessage::Nothing(position) => self.wait_for_frame(lobby, position, limit)?,
            }
        }
    }

    #[inline(never)]
    fn hand_over<R, E: From<RecvStop>>(
        &self,
        lobby: &Lobby,
        bytes: Vec<u8>,
        fds: Option<FdsOf>,
        f: impl FnOnce(&[u8], Vec<OwnedFd>) -> Result<R, E>,
    ) -> Result<R, E> {
        let fds = Self::collect(lobby, fds)?;
        let result = f(&bytes, fds);
        self.keep(bytes);
        result
    }

    /// Receives a message's bytes to keep. Descriptors that came along are closed.
    pub(super) fn receive_bytes(&self, lobby: &Lobby, limit: WaitLimit) -> Result<Vec<u8>, RecvStop> {
        let mut small = Small::new();
        loop {
            match self.take(lobby, limit, &mut small)? {
                TakenMessage::Small => return Ok(small.bytes().to_vec()),
                TakenMessage::Large(bytes, fds) => {
                    Self::collect(lobby, fds)?;
                    return Ok(bytes);
                }
                TakenMessage::Nothing(position) => self.wait_for_frame(lobby, position, limit)?,
            }
        }
    }

    /// Whether a frame is there, or the end, which is as good: a `receive` would not wait for its first byte.
    pub(super) fn poll(&self, lobby: &Lobby, limit: WaitLimit) -> Result<bool, RecvError> {
        match self.wait_for_any(lobby, limit) {
            Ok(()) | Err(RecvStop::Failed(RecvError::Closed)) => Ok(true),
            Err(RecvStop::WouldBlock) => Ok(false),
            Err(RecvStop::Failed(e)) => Err(e),
        }
    }

    fn wait_for_any(&self, lobby: &Lobby, limit: WaitLimit) -> Result<(), RecvStop> {
        let position = {
            let mut state = self.state.lock(limit)?;
            let _inside = self.go_inside(&mut state, limit)?;
            if state.reader.peek(&self.ring)?.is_some() {
                lobby.mark_readable();
                return Ok(());
            }
            state.reader.position()
        };
        self.wait_for_frame(lobby, position, limit)
    }

    /// A descriptor that is readable now if there is something to receive, and becomes so when something comes.
    pub(super) fn pollable<'a>(&self, lobby: &'a Lobby) -> Result<BorrowedFd<'a>, RecvError> {
        let fd = lobby.pollable().map_err(|e| RecvError::Io(e.into()))?;
        self.poll(lobby, WaitLimit::None)?;
        Ok(fd)
    }

    #[inline(always)]
    fn words(&self) -> &ReaderWords {
        &self.ring.header().reader.0
    }

    #[inline(always)]
    fn turn(&self) -> &TurnWords {
        &self.words().turn
    }

    /// Keeps other processes out, until dropped. One that has taken a part of a message is waited for until it has the
    /// rest, or is dead.
    fn go_inside(&self, state: &mut Receiving, limit: WaitLimit) -> Result<Inside<'_>, RecvStop> {
        if let Some(inside) = state.claim.enter(self.turn()) {
            return Ok(Inside::Biased(inside));
        }
        let deadline = limit.deadline();
        loop {
            let turn = state.claim.lock(self.turn(), self.ring.users(), deadline)?;
            let begun = self.words().begun.load(Acquire);
            if begun == state.claim.user() || self.ring.users().is_gone(begun) {
                if state.claim.is_news_to(&turn) {
                    state.reader = Reader::reload(&self.ring)?;
                    if begun != state.claim.user() {
                        self.words().begun.store(0, Relaxed);
                        state.begun = None;
                    }
                }
                state.claim.settle(&turn, self.ring.users());
                return Ok(Inside::Turn(turn));
            }
            drop(turn);
            if deadline.is_some_and(|d| d.has_passed()) {
                return Err(RecvStop::WouldBlock);
            }
            std::thread::sleep(MOMENT);
        }
    }

    #[inline(always)]
    fn take(&self, lobby: &Lobby, limit: WaitLimit, small: &mut Small) -> Result<TakenMessage, RecvStop> {
        if let Some(mut state) = self.state.enter_biased()
            && let Some(_inside) = state.claim.enter(self.turn())
        {
            return self.take_as(&mut state, lobby, small);
        }
        self.take_by_turns(lobby, limit, small)
    }

    #[cold]
    fn take_by_turns(&self, lobby: &Lobby, limit: WaitLimit, small: &mut Small) -> Result<TakenMessage, RecvStop> {
        let mut state = self.state.lock(limit)?;
        let _inside = self.go_inside(&mut state, limit)?;
        self.take_as(&mut state, lobby, small)
    }

    #[inline(always)]
    fn take_as(&self, state: &mut Receiving, lobby: &Lobby, small: &mut Small) -> Result<TakenMessage, RecvStop> {
        match state.reader.peek(&self.ring)? {
            None => Ok(self.nothing(state)?),
            Some((FrameKind::Whole, len)) if len <= SMALL && state.begun.is_none() => {
                state.reader.copy_small(&self.ring, len, small);
                state.reader.advance(&self.ring, len);
                self.wake_writer(lobby, &state.reader);
                Ok(TakenMessage::Small)
            }
            Some(_) => self.take_pieces(state, lobby),
        }
    }

    /// Takes frames up to the end of a message, if that has been published.
    #[inline(never)]
    fn take_pieces(&self, state: &mut Receiving, lobby: &Lobby) -> Result<TakenMessage, RecvStop> {
        while let Some((kind, len)) = state.reader.peek(&self.ring)? {
            if let Some(Begun { bytes, fds }) = self.take_piece(lobby, state, kind, len)? {
                return Ok(TakenMessage::Large(bytes, fds));
            }
        }
        Ok(self.nothing(state)?)
    }

    /// A thread that waits for the next frame looks at the shared `head` too, which no other user may move meanwhile.
    fn nothing(&self, state: &Receiving) -> Result<TakenMessage, Damaged> {
        let position = state.reader.position();
        if self.words().head.load(Relaxed) == position { Ok(TakenMessage::Nothing(position)) } else { Err(Damaged) }
    }

    /// Takes the frame that was peeked at; the message, if that was its end.
    fn take_piece(
        &self,
        lobby: &Lobby,
        state: &mut Receiving,
        kind: FrameKind,
        len: usize,
    ) -> Result<Option<Begun>, Damaged> {
        let mut at = 0;
        if !matches!(kind, FrameKind::Middle | FrameKind::Last) {
            let mut bytes = state.begun.take().map_or_else(|| std::mem::take(&mut state.spare), |begun| begun.bytes);
            bytes.clear();
            let fds = match kind {
                FrameKind::WholeWithFds | FrameKind::FirstWithFds => {
                    at = PREFIX_BYTES;
                    Some(self.prefix(lobby, &state.reader, len)?)
                }
                _ => None,
            };
            state.begun = Some(Begun { bytes, fds });
            self.words().begun.store(state.claim.user(), Release);
        }
        // A part whose begin is not here belongs to a message that another process began to receive: it is lost.
        if let Some(begun) = &mut state.begun {
            state.reader.append_to(&self.ring, at, len, &mut begun.bytes);
        }
        state.reader.advance(&self.ring, len);
        self.wake_writer(lobby, &state.reader);
        if matches!(kind, FrameKind::First | FrameKind::FirstWithFds | FrameKind::Middle) {
            return Ok(None);
        }
        self.words().begun.store(0, Relaxed);
        Ok(state.begun.take())
    }

    fn prefix(&self, lobby: &Lobby, reader: &Reader, len: usize) -> Result<FdsOf, Damaged> {
        if len < PREFIX_BYTES {
            return Err(Damaged);
        }
        let mut prefix = Small::new();
        reader.copy_small(&self.ring, PREFIX_BYTES, &mut prefix);
        let (id, n) = prefix.bytes().split_at(8);
        let number = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("half of 16 bytes"));
        let n = number(n);
        if n > NO_LIMIT as u64 {
            return Err(Damaged);
        }
        Ok(FdsOf { taker: lobby.taker(number(id)), n: n as usize })
    }

    fn collect(lobby: &Lobby, fds: Option<FdsOf>) -> Result<Vec<OwnedFd>, RecvStop> {
        match fds {
            None => Ok(Vec::new()),
            Some(FdsOf { taker, n }) => lobby.take_fds(taker, n).map_err(|e| RecvError::Io(e).into()),
        }
    }

    /// Keeps memory for the next large message.
    fn keep(&self, mut bytes: Vec<u8>) {
        if bytes.capacity() <= MAX_SPARE
            && let Ok(mut state) = self.state.lock(WaitLimit::None)
        {
            bytes.clear();
            state.spare = bytes;
        }
    }

    /// Sleeps until a frame stands at `position`; or another thread has taken it, so that what stands there is old.
    fn wait_for_frame(&self, lobby: &Lobby, position: u64, limit: WaitLimit) -> Result<(), RecvStop> {
        let there = || self.ring.has_frame(position) || self.words().head.load(Relaxed) != position;
        let announce = || {
            // Numbered, so that the peer's answer to one sleep does not cancel the next.
            let number = self.words().n_sleeps.fetch_add(1, Relaxed).wrapping_add(1);
            self.ring.header().to_writer.0.reader_sleeps.store(number.max(1), Relaxed);
            barrier::heavy()
        };
        let outcome = match limit {
            WaitLimit::None => lobby.glance(there, announce),
            WaitLimit::Until(_) if self.spin.until(|| there().then_some(())).is_some() => Ok(Outcome::Ready),
            WaitLimit::Until(deadline) => lobby.wait(For::Message, deadline, there, announce),
        };
        match outcome.map_err(RecvError::Io)? {
            Outcome::Ready => Ok(()),
            Outcome::Ended => Err(RecvError::Closed.into()),
            Outcome::TimedOut => Err(RecvStop::WouldBlock),
        }
    }

    /// Rings if the writer sleeps and has room enough now. Rings first and then takes note, so that a reader killed in
    /// between has rung.
    #[inline(always)]
    fn wake_writer(&self, lobby: &Lobby, reader: &Reader) {
        let sleeps = &self.ring.header().to_reader.0.writer_sleeps;
        barrier::light();
        let wanted = sleeps.load(Relaxed);
        if wanted != 0 && wanted <= reader.position() {
            self.wake_writer_from(wanted, lobby);
        }
    }

    #[cold]
    fn wake_writer_from(&self, wanted: u64, lobby: &Lobby) {
        if lobby.ring() == Rung::NoMemory {
            // The next message taken rings once more.
            return;
        }
        // Fails if the writer woke up and went to sleep again meanwhile: that sleep has its own bell.
        let _ = self.ring.header().to_reader.0.writer_sleeps.compare_exchange(wanted, 0, AcqRel, Relaxed);
    }
}

impl Drop for Inbox {
    /// Tells a writer that there is reason to ask the kernel whether there is still a reader.
    fn drop(&mut self) {
        let words = &self.ring.header().reader.0;
        let Receiving { claim, begun, .. } = self.state.get_mut();
        if begun.is_some() && claim.is_of_this_process() {
            let _ = words.begun.compare_exchange(claim.user(), 0, Release, Relaxed);
        }
        claim.give_up(&words.turn);
        self.ring.header().to_writer.0.reader_left.fetch_add(1, Release);
    }
}
