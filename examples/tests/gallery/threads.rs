//! Threads.

use crate::*;

#[test]
fn thread_names() {
    assert_says(
        &output("thread_names", &[]),
        "MainThread is running...
         LoopThread is running...
         LoopThread >>> 1
         LoopThread >>> 2
         LoopThread >>> 3
         LoopThread ended.
         Thread-1 is running...
         Thread-1 >>> 1
         Thread-1 >>> 2
         Thread-1 >>> 3
         Thread-1 ended.
         unlucky panicked: it rained
         Did join() fail? true.
         MainThread ended.",
    );
}

#[test]
fn thread_as_type() {
    assert_says(&output("thread_as_type", &[]), "Thread-1: 3\nThread-1: 2\nThread-1: 1\nlift-off!");
}

#[test]
fn thread_race() {
    let said = output("thread_race", &[]);
    assert_says(
        &said,
        "Without a lock # of 2000000 additions were lost.
         With a lock 0 of 2000000 additions were lost.",
    );
    // How many depends on the machine; on one CPU it may be none.
    assert!(number_after(&said, "Without a lock ") < 2_000_000);
}

#[test]
fn bank_balance() {
    assert_says(
        &output("bank_balance", &[]),
        "The customer with 5 is done.
         The customer with 8 is done.
         The balance is 0.",
    );
}

#[test]
fn rlock() {
    assert_says(&output("rlock", &[]), "The total is 22200.");
}

#[test]
fn condition_haggle() {
    assert_says(
        &output("condition_haggle", &[]),
        "Buyer: What does the lamp cost?
         Seller: 100, for you.
         Buyer: I give you 50.
         Seller: 50? I would starve. 80.
         Buyer: 75, then.
         Seller: It is yours.
         It took 6 words.",
    );
}

#[test]
fn thread_queue() {
    assert_says(
        &output("thread_queue", &[]),
        "Got 1.
         Got 4.
         Got 9.
         Got 16.
         Got 25.
         That makes 55.
         1. put out the fire
         2. call home
         3. tidy up",
    );
}

#[test]
fn event_relay() {
    let runners: String = (1..=10).map(|n| format!("Runner {n} has the baton.\n")).collect();
    assert_says(&output("event_relay", &[]), &format!("Ready, steady, go!\n{runners}Finish."));
}

#[test]
fn background_thread() {
    assert_says(
        &output("background_thread", &[]),
        "The radio plays for ever: daemon = true.
         Is the worker done? false.
         There are 4 threads.
         The alarm was called off in time: true.
         Main is done.
         The worker is done, after main.",
    );
}

#[test]
fn thread_local_three_ways() {
    assert_says_somehow(
        &output("thread_local_three_ways", &[]),
        "1: hello Alice (in Thread-A)
         2: hello Alice (in Thread-A)
         3: hello Alice of class 4 (in Thread-A)
         1: hello Bob (in Thread-B)
         2: hello Bob (in Thread-B)
         3: hello Bob of class 5 (in Thread-B)
         Nobody is left here: \"\".",
    );
}
