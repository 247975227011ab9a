//! One end of a pipe in several processes at once: each message goes to one of them, whole.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread,
    time::Duration,
};

use ipc::{Connection, Receiver, RecvError, Sender, channel, pipe};
use proc_core::shm::Shared;
use test_support::watchdog;

const LIMIT: Duration = Duration::from_secs(60);

/// A sender's number, the message's, and what makes some of them long.
pub(crate) type Message = (u32, u32, Vec<u8>);

pub(crate) fn message(sender: u32, n: u32) -> Message {
    let len = match n % 500 {
        0 => 40_000,
        1 => 200_000,
        n => n as usize % 40,
    };
    (sender, n, vec![n as u8; len])
}

pub(crate) fn send_all(tx: Sender<Message>, sender: u32, n: u32) {
    (0..n).for_each(|i| tx.send(&message(sender, i)).unwrap());
}

#[test]
fn several_processes_send_through_one_end() {
    let _dog = watchdog(LIMIT);
    const EACH: u32 = 3_000;
    let (tx, rx) = channel::<Message>().unwrap();
    let children: Vec<_> = (1..4).map(|i| crate::spawn(send_all, (tx.clone(), i, EACH)).unwrap()).collect();
    let here = thread::spawn(move || send_all(tx, 0, EACH));
    let mut next = [0; 4];
    for got in rx.iter() {
        let n = &mut next[got.0 as usize];
        assert!(got == message(got.0, *n), "sender {}: {} instead of {n}", got.0, got.1);
        *n += 1;
    }
    assert!(matches!(rx.recv(), Err(RecvError::Closed)));
    assert_eq!(next, [EACH; 4]);
    here.join().unwrap();
    children.into_iter().for_each(|child| child.join().unwrap());
}

pub(crate) fn receive_all(rx: Receiver<Message>) -> Vec<u32> {
    let mut got = Vec::new();
    loop {
        match rx.recv() {
            Ok(m) => {
                assert!(m == message(0, m.1));
                got.push(m.1);
            }
            Err(RecvError::Closed) => return got,
            Err(e) => panic!("{e}"),
        }
    }
}

#[test]
fn several_processes_receive_from_one_end() {
    let _dog = watchdog(LIMIT);
    const N: u32 = 10_000;
    let (tx, rx) = channel::<Message>().unwrap();
    let children: Vec<_> = (0..3).map(|_| crate::spawn(receive_all, (rx.clone(),)).unwrap()).collect();
    let here = thread::spawn(move || receive_all(rx));
    send_all(tx, 0, N);
    let mut times = BTreeMap::<u32, u32>::new();
    let lists = children.into_iter().map(|child| child.join().unwrap()).chain([here.join().unwrap()]);
    for list in lists {
        assert!(list.is_sorted());
        list.into_iter().for_each(|n| *times.entry(n).or_default() += 1);
    }
    assert!((0..N).all(|n| times.get(&n) == Some(&1)), "{:?}", times.iter().find(|(_, times)| **times != 1));
}

fn use_both_ends((a, b): (Connection<Message>, Connection<Message>), who: u32, n: u32) {
    for i in 0..n {
        let (from, to) = if i % 2 == 0 { (&a, &b) } else { (&b, &a) };
        // All of them together must find room, as nobody receives before it has sent.
        from.send(&(who, i, vec![i as u8; i as usize % 3000])).unwrap();
        let got = to.recv().unwrap();
        assert!(got.2 == vec![got.1 as u8; got.1 as usize % 3000]);
    }
}

#[test]
fn both_ends_in_several_processes() {
    let _dog = watchdog(LIMIT);
    const EACH: u32 = 3_000;
    let (a, b) = pipe::<Message>().unwrap();
    let both = || (a.clone(), b.clone());
    let children: Vec<_> = (1..3).map(|i| crate::spawn(use_both_ends, (both(), i, EACH)).unwrap()).collect();
    use_both_ends(both(), 0, EACH);
    children.into_iter().for_each(|child| child.join().unwrap());
}

fn send_and_count(tx: Sender<Message>, sent: Shared<AtomicU32>) {
    for i in 0.. {
        tx.send(&message(1, i)).unwrap();
        sent.store(i + 1, Relaxed);
    }
}

#[test]
fn storm_of_killed_processes_that_share_a_sending_end() {
    let _dog = watchdog(LIMIT);
    for round in 0..10 {
        let (tx, rx) = channel::<Message>().unwrap();
        let sent = Shared::new(AtomicU32::new(0)).unwrap();
        let child = crate::spawn(send_and_count, (tx.clone(), sent.clone())).unwrap();
        let next = thread::scope(|s| {
            let receiver = s.spawn(|| {
                let mut next = [0; 2];
                for got in rx.iter() {
                    let n = &mut next[got.0 as usize];
                    assert!(got == message(got.0, *n), "round {round}, sender {}: {} instead of {n}", got.0, got.1);
                    *n += 1;
                }
                next
            });
            let here = s.spawn(|| send_all(tx, 0, 2000));
            while sent.load(Relaxed) < round * 30 {
                thread::yield_now();
            }
            child.kill().unwrap();
            here.join().unwrap();
            receiver.join().unwrap()
        });
        let acknowledged = sent.load(Relaxed);
        assert_eq!(next[0], 2000);
        assert!(next[1] == acknowledged || next[1] == acknowledged + 1, "round {round}: {}, {acknowledged}", next[1]);
    }
}

fn receive_and_count(rx: Receiver<Message>, received: Shared<AtomicU32>) {
    for got in rx.iter() {
        assert!(got == message(0, got.1));
        received.fetch_add(1, Relaxed);
    }
}

#[test]
fn storm_of_killed_processes_that_share_a_receiving_end() {
    let _dog = watchdog(LIMIT);
    const N: u32 = 2000;
    for round in 0..10 {
        let (tx, rx) = channel::<Message>().unwrap();
        let received = Shared::new(AtomicU32::new(0)).unwrap();
        let child = crate::spawn(receive_and_count, (rx.clone(), received.clone())).unwrap();
        let here = thread::scope(|s| {
            let here = s.spawn(|| rx.iter().inspect(|got| assert!(*got == message(0, got.1))).count() as u32);
            s.spawn(|| send_all(tx, 0, N));
            while received.load(Relaxed) < round && !here.is_finished() {
                thread::yield_now();
            }
            child.kill().unwrap();
            here.join().unwrap()
        });
        // The one that it was taking, and the one that it had taken and not counted yet, are the same.
        let in_all = here + received.load(Relaxed);
        assert!(in_all == N || in_all == N - 1, "round {round}: {in_all}");
    }
}
