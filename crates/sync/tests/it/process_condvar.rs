use std::{thread, time::Duration};

use sync::process::{Condvar, Lock};

use crate::util::{Child, SOON, dog};

#[test]
fn ping_pong_between_processes() {
    let _dog = dog();
    const ROUNDS: u32 = 2_000;
    let (turn, changed) = (Lock::new(0u32).unwrap(), Condvar::new().unwrap());
    let play = |parity: u32| {
        for _ in 0..ROUNDS {
            let mut turn = changed.wait_while(turn.lock().unwrap(), |turn| *turn % 2 != parity).unwrap();
            *turn += 1;
            changed.notify_one();
        }
    };
    let child = Child::spawn(|| play(1));
    play(0);
    child.join();
    assert_eq!(*turn.lock().unwrap(), 2 * ROUNDS);
}

#[test]
fn notify_n_wakes_so_many_and_notify_all_the_rest() {
    let _dog = dog();
    // How many wait, how many may go on.
    let (state, changed) = (Lock::new((0u32, 0u32)).unwrap(), Condvar::new().unwrap());
    let gone = Condvar::new().unwrap();
    let waiters: Vec<Child> = (0..5)
        .map(|_| {
            Child::spawn(|| {
                let mut guard = state.lock().unwrap();
                guard.0 += 1;
                let mut guard = changed.wait_while(guard, |state| state.1 == 0).unwrap();
                guard.0 -= 1;
                guard.1 -= 1;
                gone.notify_all();
            })
        })
        .collect();
    while state.lock().unwrap().0 < 5 {
        thread::yield_now();
    }
    waiters.iter().for_each(Child::wait_until_asleep);
    state.lock().unwrap().1 = 2;
    changed.notify_n(2);
    let mut guard = gone.wait_while(state.lock().unwrap(), |state| state.0 != 3).unwrap();
    guard.1 = 3;
    changed.notify_all();
    drop(guard);
    waiters.into_iter().for_each(Child::join);
}

#[test]
fn timeouts() {
    let _dog = dog();
    let lock = Lock::new(0u32).unwrap();
    let changed = Condvar::new().unwrap();
    for timeout in [Duration::ZERO, SOON] {
        let begun = std::time::Instant::now();
        let (guard, result) = changed.wait_timeout(lock.lock().unwrap(), timeout).unwrap();
        assert!(result.timed_out() && begun.elapsed() >= timeout);
        drop(guard);
    }
    let (_guard, result) = changed.wait_timeout_while(lock.lock().unwrap(), SOON, |n| *n == 0).unwrap();
    assert!(result.timed_out());
}

#[test]
fn killed_waiters_disturb_neither_notifiers_nor_others() {
    let _dog = dog();
    let (ready, changed) = (Lock::new(0u32).unwrap(), Condvar::new().unwrap());
    let wait = || drop(changed.wait_while(ready.lock().unwrap(), |ready| *ready == 0).unwrap());
    let doomed: Vec<Child> = (0..3).map(|_| Child::spawn(wait)).collect();
    let survivor = Child::spawn(wait);
    doomed.iter().chain([&survivor]).for_each(Child::wait_until_asleep);
    doomed.into_iter().for_each(Child::kill);
    *ready.lock().unwrap() = 1;
    changed.notify_one();
    survivor.join();
    changed.notify_all();
}

#[test]
fn waiter_is_told_of_a_dead_holder() {
    let _dog = dog();
    let (ready, changed) = (Lock::new(0u32).unwrap(), Condvar::new().unwrap());
    let waiter = Child::spawn(|| assert!(changed.wait_while(ready.lock().unwrap(), |ready| *ready == 0).is_err()));
    waiter.wait_until_asleep();
    Child::spawn_and_stay(|| std::mem::forget(ready.lock().unwrap())).kill();
    changed.notify_one();
    waiter.join();
}
