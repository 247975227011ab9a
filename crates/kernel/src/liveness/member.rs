//! The calling process as a participant.
//!
//! # Safety
//! A [`Membership`]'s pointer is null or comes from `Box::into_raw`; what it points at is never changed, and is freed
//! by `drop` alone.
#![allow(unsafe_code)]

use std::{
    io, mem,
    os::fd::BorrowedFd,
    ptr,
    sync::atomic::{
        AtomicPtr,
        Ordering::{AcqRel, Acquire},
    },
};

use super::word::Participant;
use crate::{
    at_fork,
    sys::open_file::{FileId, Kept},
};

/// What one handle of a segment knows of the segment's register: which file it is in, and the calling process's
/// participant there.
///
/// When it is dropped, the process has left: to the others it is as good as dead. So whatever names it is settled
/// before. In a forked child, dropping the parent's does nothing.
#[derive(Debug)]
pub struct Membership {
    file: FileId,
    /// Null at first; replaced once a process, by `AcqRel`, and read by `Acquire`: what others entered is whole when it is seen.
    member: AtomicPtr<Member>,
}

/// The calling process, in one register.
#[derive(Debug)]
pub(super) struct Member {
    participant: Participant,
    generation: u32,
    kept: Option<Kept>,
}

impl Membership {
    /// For a handle of the segment in `file`; to be made while that descriptor cannot have been closed. One system call:
    /// the process enters the register when its participant is first asked for.
    ///
    /// # Errors
    /// `EBADF` if `file` is not open.
    pub fn new(file: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self { file: FileId::of(file)?, member: AtomicPtr::new(ptr::null_mut()) })
    }

    pub(super) fn file(&self) -> FileId {
        self.file
    }

    /// The calling process's participant, if it has entered.
    pub(super) fn get(&self) -> Option<Participant> {
        let member = self.member(self.member.load(Acquire))?;
        member.is_of_this_process().then_some(member.participant)
    }

    /// The calling process's participant; enters it by `enter` if it has not.
    pub(super) fn get_or_enter(&self, enter: impl Fn() -> Member) -> Participant {
        loop {
            let former = self.member.load(Acquire);
            if let Some(member) = self.member(former).filter(|member| member.is_of_this_process()) {
                return member.participant;
            }
            let entered = Box::into_raw(Box::new(enter()));
            // What a forked child replaces is its parent's. It is left where it is: another thread may be looking at it.
            if self.member.compare_exchange(former, entered, AcqRel, Acquire).is_err() {
                // SAFETY: from `Box::into_raw` above, and no other thread has seen it.
                drop(unsafe { Box::from_raw(entered) });
            }
        }
    }

    fn member(&self, member: *mut Member) -> Option<&Member> {
        // SAFETY: null, or from `Box::into_raw`, and not freed before `self` is dropped.
        unsafe { member.as_ref() }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let member = mem::replace(self.member.get_mut(), ptr::null_mut());
        if !member.is_null() {
            // SAFETY: from `Box::into_raw`, and `self`, which alone leads to it, is going.
            drop(unsafe { Box::from_raw(member) });
        }
    }
}

impl Member {
    /// `generation` is that from before it was made: a signal handler may have forked meanwhile.
    pub(super) fn new(participant: Participant, generation: u32, kept: Option<Kept>) -> Self {
        Self { participant, generation, kept }
    }

    fn is_of_this_process(&self) -> bool {
        self.generation == at_fork::generation()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if !self.is_of_this_process()
            && let Some(kept) = self.kept.take()
        {
            kept.forget();
        }
    }
}
