//! Start method `ForkServer`: a helper process forks itself ahead of each start.
//!
//! The helper is this program, executed again and stopped before `main`: small, with one thread, so that a fork costs
//! the same whatever its owner's size and threads. Its children are made as siblings ([`Cloner`](kernel::sys::clone::Cloner)): direct children of
//! the owner, who waits for them and gets their status itself.
//!
//! It keeps [`AHEAD`] children ready, the *spares*, and has told the owner their pids, with the descriptors that the kernel
//! gave it for them when it made them: so no signal reaches another process that has got such a pid, whoever reaps the
//! owner's children. With them comes the owner's end of a socket pair, whose other end the spare has. To start a process is
//! to ask for another spare, and to send the eldest its request; the work of forking was done before, or goes on meanwhile
//! on another CPU. The spare's value comes back over the same socket.
//!
//! What its owner has changed since then ([`conditions`]) comes with the request. What cannot, is told to the helper, which
//! takes over its owner's root directory and rights, so that it never has more than its owner for longer than until the
//! next start; or the helper is replaced. Its spares, which have what it had before, are ended.
//!
//! Who may die where: the owner (helper and spares die with it, by their death links); the helper (the next start that
//! needs it finds its socket closed, and executes another; its spares are reaped, known by their name); a spare while
//! idle (its socket is closed: the next one is taken); a spare with its request (found out at its join, like the death
//! of any child). A request is sent to one process only, which is known beforehand, so nothing ever runs twice, or
//! without a handle. Nobody waits for anybody who may be stopped for good: a helper that is stopped, or says nothing for
//! 5 seconds (frozen), is replaced, and its successor waited for twice as long, since it may only be slow. A helper or
//! spare that waits for too long closes its socket for receiving, does what has come until then, and ends.
//!
//! Beside the helper that the process has by default there is one in each [`Slot`] of a [`ForkServer`](server::ForkServer).
//! Such a one loads before it makes spares ([`preload`]), and does not end when it is idle.

mod helper;
pub(crate) mod preload;
mod protocol;
mod serve;
pub(crate) mod server;

use std::{
    collections::BTreeMap,
    io,
    os::fd::RawFd,
    sync::{Arc, Mutex, MutexGuard, TryLockError},
};

use crate::{
    error::ProcessError,
    exit::{self, Stage},
    lock::lock,
    report::Report,
    start::{Started, conditions::Conditions, failed, leaving, spawn},
};
use helper::{Helper, Lost, Taken};
use kernel::fork_local::ForkLocal;
use preload::Preload;
pub(crate) use serve::serve;

/// How often in one start a helper that was killed is replaced.
const ATTEMPTS: u32 = 8;
/// How often a load is begun that is killed from outside.
const LOADS: u32 = 3;

/// A place for a helper: there is one in it from the first start on.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    helper: Mutex<Option<Helper>>,
    /// What it does first; nothing in the default place.
    plan: Option<Arc<Preload>>,
}

static DEFAULT: ForkLocal<Slot> = ForkLocal::new();

/// The place of the helper that serves who asks for no other.
pub(crate) fn default_slot() -> &'static Slot {
    DEFAULT.get()
}

/// Those of the [`ForkServer`](server::ForkServer)s that have had a helper in this process, by their numbers.
static SLOTS: ForkLocal<Mutex<BTreeMap<u64, Arc<Slot>>>> = ForkLocal::new();

/// Holds off all other starts until the child that was started is registered: a child that bears the helper's name
/// and is not registered is taken for a spare that nobody knows of.
#[must_use]
pub(crate) struct Registering<'a> {
    _helper: MutexGuard<'a, Option<Helper>>,
}

/// Sends the message to a spare of the slot's helper. `None` where children are to be in another pid namespace than this
/// process: a helper there cannot make siblings of itself.
pub(crate) fn start<'a>(
    slot: &'a Slot,
    body: &[&[u8]],
    fds: &[RawFd],
) -> Result<Option<(Started, Report, Registering<'a>)>, ProcessError> {
    let plan = slot.plan.as_deref();
    let mut place = lock(&slot.helper);
    let before = place.as_ref().map(|helper| &helper.conditions);
    let mut now = Conditions::now(before);
    if now.fixed.sandbox.has_other_pids() {
        return Ok(None);
    }
    for n_lost in 0..ATTEMPTS {
        let mut helper = match place.take() {
            Some(mut helper) => match helper.keep_up(&mut now) {
                Ok(()) => helper,
                Err(Lost) => {
                    let _ = helper.end();
                    continue;
                }
            },
            None => launch(&now, plan)?,
        };
        helper.be_waited_for(n_lost);
        match helper.take_spare() {
            Ok(Taken::Spare(spare)) => {
                // The helper before the spare: so it gets the idle CPU, and the spare the one that we are about to leave
                // when we wait for it. The other way round it would share a CPU with the spare, and fork first.
                let _ = helper.ask_for_spares();
                let inherited = now.since(&helper.conditions);
                *place = Some(helper);
                let sent = spare.send(inherited, body, fds);
                if let Some((started, report)) = sent? {
                    return Ok(Some((started, report, Registering { _helper: place })));
                }
            }
            Ok(Taken::Refused(errno)) => {
                *place = Some(helper);
                return Err(failed("fork in the fork server")(errno));
            }
            Err(Lost) => {
                // One that fails by itself would do so again. That it is killed, or ends because it was idle, is chance.
                if let Some(status) = helper.end().filter(|status| status.code().is_some_and(|code| code != 0)) {
                    let source = io::Error::other(spawn::NotThisProgram(status));
                    return Err(ProcessError::Start { operation: "start the fork server".into(), source });
                }
            }
        }
    }
    Err(ProcessError::LauncherLost)
}

/// A helper that has done what it is to do first.
fn launch(now: &Conditions, plan: Option<&Preload>) -> Result<Helper, ProcessError> {
    exit::register(Stage::ForkServer, stop_all);
    leaving::reap();
    let Some(plan) = plan else { return Helper::execute(now) };
    let mut n_killed = 0;
    loop {
        match preload::load(Helper::execute(now)?, plan) {
            // Not by this process. Tried once more, but not for ever: the kernel may have killed it for want of memory.
            Err(e) if preload::was_killed(&e) && n_killed < LOADS - 1 => n_killed += 1,
            loaded => return loaded,
        }
    }
}

/// Launches another helper for the slot, and ends the one that was there, whose children go on.
pub(crate) fn renew(slot: &Slot) -> Result<(), ProcessError> {
    let now = Conditions::now(None);
    if now.fixed.sandbox.has_other_pids() {
        return Err(no_siblings());
    }
    let fresh = launch(&now, slot.plan.as_deref())?;
    let mut place = lock(&slot.helper);
    if let Some(former) = place.replace(fresh) {
        let _ = former.end();
    }
    Ok(())
}

/// Why a fork server cannot serve a process whose children are in another pid namespace.
pub(crate) fn no_siblings() -> ProcessError {
    let source = io::Error::from(io::ErrorKind::Unsupported);
    ProcessError::Start { operation: "use a fork server for children in another pid namespace".into(), source }
}

/// Those of all fork servers.
fn slots() -> Vec<Arc<Slot>> {
    lock(SLOTS.get()).values().cloned().collect()
}

/// Reaps helpers that have ended. Waits for none that loads.
pub(crate) fn tidy() {
    let tidy = |mut place: MutexGuard<'_, Option<Helper>>| {
        if let Some(helper) = place.take_if(|helper| helper.has_ended()) {
            let _ = helper.end();
        }
    };
    tidy(lock(&default_slot().helper));
    slots().iter().filter_map(|slot| try_lock(&slot.helper)).for_each(tidy);
    leaving::reap();
}

fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(e)) => Some(e.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Ends the default helper and its spares, if there are any.
pub(crate) fn stop() {
    if let Some(helper) = lock(&default_slot().helper).take() {
        let _ = helper.end();
    }
}

/// Ends all helpers, at this process's exit. One that loads for another thread ends by its death link.
fn stop_all() {
    stop();
    for mut place in slots().iter().filter_map(|slot| try_lock(&slot.helper)) {
        if let Some(helper) = place.take() {
            let _ = helper.end();
        }
    }
}

/// The socket to the default helper, if there is one.
#[cfg(test)]
pub(super) fn with_socket(f: impl FnOnce(std::os::fd::BorrowedFd<'_>)) {
    if let Some(helper) = &*lock(&default_slot().helper) {
        f(std::os::fd::AsFd::as_fd(&helper.socket));
    }
}
