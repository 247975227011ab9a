//! The daemon's word that it is ready, and what else it has to say to its launcher.

use std::{
    fmt::Display,
    os::fd::{AsFd, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::error::DaemonFailure;
use crate::panic_report::{self, Panic};
use kernel::sys::seqpacket;

/// What is said to the launcher; the last by the process between the two.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Word {
    /// The daemon's own word: one from the process between might come after it.
    Ready {
        pid: u32,
    },
    Failed(DaemonFailure),
    /// The `Ready` is gone.
    Dropped,
    Ended {
        wait_status: i32,
    },
}

/// A text longer than this is cut, so that any word fits into one packet.
const LONGEST_TEXT: usize = 4096;
pub(super) const LONGEST_WORD: usize = 4 * LONGEST_TEXT;

impl Word {
    /// Says it. A launcher that is gone needs no word.
    pub(super) fn say(&self, channel: &OwnedFd) {
        let mut bytes = Vec::new();
        if wire::encode_named(self, &mut bytes).is_ok() {
            let _ = seqpacket::send_bytes(channel.as_fd(), &bytes, &[]);
        }
    }
}

/// The daemon's side of the launcher that waits for it.
///
/// Dropping it without a word tells the launcher that the daemon will never be ready.
#[derive(Debug)]
#[must_use = "the launcher waits until it is notified"]
pub struct Ready {
    pid: u32,
    channel: Mutex<Option<OwnedFd>>,
}

impl Ready {
    pub(super) fn new(channel: OwnedFd) -> Self {
        panic_report::install_hook();
        Self { pid: std::process::id(), channel: Mutex::new(Some(channel)) }
    }

    /// Lets the launcher go on. The first word counts; later ones are not heard.
    pub fn notify(&self) {
        self.say(&Word::Ready { pid: self.pid });
    }

    /// Makes the launcher's `start` return this error. The daemon is to end then; it is killed if it takes two seconds.
    pub fn fail(&self, error: impl Display) {
        let message = error.to_string();
        self.say(&Word::Failed(DaemonFailure::Failed { message: cut(message) }));
    }

    pub(super) fn refuse(self, failure: DaemonFailure) {
        self.say(&Word::Failed(failure));
    }

    fn panicked(&self, panic: Panic) {
        self.say(&Word::Failed(DaemonFailure::Panicked { message: cut(panic.message), location: cut(panic.location) }));
    }

    fn say(&self, word: &Word) {
        let channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner).take();
        channel.iter().for_each(|channel| word.say(channel));
    }

    /// Runs `f` as this process's whole life.
    #[allow(clippy::exit, reason = "the end of a process that this crate started")]
    pub(super) fn run<E: Display>(self, f: impl FnOnce(&Self) -> Result<(), E>) -> ! {
        let code = match catch_unwind(AssertUnwindSafe(|| f(&self))) {
            Ok(Ok(())) => 0,
            Ok(Err(e)) => {
                self.fail(e);
                1
            }
            Err(payload) => {
                self.panicked(Panic::of(payload));
                101
            }
        };
        drop(self);
        std::process::exit(code)
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        match panic_report::under_way() {
            Some(panic) => self.panicked(panic),
            None => self.say(&Word::Dropped),
        }
    }
}

fn cut(text: String) -> String {
    if text.len() <= LONGEST_TEXT { text } else { text.chars().take(LONGEST_TEXT / 4).collect() }
}
