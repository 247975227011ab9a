//! Processes that cannot see each other in `/proc` share the ends of a pipe, and are stopped amid what they do: each
//! message is received once, whole, and in order.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    thread,
    time::Duration,
};

use ipc::{Receiver, RecvError, Sender, channel};
use nix::{sys::signal::killpg, unistd::Pid};
use proc_core::{Process, Signal, shm::Shared};
use test_support::{hosts, watchdog};

use crate::pipe_shared::{Message, message, receive_all, send_all};

const LIMIT: Duration = Duration::from_secs(120);

const PROCESSES: u32 = 4;

/// What the processes become: each way in turn, and at last each another one.
fn ways() -> impl Iterator<Item = (&'static str, [usize; PROCESSES as usize])> {
    let same = hosts::BLIND.iter().enumerate().map(|(way, (name, _))| (*name, [way; PROCESSES as usize]));
    same.chain([("mixed", [0, 1, 2, 3])])
}

/// Stops and continues processes (or their groups: one may have gone on in a child) for as long as it lives.
fn storm_of_stops<R>(processes: &[u32], during: impl FnOnce() -> R) -> R {
    let is_over = AtomicBool::new(false);
    thread::scope(|s| {
        s.spawn(|| {
            for pid in processes.iter().cycle().take_while(|_| !is_over.load(Relaxed)) {
                let signal = |signal| killpg(Pid::from_raw(pid.cast_signed()), signal);
                if signal(Signal::SIGSTOP).is_ok() {
                    thread::sleep(Duration::from_millis(7));
                    let _ = signal(Signal::SIGCONT);
                }
                thread::yield_now();
            }
        });
        let result = during();
        is_over.store(true, Relaxed);
        result
    })
}

fn send_blindly(way: usize, tx: Sender<Message>, sender: u32, n: u32) {
    hosts::BLIND[way].1();
    send_all(tx, sender, n);
}

#[test]
fn blind_processes_send_through_one_end() {
    const EACH: u32 = 2_000;
    let _dog = watchdog(LIMIT);
    if !hosts::is_root() {
        return;
    }
    for (name, ways) in ways() {
        let (tx, rx) = channel::<Message>().unwrap();
        let start =
            |(way, i)| Process::builder().process_group().spawn(send_blindly, (way, tx.clone(), i, EACH)).unwrap();
        let children: Vec<_> = ways.into_iter().zip(0..).map(start).collect();
        drop(tx);
        let pids: Vec<_> = children.iter().map(|child| child.pid()).collect();
        let next = storm_of_stops(&pids, || {
            let mut next = [0; PROCESSES as usize];
            for got in rx.iter() {
                let n = &mut next[got.0 as usize];
                assert!(got == message(got.0, *n), "{name}, sender {}: {} instead of {n}", got.0, got.1);
                *n += 1;
            }
            next
        });
        assert!(matches!(rx.recv(), Err(RecvError::Closed)));
        assert_eq!(next, [EACH; PROCESSES as usize], "{name}");
        children.into_iter().for_each(|child| child.join().unwrap());
    }
}

fn receive_blindly(way: usize, rx: Receiver<Message>) -> Vec<u32> {
    hosts::BLIND[way].1();
    receive_all(rx)
}

#[test]
fn blind_processes_receive_from_one_end() {
    const N: u32 = 6_000;
    let _dog = watchdog(LIMIT);
    if !hosts::is_root() {
        return;
    }
    for (name, ways) in ways() {
        let (tx, rx) = channel::<Message>().unwrap();
        let start = |way| Process::builder().process_group().spawn(receive_blindly, (way, rx.clone())).unwrap();
        let children: Vec<_> = ways.into_iter().map(start).collect();
        drop(rx);
        let pids: Vec<_> = children.iter().map(|child| child.pid()).collect();
        let mut times = BTreeMap::<u32, u32>::new();
        storm_of_stops(&pids, || (0..N).for_each(|n| tx.send(&message(0, n)).unwrap()));
        drop(tx);
        for list in children.into_iter().map(|child| child.join().unwrap()) {
            assert!(list.is_sorted(), "{name}");
            list.into_iter().for_each(|n| *times.entry(n).or_default() += 1);
        }
        let wrong = (0..N).find(|n| times.get(n) != Some(&1));
        assert!(wrong.is_none(), "{name}: {wrong:?} came {:?} times", wrong.and_then(|n| times.get(&n)));
    }
}

fn send_and_count(way: usize, tx: Sender<Message>, sent: Shared<AtomicU32>) {
    hosts::BLIND[way].1();
    for i in 0.. {
        tx.send(&message(1, i)).unwrap();
        sent.store(i + 1, Relaxed);
    }
}

/// Blind ones find out that another is dead as well: it is only that the living are not.
#[test]
fn blind_processes_go_on_when_one_is_killed() {
    const EACH: u32 = 500;
    let _dog = watchdog(LIMIT);
    if !hosts::is_root() {
        return;
    }
    for (way, (name, _)) in hosts::BLIND.iter().enumerate() {
        for round in 0..5 {
            let (tx, rx) = channel::<Message>().unwrap();
            let sent = Shared::new(AtomicU32::new(0)).unwrap();
            let victim = Process::spawn(send_and_count, (way, tx.clone(), sent.clone())).unwrap();
            let (mut next, mut other) = ([0; 2], None);
            for got in rx.iter() {
                if other.is_none() && sent.load(Relaxed) > round * 20 {
                    victim.kill().unwrap();
                    other = Some(Process::spawn(send_blindly, (way, tx.clone(), 0, EACH)).unwrap());
                }
                let n = &mut next[got.0 as usize];
                assert!(got == message(got.0, *n), "{name}, sender {}: {} instead of {n}", got.0, got.1);
                *n += 1;
                if next[0] == EACH {
                    break;
                }
            }
            let acknowledged = sent.load(Relaxed);
            assert!(next[1] == acknowledged || next[1] == acknowledged + 1, "{name}: {}, {acknowledged}", next[1]);
            other.unwrap().join().unwrap();
        }
    }
}
