//! Descriptors beside the bytes of a packet (`SCM_RIGHTS`), as they are received.
//!
//! # Safety
//! Descriptors that the kernel installed are taken charge of, each once. Control messages are walked with the C library's
//! macros over what the kernel wrote.
#![allow(unsafe_code)]

use std::{
    mem::MaybeUninit,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use nix::errno::Errno;

/// As many descriptors as the kernel lets one packet carry (`SCM_MAX_FD`).
pub const MAX_FDS: usize = 253;
/// Room for [`MAX_FDS`].
pub const ROOM_FOR_ALL: usize = 1040;
/// Room for three.
pub const ROOM_FOR_FEW: usize = 64;

// SAFETY: computes a length.
const _: () = assert!(unsafe { libc::CMSG_SPACE((MAX_FDS * size_of::<RawFd>()) as u32) } as usize <= ROOM_FOR_ALL);
// SAFETY: computes a length.
const _: () = assert!(unsafe { libc::CMSG_SPACE((3 * size_of::<RawFd>()) as u32) } as usize <= ROOM_FOR_FEW);

#[repr(C, align(8))]
struct Control<const BYTES: usize>([u8; BYTES]);

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
        // By the kernel's call itself: the C library's function lies on a page that a child needs for nothing else.
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
