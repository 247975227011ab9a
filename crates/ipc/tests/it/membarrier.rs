//! Processes to which a filter refuses `membarrier(2)` share an end of a pipe with others to which it does not. (In a file of
//! its own, since a confined process may install no filter.)

use std::{io::ErrorKind, os::fd::AsFd, time::Duration};

use ipc::{Receiver, SendError, Sender, TryRecvError, channel};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use test_support::{sandbox, watchdog};

use crate::pipe_shared::{Message, message, send_all};

const LIMIT: Duration = Duration::from_secs(60);

/// Whether it was sent; not, if somebody else has the end to itself.
fn try_without_membarrier(tx: &Sender<Message>, message: &Message) -> bool {
    match tx.send(message) {
        Ok(()) => true,
        Err(SendError::Io(e)) if e.kind() == ErrorKind::PermissionDenied => false,
        Err(e) => panic!("{e}"),
    }
}

fn send_all_without_membarrier(tx: Sender<Message>, sender: u32, n: u32) {
    sandbox::deny(&[libc::SYS_membarrier]);
    for i in 0..n {
        while !try_without_membarrier(&tx, &message(sender, i)) {}
    }
}

#[test]
fn processes_with_and_without_membarrier_send_through_one_end() {
    let _dog = watchdog(LIMIT);
    const EACH: u32 = 2_000;
    let (tx, rx) = channel::<Message>().unwrap();
    let children = [
        crate::spawn(send_all_without_membarrier, (tx.clone(), 0, EACH)).unwrap(),
        crate::spawn(send_all, (tx.clone(), 1, EACH)).unwrap(),
        crate::spawn(send_all_without_membarrier, (tx.clone(), 2, EACH)).unwrap(),
    ];
    drop(tx);
    let mut next = [0; 3];
    for got in rx.iter() {
        let n = &mut next[got.0 as usize];
        assert!(got == message(got.0, *n), "sender {}: {} instead of {n}", got.0, got.1);
        *n += 1;
    }
    assert_eq!(next, [EACH; 3]);
    children.into_iter().for_each(|child| child.join().unwrap());
}

fn is_sent_without_membarrier(tx: Sender<Message>, n: u32) -> bool {
    sandbox::deny(&[libc::SYS_membarrier]);
    try_without_membarrier(&tx, &message(1, n))
}

/// The other one may be anywhere in what it does with the end, and without a fence nothing shows where.
#[test]
fn an_end_that_another_process_has_to_itself_is_refused_without_membarrier() {
    let _dog = watchdog(LIMIT);
    let (tx, rx) = channel::<Message>().unwrap();
    tx.send(&message(0, 2)).unwrap();
    assert!(!crate::spawn(is_sent_without_membarrier, (tx.clone(), 2)).unwrap().join().unwrap());
    // It has disturbed nobody, and is let in once the end is free.
    tx.send(&message(0, 3)).unwrap();
    let other = crate::spawn(send_all_without_membarrier, (tx.clone(), 4, 1)).unwrap();
    drop(tx);
    other.join().unwrap();
    assert_eq!(rx.iter().map(|message| message.0).collect::<Vec<_>>(), [0, 0, 4]);
}

fn is_shown_without_membarrier(requests: Receiver<Message>) -> bool {
    sandbox::deny(&[libc::SYS_membarrier]);
    let fd = requests.as_fd();
    assert!(matches!(requests.try_recv(), Err(TryRecvError::Empty)));
    poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::ZERO).unwrap() == 1
}

/// The bell may not ring for who cannot say that it sleeps; so its descriptor has it look again and again.
#[test]
fn who_polls_without_membarrier_is_shown_that_there_may_be_something() {
    let _dog = watchdog(LIMIT);
    let (_sender, receiver) = channel::<Message>().unwrap();
    assert!(crate::spawn(is_shown_without_membarrier, (receiver,)).unwrap().join().unwrap());
}
