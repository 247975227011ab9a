//! Whom the next blow hits: an actor of the storm, or a process that descends from one.

use std::{
    fs,
    os::fd::{AsFd, OwnedFd},
};

use kernel::sys::pidfd;
use nix::{
    sys::wait::{WaitPidFlag, WaitStatus, waitpid},
    unistd::Pid,
};
use test_support::processes;

use super::{random::Random, roles::Role};
use crate::cast::Actor;

/// A process that is this storm's for sure: its descriptor was opened before it was seen as a child of one of them, so that
/// the pid of a dead one is not taken for it.
#[derive(Debug)]
pub(super) struct Victim {
    pub(super) role: String,
    handle: OwnedFd,
}

impl Victim {
    /// `n` of all at random, without those that have just ended.
    pub(super) fn choose(n: u64, actors: &[(Role, Actor)], others: &[i32], random: &mut Random) -> Vec<Self> {
        let me = std::process::id().cast_signed();
        let role_of = |pid| actors.iter().find(|(_, actor)| actor.pid() == pid).map(|(role, _)| role.name());
        // Who was adopted is a daemon, or has lost its parent and is about to end.
        let mut all: Vec<(i32, i32, String)> = children(me, others)
            .map(|pid| (me, pid, role_of(pid).map_or_else(|| "adopted".to_owned(), str::to_owned)))
            .collect();
        let mut next = 0;
        while let Some((_, parent, role)) = all.get(next).cloned() {
            let kind = if role.contains("'s") { role } else { format!("{role}'s") };
            all.extend(children(parent, others).map(|pid| (parent, pid, kind.clone())));
            next += 1;
        }
        let mut chosen = Vec::new();
        for _ in 0..n.min(all.len() as u64) {
            let (parent, pid, role) = all.swap_remove(random.below(all.len() as u64) as usize);
            chosen.extend(Self::new(parent, pid, role));
        }
        chosen
    }

    /// None if it has just ended.
    fn new(parent: i32, pid: i32, role: String) -> Option<Self> {
        let handle = pidfd::open(pid.cast_unsigned()).ok()?;
        let is_ours = processes::all_children(parent).contains(&pid);
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let role = if role.ends_with("'s") {
            format!("{role} {}", name.trim().trim_end_matches(|c: char| c == '-' || c.is_ascii_digit()))
        } else {
            role
        };
        is_ours.then_some(Self { role, handle })
    }

    pub(super) fn stop(&self) {
        self.signal(libc::SIGSTOP);
    }

    pub(super) fn go_on(&self) {
        self.signal(libc::SIGCONT);
    }

    pub(super) fn kill(&self) {
        self.signal(libc::SIGKILL);
    }

    fn signal(&self, signal: i32) {
        // Who has ended is not signalled.
        let _ = pidfd::send_signal(self.handle.as_fd(), signal);
    }
}

fn children(pid: i32, others: &[i32]) -> impl Iterator<Item = i32> {
    processes::all_children(pid).into_iter().filter(|pid| !others.contains(pid))
}

/// Reaps who was adopted and has ended; returns one that has not.
pub(super) fn reap_strays(actors: &[(Role, Actor)], others: &[i32]) -> Option<i32> {
    let is_actor = |pid| actors.iter().any(|(_, actor)| actor.pid() == pid);
    let strays = children(std::process::id().cast_signed(), others).filter(|pid| !is_actor(*pid));
    strays.fold(None, |left, pid| match waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::StillAlive) => Some(pid),
        _ => left,
    })
}
