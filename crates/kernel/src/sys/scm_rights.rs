//! Packets with descriptors beside their bytes (`SCM_RIGHTS`), as they are sent and received.
//!
//! # Safety
//! System calls with buffers that outlive them, whose lengths are said. Descriptors that the kernel installed are taken charge
//! of, each once. Control messages are written and walked with the C library's macros.
#![allow(unsafe_code)]

use std::{
    io::IoSlice,
    mem::MaybeUninit,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use nix::errno::Errno;

/// As many descriptors as the kernel lets one packet carry (`SCM_MAX_FD`).
pub const MAX_FDS: usize = 253;
/// Room for [`MAX_FDS`].
pub const ROOM_FOR_ALL: usize = 1040;
/// A few descriptors: as many as the standard streams are.
pub const MAX_FEW: usize = 3;
/// Room for [`MAX_FEW`].
pub const ROOM_FOR_FEW: usize = 64;

// SAFETY: computes a length.
const _: () = assert!(unsafe { libc::CMSG_SPACE((MAX_FDS * size_of::<RawFd>()) as u32) } as usize <= ROOM_FOR_ALL);
// SAFETY: computes a length.
const _: () = assert!(unsafe { libc::CMSG_SPACE((MAX_FEW * size_of::<RawFd>()) as u32) } as usize <= ROOM_FOR_FEW);

#[repr(C, align(8))]
struct Control<const BYTES: usize>([u8; BYTES]);

/// Sends one packet made of `parts`, with at most [`MAX_FDS`] descriptors, else `EINVAL`. `flags` are those of `sendmsg`, beside
/// `MSG_NOSIGNAL`. Does not allocate, and may be called in a signal handler.
#[inline]
pub fn send(socket: BorrowedFd<'_>, parts: &[IoSlice<'_>], fds: &[RawFd], flags: i32) -> nix::Result<()> {
    if fds.len() <= MAX_FEW {
        send_with::<ROOM_FOR_FEW>(socket, parts, fds, flags)
    } else {
        send_many(socket, parts, fds, flags)
    }
}

/// Its room for descriptors is more than a page of a small stack should be asked for where there are few.
#[cold]
#[inline(never)]
fn send_many(socket: BorrowedFd<'_>, parts: &[IoSlice<'_>], fds: &[RawFd], flags: i32) -> nix::Result<()> {
    if fds.len() > MAX_FDS {
        return Err(Errno::EINVAL);
    }
    send_with::<ROOM_FOR_ALL>(socket, parts, fds, flags)
}

#[inline]
fn send_with<const ROOM: usize>(
    socket: BorrowedFd<'_>,
    parts: &[IoSlice<'_>],
    fds: &[RawFd],
    flags: i32,
) -> nix::Result<()> {
    let mut control = MaybeUninit::<Control<ROOM>>::uninit();
    // SAFETY: a msghdr is plain data; all zeros is an empty message.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    // A slice for reading has the layout of an iovec, of which the kernel does not change what it points at.
    message.msg_iov = parts.as_ptr().cast_mut().cast();
    message.msg_iovlen = parts.len() as _;
    if !fds.is_empty() {
        message.msg_control = control.as_mut_ptr().cast();
        put_fds(&mut message, fds, ROOM);
    }
    loop {
        let flags = flags | libc::MSG_NOSIGNAL;
        // SAFETY: the message and all it points at outlive the call.
        let sent = unsafe { libc::syscall(libc::SYS_sendmsg, socket.as_raw_fd(), &raw const message, flags) };
        match Errno::result(sent) {
            Err(Errno::EINTR) => {}
            sent => return sent.map(drop),
        }
    }
}

/// Writes the control message into the message's buffer, which has `room` bytes.
#[inline]
fn put_fds(message: &mut libc::msghdr, fds: &[RawFd], room: usize) {
    let len = size_of_val(fds) as u32;
    // SAFETY: computes a length.
    let space = unsafe { libc::CMSG_SPACE(len) };
    assert!(space as usize <= room, "there is room for as many as are sent");
    message.msg_controllen = space as _;
    let header = libc::cmsghdr {
        // SAFETY: computes a length.
        cmsg_len: unsafe { libc::CMSG_LEN(len) } as _,
        cmsg_level: libc::SOL_SOCKET,
        cmsg_type: libc::SCM_RIGHTS,
    };
    // SAFETY: reads two fields of the message, whose buffer has room for a header.
    let place = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: the header is inside the buffer.
    let data = unsafe { libc::CMSG_DATA(place) };
    // What the kernel is given is all written, the padding behind an odd number too.
    // SAFETY: as long as the message says that the buffer is.
    unsafe { place.cast::<u8>().write_bytes(0, space as usize) };
    // SAFETY: the buffer is longer than what it is said to hold, and aligned as a header.
    unsafe { place.write(header) };
    // SAFETY: the data follows the header inside the buffer; bytes need not be aligned.
    unsafe { data.copy_from_nonoverlapping(fds.as_ptr().cast(), len as usize) };
}

/// Receives one packet into `buffer`, and gives at most `max_fds` descriptors to `take`, in their order: they may be among the
/// three standard streams. The kernel closes what is more, without ever giving it a number here. Returns the packet's
/// length and the flags that it came with (`MSG_TRUNC`, `MSG_CTRUNC`).
///
/// Does not allocate; the room for descriptors is on the stack. `flags` are those of `recvmsg`.
pub fn receive<const ROOM: usize>(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    max_fds: usize,
    flags: i32,
    mut take: impl FnMut(OwnedFd),
) -> nix::Result<(usize, i32)> {
    // Zeroing it would take longer than to receive.
    let mut control = MaybeUninit::<Control<ROOM>>::uninit();
    let mut iov = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: a msghdr is plain data; all zeros is an empty message.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut iov;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    // Without the padding, in which there may be room for one more.
    // SAFETY: computes a length.
    let control_len = unsafe { libc::CMSG_LEN((max_fds.min(MAX_FDS) * size_of::<RawFd>()) as u32) };
    assert!(control_len as usize <= ROOM, "there is room for as many as are asked for");
    message.msg_controllen = control_len as _;
    let len = loop {
        let flags = flags | libc::MSG_CMSG_CLOEXEC;
        // SAFETY: the message and all it points at outlive the call.
        let received = unsafe { libc::syscall(libc::SYS_recvmsg, socket.as_raw_fd(), &raw mut message, flags) };
        match Errno::result(received) {
            Err(Errno::EINTR) => {}
            len => break len?,
        }
    };
    take_fds(&message, &mut take);
    Ok((len as usize, message.msg_flags))
}

/// Takes charge of the descriptors that the kernel installed, as far as it did.
fn take_fds(message: &libc::msghdr, take: &mut impl FnMut(OwnedFd)) {
    // SAFETY: the kernel has filled in the control buffer and its length.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: null, or inside the control buffer: the macros return nothing else.
    while let Some(header) = unsafe { next.as_ref() } {
        if (header.cmsg_level, header.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            // SAFETY: computes a length.
            let before_data = unsafe { libc::CMSG_LEN(0) } as usize;
            // SAFETY: the data follows the header, as long as it says.
            let data = unsafe { libc::CMSG_DATA(header) }.cast::<RawFd>();
            for at in 0..header.cmsg_len.saturating_sub(before_data) / size_of::<RawFd>() {
                // SAFETY: inside the data.
                let fd = unsafe { data.add(at) };
                // SAFETY: as above; it need not be aligned.
                let fd = unsafe { fd.read_unaligned() };
                // SAFETY: the kernel just installed it for us.
                take(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
        // SAFETY: the header is one that the macros returned.
        next = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
}
