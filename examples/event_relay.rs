//! A relay of ten threads: each waits for the event of the one before it, and sets its own.

use std::sync::Arc;

use proc_core::thread::{ThreadError, spawn};
use sync::thread::Event;

fn main() -> Result<(), ThreadError> {
    let start = Arc::new(Event::new());
    let mut baton = Arc::clone(&start);
    let mut runners = Vec::new();
    for number in 1..=10 {
        let (mine, next) = (baton, Arc::new(Event::new()));
        baton = Arc::clone(&next);
        runners.push(spawn(move || {
            mine.wait();
            println!("Runner {number} has the baton.");
            next.set();
        }));
    }
    println!("Ready, steady, go!");
    start.set();
    baton.wait();
    println!("Finish.");
    runners.into_iter().try_for_each(|runner| runner.join())
}
