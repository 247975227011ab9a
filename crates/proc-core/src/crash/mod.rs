//! What a child that died of its own fault tells its owner: the [`handler`] sends it, [`CrashReport`] shows it.

pub(crate) mod alternate_stack;
mod calls;
mod context;
pub(crate) mod handler;
pub(crate) mod last_panic;
mod maps;
mod message;
mod origin;
pub(crate) mod out_of_memory;
pub(crate) mod packet;

use std::fmt;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::backtrace::{Backtrace, Frame};
use kernel::sys::oom;
use packet::{Happened, NO_MEMORY, OVERFLOW, Where};

/// How a process came to its end, as it reported itself when it got a signal for a fault of its own: `SIGSEGV`, `SIGBUS`,
/// `SIGILL`, `SIGFPE` or `SIGABRT`.
///
/// A process that was killed from outside (`SIGKILL`) has one only if it seems that the kernel killed it for want of memory
/// ([`CrashCause::OutOfMemory`]); it then says nothing of the process itself. There is none for other kills, or for a process
/// that has replaced our handlers by its own. A stack overflow leaves none on a thread without an alternate signal stack: in a
/// child, those that were not started with [`thread`](crate::thread).
///
/// # Examples
/// ```
/// use proc_core::{CrashCause, Process, ProcessError};
///
/// fn recurse(n: u64) -> u64 {
///     if n == u64::MAX { 0 } else { std::hint::black_box(recurse(n + 1)) + 1 }
/// }
/// let process = Process::builder().stderr(std::process::Stdio::null()).spawn(recurse, (0,))?;
/// let Err(ProcessError::Signaled { crash: Some(crash), .. }) = process.join() else { unreachable!() };
/// assert_eq!(crash.cause(), CrashCause::StackOverflow);
/// assert!(crash.frames().iter().any(|frame| frame.function().is_some_and(|name| name.ends_with("recurse"))));
/// # Ok::<(), ProcessError>(())
/// ```
#[derive(Clone)]
pub struct CrashReport(pub(crate) Box<Told>);

/// On the heap: reports lie in errors, and these in every result. A result is moved often, and is seldom an error.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Told {
    happened: Happened,
    flags: u8,
    panic: String,
    backtrace: Backtrace,
    is_out_of_memory: bool,
    /// Of its control group, if it was killed for want of memory.
    memory_limit: Option<u64>,
    /// The end of its standard error, if that was captured.
    pub(crate) stderr: String,
}

/// What a [`CrashReport`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CrashCause {
    /// The stack was used up.
    StackOverflow,
    /// An allocation failed, and the program does not go on without it.
    AllocationFailed,
    /// The program called `abort`: by itself, for a panic where none can be caught, or because its allocator found its
    /// memory corrupted.
    Abort,
    /// The processor refused an instruction: a bad address, a division by zero, an illegal instruction.
    Fault,
    /// The signal was sent by another process.
    Sent,
    /// The process's [`Confinement`](crate::Confinement) refused a system call:
    /// [`refused_call`](CrashReport::refused_call).
    #[cfg(feature = "confine")]
    RefusedCall,
    /// The kernel killed it, for want of memory: it has counted one more such death in the control group, or on the machine
    /// where there is none, since the last child that was killed. (If the kernel killed another process there, and a signal
    /// killed this one at the same time, that cannot be told.)
    #[doc(alias = "OOM")]
    OutOfMemory,
}

impl fmt::Display for CrashCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StackOverflow => "stack overflow",
            Self::AllocationFailed => "an allocation failed",
            Self::Abort => "abort",
            Self::Fault => "fault",
            Self::Sent => "sent by another process",
            #[cfg(feature = "confine")]
            Self::RefusedCall => "a system call was refused",
            Self::OutOfMemory => "the kernel was out of memory",
        })
    }
}

impl CrashReport {
    /// From the packets of the handler, if they are that.
    pub(crate) fn parse(happened: &[u8], at: Option<&[u8]>) -> Option<Self> {
        let (happened, panic) = Happened::parse(happened)?;
        let panic = String::from_utf8_lossy(panic).into_owned();
        let at = at.and_then(Where::parse).unwrap_or_default();
        let backtrace = Backtrace::of_places(origin::locate(&at.addresses, at.maps));
        Some(Self(Box::new(Told {
            happened,
            flags: at.flags,
            panic,
            backtrace,
            is_out_of_memory: false,
            memory_limit: None,
            stderr: String::new(),
        })))
    }

    /// The report of a killed process, if the kernel killed it for want of memory.
    pub(crate) fn of_kill(pid: u32) -> Option<Self> {
        out_of_memory::explains_a_kill().then(|| {
            Self(Box::new(Told {
                happened: Happened { signal: libc::SIGKILL, pid: pid.cast_signed(), ..Happened::default() },
                flags: 0,
                panic: String::new(),
                backtrace: Backtrace::default(),
                is_out_of_memory: true,
                memory_limit: oom::group_limit(),
                stderr: String::new(),
            }))
        })
    }

    /// What happened.
    pub fn cause(&self) -> CrashCause {
        let Happened { signal, code, sender, pid, .. } = self.0.happened;
        match signal {
            _ if self.0.is_out_of_memory => CrashCause::OutOfMemory,
            _ if self.0.flags & OVERFLOW != 0 => CrashCause::StackOverflow,
            _ if code <= 0 && sender != pid => CrashCause::Sent,
            #[cfg(feature = "confine")]
            libc::SIGSYS => CrashCause::RefusedCall,
            libc::SIGABRT if self.0.flags & NO_MEMORY != 0 => CrashCause::AllocationFailed,
            libc::SIGABRT => CrashCause::Abort,
            _ => CrashCause::Fault,
        }
    }

    /// The signal's number.
    pub fn signal(&self) -> i32 {
        self.0.happened.signal
    }

    /// The signal's code (`si_code`, see sigaction(2)): for `SIGSEGV`, 1 is an address that is not mapped, 2 one without
    /// permission; 0 and below is a signal that was sent.
    pub fn code(&self) -> i32 {
        self.0.happened.code
    }

    /// The address that was accessed, or that of the instruction for `SIGILL` and `SIGFPE`; `None` for a signal that was
    /// sent, as by `abort`.
    pub fn address(&self) -> Option<usize> {
        (self.0.happened.code > 0).then_some(self.0.happened.address as usize)
    }

    /// The system call that the process's [`Confinement`](crate::Confinement) refused, if that is the cause.
    #[cfg(feature = "confine")]
    pub fn refused_call(&self) -> Option<SystemCall> {
        let Happened { call, architecture, .. } = self.0.happened;
        (self.cause() == CrashCause::RefusedCall).then_some(SystemCall { number: call, architecture })
    }

    /// How many bytes the processes of the owner's control group may have, if the process was killed for want of memory and the
    /// group has a limit.
    pub fn memory_limit(&self) -> Option<u64> {
        self.0.memory_limit
    }

    /// The name of the thread, cut to 15 bytes by the kernel; `main` for the main thread. Empty if that is not known.
    pub fn thread(&self) -> String {
        if self.0.happened.pid == self.0.happened.tid {
            return "main".to_owned();
        }
        let name = self.0.happened.name.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    }

    /// The pid of the process that sent the signal, if it was sent.
    pub fn sender(&self) -> Option<u32> {
        (self.0.happened.code <= 0 && !self.0.is_out_of_memory).then_some(self.0.happened.sender.cast_unsigned())
    }

    /// The place and the message of the last panic in the process, cut to 512 bytes. An abort is often the consequence of
    /// one, in a destructor during another panic or in a program that is built with `panic = "abort"`; but it may also
    /// have been caught long before.
    pub fn last_panic(&self) -> Option<&str> {
        Some(self.0.panic.as_str()).filter(|panic| !panic.is_empty())
    }

    /// The last lines of its standard error, of 4 KiB at most, if its owner was given these lines
    /// ([`stderr_lines`](crate::Builder::stderr_lines)); else empty.
    pub fn stderr(&self) -> &str {
        &self.0.stderr
    }

    /// Its cause in one line, without names; with the last panic if it is an abort.
    pub fn summary(&self) -> String {
        #[cfg(feature = "confine")]
        if let Some(call) = self.refused_call() {
            return format!("{}: {call}", self.cause());
        }
        match self.last_panic().filter(|_| self.cause() == CrashCause::Abort) {
            Some(panic) => format!("{}, last {panic}", self.cause()),
            None => self.cause().to_string(),
        }
    }

    /// The functions, from the one at fault outward. Names are looked up at the first call, which takes up to some hundred
    /// milliseconds: see [`Backtrace`].
    pub fn frames(&self) -> &[Frame] {
        self.0.backtrace.frames()
    }

    /// The same as a text, or to be read later.
    pub fn backtrace(&self) -> &Backtrace {
        &self.0.backtrace
    }
}

/// A system call, as the kernel numbers it.
#[cfg(feature = "confine")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SystemCall {
    number: i32,
    architecture: u32,
}

#[cfg(feature = "confine")]
impl SystemCall {
    /// Its number.
    pub fn number(&self) -> i32 {
        self.number
    }

    /// The architecture that it is a number of: an `AUDIT_ARCH_…` of the kernel.
    pub fn architecture(&self) -> u32 {
        self.architecture
    }

    /// Its name, without a prefix: `connect`. `None` if it is not known here.
    pub fn name(&self) -> Option<&'static str> {
        crate::confine::name_of(self.number.into())
    }
}

#[cfg(feature = "confine")]
impl fmt::Display for SystemCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "number {:#x}", self.number),
        }
    }
}

/// With the backtrace, whose names are looked up for it.
impl fmt::Display for CrashReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Signal::try_from(self.signal()) {
            Ok(known) => write!(f, "{known}")?,
            Err(_) => write!(f, "signal {}", self.signal())?,
        }
        match self.cause() {
            #[cfg(feature = "confine")]
            CrashCause::RefusedCall => write!(f, " ({})", self.summary())?,
            cause => write!(f, " ({cause})")?,
        }
        if let Some(address) = self.address() {
            write!(f, " at address {address:#x}")?;
        }
        if self.cause() == CrashCause::Sent {
            write!(f, ", pid {}", self.0.happened.sender)?;
        }
        if let Some(limit) = self.0.memory_limit {
            write!(f, ", limit {limit} bytes")?;
        }
        if !self.0.is_out_of_memory {
            write!(f, " in thread {}", self.thread())?;
        }
        if let Some(panic) = self.last_panic() {
            write!(f, "; last {panic}")?;
        }
        if !self.0.backtrace.is_empty() {
            write!(f, "\n{}", self.0.backtrace.trim_end())?;
        }
        match self.0.stderr.trim_end() {
            "" => Ok(()),
            stderr => write!(f, "\nthe end of its standard error:\n{stderr}"),
        }
    }
}

/// Without names: an error that is printed with `{:?}` must not take a hundred milliseconds.
impl fmt::Debug for CrashReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrashReport")
            .field("signal", &self.signal())
            .field("cause", &format_args!("{}", self.summary()))
            .field("address", &self.address())
            .field("thread", &self.thread())
            .field("last_panic", &self.last_panic())
            .field("backtrace", &self.0.backtrace)
            .finish()
    }
}
