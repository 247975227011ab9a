use std::{
    io::Write,
    os::unix::net::UnixStream,
    pin::pin,
    sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    task::Waker,
    thread::{self, Thread},
};

use super::*;

/// As small a runtime as there can be.
fn block_on<R>(future: impl Future<Output = R>) -> R {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => return result,
            Poll::Pending => thread::park(),
        }
    }
}

/// Ready when `flag` is set; the thread that sets it rings.
struct Flag {
    flag: AtomicBool,
    bell: std::sync::Mutex<Option<Bell>>,
    n_looks: AtomicU32,
}

impl Flag {
    fn new() -> Self {
        Self { flag: AtomicBool::new(false), bell: std::sync::Mutex::default(), n_looks: AtomicU32::new(0) }
    }

    fn set(&self) {
        self.flag.store(true, SeqCst);
        self.ring();
    }

    fn ring(&self) {
        self.bell.lock().unwrap().iter().for_each(Bell::ring);
    }
}

impl Waitable for Flag {
    fn watch(&self) -> io::Result<Watch<'_>> {
        let (bell, event) = Bell::new()?;
        *self.bell.lock().unwrap() = Some(bell);
        let is_ready = || {
            self.n_looks.fetch_add(1, SeqCst);
            self.flag.load(SeqCst)
        };
        Ok(Watch::Event { event, is_ready: Box::new(is_ready) })
    }
}

#[test]
fn a_future_is_woken_by_a_descriptor_and_by_an_event() {
    let (mut a, b) = UnixStream::pair().unwrap();
    let flag = Flag::new();
    thread::scope(|scope| {
        let mut future = wait_any_async(&[&flag, &b]);
        assert!(pin!(&mut future).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        scope.spawn(|| a.write_all(b"x").unwrap());
        assert_eq!(block_on(&mut future).unwrap(), [1]);
        scope.spawn(|| flag.set());
        assert_eq!(block_on(wait_any_async(&[&flag])).unwrap(), [0]);
    });
    assert_eq!(block_on(wait_any_async(&[&flag, &b])).unwrap(), [0, 1]);
}

#[test]
fn a_bell_that_rings_for_nothing_is_looked_at_and_waited_for_again() {
    let flag = Flag::new();
    let mut future = wait_any_async(&[&flag]);
    assert!(pin!(&mut future).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    flag.ring();
    let looks = flag.n_looks.load(SeqCst);
    thread::scope(|scope| {
        scope.spawn(|| {
            // Once the future has looked because of the bell, and been disappointed.
            while flag.n_looks.load(SeqCst) == looks {
                thread::yield_now();
            }
            flag.set();
        });
        assert_eq!(block_on(future).unwrap(), [0]);
    });
}
