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
#[doc(inline)]
pub use kernel::{
    handover::{Error as HandoverError, Fd},
    shm,
    wait::{WaitAny, Waitable, Watch, wait_any, wait_any_async},
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
