//! Each way in which a process can end has its own clear answer.

use std::{os::unix::process::CommandExt, sync::Arc, time::Duration};

use proc_core::{Process, ProcessError, Signal, StartMethod};
use serde::{Deserialize, Serialize, de};

use crate::{METHODS, watchdog};

fn end_of<R>(method: StartMethod, f: fn(Process<()>) -> R, target: impl proc_core::Target<(), Output = ()>) -> R {
    f(Process::builder().start_method(method).name("doomed").spawn(target, ()).unwrap())
}

fn error(process: Process<()>) -> ProcessError {
    let pid = process.pid();
    let error = process.join().unwrap_err();
    assert!(error.to_string().contains(&format!("doomed ({pid})")), "{error}");
    error
}

#[test]
fn each_end_is_told_apart() {
    let _dog = watchdog();
    for method in METHODS {
        let panicked = end_of(method, error, || panic!("the number is {}", 7));
        let ProcessError::Panicked { message, location, thread, .. } = panicked else { panic!("{panicked}") };
        assert_eq!((message.as_str(), thread.as_str()), ("the number is 7", "main"));
        assert!(location.contains("ends.rs:"), "{location}");

        assert!(matches!(end_of(method, error, || std::process::exit(3)), ProcessError::Exited { code: 3, .. }));
        let aborted = end_of(method, error, || std::process::abort());
        assert!(matches!(aborted, ProcessError::Signaled { signal: libc::SIGABRT, .. }));
        let crashed = end_of(method, error, || {
            // SAFETY: not at all.
            unsafe { std::ptr::null_mut::<u8>().write_volatile(1) }
        });
        assert!(matches!(crashed, ProcessError::Signaled { signal: libc::SIGSEGV, .. }), "{crashed}");
        let replaced = end_of(method, error, || drop(std::process::Command::new("true").exec()));
        assert!(matches!(replaced, ProcessError::Exited { code: 0, .. }));
    }
}

#[test]
fn a_child_killed_before_its_first_instruction() {
    let _dog = watchdog();
    for method in METHODS {
        for _ in 0..50 {
            let process =
                Process::builder().start_method(method).spawn(|| std::thread::sleep(Duration::MAX), ()).unwrap();
            process.kill().unwrap();
            assert!(matches!(process.join(), Err(ProcessError::Signaled { signal: libc::SIGKILL, .. })));
        }
    }
}

#[test]
fn what_cannot_be_set_up_is_an_error_of_its_own() {
    let _dog = watchdog();
    for method in METHODS {
        let builder = Process::builder().start_method(method).current_dir("/no/such/directory");
        let error = builder.spawn(|| 1, ()).unwrap().join().unwrap_err();
        assert!(matches!(&error, ProcessError::Setup { source, .. } if source.kind() == std::io::ErrorKind::NotFound));
        assert!(error.to_string().contains("/no/such/directory"), "{error}");
    }
}

/// Serialises well and deserialises never.
#[derive(Debug, Serialize)]
struct OneWay;

impl<'de> Deserialize<'de> for OneWay {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(de::Error::custom("no way back"))
    }
}

#[test]
fn what_can_never_be_read_is_refused_where_it_is_written() {
    let _dog = watchdog();
    let arguments = Process::spawn(|_: OneWay| (), (OneWay,)).unwrap_err();
    assert!(matches!(arguments, ProcessError::Arguments(_)) && arguments.to_string().contains("no way back"));
    let value = Process::spawn(|| OneWay, ()).unwrap().join().unwrap_err().to_string();
    assert!(value.contains("value") && value.contains("OneWay") && value.contains("no way back"), "{value}");
}

/// Can be read in the process that made it only.
#[derive(Debug, Serialize)]
struct Local(u32);

impl<'de> Deserialize<'de> for Local {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            pid if pid == std::process::id() => Ok(Self(pid)),
            pid => Err(de::Error::custom(format!("from process {pid}"))),
        }
    }
}

#[test]
fn what_does_not_decode_is_an_error() {
    let _dog = watchdog();
    let local = || Local(std::process::id());
    let arguments = Process::spawn(|_: Local| (), (local(),)).unwrap().join().unwrap_err();
    assert!(matches!(&arguments, ProcessError::Decode { message, .. } if message.contains("arguments")));
    assert!(arguments.to_string().contains(&format!("from process {}", std::process::id())), "{arguments}");
    let value = Process::spawn(local, ()).unwrap().join().unwrap_err();
    assert!(matches!(&value, ProcessError::Decode { message, .. } if message.contains("value")), "{value}");
    assert!(value.to_string().contains("from process"), "{value}");
}

#[test]
fn odd_panics() {
    let _dog = watchdog();
    fn payload() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("dropping the payload panics too");
            }
        }
        std::panic::panic_any(Bomb);
    }
    let error = Process::spawn(payload, ()).unwrap().join().unwrap_err();
    assert!(matches!(error, ProcessError::Panicked { message, .. } if message.contains("not text")));
    // A panic that the function catches itself is no end.
    fn caught() -> bool {
        std::panic::catch_unwind(|| panic!("caught")).is_err()
    }
    assert!(Process::spawn(caught, ()).unwrap().join().unwrap());
}

#[test]
fn many_threads_wait_at_once() {
    let _dog = watchdog();
    let (reader, writer) = std::io::pipe().unwrap();
    fn hold(reader: proc_core::handover::Fd) -> i32 {
        std::io::read_to_string(std::fs::File::from(reader.0)).unwrap();
        std::process::exit(9)
    }
    let process = Arc::new(Process::spawn(hold, (reader.into(),)).unwrap());
    let waiters: Vec<_> = (0..8)
        .map(|i| {
            let process = Arc::clone(&process);
            std::thread::spawn(move || match i % 2 {
                0 => process.wait().unwrap(),
                _ => process.wait_timeout(Duration::from_secs(50)).unwrap().unwrap(),
            })
        })
        .collect();
    assert!(process.is_alive());
    assert_eq!(process.wait_timeout(Duration::from_millis(1)).unwrap(), None);
    drop(writer);
    for waiter in waiters {
        assert_eq!(waiter.join().unwrap().code(), Some(9));
    }
    assert!(!process.is_alive());
    process.kill().unwrap();
    process.signal(Signal::SIGUSR1).unwrap();
}

#[test]
fn stop_asks_first_and_then_kills() {
    let _dog = watchdog();
    let process = Process::spawn(|| std::thread::sleep(Duration::MAX), ()).unwrap();
    let status = process.stop(Duration::from_secs(50)).unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGTERM));

    let (reader, writer) = std::io::pipe().unwrap();
    fn stubborn(ready: proc_core::handover::Fd) {
        // SAFETY: ignoring a signal.
        unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
        drop(ready);
        std::thread::sleep(Duration::MAX);
    }
    let process = Process::spawn(stubborn, (writer.into(),)).unwrap();
    std::io::read_to_string(reader).unwrap();
    let status = process.stop(Duration::from_millis(20)).unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGKILL));
}

#[test]
fn a_status_that_somebody_else_took_is_said_so() {
    let _dog = watchdog();
    fn thief() -> (bool, bool) {
        let steal = |process: &Process<i32>| {
            nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(process.pid() as i32), None).unwrap();
        };
        let with_value = Process::spawn(|| 5, ()).unwrap();
        steal(&with_value);
        let without = Process::spawn(|| -> i32 { std::process::exit(5) }, ()).unwrap();
        steal(&without);
        // Since Linux 6.15 the kernel keeps it.
        let told =
            matches!(without.join(), Err(ProcessError::StatusLost { .. } | ProcessError::Exited { code: 5, .. }));
        (matches!(with_value.join(), Ok(5)), told)
    }
    assert_eq!(Process::spawn(thief, ()).unwrap().join().unwrap(), (true, true));
}

#[test]
fn a_panic_is_told_where_children_are_reaped_by_the_kernel() {
    let _dog = watchdog();
    fn fail() {
        panic!("told all the same");
    }
    fn host() -> Vec<String> {
        // SAFETY: this process has no children yet.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        let errors = METHODS.map(|method| {
            let process = Process::builder().start_method(method).spawn(fail, ()).unwrap();
            process.join().unwrap_err().to_string()
        });
        errors.into()
    }
    for error in Process::spawn(host, ()).unwrap().join().unwrap() {
        assert!(error.contains("told all the same"), "{error}");
    }
}
