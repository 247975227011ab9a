use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use ipc::{Array, Value, channel};
use proc_core::{handover, shm::SharedMemory};
use test_support::watchdog;

const LIMIT: Duration = Duration::from_secs(60);

fn add_up(value: Value<i64>, array: Array<u32>, n: u32) {
    for i in 0..n {
        value.fetch_add(1);
        array.update(i as usize % array.len(), |count| count + 1);
    }
}

#[test]
fn changes_of_several_processes_add_up() {
    let _dog = watchdog(LIMIT);
    let (value, array) = (Value::<i64>::new(0).unwrap(), Array::<u32>::new(10).unwrap());
    let children = [(); 3].map(|()| crate::spawn(add_up, (value.clone(), array.clone(), 5000)).unwrap());
    children.into_iter().for_each(|child| child.join().unwrap());
    assert_eq!(value.get(), 15_000);
    assert_eq!(array.to_vec(), [1500; 10]);
}

#[test]
fn a_value_is_set_got_and_updated() {
    let _dog = watchdog(LIMIT);
    let value = Value::new((1_u8, [2.5_f64; 3])).unwrap();
    value.set((2, [0.0; 3]));
    assert_eq!(value.clone().get(), (2, [0.0; 3]));
    assert_eq!(value.update(|(n, x)| (n + 1, x)).0, 3);
    value.lock().unwrap().1[2] = 7.0;
    assert_eq!(value.get(), (3, [0.0, 0.0, 7.0]));
    let counter = Value::new(u8::MAX).unwrap();
    assert_eq!((counter.fetch_add(2), counter.fetch_sub(2), counter.get()), (255, 1, 255));
}

#[test]
fn an_array_is_a_slice_while_locked() {
    let _dog = watchdog(LIMIT);
    let array = Array::from_slice(&[3, 1, 2]).unwrap();
    array.lock().unwrap().sort();
    assert_eq!(array.iter().collect::<Vec<_>>(), [1, 2, 3]);
    array.set(0, 9);
    assert_eq!((array.get(0), array.len(), array.is_empty()), (9, 3, false));
    array.fill(4);
    array.copy_from_slice(&[5, 6, 7]);
    assert_eq!((&array).into_iter().sum::<i32>(), 18);
    assert_eq!(Array::<f64>::new(0).unwrap().to_vec(), []);
    assert!(Array::<f64>::new(usize::MAX / 4).is_err());
    assert!(std::panic::catch_unwind(move || array.get(3)).is_err());
}

fn die_inside(value: Value<[u64; 64]>, array: Array<u64>, inside: ipc::Sender<()>) {
    let _value = value.lock().unwrap();
    let mut elements = array.lock().unwrap();
    elements[0] = 1;
    inside.send(&()).unwrap();
    loop {
        thread::park();
    }
}

#[test]
fn a_killed_holder_is_reported_by_lock_and_delays_nobody() {
    let _dog = watchdog(LIMIT);
    let (value, array) = (Value::new([0; 64]).unwrap(), Array::<u64>::new(2).unwrap());
    let (inside, is_inside) = channel().unwrap();
    let child = crate::spawn(die_inside, (value.clone(), array.clone(), inside)).unwrap();
    is_inside.recv().unwrap();
    child.kill().unwrap();
    assert_eq!((value.get(), array.get(0)), ([0; 64], 1));
    value.set([5; 64]);
    for _ in 0..2 {
        assert!(value.lock().is_err());
        assert!(array.lock().is_err());
    }
    value.lock().unwrap_err().into_inner().mark_consistent();
    array.lock().unwrap_err().into_inner().mark_consistent();
    assert_eq!(*value.lock().unwrap(), [5; 64]);
    assert_eq!(*array.lock().unwrap(), [1, 0]);
}

fn set_for_ever(value: Value<[u64; 64]>, begun: ipc::Sender<()>) {
    for n in 0.. {
        value.set([n; 64]);
        if n == 1 {
            begun.send(&()).unwrap();
        }
    }
}

#[test]
fn a_killed_setter_leaves_no_torn_value() {
    let _dog = watchdog(LIMIT);
    let value = Value::new([0_u64; 64]).unwrap();
    for _ in 0..50 {
        let (begun, has_begun) = channel().unwrap();
        let child = crate::spawn(set_for_ever, (value.clone(), begun)).unwrap();
        has_begun.recv().unwrap();
        child.kill().unwrap();
        assert!(child.join().is_err());
        let got = value.get();
        assert!(got.iter().all(|n| *n == got[0]), "{got:?}");
    }
}

/// The memory of a value, and where in it the lock names its holder.
fn lock_word(value: &Value<u64>) -> (SharedMemory, usize) {
    let fd = handover::pack(value).unwrap().fds()[0].try_clone_to_owned().unwrap();
    let memory = SharedMemory::from_fd(fd).unwrap();
    let me = nix::unistd::gettid().as_raw().cast_unsigned();
    let _guard = value.lock().unwrap();
    let places: Vec<usize> = (0..memory.len() / 4).filter(|i| word(&memory, *i).load(Relaxed) == me).collect();
    assert_eq!(places.len(), 1);
    (memory, places[0])
}

#[allow(unsafe_code)]
fn word(memory: &SharedMemory, i: usize) -> &AtomicU32 {
    assert!(4 * i < memory.len());
    // SAFETY: inside the block.
    let place = unsafe { memory.as_ptr().add(4 * i) };
    // SAFETY: inside the block, aligned, and held by the caller; any bits are a word.
    unsafe { place.cast().as_ref() }
}

#[test]
fn a_lock_that_names_a_stranger_is_nobodys() {
    let _dog = watchdog(LIMIT);
    let value = Value::new(7).unwrap();
    let (memory, place) = lock_word(&value);
    let stranger = crate::spawn(thread::park, ()).unwrap();
    let no_thread = (1 << 30) - 2;
    for name in [stranger.pid(), no_thread] {
        word(&memory, place).store(name, Relaxed);
        assert_eq!(value.get(), 7);
        // Who overwrites the lock may have overwritten the value.
        value.lock().unwrap_err().into_inner().mark_consistent();
        assert_eq!(*value.lock().unwrap(), 7);
    }
    stranger.kill().unwrap();
}

fn hold_for_long(value: Value<u64>, holds: ipc::Sender<()>) {
    let mut guard = value.lock().unwrap();
    holds.send(&()).unwrap();
    // Longer than anybody takes it on trust.
    thread::sleep(Duration::from_millis(2500));
    *guard = 8;
}

#[test]
fn a_holder_is_waited_for_however_long_it_holds() {
    let _dog = watchdog(LIMIT);
    let value = Value::new(7).unwrap();
    let (holds, is_held) = channel().unwrap();
    let holder = crate::spawn(hold_for_long, (value.clone(), holds)).unwrap();
    is_held.recv().unwrap();
    assert_eq!(*value.lock().unwrap(), 8);
    holder.join().unwrap();
}

#[test]
fn a_lock_is_waited_for_until_a_deadline() {
    let _dog = watchdog(LIMIT);
    let (value, array) = (Value::new(1_u64).unwrap(), Array::<u64>::new(2).unwrap());
    let rows = Array::<u64>::new(2).unwrap().split_rows(1).unwrap();
    let row = rows.row(0);
    let past = Instant::now();
    assert!(value.lock_deadline(past).unwrap().is_some() && array.lock_deadline(past).unwrap().is_some());
    assert!(row.lock_deadline(past).unwrap().is_some());
    let held = (value.lock().unwrap(), array.lock().unwrap(), row.lock().unwrap());
    thread::scope(|scope| {
        scope.spawn(|| {
            let soon = || Instant::now() + Duration::from_millis(10);
            let begun = Instant::now();
            assert!(value.lock_deadline(soon()).unwrap().is_none() && array.lock_deadline(soon()).unwrap().is_none());
            assert!(row.lock_deadline(soon()).unwrap().is_none());
            assert!(begun.elapsed() >= Duration::from_millis(30));
        });
    });
    drop(held);
}

#[test]
fn a_refused_use_leaves_no_mark() {
    let _dog = watchdog(LIMIT);
    let (value, array) = (Value::new(1_u64).unwrap(), Array::<u64>::new(2).unwrap());
    let refused = |f: &dyn Fn()| assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).is_err());
    let (mut lent, mut row) = (value.lock().unwrap(), array.lock().unwrap());
    (*lent, row[0]) = (2, 3);
    refused(&|| assert_eq!(value.get(), 2));
    refused(&|| value.set(5));
    refused(&|| assert_eq!(array.get(0), 3));
    refused(&|| array.set(0, 5));
    drop((lent, row));
    assert_eq!((*value.lock().unwrap(), array.lock().unwrap()[0]), (2, 3));
}
