//! Between a supervisor's handle and its helper thread.

use std::{
    io::{PipeWriter, Write},
    sync::{
        Arc, Condvar, Mutex, PoisonError, Weak,
        mpsc::{Sender, channel},
    },
};

use kernel::fork_local::ForkLocal;

use super::{
    error::SupervisorError,
    spec::{ChildInfo, ChildSpec},
};
use crate::{
    exit::{self, Stage},
    lock::lock,
};

/// Asked of the helper thread.
pub(super) enum Command {
    Which(Sender<Vec<ChildInfo>>),
    Start(ChildSpec, Sender<Result<(), SupervisorError>>),
    Terminate(String, Sender<Result<(), SupervisorError>>),
    Restart(String, Sender<Result<(), SupervisorError>>),
    Delete(String, Sender<Result<(), SupervisorError>>),
    Replace(ChildSpec, Sender<Result<(), SupervisorError>>),
    Stop,
}

#[derive(Debug)]
pub(super) struct Shared {
    wake: PipeWriter,
    commands: Mutex<Sender<Command>>,
    pub(super) end: Mutex<Option<StopReason>>,
    pub(super) ended: Condvar,
}

/// How a supervisor ended.
#[derive(Clone, Debug)]
pub(super) enum StopReason {
    Stopped,
    TooManyRestarts { id: String },
}

/// Those of this process.
static ALL: ForkLocal<Mutex<Vec<Weak<Shared>>>> = ForkLocal::new();

impl Shared {
    pub(super) fn new(wake: PipeWriter, commands: Sender<Command>) -> Arc<Self> {
        Arc::new(Self { wake, commands: Mutex::new(commands), end: Mutex::default(), ended: Condvar::new() })
    }

    /// Stops its children when the process exits.
    pub(super) fn stop_at_exit(self: &Arc<Self>) {
        exit::register(Stage::Supervisors, stop_all);
        let mut all = lock(ALL.get());
        // Those of supervisors that are gone would keep their memory.
        all.retain(|shared| shared.strong_count() > 0);
        all.push(Arc::downgrade(self));
    }

    pub(super) fn stop(&self) {
        // One that has ended has stopped already.
        let _ = lock(&self.commands).send(Command::Stop);
        let _ = (&self.wake).write(&[0]);
    }

    pub(super) fn ask<T>(&self, command: impl FnOnce(Sender<T>) -> Command) -> Result<T, SupervisorError> {
        let (reply, answer) = channel();
        let sent = lock(&self.commands).send(command(reply));
        let _ = (&self.wake).write(&[0]);
        sent.map_err(|_| SupervisorError::Ended)?;
        answer.recv().map_err(|_| SupervisorError::Ended)
    }

    pub(super) fn wait(&self) -> Result<(), SupervisorError> {
        let mut end = lock(&self.end);
        loop {
            match &*end {
                Some(StopReason::Stopped) => return Ok(()),
                Some(StopReason::TooManyRestarts { id }) => {
                    return Err(SupervisorError::TooManyRestarts { id: id.clone() });
                }
                None => end = self.ended.wait(end).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// Stops the children of all supervisors; for the end of the process.
fn stop_all() {
    let all: Vec<_> = std::mem::take(&mut *lock(ALL.get())).iter().filter_map(Weak::upgrade).collect();
    all.iter().for_each(|shared| shared.stop());
    for shared in all {
        let _ = shared.wait();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_gone_is_not_kept_for_the_end_of_the_process() {
        let registered = || {
            let shared = Shared::new(std::io::pipe().unwrap().1, channel().0);
            shared.stop_at_exit();
            shared
        };
        let gone = Arc::downgrade(&registered());
        let there = registered();
        let keeps = |one: &Weak<Shared>| lock(ALL.get()).iter().any(|shared| shared.ptr_eq(one));
        assert!(!keeps(&gone));
        assert!(keeps(&Arc::downgrade(&there)));
    }
}
