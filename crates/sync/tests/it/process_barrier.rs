use std::time::Duration;

use sync::{BrokenBarrier, process::Barrier};

use crate::util::{Child, SOON, dog};

#[test]
fn processes_go_on_together_again_and_again() {
    let _dog = dog();
    let barrier = Barrier::new(4).unwrap();
    let work = || {
        for _ in 0..500 {
            barrier.wait().unwrap();
        }
    };
    let children: Vec<Child> = (0..3).map(|_| Child::spawn(work)).collect();
    work();
    children.into_iter().for_each(Child::join);
}

#[test]
fn killed_waiter_breaks_it_for_the_others() {
    let _dog = dog();
    for _ in 0..20 {
        let barrier = Barrier::new(4).unwrap();
        let waiters: Vec<Child> =
            (0..2).map(|_| Child::spawn(|| assert_eq!(barrier.wait(), Err(BrokenBarrier)))).collect();
        let doomed = Child::spawn(|| assert!(barrier.wait().is_err()));
        while barrier.n_waiting() < 3 {
            std::thread::yield_now();
        }
        doomed.kill();
        waiters.into_iter().for_each(Child::join);
        assert!(barrier.is_broken());
        assert_eq!(barrier.wait(), Err(BrokenBarrier));
        barrier.reset();
        assert_eq!(barrier.wait_timeout(SOON), Err(BrokenBarrier));
    }
}

#[test]
fn lone_killed_waiter_is_noticed_by_the_next() {
    let _dog = dog();
    let barrier = Barrier::new(2).unwrap();
    let doomed = Child::spawn(|| assert!(barrier.wait().is_err()));
    while barrier.n_waiting() < 1 {
        std::thread::yield_now();
    }
    doomed.kill();
    assert!(barrier.is_broken());
    assert_eq!(barrier.wait(), Err(BrokenBarrier));
    barrier.reset();
    let child = Child::spawn(|| {
        barrier.wait().unwrap();
    });
    barrier.wait_timeout(Duration::MAX).unwrap();
    child.join();
}

#[test]
fn number_of_parties_is_checked() {
    assert!(Barrier::new(0).is_err());
    assert!(Barrier::new(257).is_err());
    assert_eq!(Barrier::new(256).unwrap().parties(), 256);
}
