//! The making of a pool, from its settings.

use std::sync::Arc;

use kernel::helper;
use proc_core::{
    Builder,
    template::{Template, Unfit},
};

use super::{
    super::{ProcessPool, memory, service, shared::Shared},
    ProcessPoolBuilder,
};
use crate::{PoolError, bound::Bound};

impl ProcessPoolBuilder {
    /// Starts the workers, and waits for their initializers.
    ///
    /// # Errors
    /// If workers cannot be started, or an initializer failed; [`PoolError::Setting`] if a number is 0 that must not be;
    /// [`PoolError::Worker`] if [`worker`](Self::worker) was given a setting that workers cannot have, or if
    /// [`memory_limit`](Self::memory_limit) or [`recycle_above`](Self::recycle_above) is set where there is no `/proc`.
    pub fn build(mut self) -> Result<ProcessPool, PoolError> {
        self.cut.check(self.settings.n_workers)?;
        PoolError::refuse_zero("max_pending", self.max_pending)?;
        PoolError::refuse_zero("max_tasks_per_child", self.settings.max_tasks_per_child)?;
        if let Some(worker) = self.worker.take() {
            self.settings.worker = Some(self.template(worker)?);
        }
        if self.settings.recycle_above == Some(0) {
            return Err(PoolError::Setting("recycle_above"));
        }
        let needs_memory =
            [("memory_limit", self.settings.terms.memory_limit), ("recycle_above", self.settings.recycle_above)];
        if let Some((option, _)) = needs_memory.into_iter().find(|(_, bytes)| bytes.is_some() && !memory::is_known()) {
            return Err(memory::unknown(option));
        }
        if let Some(affinity) = self.affinity {
            self.settings.cpus = affinity.order()?;
        }
        self.initializer.map_err(PoolError::Initializer)?;
        self.cut.n_workers = Arc::new(self.settings.n_workers.into());
        if self.settings.terms.timeout.is_some() && self.cut.chunk_size.is_none() {
            self.cut.chunk_size = Some(1);
        }
        if let Some(preload) = self.preload {
            self.settings.fork_server = Some(preload.build().map_err(|e| PoolError::Start(Arc::new(e)))?);
        }
        let shared = Shared::new(self.settings)?;
        let for_service = shared.clone();
        helper::spawn("pool-service", move || service::run(&for_service))?;
        let pool = ProcessPool { shared, bound: self.max_pending.map(Bound::new), cut: self.cut };
        pool.shared.wait_started()?;
        Ok(pool)
    }

    fn template(&self, worker: Builder) -> Result<Template, PoolError> {
        let template = Template::new(worker).map_err(|unfit| match unfit {
            Unfit::Option(option, why) => PoolError::Worker { option, why },
            Unfit::Streams(e) => PoolError::Start(Arc::new(e)),
        })?;
        let is_given =
            self.settings.start_method.is_some() || self.settings.fork_server.is_some() || self.preload.is_some();
        if is_given && template.start_method().is_some() {
            return Err(PoolError::Worker {
                option: "start_method or fork_server",
                why: "the pool has been given one",
            });
        }
        Ok(template)
    }
}
