//! How two strangers that hold a connected socket come by the rest of a pipe: one makes the memory and sends it.

use std::{io, os::fd::OwnedFd};

use kernel::{futex::Deadline, shm::SharedMemory};

use super::{
    end::{EndKind, Incoming, Outgoing, Parts},
    ring,
    socket::{Packet, Socket, Woken},
};

/// Says that the packet is the memory of a pipe, of this version of its layout.
const HELLO: u64 = u64::from_le_bytes(*b"ipcHello");

/// Makes the memory, and sends it without waiting. The end lets at most `max_fds` descriptors wait for their message.
pub(crate) fn offer(socket: OwnedFd, max_fds: usize) -> io::Result<(Outgoing, Incoming)> {
    use std::os::fd::AsFd;
    let socket = Socket(socket.into());
    let memory = ring::create(2)?;
    socket.send_fds(HELLO, &[memory.as_fd()], Deadline::after(std::time::Duration::ZERO))?;
    Parts { side: EndKind::A, memory, socket, max_fds }.duplex()
}

/// Waits for the memory, until the deadline. The end lets at most `max_fds` descriptors wait for their message.
pub(crate) fn accept(socket: OwnedFd, deadline: Option<Deadline>, max_fds: usize) -> io::Result<(Outgoing, Incoming)> {
    let socket = Socket(socket.into());
    loop {
        match socket.receive(1)? {
            Packet::Fds(HELLO, mut fds) if fds.len() == 1 => {
                let memory = SharedMemory::from_fd(fds.remove(0))?;
                return Parts { side: EndKind::B, memory, socket, max_fds }.duplex();
            }
            Packet::End => {
                return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "the listener closed the connection"));
            }
            Packet::Nothing => {
                if socket.wait(deadline, None)? == Woken::TimedOut {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody accepts connections"));
                }
            }
            Packet::Fds(..) | Packet::Bell => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the listener does not speak this protocol"));
            }
        }
    }
}
