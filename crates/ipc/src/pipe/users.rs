//! The processes that use a pipe: their names in its words, and which of them are dead.

use std::{io, os::fd::AsFd};

use kernel::{
    liveness::{Membership, Participant, Register, Verdict},
    shm::SharedMemory,
};

use super::layout;

/// A pipe's memory, and what one end in this process knows of its other users.
#[derive(Debug)]
pub(super) struct Users {
    memory: SharedMemory,
    here: Membership,
}

impl Users {
    pub(super) fn new(memory: SharedMemory) -> io::Result<Self> {
        Ok(Self { here: Membership::new(memory.as_fd())?, memory })
    }

    /// What names this end in this process; never 0, and never another's.
    pub(super) fn me(&self) -> u64 {
        self.register().me().to_word()
    }

    /// Whether the user that the word names is dead.
    pub(super) fn is_gone(&self, word: u64) -> bool {
        Participant::from_word(word).is_none_or(|user| self.register().verdict(user) == Verdict::Dead)
    }

    fn register(&self) -> Register<'_> {
        Register::new(self.memory.as_fd(), &layout::header(&self.memory).register, &self.here)
    }
}
