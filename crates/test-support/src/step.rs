//! Takes a process through a stretch of code one instruction at a time, and kills it wherever one likes.
//!
//! [`Victim::start`] forks a child that runs up to its [`Mark::window`] and stops there. From then on it moves only by
//! [`step`](Victim::step) (one instruction) or [`next_call`](Victim::next_call) (to the entry or exit of a system
//! call). The code in the window is the program's own, compiled as it always is: the only marks are a breakpoint
//! before and one after the call.
//!
//! For single-threaded programs of their own, not for `#[test]` functions: it forks, and keeps an interval timer.
//!
//! # Safety
//! `fork` from a program that is single-threaded by contract; the child runs ordinary Rust afterwards.
#![allow(unsafe_code)]

use std::{
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    ptr::NonNull,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        mman::{MapFlags, ProtFlags, mmap_anonymous, munmap},
        ptrace,
        signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{ForkResult, Pid, fork},
};

pub use crate::call::Call;
use crate::{breakpoint, call, cpu, exclusive, processes, sys};

/// How often a wait looks up from its system call.
const TICK: Duration = Duration::from_millis(5);

/// It must not outlive whoever could let it go on; and stops at system calls are told from others.
const OPTIONS: ptrace::Options = ptrace::Options::PTRACE_O_EXITKILL.union(ptrace::Options::PTRACE_O_TRACESYSGOOD);

/// A way of letting a stopped tracee go, with a signal for it or without.
type Go = fn(Pid, Option<Signal>) -> nix::Result<()>;

/// Where a victim has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It stands before its next instruction, or at the entry or exit of a system call.
    Stopped,
    /// It sleeps inside a system call, and will come to a stop when that returns: call again to wait for it.
    Blocked,
    /// It has left the window.
    Done,
    /// It has left the window by a panic, everything unwound.
    Panicked,
    /// It has ended by itself.
    Ended(WaitStatus),
}

/// A child under the knife. Killed and reaped when dropped.
#[derive(Debug)]
pub struct Victim {
    pid: Pid,
    phase: Phase,
    /// It was set going and has not stopped since.
    moving: bool,
    ended: Option<WaitStatus>,
    /// It stops at an address.
    has_breakpoint: bool,
    /// The only CPU it may use now, which is its tracer's.
    cpu: Option<usize>,
}

impl Victim {
    /// Forks a child that runs `life`, which must call [`Mark::window`] once, and waits until it stands before the
    /// first instruction there.
    ///
    /// # Errors
    /// If the system refuses a process; if the child ended or slept for two seconds before it reached its window.
    pub fn start(life: impl FnOnce(&Mark)) -> io::Result<Self> {
        tick();
        let phase = Phase::new()?;
        // SAFETY: the calling program is single-threaded, so the child may do whatever the parent may.
        let pid = match unsafe { fork()? } {
            ForkResult::Child => {
                let lived = catch_unwind(AssertUnwindSafe(|| {
                    cpu::free_me();
                    ptrace::traceme().expect("a fresh child can be traced by its parent");
                    life(&Mark(phase.word()));
                }));
                sys::exit_now(if lived.is_ok() { 0 } else { 101 });
            }
            ForkResult::Parent { child } => child,
        };
        let mut victim = Self { pid, phase, moving: true, ended: None, has_breakpoint: false, cpu: None };
        let begun = Instant::now();
        loop {
            match victim.wait(ptrace::cont) {
                Stop::Stopped if victim.phase.is(INSIDE) => {
                    ptrace::setoptions(pid, OPTIONS)?;
                    return Ok(victim);
                }
                Stop::Blocked if begun.elapsed() < Duration::from_secs(2) => {}
                other => {
                    return Err(io::Error::other(format!("{other:?} before the window\n{}", victim.whereabouts())));
                }
            }
        }
    }

    /// Takes hold of a single-threaded process that runs already, wherever it is, or sleeps. What it does from there on
    /// is its window.
    ///
    /// # Errors
    /// If it may not be traced, or is gone.
    pub fn attach(pid: i32) -> io::Result<Self> {
        tick();
        let pid = Pid::from_raw(pid);
        ptrace::seize(pid, OPTIONS)?;
        let phase = Phase::new()?;
        let mut victim = Self { pid, phase, moving: true, ended: None, has_breakpoint: false, cpu: None };
        ptrace::interrupt(pid)?;
        match victim.wait(ptrace::cont) {
            Stop::Stopped => Ok(victim),
            other => Err(io::Error::other(format!("{other:?} where it was to be stopped"))),
        }
    }

    /// Its pid, which is also the id of its only thread.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Executes one instruction. A system call is one instruction, and so is what a processor can only do in several
    /// that no stop comes between.
    pub fn step(&mut self) -> Stop {
        cpu::bind(self.pid, &mut self.cpu);
        let pair = if self.moving { None } else { exclusive::end_of_pair(self.pid) };
        pair.and_then(|end| self.go_to(end)).unwrap_or_else(|| self.advance(ptrace::step))
    }

    /// Runs to the next entry or exit of a system call.
    pub fn next_call(&mut self) -> Stop {
        self.advance(ptrace::syscall)
    }

    /// Executes one instruction or more, until it stands before the one at `address`; less if it blocks or its window ends.
    pub fn run_to(&mut self, address: u64) -> Stop {
        // Off the instruction before which it stands; or to its next stop, if it has slept on its way.
        let mut stop = self.step();
        let is_there = |victim: &Self| victim.instruction() == Some(address);
        if stop != Stop::Stopped || is_there(self) {
            return stop;
        }
        if let Some(stop) = self.go_to(address) {
            return stop;
        }
        while stop == Stop::Stopped && !is_there(self) {
            stop = self.step();
        }
        stop
    }

    /// Runs on, to the end of the window unless it blocks before.
    pub fn run(&mut self) -> Stop {
        cpu::free(self.pid, &mut self.cpu);
        self.advance(ptrace::cont)
    }

    /// Kills it where it stands, and returns when it is dead and reaped.
    pub fn kill(mut self) {
        self.end();
    }

    /// The address of its next instruction; of the one it is in, if it sleeps in a system call.
    pub fn instruction(&self) -> Option<u64> {
        let call = || fs::read_to_string(format!("/proc/{}/syscall", self.pid)).ok();
        match ptrace::getregs(self.pid) {
            #[cfg(target_arch = "x86_64")]
            Ok(regs) => Some(regs.rip),
            #[cfg(target_arch = "aarch64")]
            Ok(regs) => Some(regs.pc),
            Err(_) => u64::from_str_radix(call()?.trim().rsplit_once(" 0x")?.1, 16).ok(),
        }
    }

    /// What `/proc` tells about it.
    pub fn whereabouts(&self) -> String {
        processes::whereabouts(self.pid.as_raw())
    }

    /// The system call at whose entry it stands.
    pub fn call(&self) -> Option<Call> {
        Call::at_entry(self.pid)
    }

    /// Has the system call at whose entry it stands end with an error, unmade. It stands at the call's exit then.
    pub fn fail_call(&mut self, error: Errno) -> Stop {
        call::skip(self.pid);
        let stop = self.next_call();
        call::answer(self.pid, error);
        stop
    }

    /// Lets it go on by itself, wherever it is.
    pub fn let_go(mut self) {
        cpu::free(self.pid, &mut self.cpu);
        if self.ended.is_some() {
            return;
        }
        let stands = !self.moving || (ptrace::interrupt(self.pid).is_ok() && self.wait(ptrace::cont) == Stop::Stopped);
        self.leave_breakpoint();
        if stands && ptrace::detach(self.pid, None).is_ok() {
            std::mem::forget(self);
        }
    }

    /// Lets it run until it stands before the instruction at `address`; `None` if this machine has no breakpoints.
    fn go_to(&mut self, address: u64) -> Option<Stop> {
        breakpoint::set(self.pid, Some(address)).ok()?;
        self.has_breakpoint = true;
        // If that fails, it was killed meanwhile: the wait tells.
        let _ = ptrace::cont(self.pid, None);
        self.moving = true;
        Some(self.wait(ptrace::cont))
    }

    fn leave_breakpoint(&mut self) {
        if std::mem::take(&mut self.has_breakpoint) {
            let _ = breakpoint::set(self.pid, None);
        }
    }

    fn advance(&mut self, go: Go) -> Stop {
        if let Some(status) = self.ended {
            return Stop::Ended(status);
        }
        if let Some(end) = self.phase.end() {
            return end;
        }
        if !self.moving {
            // If either fails, it was killed meanwhile: the wait tells.
            self.leave_breakpoint();
            let _ = go(self.pid, None);
            self.moving = true;
        }
        self.wait(go)
    }

    /// Waits for the next stop; hands on the signals that are none of ours.
    fn wait(&mut self, go: Go) -> Stop {
        let mut ticks_asleep = 0;
        loop {
            match waitpid(self.pid, Some(WaitPidFlag::__WALL)) {
                Ok(
                    WaitStatus::Stopped(_, Signal::SIGTRAP)
                    | WaitStatus::PtraceEvent(..)
                    | WaitStatus::PtraceSyscall(_),
                ) => {
                    self.moving = false;
                    return self.phase.end().unwrap_or(Stop::Stopped);
                }
                Ok(WaitStatus::Stopped(_, signal)) => {
                    let _ = go(self.pid, Some(signal));
                }
                Ok(status @ (WaitStatus::Exited(..) | WaitStatus::Signaled(..))) => {
                    self.moving = false;
                    self.ended = Some(status);
                    return Stop::Ended(status);
                }
                Ok(_) => {}
                Err(Errno::EINTR) if processes::is_asleep(self.pid.as_raw()) => {
                    ticks_asleep += 1;
                    if ticks_asleep == 3 {
                        return Stop::Blocked;
                    }
                }
                Err(Errno::EINTR) => ticks_asleep = 0,
                Err(e) => unreachable!("{e}: a child can be waited for until it has been reaped"),
            }
        }
    }

    fn end(&mut self) {
        cpu::free_me();
        if self.ended.is_some() {
            return;
        }
        let _ = kill(self.pid, Signal::SIGKILL);
        loop {
            match waitpid(self.pid, Some(WaitPidFlag::__WALL)) {
                Ok(status @ (WaitStatus::Exited(..) | WaitStatus::Signaled(..))) => {
                    self.ended = Some(status);
                    return;
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.end();
    }
}

/// Stops a process that is being traced where the call stands: the beginning of the window of an
/// [attached](Victim::attach) victim.
pub fn breakpoint() {
    sys::breakpoint();
}

/// What a victim marks its window with.
#[derive(Debug)]
pub struct Mark<'a>(&'a AtomicU32);

impl Mark<'_> {
    /// Runs `operation` as the window: everything from its first instruction to its return.
    pub fn window<R>(&self, operation: impl FnOnce() -> R) -> R {
        let (mut operation, mut result) = (Some(AssertUnwindSafe(operation)), None);
        let mut call = || result = operation.take().map(catch_unwind);
        self.0.store(INSIDE, Ordering::Relaxed);
        sys::breakpoint();
        enter(&mut call);
        let result = result.expect("`enter` calls it once");
        self.0.store(if result.is_ok() { OUTSIDE } else { PANICKED }, Ordering::Relaxed);
        sys::breakpoint();
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

#[inline(never)]
fn enter(call: &mut dyn FnMut()) {
    call();
}

const INSIDE: u32 = 1;
const OUTSIDE: u32 = 2;
const PANICKED: u32 = 3;

/// A word that both see: before, inside or past the window, and how it came there.
#[derive(Debug)]
struct Phase(NonNull<AtomicU32>);

impl Phase {
    fn new() -> io::Result<Self> {
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let length = std::num::NonZero::<usize>::MIN;
        // SAFETY: a fresh mapping at an address of the kernel's choice touches nothing that exists.
        let page = unsafe { mmap_anonymous(None, length, access, MapFlags::MAP_SHARED)? };
        Ok(Self(page.cast()))
    }

    fn word(&self) -> &AtomicU32 {
        // SAFETY: a page of zeros, mapped as long as `self` lives.
        unsafe { self.0.as_ref() }
    }

    fn is(&self, phase: u32) -> bool {
        self.word().load(Ordering::Relaxed) == phase
    }

    /// How the window ended, if it has.
    fn end(&self) -> Option<Stop> {
        match self.word().load(Ordering::Relaxed) {
            OUTSIDE => Some(Stop::Done),
            PANICKED => Some(Stop::Panicked),
            _ => None,
        }
    }
}

impl Drop for Phase {
    fn drop(&mut self) {
        // SAFETY: the page is this value's own, and no reference to it is left.
        let unmapped = unsafe { munmap(self.0.cast(), 1) };
        debug_assert!(unmapped.is_ok());
    }
}

/// Has every blocking system call of this process return with `EINTR` now and then.
fn tick() {
    static START: std::sync::Once = std::sync::Once::new();
    extern "C" fn on_tick(_: i32) {}
    START.call_once(|| {
        let action = SigAction::new(SigHandler::Handler(on_tick), SaFlags::empty(), SigSet::empty());
        // SAFETY: the handler does nothing.
        unsafe { sigaction(Signal::SIGALRM, &action) }.expect("SIGALRM can be handled");
        sys::start_interval_timer(TICK);
    });
}
