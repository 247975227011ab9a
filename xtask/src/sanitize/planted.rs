//! One fault for each tool, which it must report, and what none may report. `cargo xtask sanitize` compiles it by itself, and
//! runs it as it runs the tests of the crates: a tool that finds nothing here would find nothing there.

use std::{
    cell::UnsafeCell,
    sync::{Arc, Condvar, Mutex, Once, mpsc},
    thread,
};

struct Shared(UnsafeCell<u64>);

// SAFETY: there is none; `planted_thread` races for it, and all others order what they do with theirs.
unsafe impl Sync for Shared {}

impl Shared {
    fn add(&self) {
        // SAFETY: as above.
        unsafe { *self.0.get() += 1 }
    }
}

#[test]
fn planted_thread() {
    static CELL: Shared = Shared(UnsafeCell::new(0));
    let begins = std::sync::Barrier::new(2);
    let race = || {
        begins.wait();
        (0..1000).for_each(|_| CELL.add());
    };
    thread::scope(|scope| {
        scope.spawn(race);
        scope.spawn(race);
    });
}

#[test]
fn planted_address() {
    let bytes = vec![0_u8; 24].into_boxed_slice();
    let end = bytes.as_ptr().wrapping_add(std::hint::black_box(24));
    // SAFETY: there is none: it is the first byte beyond the block.
    let beyond = unsafe { end.read_volatile() };
    std::hint::black_box(beyond);
}

#[test]
fn planted_memcheck() {
    planted_address();
}

#[test]
fn clean_mutex_and_condition() {
    let shared = Arc::new((Mutex::new(0_u64), Condvar::new(), Shared(UnsafeCell::new(0))));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                for _ in 0..1000 {
                    let mut n = shared.0.lock().unwrap();
                    shared.2.add();
                    *n += 1;
                    shared.1.notify_all();
                    thread::yield_now();
                }
            })
        })
        .collect();
    let mut n = shared.0.lock().unwrap();
    while *n < 4000 {
        n = shared.1.wait(n).unwrap();
    }
    shared.2.add();
    drop(n);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn clean_channel_once_and_park() {
    static ONCE: Once = Once::new();
    static CELL: Shared = Shared(UnsafeCell::new(0));
    let (sender, receiver) = mpsc::channel::<Vec<u8>>();
    let waiting = thread::current();
    let taker = thread::spawn(move || {
        ONCE.call_once(|| CELL.add());
        let n_bytes: usize = receiver.iter().map(|bytes| bytes.len()).sum();
        waiting.unpark();
        n_bytes
    });
    (0..500).for_each(|n| sender.send(vec![1; n % 7]).unwrap());
    ONCE.call_once(|| CELL.add());
    drop(sender);
    thread::park();
    assert_eq!(taker.join().unwrap(), (0..500).map(|n| n % 7).sum());
}

#[test]
fn clean_last_handle() {
    for _ in 0..100 {
        let ours = Arc::new(Shared(UnsafeCell::new(0)));
        let theirs = Arc::clone(&ours);
        let thread = thread::spawn(move || theirs.add());
        while Arc::strong_count(&ours) > 1 {
            thread::yield_now();
        }
        // Dropped, and not only joined, by this thread: only the count says that the other one is done with it.
        drop(ours);
        thread.join().unwrap();
    }
}
