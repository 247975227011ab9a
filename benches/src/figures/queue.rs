//! Messages from one to another: how many, and how long there and back.

use std::{
    cell::RefCell,
    io::{self, Read, Write},
    os::fd::AsFd,
    time::Duration,
};

use ipc::{Connection, Queue};
use nix::sys::{
    resource::{UsageWho, getrusage},
    socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair},
    time::TimeValLike,
};
use proc_core::handover::Fd;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    crew::{self, Lane},
    figure::{Figure, Plan, Side},
    limits::{FutexWord, Order, Ring, Slots},
    peers::{PosixMq, boost, iceoryx2, ipc_channel},
    python,
    run::{rate, rate_in},
};

const CAPACITY: usize = 1024;
/// So long that both sides of a round trip are asleep.
const PAUSE: Duration = Duration::from_millis(1);
const BY_SIZE: &str = "queue by message size, B";
const BY_PROCESSES: &str = "queue, 8 B, by processes on each side";

/// How many messages of that size a queue holds: what it needs is bounded.
fn capacity(len: usize) -> usize {
    if len > 64 * 1024 { (64 * 1024 * 1024 / len).clamp(1, 8) } else { CAPACITY }
}

/// Messages of a sample come in multiples of this.
fn step(len: usize) -> u64 {
    if len > 1 << 20 { 2 } else { 64 }
}

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Lends this thread's buffer of `len` bytes.
pub fn with_buffer<R>(len: usize, f: impl FnOnce(&mut [u8]) -> R) -> R {
    BUFFER.with_borrow_mut(|buffer| {
        if buffer.len() < len {
            buffer.resize(len, 1);
        }
        f(&mut buffer[..len])
    })
}

/// The number at the beginning of a message, of which the end is looked at as well.
pub fn number_in(message: &[u8]) -> u64 {
    std::hint::black_box(message[message.len() - 1]);
    u64::from_le_bytes(message[..8].try_into().expect("messages have eight bytes at least"))
}

#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
struct Values<M>(Queue<M>);

impl<M: Message + Serialize + DeserializeOwned> Lane for Values<M> {
    fn put(&self, n: u64) {
        let put = self.0.put(M::new(n, size_of::<M>()));
        assert!(put.is_ok());
    }
    fn get(&self) -> u64 {
        self.0.get().expect("the queue is open").number()
    }
    fn copy(&self) -> Self {
        Self(self.0.clone())
    }
}

#[derive(Serialize, Deserialize)]
struct Bytes(Queue<()>, usize);

impl Bytes {
    fn new(len: usize) -> io::Result<Self> {
        Ok(Self(Queue::builder().maxsize(capacity(len)).message_bytes(len).build()?, len))
    }
}

impl Lane for Bytes {
    fn put(&self, n: u64) {
        with_buffer(self.1, |buffer| {
            buffer[..8].copy_from_slice(&n.to_le_bytes());
            self.0.put_bytes(buffer).expect("the queue is open");
        });
    }
    fn get(&self) -> u64 {
        number_in(&self.0.get_bytes().expect("the queue is open"))
    }
    fn copy(&self) -> Self {
        Self(self.0.clone(), self.1)
    }
}

#[derive(Serialize, Deserialize)]
struct Loans(Queue<()>, usize);

impl Lane for Loans {
    fn put(&self, n: u64) {
        let mut loan = self.0.loan(self.1).expect("there is memory");
        // Whoever lends fills in place: that is the one copy there is.
        loan.fill(n as u8);
        loan[..8].copy_from_slice(&n.to_le_bytes());
        loan.send().expect("the queue is open");
    }
    fn get(&self) -> u64 {
        number_in(&self.0.get_loan().expect("the queue is open"))
    }
    fn copy(&self) -> Self {
        Self(self.0.clone(), self.1)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
struct Batches<M>(Queue<M>, #[serde(skip)] RefCell<std::vec::IntoIter<M>>);

const BATCH: u64 = 64;

impl<M: Message + Serialize + DeserializeOwned> Batches<M> {
    fn new() -> io::Result<Self> {
        Ok(Self(Queue::new(CAPACITY)?, RefCell::default()))
    }
}

impl<M: Message + Serialize + DeserializeOwned> Lane for Batches<M> {
    fn put(&self, n: u64) {
        if n.is_multiple_of(BATCH) {
            let batch = (n..n + BATCH).map(|n| M::new(n, size_of::<M>()));
            assert!(self.0.put_many(batch).is_ok());
        }
    }
    fn get(&self) -> u64 {
        let mut taken = self.1.borrow_mut();
        if taken.len() == 0 {
            *taken = self.0.get_many(BATCH as usize).expect("the queue is open").into_iter();
        }
        taken.next().expect("it waits for one").number()
    }
    fn copy(&self) -> Self {
        Self(self.0.clone(), RefCell::default())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
struct Ends<M>(Connection<M>, Connection<M>);

impl<M: Message + Serialize + DeserializeOwned> Ends<M> {
    fn new() -> io::Result<Self> {
        let (a, b) = ipc::pipe()?;
        Ok(Self(a, b))
    }
}

impl<M: Message + Serialize + DeserializeOwned> Lane for Ends<M> {
    fn put(&self, n: u64) {
        self.0.send(&M::new(n, size_of::<M>())).expect("the other end is open");
    }
    fn get(&self) -> u64 {
        self.1.recv().expect("the other end is open").number()
    }
    fn copy(&self) -> Self {
        Self(self.0.clone(), self.1.clone())
    }
}

#[derive(Serialize, Deserialize)]
struct Descriptors {
    input: Fd,
    output: Fd,
    len: usize,
}

impl Descriptors {
    fn pipe(len: usize) -> io::Result<Self> {
        let (output, input) = std::io::pipe()?;
        Ok(Self { input: Fd(input.into()), output: Fd(output.into()), len })
    }
}

impl Lane for Descriptors {
    fn put(&self, n: u64) {
        with_buffer(self.len, |buffer| {
            buffer[..8].copy_from_slice(&n.to_le_bytes());
            Stream(self.input.as_fd()).write_all(buffer).expect("the pipe is open");
        });
    }
    fn get(&self) -> u64 {
        with_buffer(self.len, |buffer| {
            Stream(self.output.as_fd()).read_exact(buffer).expect("the pipe is open");
            number_in(buffer)
        })
    }
    fn copy(&self) -> Self {
        let again = |fd: &Fd| Fd(fd.0.try_clone().expect("there are descriptors left"));
        Self { input: again(&self.input), output: again(&self.output), len: self.len }
    }
}

struct Stream<'a>(std::os::fd::BorrowedFd<'a>);

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(nix::unistd::read(self.0, buffer)?)
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(nix::unistd::write(self.0, bytes)?)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
struct Packets(Descriptors);

impl Packets {
    fn new(len: usize) -> io::Result<Self> {
        let (input, output) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok(Self(Descriptors { input: Fd(input), output: Fd(output), len }))
    }
}

impl Lane for Packets {
    fn put(&self, n: u64) {
        use std::os::fd::AsRawFd;
        with_buffer(self.0.len, |buffer| {
            buffer[..8].copy_from_slice(&n.to_le_bytes());
            send(self.0.input.as_fd().as_raw_fd(), buffer, MsgFlags::empty()).expect("the socket is open");
        });
    }
    fn get(&self) -> u64 {
        use std::os::fd::AsRawFd;
        with_buffer(self.0.len, |buffer| {
            recv(self.0.output.as_fd().as_raw_fd(), buffer, MsgFlags::empty()).expect("the socket is open");
            number_in(buffer)
        })
    }
    fn copy(&self) -> Self {
        Self(self.0.copy())
    }
}

/// A message that is a value.
trait Message: Send + 'static {
    fn new(n: u64, len: usize) -> Self;
    fn number(&self) -> u64;
}

impl Message for u64 {
    fn new(n: u64, _: usize) -> Self {
        n
    }
    fn number(&self) -> u64 {
        *self
    }
}

/// A value as many programs send it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Reading {
    id: u64,
    sensor: u32,
    is_valid: bool,
    value: f64,
}

impl Reading {
    pub(crate) fn new(id: u64) -> Self {
        Self { id, sensor: 7, is_valid: true, value: 0.5 }
    }
}

impl Message for Reading {
    fn new(n: u64, _: usize) -> Self {
        Self::new(n)
    }
    fn number(&self) -> u64 {
        std::hint::black_box(self.value);
        self.id
    }
}

/// 256 bytes of numbers.
#[derive(Serialize, Deserialize)]
struct Block {
    id: u64,
    samples: [u64; 31],
}

impl Message for Block {
    fn new(n: u64, _: usize) -> Self {
        Self { id: n, samples: [n; 31] }
    }
    fn number(&self) -> u64 {
        std::hint::black_box(self.samples[30]);
        self.id
    }
}

impl Message for [u8; 256] {
    fn new(n: u64, _: usize) -> Self {
        let mut message = [1; 256];
        message[..8].copy_from_slice(&n.to_le_bytes());
        message
    }
    fn number(&self) -> u64 {
        number_in(self)
    }
}

impl Message for Vec<u8> {
    fn new(n: u64, len: usize) -> Self {
        with_buffer(len, |buffer| {
            buffer[..8].copy_from_slice(&n.to_le_bytes());
            buffer.to_vec()
        })
    }
    fn number(&self) -> u64 {
        number_in(self)
    }
}

macro_rules! thread_lane {
    ($name:ident, $sender:ty, $receiver:ty, $send:ident, $recv:ident) => {
        struct $name<M: Message>($sender, $receiver, usize);

        impl<M: Message> Lane for $name<M> {
            fn put(&self, n: u64) {
                let sent = self.0.$send(M::new(n, self.2));
                assert!(sent.is_ok());
            }
            fn get(&self) -> u64 {
                self.1.$recv().expect("the channel is open").number()
            }
            fn copy(&self) -> Self {
                Self(self.0.clone(), self.1.clone(), self.2)
            }
        }
    };
}

thread_lane!(Crossbeam, crossbeam_channel::Sender<M>, crossbeam_channel::Receiver<M>, send, recv);
thread_lane!(Kanal, kanal::Sender<M>, kanal::Receiver<M>, send, recv);
thread_lane!(Flume, flume::Sender<M>, flume::Receiver<M>, send, recv);

/// The standard library's, whose receiver cannot be shared: one to one only.
struct Std<M: Message>(std::sync::mpsc::SyncSender<M>, std::sync::Arc<OneReceiver<M>>, usize);

struct OneReceiver<M>(std::sync::Mutex<Option<std::sync::mpsc::Receiver<M>>>);

thread_local! {
    static OWN: RefCell<Option<Box<dyn std::any::Any>>> = const { RefCell::new(None) };
}

impl<M: Message> Lane for Std<M> {
    fn put(&self, n: u64) {
        assert!(self.0.send(M::new(n, self.2)).is_ok());
    }
    fn get(&self) -> u64 {
        OWN.with_borrow_mut(|own| {
            let receiver = own.get_or_insert_with(|| {
                let receiver = self.1.0.lock().expect("nobody panics").take();
                Box::new(receiver.expect("one thread receives"))
            });
            let receiver = receiver.downcast_ref::<std::sync::mpsc::Receiver<M>>().expect("it was put there here");
            receiver.recv().expect("the channel is open").number()
        })
    }
    fn copy(&self) -> Self {
        Self(self.0.clone(), self.1.clone(), self.2)
    }
}

fn crossbeam<M: Message>(len: usize, capacity: usize) -> Crossbeam<M> {
    let (sender, receiver) = crossbeam_channel::bounded(capacity);
    Crossbeam(sender, receiver, len)
}

fn between_processes<L>(figure: Figure, side: Side, name: &str, n_each_side: u64, lane: L) -> Figure
where
    L: Lane + Serialize + DeserializeOwned + 'static,
{
    in_steps(figure, side, name, n_each_side, 64, lane)
}

fn in_steps<L>(figure: Figure, side: Side, name: &str, n_each_side: u64, step: u64, lane: L) -> Figure
where
    L: Lane + Serialize + DeserializeOwned + 'static,
{
    figure.case(side, name, rate_in(step, move |n| crew::processes(&lane, n_each_side, n)))
}

fn between_threads<M: Message>(figure: Figure, n_each_side: u64, len: usize) -> Figure {
    let capacity = capacity(len);
    let lane = crossbeam::<M>(len, capacity);
    let (sender, receiver) = kanal::bounded(capacity);
    let kanal = Kanal::<M>(sender, receiver, len);
    let (sender, receiver) = flume::bounded(capacity);
    let flume = Flume::<M>(sender, receiver, len);
    let step = step(len);
    let figure = figure
        .case(Side::Rust, "crossbeam (threads)", rate_in(step, move |n| crew::threads(&lane, n_each_side, n)))
        .case(Side::Rust, "kanal (threads)", rate_in(step, move |n| crew::threads(&kanal, n_each_side, n)))
        .case(Side::Rust, "flume (threads)", rate_in(step, move |n| crew::threads(&flume, n_each_side, n)));
    if n_each_side > 1 {
        return figure;
    }
    figure.case(
        Side::Rust,
        "std sync_channel (threads)",
        rate_in(step, move |n| {
            let (sender, receiver) = std::sync::mpsc::sync_channel::<M>(capacity);
            let receiver = OneReceiver(std::sync::Mutex::new(Some(receiver)));
            crew::threads(&Std(sender, receiver.into(), len), 1, n)
        }),
    )
}

/// The figures of this area.
pub fn plans() -> Vec<Plan> {
    let mut plans = Vec::new();
    for (len, size) in [(8, "8 B"), (256, "256 B"), (4096, "4 KiB"), (1 << 20, "1 MiB")] {
        for n_each_side in [1, 2] {
            let name = format!("queue, {size}, {n_each_side}:{n_each_side}");
            let plan = Plan::new("queue", name, move |name| messages(name, len, n_each_side));
            let plan = if n_each_side == 1 { plan.on(BY_SIZE, len as f64) } else { plan };
            plans.push(if len == 8 { plan.on(BY_PROCESSES, n_each_side as f64) } else { plan });
        }
    }
    for (len, size) in [(64 << 10, "64 KiB"), (16 << 20, "16 MiB"), (256 << 20, "256 MiB"), (1 << 30, "1 GiB")] {
        let plan = Plan::new("queue", format!("queue, {size}, 1:1"), move |name| messages(name, len, 1));
        plans.push(plan.on(BY_SIZE, len as f64).thorough_only(len > 16 << 20));
    }
    for n_each_side in [4, 16, 32] {
        let name = format!("queue, 8 B, {n_each_side}:{n_each_side}");
        let plan = Plan::new("queue", name, move |name| messages(name, 8, n_each_side));
        plans.push(plan.on(BY_PROCESSES, n_each_side as f64).thorough_only(n_each_side > 16));
    }
    for n_each_side in [1, 2] {
        let name = format!("queue, struct, {n_each_side}:{n_each_side}");
        plans.push(Plan::new("queue", name, move |name| {
            let lane = Values::<Reading>(Queue::new(CAPACITY)?);
            let figure = between_processes(Figure::rate(name, "messages/s"), Side::Ours, "Queue", n_each_side, lane);
            Ok(between_threads::<Reading>(figure, n_each_side, size_of::<Reading>()))
        }));
    }
    plans.push(Plan::new("queue", "queue, struct of 256 B, 1:1", |name| {
        let figure = Figure::rate(name, "messages/s");
        let figure = between_processes(figure, Side::Ours, "Queue", 1, Values::<Block>(Queue::new(CAPACITY)?));
        let figure = between_processes(figure, Side::Ours, "put_many/get_many", 1, Batches::<Block>::new()?);
        Ok(between_threads::<Block>(figure, 1, size_of::<Block>()))
    }));
    plans.push(Plan::new("pipe", "pipe, struct", |name| {
        let fresh = rate(|n| crew::processes(&Ends::<Reading>::new()?, 1, n));
        let figure = Figure::rate(name, "messages/s").case(Side::Ours, "Connection", fresh);
        Ok(between_threads::<Reading>(figure, 1, size_of::<Reading>()))
    }));
    plans.push(Plan::new("pipe", "pipe, 8 B", |name| {
        let figure = Figure::rate(name, "messages/s");
        // A pipe each time: an end is for one process.
        let fresh = rate(|n| crew::processes(&Ends::<u64>::new()?, 1, n));
        let figure = figure.case(Side::Ours, "Connection", fresh);
        let figure = between_processes(figure, Side::Limit, "bare SPSC ring", 1, Ring::new(8, Order::Single)?);
        let figure = between_processes(figure, Side::C, "pipe(2)", 1, Descriptors::pipe(8)?);
        let figure = between_processes(figure, Side::C, "SEQPACKET pair", 1, Packets::new(8)?);
        Ok(python::add(figure, &[("pipe", "Python Pipe")]))
    }));
    plans.push(Plan::new("queue", "round trip, busy", |name| round_trip(name, Duration::ZERO)));
    plans.push(Plan::new("queue", "round trip, asleep", |name| round_trip(name, PAUSE)));
    plans.push(Plan::new("queue", "round trip, one CPU", |name| {
        crew::stay_here()?;
        round_trip(name, Duration::ZERO)
    }));
    plans.push(Plan::new("queue", "CPU of a round trip, asleep", cpu_of_round_trip));
    plans
}

fn messages(name: String, len: usize, n_each_side: u64) -> io::Result<Figure> {
    let (mut figure, step) = (Figure::rate(name, "messages/s"), step(len));
    if len == 8 {
        figure = between_processes(figure, Side::Ours, "Queue", n_each_side, Values::<u64>(Queue::new(CAPACITY)?));
        if n_each_side == 1 {
            figure = between_processes(figure, Side::Ours, "put_many/get_many", 1, Batches::<u64>::new()?);
        }
    } else {
        figure = in_steps(figure, Side::Ours, "Queue", n_each_side, step, Bytes::new(len)?);
    }
    if len >= 1 << 20 && n_each_side == 1 {
        let Bytes(queue, _) = Bytes::new(len)?;
        figure = in_steps(figure, Side::Ours, "Queue, loan", 1, step, Loans(queue, len));
        figure = figure.case(Side::Limit, "memcpy", {
            let (from, mut to) = (vec![1_u8; len], vec![0_u8; len]);
            rate_in(step, move |n| {
                let begun = std::time::Instant::now();
                (0..n).for_each(|_| std::hint::black_box(&mut to).copy_from_slice(std::hint::black_box(&from)));
                Ok(begun.elapsed().as_secs_f64())
            })
        });
    }
    if len == 8 {
        figure = between_processes(figure, Side::Limit, "bare MPMC ring", n_each_side, Slots::new()?);
    } else if len <= 1 << 20 {
        figure = between_processes(figure, Side::Limit, "bare MPMC ring", n_each_side, Ring::new(len, Order::Many)?);
    }
    figure = match len {
        8 => between_threads::<u64>(figure, n_each_side, len),
        256 => between_threads::<[u8; 256]>(figure, n_each_side, len),
        _ => between_threads::<Vec<u8>>(figure, n_each_side, len),
    };
    if n_each_side == 1 {
        let by_ipc_channel = rate_in(step, move |n| ipc_channel::messages(len, n));
        figure = figure.case(Side::Rust, "ipc-channel, bytes", by_ipc_channel);
        if len <= 1 << 20 {
            figure = figure.case(Side::Rust, "iceoryx2", rate_in(step, move |n| iceoryx2::messages(len, n)));
        }
    }
    if len <= 4096 || n_each_side == 1 {
        figure = in_steps(figure, Side::C, "pipe(2)", n_each_side, step, Descriptors::pipe(len)?);
    }
    if len <= 4096 {
        figure = between_processes(figure, Side::C, "SEQPACKET pair", n_each_side, Packets::new(len)?);
        figure = match PosixMq::new(len) {
            Ok(queue) => between_processes(figure, Side::C, "POSIX mq", n_each_side, queue),
            Err(e) => {
                eprintln!("    no POSIX mq: {e}");
                figure
            }
        };
    }
    if len <= 1 << 20 {
        figure = figure.case(Side::C, "boost message_queue", rate(move |n| boost::messages(len, n_each_side, n)));
    }
    if len == 8 && n_each_side == 1 {
        figure = python::add(figure, &[("queue", "Python Queue"), ("simple_queue", "Python SimpleQueue")]);
        figure = python::add(figure, &[("billiard_queue", "billiard Queue")]);
    }
    Ok(figure)
}

fn round_trip(name: String, pause: Duration) -> io::Result<Figure> {
    fn processes<L>(figure: Figure, side: Side, name: &str, pause: Duration, there: L, back: L) -> Figure
    where
        L: Lane + Serialize + DeserializeOwned + 'static,
    {
        figure.case(side, name, move |length| crew::round_trip_processes(&there, &back, n_trips(length, pause), pause))
    }
    let n = Values::<u64>(Queue::new(CAPACITY)?);
    let figure =
        processes(Figure::cost(name, "µs"), Side::Ours, "Queue", pause, n, Values::<u64>(Queue::new(CAPACITY)?));
    let figure = figure.case(Side::Ours, "Connection", move |length| {
        crew::round_trip_processes(&Ends::<u64>::new()?, &Ends::<u64>::new()?, n_trips(length, pause), pause)
    });
    let pipe = || Descriptors::pipe(8);
    let (a, b) = (crossbeam::<u64>(8, CAPACITY), crossbeam::<u64>(8, CAPACITY));
    let (sender, receiver) = kanal::bounded(CAPACITY);
    let c = Kanal::<u64>(sender, receiver, 8);
    let (sender, receiver) = kanal::bounded(CAPACITY);
    let d = Kanal::<u64>(sender, receiver, 8);
    let mut figure = processes(figure, Side::C, "pipe(2)", pause, pipe()?, pipe()?)
        .case(Side::Rust, "crossbeam (threads)", move |length| {
            Ok(crew::round_trip_threads(&a, &b, n_trips(length, pause), pause))
        })
        .case(Side::Rust, "kanal (threads)", move |length| {
            Ok(crew::round_trip_threads(&c, &d, n_trips(length, pause), pause))
        });
    figure = processes(figure, Side::Limit, "raw futex", pause, FutexWord::new()?, FutexWord::new()?);
    if let (Ok(there), Ok(back)) = (PosixMq::new(8), PosixMq::new(8)) {
        figure = processes(figure, Side::C, "POSIX mq", pause, there, back);
    }
    figure = figure.case(Side::Rust, "ipc-channel", move |length| {
        ipc_channel::round_trip(n_trips(length, pause.max(Duration::from_micros(10))), pause)
    });
    if pause.is_zero() {
        figure = figure.case(Side::Rust, "iceoryx2", move |length| iceoryx2::round_trip(n_trips(length, pause)));
        figure = processes(figure, Side::Limit, "bare MPMC ring", pause, Slots::new()?, Slots::new()?);
        figure = python::add(figure, &[("round_trip", "Python Pipe"), ("queue_round_trip", "Python Queue")]);
    }
    Ok(figure)
}

/// What both sides use of the processors: those who wait for somebody slow are not to spin.
fn cpu_of_round_trip(name: String) -> io::Result<Figure> {
    fn add<L>(figure: Figure, side: Side, name: &str, make: impl Fn() -> io::Result<L> + 'static) -> Figure
    where
        L: Lane + Serialize + DeserializeOwned + 'static,
    {
        figure.case(side, name, move |length| {
            let (n, before) = (n_trips(length, PAUSE), cpu_time()?);
            crew::round_trip_processes(&make()?, &make()?, n, PAUSE)?;
            Ok((cpu_time()? - before).as_secs_f64() * 1e6 / n as f64)
        })
    }
    let figure = add(Figure::cost(name, "µs"), Side::Ours, "Queue", || Ok(Values::<u64>(Queue::new(CAPACITY)?)));
    let figure = add(figure, Side::Ours, "Connection", Ends::<u64>::new);
    let figure = add(figure, Side::Limit, "raw futex", FutexWord::new);
    Ok(add(figure, Side::C, "pipe(2)", || Descriptors::pipe(8)))
}

/// Of this process, and of its children that have been waited for.
fn cpu_time() -> io::Result<Duration> {
    let of = |who| {
        let usage = getrusage(who)?;
        let time = usage.user_time() + usage.system_time();
        Ok::<_, io::Error>(Duration::from_micros(time.num_microseconds().cast_unsigned()))
    };
    Ok(of(UsageWho::RUSAGE_SELF)? + of(UsageWho::RUSAGE_CHILDREN)?)
}

fn n_trips(length: Duration, pause: Duration) -> u64 {
    let each = if pause.is_zero() { Duration::from_micros(5) } else { pause + Duration::from_micros(150) };
    (length.as_nanos() / each.as_nanos()).max(10) as u64
}
