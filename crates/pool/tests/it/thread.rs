use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::Duration,
};

use pool::{PoolError, Task, TaskError, ThreadPool, Until, as_completed, wait};
use test_support::{block_on, watchdog};

const PATIENCE: Duration = Duration::from_secs(100);

#[test]
fn smoke() {
    let _dog = watchdog(PATIENCE);
    let pool = ThreadPool::new(3).unwrap();
    assert_eq!(pool.apply(|| 1, ()).unwrap(), 1);
    let captured = String::from("x");
    let task = pool.apply_async(move |n: usize| captured.repeat(n), (3,));
    assert_eq!(task.get().unwrap(), "xxx");
    assert!(matches!(task.get(), Err(TaskError::Taken)));
    assert_eq!(pool.starmap(|a, b| a * b, [(1, 2), (3, 4)]).unwrap(), [2, 12]);
    assert_eq!(pool.imap(|n| n + 1, 0..1000).collect::<Result<Vec<_>, _>>().unwrap(), (1..=1000).collect::<Vec<_>>());
    assert_eq!(pool.map_async(|n| n + 1, 0..1000).get().unwrap(), (1..=1000).collect::<Vec<_>>());
    assert!(pool.map_async(|n: u8| n, []).get().unwrap().is_empty());
    let mut unordered = pool.imap_unordered(|n| n, 0..1000).collect::<Result<Vec<_>, _>>().unwrap();
    unordered.sort();
    assert_eq!(unordered, (0..1000).collect::<Vec<_>>());
}

#[test]
fn a_panic_is_the_error_of_its_task() {
    let _dog = watchdog(PATIENCE);
    struct PanicsOnDrop;
    impl Drop for PanicsOnDrop {
        fn drop(&mut self) {
            if !thread::panicking() {
                panic!("in drop");
            }
        }
    }
    let pool = ThreadPool::new(1).unwrap();
    let text = pool.apply(|| panic!("number {}", 7), ()).unwrap_err();
    assert!(matches!(text, TaskError::Panicked { message, .. } if message == "number 7"));
    let odd = pool.apply(|| std::panic::panic_any(PanicsOnDrop), ()).unwrap_err();
    assert!(matches!(odd, TaskError::Panicked { .. }));
    let capture = PanicsOnDrop;
    assert!(pool.apply(move || drop(capture), ()).is_err());
    let results: Vec<_> = pool.imap(|n| if n == 3 { panic!("three") } else { n }, 0..6).collect();
    assert_eq!(results.iter().filter_map(|r| r.as_ref().ok()).collect::<Vec<_>>(), [&0, &1, &2, &4, &5]);
    assert!(matches!(&results[3], Err(TaskError::Panicked { message, .. }) if message == "three"));
    // What is given behind it runs after it has been counted.
    pool.apply(|| (), ()).unwrap();
    assert_eq!(pool.stats().failed, 4);
}

#[test]
fn no_task_is_lost_at_shutdown() {
    let _dog = watchdog(PATIENCE);
    let ran = Arc::new(AtomicUsize::new(0));
    for _ in 0..50 {
        ran.store(0, SeqCst);
        let pool = Arc::new(ThreadPool::new(2).unwrap());
        let givers: Vec<_> = (0..2)
            .map(|_| {
                let (pool, ran) = (pool.clone(), ran.clone());
                thread::spawn(move || {
                    let give = |_| {
                        let ran = ran.clone();
                        pool.apply_async(move || ran.fetch_add(1, SeqCst), ())
                    };
                    (0..200).map(give).collect::<Vec<_>>()
                })
            })
            .collect();
        pool.close();
        pool.join().unwrap();
        let tasks: Vec<_> = givers.into_iter().flat_map(|t| t.join().unwrap()).collect();
        let results: Vec<_> = tasks.iter().map(|t| t.get()).collect();
        assert_eq!(results.iter().filter(|r| r.is_ok()).count(), ran.load(SeqCst));
        assert!(results.iter().all(|r| matches!(r, Ok(_) | Err(TaskError::Closed))));
    }
}

#[test]
fn drop_waits_for_what_was_given() {
    let _dog = watchdog(PATIENCE);
    let ran = Arc::new(AtomicUsize::new(0));
    let pool = ThreadPool::new(2).unwrap();
    for _ in 0..100 {
        let ran = ran.clone();
        drop(pool.apply_async(move || ran.fetch_add(1, SeqCst), ()));
    }
    drop(pool);
    assert_eq!(ran.load(SeqCst), 100);
}

#[test]
fn terminate_cancels_what_has_not_begun() {
    let _dog = watchdog(PATIENCE);
    let pool = ThreadPool::new(1).unwrap();
    let (go, wait_for_go) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    let first = pool.apply_async(
        move || {
            begun.send(()).unwrap();
            wait_for_go.recv().is_ok()
        },
        (),
    );
    has_begun.recv().unwrap();
    let second = pool.apply_async(|| (), ());
    assert!(matches!(pool.join(), Err(PoolError::StillOpen)));
    pool.terminate();
    assert!(matches!(second.get(), Err(TaskError::Cancelled)));
    assert!(matches!(pool.apply(|| (), ()), Err(TaskError::Closed)));
    go.send(()).unwrap();
    pool.join().unwrap();
    assert!(first.get().unwrap());
}

#[test]
fn a_cancelled_task_never_runs() {
    let _dog = watchdog(PATIENCE);
    let pool = ThreadPool::new(1).unwrap();
    let gate = Arc::new(Barrier::new(2));
    let at_gate = gate.clone();
    let first = pool.apply_async(move || at_gate.wait().is_leader(), ());
    let has_run = Arc::new(AtomicBool::new(false));
    let at_run = has_run.clone();
    let second: Task<()> = pool.apply_async(move || at_run.store(true, SeqCst), ());
    assert!(second.cancel());
    assert!(!second.cancel());
    assert!(matches!(second.get_timeout(Duration::ZERO), Err(TaskError::Cancelled)));
    assert!(matches!(first.get_timeout(Duration::ZERO), Err(TaskError::TimedOut)));
    assert!(!first.ready() && first.successful().is_none());
    gate.wait();
    first.get().unwrap();
    assert_eq!(first.successful(), Some(true));
    // What is given behind it runs after it would have.
    pool.apply(|| (), ()).unwrap();
    assert!(!has_run.load(SeqCst));
}

#[test]
fn items_of_a_map_are_counted_one_by_one() {
    let _dog = watchdog(PATIENCE);
    let pool = ThreadPool::new(2).unwrap();
    pool.map_chunked(|n| n, 0..10, 5).unwrap();
    pool.map_chunked(|n| assert_ne!(n, 7), 0..10, 5).unwrap_err();
    pool.apply(|| (), ()).unwrap();
    pool.close();
    pool.join().unwrap();
    let stats = pool.stats();
    assert_eq!((stats.done, stats.failed), (10 + 9 + 1, 1));
    assert_eq!(stats.workers.iter().map(|worker| worker.done).sum::<u64>(), 5, "chunks and a task");
}

#[test]
fn a_task_may_wait_for_tasks_of_its_own_pool() {
    let _dog = watchdog(PATIENCE);
    fn fib(pool: &Arc<ThreadPool>, n: u64) -> u64 {
        if n < 2 {
            return n;
        }
        let mine = pool.clone();
        let left = pool.apply_async(move || fib(&mine, n - 1), ());
        fib(pool, n - 2) + left.get().unwrap()
    }
    let pool = Arc::new(ThreadPool::new(2).unwrap());
    let mine = pool.clone();
    assert_eq!(pool.apply(move || fib(&mine, 16), ()).unwrap(), 987);
}

#[test]
fn callbacks_run_before_get_returns_and_may_panic() {
    let _dog = watchdog(PATIENCE);
    let pool = ThreadPool::new(2).unwrap();
    let (tell, told) = mpsc::channel();
    let task = pool.apply_async_with(
        || 5,
        (),
        move |r| {
            tell.send(r.as_ref().ok().copied()).unwrap();
            panic!("dropped");
        },
    );
    assert_eq!(task.get().unwrap(), 5);
    assert_eq!(told.try_recv(), Ok(Some(5)));
    let (tell, told) = mpsc::channel();
    let task = pool.apply_async(|| 6, ());
    task.wait();
    task.on_done(move |r| tell.send(r.as_ref().ok().copied()).unwrap());
    assert_eq!(told.try_recv(), Ok(Some(6)));
}

#[test]
fn many_tasks_at_once() {
    let _dog = watchdog(PATIENCE);
    let pool = ThreadPool::new(2).unwrap();
    let gate = Arc::new(Barrier::new(2));
    let at_gate = gate.clone();
    let slow = pool.apply_async(move || at_gate.wait().is_leader(), ());
    let quick = pool.apply_async(|| 1, ());
    let failing: Task<()> = pool.apply_async(|| panic!("expected"), ());
    assert!(wait(&[&slow, &quick], Until::Any, None) && quick.ready());
    assert!(wait(&[&slow, &failing], Until::FirstError, None) && failing.ready() && !slow.ready());
    assert!(!wait(&[&slow, &quick], Until::All, Some(Duration::ZERO)));
    gate.wait();
    assert!(wait(&[&slow, &quick, &failing], Until::All, None));
    assert!(wait(&[], Until::All, None));
    let tasks = (0..100).map(|n| pool.apply_async(move || n, ()));
    assert_eq!(as_completed(tasks).map(|t| t.get().unwrap()).sum::<i32>(), 4950);
}

#[test]
fn infinite_input_is_read_only_as_far_as_needed() {
    let _dog = watchdog(PATIENCE);
    let read = Arc::new(AtomicUsize::new(0));
    let count = read.clone();
    let pool = ThreadPool::builder().workers(2).window(8).build().unwrap();
    let input = (0_u64..).inspect(move |_| {
        count.fetch_add(1, SeqCst);
    });
    let first: Vec<_> = pool.imap(|n| n, input).take(20).map(Result::unwrap).collect();
    assert_eq!(first, (0..20).collect::<Vec<_>>());
    assert!(read.load(SeqCst) <= 28, "{read:?}");
    assert_eq!(pool.imap(|n| n, 0_u8..10).size_hint(), (10, Some(10)));
}

#[test]
fn scope_borrows_and_ends_after_its_tasks() {
    let _dog = watchdog(PATIENCE);
    let pool = ThreadPool::new(2).unwrap();
    let words = [String::from("a"), String::from("bc")];
    let count = AtomicUsize::new(0);
    let total: usize = pool.scope(|scope| {
        let lengths: Vec<_> = words.iter().map(|w| scope.apply_async(|| w.len(), ())).collect();
        for _ in 0..10 {
            let _ = scope.apply_async(|| count.fetch_add(1, SeqCst), ());
        }
        lengths.iter().map(|task| task.get().unwrap()).sum()
    });
    assert_eq!((total, count.load(SeqCst)), (3, 10));
}

#[test]
fn scopes_nest() {
    let _dog = watchdog(PATIENCE);
    for n_workers in [1, 3] {
        let pool = ThreadPool::new(n_workers).unwrap();
        let count = AtomicUsize::new(0);
        pool.scope(|scope| {
            let outer = scope.apply_async(
                || {
                    // A task gives tasks to its own scope, waits for one, and has a scope of its own.
                    let inner = scope.apply_async(|| count.fetch_add(1, SeqCst), ());
                    drop(scope.apply_async(|| count.fetch_add(10, SeqCst), ()));
                    inner.get().unwrap();
                    pool.scope(|own| own.apply_async(|| count.fetch_add(100, SeqCst), ()).get().unwrap())
                },
                (),
            );
            assert!(outer.get().unwrap() % 100 < 12);
        });
        assert_eq!(count.load(SeqCst), 111);
    }
}

#[test]
fn tasks_of_a_scope_meet() {
    let _dog = watchdog(PATIENCE);
    let pool = ThreadPool::new(3).unwrap();
    let gate = Barrier::new(3);
    pool.scope(|scope| {
        let tasks = [(); 3].map(|()| scope.apply_async(|| gate.wait().is_leader(), ()));
        // Each on a thread of its own, whenever it was given.
        while !tasks.iter().all(|task| task.ready()) {
            thread::yield_now();
        }
        assert_eq!(tasks.iter().filter(|task| task.get().unwrap()).count(), 1);
    });
}

#[test]
fn a_panic_that_nobody_gets_leaves_the_scope() {
    let _dog = watchdog(PATIENCE);
    let pool = ThreadPool::new(2).unwrap();
    let ran = AtomicUsize::new(0);
    let fail = || -> () { panic!("number {}", 7) };
    let panic = catch_unwind(AssertUnwindSafe(|| {
        pool.scope(|scope| {
            drop(scope.apply_async(fail, ()));
            (0..10).for_each(|_| drop(scope.apply_async(|| ran.fetch_add(1, SeqCst), ())));
        });
    }));
    let message = panic.unwrap_err().downcast_ref::<String>().unwrap().clone();
    assert!(message.contains("thread.rs") && message.ends_with("number 7"), "{message}");
    assert_eq!(ran.load(SeqCst), 10, "all tasks end first");
    // One that is taken stays inside; the scope's own comes first.
    pool.scope(|scope| assert!(scope.apply_async(fail, ()).get().is_err()));
    let own = catch_unwind(AssertUnwindSafe(|| {
        pool.scope(|scope| {
            drop(scope.apply_async(fail, ()));
            panic!("own");
        })
    }));
    assert_eq!(own.unwrap_err().downcast_ref::<&str>(), Some(&"own"));
}

#[test]
fn initializer_runs_in_every_thread_or_fails_the_pool() {
    let _dog = watchdog(PATIENCE);
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let pool = ThreadPool::builder().workers(3).initializer(move |n: usize| counted.fetch_add(n, SeqCst), (2,));
    let pool = pool.build().unwrap();
    assert_eq!((count.load(SeqCst), pool.stats().workers.len()), (6, 3));
    let failed = ThreadPool::builder().workers(2).initializer(|| panic!("no"), ()).build().unwrap_err();
    assert!(matches!(failed, PoolError::Initializer(why) if why.contains("no")));
}

#[test]
fn a_task_is_a_future() {
    let _dog = watchdog(PATIENCE);
    let pool = ThreadPool::new(1).unwrap();
    let future = async { pool.apply_async(|| 1, ()).await.unwrap() + pool.apply_async(|| 2, ()).await.unwrap() };
    assert_eq!(block_on(future), 3);
}

#[test]
fn many_tiny_tasks_from_several_threads() {
    let _dog = watchdog(PATIENCE);
    let pool = ThreadPool::new(2).unwrap();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let tasks: Vec<_> = (0..50_000_u64).map(|n| pool.apply_async(move || n, ())).collect();
                assert_eq!(tasks.iter().map(|t| t.get().unwrap()).sum::<u64>(), 50_000 * 49_999 / 2);
            });
        }
    });
    let squares = pool.map(|n| n * n, 0..1_000_000_u64).unwrap();
    assert!(squares.iter().enumerate().all(|(n, square)| *square == (n * n) as u64));
}

#[test]
fn a_window_bounds_a_map_without_cutting_it_short() {
    let _dog = watchdog(PATIENCE);
    let pool = ThreadPool::builder().workers(2).window(8).chunk_size(3).build().unwrap();
    let expected: Vec<u64> = (0..100).map(|n| 2 * n).collect();
    assert_eq!(pool.map(|n| 2 * n, 0..100).unwrap(), expected);
    assert_eq!(pool.imap(|n| 2 * n, 0..100).collect::<Result<Vec<_>, _>>().unwrap(), expected);
}
