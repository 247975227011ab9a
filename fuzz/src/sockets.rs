//! Strangers at the other end of a socket.

use std::{
    os::fd::{AsRawFd, OwnedFd},
    sync::OnceLock,
    time::Duration,
};

use ipc::{Client, Connection, Listener, Manager};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, sendmsg, socket,
};
use proc_core::{handover, shm::SharedMemory};

use crate::input::Input;

const SOON: Duration = Duration::from_millis(200);

/// Packets with and without descriptors, as long as the socket takes them.
fn babble(fd: &OwnedFd, input: &mut Input<'_>) {
    let memory = SharedMemory::new(1 << 17).expect("there is memory");
    let memory = handover::pack(&memory).expect("memory can be handed over").fds()[0]
        .try_clone_to_owned()
        .expect("descriptors are not short");
    for _ in 0..8 {
        if !input.goes_on() {
            break;
        }
        let n = usize::from(input.byte() % 3);
        let fds = vec![memory.as_raw_fd(); n];
        let len = usize::from(input.byte()) % 40;
        let rights = [ControlMessage::ScmRights(&fds)];
        let parts = [std::io::IoSlice::new(input.bytes(len))];
        let control = if n == 0 { &rights[..0] } else { &rights };
        let _ = sendmsg::<()>(fd.as_raw_fd(), &parts, control, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL, None);
    }
}

fn name(of: &str) -> Vec<u8> {
    format!("ipc-fuzz-{}-{of}", std::process::id()).into_bytes()
}

/// A listener that says anything but what it should.
pub(crate) fn hello(mut input: Input<'_>) {
    let address = UnixAddr::new_abstract(&name("hello")).expect("it is short enough");
    let door =
        socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).expect("sockets are free");
    nix::sys::socket::bind(door.as_raw_fd(), &address).expect("nobody else has the name");
    nix::sys::socket::listen(&door, nix::sys::socket::Backlog::new(1).expect("small")).expect("it is bound");
    std::thread::scope(|s| {
        let client = s.spawn(|| {
            let client = Client::to(ipc::Address::Abstract(name("hello"))).timeout(SOON).open::<String>();
            drop(client.map(|connection| connection.recv_timeout(Duration::ZERO)));
        });
        // The fuzzer's own clock interrupts.
        let fd = loop {
            match nix::sys::socket::accept(door.as_raw_fd()) {
                Err(nix::errno::Errno::EINTR) => {}
                accepted => break accepted.expect("the client comes"),
            }
        };
        // SAFETY: just accepted.
        let fd = unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) };
        babble(&fd, &mut input);
        drop(fd);
        client.join().expect("it does not panic");
    });
}

/// Clients that say anything, before and after they are let in.
pub(crate) fn listener(mut input: Input<'_>) {
    static LISTENER: OnceLock<Listener<String>> = OnceLock::new();
    let listener = LISTENER
        .get_or_init(|| Listener::bind(ipc::Address::Abstract(name("listener"))).expect("nobody else has the name"));
    let address = UnixAddr::new_abstract(&name("listener")).expect("it is short enough");
    let fd = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).expect("sockets are free");
    connect(fd.as_raw_fd(), &address).expect("it listens");
    let leaves_early = input.byte() % 2 == 0;
    babble(&fd, &mut input);
    if leaves_early {
        drop(fd);
        drop(listener.try_accept().map(|client| client.map(|client| client.try_recv())));
        return;
    }
    let client = listener.try_accept().expect("descriptors are not short").expect("it has connected");
    babble(&fd, &mut input);
    drop((client.try_recv(), client.try_send(&"hello".into()), client.recv_timeout(Duration::ZERO)));
}

/// Garbage at the server's door, and in calls of no function; then a call like any other.
pub(crate) fn manager(mut input: Input<'_>) {
    static COUNTER: OnceLock<(Manager, ipc::Counter)> = OnceLock::new();
    let (_, counter) = COUNTER.get_or_init(|| {
        let manager = Manager::new().expect("a process can be started");
        let counter = manager.counter(0).expect("the server runs");
        (manager, counter)
    });
    let parcel = handover::pack(counter).expect("proxies can be handed over");
    let door = parcel.fds()[0].try_clone_to_owned().expect("descriptors are not short");
    if input.byte() % 2 == 0 {
        babble(&door, &mut input);
    } else {
        let connection = knock(&door);
        let _ = connection.send_bytes(&[&[0xff; 10], input.rest()].concat());
        let reply = connection.recv_timeout(Duration::from_secs(5));
        assert!(!matches!(reply, Err(ipc::RecvTimeoutError::TimedOut)), "the server does not answer");
    }
    counter.increment().expect("the server lives on");
}

/// A connection such as a proxy makes for its calls.
fn knock(door: &OwnedFd) -> Connection<()> {
    let (here, there) =
        nix::sys::socket::socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
            .expect("sockets are free");
    let fds = [there.as_raw_fd()];
    let parts = [std::io::IoSlice::new(&[0; 8])];
    sendmsg::<()>(door.as_raw_fd(), &parts, &[ControlMessage::ScmRights(&fds)], MsgFlags::empty(), None)
        .expect("the server listens");
    drop(there);
    let mut space = nix::cmsg_space!([i32; 1]);
    let mut bytes = [0; 8];
    let mut parts = [std::io::IoSliceMut::new(&mut bytes)];
    let hello = nix::sys::socket::recvmsg::<()>(here.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty());
    let hello = hello.expect("the server answers");
    let fds = hello.cmsgs().expect("there is room").find_map(|message| match message {
        nix::sys::socket::ControlMessageOwned::ScmRights(fds) => Some(fds[0]),
        _ => None,
    });
    // SAFETY: just received.
    let memory = unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fds.expect("a hello has the memory")) };
    let (_a, b) = ipc::pipe::<()>().expect("there is memory");
    let like_any_end = handover::pack(&b).expect("ends can be handed over").bytes().to_vec();
    handover::unpack(&like_any_end, vec![memory, here]).expect("it is an end")
}
