//! The words and the rows of a pool that is traced.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use kernel::shm::Shared;
use lane::N_SLOTS;
use serde::{Deserialize, Serialize};

use crate::{
    Trace,
    process::{settings::Settings, work::Header},
    trace::{Arg, Moment, TaskSpan},
};

/// What a worker is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::process) struct Stamps(Option<Shared<[AtomicU64; 2 * N_SLOTS]>>);

impl Stamps {
    pub(in crate::process) fn begin(&self, slot: usize) {
        self.set(2 * slot);
    }

    pub(in crate::process) fn end(&self, slot: usize) {
        self.set(2 * slot + 1);
    }

    fn set(&self, word: usize) {
        if let Some(words) = &self.0 {
            words[word].store(Moment::now().to_word(), Relaxed);
        }
    }

    fn take(&self, slot: usize) -> Option<(Moment, Moment)> {
        let word = |index: usize| Moment::from_word(self.0.as_ref()?[index].swap(0, Relaxed));
        let (begin, end) = (word(2 * slot), word(2 * slot + 1));
        Some((begin?, end.unwrap_or_else(Moment::now)))
    }
}

/// A worker's row, for its owner.
pub(in crate::process) struct Row {
    traced: Option<(Trace, Stamps)>,
    pid: u32,
}

impl Row {
    /// A row for a worker that is to be started.
    pub(in crate::process) fn new(settings: &Settings) -> io::Result<(Self, Stamps)> {
        let Some(trace) = &settings.trace else { return Ok((Self { traced: None, pid: 0 }, Stamps(None))) };
        let stamps = Stamps(Some(Shared::new([const { AtomicU64::new(0) }; 2 * N_SLOTS])?));
        Ok((Self { traced: Some((trace.clone(), stamps.clone())), pid: 0 }, stamps))
    }

    pub(in crate::process) fn started(mut self, pid: u32, name: &str) -> Self {
        self.pid = pid;
        if let Some((trace, _)) = &self.traced {
            trace.add_row(pid, name);
        }
        self
    }

    /// The task in `slot` has ended: its initializer's call if there is no `work`. `died`: with its worker, and how.
    pub(in crate::process) fn ended(&self, slot: usize, work: Option<&Header>, died: Option<&dyn ToString>) {
        let Some((trace, stamps)) = &self.traced else { return };
        // It may have died before it took the time.
        let Some((begin, end)) = stamps.take(slot) else { return };
        let mut args = Vec::new();
        if let Some(work) = work {
            args.push(("task", Arg::Number(work.id)));
            args.extend(work.name().map(|name| ("name", Arg::Text(name.into()))));
        }
        args.extend(died.map(|why| ("died", Arg::Text(why.to_string()))));
        let function = work.map_or("initializer", |work| work.label.name());
        trace.add(TaskSpan { row: self.pid, function, begin, end, args });
    }
}
