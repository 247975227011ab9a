//! The sending half of an end of a pipe.

use std::{
    os::fd::BorrowedFd,
    sync::atomic::{
        AtomicU32,
        Ordering::{AcqRel, Acquire, Relaxed},
    },
    time::Duration,
};

use kernel::{
    futex::Deadline,
    handover::{self, Parcel},
    identity::deaths_seen,
    sys::ticks,
};
use nix::errno::Errno;
use serde::{Serialize, de::DeserializeOwned};
use wire::{Sink, TypeInfo};

use super::{
    SendError,
    biased::{Biased, WaitLimit},
    claim::{Claim, Inside},
    lobby::{For, Lobby, Outcome},
    ring::{FrameKind, FrameRing, MAX_PAYLOAD, Writer},
    socket::{MAX_FDS, Rung},
    stop::SendStop,
    turn::TurnWords,
};
use crate::{barrier, spin::Spin};

/// Between two looks. Tens of microseconds on x86-64; 5 to 500 microseconds on aarch64, whose counters run at 10 MHz to 1 GHz.
const A_WHILE: u64 = if cfg!(target_arch = "aarch64") { 5_000 } else { 100_000 };

/// The sending half of an end.
pub(super) struct Outbox {
    ring: FrameRing,
    state: Biased<Sending>,
    spin: Spin,
}

#[derive(Default)]
struct Sending {
    claim: Claim,
    writer: Writer,
    health: Health,
}

/// When to ask the kernel whether there is still a receiver: a system call, too much for every message.
#[derive(Default)]
struct Health {
    /// The hints that are nearly free, as of the last look: receivers dropped, and deaths that this process knows of.
    hints: (u32, u32),
    /// Messages that may yet go without a look at the clock, and how many may after each.
    credit: u32,
    limit: u32,
    /// When the clock was last looked at, and when the kernel was last asked.
    looked: u64,
    asked: u64,
}

/// Messages that may go without a look at the clock, which takes as long as half of sending one, while they come fast.
const MAX_CREDIT: u32 = 32;

impl Health {
    #[inline(always)]
    fn is_due(&mut self, left: u32) -> bool {
        let hints = (left, deaths_seen());
        if self.credit > 0 && hints == self.hints {
            self.credit -= 1;
            return false;
        }
        self.is_due_by_the_clock(hints)
    }

    #[inline(never)]
    fn is_due_by_the_clock(&mut self, hints: (u32, u32)) -> bool {
        let now = ticks::now();
        let is_due = hints != self.hints || now.wrapping_sub(self.asked) > A_WHILE;
        let came_fast = now.wrapping_sub(self.looked) < A_WHILE / 4;
        self.limit = if came_fast { (self.limit * 2 + 1).min(MAX_CREDIT) } else { 0 };
        self.credit = self.limit;
        self.looked = now;
        if is_due {
            self.hints = hints;
            self.asked = now;
        }
        is_due
    }
}

/// What precedes the bytes of a message with descriptors: its id, and how many.
const PREFIX_BYTES: usize = 16;

impl Outbox {
    pub(super) fn new(ring: FrameRing) -> Self {
        Self { ring, state: Biased::new(Sending::default()), spin: Spin::new(1) }
    }

    /// Sends a value: small ones are serialised straight into the ring.
    #[inline]
    pub(super) fn send<T: Serialize + DeserializeOwned>(
        &self,
        lobby: &Lobby,
        value: &T,
        limit: WaitLimit,
    ) -> Result<(), SendStop> {
        if let Some(mut state) = self.state.enter_biased()
            && let Some(_inside) = state.claim.enter(self.turn())
        {
            return self.send_as(&mut state, lobby, value, limit);
        }
        self.send_by_turns(lobby, value, limit)
    }

    #[cold]
    fn send_by_turns<T: Serialize + DeserializeOwned>(
        &self,
        lobby: &Lobby,
        value: &T,
        limit: WaitLimit,
    ) -> Result<(), SendStop> {
        let mut state = self.state.lock(limit)?;
        let _inside = self.go_inside(&mut state, limit)?;
        self.send_as(&mut state, lobby, value, limit)
    }

    #[inline(always)]
    fn turn(&self) -> &TurnWords {
        &self.ring.header().writer.0.turn
    }

    /// Keeps other processes out, until dropped.
    fn go_inside(&self, state: &mut Sending, limit: WaitLimit) -> Result<Inside<'_>, SendStop> {
        if let Some(inside) = state.claim.enter(self.turn()) {
            return Ok(Inside::Biased(inside));
        }
        let turn = state.claim.lock(self.turn(), self.ring.users(), limit.deadline())?;
        if state.claim.is_news_to(&turn) {
            state.writer = Writer::reload(&self.ring)?;
        }
        state.claim.settle(&turn, self.ring.users());
        Ok(Inside::Turn(turn))
    }

    #[inline(always)]
    fn send_as<T: Serialize + DeserializeOwned>(
        &self,
        state: &mut Sending,
        lobby: &Lobby,
        value: &T,
        limit: WaitLimit,
    ) -> Result<(), SendStop> {
        self.begin(state, lobby)?;
        if let Some(mut sink) = state.writer.sink(&self.ring)?
            && wire::encode_compact(TypeInfo::of::<T>(), value, &mut sink).is_ok()
        {
            let len = sink.position();
            state.writer.publish(&self.ring, FrameKind::Whole, len);
            return Ok(self.wake_reader(lobby, &state.writer)?);
        }
        self.send_packed(state, lobby, value, limit)
    }

    /// For what is too large to stand in one piece now, needs a second look, has descriptors, or cannot be serialised.
    #[cold]
    fn send_packed<T: Serialize + DeserializeOwned>(
        &self,
        state: &mut Sending,
        lobby: &Lobby,
        value: &T,
        limit: WaitLimit,
    ) -> Result<(), SendStop> {
        let parcel = handover::pack(value).map_err(SendError::Encode)?;
        self.send_in_pieces(state, lobby, parcel.bytes(), &parcel.fds(), limit)
    }

    /// Sends a value that is packed already, with what belongs to it.
    pub(super) fn send_parcel(&self, lobby: &Lobby, parcel: &Parcel<'_>, limit: WaitLimit) -> Result<(), SendStop> {
        self.send_raw(lobby, parcel.bytes(), &parcel.fds(), limit)
    }

    /// Sends bytes as they are.
    pub(super) fn send_bytes(&self, lobby: &Lobby, bytes: &[u8], limit: WaitLimit) -> Result<(), SendStop> {
        self.send_raw(lobby, bytes, &[], limit)
    }

    pub(super) fn send_raw(
        &self,
        lobby: &Lobby,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
        limit: WaitLimit,
    ) -> Result<(), SendStop> {
        if let Some(mut state) = self.state.enter_biased()
            && let Some(_inside) = state.claim.enter(self.turn())
        {
            self.begin(&mut state, lobby)?;
            return self.send_in_pieces(&mut state, lobby, bytes, fds, limit);
        }
        let mut state = self.state.lock(limit)?;
        let _inside = self.go_inside(&mut state, limit)?;
        self.begin(&mut state, lobby)?;
        self.send_in_pieces(&mut state, lobby, bytes, fds, limit)
    }

    #[inline(always)]
    fn begin(&self, state: &mut Sending, lobby: &Lobby) -> Result<(), SendStop> {
        let left = self.ring.header().to_writer.0.reader_left.load(Acquire);
        if lobby.has_ended() || (state.health.is_due(left) && self.ask_whether_ended(lobby)) {
            return Err(SendError::Closed.into());
        }
        Ok(())
    }

    /// Asks the kernel whether there is still a receiver, unless the bell is about to find that out: a reader that sleeps
    /// now gets one, or wakes up first, and then it lives.
    #[inline(never)]
    fn ask_whether_ended(&self, lobby: &Lobby) -> bool {
        self.reader_sleeps().load(Relaxed) == 0 && lobby.ask_whether_ended()
    }

    fn send_in_pieces(
        &self,
        state: &mut Sending,
        lobby: &Lobby,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
        limit: WaitLimit,
    ) -> Result<(), SendStop> {
        let (prefix, kinds) = if fds.is_empty() {
            ([0; PREFIX_BYTES], (FrameKind::Whole, FrameKind::First))
        } else {
            (self.send_fds(lobby, fds, limit)?, (FrameKind::WholeWithFds, FrameKind::FirstWithFds))
        };
        let prefix = if fds.is_empty() { &[][..] } else { &prefix[..] };
        let writer = &mut state.writer;
        if prefix.len() + bytes.len() <= MAX_PAYLOAD {
            self.wait_for_room(writer, lobby, prefix.len() + bytes.len(), limit)?;
            writer.write(&self.ring, 0, prefix);
            writer.write(&self.ring, prefix.len(), bytes);
            writer.publish(&self.ring, kinds.0, prefix.len() + bytes.len());
            return Ok(self.wake_reader(lobby, writer)?);
        }
        if matches!(limit, WaitLimit::None) && !writer.has_room_for_all(&self.ring, prefix.len() + bytes.len())? {
            return Err(SendStop::WouldBlock);
        }
        // What follows may stop anywhere: the reader drops what it has got when another message begins.
        let (first, rest) = bytes.split_at(MAX_PAYLOAD - prefix.len());
        self.wait_for_room(writer, lobby, MAX_PAYLOAD, limit)?;
        writer.write(&self.ring, 0, prefix);
        writer.write(&self.ring, prefix.len(), first);
        writer.publish(&self.ring, kinds.1, MAX_PAYLOAD);
        let mut pieces = rest.chunks(MAX_PAYLOAD).peekable();
        while let Some(piece) = pieces.next() {
            self.wake_reader(lobby, writer)?;
            self.wait_for_room(writer, lobby, piece.len(), limit)?;
            writer.write(&self.ring, 0, piece);
            writer.publish(
                &self.ring,
                if pieces.peek().is_some() { FrameKind::Middle } else { FrameKind::Last },
                piece.len(),
            );
        }
        Ok(self.wake_reader(lobby, writer)?)
    }

    /// Sends descriptors ahead of their message, so that a reader that sees the message finds them there.
    fn send_fds(
        &self,
        lobby: &Lobby,
        fds: &[BorrowedFd<'_>],
        limit: WaitLimit,
    ) -> Result<[u8; PREFIX_BYTES], SendStop> {
        let id = self.ring.header().writer.0.n_with_fds.fetch_add(1, Relaxed).wrapping_add(1);
        let deadline = match limit {
            WaitLimit::None => Deadline::after(Duration::ZERO),
            WaitLimit::Until(deadline) => deadline,
        };
        for fds in fds.chunks(MAX_FDS) {
            lobby.socket().send_fds(id, fds, deadline).map_err(|e| match e {
                Errno::EPIPE => SendError::Closed.into(),
                Errno::EAGAIN => SendStop::WouldBlock,
                e => SendStop::Failed(SendError::Io(e.into())),
            })?;
        }
        let mut prefix = [0; PREFIX_BYTES];
        prefix[..8].copy_from_slice(&id.to_ne_bytes());
        prefix[8..].copy_from_slice(&(fds.len() as u64).to_ne_bytes());
        Ok(prefix)
    }

    fn wait_for_room(
        &self,
        writer: &mut Writer,
        lobby: &Lobby,
        payload: usize,
        limit: WaitLimit,
    ) -> Result<(), SendStop> {
        let words = self.ring.header();
        loop {
            if writer.make_room(&self.ring, payload)? {
                return Ok(());
            }
            let WaitLimit::Until(deadline) = limit else { return Err(SendStop::WouldBlock) };
            let wanted = writer.wanted_head(payload);
            let there = || words.reader.0.head.load(Acquire) >= wanted;
            if self.spin.until(|| there().then_some(())).is_some() {
                continue;
            }
            let announce = || {
                words.to_reader.0.writer_sleeps.store(wanted, Relaxed);
                barrier::heavy()
            };
            match lobby.wait(For::Room, deadline, there, announce).map_err(SendError::Io)? {
                Outcome::Ready => {}
                Outcome::Ended => return Err(SendError::Closed.into()),
                Outcome::TimedOut => return Err(SendStop::WouldBlock),
            }
        }
    }

    /// Rings if the reader sleeps. Rings first and then takes note, so that a writer killed in between has rung.
    #[inline(always)]
    fn wake_reader(&self, lobby: &Lobby, writer: &Writer) -> Result<(), SendError> {
        barrier::light();
        match self.reader_sleeps().load(Relaxed) {
            0 => Ok(()),
            sleep => self.wake_reader_from(sleep, lobby, writer.position()),
        }
    }

    #[inline(always)]
    fn reader_sleeps(&self) -> &AtomicU32 {
        &self.ring.header().to_writer.0.reader_sleeps
    }

    /// `Closed` if what has been published up to `position` was not taken, and never will be.
    #[cold]
    fn wake_reader_from(&self, sleep: u32, lobby: &Lobby, position: u64) -> Result<(), SendError> {
        match lobby.ring() {
            // Fails if the reader woke up and went to sleep again meanwhile: that sleep has its own bell.
            Rung::Heard => drop(self.reader_sleeps().compare_exchange(sleep, 0, AcqRel, Relaxed)),
            // The next message rings once more.
            Rung::NoMemory => {}
            // The reader may have woken up, taken it and left: `head` does not move any more.
            Rung::Ended if self.ring.header().reader.0.head.load(Acquire) < position => return Err(SendError::Closed),
            Rung::Ended => {}
        }
        Ok(())
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.state.get_mut().claim.give_up(&self.ring.header().writer.0.turn);
    }
}
