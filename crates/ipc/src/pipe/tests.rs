//! What a peer that does not keep to the protocol can do: spoil messages.

use std::{
    os::fd::{AsFd, AsRawFd},
    sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};

use kernel::shm::SharedMemory;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use test_support::watchdog;

use super::{
    Connection, RecvError, RecvTimeoutError, TryRecvError, TrySendError,
    end::{EndKind, Parts},
    handles::NO_LIMIT,
    layout::{DATA_OFFSET, PipeHeader, RING_BYTES},
    ring::{self, FrameKind, Reader, Writer},
    socket::Socket,
};

const LIMIT: Duration = Duration::from_secs(120);

type Message = (u32, Vec<u16>, String);

fn parts(memory: SharedMemory, socket: Socket, side: EndKind) -> Parts {
    Parts { side, memory, socket, max_fds: NO_LIMIT }
}

/// An end, and what its peer has in hand.
fn end_and_its_peer() -> (Connection<Message>, SharedMemory, Socket) {
    let (here, there) = Socket::pair().unwrap();
    let memory = ring::create(2).unwrap();
    (Connection::new(parts(memory.clone(), here, EndKind::A).duplex().unwrap()), memory, there)
}

fn byte(memory: &SharedMemory, i: usize) -> &AtomicU8 {
    assert!(i < memory.len());
    #[allow(unsafe_code)]
    // SAFETY: inside the block.
    let byte = unsafe { memory.as_ptr().add(i) };
    #[allow(unsafe_code)]
    // SAFETY: inside the block, which the caller holds; any bits are a byte.
    unsafe {
        byte.cast::<AtomicU8>().as_ref()
    }
}

fn word(memory: &SharedMemory, i: usize) -> &AtomicU64 {
    assert!(i.is_multiple_of(8) && i < memory.len());
    #[allow(unsafe_code)]
    // SAFETY: inside the block.
    let word = unsafe { memory.as_ptr().add(i) };
    #[allow(unsafe_code)]
    // SAFETY: inside the block, aligned, and held by the caller; any bits are a word.
    unsafe {
        word.cast::<AtomicU64>().as_ref()
    }
}

/// Marsaglia's xorshift: the same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

fn message(random: &mut Random) -> Message {
    let n = random.below(40) * random.below(40);
    (random.next() as u32, vec![7; n], "m".repeat(random.below(30)))
}

/// Uses an end as its owner would, without waiting; whatever happens must be an error or a value.
fn use_it(end: &Connection<Message>, random: &mut Random) {
    for _ in 0..20 {
        match end.try_recv() {
            Err(TryRecvError::Empty | TryRecvError::Closed | TryRecvError::Damaged) => break,
            Ok(_) | Err(TryRecvError::Decode(_)) => {}
            Err(e) => panic!("{e}"),
        }
    }
    for _ in 0..3 {
        match end.try_send(&message(random)) {
            Ok(()) | Err(TrySendError::Full | TrySendError::Closed | TrySendError::Damaged) => {}
            Err(e) => panic!("{e}"),
        }
    }
    match end.recv_timeout(Duration::ZERO) {
        Ok(_)
        | Err(
            RecvTimeoutError::TimedOut
            | RecvTimeoutError::Closed
            | RecvTimeoutError::Damaged
            | RecvTimeoutError::Decode(_),
        ) => {}
        Err(e) => panic!("{e}"),
    }
}

#[test]
fn any_byte_of_the_memory_may_change_at_any_time() {
    let _dog = watchdog(LIMIT);
    for seed in 1..=1500_u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (end, memory, socket) = end_and_its_peer();
        let peer = Connection::<Message>::new(parts(memory.clone(), socket, EndKind::B).duplex().unwrap());
        for _ in 0..random.below(8) {
            use_it(&end, &mut random);
            use_it(&peer, &mut random);
        }
        for _ in 0..1 + random.below(6) {
            // The header, and where the frames are, more often than the rest.
            let at = match random.below(3) {
                0 => random.below(size_of::<PipeHeader>()),
                1 => DATA_OFFSET + random.below(2) * RING_BYTES as usize + random.below(4096),
                _ => random.below(memory.len()),
            };
            match random.below(3) {
                0 => byte(&memory, at).store(random.next() as u8, Relaxed),
                1 => word(&memory, at & !7).store(random.next(), Relaxed),
                _ => word(&memory, at & !7).store(u64::MAX << random.below(64), Relaxed),
            }
            use_it(&end, &mut random);
        }
        // Another user of the same end begins with what stands there.
        let (fresh_socket, _other) = Socket::pair().unwrap();
        if let Ok(fresh) = parts(memory.clone(), fresh_socket, EndKind::A).duplex() {
            use_it(&Connection::new(fresh), &mut random);
        }
    }
}

#[test]
fn a_peer_that_scribbles_all_the_time_spoils_messages_only() {
    let _dog = watchdog(LIMIT);
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
        }
    }
    let stop = &AtomicBool::new(false);
    thread::scope(|s| {
        let (end, memory, _socket) = end_and_its_peer();
        s.spawn({
            let memory = memory.clone();
            move || {
                let mut random = Random(0x5eed);
                while !stop.load(Relaxed) {
                    // Frames that look right at first sight: a kind, a length, the stamp of their place.
                    let at = random.below(RING_BYTES as usize / 8) * 8;
                    let frame = random.next() & 0x7_ffff_ffff_ffff | (at as u64 / 8) << 40;
                    word(&memory, DATA_OFFSET + RING_BYTES as usize + at).store(frame, Relaxed);
                    byte(&memory, random.below(size_of::<PipeHeader>())).store(random.next() as u8, Relaxed);
                }
            }
        });
        let _stop = Stop(stop);
        let mut random = Random(0xfeed);
        for _ in 0..3000 {
            use_it(&end, &mut random);
            let (socket, _other) = Socket::pair().unwrap();
            if let Ok(fresh) = parts(memory.clone(), socket, EndKind::A).duplex() {
                use_it(&Connection::new(fresh), &mut random);
            }
        }
    });
}

#[test]
fn anything_may_come_through_the_socket() {
    let _dog = watchdog(LIMIT);
    let mut random = Random(0x50c4e7);
    let (end, memory, socket) = end_and_its_peer();
    let peer_socket = Socket::from_fd(socket.as_fd().try_clone_to_owned().unwrap());
    let peer = Connection::<Message>::new(parts(memory, peer_socket, EndKind::B).duplex().unwrap());
    let null = std::fs::File::open("/dev/null").unwrap();
    // What no message claims stays open, and other tests of this process are to have some descriptors left.
    for n in 0..150 {
        for _ in 0..random.below(5) {
            // None at all looks like the end of file.
            let bytes: Vec<u8> = (0..random.below(20)).map(|_| random.next() as u8).collect();
            let fds = vec![null.as_fd().as_raw_fd(); random.below(5)];
            let rights = [ControlMessage::ScmRights(&fds)];
            let parts = [std::io::IoSlice::new(&bytes)];
            let control = if fds.is_empty() { &rights[..0] } else { &rights };
            sendmsg::<()>(socket.as_fd().as_raw_fd(), &parts, control, MsgFlags::MSG_DONTWAIT, None).unwrap();
        }
        if random.below(3) == 0 {
            assert!(matches!(end.try_recv(), Err(TryRecvError::Empty)));
        }
        peer.send(&(n, Vec::new(), "after the noise".into())).unwrap();
        assert_eq!(end.recv().unwrap().0, n);
    }
}

#[test]
fn descriptors_that_a_frame_promises_need_not_come() {
    let _dog = watchdog(LIMIT);
    use kernel::handover::Fd;
    let (here, there) = Socket::pair().unwrap();
    let memory = ring::create(2).unwrap();
    let end = Connection::<Vec<Fd>>::new(parts(memory.clone(), here, EndKind::A).duplex().unwrap());
    let peer = Connection::<Vec<Fd>>::new(parts(memory, there, EndKind::B).duplex().unwrap());
    let fd = || Fd::from(std::fs::File::open("/dev/null").unwrap());
    peer.send(&vec![fd(), fd()]).unwrap();
    // Another process takes the packet away.
    assert!(matches!(end.end_socket().receive(2).unwrap(), super::socket::Packet::Fds(1, fds) if fds.len() == 2));
    assert!(matches!(end.recv(), Err(RecvError::Decode(_))));
    peer.send(&vec![fd()]).unwrap();
    assert_eq!(end.recv().unwrap().len(), 1);
}

/// As a sender leaves it that is killed between its two last stores, when the receiver was quick.
#[test]
fn a_frame_that_was_read_before_its_dead_writer_said_so_is_no_damage() {
    let memory = ring::create(1).unwrap();
    let ring = ring::attach(&memory).unwrap().remove(0);
    let (mut writer, mut reader) = (Writer::reload(&ring).unwrap(), Reader::reload(&ring).unwrap());
    for len in [8, 3000, 0] {
        let before = ring.header().writer.0.tail.load(Relaxed);
        assert!(writer.make_room(&ring, len).unwrap());
        writer.publish(&ring, FrameKind::Whole, len);
        ring.header().writer.0.tail.store(before, Relaxed);
        assert_eq!(reader.peek(&ring).unwrap(), Some((FrameKind::Whole, len)));
        reader.advance(&ring, len);
        writer = Writer::reload(&ring).unwrap();
        assert_eq!(ring.header().writer.0.tail.load(Relaxed), reader.position());
    }
    // A reader cannot be farther than a ring.
    ring.header().reader.0.head.store(reader.position() + 2 * u64::from(RING_BYTES), Relaxed);
    assert!(Writer::reload(&ring).is_err());
}

#[test]
fn foreign_memory_is_refused() {
    let socket = || Socket::pair().unwrap().0;
    assert!(parts(SharedMemory::new(100).unwrap(), socket(), EndKind::A).duplex().is_err());
    assert!(parts(SharedMemory::new(1 << 20).unwrap(), socket(), EndKind::A).duplex().is_err());
    let simplex = ring::create(1).unwrap();
    assert!(parts(simplex.clone(), socket(), EndKind::A).duplex().is_err());
    assert!(parts(simplex, socket(), EndKind::Receiver).incoming().is_ok());
    assert!(parts(ring::create(2).unwrap(), socket(), EndKind::Sender).outgoing().is_err());
}

/// Several times around the ring. With one receiver, nobody looks where it has been before: under ThreadSanitizer, bytes that are
/// written or read out of turn are a race.
#[test]
fn bytes_change_hands_with_their_frame() {
    const EACH: usize = 2000;
    let _dog = watchdog(LIMIT);
    let (sender, receiver) = super::channel::<(usize, Vec<u8>)>().unwrap();
    let len = |n: usize| [0, 3, 40, 700, 9000][n % 5];
    thread::scope(|scope| {
        for _ in 0..2 {
            let sender = sender.clone();
            scope.spawn(move || (0..EACH).for_each(|n| sender.send(&(n, vec![n as u8; len(n)])).unwrap()));
        }
        drop(sender);
        let mut sum = 0;
        while let Ok((n, bytes)) = receiver.recv() {
            assert_eq!(bytes, vec![n as u8; len(n)]);
            sum += n;
        }
        assert_eq!(sum, EACH * (EACH - 1));
    });
}
