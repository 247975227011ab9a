use std::{
    cell::Cell,
    io::{BufRead as _, Read as _, Write as _},
    os::fd::AsFd,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use ipc::{
    Connection, Receiver, RecvError, RecvTimeoutError, SendError, SendTimeoutError, Sender, TryRecvError, TrySendError,
    channel, pipe,
};
use proc_core::{Process, handover::Fd, shm::Shared};
use test_support::watchdog;

const LIMIT: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(20);

/// Waits until it is so. An end that this process has just closed may live on for a moment in a child that another test
/// is starting: between its fork and its exec.
fn soon(mut it_is_so: impl FnMut() -> bool) {
    while !it_is_so() {
        thread::yield_now();
    }
}

#[test]
fn smoke() {
    let _dog = watchdog(LIMIT);
    let (a, b) = pipe::<(u32, String)>().unwrap();
    for n in 0..5000 {
        a.send(&(n, "x".repeat(n as usize % 400))).unwrap();
        assert_eq!(b.recv().unwrap(), (n, "x".repeat(n as usize % 400)));
        b.send(&(n, String::new())).unwrap();
        assert_eq!(a.recv().unwrap().0, n);
    }
}

#[test]
fn empty_full_and_timeouts_are_reported() {
    let _dog = watchdog(LIMIT);
    let (tx, rx) = channel::<u64>().unwrap();
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    assert!(!rx.poll(Some(Duration::ZERO)).unwrap());
    let begun = Instant::now();
    assert!(matches!(rx.recv_timeout(SHORT), Err(RecvTimeoutError::TimedOut)));
    assert!(!rx.poll(Some(SHORT)).unwrap());
    assert!(begun.elapsed() >= SHORT * 2);
    let mut sent = 0;
    while tx.try_send(&sent).is_ok() {
        sent += 1;
    }
    assert!(matches!(tx.try_send(&sent), Err(TrySendError::Full)));
    let begun = Instant::now();
    assert!(matches!(tx.send_timeout(&sent, SHORT), Err(SendTimeoutError::TimedOut)));
    assert!(begun.elapsed() >= SHORT);
    assert!(rx.poll(None).unwrap());
    for n in 0..sent {
        assert_eq!(rx.recv().unwrap(), n);
    }
    assert!(sent > 1000);
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
}

#[test]
fn recv_after_the_other_end_is_dropped_gets_what_was_sent() {
    let _dog = watchdog(LIMIT);
    let (a, b) = pipe::<u8>().unwrap();
    a.send(&1).unwrap();
    a.send(&2).unwrap();
    drop(a);
    soon(|| matches!(b.send(&1), Err(SendError::Closed)));
    assert_eq!(b.recv().unwrap(), 1);
    assert!(b.poll(None).unwrap());
    assert_eq!(b.try_recv().unwrap(), 2);
    assert!(b.poll(Some(Duration::ZERO)).unwrap(), "a recv would not wait");
    assert!(matches!(b.try_recv(), Err(TryRecvError::Closed)));
    assert!(matches!(b.recv(), Err(RecvError::Closed)));
    assert!(matches!(b.recv_timeout(SHORT), Err(RecvTimeoutError::Closed)));
    assert!(matches!(b.try_send(&1), Err(TrySendError::Closed)));
}

#[test]
fn a_clone_keeps_the_end_open() {
    let _dog = watchdog(LIMIT);
    let (tx, rx) = channel::<u8>().unwrap();
    let clone = tx.clone();
    drop(tx);
    clone.send(&7).unwrap();
    assert_eq!(rx.recv().unwrap(), 7);
    drop(clone);
    assert!(matches!(rx.recv(), Err(RecvError::Closed)));
    let (tx, rx) = channel::<u8>().unwrap();
    let clone = rx.clone();
    drop(rx);
    tx.send(&1).unwrap();
    drop(clone);
    soon(|| matches!(tx.send(&2), Err(SendError::Closed)));
}

#[test]
fn many_lengths_go_through_whole() {
    let _dog = watchdog(LIMIT);
    let (a, b) = pipe::<()>().unwrap();
    let lengths =
        (0..600).chain([4095, 4096, 16_000, 16_368, 16_376, 16_377, 32_752, 65_535, 65_536, 1 << 20, 5 << 20]);
    let message = |len: usize| (0..len).map(|i| (i * 7 + len) as u8).collect::<Vec<_>>();
    thread::scope(|s| {
        s.spawn(|| lengths.clone().for_each(|len| a.send_bytes(&message(len)).unwrap()));
        for len in lengths.clone() {
            assert!(b.recv_bytes().unwrap() == message(len), "{len} bytes");
        }
    });
}

#[test]
fn a_message_larger_than_the_pipe_never_fits_at_once() {
    let _dog = watchdog(LIMIT);
    let (a, b) = pipe::<String>().unwrap();
    let large = "l".repeat(1 << 20);
    assert!(matches!(a.try_send(&large), Err(TrySendError::Full)));
    assert!(matches!(a.send_timeout(&large, SHORT), Err(SendTimeoutError::TimedOut)));
    // What had gone in is not delivered, nor does it spoil what follows.
    thread::scope(|s| {
        s.spawn(|| {
            a.send(&"small".into()).unwrap();
            a.send(&large).unwrap();
        });
        assert_eq!(b.recv().unwrap(), "small");
        assert!(b.recv().unwrap() == large);
    });
}

#[test]
fn a_message_of_another_type_is_that_calls_error() {
    let _dog = watchdog(LIMIT);
    let (a, b) = pipe::<(u64, String)>().unwrap();
    a.send_bytes(&[0xff; 3]).unwrap();
    a.send(&(1, "next".into())).unwrap();
    assert!(matches!(b.recv(), Err(RecvError::Decode(_))));
    assert_eq!(b.recv().unwrap().1, "next");
}

#[test]
fn threads_share_an_end() {
    let _dog = watchdog(LIMIT);
    const EACH: u64 = 20_000;
    let (a, b) = pipe::<(u64, Vec<u8>)>().unwrap();
    let (sum, count) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|s| {
        for _ in 0..3 {
            s.spawn(|| {
                while let Ok((n, filling)) = b.recv() {
                    assert!(filling.iter().all(|byte| *byte == n as u8), "torn");
                    assert_eq!(filling.len(), length(n));
                    sum.fetch_add(n, Relaxed);
                    count.fetch_add(1, Relaxed);
                }
            });
        }
        let senders = [0, 1, 2].map(|t| {
            let a = a.clone();
            s.spawn(move || {
                for n in t * EACH..(t + 1) * EACH {
                    a.send(&(n, vec![n as u8; length(n)])).unwrap();
                }
            })
        });
        senders.into_iter().for_each(|t| t.join().unwrap());
        drop(a);
    });
    assert_eq!(count.into_inner(), 3 * EACH);
    assert_eq!(sum.into_inner(), 3 * EACH * (3 * EACH - 1) / 2);

    fn length(n: u64) -> usize {
        match n % 1000 {
            0 => 100_000,
            n => n as usize % 50,
        }
    }
}

#[test]
fn both_directions_at_once_on_one_end() {
    let _dog = watchdog(LIMIT);
    const N: u64 = 100_000;
    let (a, b) = pipe::<u64>().unwrap();
    let all = |c: &Connection<u64>| (0..N).for_each(|n| c.send(&n).unwrap());
    let every = |c: &Connection<u64>| (0..N).for_each(|n| assert_eq!(c.recv().unwrap(), n));
    thread::scope(|s| {
        s.spawn(|| all(&a));
        s.spawn(|| every(&a));
        s.spawn(|| all(&b));
        every(&b);
    });
}

#[test]
fn deadlines_are_times_to_wait_until() {
    let _dog = watchdog(LIMIT);
    let (tx, rx) = channel::<u64>().unwrap();
    let past = Instant::now();
    assert!(matches!(rx.recv_deadline(past), Err(RecvTimeoutError::TimedOut)));
    let soon = Instant::now() + SHORT;
    assert!(matches!(rx.recv_deadline(soon), Err(RecvTimeoutError::TimedOut)));
    assert!(Instant::now() >= soon);
    let sent = (0..).find(|n| tx.send_deadline(n, past).is_err()).unwrap();
    let soon = Instant::now() + SHORT;
    assert!(matches!(tx.send_deadline(&sent, soon), Err(SendTimeoutError::TimedOut)));
    assert!(Instant::now() >= soon);
    assert!((0..sent).all(|n| rx.recv_deadline(past).unwrap() == n));
    thread::scope(|scope| {
        scope.spawn(|| assert_eq!(rx.recv_deadline(Instant::now() + LIMIT).unwrap(), 7));
        tx.send(&7).unwrap();
    });
}

/// The forms of both kinds of ends, and of messages that need more than one piece.
#[test]
fn bytes_are_tried_and_timed() {
    let _dog = watchdog(LIMIT);
    macro_rules! check {
        ($tx:expr, $rx:expr) => {{
            let (tx, rx) = ($tx, $rx);
            assert!(matches!(rx.try_recv_bytes(), Err(TryRecvError::Empty)));
            let begun = Instant::now();
            assert!(matches!(rx.recv_bytes_timeout(SHORT), Err(RecvTimeoutError::TimedOut)));
            assert!(matches!(rx.recv_bytes_deadline(Instant::now() + SHORT), Err(RecvTimeoutError::TimedOut)));
            assert!(begun.elapsed() >= 2 * SHORT);
            tx.try_send_bytes(b"one").unwrap();
            tx.send_bytes_timeout(b"two", Duration::MAX).unwrap();
            tx.send_bytes_deadline(b"three", Instant::now()).unwrap();
            assert_eq!(rx.try_recv_bytes().unwrap(), b"one");
            assert_eq!(rx.recv_bytes_timeout(Duration::ZERO).unwrap(), b"two");
            assert_eq!(rx.recv_bytes_deadline(Instant::now()).unwrap(), b"three");
            let long = vec![5; 1 << 18];
            assert!(matches!(tx.try_send_bytes(&long), Err(TrySendError::Full)));
            thread::scope(|scope| {
                scope.spawn(|| tx.send_bytes_timeout(&long, LIMIT).unwrap());
                assert!(rx.recv_bytes_timeout(LIMIT).unwrap() == long);
            });
            while tx.try_send_bytes(&[0; 1000]).is_ok() {}
            assert!(matches!(tx.send_bytes_timeout(&[0; 1000], SHORT), Err(SendTimeoutError::TimedOut)));
            assert!(matches!(tx.send_bytes_deadline(&[0; 1000], Instant::now()), Err(SendTimeoutError::TimedOut)));
        }};
    }
    let (tx, rx) = channel::<()>().unwrap();
    check!(&tx, &rx);
    let (a, b) = pipe::<()>().unwrap();
    check!(&a, &b);
    let (a, b) = pipe::<()>().unwrap();
    check!(&b, &a);
}

#[test]
fn iterators_end_with_the_other_end_or_say_why() {
    let _dog = watchdog(LIMIT);
    let (tx, rx) = channel::<u64>().unwrap();
    (0..10).for_each(|n| tx.send(&n).unwrap());
    assert_eq!((&rx).into_iter().take(4).sum::<u64>(), 6);
    drop(tx);
    let mut rest = rx.into_iter();
    assert_eq!(rest.by_ref().sum::<u64>(), 39);
    assert!(rest.error().is_none());

    let (a, b) = pipe::<u64>().unwrap();
    a.send(&1).unwrap();
    a.send_bytes(b"no number").unwrap();
    let mut values = (&b).into_iter();
    assert_eq!((values.next(), values.next()), (Some(1), None));
    assert!(matches!(values.error(), Some(RecvError::Decode(_))));
}

#[test]
fn streams_carry_bytes() {
    let _dog = watchdog(LIMIT);
    let (tx, rx) = channel::<()>().unwrap();
    let writer = thread::spawn(move || {
        let mut writer = tx.writer();
        for n in 0..1000 {
            writeln!(writer, "line {n}").unwrap();
        }
        writer.write_all(&[]).unwrap();
        writer.write_all(&vec![b'.'; 200_000]).unwrap();
    });
    let mut reader = rx.reader();
    for n in 0..1000 {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, format!("line {n}\n"));
    }
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    assert_eq!(rest.len(), 200_000);
    writer.join().unwrap();
}

#[test]
fn the_descriptor_is_pollable() {
    let _dog = watchdog(LIMIT);
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let readable = |c: &Connection<u32>, timeout: PollTimeout| {
        poll(&mut [PollFd::new(c.as_fd(), PollFlags::POLLIN)], timeout).unwrap() == 1
    };
    let (a, b) = pipe::<u32>().unwrap();
    assert!(!readable(&b, PollTimeout::ZERO));
    for round in 0..3 {
        for n in 0..10 {
            a.send(&n).unwrap();
        }
        assert!(readable(&b, PollTimeout::NONE), "round {round}");
        for n in 0..10 {
            assert_eq!(b.try_recv().unwrap(), n);
        }
        assert!(matches!(b.try_recv(), Err(TryRecvError::Empty)));
        assert!(!readable(&b, PollTimeout::ZERO), "round {round}");
    }
    drop(a);
    soon(|| readable(&b, PollTimeout::NONE) && matches!(b.try_recv(), Err(TryRecvError::Closed)));
}

#[test]
fn the_descriptor_is_readable_as_long_as_there_are_messages() {
    let _dog = watchdog(LIMIT);
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let (a, b) = pipe::<u32>().unwrap();
    // Bells that ring meanwhile are taken in by receives that wait.
    thread::scope(|s| {
        s.spawn(|| {
            for n in 0..2000 {
                a.send(&n).unwrap();
                if n % 10 == 0 {
                    thread::sleep(Duration::from_micros(50));
                }
            }
        });
        for n in 0..2000 {
            if n % 3 == 0 {
                let fd = b.as_fd();
                assert_eq!(poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::NONE).unwrap(), 1);
                assert!(b.poll(Some(LIMIT)).unwrap());
            }
            assert_eq!(b.recv().unwrap(), n);
        }
    });
}

#[test]
fn any_of_several_connections_is_waited_for() {
    let _dog = watchdog(LIMIT);
    let pipes: Vec<_> = (0..4).map(|_| pipe::<usize>().unwrap()).collect();
    let sources: Vec<&dyn proc_core::Waitable> = pipes.iter().map(|(_, b)| b as _).collect();
    assert_eq!(proc_core::wait_any(&sources, Some(Duration::ZERO)).unwrap(), []);
    for (i, (a, b)) in pipes.iter().enumerate() {
        a.send(&i).unwrap();
        a.send(&i).unwrap();
        for _ in 0..2 {
            assert_eq!(proc_core::wait_any(&sources, None).unwrap(), [i]);
            assert_eq!(b.recv().unwrap(), i);
        }
        assert_eq!(proc_core::wait_any(&sources, Some(SHORT)).unwrap(), []);
    }
}

#[test]
fn serialising_an_end_elsewhere_is_an_error_that_says_so() {
    let (a, _b) = pipe::<u8>().unwrap();
    assert!(wire::encode_named(&a, &mut Vec::new()).is_err());
}

// Between processes --------------------------------------------------------------------------------------------------

fn echo(c: Connection<Vec<u64>>) -> usize {
    let mut n = 0;
    while let Ok(message) = c.recv() {
        c.send(&message).unwrap();
        n += 1;
    }
    n
}

#[test]
fn a_child_echoes_and_sees_the_end() {
    let _dog = watchdog(LIMIT);
    let (a, b) = pipe::<Vec<u64>>().unwrap();
    let child = crate::spawn(echo, (b,)).unwrap();
    for n in 0..2000_u64 {
        let message: Vec<u64> = (0..n % 97).chain((n % 500 == 0).then_some(0..50_000).into_iter().flatten()).collect();
        a.send(&message).unwrap();
        assert_eq!(a.recv().unwrap(), message);
    }
    drop(a);
    assert_eq!(child.join().unwrap(), 2000);
}

fn send_then_hang(tx: Sender<u64>) {
    for n in 0..1000 {
        tx.send(&n).unwrap();
    }
    loop {
        thread::park();
    }
}

#[test]
fn a_killed_senders_messages_arrive_and_then_the_end() {
    let _dog = watchdog(LIMIT);
    let (tx, rx) = channel::<u64>().unwrap();
    let child = crate::spawn(send_then_hang, (tx,)).unwrap();
    for n in 0..1000 {
        assert_eq!(rx.recv().unwrap(), n);
    }
    // Asleep when the child dies.
    thread::scope(|s| {
        let waiter = s.spawn(|| rx.recv());
        assert!(matches!(rx.recv_timeout(SHORT), Err(RecvTimeoutError::TimedOut)));
        child.kill().unwrap();
        assert!(matches!(waiter.join().unwrap(), Err(RecvError::Closed)));
    });
    assert!(child.join().is_err());
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Closed)));
}

fn hang(rx: Receiver<u64>, got_one: Sender<()>) {
    rx.recv().unwrap();
    got_one.send(&()).unwrap();
    loop {
        thread::park();
    }
}

#[test]
fn a_sender_that_waits_for_room_sees_its_receiver_die() {
    let _dog = watchdog(LIMIT);
    let (tx, rx) = channel::<u64>().unwrap();
    let (got_one, has_one) = channel().unwrap();
    let child = crate::spawn(hang, (rx, got_one)).unwrap();
    tx.send(&1).unwrap();
    has_one.recv().unwrap();
    while tx.try_send(&1).is_ok() {}
    thread::scope(|s| {
        let waiter = s.spawn(|| (0..).find_map(|n| tx.send(&n).err()));
        assert!(matches!(tx.send_timeout(&1, SHORT), Err(SendTimeoutError::TimedOut)));
        child.kill().unwrap();
        assert!(matches!(waiter.join().unwrap(), Some(SendError::Closed)));
    });
}

fn sleep_in_recv(rx: Receiver<u64>, got_one: Sender<()>) {
    rx.recv().unwrap();
    got_one.send(&()).unwrap();
    rx.recv().unwrap();
}

/// Whether the kernel lets it sleep.
fn is_asleep(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") S ")
}

/// A receiver that has said that it sleeps, finds the message all the same, and leaves before the sender rings.
#[test]
fn what_was_received_has_been_sent() {
    let _dog = watchdog(LIMIT);
    for _ in 0..3000 {
        let (tx, rx) = channel::<u64>().unwrap();
        let receiver = thread::spawn(move || {
            while rx.try_recv().is_err() {}
            drop(rx);
        });
        assert!(matches!(tx.send(&1), Ok(())));
        receiver.join().unwrap();
    }
}

#[test]
fn send_after_the_receiver_was_killed_fails_at_once() {
    let _dog = watchdog(LIMIT);
    for sleeps in [false, true].repeat(20) {
        let (tx, rx) = channel::<u64>().unwrap();
        let (got_one, has_one) = channel().unwrap();
        let ends = (rx, got_one);
        let child = if sleeps { crate::spawn(sleep_in_recv, ends) } else { crate::spawn(hang, ends) }.unwrap();
        tx.send(&1).unwrap();
        has_one.recv().unwrap();
        soon(|| is_asleep(child.pid()));
        child.kill().unwrap();
        assert!(child.join().is_err());
        assert!(matches!(tx.send(&2), Err(SendError::Closed)));
    }
}

fn exchange(c: Connection<Fd>, n: u32) -> Vec<String> {
    (0..n)
        .map(|_| {
            let mut text = String::new();
            std::fs::File::from(c.recv().unwrap().0).read_to_string(&mut text).unwrap();
            text
        })
        .collect()
}

#[test]
fn descriptors_travel_in_messages() {
    let _dog = watchdog(LIMIT);
    let (a, b) = pipe::<Fd>().unwrap();
    let child = crate::spawn(exchange, (b, 50)).unwrap();
    for n in 0..50 {
        let (reader, mut writer) = std::io::pipe().unwrap();
        a.send(&reader.into()).unwrap();
        write!(writer, "{n}").unwrap();
    }
    assert_eq!(child.join().unwrap(), (0..50).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn more_descriptors_than_fit_into_a_packet() {
    let _dog = watchdog(LIMIT);
    let (a, b) = pipe::<(Vec<Fd>, String)>().unwrap();
    let null = || Fd::from(std::fs::File::open("/dev/null").unwrap());
    let fds: Vec<Fd> = (0..300).map(|_| null()).collect();
    let message = (fds, "p".repeat(100_000));
    for _ in 0..3 {
        thread::scope(|s| {
            s.spawn(|| a.send(&message).unwrap());
            let (fds, text) = b.recv().unwrap();
            assert_eq!((fds.len(), text.len()), (300, 100_000));
            assert!(fds.iter().all(|fd| fd.as_fd().try_clone_to_owned().is_ok()));
        });
    }
    a.send(&(Vec::new(), "none".into())).unwrap();
    assert_eq!(b.recv().unwrap().1, "none");
}

fn pass_on(control: Receiver<Connection<String>>) {
    while let Ok(connection) = control.recv() {
        connection.send(&"here I am".into()).unwrap();
    }
}

#[test]
fn connections_travel_in_connections() {
    let _dog = watchdog(LIMIT);
    let (control, taken) = channel::<Connection<String>>().unwrap();
    let child = crate::spawn(pass_on, (taken,)).unwrap();
    for _ in 0..20 {
        let (mine, theirs) = pipe::<String>().unwrap();
        control.send(&theirs).unwrap();
        drop(theirs);
        assert_eq!(mine.recv().unwrap(), "here I am");
        assert!(matches!(mine.recv(), Err(RecvError::Closed)));
    }
    drop(control);
    child.join().unwrap();
}

fn go_on(c: Connection<u64>, n: u64) -> u64 {
    c.send(&n).unwrap();
    c.recv().unwrap()
}

#[test]
fn an_end_that_was_used_before_is_handed_over() {
    let _dog = watchdog(LIMIT);
    let (a, b) = pipe::<u64>().unwrap();
    for n in 0..3 {
        b.send(&n).unwrap();
        a.send(&(10 + n)).unwrap();
    }
    assert_eq!((b.recv().unwrap(), b.recv().unwrap()), (10, 11));
    let child = crate::spawn(go_on, (b, 3)).unwrap();
    for n in 0..4 {
        assert_eq!(a.recv().unwrap(), n);
    }
    assert_eq!(child.join().unwrap(), 12);
    assert!(matches!(a.recv(), Err(RecvError::Closed)));
}

fn in_turns(tx: Sender<u64>, begun: Receiver<u64>) -> u64 {
    for round in 0..5 {
        tx.send(&(round * 3)).unwrap();
        let child = Process::fork(|| {
            tx.send(&(round * 3 + 1)).unwrap();
            begun.recv().unwrap()
        });
        assert_eq!(child.unwrap().join().unwrap(), round * 2);
        tx.send(&(round * 3 + 2)).unwrap();
        assert_eq!(begun.recv().unwrap(), round * 2 + 1);
    }
    0
}

#[test]
fn the_same_end_may_be_used_by_one_process_after_the_other() {
    let _dog = watchdog(LIMIT);
    let (tx, rx) = channel::<u64>().unwrap();
    let (to_child, taken) = channel::<u64>().unwrap();
    (0..10).for_each(|n| to_child.send(&n).unwrap());
    let child = Process::spawn(in_turns, (tx, taken)).unwrap();
    for n in 0..15 {
        assert_eq!(rx.recv().unwrap(), n);
    }
    child.join().unwrap();
    assert!(matches!(rx.recv(), Err(RecvError::Closed)));
}

// Killed at any moment -----------------------------------------------------------------------------------------------

type Numbered = (u64, Vec<u8>);

fn numbered(n: u64) -> Numbered {
    let len = match n % 50 {
        0 => 40_000,
        1 => 3_000,
        n => n as usize,
    };
    (n, vec![n as u8; len])
}

fn send_for_ever(tx: Sender<Numbered>, sent: Shared<AtomicU64>) {
    for n in 0.. {
        tx.send(&numbered(n)).unwrap();
        sent.store(n + 1, Relaxed);
    }
}

#[test]
fn storm_of_killed_senders_loses_nothing_that_was_sent_and_tears_nothing() {
    let _dog = watchdog(LIMIT);
    for round in 0..40 {
        let (tx, rx) = channel::<Numbered>().unwrap();
        let sent = Shared::new(AtomicU64::new(0)).unwrap();
        let child = crate::spawn(send_for_ever, (tx, sent.clone())).unwrap();
        // More or less far, with the ring full or empty.
        let received = Cell::new(0);
        let receive = |rx: &Receiver<Numbered>| match rx.recv() {
            Ok(message) => {
                let n = received.replace(received.get() + 1);
                assert!(message == numbered(n), "round {round}: message {n}");
                true
            }
            Err(RecvError::Closed) => false,
            Err(e) => panic!("round {round}: {e}"),
        };
        (0..round * 25).for_each(|_| assert!(receive(&rx)));
        if round % 3 == 0 {
            while sent.load(Relaxed) < received.get() + 10 {
                thread::yield_now();
            }
        }
        child.kill().unwrap();
        while receive(&rx) {}
        let (received, acknowledged) = (received.get(), sent.load(Relaxed));
        assert!(received == acknowledged || received == acknowledged + 1, "round {round}: {received}, {acknowledged}");
    }
}

fn receive_for_ever(rx: Receiver<Numbered>, received: Shared<AtomicU64>) {
    for n in 0.. {
        assert!(rx.recv().unwrap() == numbered(n));
        received.store(n + 1, Relaxed);
    }
}

#[test]
fn storm_of_killed_receivers_stops_the_sender_each_time() {
    let _dog = watchdog(LIMIT);
    for round in 0..40 {
        let (tx, rx) = channel::<Numbered>().unwrap();
        let received = Shared::new(AtomicU64::new(0)).unwrap();
        let child = crate::spawn(receive_for_ever, (rx, received.clone())).unwrap();
        thread::scope(|s| {
            let sender = s.spawn(|| (0..).find_map(|n| tx.send(&numbered(n)).err()));
            while received.load(Relaxed) < round * 25 {
                thread::yield_now();
            }
            child.kill().unwrap();
            assert!(matches!(sender.join().unwrap(), Some(SendError::Closed)), "round {round}");
        });
    }
}

fn echo_for_ever(c: Connection<Numbered>) {
    loop {
        c.send(&c.recv().unwrap()).unwrap();
    }
}

#[test]
fn storm_of_killed_echoes_ends_every_exchange() {
    let _dog = watchdog(LIMIT);
    for round in 0..40 {
        let (a, b) = pipe::<Numbered>().unwrap();
        let child = crate::spawn(echo_for_ever, (b,)).unwrap();
        thread::scope(|s| {
            let exchange = s.spawn(|| {
                for n in 0.. {
                    if a.send(&numbered(n)).is_err() {
                        return;
                    }
                    match a.recv() {
                        Ok(message) => assert!(message == numbered(n)),
                        Err(e) => return assert!(matches!(e, RecvError::Closed)),
                    }
                }
            });
            thread::sleep(Duration::from_micros(round * 70));
            child.kill().unwrap();
            exchange.join().unwrap();
        });
    }
}

#[test]
fn threads_that_receive_handles_side_by_side_lose_none() {
    let _dog = watchdog(LIMIT);
    const N: u32 = 20_000;
    let (sender, receiver) = pipe::<(u32, Fd)>().unwrap();
    let null: Fd = std::fs::File::open("/dev/null").unwrap().into();
    let received = std::thread::scope(|scope| {
        let threads = [(); 3].map(|()| {
            scope.spawn(|| {
                let (mut n, mut lost) = (0, 0);
                loop {
                    match receiver.recv() {
                        Ok(_) => n += 1,
                        Err(RecvError::Closed) => break (n, lost),
                        Err(RecvError::Decode(_)) => lost += 1,
                        Err(e) => panic!("{e}"),
                    }
                }
            })
        });
        for i in 0..N {
            sender.send(&(i, Fd(null.as_fd().try_clone_to_owned().unwrap()))).unwrap();
        }
        drop(sender);
        threads.map(|thread| thread.join().unwrap())
    });
    println!("(received, lost): {received:?}");
    assert_eq!(received.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1)), (N, 0));
}

/// Messages that take no bytes take their place all the same, as do those of any length around a word's.
#[test]
fn messages_of_any_length_take_their_place_even_without_a_byte() {
    let _dog = watchdog(LIMIT);
    let (tx, rx) = channel::<()>().unwrap();
    for _ in 0..3 {
        let mut sent = 0;
        while tx.try_send(&()).is_ok() {
            sent += 1;
            assert!(sent < 1_000_000, "never full");
        }
        assert!(matches!(tx.try_send(&()), Err(TrySendError::Full)));
        (0..sent).for_each(|_| rx.recv().unwrap());
        assert!(!rx.poll(Some(Duration::ZERO)).unwrap());
    }
    let sender = thread::spawn(move || (0..20_000).try_for_each(|_| tx.send(&())));
    for _ in 0..20_000 {
        rx.recv().unwrap();
    }
    sender.join().unwrap().unwrap();
    for len in [0, 1, 7, 8, 9, 15, 16, 17] {
        let (tx, rx) = channel::<Vec<u8>>().unwrap();
        let sender = thread::spawn(move || (0..9000).try_for_each(|n| tx.send_bytes(&vec![n as u8; len])));
        for n in 0..9000 {
            assert_eq!(rx.recv_bytes().unwrap(), vec![n as u8; len]);
        }
        sender.join().unwrap().unwrap();
    }
}
