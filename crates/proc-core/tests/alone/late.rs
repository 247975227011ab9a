//! Use from where little is left: the destructors of thread-locals, and functions that run at the exit.

use proc_core::{Process, ProcessError, StartMethod, command, current_process, shm::Shared, thread};

/// What a program might do for the last time.
fn everything() {
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        let builder = || Process::builder().start_method(method).stderr(std::process::Stdio::null());
        assert_eq!(builder().spawn(|n: u64| n + 1, (41,)).unwrap().join().unwrap(), 42);
        let panicked = builder().spawn(|| -> u8 { panic!("late") }, ()).unwrap().join();
        assert!(matches!(panicked, Err(ProcessError::Panicked { message, .. }) if message == "late"));
    }
    let refused = Process::spawn(|| Refused, ()).unwrap().join().unwrap_err().to_string();
    assert!(refused.contains("never decodes"), "{refused}");
    let shared = Shared::new(std::sync::atomic::AtomicU64::new(7)).unwrap();
    let read = |shared: Shared<std::sync::atomic::AtomicU64>| shared.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!(Process::spawn(read, (shared,)).unwrap().join().unwrap(), 7);
    assert!(command::run(["true"]).is_ok() && !current_process().name().is_empty());
    assert!(!thread::current().name().is_empty());
    assert_eq!(thread::spawn(|| 3).join().unwrap(), 3);
    // A panic that is caught here.
    std::panic::set_hook(Box::new(|_| {}));
    assert!(std::panic::catch_unwind(|| panic!("caught")).is_err());
}

#[derive(Debug, serde::Serialize)]
struct Refused;

impl<'de> serde::Deserialize<'de> for Refused {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("it never decodes"))
    }
}

/// A destructor of the thread's own, which runs after those of this library: it was registered first.
struct AtTheEnd;

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        everything();
    }
}

thread_local!(static FIRST: AtTheEnd = const { AtTheEnd });

pub(super) fn from_a_thread_locals_destructor() {
    let ends = || {
        FIRST.with(|_| ());
        // Whatever this library keeps for the thread is there by now, and gone when `FIRST` is dropped.
        everything();
    };
    std::thread::spawn(ends).join().unwrap();
    thread::spawn(ends).join().unwrap();
    // Those of the main thread go at its exit.
    ends();
}

pub(super) fn from_functions_at_exit() {
    extern "C" fn at_exit() {
        everything();
    }
    // SAFETY: a function of this program.
    assert_eq!(unsafe { libc::atexit(at_exit) }, 0);
    // Before and after those of this library, which it registers at its first use.
    everything();
    // SAFETY: as above.
    assert_eq!(unsafe { libc::atexit(at_exit) }, 0);
}

/// In children, too: theirs run when their function has returned.
pub(super) fn in_a_child() {
    fn child() -> u8 {
        FIRST.with(|_| ());
        std::thread::spawn(|| FIRST.with(|_| ())).join().unwrap();
        7
    }
    assert_eq!(Process::spawn(child, ()).unwrap().join().unwrap(), 7);
    let forked = Process::fork(|| {
        let ended = std::thread::spawn(|| FIRST.with(|_| ())).join();
        ended.is_ok()
    });
    assert!(forked.unwrap().join().unwrap());
}
