//! The slices of a pool's threads.

use std::cell::RefCell;

use nix::unistd::gettid;

use super::{Arg, Moment, TaskSpan, Trace};

thread_local! {
    /// The trace of the pool whose thread this is.
    static TRACED: RefCell<Option<(Trace, u32)>> = const { RefCell::new(None) };
}

impl Trace {
    /// Makes the calling thread a row, for as long as it runs.
    pub(crate) fn enter_this_thread(&self) {
        let row = gettid().as_raw().cast_unsigned();
        self.add_row(row, std::thread::current().name().unwrap_or("thread"));
        TRACED.set(Some((self.clone(), row)));
    }
}

/// Runs a task, whose slice is added if the thread is a row.
pub(crate) fn run<R>(function: &'static str, id: u64, task: impl FnOnce() -> R) -> R {
    let traced = TRACED.with_borrow(Clone::clone);
    let begin = traced.is_some().then(Moment::now);
    let result = task();
    if let (Some((trace, row)), Some(begin)) = (traced, begin) {
        let args = vec![("task", Arg::Number(id))];
        trace.add(TaskSpan { row, function, begin, end: Moment::now(), args });
    }
    result
}
