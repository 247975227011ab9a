use std::{sync::atomic::AtomicU32, sync::atomic::Ordering::SeqCst, thread, time::Duration};

use proc_core::shm::Shared;
use sync::process::{BoundedSemaphore, Semaphore};

use crate::util::{Child, SOON, dog};

#[test]
fn at_most_so_many_at_a_time() {
    let _dog = dog();
    let semaphore = Semaphore::new(2).unwrap();
    let inside = Shared::new(AtomicU32::new(0)).unwrap();
    let work = || {
        for _ in 0..5_000 {
            let _permit = semaphore.acquire();
            assert!(inside.fetch_add(1, SeqCst) < 2);
            inside.fetch_sub(1, SeqCst);
        }
    };
    let children: Vec<Child> = (0..3).map(|_| Child::spawn(work)).collect();
    thread::scope(|scope| {
        scope.spawn(work);
    });
    children.into_iter().for_each(Child::join);
    assert_eq!(semaphore.permits(), 2);
}

#[test]
fn released_elsewhere_than_acquired() {
    let _dog = dog();
    let semaphore = Semaphore::new(0).unwrap();
    let children: Vec<Child> = (0..4).map(|_| Child::spawn(|| semaphore.acquire().forget())).collect();
    children.iter().for_each(Child::wait_until_asleep);
    semaphore.release(3).unwrap();
    semaphore.release(0).unwrap();
    semaphore.release(2).unwrap();
    children.into_iter().for_each(Child::join);
    assert_eq!(semaphore.permits(), 1);
}

#[test]
fn bounded_refuses_one_release_too_many() {
    let semaphore = BoundedSemaphore::new(2).unwrap();
    let permit = semaphore.acquire();
    assert!(semaphore.release(2).is_err());
    assert_eq!(semaphore.permits(), 1);
    permit.forget();
    semaphore.release(1).unwrap();
    assert!(semaphore.release(1).is_err());
    let most = Semaphore::new(u32::MAX).unwrap();
    assert!(most.release(1).is_err());
}

#[test]
fn timeouts() {
    let _dog = dog();
    let semaphore = Semaphore::new(1).unwrap();
    let permit = semaphore.acquire_timeout(Duration::ZERO).unwrap();
    assert!(semaphore.try_acquire().is_none());
    assert!(semaphore.acquire_timeout(Duration::ZERO).is_none());
    let begun = std::time::Instant::now();
    assert!(semaphore.acquire_timeout(SOON).is_none());
    assert!(begun.elapsed() >= SOON);
    drop(permit);
    assert!(semaphore.acquire_timeout(Duration::MAX).is_some());
}

#[test]
fn wake_up_that_reached_a_killed_waiter_is_passed_on() {
    let _dog = dog();
    for _ in 0..100 {
        let semaphore = Semaphore::new(0).unwrap();
        let doomed = Child::spawn(|| semaphore.acquire().forget());
        doomed.wait_until_asleep();
        let survivor = Child::spawn(|| semaphore.acquire().forget());
        survivor.wait_until_asleep();
        // The first in line is woken and killed before it can do much about it.
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(doomed.pid() as i32), nix::sys::signal::Signal::SIGSTOP)
            .unwrap();
        semaphore.release(1).unwrap();
        doomed.kill();
        survivor.join();
    }
}
