//! What a pool's builder has been told.

use std::{sync::Arc, time::Duration};

use crate::terms::Terms;
use kernel::handover::Packed;
use proc_core::{ForkServer, StartMethod, cpu_count, template::Template};

/// What is called with a worker's name and a line that it wrote.
pub(super) type LineFn = dyn Fn(&str, &str) + Send + Sync;

pub(super) struct Settings {
    pub(super) name: String,
    pub(super) n_workers: usize,
    /// What holds for tasks that have no terms of their own.
    pub(super) terms: Terms,
    /// A packed function and its arguments.
    pub(super) initializer: Packed,
    pub(super) max_tasks_per_child: Option<usize>,
    pub(super) idle_timeout: Option<Duration>,
    /// In bytes.
    pub(super) recycle_above: Option<u64>,
    pub(super) retry_delay: Duration,
    #[cfg(feature = "log")]
    pub(super) forward_logs: Option<bool>,
    pub(super) stdout: Option<Arc<LineFn>>,
    pub(super) stderr: Option<Arc<LineFn>>,
    /// What each worker is like.
    pub(super) worker: Option<Template>,
    /// CPUs, one for each seat in turn; empty if workers run wherever this process may.
    pub(super) cpus: Vec<usize>,
    pub(super) start_method: Option<StartMethod>,
    pub(super) fork_server: Option<ForkServer>,
    pub(super) confines_after_initializer: bool,
    #[cfg(feature = "trace")]
    pub(super) trace: Option<crate::Trace>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "pool".into(),
            n_workers: cpu_count(),
            terms: Terms::default(),
            initializer: Packed::default(),
            max_tasks_per_child: None,
            idle_timeout: None,
            recycle_above: None,
            retry_delay: Duration::from_millis(10),
            #[cfg(feature = "log")]
            forward_logs: None,
            stdout: None,
            stderr: None,
            worker: None,
            cpus: Vec::new(),
            start_method: None,
            fork_server: None,
            confines_after_initializer: false,
            #[cfg(feature = "trace")]
            trace: None,
        }
    }
}
