//! System calls that fail, one in each run of an operation: it must succeed all the same or be refused with an error.
//! Then nothing is leaked, a value that was not taken is its owner's, nobody else noticed, and the object works on.

use std::fs;

use nix::errno::Errno;
use test_support::step::{Stop, Victim};

use crate::{
    cast::patience,
    code, errors,
    experiment::{Effort, Experiment, Scene},
    mode::{Report, sample, text},
    operation::Verdict,
    stopwatch::Stopwatch,
};

/// Which call fails, how, and whether it is the only one.
#[derive(Clone, Copy, Debug)]
struct Fault {
    /// Counted among the calls that may fail.
    call: usize,
    error: Errno,
    /// Every later call that may fail like this does, too, up to a number of them.
    lasts: bool,
}

/// A want that lasts is over after so many calls: whoever tries again and again is not wrong.
const LONGEST_WANT: u32 = 100;

/// Each call of the window with each of its errors, or a sample.
pub(crate) fn each_call(experiment: &Experiment) -> Result<Report, String> {
    let (calls, most) = survey(experiment)?;
    let all: Vec<Fault> = calls.iter().enumerate().flat_map(|(i, errors)| faults(i, errors)).collect();
    let mut report = Report { instructions: calls.len() as u64, ..Report::default() };
    let Some(last) = all.len().checked_sub(1) else { return Ok(report) };
    let n_points = if experiment.effort == Effort::Quick { 3 } else { 2000 };
    for i in sample(last as u64, n_points) {
        let fault = all[i as usize];
        let mut scene = experiment.open().map_err(text)?;
        let (met, gone) = run(&mut scene, fault, |victim, error| {
            victim.fail_call(error);
        });
        let Some(call) = met else { continue };
        let verdict = judge(scene, gone, most);
        report.single(verdict, || {
            let lasts = if fault.lasts { ", and from there on" } else { "" };
            let place = format!("call {} of {}: {call} fails with {}{lasts}", fault.call + 1, calls.len(), fault.error);
            (place, line_of(experiment, fault))
        });
    }
    Ok(report)
}

/// The instruction that makes the call.
fn line_of(experiment: &Experiment, fault: Fault) -> String {
    let Ok(mut scene) = experiment.open() else { return String::new() };
    let mut line = String::new();
    let only = Fault { lasts: false, ..fault };
    let _ = run(&mut scene, only, |victim, _| line = code::line(victim.pid(), victim.instruction()));
    line
}

fn faults(call: usize, errors: &[Errno]) -> impl Iterator<Item = Fault> {
    errors.iter().flat_map(move |error| {
        let fault = Fault { call, error: *error, lasts: false };
        [Some(fault), errors::lasts(*error).then_some(Fault { lasts: true, ..fault })].into_iter().flatten()
    })
}

/// With which errors each call may fail that may, and the most that the victim has of anything before or after them, if
/// that can be told.
fn survey(experiment: &Experiment) -> Result<(Vec<Vec<Errno>>, Option<Belongings>), String> {
    let mut scene = experiment.open().map_err(text)?;
    let before = Belongings::of(scene.victim.pid());
    let mut calls = Vec::new();
    while scene.go(Victim::next_call)? == Stop::Stopped {
        let call = scene.victim.call().map(|call| errors::of(scene.victim.pid(), call).1);
        calls.extend(call.filter(|errors| !errors.is_empty()));
    }
    let after = Belongings::of(scene.victim.pid());
    let most = before.zip(after).filter(|_| !scene.is_attached()).map(|(before, after)| before.most(after));
    scene.leave();
    Ok((calls, most))
}

/// Takes the victim through its window, with `fail` at each call that is to fail. Returns the name of the first, if it
/// came to one, and how the window ended.
fn run(scene: &mut Scene, fault: Fault, mut fail: impl FnMut(&mut Victim, Errno)) -> (Option<&'static str>, Verdict) {
    let mut met = None;
    let (mut n_calls, mut n_failed) = (0, 0);
    let mut begun = Stopwatch::start();
    let gone = loop {
        match scene.go(Victim::next_call) {
            Ok(Stop::Stopped) if begun.elapsed() > 2 * patience() => {
                break Err(format!("WEDGED: it goes on and on\n{}", scene.victim.whereabouts()));
            }
            Ok(Stop::Stopped) => {}
            Ok(_) => break Ok(()),
            Err(why) => break Err(why),
        }
        let Some(call) = scene.victim.call() else { continue };
        let (name, errors) = errors::of(scene.victim.pid(), call);
        if errors.is_empty() {
            continue;
        }
        let is_it = n_calls == fault.call || fault.lasts && n_calls > fault.call && n_failed < LONGEST_WANT;
        n_calls += 1;
        if is_it && errors.contains(&fault.error) {
            n_failed += 1;
            met = met.or(Some(name));
            fail(&mut scene.victim, fault.error);
        }
    };
    (met, gone)
}

fn judge(scene: Scene, gone: Verdict, most: Option<Belongings>) -> Verdict {
    let ledger = scene.experiment().stage.ledger().map_err(text)?;
    let is_refused = ledger.is_refused();
    if let Err(why) = gone
        && !is_refused
    {
        return Err(why);
    }
    if !is_refused && !ledger.said().is_empty() {
        return Err(ledger.said());
    }
    // What the victim replaces in the background, a worker for one, is let go of a little later.
    let begun = std::time::Instant::now();
    while let (Some(most), Some(now)) = (most, Belongings::of(scene.victim.pid())) {
        match now.at_most(most) {
            Ok(()) => break,
            Err(_) if begun.elapsed() < std::time::Duration::from_secs(2) => std::thread::yield_now(),
            leaked => leaked?,
        }
    }
    // What succeeded may hold something that only its end gives back; and who looks for what is left over of a process
    // must not find it.
    let is_over = !is_refused || scene.experiment().row.is_opaque();
    if is_over && !scene.is_attached() { scene.kill() } else { scene.spare() }
}

/// What a process has that can leak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Belongings {
    descriptors: usize,
    shared_mappings: usize,
}

impl Belongings {
    /// None if it is gone.
    fn of(pid: i32) -> Option<Self> {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
        Some(Self { descriptors, shared_mappings: maps.lines().filter(|line| line.contains("/memfd:")).count() })
    }

    fn most(self, other: Self) -> Self {
        Self {
            descriptors: self.descriptors.max(other.descriptors),
            shared_mappings: self.shared_mappings.max(other.shared_mappings),
        }
    }

    fn at_most(self, most: Self) -> Verdict {
        if self.most(most) == most { Ok(()) } else { Err(format!("LEAKED: {self:?} where {most:?} is the most")) }
    }
}
