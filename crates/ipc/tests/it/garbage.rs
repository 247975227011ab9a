//! Frames that nobody sends who means well, 400 of each kind, on each socket that others can reach: an error with a type
//! at most, and the next one is served. (What comes through a pipe's own socket is `pipe::tests`' business.)
#![allow(clippy::unwrap_used)] // helpers of tests are tests, too

use std::{
    fs::File,
    io::{ErrorKind, IoSlice},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    thread,
    time::Duration,
};

use ipc::{Client, Connection, Listener, Manager, TryRecvError};
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, accept, bind, connect, listen,
    sendmsg, socket,
};
use proc_core::{handover, shm::SharedMemory};
use test_support::watchdog;

const LIMIT: Duration = Duration::from_secs(120);
const N_FRAMES: u64 = 400;
/// What fits into a socket's buffer whose other end sleeps.
const BATCH: u64 = 50;

/// The bytes of a frame, and what descriptors it brings.
type Kind = (&'static str, fn(u64) -> Vec<u8>, fn() -> Vec<OwnedFd>);

/// The start of what says that a packet is the memory of a pipe.
const HELLO: &[u8] = b"ipcHello";

const KINDS: &[Kind] = &[
    ("nothing", |_| Vec::new(), Vec::new),
    ("a greeting cut off", |n| HELLO[..n as usize % 8].to_vec(), Vec::new),
    ("a greeting alone", |_| HELLO.to_vec(), Vec::new),
    ("a greeting with a file", |_| HELLO.to_vec(), || vec![File::open("/dev/null").unwrap().into()]),
    ("a greeting with foreign memory", |_| HELLO.to_vec(), || vec![memory(100)]),
    ("a greeting with zeros", |_| HELLO.to_vec(), || vec![memory(1 << 20)]),
    ("two gibibytes to come", |_| (1_u64 << 31).to_le_bytes().to_vec(), Vec::new),
    ("an exbibyte to come", |n| (1_u64 << 60 | n).to_be_bytes().to_vec(), Vec::new),
    ("noise", |n| (0..n % 300).map(|i| (n * 31 + i * i * 7) as u8).collect(), Vec::new),
    ("noise with files", |n| n.to_le_bytes().to_vec(), || (0..3).map(|_| memory(1)).collect()),
];

fn memory(len: usize) -> OwnedFd {
    SharedMemory::new(len).unwrap().as_fd().try_clone_to_owned().unwrap()
}

/// Whether it could be sent.
fn send(to: BorrowedFd<'_>, kind: &Kind, n: u64) -> nix::Result<usize> {
    let (bytes, files) = (kind.1(n), kind.2());
    let fds: Vec<_> = files.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&fds)];
    let control = if fds.is_empty() { &rights[..0] } else { &rights };
    sendmsg::<()>(to.as_raw_fd(), &[IoSlice::new(&bytes)], control, MsgFlags::MSG_NOSIGNAL, None)
}

fn stranger() -> OwnedFd {
    socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap()
}

fn address(what: &str) -> (String, UnixAddr) {
    let name = format!("ipc-garbage-{what}-{}", std::process::id());
    (format!("\0{name}"), UnixAddr::new_abstract(name.as_bytes()).unwrap())
}

#[test]
fn a_listener_goes_on() {
    let _dog = watchdog(LIMIT);
    let (name, address) = address("listener");
    let listener = Listener::<u64>::bind(name.as_str()).unwrap();
    for kind in KINDS {
        for batch in 0..N_FRAMES / BATCH {
            let socket = stranger();
            connect(socket.as_raw_fd(), &address).unwrap();
            (0..BATCH).for_each(|n| assert!(send(socket.as_fd(), kind, batch * BATCH + n).is_ok()));
            let connection = listener.accept().unwrap();
            let heard = connection.try_recv();
            assert!(
                matches!(heard, Err(TryRecvError::Empty | TryRecvError::Closed | TryRecvError::Io(_))),
                "{heard:?}"
            );
        }
        thread::scope(|scope| {
            let client = scope.spawn(|| Client::connect::<u64>(name.as_str()).unwrap().send(&7).unwrap());
            assert_eq!(listener.accept().unwrap().recv().unwrap(), 7, "after {}", kind.0);
            client.join().unwrap();
        });
    }
}

#[test]
fn a_client_is_told() {
    let _dog = watchdog(LIMIT);
    let (name, address) = address("client");
    let door = stranger();
    bind(door.as_raw_fd(), &address).unwrap();
    listen(&door, Backlog::new(64).unwrap()).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for kind in KINDS {
                for n in 0..N_FRAMES {
                    let fd = accept(door.as_raw_fd()).unwrap();
                    #[allow(unsafe_code)]
                    // SAFETY: the kernel just made this descriptor for us.
                    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
                    // The client may have turned away already.
                    let _ = send(socket.as_fd(), kind, n);
                }
            }
        });
        for (kind, ..) in KINDS {
            for n in 0..N_FRAMES {
                let connected: Result<Connection<u64>, _> = Client::connect_timeout(name.as_str(), LIMIT);
                let told = connected.expect_err("nobody offers a pipe").kind();
                assert!(told != ErrorKind::TimedOut, "{kind}, {n}: {told}");
            }
        }
    });
}

#[test]
fn a_manager_goes_on() {
    let _dog = watchdog(LIMIT);
    let manager = Manager::new().unwrap();
    let counter = manager.counter(0).unwrap();
    // The door is what a handle takes along.
    let parcel = handover::pack(&manager).unwrap();
    let door = parcel.fds()[0];
    for (i, kind) in KINDS.iter().enumerate() {
        (0..N_FRAMES).for_each(|n| assert!(send(door, kind, n).is_ok()));
        assert_eq!(counter.increment().unwrap(), i as i64 + 1, "after {}", kind.0);
        // Over a connection that comes through the door.
        let other = thread::scope(|scope| {
            let calls = [(); 3].map(|()| scope.spawn(|| counter.get()));
            calls.map(|call| call.join().unwrap().unwrap())
        });
        assert_eq!(other, [i as i64 + 1; 3], "after {}", kind.0);
    }
    assert_eq!(manager.counter(5).unwrap().get().unwrap(), 5);
}
