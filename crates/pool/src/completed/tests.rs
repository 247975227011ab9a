use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Wake, Waker},
};

use super::{
    any_task::{AnyTask, sealed},
    wait::{Until, wait_tasks_async},
};
use crate::{
    Task, TaskError,
    task::{Core, Handle},
};

struct Bare(Core<u8>);

impl Handle<u8> for Bare {
    fn core(&self) -> &Core<u8> {
        &self.0
    }
    fn cancel(&self) -> bool {
        false
    }
    fn is_running(&self) -> bool {
        false
    }
}

/// A task that counts how often it is asked whether it has ended.
struct Watched<'a>(Task<u8>, &'a Cell<usize>);

impl AnyTask for Watched<'_> {}
impl sealed::AnyTask for Watched<'_> {
    fn successful(&self) -> Option<bool> {
        self.1.set(self.1.get() + 1);
        self.0.successful()
    }
    fn notify(&self, waker: &Waker) -> bool {
        sealed::AnyTask::notify(&self.0, waker)
    }
    fn forget(&self, waker: &Waker) {
        sealed::AnyTask::forget(&self.0, waker);
    }
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

const N_TASKS: usize = 500;

/// Ends the tasks one by one, all but the last with a value, and polls after each: how often each poll looked at a
/// task, and how often it was woken for that.
fn poll_through(until: Until) -> (Vec<usize>, usize) {
    let bare: Vec<_> = (0..N_TASKS).map(|n| Arc::new(Bare(Core::new(n as u64)))).collect();
    let n_looks = Cell::new(0);
    let tasks = bare.iter().map(|bare| Watched(Task(bare.clone()), &n_looks));
    let mut future = wait_tasks_async(tasks, until);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let mut poll = || {
        let ready = Pin::new(&mut future).poll(&mut Context::from_waker(&waker)).is_ready();
        (n_looks.replace(0), ready)
    };
    assert!(!poll().1);
    let last = bare.last().unwrap();
    let looks = bare[..N_TASKS - 1].iter().map(|bare| {
        assert!(bare.0.complete(Ok(7)));
        let (n_looks, ready) = poll();
        assert!(!ready);
        n_looks
    });
    let looks = looks.collect();
    assert!(last.0.complete(Err(TaskError::Cancelled)));
    assert!(poll().1);
    (looks, woken.0.load(Relaxed))
}

#[test]
fn a_poll_looks_at_no_more_tasks_than_have_ended() {
    assert_eq!(poll_through(Until::All), (vec![0; N_TASKS - 1], 1));
    assert_eq!(poll_through(Until::FirstError), (vec![1; N_TASKS - 1], N_TASKS));
}
