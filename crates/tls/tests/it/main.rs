//! What the crate promises of threads; `tests/fork.rs` has what it promises of processes.

use std::{
    cell::{Cell, RefCell},
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use tls::{Key, Local, Locals};

static DATA: Local<Cell<u64>> = Local::new(|| Cell::new(0));

#[test]
fn each_thread_has_its_own() {
    DATA.with(|d| d.set(d.get() + 1));
    thread::spawn(|| {
        DATA.with(|d| assert_eq!(d.get(), 0));
        DATA.set(7);
        assert_eq!(DATA.take(), 7);
    })
    .join()
    .unwrap();
    assert_eq!(DATA.replace(5), 1);
    assert_eq!(DATA.get().unwrap().get(), 5);
}

#[test]
fn each_object_has_its_own() {
    let (a, b) = (Local::new(|| Cell::new(1)), Local::new(|| Cell::new(2)));
    a.set(10);
    assert_eq!((a.take(), b.take()), (10, 2));
}

#[test]
fn a_value_is_made_once_and_lazily() {
    let made = AtomicUsize::new(0);
    let local = Local::new(|| made.fetch_add(1, SeqCst));
    assert!(local.get().is_none());
    assert_eq!(made.load(SeqCst), 0);
    assert_eq!((local.with(|v| *v), local.with(|v| *v), *local.get_or(|| 9)), (0, 0, 0));
    assert_eq!(made.load(SeqCst), 1);
}

#[test]
fn a_failed_creation_leaves_nothing() {
    let local = Local::new(|| 1);
    assert_eq!(local.get_or_try(|| Err("no")).map(|v| *v), Err("no"));
    assert!(local.get().is_none());
    assert_eq!(local.get_or_try(|| Ok::<_, ()>(2)).map(|v| *v), Ok(2));
    assert_eq!(local.with(|v| *v), 2);
}

#[test]
fn creation_that_comes_back_keeps_the_inner_value() {
    // Guards against thread_local#97; also in a place that another thread had before.
    let mut local: Local<u32> = Local::default();
    for _ in 0..3 {
        thread::scope(|s| {
            s.spawn(|| assert_eq!(*local.get_or(|| *local.get_or(|| 1) + 1), 1));
        });
    }
    assert_eq!(local.iter_mut().map(|v| *v).collect::<Vec<_>>(), [1, 1, 1]);
}

#[test]
fn with_may_nest() {
    let local = Local::new(|| Cell::new(1));
    for _ in 0..2 {
        thread::scope(|s| {
            s.spawn(|| local.with(|a| local.with(|b| assert!(std::ptr::eq(a, b)))));
        });
    }
}

#[test]
fn an_ended_threads_value_is_never_seen_again() {
    for local in [Local::new(RefCell::default), Local::transient(RefCell::default)] {
        for n in 0..100 {
            thread::scope(|s| {
                s.spawn(|| {
                    assert!(local.get().is_none());
                    local.with_borrow_mut(|v: &mut Vec<i32>| v.push(n));
                    assert_eq!(local.with_borrow(Vec::clone), [n]);
                    assert_eq!(local.take(), [n]);
                });
            });
        }
    }
}

#[test]
fn iteration_shows_ended_threads_too() {
    let mut local = Local::new(|| Cell::new(0));
    // One after the other, so that ids are reused; then all at once.
    for n in 1..=5 {
        thread::scope(|s| drop(s.spawn(|| local.set(n))));
    }
    let barrier = Barrier::new(5);
    thread::scope(|s| {
        for n in 6..=10 {
            let (local, barrier) = (&local, &barrier);
            s.spawn(move || {
                local.set(n);
                barrier.wait();
                assert_eq!(local.with(Cell::get), n);
            });
        }
    });
    assert_eq!(local.iter_mut().len(), 10);
    for value in &mut local {
        *value.get_mut() *= 2;
    }
    assert_eq!(local.into_iter().map(|v| v.get()).sum::<i32>(), 110);
}

#[test]
fn clear_begins_afresh() {
    let mut local = Local::new(|| Cell::new(0));
    local.set(1);
    local.clear();
    assert!(local.get().is_none());
    assert_eq!(local.iter_mut().len(), 0);
    assert_eq!(local.take(), 0);
}

struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

#[test]
fn transient_values_of_ended_threads_are_dropped() {
    let alive = Arc::new(AtomicUsize::new(0));
    let make = || {
        alive.fetch_add(1, SeqCst);
        Counted(Arc::clone(&alive))
    };
    let local = Local::transient(make);
    for _ in 0..1000 {
        thread::scope(|s| drop(s.spawn(|| local.with(|_| ()))));
    }
    // Other tests' threads run at the same time, so the thread's id need not be the same every time.
    assert!(alive.load(SeqCst) <= 2 * 64, "{} values are left", alive.load(SeqCst));
    drop(local);
    assert_eq!(alive.load(SeqCst), 0);
}

#[test]
fn into_iter_gives_the_values_away() {
    let alive = Arc::new(AtomicUsize::new(1));
    let local = Local::new(|| Counted(Arc::clone(&alive)));
    local.with(|_| ());
    let values: Vec<Counted> = local.into_iter().collect();
    assert_eq!((values.len(), alive.load(SeqCst)), (1, 1));
    drop(values);
    assert_eq!(alive.load(SeqCst), 0);
}

#[test]
fn a_value_outlives_a_reference_kept_in_the_thread() {
    let local: Local<String> = Local::default();
    let value = local.get_or(|| "mine".to_owned());
    thread::scope(|s| drop(s.spawn(|| assert_eq!(*local.get_or(|| "theirs".to_owned()), *"theirs"))));
    assert_eq!(*value, *"mine");
}

#[test]
fn locals_are_told_apart_by_name_and_type() {
    const AGE: Key<u32> = Key::new("age");
    const NAME: Key<String> = Key::new("name");
    const AGE_IN_WORDS: Key<&str> = Key::new("age");
    static LOCAL: Locals = Locals::new();

    assert_eq!(LOCAL.set(AGE, 41), None);
    assert_eq!(LOCAL.set(AGE, 42), Some(41));
    LOCAL.set(AGE_IN_WORDS, "forty-two");
    LOCAL.set(NAME, "Ann".to_owned());
    assert_eq!(LOCAL.with_mut(NAME, |name| name.push('a')), Some(()));
    assert_eq!(LOCAL.get(AGE), Some(42));
    assert_eq!(LOCAL.get(AGE_IN_WORDS), Some("forty-two"));
    assert_eq!(LOCAL.with(NAME, String::len), Some(4));
    assert_eq!(LOCAL.names(), ["age", "age", "name"]);
    thread::spawn(|| {
        assert!(!LOCAL.contains(AGE));
        assert_eq!(LOCAL.take(NAME), None);
    })
    .join()
    .unwrap();
    assert_eq!(LOCAL.take(NAME).as_deref(), Some("Anna"));
    assert!(!LOCAL.contains(NAME));
}
