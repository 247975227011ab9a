//! Runs Rust functions in processes of their own: no init call, no macro, no guard in `main`.
//!
//! ```
//! use proc_core::Process;
//!
//! fn work(n: u64, label: String) -> String {
//!     format!("{label}: {}", n * n)
//! }
//!
//! let process = Process::spawn(work, (7, "seven squared".into()))?;
//! assert_eq!(process.join()?, "seven squared: 49");
//! # Ok::<(), proc_core::ProcessError>(())
//! ```
//!
//! A child may be killed at any instruction: its waiter is told at once how it ended. It dies with its owner, even if that is
//! killed.
//!
//! # For people who know Python's multiprocessing
//!
//! | Python | here |
//! |---|---|
//! | `Process(target=f, args=(…)).start()`, `p.join()`, `p.exitcode` | [`Process::spawn(f, (…))`](Process::spawn), [`join`](Process::join): the function's value, or a [`ProcessError`] for each other end |
//! | `class P(Process): def run` | [`Runnable`], [`Process::start`] |
//! | `name=`, `daemon=`, an environment, limits | [`Process::builder()`](Process::builder) |
//! | `set_start_method`, `set_forkserver_preload` | [`set_start_method`], [`ForkServer`], [`preloaded`] |
//! | `connection.wait([…])` | [`wait_any`] |
//! | `active_children()`, `current_process()`, `parent_process()`, `cpu_count()` | the same names |
//! | `shared_memory` | [`shm`] |
//! | `subprocess`, `os.fork`, `threading.Thread` | [`command`], [`fork`], [`thread`] |
//! | PEP 3143's daemons; a container's process 1; Erlang's supervisors | [`daemon`], [`reaper`], [`supervisor`] |
//!
//! # Features
//!
//! | feature | |
//! |---|---|
//! | `log`, `tracing` | what children log comes out of their owner's logger or subscriber |
//! | `confine` | `Builder::confine` fences a child in, by Landlock and seccomp, without privileges |
//! | `auto-entry`, a default | without it, the program calls [`init`] first thing in `main` |
//!
//! # What this is not
//!
//! Not for Windows or macOS. No place for closures with captures in other processes ([`Process::fork`] takes them, in a process
//! with one thread), nor for functions of plug-ins: only the program itself is the same in every process.
#![deny(unsafe_code)]

mod awaiting;
mod backtrace;
mod builder;
mod child;
mod children;
pub mod command;
#[cfg(feature = "confine")]
mod confine;
mod crash;
mod current;
pub mod daemon;
mod death_link;
mod entry;
mod error;
mod exit;
#[doc(hidden)]
pub mod function;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod image;
mod launch;
mod listed;
mod lock;
#[cfg(feature = "log")]
#[doc(hidden)]
pub mod logs;
#[cfg(not(feature = "log"))]
mod logs;
mod options;
mod outcome;
mod output;
mod panic_report;
mod preloaded;
mod process;
pub mod reaper;
mod report;
mod start;
pub mod supervisor;
#[doc(hidden)]
pub mod template;
pub mod thread;
mod turn;

#[doc(hidden)]
pub use crate::child::{enter_confinement, is_to_be_confined};
#[doc(hidden)]
pub use kernel::handover;
#[doc(hidden)]
pub use kernel::wait::Watch;
#[doc(inline)]
pub use kernel::{
    handover::{Error as HandoverError, Fd},
    shm,
    wait::{WaitAny, Waitable, wait_any, wait_any_async},
};
#[doc(hidden)]
pub use wire::stack;

#[doc(no_inline)]
pub use std::process::{ExitStatus, Stdio};

#[doc(no_inline)]
pub use nix::sys::signal::Signal;

pub use crate::{
    awaiting::{Exit, Join},
    backtrace::{Backtrace, Frame},
    builder::Builder,
    crash::{CrashCause, CrashReport},
    current::{CurrentProcess, ParentProcess, cpu_count, current_process, parent_process},
    entry::init,
    error::{PreloadError, ProcessError},
    function::Target,
    options::Resource,
    panic_report::Panic,
    preloaded::preloaded,
    process::{Process, ProcessHandle, Runnable, active_children},
    start::{
        StartMethod, end_fork_server,
        fork::{Fork, fork},
        forkserver::server::{ForkServer, ForkServerBuilder},
        set_start_method, start_method,
    },
};

#[cfg(feature = "log")]
pub use crate::logs::LogOverflow;
#[cfg(feature = "confine")]
pub use crate::{
    confine::{Confined, Confinement, Fence},
    crash::SystemCall,
};
