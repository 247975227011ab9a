//! A forked child that does nothing.
//!
//! # Safety
//! The child calls nothing but `pause`, so that it matters not what other threads of its parent were doing.
#![allow(unsafe_code)]

use std::{io, thread, time::Duration};

use nix::{
    sys::{
        signal::{Signal, kill},
        wait::waitpid,
    },
    unistd::{ForkResult, Pid, fork},
};

/// One that is asleep; killed when dropped.
#[derive(Debug)]
pub struct Sleeper(Pid);

impl Sleeper {
    /// Forks it, and waits until it sleeps.
    ///
    /// # Errors
    /// If there are too many processes.
    pub fn new() -> io::Result<Self> {
        // SAFETY: see the module.
        match unsafe { fork() }? {
            ForkResult::Child => loop {
                // SAFETY: returns after a signal only.
                unsafe { libc::pause() };
            },
            ForkResult::Parent { child } => {
                let sleeper = Self(child);
                let is_asleep =
                    || Ok::<_, io::Error>(std::fs::read_to_string(format!("/proc/{child}/stat"))?.contains(") S "));
                while !is_asleep()? {
                    thread::sleep(Duration::from_millis(1));
                }
                Ok(sleeper)
            }
        }
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        self.0
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGKILL);
        let _ = waitpid(self.0, None);
    }
}
