//! Handles in queues: nothing is lost, taken for another, or left behind, whoever is killed.

use std::{
    io::{PipeReader, Read, pipe},
    sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst},
    time::{Duration, Instant},
};

use ipc::{
    GetTimeoutError, JoinableQueue, PutError, PutTimeoutError, Queue, Receiver, Sender, TryPutError, Value, channel,
};
use proc_core::{Process, Resource, handover::Fd, shm::Shared};
use serde::{Deserialize, Serialize};
use test_support::watchdog;

const LIMIT: Duration = Duration::from_secs(120);
const N: usize = 20_000;

/// A message, its handle, which says the message's number, and another one that is everybody's.
#[derive(Serialize, Deserialize)]
struct Message(u64, Value<u64>, Fd);

impl Message {
    fn new(n: u64, witness: &Fd) -> Self {
        Self(n, Value::new(n).unwrap(), Fd(witness.0.try_clone().unwrap()))
    }
}

#[repr(C)]
struct Ledger {
    next: AtomicU64,
    wrong: AtomicU32,
    stop: AtomicU32,
    put: [AtomicU32; N],
    got: [AtomicU32; N],
}

#[allow(unsafe_code)]
// SAFETY: made of atomics.
unsafe impl proc_core::shm::ShmSafe for Ledger {}

impl Ledger {
    fn next(&self) -> Option<u64> {
        let n = self.next.fetch_add(1, SeqCst);
        (self.stop.load(SeqCst) == 0 && n < N as u64).then_some(n)
    }
}

trait Kind: Serialize + for<'de> Deserialize<'de> + Clone + Send + 'static {
    fn put(&self, message: Message, ledger: &Ledger);

    /// Takes a message and notes it; false if there is none for a while.
    fn take(&self, ledger: &Ledger) -> bool;
}

const A_WHILE: Duration = Duration::from_millis(700);

impl Kind for Queue<Message> {
    fn put(&self, message: Message, ledger: &Ledger) {
        let n = message.0 as usize;
        self.put(message).unwrap();
        ledger.put[n].store(1, SeqCst);
    }

    fn take(&self, ledger: &Ledger) -> bool {
        match self.get_timeout(A_WHILE) {
            Ok(message) => note(&message, ledger),
            Err(GetTimeoutError::TimedOut) => return false,
            Err(e) => panic!("{e}"),
        }
        true
    }
}

impl Kind for JoinableQueue<Message> {
    fn put(&self, message: Message, ledger: &Ledger) {
        let n = message.0 as usize;
        self.put(message).unwrap();
        ledger.put[n].store(1, SeqCst);
    }

    fn take(&self, ledger: &Ledger) -> bool {
        match self.get_timeout(A_WHILE) {
            Ok(item) => {
                note(&item, ledger);
                item.task_done();
            }
            Err(GetTimeoutError::TimedOut) => return false,
            Err(e) => panic!("{e}"),
        }
        true
    }
}

fn note(message: &Message, ledger: &Ledger) {
    ledger.wrong.fetch_add(u32::from(message.1.get() != message.0), SeqCst);
    ledger.got[message.0 as usize].fetch_add(1, SeqCst);
}

fn put_all<Q: Kind>(queue: Q, ledger: Shared<Ledger>, witness: Fd) {
    while let Some(n) = ledger.next() {
        queue.put(Message::new(n, &witness), &ledger);
    }
}

fn take_all<Q: Kind>(queue: Q, ledger: Shared<Ledger>) {
    while queue.take(&ledger) || ledger.stop.load(SeqCst) == 0 {}
}

/// Has processes put and take for a while, and kills one after another. How many of the takers were killed.
fn storm<Q: Kind>(queue: &Q, ledger: &Shared<Ledger>, witness: &Fd) -> usize {
    let putter = || {
        let witness = Fd(witness.0.try_clone().unwrap());
        crate::spawn(put_all::<Q>, (queue.clone(), ledger.clone(), witness)).unwrap()
    };
    let taker = || crate::spawn(take_all::<Q>, (queue.clone(), ledger.clone())).unwrap();
    let (mut putters, mut takers) = ([putter(), putter()], [taker(), taker()]);
    let end = Instant::now() + Duration::from_secs(6);
    let (mut n_killed, mut random) = (0, 1_u64);
    while Instant::now() < end {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        std::thread::sleep(Duration::from_micros(random >> 50));
        let which = (random >> 40) as usize % 4;
        if which < 2 {
            putters[which].kill().unwrap();
            std::mem::replace(&mut putters[which], putter()).join().unwrap_err();
        } else {
            n_killed += 1;
            takers[which - 2].kill().unwrap();
            std::mem::replace(&mut takers[which - 2], taker()).join().unwrap_err();
        }
    }
    ledger.stop.store(1, SeqCst);
    putters.into_iter().for_each(|putter| putter.join().unwrap());
    takers.into_iter().for_each(|taker| taker.join().unwrap());
    while queue.take(ledger) {}
    assert_eq!(ledger.wrong.load(SeqCst), 0);
    n_killed
}

/// The end of a pipe of which every message has a copy of the other end: it has ended once no message is left anywhere.
fn witness() -> (PipeReader, Fd) {
    let (reader, writer) = pipe().unwrap();
    (reader, writer.into())
}

fn assert_nothing_is_left(mut reader: PipeReader, witness: Fd) {
    drop(witness);
    // Waits for ever, and has the watchdog bark, as long as a copy is somewhere.
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
}

fn n_of(ledger: &Ledger, is_meant: impl Fn(u32, u32) -> bool) -> usize {
    let all = ledger.put.iter().zip(&ledger.got);
    all.filter(|(put, got)| is_meant(put.load(SeqCst), got.load(SeqCst))).count()
}

fn ledger() -> Shared<Ledger> {
    let none = || [const { AtomicU32::new(0) }; N];
    let ledger =
        Ledger { next: AtomicU64::new(0), wrong: AtomicU32::new(0), stop: AtomicU32::new(0), put: none(), got: none() };
    Shared::new(ledger).unwrap()
}

#[test]
fn storm_of_putters_and_takers() {
    let _dog = watchdog(LIMIT);
    let (ledger, (reader, witness)) = (ledger(), witness());
    let queue = Queue::<Message>::new(16).unwrap();
    let n_killed = storm(&queue, &ledger, &witness);
    assert_eq!(n_of(&ledger, |_, got| got > 1), 0, "none comes twice");
    let n_lost = n_of(&ledger, |put, got| put == 1 && got == 0);
    assert!(n_lost <= n_killed, "{n_lost} are lost, with {n_killed} takers");
    assert!(n_of(&ledger, |_, got| got == 1) > 0);
    assert_nothing_is_left(reader, witness);
}

#[test]
fn storm_of_putters_and_holders() {
    let _dog = watchdog(LIMIT);
    let (ledger, (reader, witness)) = (ledger(), witness());
    let queue = JoinableQueue::<Message>::builder().maxsize(16).max_deliveries(255).build_joinable().unwrap();
    storm(&queue, &ledger, &witness);
    queue.join().unwrap();
    assert_eq!(n_of(&ledger, |put, got| put == 1 && got == 0), 0, "none is lost");
    assert!(n_of(&ledger, |_, got| got == 1) > 0);
    assert_nothing_is_left(reader, witness);
}

fn hold_and_die(queue: JoinableQueue<Sender<u32>>) {
    let _item = queue.get().unwrap();
    std::process::abort()
}

#[test]
fn an_item_that_comes_again_has_its_handles_again() {
    let _dog = watchdog(LIMIT);
    let queue = JoinableQueue::<Sender<u32>>::builder().max_deliveries(3).build_joinable().unwrap();
    let (sender, receiver) = channel().unwrap();
    queue.put(sender).unwrap();
    for n in 1..=2 {
        let item = queue.get().unwrap();
        item.send(&n).unwrap();
        assert_eq!((item.deliveries(), receiver.recv().unwrap()), (n as u8, n));
    }
    crate::spawn(hold_and_die, (queue.clone(),)).unwrap().join().unwrap_err();
    queue.join().unwrap();
    let letters = queue.dead_letters().unwrap();
    letters[0].send(&9).unwrap();
    assert_eq!(receiver.recv().unwrap(), 9);
    drop(letters);
    assert!(receiver.recv().is_err(), "nobody has the sender any more");
    assert!(queue.dead_letters().unwrap().is_empty());
}

#[test]
fn items_that_are_done_with_let_go_of_their_handles() {
    let _dog = watchdog(LIMIT);
    let queue = JoinableQueue::<Sender<u32>>::new(3).unwrap();
    let receivers: Vec<Receiver<u32>> = (0..3)
        .map(|_| {
            let (sender, receiver) = channel().unwrap();
            queue.put(sender).unwrap();
            receiver
        })
        .collect();
    let items: Vec<_> = (0..3).map(|_| queue.get().unwrap()).collect();
    items.into_iter().rev().for_each(|item| item.task_done());
    assert!(receivers.iter().all(|receiver| receiver.recv().is_err()));
}

#[test]
fn a_queue_in_itself_goes_with_its_last_user() {
    #[derive(Serialize, Deserialize)]
    struct Link(Option<Box<Queue<Link>>>, Fd);
    let _dog = watchdog(LIMIT);
    let (reader, witness) = witness();
    let queue = Queue::<Link>::new(2).unwrap();
    queue
        .put(Link(Some(Box::new(queue.clone())), Fd(witness.0.try_clone().unwrap())))
        .map_err(|e| e.to_string())
        .unwrap();
    drop(queue);
    assert_nothing_is_left(reader, witness);
}

#[test]
fn a_full_store_is_a_full_queue() {
    let _dog = watchdog(LIMIT);
    let queue = Queue::<Value<u32>>::new(0).unwrap();
    let value = Value::new(7).unwrap();
    let mut n = 0;
    let full = loop {
        match queue.try_put(value.clone()) {
            Ok(()) => n += 1,
            Err(full) => break full,
        }
    };
    assert!(matches!(full, TryPutError::Full(_)) && n >= 100, "{n}: {full:?}");
    let timed_out = queue.put_timeout(full.into_inner(), Duration::from_millis(50));
    assert!(matches!(timed_out, Err(PutTimeoutError::TimedOut(_))));
    let getter = crate::spawn(
        |queue: Queue<Value<u32>>, n: usize| (0..n).all(|_| queue.get().unwrap().get() == 7),
        (queue.clone(), n + 10),
    );
    (0..10).for_each(|_| queue.put(value.clone()).unwrap());
    assert!(getter.unwrap().join().unwrap());
    assert!(queue.is_empty());
}

#[test]
fn a_getter_without_descriptors_leaves_the_message() {
    fn get_without(queue: Queue<Sender<u32>>) -> bool {
        let n = queue.get();
        matches!(n, Err(ipc::GetError::System(_)))
    }
    let _dog = watchdog(LIMIT);
    let queue = Queue::new(3).unwrap();
    let (sender, receiver) = channel().unwrap();
    queue.put(sender).unwrap();
    let n = std::fs::read_dir("/proc/self/fd").unwrap().map(|fd| fd.unwrap().file_name().into_string().unwrap());
    let next = n.map(|name| name.parse::<u64>().unwrap()).max().unwrap() + 1;
    let getter = Process::builder().limit(Resource::OpenFiles, next.max(40)).spawn(
        |queue: Queue<Sender<u32>>| {
            let mut all = Vec::new();
            while let Ok(file) = std::fs::File::open("/dev/null") {
                all.push(file);
            }
            get_without(queue)
        },
        (queue.clone(),),
    );
    assert!(getter.unwrap().join().unwrap());
    queue.get().unwrap().send(&7).unwrap();
    assert_eq!(receiver.recv().unwrap(), 7);
}

#[test]
fn what_cannot_travel_is_given_back() {
    let _dog = watchdog(LIMIT);
    let queue = Queue::<Vec<Value<u8>>>::new(3).unwrap();
    let many = vec![Value::new(7).unwrap(); 254];
    let Err(PutError::Encode(many, why)) = queue.put(many) else { panic!("it is refused") };
    assert!(many.len() == 254 && why.to_string().contains("253"), "{why}");
    assert!(queue.is_empty());
}

#[test]
fn a_queue_that_was_made_for_no_handles_refuses_one_by_name() {
    let _dog = watchdog(LIMIT);
    let parcel = proc_core::handover::pack_owned(&Queue::<u64>::new(3).unwrap()).unwrap();
    let queue: Queue<Value<u8>> = parcel.unpack().unwrap();
    let Err(PutError::Encode(value, why)) = queue.put(Value::new(7).unwrap()) else { panic!("it is refused") };
    for part in [
        std::any::type_name::<Value<u8>>(),
        "made for messages without handles",
        "it can by one that was made for its type",
    ] {
        assert!(why.to_string().contains(part), "{why}");
    }
    assert_eq!(value.get(), 7);
    assert!(queue.is_empty());
}

#[test]
fn where_a_handle_cannot_travel_is_said_and_where_it_can() {
    let why = wire::encode_named(&Value::new(7).unwrap(), &mut Vec::new()).unwrap_err().to_string();
    for part in ["cannot travel by", "Encoder", "an argument or value of a process", "messages of queues and pipes"] {
        assert!(why.contains(part), "{why}");
    }
}
