//! A forked child starts empty. A program of its own, because it must have one thread.

use std::{cell::Cell, process::ExitCode};

use nix::{
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, fork},
};
use tls::Local;

static DATA: Local<Cell<u64>> = Local::new(|| Cell::new(0));

fn main() -> ExitCode {
    let mut counts = Local::new(|| Cell::new(1));
    DATA.set(5);
    counts.set(7);
    // Generations: the child's own child starts empty again.
    for _ in 0..2 {
        // SAFETY: this program has one thread.
        if let ForkResult::Parent { child } = unsafe { fork() }.expect("fork") {
            assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
            assert_ne!(DATA.take(), 0);
            assert_eq!(counts.into_iter().len(), 1);
            return ExitCode::SUCCESS;
        }
        assert!(DATA.get().is_none());
        assert_eq!(counts.iter_mut().len(), 0);
        assert_eq!(counts.take(), 1);
        DATA.with(|d| {
            assert_eq!(d.get(), 0);
            d.set(6);
        });
        assert_eq!(counts.iter_mut().len(), 1);
    }
    ExitCode::SUCCESS
}
