//! The death of the process at one end of a pipe is seen at the other.
#![allow(clippy::unwrap_used)] // helpers of tests are tests, too

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use ipc::{Connection, Receiver, RecvError, Sender, channel, pipe};
use proc_core::Process;
use test_support::{processes, watchdog};

use crate::storm::kills;

const LIMIT: Duration = Duration::from_secs(120);

/// Kills the other end's process, which has said one word, while a thread sleeps in `receive`; how long until it is back
/// with the end.
fn time_to_the_end(peer: &Process<()>, receive: impl Fn() -> Result<u64, RecvError> + Sync) -> Duration {
    assert_eq!(receive().unwrap(), 1);
    let (tell, told) = mpsc::channel();
    let receive = &receive;
    thread::scope(|scope| {
        let sleeper = scope.spawn(move || {
            tell.send(nix::unistd::gettid().as_raw()).unwrap();
            let end = receive();
            (end, Instant::now())
        });
        let sleeper_tid = told.recv().unwrap();
        while !processes::is_asleep(sleeper_tid) {
            thread::yield_now();
        }
        let begun = Instant::now();
        peer.kill().unwrap();
        let (end, seen) = sleeper.join().unwrap();
        assert!(matches!(end, Err(RecvError::Closed)), "{end:?}");
        seen - begun
    })
}

fn stay<T>(end: T) {
    loop {
        thread::park();
        std::hint::black_box(&end);
    }
}

fn speak_and_stay(end: Connection<u64>) {
    end.send(&1).unwrap();
    stay(end);
}

fn send_and_stay(end: Sender<u64>) {
    end.send(&1).unwrap();
    stay(end);
}

fn end_after_kills(kills: u64) {
    let print = |what: &str, mut times: Vec<Duration>| {
        times.sort();
        let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
        let p99 = times[times.len() * 99 / 100];
        println!("{what}: end of file after {kills} kills: median {median:?}, p99 {p99:?}, longest {longest:?}");
    };
    let duplex = (0..kills).map(|_| {
        let (mine, theirs) = pipe().unwrap();
        let peer = crate::spawn(speak_and_stay, (theirs,)).unwrap();
        time_to_the_end(&peer, || mine.recv())
    });
    print("pipe", duplex.collect());
    let simplex = (0..kills).map(|_| {
        let (theirs, mine): (_, Receiver<u64>) = channel().unwrap();
        let peer = crate::spawn(send_and_stay, (theirs,)).unwrap();
        time_to_the_end(&peer, || mine.recv())
    });
    print("channel", simplex.collect());
}

#[test]
fn a_killed_peer_is_the_end() {
    let _dog = watchdog(LIMIT);
    end_after_kills(20);
}

#[test]
#[ignore = "long; its figures are for a quiet machine"]
fn stress_a_killed_peer_is_the_end() {
    let _dog = watchdog(5 * LIMIT);
    end_after_kills(kills(1000));
}
