//! Children that may do nothing but compute use queues, pipes and values as all others do.

use std::{process::Command, time::Duration};

use ipc::{JoinableQueue, Queue};
use proc_core::{Confinement, Process};
use test_support::{block_on, watchdog};

/// Set in the run of the tests whose children are confined.
const VARIABLE: &str = "IPC_CONFINED";

pub(crate) fn is_on() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// What is run so.
const SUITES: [&str; 9] = [
    "elements::",
    "end_of_file::",
    "handles::",
    "joinable::",
    "pipe::",
    "pipe_shared::",
    "queue::",
    "shutdown::",
    "value::",
];

/// A system call that is refused ends the child, and its test.
#[test]
fn the_suites_pass_with_confined_children() {
    if is_on() {
        return;
    }
    let _dog = watchdog(Duration::from_secs(300));
    let mut tests = Command::new(std::env::current_exe().unwrap());
    // What kills at random does so elsewhere; here it is about calls.
    let run =
        tests.args(SUITES).args(["--skip", "storm", "--test-threads", "4"]).env(VARIABLE, "1").env("IPC_KILLS", "1000");
    let run = run.output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}\n{}", String::from_utf8_lossy(&run.stderr));
    let result = said.lines().find(|line| line.starts_with("test result: ok")).unwrap_or_default();
    println!("{result}");
    let n_passed = result.split_ascii_whitespace().nth(3).and_then(|n| n.parse::<u32>().ok());
    assert!(n_passed.is_some_and(|n| n >= 80), "the suites were not found: {said}");
}

/// A future, and what wakes it, is a thread's business.
#[test]
fn a_confined_child_waits_asynchronously() {
    let _dog = watchdog(Duration::from_secs(60));
    fn double(queue: Queue<u64>, back: JoinableQueue<u64>) {
        block_on(async {
            while let Ok(n) = queue.get_async().await {
                back.put(2 * n).unwrap();
            }
        });
    }
    let (queue, back) = (Queue::new(1).unwrap(), JoinableQueue::new(1).unwrap());
    let confined = Process::builder().confine(Confinement::compute().end_at_refusal());
    let child = confined.spawn(double, (queue.clone(), back.clone())).unwrap();
    for n in 0..1000 {
        queue.put(n).unwrap();
        let doubled = back.get().unwrap();
        assert_eq!(*doubled, 2 * n);
        doubled.task_done();
    }
    queue.close();
    child.join().unwrap();
}
