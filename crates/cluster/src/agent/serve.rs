//! An agent that is all that a process does.

use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};
use pool::PoolError;
use proc_core::wait_any;

use super::builder::AgentBuilder;

impl AgentBuilder {
    /// [Starts](Self::start) it, and blocks until it has ended: by itself, or because the process was told to end by SIGTERM or
    /// SIGINT. Then it takes no further tasks, gives those back that no worker has begun, and waits for the others. A second
    /// signal has it give those back, too; and so has a server that is gone for five seconds.
    ///
    /// To be called by a process that has no other threads of its own, or where they block the two signals: one that is
    /// delivered to another thread does there what it does by default.
    ///
    /// # Errors
    /// As [`start`](Self::start) and [`Agent::wait`](super::Agent::wait).
    ///
    /// # Crash safety
    /// The signals may go to the workers, too, as those of systemd and of terminals do: they run on.
    pub fn serve(self) -> Result<(), PoolError> {
        let agent = self.start()?;
        // Only now: what the workers have is as it was.
        let signals = block_ends().map_err(std::io::Error::from)?;
        let mut n_told = 0;
        while n_told < 2 && wait_any(&[&signals, &agent.end], None)? == [0] {
            if signals.read_signal().map_err(std::io::Error::from)?.is_some() {
                n_told += 1;
                agent.stop();
            }
        }
        if n_told < 2 { agent.wait() } else { Ok(()) }
    }
}

/// From now on they are something that can be waited for.
fn block_ends() -> nix::Result<SignalFd> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.thread_block()?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}
