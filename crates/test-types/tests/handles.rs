//! Handles arrive wherever values do: each kind of handle by each path, as a table (`--nocapture` shows it). What cannot
//! travel is refused by name. A program of its own: what the compiler makes of so many types would be in the way of tests
//! under a memory limit.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fmt::Write as _,
    io::{Read, Write as _},
    os::{fd::AsFd, unix::net::UnixStream},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use ipc::{
    Array, Client, Connection, Counter, Dict, JoinableQueue, List, Listener, Manager, Namespace, Proxy, Queue,
    RawArray, RawValue, Receiver, Row, Rows, Sender, Value,
    queue::{Consumer, Producer},
};
use pool::{ProcessPool, TaskError};
use proc_core::{
    Process,
    handover::Fd,
    shm::{Shared, SharedMemory},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sync::process::{Barrier, BoundedSemaphore, Condvar, Event, Lock, RLock, RwLock, Semaphore};
use test_support::watchdog;

const PATIENCE: Duration = Duration::from_secs(120);

/// What goes by a path.
trait Travels: Serialize + DeserializeOwned + Send + Sized + 'static {}

impl<T: Serialize + DeserializeOwned + Send + 'static> Travels for T {}

/// A handle, and how it is found out that what has arrived is the same thing.
trait Handle: Travels {
    /// What stays with the test.
    type Other;

    fn make() -> (Self, Self::Other);

    /// To be called with what has arrived.
    fn check(self, other: Self::Other);
}

fn pass<H: Travels>(handle: H) -> H {
    handle
}

fn put<H: Travels>(queue: Queue<H>, handle: H) {
    queue.put(handle).map_err(|e| e.to_string()).unwrap();
}

fn put_joinable<H: Travels>(queue: JoinableQueue<H>, handle: H) {
    queue.put(handle).map_err(|e| e.to_string()).unwrap();
}

fn send<H: Travels>(connection: Connection<H>, handle: H) {
    connection.send(&handle).unwrap();
}

fn put_half<H: Travels>(queue: Producer<H>, handle: H) {
    queue.put(handle).map_err(|e| e.to_string()).unwrap();
}

/// A handle with others, where a value may have some or none.
#[derive(Serialize, Deserialize)]
struct Inside<H> {
    number: u64,
    handle: Option<H>,
}

/// From a process that has ended.
fn by_queue<H: Travels>(handle: H) -> Result<H, String> {
    let queue = Queue::new(1).map_err(text)?;
    Process::spawn(put::<H>, (queue.clone(), handle)).and_then(Process::join).map_err(text)?;
    queue.get().map_err(text)
}

type Path<H> = (&'static str, fn(H) -> Result<H, String>);

fn paths<H: Travels>() -> Vec<Path<H>> {
    vec![
        ("a process's argument and value", |h| Process::spawn(pass::<H>, (h,)).and_then(Process::join).map_err(text)),
        ("a pool's argument and result", |h| ProcessPool::new(1).map_err(text)?.apply(pass::<H>, (h,)).map_err(text)),
        ("a map's item and result", |h| {
            ProcessPool::new(1).map_err(text)?.map(pass::<H>, [h]).map(|mut all| all.remove(0)).map_err(text)
        }),
        ("a stream's item and result", |h| {
            ProcessPool::new(1).map_err(text)?.imap(pass::<H>, [h]).next().expect("there is one").map_err(text)
        }),
        ("a pipe", |h| {
            let (here, there) = ipc::pipe().map_err(text)?;
            Process::spawn(send::<H>, (there, h)).and_then(Process::join).map_err(text)?;
            here.recv().map_err(text)
        }),
        ("a queue, from a process that has ended", by_queue),
        ("a joinable queue, from a process that has ended", |h| {
            let queue = JoinableQueue::new(1).map_err(text)?;
            Process::spawn(put_joinable::<H>, (queue.clone(), h)).and_then(Process::join).map_err(text)?;
            queue.get().map(|item| item.into_inner()).map_err(text)
        }),
        ("an unordered stream's item and result", |h| {
            ProcessPool::new(1)
                .map_err(text)?
                .imap_unordered(pass::<H>, [h])
                .next()
                .expect("there is one")
                .map_err(text)
        }),
        ("an initializer's argument", |h| {
            let (sender, receiver) = ipc::channel().map_err(text)?;
            let keep = |handle: H, sender: Sender<H>| sender.send(&handle).unwrap();
            let builder = ProcessPool::builder().workers(1).initializer(keep, (h, sender));
            let _pool = builder.build().map_err(text)?;
            receiver.recv().map_err(text)
        }),
        ("a field of a struct", |h| {
            let inside = Inside { number: 7, handle: Some(h) };
            let there =
                ProcessPool::new(1).map_err(text)?.apply(|inside: Inside<H>| inside, (inside,)).map_err(text)?;
            assert_eq!(there.number, 7);
            there.handle.ok_or("it is not there".into())
        }),
        ("a queue's halves", |h| {
            let (producer, consumer) = Queue::new(1).and_then(Queue::split).map_err(text)?;
            Process::spawn(put_half::<H>, (producer, h)).and_then(Process::join).map_err(text)?;
            consumer.get().map_err(text)
        }),
        ("a listener's connection", |h| {
            let (there, here) = connections::<H>();
            Process::spawn(send::<H>, (there, h)).and_then(Process::join).map_err(text)?;
            here.recv().map_err(text)
        }),
        ("a manager's object", |h| {
            let place = Manager::new().map_err(text)?.create_with(|| None::<H>, ()).map_err(text)?;
            place.call(|place: &mut Option<H>, h: H| *place = Some(h), (h,)).map_err(text)?;
            place.call(|place: &mut Option<H>| place.take(), ()).map_err(text)?.ok_or("it is not there".into())
        }),
    ]
}

/// For those of which there can be two.
fn paths_of_clones<H: Travels + Clone>() -> Vec<Path<H>> {
    vec![
        ("a manager's dict", |h| {
            let dict = Manager::new().map_err(text)?.dict::<u32, H>().map_err(text)?;
            dict.insert(1, h).map_err(text)?;
            let got = dict.get(1).map_err(text)?.ok_or("it is not there".into());
            dict.clear().map_err(text).and(got)
        }),
        ("a manager's list", |h| {
            let list = Manager::new().map_err(text)?.list::<H>().map_err(text)?;
            list.push(h).map_err(text)?;
            list.pop().map_err(text)?.ok_or("it is not there".into())
        }),
        ("a manager's namespace", |h| {
            let namespace = Manager::new().map_err(text)?.namespace().map_err(text)?;
            namespace.set("h", &h).map_err(text)?;
            drop(h);
            let got = namespace.get("h").map_err(text)?.ok_or("it is not there".into());
            namespace.remove("h").map_err(text).and(got)
        }),
    ]
}

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

/// The cells that are not as they must be.
#[derive(Default)]
struct Wrong(String);

/// Adds the rows of these kinds to the table: by each of the paths the handle works where it has arrived.
fn rows<H: Travels>(kinds: &[Kind<H>], paths: &[Path<H>], wrong: &mut Wrong) {
    for Kind { name, make } in kinds {
        for (path, travel) in paths {
            let travelled = catch_unwind(AssertUnwindSafe(|| {
                let (handle, check) = make();
                travel(handle).map(check)
            }));
            let cell = match &travelled {
                Ok(Ok(())) => "works",
                Ok(Err(why)) => &format!("refused: {why}"),
                Err(_) => "is another thing",
            };
            println!("{name:20} {path:45} {cell}");
            if cell != "works" {
                writeln!(wrong.0, "{name} by {path}: {cell}").unwrap();
            }
        }
    }
}

/// A place where no handle can travel, what of its name a refusal must say, and the attempt.
type DeadEnd<H> = (&'static str, &'static str, fn(H) -> Result<(), String>);

fn dead_ends<H: Handle>() -> Vec<DeadEnd<H>> {
    vec![
        ("text", "serde_json", |h| serde_json::to_string(&h).map(drop).map_err(text)),
        ("text, in an option", "serde_json", |h| serde_json::to_value(Some(h)).map(drop).map_err(text)),
    ]
}

/// Adds the cells of the places where it cannot travel: it is refused, by its name, and told where it can.
fn refused<H: Handle>(name: &str, wrong: &mut Wrong) {
    for (path, place, travel) in dead_ends::<H>() {
        let (handle, _other) = H::make();
        let cell = match travel(handle) {
            Ok(()) => "is lost".into(),
            Err(why) => format!("refused: {why}"),
        };
        println!("{name:20} {path:45} {cell}");
        let ways_out = ["process", "task", "queue", "pipe", "manager"];
        let says = |what: &str| cell.starts_with("refused: ") && cell.contains(what);
        if !says(innermost::<H>()) || !says(place) || !ways_out.iter().all(|way| says(way)) {
            writeln!(wrong.0, "{name} by {path}: {cell}").unwrap();
        }
    }
}

/// The type's name, without its path and parameters.
fn innermost<H>() -> &'static str {
    let name = std::any::type_name::<H>();
    let name = name.split('<').next().unwrap_or(name);
    name.rsplit("::").next().unwrap_or(name)
}

macro_rules! handle {
    ($type:ty, $make:expr, $check:expr) => {
        handle!($type => $type, $make, $check);
    };
    ($type:ty => $other:ty, $make:expr, $check:expr) => {
        impl Handle for $type {
            type Other = $other;

            fn make() -> (Self, $other) {
                let make: fn() -> (Self, $other) = $make;
                make()
            }

            fn check(self, other: $other) {
                let check: fn(Self, $other) = $check;
                check(self, other);
            }
        }
    };
}

fn inode(fd: &impl AsFd) -> u64 {
    nix::sys::stat::fstat(fd).unwrap().st_ino
}

/// The same thing twice.
fn twice<T: Clone>(handle: T) -> (T, T) {
    (handle.clone(), handle)
}

handle!(Queue<u32>, || twice(Queue::new(3).unwrap()), |there, here| {
    there.put(7).unwrap();
    assert_eq!(here.try_get().unwrap(), 7);
});
handle!(JoinableQueue<u32>, || twice(JoinableQueue::new(3).unwrap()), |there, here| {
    there.put(7).unwrap();
    here.try_get().unwrap().task_done();
    there.join().unwrap();
});
handle!(Sender<u32> => Receiver<u32>, || ipc::channel().unwrap(), |there, here| {
    there.send(&7).unwrap();
    assert_eq!(here.recv().unwrap(), 7);
    drop(there);
    here.recv().unwrap_err();
});
handle!(
    Receiver<u32> => Sender<u32>,
    || {
        let (here, there) = ipc::channel().unwrap();
        (there, here)
    },
    |there, here| {
        here.send(&7).unwrap();
        assert_eq!(there.recv().unwrap(), 7);
        drop(here);
        there.recv().unwrap_err();
    }
);
handle!(Connection<u32>, || ipc::pipe().unwrap(), |there, here| {
    there.send(&7).unwrap();
    assert_eq!(here.recv().unwrap(), 7);
    here.send(&8).unwrap();
    assert_eq!(there.recv().unwrap(), 8);
    drop(there);
    here.recv().unwrap_err();
});
/// A listener's end and its client's.
fn connections<T: Send + 'static>() -> (Connection<T>, Connection<T>) {
    static N: AtomicU32 = AtomicU32::new(0);
    let name = format!("\0ipc-handles-{}-{}", std::process::id(), N.fetch_add(1, Relaxed));
    let listener = Listener::<T>::bind(name.as_str()).unwrap();
    let address = listener.address().clone();
    let there = std::thread::spawn(move || Client::connect::<T>(address).unwrap());
    let accepted = listener.accept().unwrap();
    (accepted, there.join().unwrap())
}
handle!(
    Connection<String> => Connection<String>,
    connections,
    |there, here| {
        there.send(&"seven".into()).unwrap();
        assert_eq!(here.recv().unwrap(), "seven");
        drop(there);
        here.recv().unwrap_err();
    }
);
handle!(SharedMemory, || twice(SharedMemory::new(8).unwrap()), |there, here| {
    assert!(there.len() == here.len() && inode(&there) == inode(&here));
});
handle!(Value<u32>, || twice(Value::new(6).unwrap()), |there, here| {
    there.set(7);
    assert_eq!(here.get(), 7);
});
handle!(Array<u32>, || twice(Array::new(2).unwrap()), |there, here| {
    there.set(1, 7);
    assert_eq!(here.get(1), 7);
});
handle!(RawValue<u32>, || twice(RawValue::new(6).unwrap()), |there, here| {
    there.set(7);
    assert_eq!(here.get(), 7);
});
handle!(RawArray<u32>, || twice(RawArray::new(2).unwrap()), |there, here| {
    there.set(1, 7);
    assert_eq!(here.get(1), 7);
});
handle!(Rows<u32>, || twice(Array::new(6).unwrap().split_rows(3).unwrap()), |there, here| {
    there.row(1).lock().unwrap()[2] = 7;
    assert_eq!(here.to_vec()[5], 7);
});
handle!(
    Row<u32> => Rows<u32>,
    || {
        let rows = Array::new(6).unwrap().split_rows(3).unwrap();
        (rows.row(1), rows)
    },
    |there, here| {
        there.lock().unwrap()[2] = 7;
        assert_eq!(here.to_vec()[5], 7);
    }
);
handle!(Shared<AtomicU32>, || twice(Shared::new(AtomicU32::new(6)).unwrap()), |there, here| {
    there.store(7, Relaxed);
    assert_eq!(here.load(Relaxed), 7);
});
handle!(
    Producer<u32> => Consumer<u32>,
    || Queue::new(3).unwrap().split().unwrap(),
    |there, here| {
        there.put(7).unwrap();
        assert_eq!(here.get().unwrap(), 7);
        drop(there);
        here.get().unwrap_err();
    }
);
handle!(
    Consumer<u32> => Producer<u32>,
    || {
        let (here, there) = Queue::new(3).unwrap().split().unwrap();
        (there, here)
    },
    |there, here| {
        here.put(7).unwrap();
        assert_eq!(there.get().unwrap(), 7);
        drop(there);
        // A manager may have a copy for a moment. At the latest when the queue is full, this waits until nobody has.
        while here.put(8).is_ok() {}
    }
);
handle!(Lock<u32>, || twice(Lock::new(6).unwrap()), |there, here| {
    *there.lock().unwrap() = 7;
    assert_eq!(*here.lock().unwrap(), 7);
});
handle!(RLock<u32>, || twice(RLock::new(6).unwrap()), |there, here| {
    let _held = there.lock().unwrap();
    assert!(here.is_locked());
});
handle!(RwLock<u32>, || twice(RwLock::new(6).unwrap()), |there, here| {
    *there.write().unwrap() = 7;
    assert_eq!(*here.read().unwrap(), 7);
});
handle!(Event, || twice(Event::new().unwrap()), |there, here| {
    there.set();
    assert!(here.is_set());
});
handle!(Semaphore, || twice(Semaphore::new(1).unwrap()), |there, here| {
    there.try_acquire().unwrap().forget();
    assert_eq!(here.permits(), 0);
});
handle!(BoundedSemaphore, || twice(BoundedSemaphore::new(1).unwrap()), |there, here| {
    there.try_acquire().unwrap().forget();
    assert_eq!(here.permits(), 0);
});
handle!(Barrier, || twice(Barrier::new(2).unwrap()), |there, here| {
    there.abort();
    assert!(here.is_broken());
});
handle!(Condvar, || twice(Condvar::new().unwrap()), |there, here| {
    let lock = Lock::new(0_u8).unwrap();
    let seen = lock.clone();
    let waiter = std::thread::spawn(move || *here.wait_while(seen.lock().unwrap(), |seen| *seen == 0).unwrap());
    *lock.lock().unwrap() = 1;
    there.notify_all();
    assert_eq!(waiter.join().unwrap(), 1);
});
handle!(
    Fd => UnixStream,
    || {
        let (here, there) = UnixStream::pair().unwrap();
        (there.into(), here)
    },
    |there, mut here| {
        UnixStream::from(there.0).write_all(b"7").unwrap();
        let mut read = String::new();
        here.read_to_string(&mut read).unwrap();
        assert_eq!(read, "7");
    }
);
handle!(Manager, || twice(Manager::new().unwrap()), |there, _here| {
    assert_eq!(there.counter(7).unwrap().get().unwrap(), 7);
});
handle!(Proxy<u32>, || twice(Manager::new().unwrap().create(6).unwrap()), |there, here| {
    there.call(|n: &mut u32| *n = 7, ()).unwrap();
    assert_eq!(here.get().unwrap(), 7);
});
handle!(Dict<u32, u32>, || twice(Manager::new().unwrap().dict().unwrap()), |there, here| {
    there.insert(1, 7).unwrap();
    assert_eq!(here.get(1).unwrap(), Some(7));
});
handle!(List<u32>, || twice(Manager::new().unwrap().list().unwrap()), |there, here| {
    there.push(7).unwrap();
    assert_eq!(here.to_vec().unwrap(), [7]);
});
handle!(Counter, || twice(Manager::new().unwrap().counter(6).unwrap()), |there, here| {
    there.increment().unwrap();
    assert_eq!(here.get().unwrap(), 7);
});
handle!(Namespace, || twice(Manager::new().unwrap().namespace().unwrap()), |there, here| {
    there.set("n", &7).unwrap();
    assert_eq!(here.get::<i32>("n").unwrap(), Some(7));
});

/// How one kind of handle is made, and how it is checked where it has arrived.
struct Kind<H> {
    name: &'static str,
    make: fn() -> (H, Check<H>),
}

/// Looks at what has arrived.
type Check<H> = Box<dyn FnOnce(H)>;

impl<H: Handle> Kind<H> {
    /// The handle as it is.
    const fn alone(name: &'static str) -> Self {
        let make = || {
            let (handle, other) = H::make();
            (handle, Box::new(move |arrived: H| arrived.check(other)) as Check<H>)
        };
        Self { name, make }
    }
}

/// An enum of kinds of handles, for which each path is compiled once: for each kind by itself, the compiler takes as long as
/// for all other tests of pools.
macro_rules! any_of {
    ($(#[$attribute:meta])* $any:ident: $($variant:ident($type:ty),)*) => {
        $(#[$attribute])*
        #[derive(Serialize, Deserialize)]
        enum $any {
            $($variant($type),)*
        }

        impl $any {
            fn kinds() -> Vec<Kind<Self>> {
                vec![$(Kind {
                    name: stringify!($type),
                    make: || {
                        let (handle, other) = <$type>::make();
                        let check = |arrived| match arrived {
                            Self::$variant(handle) => handle.check(other),
                            _ => panic!("another kind of handle has arrived"),
                        };
                        (Self::$variant(handle), Box::new(check))
                    },
                }),*]
            }

            /// Each kind without the enum: by one path, and where none can travel.
            fn each_alone(wrong: &mut Wrong) {
                $(
                    let from_a_queue: Path<$type> = ("a queue, alone", by_queue);
                    rows(&[Kind::<$type>::alone(stringify!($type))], &[from_a_queue], wrong);
                    refused::<$type>(stringify!($type), wrong);
                )*
            }
        }
    };
}

any_of! {
    /// Of which there is one only.
    Single:
    Accepted(Connection<String>),
    Fd(Fd),
    RawValue(RawValue<u32>),
    RawArray(RawArray<u32>),
}

any_of! {
    /// Of which there can be two.
    #[derive(Clone)]
    Cloned:
    Queue(Queue<u32>),
    Producer(Producer<u32>),
    Consumer(Consumer<u32>),
    JoinableQueue(JoinableQueue<u32>),
    Sender(Sender<u32>),
    Receiver(Receiver<u32>),
    Connection(Connection<u32>),
    SharedMemory(SharedMemory),
    Shared(Shared<AtomicU32>),
    Value(Value<u32>),
    Array(Array<u32>),
    Rows(Rows<u32>),
    Row(Row<u32>),
    Lock(Lock<u32>),
    RLock(RLock<u32>),
    RwLock(RwLock<u32>),
    Event(Event),
    Semaphore(Semaphore),
    BoundedSemaphore(BoundedSemaphore),
    Barrier(Barrier),
    Condvar(Condvar),
    Manager(Manager),
    Proxy(Proxy<u32>),
    Dict(Dict<u32, u32>),
    List(List<u32>),
    Counter(Counter),
    Namespace(Namespace),
}

#[test]
fn every_handle_arrives_by_every_path() {
    let _dog = watchdog(PATIENCE);
    let mut wrong = Wrong::default();
    rows(&Single::kinds(), &paths(), &mut wrong);
    rows(&Cloned::kinds(), &paths(), &mut wrong);
    rows(&Cloned::kinds(), &paths_of_clones(), &mut wrong);
    Single::each_alone(&mut wrong);
    Cloned::each_alone(&mut wrong);
    assert!(wrong.0.is_empty(), "{}", wrong.0);
}

fn n_open() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn a_task_that_is_tried_again_has_its_handles_again() {
    fn fragile(sender: Sender<u32>, tries: Value<u32>) {
        if tries.fetch_add(1) == 0 {
            std::process::abort();
        }
        sender.send(&7).unwrap();
    }
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::builder().workers(1).retries(1).build().unwrap();
    let (sender, receiver) = ipc::channel().unwrap();
    pool.apply(fragile, (sender, Value::new(0).unwrap())).unwrap();
    assert_eq!(receiver.recv().unwrap(), 7);
    assert!(receiver.recv().is_err(), "nobody has the sender any more");
}

#[test]
fn a_cancelled_task_lets_go_of_its_handles() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::new(1).unwrap();
    let gate = Event::new().unwrap();
    let busy = pool.apply_async(|gate: Event| gate.wait().unwrap(), (gate.clone(),));
    let (sender, receiver) = ipc::channel::<u32>().unwrap();
    let task = pool.apply_async(|sender: Sender<u32>| sender.send(&7).unwrap(), (sender,));
    assert!(task.cancel());
    gate.set();
    assert!(busy.get().unwrap());
    // The next task with handles takes along what was left behind.
    assert!(pool.apply(|event: Event| event.is_set(), (gate,)).unwrap());
    drop(task);
    assert!(receiver.recv().is_err(), "nobody has the sender any more");
}

#[test]
fn more_handles_than_a_socket_holds() {
    fn count(pool: &ProcessPool, n: usize) {
        let (gate, semaphore) = (Event::new().unwrap(), Semaphore::new(0).unwrap());
        let busy = pool.apply_async(|gate: Event| gate.wait().unwrap(), (gate.clone(),));
        let release = |semaphore: Semaphore| semaphore.release(1).unwrap();
        let tasks: Vec<_> = (0..n).map(|_| pool.apply_async(release, (semaphore.clone(),))).collect();
        gate.set();
        assert!(busy.get().unwrap());
        tasks.iter().for_each(|task| task.get().unwrap());
        pool.map(release, vec![semaphore.clone(); n]).unwrap();
        let same = pool.map(pass::<Semaphore>, vec![semaphore; n]).unwrap();
        assert_eq!((same.len(), same[n - 1].permits() as usize), (n, 2 * n));
    }
    let _dog = watchdog(PATIENCE);
    // In a process of its own: descriptors are counted.
    let counted = Process::spawn(
        || {
            count(&ProcessPool::new(1).unwrap(), 1);
            let before = n_open();
            [1, 2].into_iter().for_each(|n| count(&ProcessPool::new(n).unwrap(), 400));
            // A dropped pool's workers are let go of in the background. What is never let go of ends by the watchdog.
            while n_open() > before {
                std::thread::yield_now();
            }
        },
        (),
    );
    counted.unwrap().join().unwrap();
}

#[test]
fn what_is_too_much_for_a_result_is_said() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::new(1).unwrap();
    let events = || (0..300).map(|_| Event::new().unwrap()).collect::<Vec<_>>();
    let refused = pool.apply(events, ());
    assert!(matches!(&refused, Err(TaskError::Encode(why)) if why.contains("253")), "{refused:?}");
    assert_eq!(pool.apply(|events: Vec<Event>| events.len(), (events(),)).unwrap(), 300);
}
