//! Calls that block, made by helper threads in place of a task: for what has no descriptor that a reactor could watch.
//!
//! A thread takes one call at a time, and ends when none has come for two seconds.

use std::{
    collections::VecDeque,
    fmt, io, mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
    time::Duration,
};

use crate::{at_fork, fork_local::ForkLocal, futex::Deadline, helper, waker::wake};

/// How long a thread stays without a call.
const IDLE: Duration = Duration::from_secs(2);
/// How long the first attempt of a call may take.
const FIRST: Duration = Duration::from_millis(10);
/// How long a later one may.
const LONGEST: Duration = Duration::from_secs(3600);

/// A call that is being made, and its result to come. Dropping it ends the call: with the attempt that is under way, which
/// takes no longer than all before it did, and 10 milliseconds at least.
pub struct Blocking<R> {
    state: Arc<Mutex<State<R>>>,
    /// Forks so far: a forked child does not have its parent's threads.
    generation: u32,
}

enum State<R> {
    Waiting(Waker),
    Done(R),
    /// Taken, or wanted no longer.
    Ended,
}

impl<R: Send + 'static> Blocking<R> {
    /// A helper thread calls `attempt` until it gives a result, and wakes `waker` then. Each attempt may take twice as
    /// long as the one before, and an hour at most; it may come back sooner.
    ///
    /// # Errors
    /// If a thread is needed and cannot be had.
    pub fn start(waker: &Waker, mut attempt: impl FnMut(Deadline) -> Option<R> + Send + 'static) -> io::Result<Self> {
        let state = Arc::new(Mutex::new(State::Waiting(waker.clone())));
        let shared = state.clone();
        run(Box::new(move || {
            let mut patience = FIRST;
            // A forked child may drop its copy of the call, and must not find it locked.
            while at_fork::while_nobody_forks(|| matches!(*lock(&shared), State::Waiting(_))) {
                let deadline = Deadline::after(patience).expect("the clock counts further than an hour");
                if let Some(result) = attempt(deadline) {
                    return finish(&shared, result);
                }
                patience = (patience * 2).min(LONGEST);
            }
        }))?;
        Ok(Self { state, generation: at_fork::generation() })
    }

    /// The result, once. If it is not there yet, `waker` is woken when it is, in place of those of earlier calls.
    pub fn poll(&mut self, waker: &Waker) -> Poll<R> {
        // A waker's `clone` and `drop` are code of others: not under the lock.
        let next = State::Waiting(waker.clone());
        let mut state = lock(&self.state);
        let left = mem::replace(&mut *state, next);
        match left {
            State::Done(result) => {
                let next = mem::replace(&mut *state, State::Ended);
                drop(state);
                drop(next);
                Poll::Ready(result)
            }
            left => {
                drop(state);
                drop(left);
                Poll::Pending
            }
        }
    }

    /// Whether this process makes the call; a forked child must make its own.
    pub fn is_made_here(&self) -> bool {
        self.generation == at_fork::generation()
    }
}

fn finish<R>(shared: &Mutex<State<R>>, result: R) {
    // A lock is held meanwhile, and a waker called, which takes locks of its own.
    at_fork::while_nobody_forks(|| {
        let mut state = lock(shared);
        match mem::replace(&mut *state, State::Ended) {
            State::Waiting(waker) => {
                *state = State::Done(result);
                drop(state);
                wake(waker);
            }
            // The result goes, too.
            _ => drop(state),
        }
    });
}

impl<R> Drop for Blocking<R> {
    fn drop(&mut self) {
        let left = mem::replace(&mut *lock(&self.state), State::Ended);
        // Not under the lock: what it holds may have a `Drop` of its own.
        drop(left);
    }
}

impl<R> fmt::Debug for Blocking<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Blocking")
    }
}

type Call = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Crew {
    state: Mutex<CrewState>,
    called: Condvar,
}

#[derive(Default)]
struct CrewState {
    calls: VecDeque<Call>,
    n_idle: usize,
}

static CREW: ForkLocal<Crew> = ForkLocal::new();

/// A helper thread makes the call.
fn run(call: Call) -> io::Result<()> {
    let crew = CREW.get();
    let mut state = lock(&crew.state);
    if state.n_idle > state.calls.len() {
        state.calls.push_back(call);
        drop(state);
        crew.called.notify_one();
        return Ok(());
    }
    drop(state);
    helper::spawn("blocking", move || {
        call();
        while let Some(next) = crew.next() {
            next();
        }
    })
}

impl Crew {
    /// The next call; `None` if there has been none for long.
    fn next(&self) -> Option<Call> {
        let mut state = lock(&self.state);
        state.n_idle += 1;
        let slept = self.called.wait_timeout_while(state, IDLE, |state| state.calls.is_empty());
        state = slept.unwrap_or_else(PoisonError::into_inner).0;
        state.n_idle -= 1;
        state.calls.pop_front()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            atomic::{AtomicBool, Ordering::SeqCst},
            mpsc,
        },
        task::Wake,
    };

    use super::*;

    struct Tell(mpsc::Sender<()>);

    impl Wake for Tell {
        fn wake(self: Arc<Self>) {
            let _ = self.0.send(());
        }
    }

    #[test]
    fn a_call_is_tried_again_until_it_gives_a_result() {
        let (tell, told) = mpsc::channel();
        let waker = Waker::from(Arc::new(Tell(tell)));
        let go = Arc::new(AtomicBool::new(false));
        let mut n_attempts = 0;
        let may_go = go.clone();
        let mut call = Blocking::start(Waker::noop(), move |_| {
            n_attempts += 1;
            may_go.load(SeqCst).then_some(n_attempts)
        })
        .unwrap();
        assert!(call.poll(&waker).is_pending());
        go.store(true, SeqCst);
        told.recv().unwrap();
        assert!(matches!(call.poll(&waker), Poll::Ready(1..)));
    }

    /// As often as its deadlines would have doubled beyond what the clock can count.
    #[test]
    fn attempts_that_come_back_at_once_end_no_call() {
        let (tell, told) = mpsc::channel();
        let mut n_attempts = 0;
        let attempt = move |_| {
            n_attempts += 1;
            (n_attempts == 200).then_some(())
        };
        let mut call = Blocking::start(&Waker::from(Arc::new(Tell(tell))), attempt).unwrap();
        assert_eq!(told.recv(), Ok(()));
        assert!(call.poll(Waker::noop()).is_ready());
    }

    #[test]
    fn a_dropped_call_ends_and_drops_its_result() {
        let (tell, told) = mpsc::channel::<()>();
        let (begin, begun) = mpsc::channel();
        let call = Blocking::start(Waker::noop(), move |_| {
            let _ = begin.send(());
            // The result holds `tell`, which is dropped with it.
            begin.send(()).is_err().then(|| tell.clone())
        })
        .unwrap();
        begun.recv().unwrap();
        drop(call);
        drop(begun);
        assert_eq!(told.recv(), Err(mpsc::RecvError));
    }
}
