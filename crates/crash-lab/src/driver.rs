//! A process for each experiment, so that nothing is left of one when the next begins.
//!
//! # Safety
//! Forks, from the lab's only thread.
#![allow(unsafe_code)]

use std::{
    io::{self, PipeReader, Read as _, Write as _},
    os::fd::AsFd as _,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{Signal, kill},
        wait::waitpid,
    },
    unistd::{ForkResult, Pid, fork},
};

use crate::{
    cast,
    experiment::{Effort, Experiment},
    mode::{Failure, Mode, Report},
    operation::Row,
};

/// An experiment that is being made.
pub(crate) struct Driver {
    child: Pid,
    outcome: PipeReader,
    begun: Instant,
    limit: Duration,
}

impl Driver {
    /// Begins with one mode of one operation in one state.
    pub(crate) fn start(row: &dyn Row, state: &str, mode: Mode, effort: Effort) -> io::Result<Self> {
        let (read, mut write) = io::pipe()?;
        let begun = Instant::now();
        let limit = Duration::from_secs(if effort == Effort::Quick { 60 } else { 900 });
        // SAFETY: the lab has one thread.
        match unsafe { fork()? } {
            ForkResult::Parent { child } => Ok(Self { child, outcome: read, begun, limit }),
            ForkResult::Child => {
                drop(read);
                // SAFETY: takes two integers.
                unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
                cast::adopt_orphans();
                let work = AssertUnwindSafe(|| experiment(row, state, mode, effort));
                let outcome = catch_unwind(work).unwrap_or_else(|_| Err("the driver panicked".into()));
                let bytes = postcard::to_stdvec(&(outcome, begun.elapsed())).unwrap_or_default();
                let _ = write.write_all(&bytes);
                // SAFETY: ends the process, and nothing of the lab's is run on the way out.
                unsafe { libc::_exit(0) }
            }
        }
    }

    /// Waits for what came of it, and how long that took; `None` if there was nothing to kill at: no system call in the
    /// window, a window too long for a quick look, a mode that does not apply.
    pub(crate) fn finish(mut self) -> Option<(Report, Duration)> {
        let (outcome, time) = self.outcome().unwrap_or_else(|e| (Err(e.to_string()), self.begun.elapsed()));
        let report = outcome.unwrap_or_else(|why| {
            let failure = Failure { place: "experiment".into(), instruction: "?".into(), why };
            Report { points: 1, bad: 1, failures: vec![failure], ..Report::default() }
        });
        (report.points > 0).then_some((report, time))
    }

    fn outcome(&mut self) -> io::Result<(Outcome, Duration)> {
        let mut bytes = Vec::new();
        loop {
            let left = self.limit.saturating_sub(self.begun.elapsed());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.outcome.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(0) => return Err(io::Error::other(format!("takes longer than {:?}", self.limit))),
                Ok(_) => {
                    let mut chunk = [0; 4096];
                    match self.outcome.read(&mut chunk)? {
                        0 => return postcard::from_bytes(&bytes).map_err(|_| io::Error::other("the driver died")),
                        n => bytes.extend_from_slice(&chunk[..n]),
                    }
                }
                Err(_) => {}
            }
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = kill(self.child, Signal::SIGKILL);
        let _ = waitpid(self.child, None);
    }
}

type Outcome = Result<Report, String>;

fn experiment(row: &dyn Row, state: &str, mode: Mode, effort: Effort) -> Outcome {
    if row.is_opaque() {
        // The children of the dead complain there.
        silence().map_err(|e| e.to_string())?;
    }
    let experiment = Experiment::new(row, state, effort).map_err(|e| format!("cannot make the world: {e}"))?;
    if mode.applies(&experiment) { mode.run(&experiment) } else { Ok(Report::default()) }
}

fn silence() -> std::io::Result<()> {
    Ok(nix::unistd::dup2_stderr(std::fs::File::create("/dev/null")?)?)
}
