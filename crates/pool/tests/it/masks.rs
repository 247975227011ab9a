//! Functions of the program's that are called on threads of ours find the signals as the program's threads have them, and so do
//! the programs that they execute.

use std::sync::mpsc::channel;

use nix::sys::signal::{SigSet, Signal};
use pool::ProcessPool;
use test_support::watchdog;

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(100);

#[test]
fn callbacks_have_the_signal_mask_of_the_thread_that_made_the_pool() {
    let _dog = watchdog(PATIENCE);
    let mut blocked = SigSet::empty();
    blocked.add(Signal::SIGUSR2);
    blocked.thread_block().unwrap();
    let of_program = SigSet::thread_get_mask().unwrap();
    let (tell, masks) = channel();
    let told = tell.clone();
    let pool = ProcessPool::builder()
        .workers(1)
        .stdout(move |_, _| told.send(("line", SigSet::thread_get_mask().unwrap())).unwrap())
        .build()
        .unwrap();
    let task = pool.apply_async_with(
        |n: u64| {
            println!("{n}");
            n
        },
        (4,),
        move |_| tell.send(("callback", SigSet::thread_get_mask().unwrap())).unwrap(),
    );
    assert_eq!(task.get(), Ok(4));
    for (what, mask) in masks.iter().take(2) {
        assert!(!mask.contains(Signal::SIGTERM) && !mask.contains(Signal::SIGCHLD), "{what}: {mask:?}");
        if what == "callback" {
            assert_eq!(mask, of_program, "{what}");
        }
    }
}
