//! In place of the rest without the features: no child forwards.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
};

use super::terms::{N_FDS, Terms};

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish;

impl Wish {
    pub(crate) fn open(&self, _: bool) -> io::Result<Option<(Terms, Conduit)>> {
        Ok(None)
    }

    pub(crate) fn is_prefixed(&self) -> bool {
        false
    }
}

/// There is none.
#[derive(Debug)]
pub(crate) enum Conduit {}

impl Conduit {
    pub(crate) fn fds(&self) -> [BorrowedFd<'_>; N_FDS] {
        match *self {}
    }

    pub(crate) fn connect(self, _: &str, _: u32, _: bool) -> Tap {
        match self {}
    }
}

/// There is none.
#[derive(Debug)]
pub(crate) enum Tap {}

impl Tap {
    pub(crate) fn finish(&self) {
        match *self {}
    }

    pub(crate) fn drain(&self) {
        match *self {}
    }
}

pub(crate) fn drain_all() {}

/// A child of a build that forwards is no child of this one.
pub(crate) fn attach(_: Terms, _: Vec<OwnedFd>) -> nix::Result<()> {
    Err(nix::errno::Errno::ENOSYS)
}
