use std::{thread, time::Duration};

use sync::process::Event;

use crate::util::{Child, SOON, dog};

#[test]
fn all_waiters_of_all_processes_are_let_go() {
    let _dog = dog();
    let event = Event::new().unwrap();
    let children: Vec<Child> = (0..3).map(|_| Child::spawn(|| assert!(event.wait().unwrap()))).collect();
    children.iter().for_each(Child::wait_until_asleep);
    thread::scope(|scope| {
        scope.spawn(|| assert!(event.wait_timeout(Duration::MAX).unwrap()));
        event.set();
    });
    children.into_iter().for_each(Child::join);
    assert!(event.is_set() && event.wait().unwrap());
}

#[test]
fn set_and_cleared_at_once_still_lets_waiters_go() {
    let _dog = dog();
    let event = Event::new().unwrap();
    for _ in 0..50 {
        let children: Vec<Child> = (0..2).map(|_| Child::spawn(|| assert!(event.wait().unwrap()))).collect();
        children.iter().for_each(Child::wait_until_asleep);
        event.set();
        event.clear();
        children.into_iter().for_each(Child::join);
        assert!(!event.is_set());
    }
}

#[test]
fn timeouts() {
    let _dog = dog();
    let event = Event::new().unwrap();
    assert!(!event.wait_timeout(Duration::ZERO).unwrap());
    let begun = std::time::Instant::now();
    assert!(!event.wait_timeout(SOON).unwrap());
    assert!(begun.elapsed() >= SOON);
    event.set();
    event.set();
    assert!(event.wait_timeout(Duration::ZERO).unwrap());
    event.clear();
    event.clear();
    assert!(!event.is_set());
}

#[test]
fn killed_waiters_disturb_nobody() {
    let _dog = dog();
    let event = Event::new().unwrap();
    let wait = || drop(event.wait());
    let (doomed, survivor) = (Child::spawn(wait), Child::spawn(wait));
    doomed.wait_until_asleep();
    survivor.wait_until_asleep();
    doomed.kill();
    event.set();
    survivor.join();
}
