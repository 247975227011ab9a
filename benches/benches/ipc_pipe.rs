//! Pipes beside their peers, between two processes: one way for messages of several sizes, and round trips.
//!
//! Ratios within one run count; absolute times belong to their machine.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::{AsRawFd as _, OwnedFd},
    sync::atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion, Throughput};
use ipc::{Connection, Receiver, Sender, channel, pipe};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use proc_core::{
    Process,
    handover::Fd,
    shm::{Shared, SharedMemory},
};

/// The last of a batch; the receiver reports that it has come.
const LAST: u64 = u64::MAX;

/// Runs batches of `n` messages: `send` sends one, and the receiver says `done` after the last.
fn batches(group: &mut Group<'_>, name: &str, size: usize, done: &Receiver<()>, mut send: impl FnMut(u64)) {
    group.bench_function(BenchmarkId::new(name, size), |b| {
        b.iter_custom(|n| {
            let begun = Instant::now();
            (1..n).for_each(&mut send);
            send(LAST);
            done.recv().expect("the receiver lives");
            begun.elapsed()
        });
    });
}

type Group<'a> = criterion::BenchmarkGroup<'a, criterion::measurement::WallTime>;

fn receive_numbers(rx: Receiver<u64>, done: Sender<()>) {
    rx.iter().filter(|n| *n == LAST).for_each(|_| done.send(&()).expect("the owner lives"));
}

fn receive_bytes(rx: Receiver<()>, done: Sender<()>) {
    while let Ok(bytes) = rx.recv_bytes() {
        if bytes[0] != 0 {
            done.send(&()).expect("the owner lives");
        }
    }
}

fn receive_from_pipe(fd: Fd, size: usize, done: Sender<()>) {
    let (mut file, mut buffer) = (File::from(fd.0), vec![0; size]);
    while file.read_exact(&mut buffer).is_ok() {
        if buffer[0] != 0 {
            done.send(&()).expect("the owner lives");
        }
    }
}

fn receive_packets(fd: Fd, size: usize, done: Sender<()>) {
    let mut buffer = vec![0; size];
    while recv(fd.0.as_raw_fd(), &mut buffer, MsgFlags::empty()).is_ok_and(|n| n > 0) {
        if buffer[0] != 0 {
            done.send(&()).expect("the owner lives");
        }
    }
}

/// What a ring can do that knows neither types nor errors nor death, and never sleeps: 8-byte words, 0 where free.
struct BareRing(SharedMemory);

impl BareRing {
    const WORDS: u64 = 8192;

    fn new() -> Self {
        Self(SharedMemory::new(Self::WORDS as usize * 8).expect("memory can be had"))
    }

    fn word(&self, i: u64) -> &AtomicU64 {
        // SAFETY: inside the block.
        let word = unsafe { self.0.as_ptr().cast::<AtomicU64>().add((i % Self::WORDS) as usize) };
        // SAFETY: inside the block, aligned; any bits are a number.
        unsafe { word.as_ref() }
    }

    fn send(&self, i: u64, n: u64) {
        while self.word(i).load(Acquire) != 0 {
            std::hint::spin_loop();
        }
        self.word(i).store(n, Release);
    }

    fn receive(&self, i: u64) -> u64 {
        loop {
            match self.word(i).load(Acquire) {
                0 => std::hint::spin_loop(),
                n => {
                    self.word(i).store(0, Release);
                    return n;
                }
            }
        }
    }
}

fn receive_words(ring: SharedMemory, done: Sender<()>, stop: Shared<AtomicU64>) {
    let ring = BareRing(ring);
    for i in 0.. {
        if ring.receive(i) == LAST {
            done.send(&()).expect("the owner lives");
        }
        if stop.load(Relaxed) != 0 {
            return;
        }
    }
}

fn one_way(c: &mut Criterion) {
    let mut group = c.benchmark_group("pipe/one way");
    group.measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500)).sample_size(20);
    group.throughput(Throughput::Elements(1));

    let (done, is_done) = channel().expect("a pipe can be made");
    let (tx, rx) = channel::<u64>().expect("a pipe can be made");
    let child = Process::spawn(receive_numbers, (rx, done)).expect("a process can be started");
    batches(&mut group, "ours, typed", 8, &is_done, |n| tx.send(&(n | 1 << 60)).expect("the receiver lives"));
    drop(tx);
    child.join().expect("it ends well");

    let (done, is_done) = channel().expect("a pipe can be made");
    let (ring, stop) = (BareRing::new(), Shared::new(AtomicU64::new(0)).expect("memory can be had"));
    let child = Process::spawn(receive_words, (ring.0.clone(), done, stop.clone())).expect("a process can be started");
    let mut i = 0;
    let mut send_word = |n| {
        ring.send(i, n);
        i += 1;
    };
    batches(&mut group, "LIMIT bare ring", 8, &is_done, &mut send_word);
    stop.store(1, Relaxed);
    send_word(1);
    child.join().expect("it ends well");

    for size in [8, 256, 4096, 1 << 20] {
        group.throughput(Throughput::Bytes(size as u64));
        let messages = [vec![0_u8; size], vec![1; size]];
        let message = |n| &messages[usize::from(n == LAST)];

        let (done, is_done) = channel().expect("a pipe can be made");
        let (tx, rx) = channel::<()>().expect("a pipe can be made");
        let child = Process::spawn(receive_bytes, (rx, done)).expect("a process can be started");
        batches(&mut group, "ours, bytes", size, &is_done, |n| tx.send_bytes(message(n)).expect("the receiver lives"));
        drop(tx);
        child.join().expect("it ends well");

        let (done, is_done) = channel().expect("a pipe can be made");
        let (reader, mut writer) = std::io::pipe().expect("a pipe can be made");
        let child = Process::spawn(receive_from_pipe, (reader.into(), size, done)).expect("a process can be started");
        batches(&mut group, "pipe(2)", size, &is_done, |n| writer.write_all(message(n)).expect("the receiver lives"));
        drop(writer);
        child.join().expect("it ends well");

        if size > 100_000 {
            // Larger than a packet can be.
            continue;
        }
        let (done, is_done) = channel().expect("a pipe can be made");
        let (here, there) = packets();
        let child = Process::spawn(receive_packets, (there.into(), size, done)).expect("a process can be started");
        batches(&mut group, "SEQPACKET pair", size, &is_done, |n| {
            send(here.as_raw_fd(), message(n), MsgFlags::empty()).expect("the receiver lives");
        });
        drop(here);
        child.join().expect("it ends well");
    }
    group.finish();
}

fn packets() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).expect("a pair can be made")
}

fn echo(c: Connection<u64>) {
    while let Ok(n) = c.recv() {
        c.send(&n).expect("the owner lives");
    }
}

fn echo_packets(fd: Fd) {
    let mut buffer = [0; 8];
    while recv(fd.0.as_raw_fd(), &mut buffer, MsgFlags::empty()).is_ok_and(|n| n > 0) {
        send(fd.0.as_raw_fd(), &buffer, MsgFlags::empty()).expect("the owner lives");
    }
}

fn round_trip(c: &mut Criterion) {
    let mut group = c.benchmark_group("pipe/round trip");
    group.measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500)).sample_size(20);
    // Busy, and with both asleep at the start of each.
    for pause in [Duration::ZERO, Duration::from_millis(1)] {
        let mut measure = |name: &str, exchange: &dyn Fn(u64)| {
            group.bench_function(BenchmarkId::new(name, format!("{pause:?} apart")), |b| {
                b.iter_custom(|n| {
                    (0..n)
                        .map(|n| {
                            std::thread::sleep(pause);
                            let begun = Instant::now();
                            exchange(n);
                            begun.elapsed()
                        })
                        .sum()
                });
            });
        };
        let (a, b) = pipe::<u64>().expect("a pipe can be made");
        let child = Process::spawn(echo, (b,)).expect("a process can be started");
        measure("ours", &|n| {
            a.send(&n).expect("the child lives");
            assert_eq!(a.recv().expect("the child lives"), n);
        });
        drop(a);
        child.join().expect("it ends well");

        let (here, there) = packets();
        let child = Process::spawn(echo_packets, (there.into(),)).expect("a process can be started");
        measure("SEQPACKET pair", &|n| {
            let mut buffer = [0; 8];
            send(here.as_raw_fd(), &n.to_ne_bytes(), MsgFlags::empty()).expect("the child lives");
            recv(here.as_raw_fd(), &mut buffer, MsgFlags::empty()).expect("the child lives");
            assert_eq!(u64::from_ne_bytes(buffer), n);
        });
        drop(here);
        child.join().expect("it ends well");
    }
    group.finish();
}

criterion::criterion_group!(all, one_way, round_trip);
criterion::criterion_main!(all);
