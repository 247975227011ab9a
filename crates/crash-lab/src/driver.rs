//! A process for each experiment, so that nothing is left of one when the next begins.
//!
//! # Safety
//! Forks, from the lab's only thread.
#![allow(unsafe_code)]

use std::{
    fs,
    io::{self, PipeReader, Read as _, Write as _},
    os::fd::AsFd as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
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
use test_support::processes;

use crate::{
    cast,
    experiment::{Effort, Experiment},
    mode::{Failure, Mode, Report},
    operation::Row,
    stopwatch::Stopwatch,
};

/// An experiment that is being made.
pub(crate) struct Driver {
    child: Pid,
    /// Where it tells the outcome, how much of that has come, and what it was.
    told: PipeReader,
    heard: Vec<u8>,
    answer: Option<io::Result<(Outcome, Duration)>>,
    begun: Instant,
    watched: Stopwatch,
    limit: Duration,
}

impl Driver {
    /// Begins with one mode of one operation in one state.
    pub(crate) fn start(row: &dyn Row, state: &str, mode: Mode, effort: Effort) -> io::Result<Self> {
        let (told, mut tell) = io::pipe()?;
        let begun = Instant::now();
        // For an experiment that hangs. The longest of the quick set takes half a minute on an idle machine.
        let limit = Duration::from_secs(if effort == Effort::Quick { 300 } else { 1800 });
        // SAFETY: the lab has one thread.
        match unsafe { fork()? } {
            ForkResult::Parent { child } => {
                let watched = Stopwatch::start();
                Ok(Self { child, told, heard: Vec::new(), answer: None, begun, watched, limit })
            }
            ForkResult::Child => {
                drop(told);
                // SAFETY: takes two integers.
                unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
                cast::adopt_orphans();
                let work = AssertUnwindSafe(|| experiment(row, state, mode, effort));
                let outcome = catch_unwind(work).unwrap_or_else(|_| Err("the driver panicked".into()));
                let mut bytes = Vec::new();
                // What cannot be written is as if the driver had died.
                let _ = wire::encode_named(&(outcome, begun.elapsed()), &mut bytes);
                let _ = tell.write_all(&bytes);
                // SAFETY: ends the process, and nothing of the lab's is run on the way out.
                unsafe { libc::_exit(0) }
            }
        }
    }

    /// What came of it, and how long that took; `None` if there was nothing to kill at: no system call in the window, a
    /// window too long for a quick look, a mode that does not apply.
    pub(crate) fn finish(mut self) -> Option<(Report, Duration)> {
        let answer = self.answer.take().unwrap_or_else(|| Err(io::Error::other("asked before it was over")));
        let (outcome, time) = answer.unwrap_or_else(|e| (Err(e.to_string()), self.begun.elapsed()));
        let report = outcome.unwrap_or_else(|why| {
            let failure = Failure { place: "experiment".into(), instruction: "?".into(), why };
            Report { points: 1, bad: 1, failures: vec![failure], ..Report::default() }
        });
        (report.points > 0).then_some((report, time))
    }

    /// Hears more of the outcome, of which there is some.
    fn listen(&mut self) {
        let mut chunk = [0; 4096];
        match self.told.read(&mut chunk) {
            Ok(0) => {
                let answer = wire::decode(&self.heard);
                self.answer = Some(answer.map_err(|_| io::Error::other("the driver died")));
            }
            Ok(n) => self.heard.extend_from_slice(&chunk[..n]),
            Err(e) => self.answer = Some(Err(e)),
        }
    }
}

/// Waits until one of them is over, or takes too long; returns its place.
pub(crate) fn first_over<'a>(drivers: impl Iterator<Item = &'a mut Driver>) -> usize {
    let mut drivers: Vec<_> = drivers.collect();
    loop {
        if let Some(i) = drivers.iter().position(|driver| driver.answer.is_some()) {
            return i;
        }
        let mut fds: Vec<_> = drivers.iter().map(|d| PollFd::new(d.told.as_fd(), PollFlags::POLLIN)).collect();
        let _ = poll(&mut fds, PollTimeout::from(20u16));
        let has_news: Vec<_> = fds.iter().map(|fd| fd.any().unwrap_or_default()).collect();
        for (driver, has_news) in drivers.iter_mut().zip(has_news) {
            if has_news {
                driver.listen();
            } else if driver.watched.elapsed() > driver.limit {
                let where_it_is: String = std::iter::once(driver.child.as_raw())
                    .chain(processes::children(driver.child.as_raw()))
                    .map(processes::whereabouts)
                    .collect();
                let text = format!("takes longer than {:?}\n{where_it_is}", driver.limit);
                driver.answer = Some(Err(io::Error::other(text)));
            }
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = kill(self.child, Signal::SIGKILL);
        let _ = waitpid(self.child, None);
        let _ = fs::remove_file(scratch_file(self.child.as_raw().cast_unsigned()));
    }
}

/// The one file that an experiment may make, by the pid of its driver, who is the parent of those on stage. A run that
/// nobody judges leaves it behind.
pub(crate) fn scratch_file(driver: u32) -> PathBuf {
    std::env::temp_dir().join(format!("crash-lab-{driver}"))
}

type Outcome = Result<Report, String>;

fn experiment(row: &dyn Row, state: &str, mode: Mode, effort: Effort) -> Outcome {
    if row.is_opaque() || mode == Mode::Fault {
        // The children of the dead complain there, and who was refused something.
        silence().map_err(|e| e.to_string())?;
    }
    let experiment =
        Experiment::new(row, state, effort, mode == Mode::Fault).map_err(|e| format!("cannot make the world: {e}"))?;
    if mode.applies(&experiment) { mode.run(&experiment) } else { Ok(Report::default()) }
}

fn silence() -> std::io::Result<()> {
    Ok(nix::unistd::dup2_stderr(std::fs::File::create("/dev/null")?)?)
}
