//! What a pool's builder has been told.

use std::time::Duration;

use kernel::handover::Packed;
use proc_core::{ForkServer, StartMethod, cpu_count, template::Template};

pub(super) struct Settings {
    pub(super) name: String,
    pub(super) n_workers: usize,
    /// A packed function and its arguments.
    pub(super) initializer: Packed,
    pub(super) max_tasks_per_child: Option<usize>,
    pub(super) task_timeout: Option<Duration>,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) retries: u32,
    pub(super) retry_delay: Duration,
    pub(super) memory_limit: Option<u64>,
    /// What each worker is like.
    pub(super) worker: Option<Template>,
    pub(super) start_method: Option<StartMethod>,
    pub(super) fork_server: Option<ForkServer>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "pool".into(),
            n_workers: cpu_count(),
            initializer: Packed::default(),
            max_tasks_per_child: None,
            task_timeout: None,
            idle_timeout: None,
            retries: 0,
            retry_delay: Duration::from_millis(10),
            memory_limit: None,
            worker: None,
            start_method: None,
            fork_server: None,
        }
    }
}
