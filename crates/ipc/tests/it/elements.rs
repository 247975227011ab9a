//! What values and arrays hold beside numbers, and what their holder can do meanwhile.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicU8, Ordering::Relaxed},
    thread,
    time::Duration,
};

use ipc::{Array, Element, RawArray, RawValue, Row, Value, channel};
use proc_core::{handover, shm::SharedMemory};
use test_support::watchdog;

const LIMIT: Duration = Duration::from_secs(60);

#[derive(Element, Clone, Copy, Debug, PartialEq)]
enum Light {
    Red = 10,
    Amber = 20,
    Green = 30,
}

#[derive(Element, Clone, Copy, Debug, PartialEq)]
struct Crossing {
    lights: [Light; 2],
    name: char,
    last: Option<(bool, f64)>,
}

/// Whether `work` panics, with that in its message.
fn panics<R>(with: &str, work: impl FnOnce() -> R) -> bool {
    let Err(panic) = catch_unwind(AssertUnwindSafe(work)) else { return false };
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into())).unwrap_or_default();
    assert!(text.contains(with), "{text}");
    true
}

fn elsewhere<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| scope.spawn(work).join().unwrap())
}

#[test]
fn the_holder_goes_on_using_a_value() {
    let _dog = watchdog(LIMIT);
    let value = Value::new(1_i32).unwrap();
    let held = value.lock().unwrap();
    value.set(value.get() + 1);
    value.update(|n| n + value.get());
    assert_eq!(value.clone().fetch_add(1), 4);
    let mut again = value.lock().unwrap();
    again.set(again.get() * 2);
    drop(again);
    assert!(elsewhere(|| value.try_lock().unwrap().is_none()));
    assert!(elsewhere(|| value.lock_timeout(Duration::from_millis(1)).unwrap().is_none()));
    assert!(value.try_lock().unwrap().is_some() && value.is_locked());
    drop(held);
    assert!(!value.is_locked());
    assert_eq!(elsewhere(|| value.lock_timeout(Duration::ZERO).unwrap().unwrap().get()), 10);
}

#[test]
fn the_holder_goes_on_using_an_array() {
    let _dog = watchdog(LIMIT);
    let array = Array::from_slice(&[1, 2, 3]).unwrap();
    let held = array.lock().unwrap();
    array.set(0, array.get(1) + array.get(2));
    array.update(1, |n| n + array.get(0));
    assert_eq!((array.to_vec(), held.get(2)), (vec![5, 7, 3], 3));
    array.lock().unwrap().sort();
    array.fill(array.iter().sum());
    assert!(elsewhere(|| array.try_lock().unwrap().is_none()));
    drop(held);
    assert_eq!(elsewhere(|| array.lock_timeout(Duration::ZERO).unwrap().unwrap().to_vec()), [15; 3]);
}

#[test]
fn nothing_changes_what_a_guard_has_lent() {
    let _dog = watchdog(LIMIT);
    let value = Value::new([1_u64; 4]).unwrap();
    let mut guard = value.lock().unwrap();
    assert_eq!((guard[0], value.get()[0]), (1, 1));
    assert!(panics("has lent a reference", || value.set([2; 4])));
    assert!(panics("has lent a reference", || *value.lock().unwrap_or_else(|died| died.into_inner()) = [2; 4]));
    value.lock().unwrap_err().into_inner().mark_consistent();
    guard[0] = 3;
    assert!(panics("lent a mutable reference", || value.get()));
    assert!(panics("lent a mutable reference", || value.update(|old| old)));
    guard.set([4; 4]);
    assert_eq!(guard.get(), [4; 4]);
    assert_eq!(format!("{guard:?} {value:?}"), "[4, 4, 4, 4] Value(<locked>)");
    guard.mark_consistent();
    drop(guard);
    value.set([5; 4]);
    assert_eq!(*value.lock().unwrap(), [5; 4]);

    let array = Array::from_slice(&[1_u8; 3]).unwrap();
    let outer = array.lock().unwrap();
    let inner = array.lock().unwrap();
    assert_eq!(outer[0] + inner[1], 2);
    assert!(panics("has lent a reference", || array.set(0, 1)));
    drop((outer, inner));
    array.lock().unwrap_or_else(|died| died.into_inner()).mark_consistent();
    array.set(0, 2);
    assert_eq!(array.get(0), 2);
}

fn lend_and_die(value: Value<u64>, array: Array<u8>, inside: ipc::Sender<()>) {
    let (mut value, mut array) = (value.lock().unwrap(), array.lock().unwrap());
    (*value, array[0]) = (1, 1);
    inside.send(&()).unwrap();
    loop {
        thread::park();
    }
}

#[test]
fn what_a_killed_holder_had_lent_is_free_again() {
    let _dog = watchdog(LIMIT);
    let (value, array) = (Value::new(0).unwrap(), Array::new(1).unwrap());
    for _ in 0..2 {
        let (inside, is_inside) = channel().unwrap();
        let child = crate::spawn(lend_and_die, (value.clone(), array.clone(), inside)).unwrap();
        is_inside.recv().unwrap();
        child.kill().unwrap();
        value.set(value.get() + 1);
        array.set(0, array.get(0) + 1);
        let (value, array) = (value.lock().unwrap_err().into_inner(), array.lock().unwrap_err().into_inner());
        assert_eq!((*value, array[0]), (2, 2));
        value.mark_consistent();
        array.mark_consistent();
    }
    assert!(value.lock().is_ok() && array.lock().is_ok());
}

fn turn(lights: Array<Light>, crossing: Value<Crossing>, open: RawValue<bool>) {
    lights.update(1, |_| Light::Green);
    crossing.update(|old| Crossing { lights: [Light::Amber; 2], last: Some((true, 0.5)), ..old });
    open.set(!open.get());
}

#[test]
fn enums_and_the_like_are_elements() {
    let _dog = watchdog(LIMIT);
    let lights = Array::new(2).unwrap();
    let first = Crossing { lights: [Light::Green, Light::Red], name: 'ß', last: None };
    let (crossing, open) = (Value::new(first).unwrap(), RawValue::new(false).unwrap());
    crate::spawn(turn, (lights.clone(), crossing.clone(), open.clone())).unwrap().join().unwrap();
    assert_eq!(lights.to_vec(), [Light::Red, Light::Green]);
    assert_eq!(crossing.get(), Crossing { lights: [Light::Amber; 2], name: 'ß', last: Some((true, 0.5)) });
    assert!(open.get());
    let mut guard = crossing.lock().unwrap();
    guard.set(first);
    assert_eq!((guard.get(), crossing.get()), (first, first));
    lights.copy_from_slice(&[Light::Amber; 2]);
    lights.lock().unwrap().set(0, Light::Green);
    assert_eq!(format!("{:?}", lights.lock().unwrap()), "[Green, Amber]");
}

/// Overwrites all memory of what is handed over with ones.
#[allow(unsafe_code)]
fn overwrite<T: serde::Serialize + serde::de::DeserializeOwned>(handle: &T, but_first: usize) {
    for fd in handover::pack(handle).unwrap().fds() {
        let memory = SharedMemory::from_fd(fd.try_clone_to_owned().unwrap()).unwrap();
        for i in but_first..memory.len() {
            // SAFETY: inside the block.
            let place = unsafe { memory.as_ptr().add(i) };
            // SAFETY: inside the block, which is held until then.
            unsafe { place.cast::<AtomicU8>().as_ref() }.store(0xFF, Relaxed);
        }
    }
}

#[test]
fn overwritten_memory_becomes_no_invalid_value() {
    let _dog = watchdog(LIMIT);
    // All but the header and the lock: counts and loans, too.
    let behind_the_lock = 64 + 64;
    let value = Value::new(Light::Red).unwrap();
    overwrite(&value, behind_the_lock);
    assert!(value.try_get().is_err());
    assert!(panics("bytes that are no", || value.get()));
    assert!(panics("bytes that are no", || value.lock().unwrap_or_else(|died| died.into_inner()).get()));
    value.set(Light::Amber);
    assert_eq!(value.get(), Light::Amber);
    value.lock().unwrap_or_else(|died| died.into_inner()).mark_consistent();
    assert!(!value.is_locked() && elsewhere(|| value.try_lock().unwrap().is_some()));

    let array = Array::from_slice(&[false; 300]).unwrap();
    overwrite(&array, behind_the_lock);
    assert_eq!((array.get(0), array.try_get(299).is_err()), (false, true));
    array.fill(true);
    assert_eq!(array.to_vec(), [true; 300]);
    assert!(!array.is_locked());

    let (flag, letters) = (RawValue::new(true).unwrap(), RawArray::<char>::new(3).unwrap());
    overwrite(&flag, 64);
    overwrite(&letters, 0);
    assert!(flag.try_get().is_err() && letters.try_get(2).is_err());
    assert!(panics("bytes that are no bool", || flag.get()) && panics("bytes that are no char", || letters.get(0)));
    flag.set(false);
    assert!(!flag.get());
}

fn count(value: RawValue<i64>, array: RawArray<f32>) {
    for i in 0..1000 {
        value.as_atomic().fetch_add(1, Relaxed);
        array.set(i, i as f32 / 2.0);
    }
}

#[test]
fn raw_values_and_arrays_are_shared_without_a_lock() {
    let _dog = watchdog(LIMIT);
    let (value, array) = (RawValue::new(-3_i64).unwrap(), RawArray::new(1000).unwrap());
    let children = [(); 2].map(|()| crate::spawn(count, (value.clone(), array.clone())).unwrap());
    children.into_iter().for_each(|child| child.join().unwrap());
    assert_eq!(value.get(), 1997);
    assert!(array.iter().enumerate().all(|(i, x)| x == i as f32 / 2.0));
    assert_eq!((array.len(), array.is_empty(), array.as_atomics()[2].load(Relaxed)), (1000, false, 1_f32.to_bits()));
    assert!(catch_unwind(AssertUnwindSafe(|| array.get(1000))).is_err());
    assert!(RawArray::<u64>::new(usize::MAX / 4).is_err());
    assert_eq!(RawArray::<u64>::new(0).unwrap().iter().len(), 0);
}

fn add_one(row: Row<u32>, together: sync::process::Barrier) {
    let mut guard = row.lock().unwrap();
    // All at once.
    together.wait().unwrap();
    guard.iter_mut().for_each(|n| *n += 1 + row.index() as u32);
}

#[test]
fn rows_are_changed_by_several_processes_at_once() {
    let _dog = watchdog(LIMIT);
    let array = Array::from_slice(&[10_u32; 12]).unwrap();
    let other_handle = array.clone();
    let rows = array.split_rows(4).unwrap();
    let together = sync::process::Barrier::new(3).unwrap();
    let children: Vec<_> = rows.iter().map(|row| crate::spawn(add_one, (row, together.clone())).unwrap()).collect();
    children.into_iter().for_each(|child| child.join().unwrap());
    assert_eq!(rows.to_vec(), [11, 11, 11, 11, 12, 12, 12, 12, 13, 13, 13, 13]);
    assert!(panics("split into rows", || other_handle.get(0)) && panics("split into rows", || other_handle.set(0, 1)));
    assert!(panics("split into rows", || other_handle.lock().unwrap_or_else(|died| died.into_inner())[0]));
    assert!(panics("split into rows", || other_handle.split_rows(4).is_ok()));

    let (one, other) = (rows.row(0), rows.row(1));
    let held = one.lock().unwrap();
    assert!(elsewhere(|| one.try_lock().unwrap().is_none() && other.try_lock().unwrap().is_some()));
    assert!(elsewhere(|| one.lock_timeout(Duration::from_millis(1)).unwrap().is_none()));
    drop(held);
    let mut all = rows.lock().unwrap();
    all.reverse();
    assert_eq!((all.shape(), all[0]), ((3, 4), 13));
    assert!(elsewhere(|| other.try_lock().unwrap().is_none()));
    drop(all);
    assert_eq!(*one.lock().unwrap(), [13; 4]);

    assert!(Array::<u8>::new(5).unwrap().split_rows(2).is_err());
    assert!(Array::<u8>::new(5).unwrap().split_rows(0).is_err());
    assert!(Array::<u8>::new(5000).unwrap().split_rows(1).is_err());
    assert!(Array::<u8>::new(0).unwrap().split_rows(1).unwrap().is_empty());
}

fn die_in_a_row(row: Row<u8>, inside: ipc::Sender<()>) {
    let mut row = row.lock().unwrap();
    row[0] = 1;
    inside.send(&()).unwrap();
    loop {
        thread::park();
    }
}

#[test]
fn a_killed_holder_of_a_row_is_reported_and_disturbs_no_other() {
    let _dog = watchdog(LIMIT);
    let rows = Array::<u8>::new(6).unwrap().split_rows(2).unwrap();
    let (inside, is_inside) = channel().unwrap();
    let child = crate::spawn(die_in_a_row, (rows.row(1), inside)).unwrap();
    is_inside.recv().unwrap();
    assert!(rows.row(0).lock().is_ok() && rows.row(1).try_lock().unwrap().is_none());
    child.kill().unwrap();
    assert_eq!(rows.to_vec(), [0, 0, 1, 0, 0, 0]);
    assert!(rows.row(1).lock().is_err() && rows.row(2).lock().is_ok());
    rows.lock().unwrap_err().into_inner().mark_consistent();
    assert!(rows.lock().is_ok() && rows.row(1).lock().is_ok());
}

#[cfg(feature = "ndarray")]
#[test]
fn an_array_is_a_matrix_while_locked() {
    let array = Array::<f64>::new(6).unwrap();
    let mut guard = array.lock().unwrap();
    guard.view_mut((2, 3)).unwrap().column_mut(1).fill(1.5);
    assert_eq!(guard.view((3, 2)).unwrap().sum(), 3.0);
    assert!(guard.view((4, 2)).is_err());
    drop(guard);
    assert_eq!(array.to_vec(), [0.0, 1.5, 0.0, 0.0, 1.5, 0.0]);
    let rows = array.split_rows(3).unwrap();
    rows.lock().unwrap().view_mut().row_mut(0).fill(2.0);
    assert_eq!(rows.lock().unwrap().view().sum(), 7.5);
}
