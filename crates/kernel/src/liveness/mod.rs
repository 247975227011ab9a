//! Which processes use a shared segment, and which of them are dead.
//!
//! A process that cannot see others in `/proc` (in a chroot, in a pid namespace, under hidepid) must not take them for
//! dead. So the answer does not come from `/proc`: each participant of a segment holds a lock on a byte of the segment's
//! own memory file, and the kernel drops that lock at the participant's end, whatever that end is. README.md in this
//! folder says how, and what is used where a lock cannot be had.
//!
//! # A verdict that holds
//! A word in shared memory names its owner by a [`Participant`]. A process that would have to wait for that owner looks in
//! this order: at the word; at the [verdict](Register::verdict) about the participant that it names; and then swaps the
//! word, from the very value that it read. A participant never names another process, and a dead one stays dead, so the
//! verdict is true of the word that was read, whatever has happened meanwhile.
//!
//! Where words are too short for a participant and hold an index into a table of participants instead, the table's entry
//! is read between the word and the verdict, and is taken by a compare-and-swap from 0. An entry is cleared by a
//! compare-and-swap from the dead participant, after every word with its index has been settled; so a word with the index
//! that still has its value belongs to the participant that the entry names.

mod member;
mod word;

#[cfg(test)]
mod tests;

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::atomic::{
        AtomicU32, AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed},
    },
};

use nix::{errno::Errno, sys::signal::kill, unistd::Pid};

use self::member::Member;
pub use self::{
    member::Membership,
    word::{Participant, Witness},
};
use crate::{
    at_fork,
    identity::PidNamespace,
    shm::ShmSafe,
    sys::{
        ofd_lock,
        open_file::{self, FileId, Kept},
        pidfd,
    },
};

/// What is known about the life of a participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has left or died, and does nothing any more.
    Dead,
    /// It has neither left nor died, or not completely.
    Alive,
    /// It cannot be found out here. To be treated as alive: waited for, never acted on.
    Unknown,
}

/// The part of a register that is in shared memory; zeros are an empty one.
#[derive(Debug, Default)]
#[repr(C)]
pub struct RegisterWords {
    /// How many participants there have been.
    entered: AtomicU64,
    /// The pid namespaces that participants came from. A place is taken for good, by a compare-and-swap from 0.
    namespaces: [AtomicU32; word::NAMESPACES - 1],
}

const _: () = assert!(size_of::<RegisterWords>() == 64);

// SAFETY: `repr(C)`, made of atomics, valid for any bits.
#[allow(unsafe_code)]
unsafe impl ShmSafe for RegisterWords {}

/// The first of the bytes that are locked, far behind what any segment is long. It need not exist to be locked.
const FIRST_BYTE: i64 = 1 << 62;

/// Numbers that are tried, if the segment's memory was overwritten so that they have been given out already.
const MAX_TRIES: u32 = 16;

/// The register of the processes that use a segment, as one handle of it sees it.
#[derive(Clone, Copy, Debug)]
pub struct Register<'a> {
    file: BorrowedFd<'a>,
    words: &'a RegisterWords,
    here: &'a Membership,
}

impl<'a> Register<'a> {
    /// The register whose words are in the segment's memory. `file` is the descriptor that `here` was made with.
    pub fn new(file: BorrowedFd<'a>, words: &'a RegisterWords, here: &'a Membership) -> Self {
        Self { file, words, here }
    }

    /// The calling process's participant. The first call in a process enters it, in about ten system calls; a forked child
    /// is another participant than its parent.
    ///
    /// Never fails: where a lock cannot be had, [`Participant::witness`] is another one.
    pub fn me(&self) -> Participant {
        self.here.get_or_enter(|| self.enter())
    }

    /// The calling process's participant, if it has entered.
    pub fn me_if_entered(&self) -> Option<Participant> {
        self.here.get()
    }

    /// Whether a participant is dead. One or two system calls, five for a [`Witness::Pid`]; never blocks.
    pub fn verdict(&self, participant: Participant) -> Verdict {
        let verdict = match participant.witness() {
            Some(Witness::Lock) => self.ask_the_lock(participant),
            Some(Witness::Pid) => self.ask_the_pid(participant),
            // No process writes that: the word was overwritten, and its process counts as gone.
            None => Verdict::Dead,
        };
        if verdict == Verdict::Dead {
            pidfd::note_death();
        }
        verdict
    }

    /// The pid namespace that a participant's pid is of, if it is known.
    pub fn namespace_of(&self, participant: Participant) -> Option<PidNamespace> {
        let place = self.words.namespaces.get(participant.namespace().checked_sub(1)?)?;
        // Acquire: as old as the participant's word that named the place.
        PidNamespace::from_inode(place.load(Acquire))
    }

    fn ask_the_lock(&self, participant: Participant) -> Verdict {
        match ofd_lock::is_locked(self.file, byte_of(participant.number())) {
            Ok(true) => Verdict::Alive,
            // The host may have closed our descriptor, and opened something else there.
            Ok(false) if FileId::of(self.file) == Ok(self.here.file()) => Verdict::Dead,
            Ok(false) | Err(_) => Verdict::Unknown,
        }
    }

    fn ask_the_pid(&self, participant: Participant) -> Verdict {
        let (here, there) = (PidNamespace::current(), self.namespace_of(participant));
        if here.is_none() || here != there {
            return if self.words.has_been(participant.number()) { Verdict::Unknown } else { Verdict::Dead };
        }
        // Before a descriptor is asked for, of which there may be none.
        if kill(Pid::from_raw(participant.pid().cast_signed()), None) == Err(Errno::ESRCH) {
            return Verdict::Dead;
        }
        match pidfd::open(participant.pid()) {
            Ok(process) if pidfd::has_exited(process.as_fd()) => Verdict::Dead,
            Ok(_) => Verdict::Alive,
            // `EINVAL`: by now it is the id of a thread.
            Err(Errno::ESRCH | Errno::EINVAL) => Verdict::Dead,
            Err(_) => Verdict::Unknown,
        }
    }

    #[cold]
    fn enter(&self) -> Member {
        let namespace = self.words.place_of(PidNamespace::current());
        let (pid, generation) = (std::process::id(), at_fork::generation());
        let participant = |witness, number| Participant::new(witness, namespace, pid, number);
        // A child forked meanwhile would have the descriptor, and keep its parent's lock.
        match at_fork::while_nobody_forks(|| self.lock_a_byte()) {
            Ok((number, kept)) => Member::new(participant(Witness::Lock, number), generation, Some(kept)),
            Err(_) => Member::new(participant(Witness::Pid, self.words.next_number()), generation, None),
        }
    }

    fn lock_a_byte(&self) -> io::Result<(u64, Kept)> {
        let file = open_file::open_again(self.file)?;
        if FileId::of(file.as_fd())? != self.here.file() {
            return Err(Errno::ESTALE.into());
        }
        let kept = Kept::new(file.as_fd())?;
        for _ in 0..MAX_TRIES {
            let number = self.words.next_number();
            if ofd_lock::is_locked(file.as_fd(), byte_of(number))? {
                continue;
            }
            if ofd_lock::try_share(file.as_fd(), byte_of(number))? {
                // The lock is a witness only if others see it, who look in this way.
                let is_seen = ofd_lock::is_locked(self.file, byte_of(number))?;
                return if is_seen { Ok((number, kept)) } else { Err(Errno::EOPNOTSUPP.into()) };
            }
        }
        Err(Errno::EAGAIN.into())
    }
}

impl RegisterWords {
    fn next_number(&self) -> u64 {
        // Relaxed: only that no two are the same.
        self.entered.fetch_add(1, Relaxed).wrapping_add(1) % word::NUMBERS
    }

    /// Whether the number has been given out; else no process wrote the word that it stands in.
    fn has_been(&self, number: u64) -> bool {
        // Relaxed: a process that read a word with the number in it, by Acquire, sees a count that includes it.
        let entered = self.entered.load(Relaxed);
        number <= entered || entered >= word::NUMBERS
    }

    /// The index of a namespace, counted from 1; 0 if it is unknown, or there are too many.
    fn place_of(&self, namespace: Option<PidNamespace>) -> usize {
        let Some(inode) = namespace.map(PidNamespace::inode) else { return 0 };
        // A place is given once, for good: Release for a process that reads its index in a word; Acquire if it was given.
        let is_its_place = |place: &AtomicU32| match place.compare_exchange(0, inode, AcqRel, Acquire) {
            Ok(_) => true,
            Err(taken) => taken == inode,
        };
        self.namespaces.iter().position(is_its_place).map_or(0, |index| index + 1)
    }
}

fn byte_of(number: u64) -> i64 {
    FIRST_BYTE + number.cast_signed()
}
