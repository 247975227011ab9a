//! External programs, in hosts that do unusual things with signals; and the longest waits.

use std::{process::Stdio, time::Duration};

use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, pthread_sigmask, raise, signal};
use proc_core::{
    Process,
    command::{CommandError, Popen, call, run},
    wait_any,
};

fn set(which: Signal, to: SigHandler) {
    // SAFETY: no handler is installed.
    unsafe { signal(which, to) }.unwrap();
}

fn deaf() -> Popen {
    Popen::builder(["true"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

fn is_pending() -> bool {
    let mut pending = SigSet::empty();
    // SAFETY: the set is writable.
    unsafe { libc::sigpending(std::ptr::from_mut(&mut pending).cast()) };
    pending.contains(Signal::SIGPIPE)
}

pub(super) fn a_program_that_does_not_read_ends_nobody() {
    set(Signal::SIGPIPE, SigHandler::SigDfl);
    let input = "unread\n".repeat(1 << 17);
    for _ in 0..20 {
        assert!(deaf().communicate(input.as_str(), None).unwrap().status.success());
    }
    // The caller's mask is as it was, and a signal of its own is still there.
    assert!(!SigSet::thread_get_mask().unwrap().contains(Signal::SIGPIPE));
    let blocked = SigSet::from(Signal::SIGPIPE);
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&blocked), None).unwrap();
    assert!(deaf().communicate(input.as_str(), None).unwrap().status.success());
    assert!(!is_pending());
    raise(Signal::SIGPIPE).unwrap();
    assert!(deaf().communicate(input.as_str(), None).unwrap().status.success());
    assert!(is_pending());
}

pub(super) fn ignored_children_have_output_and_status() {
    set(Signal::SIGCHLD, SigHandler::SigIgn);
    // Where the kernel does not keep it, since it is too old.
    let is_lost = |error: &CommandError| error.to_string().contains("somebody else collected its status");
    for n in 0..50 {
        match run(["sh", "-c", &format!("echo {n}")]) {
            Ok(output) => assert_eq!(output.stdout, format!("{n}\n").as_bytes()),
            Err(e) => assert!(is_lost(&e), "{e}"),
        }
        match run(["sh", "-c", &format!("echo sorry; exit {n}")]) {
            Err(CommandError::Failed { output, .. }) if n != 0 => assert_eq!(output.status.code(), Some(n)),
            Ok(output) if n == 0 => assert_eq!(output.stdout, b"sorry\n"),
            Err(e) => assert!(is_lost(&e), "{e}"),
            Ok(output) => panic!("{output:?}"),
        }
        match call(["true"]) {
            Ok(status) => assert!(status.success()),
            Err(e) => assert!(is_lost(&e), "{e}"),
        }
    }
}

/// Beyond what some clocks count: 584 years in nanoseconds, and more seconds than there are in a signed number.
pub(super) fn the_longest_waits_are_waits() {
    fn nothing() {}
    for seconds in [18_446_744_074, 1 << 40, i64::MAX as u64 - 1, i64::MAX as u64, u64::MAX] {
        let longest = Duration::from_secs(seconds);
        let process = Process::spawn(nothing, ()).unwrap();
        assert!(process.wait_timeout(longest).unwrap().unwrap().success(), "{seconds}");
        let process = Process::spawn(nothing, ()).unwrap();
        assert_eq!(wait_any(&[&*process], Some(longest)).unwrap(), [0], "{seconds}");
        assert!(process.stop(longest).is_ok());
        let program = Popen::builder(["cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        assert_eq!(program.communicate("text", longest).unwrap().stdout, b"text", "{seconds}");
    }
}
