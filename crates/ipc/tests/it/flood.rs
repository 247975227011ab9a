//! Descriptors that belong to no message, as many as a client can send: the server keeps a few and goes on.
#![allow(clippy::unwrap_used)] // helpers of tests are tests, too

use std::{
    fs::{self, File},
    io::IoSlice,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use ipc::{Client, Connection, Listener, RecvError, RecvTimeoutError, SendTimeoutError, TryRecvError};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, sendmsg, socket,
};
use proc_core::{Process, handover::Fd};
use test_support::watchdog;

const LIMIT: Duration = Duration::from_secs(120);
const SHORT: Duration = Duration::from_millis(20);

/// Most that may wait, in these tests.
const MAX: usize = 8;
/// What one take-in may go beyond: a packet's worth.
const SLACK: usize = MAX + 8;

fn n_open() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn null() -> Fd {
    File::open("/dev/null").unwrap().into()
}

fn send_fds(to: BorrowedFd<'_>, position: u64, n: usize) -> nix::Result<usize> {
    let null = null();
    let fds = vec![null.as_fd().as_raw_fd(); n];
    let rights = [ControlMessage::ScmRights(&fds)];
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    sendmsg::<()>(to.as_raw_fd(), &[IoSlice::new(&position.to_le_bytes())], &rights, flags, None)
}

fn listen(what: &str) -> (Listener<Vec<Fd>>, String) {
    let name = format!("ipc-flood-{what}-{}", std::process::id());
    let listener = Listener::bind(format!("\0{name}")).unwrap();
    (listener.max_descriptors(MAX), name)
}

fn knock(name: &str) -> OwnedFd {
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap();
    connect(socket.as_raw_fd(), &UnixAddr::new_abstract(name.as_bytes()).unwrap()).unwrap();
    socket
}

/// How a server reads, and what it is told when nothing comes.
type Reads = (&'static str, fn(&Connection<Vec<Fd>>));

fn flooded() {
    let reads: [Reads; 3] = [
        ("try_recv", |end| assert!(matches!(end.try_recv(), Err(TryRecvError::Empty)))),
        ("recv_timeout", |end| assert!(matches!(end.recv_timeout(SHORT), Err(RecvTimeoutError::TimedOut)))),
        ("poll", |end| assert!(!end.poll(Some(SHORT)).unwrap())),
    ];
    let (listener, name) = listen("flood");
    for (how, read) in reads {
        for same_number in [false, true] {
            let alone = n_open();
            let stranger = knock(&name);
            let end = listener.accept().unwrap();
            let before = n_open();
            let (mut n_sent, mut most) = (0, 0);
            for round in 0..20 {
                let number = |i: u64| if same_number { 5 } else { round * 1000 + i };
                // Until the kernel takes no more: the server has not read them.
                n_sent += (1..1000).take_while(|i| send_fds(stranger.as_fd(), number(*i), 253).is_ok()).count() * 253;
                read(&end);
                most = most.max(n_open().saturating_sub(before));
            }
            println!("{how}: {n_sent} descriptors sent, {most} kept at most");
            assert!(n_sent > 20 * 253, "{n_sent}");
            assert!(most <= MAX + SLACK, "{how}: {most} of {n_sent} descriptors kept");
            drop((end, stranger));
            assert_eq!(n_open(), alone, "{how}");
        }
    }
    // Another client is served.
    thread::scope(|scope| {
        let client =
            scope.spawn(|| Client::connect::<Vec<Fd>>(format!("\0{name}")).unwrap().send(&vec![null()]).unwrap());
        assert_eq!(listener.accept().unwrap().recv().unwrap().len(), 1);
        client.join().unwrap();
    });
}

#[test]
fn a_flood_of_descriptors_uses_up_few() {
    let _dog = watchdog(LIMIT);
    // In a process of its own: descriptors are counted.
    Process::spawn(flooded, ()).unwrap().join().unwrap();
}

#[test]
fn messages_whose_descriptors_wait_beyond_the_bound_all_arrive() {
    let _dog = watchdog(LIMIT);
    const N: usize = 5_000;
    let (listener, name) = listen("many");
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            let client = Client::connect::<Vec<Fd>>(format!("\0{name}")).unwrap();
            for n in 0..N {
                client.send(&(0..n % (MAX + 1)).map(|_| null()).collect()).unwrap();
            }
            // More than it may be: lost, and told so.
            client.send(&(0..3 * MAX).map(|_| null()).collect()).unwrap();
            client.send(&vec![null()]).unwrap();
        });
        let end = listener.accept().unwrap();
        for n in 0..N {
            // Now and then it looks first, and takes in what has come.
            if n % 50 == 0 {
                assert!(end.poll(None).unwrap());
            }
            assert_eq!(end.recv().unwrap().len(), n % (MAX + 1));
        }
        assert!(matches!(end.recv(), Err(RecvError::Decode(_))));
        assert_eq!(end.recv().unwrap().len(), 1);
        client.join().unwrap();
    });
}

#[test]
fn a_sender_that_waits_for_room_beside_unread_descriptors_gets_it() {
    let _dog = watchdog(LIMIT);
    let (listener, name) = listen("duplex");
    let reads = AtomicBool::new(false);
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            let client = Client::connect::<Vec<Fd>>(format!("\0{name}")).unwrap();
            for _ in 0..10 * MAX {
                client.send(&vec![null()]).unwrap();
            }
            while !reads.load(Relaxed) {
                thread::yield_now();
            }
            std::iter::repeat_with(|| client.recv()).take_while(Result::is_ok).count()
        });
        let end = listener.accept().unwrap();
        // Fills its own direction, while the client's messages lie unread.
        let mut n_sent = 0;
        while end.try_send(&Vec::new()).is_ok() {
            n_sent += 1;
        }
        assert!(matches!(end.send_timeout(&Vec::new(), SHORT), Err(SendTimeoutError::TimedOut)));
        reads.store(true, Relaxed);
        end.send(&Vec::new()).unwrap();
        for _ in 0..10 * MAX {
            assert_eq!(end.recv().unwrap().len(), 1);
        }
        drop(end);
        assert_eq!(client.join().unwrap(), n_sent + 1);
    });
}
