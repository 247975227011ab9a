//! A process for each experiment, so that nothing is left of one when the next begins.
//!
//! # Safety
//! Forks, from the lab's only thread.
#![allow(unsafe_code)]

use std::{
    io::{Read as _, Write as _},
    time::{Duration, Instant},
};

use nix::unistd::{ForkResult, fork};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{Signal, kill},
        wait::waitpid,
    },
};
use std::os::fd::AsFd as _;

use crate::{
    cast,
    experiment::{Effort, Experiment},
    mode::{Failure, Mode, Report},
    operation::Row,
};

/// Runs one mode of one operation in one state; `None` if the mode does not apply.
pub(crate) fn run(row: &dyn Row, state: &str, mode: Mode, effort: Effort) -> Option<(Report, Duration)> {
    let begun = Instant::now();
    let result = in_child(effort, || {
        if row.is_opaque() {
            // The children of the dead complain there.
            silence().map_err(|e| e.to_string())?;
        }
        let experiment = Experiment::new(row, state, effort).map_err(|e| format!("cannot make the world: {e}"))?;
        if mode.applies(&experiment) { mode.run(&experiment).map(Some) } else { Ok(None) }
    });
    let report = result.unwrap_or_else(|why| {
        let failure = Failure { place: "experiment".into(), instruction: "?".into(), why };
        Some(Report { points: 1, bad: 1, failures: vec![failure], ..Report::default() })
    })?;
    // Nothing to kill at: no system call in the window, or a window too long for a quick look.
    (report.points > 0).then(|| (report, begun.elapsed()))
}

fn silence() -> std::io::Result<()> {
    Ok(nix::unistd::dup2_stderr(std::fs::File::create("/dev/null")?)?)
}

type Outcome = Result<Option<Report>, String>;

fn in_child(effort: Effort, work: impl FnOnce() -> Outcome) -> Outcome {
    let limit: u16 = if effort == Effort::Quick { 60 } else { 900 };
    let (mut read, mut write) = std::io::pipe().map_err(|e| e.to_string())?;
    // SAFETY: the lab has one thread.
    let child = match unsafe { fork() }.map_err(|e| e.to_string())? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            drop(read);
            // SAFETY: takes two integers.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            cast::adopt_orphans();
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            let outcome = outcome.unwrap_or_else(|_| Err("the driver panicked".into()));
            let bytes = postcard::to_stdvec(&outcome).unwrap_or_default();
            let _ = write.write_all(&bytes);
            // SAFETY: ends the process, and nothing of the lab's is run on the way out.
            unsafe { libc::_exit(0) }
        }
    };
    drop(write);
    let begun = Instant::now();
    let mut bytes = Vec::new();
    let outcome = loop {
        let left = Duration::from_secs(limit.into()).saturating_sub(begun.elapsed());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut chunk = [0; 4096];
        match poll(&mut [PollFd::new(read.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) => {
                let _ = kill(child, Signal::SIGKILL);
                break Err(format!("the experiment takes longer than {limit} s"));
            }
            Ok(_) => match read.read(&mut chunk) {
                Ok(0) => break postcard::from_bytes(&bytes).unwrap_or_else(|_| Err("the driver died".into())),
                Ok(n) => bytes.extend_from_slice(&chunk[..n]),
                Err(e) => break Err(e.to_string()),
            },
            Err(_) => {}
        }
    };
    let _ = waitpid(child, None);
    outcome
}
