//! Ends of pipes as futures.

use std::{
    os::fd::{AsFd, AsRawFd},
    pin::pin,
    task::{Context, Waker},
    time::Duration,
};

use ipc::{Connection, Receiver, RecvError, SendError, Sender, TrySendError, channel, pipe};
use test_support::{block_on, watchdog};

const LIMIT: Duration = Duration::from_secs(60);

fn is_pending(future: impl Future) -> bool {
    pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

fn echo(end: Connection<Vec<u8>>) {
    while let Ok(bytes) = end.recv() {
        end.send(&bytes).unwrap();
    }
}

#[test]
fn messages_of_all_sizes_are_sent_and_received_by_futures() {
    let _dog = watchdog(LIMIT);
    let (here, there) = pipe().unwrap();
    let child = crate::spawn(echo, (there,)).unwrap();
    block_on(async {
        for n in 0..100 {
            // Some are larger than the pipe.
            let bytes = vec![n as u8; if n % 10 == 9 { 300_000 } else { n * 100 }];
            here.send_async(&bytes).await.unwrap();
            assert_eq!(here.recv_async().await.unwrap(), bytes);
        }
    });
    assert_eq!(here.as_raw_fd(), here.as_fd().as_raw_fd());
    drop(here);
    child.join().unwrap();
}

/// Fills a pipe and says how many messages it took.
fn fill(tx: &Sender<(u32, Vec<u8>)>) -> u32 {
    (0..).find(|n| matches!(tx.try_send(&(*n, vec![0; 10_000])), Err(TrySendError::Full))).unwrap()
}

#[test]
fn a_task_waits_for_room() {
    let _dog = watchdog(LIMIT);
    let (tx, rx) = channel().unwrap();
    let n_first = fill(&tx);
    let last = (n_first, vec![1; 200_000]);
    let mut send = pin!(tx.send_async(&last));
    assert!(send.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let reader = std::thread::spawn(move || rx.iter().map(|(n, bytes)| (n, bytes.len())).collect::<Vec<_>>());
    block_on(send).unwrap();
    drop(tx);
    let read = reader.join().unwrap();
    assert_eq!(read.len() as u32, n_first + 1);
    assert_eq!(*read.last().unwrap(), (n_first, 200_000));
}

#[test]
fn dropped_futures_send_whole_or_not_at_all_and_receive_nothing() {
    let _dog = watchdog(LIMIT);
    let (tx, rx) = channel().unwrap();
    assert!(is_pending(rx.recv_async()));
    let n_first = fill(&tx);
    for n in 0..5 {
        let message = (1000 + n, vec![n as u8; 200_000]);
        assert!(is_pending(tx.send_async(&message)));
    }
    let reader = std::thread::spawn(move || {
        let read: Vec<_> = std::iter::from_fn(|| block_on(rx.recv_async()).ok()).collect();
        (read, rx)
    });
    let end = (2000, Vec::new());
    block_on(tx.send_async(&end)).unwrap();
    // Helpers that were given up on let go of the end.
    drop(tx);
    let (read, rx) = reader.join().unwrap();
    assert!(matches!(block_on(rx.recv_async()), Err(RecvError::Closed)));
    let whole = read.iter().filter(|(n, _)| (1000..1005).contains(n));
    assert!(whole.clone().all(|(n, bytes)| *bytes == vec![(n - 1000) as u8; 200_000]));
    assert_eq!(read.len() as u32, n_first + whole.count() as u32 + 1);
    assert!(read[..n_first as usize].iter().map(|(n, _)| *n).eq(0..n_first), "none is lost, none comes twice");
    assert!(read.iter().any(|(n, _)| *n == 2000));
}

fn hold(_end: Receiver<(u32, Vec<u8>)>, back: Sender<u32>) {
    back.send(&1).unwrap();
    std::thread::park_timeout(LIMIT);
}

#[test]
fn a_killed_peer_ends_the_futures() {
    let _dog = watchdog(LIMIT);
    let (tx, rx) = channel().unwrap();
    let (back_tx, back) = channel().unwrap();
    let child = crate::spawn(hold, (rx, back_tx)).unwrap();
    assert_eq!(block_on(back.recv_async()).unwrap(), 1);
    let n = fill(&tx);
    let message = (n, vec![0; 10_000]);
    let (mut send, mut recv) = (pin!(tx.send_async(&message)), pin!(back.recv_async()));
    assert!(send.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert!(recv.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    child.kill().unwrap();
    assert!(matches!(block_on(send), Err(SendError::Closed)));
    assert!(matches!(block_on(recv), Err(RecvError::Closed)));
}
