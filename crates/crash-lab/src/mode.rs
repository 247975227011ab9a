//! The ways of killing.

use std::io;

use serde::{Deserialize, Serialize};
use test_support::step::{Stop, Victim};

use crate::{
    cast::{SHORT, lose_patience, patience},
    code,
    experiment::{Advance, Effort, Experiment, Scene},
    fault,
    film::Film,
    operation::{Role, Verdict, Victims},
    pair,
    world::Image,
};

/// A way of killing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mode {
    /// SIGKILL after k instructions.
    Kill,
    /// SIGKILL at the entry and exit of every system call, and inside those that block.
    Call,
    /// No death: each system call fails once in turn, with each error that it may have.
    Fault,
    /// SIGKILL k instructions after the first call that blocked came back.
    Wake,
    /// SIGKILL after k instructions, when another process has come that may be blocked by the victim.
    Wait,
    /// The victim stands still after k instructions, alive; then it goes on.
    Stop,
    /// One victim; a copy of the shared memory is judged after each instruction.
    Snap,
    /// The double fault: from each of those copies a recoverer starts, and a copy is judged after each of *its*
    /// instructions.
    Snap2,
    /// Two actors held at once, each at one of its instructions, while a third works.
    Pair,
}

/// What came of one mode.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Length of the window; of pairs, how many there are.
    pub(crate) instructions: u64,
    /// How many deaths.
    pub(crate) points: u64,
    /// How many of them left different bytes behind, each of which was judged.
    pub(crate) judged: u64,
    /// How many were not survived.
    pub(crate) bad: u64,
    /// What went wrong at the first of these.
    pub(crate) failures: Vec<Failure>,
}

/// A death that was not survived.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) place: String,
    pub(crate) instruction: String,
    pub(crate) why: String,
}

/// More are counted, not described.
pub(crate) const MAX_DESCRIBED: usize = 3;

/// A quick look does not go through windows of more instructions than this.
const LONG: u64 = 20_000;

/// After so many points that were not survived, the rest would tell no more.
const MANY: u64 = 100;

impl Mode {
    pub(crate) const ALL: [Self; 9] =
        [Self::Kill, Self::Call, Self::Fault, Self::Wake, Self::Wait, Self::Stop, Self::Snap, Self::Snap2, Self::Pair];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Call => "call",
            Self::Fault => "fault",
            Self::Wake => "wake",
            Self::Wait => "wait",
            Self::Stop => "stop",
            Self::Snap => "snap",
            Self::Snap2 => "snap2",
            Self::Pair => "pair",
        }
    }

    /// Whether the experiment has what this mode needs.
    pub(crate) fn applies(self, experiment: &Experiment) -> bool {
        let row = experiment.row;
        match self {
            Self::Pair => row.has_second(),
            _ if row.is_only_pair() => false,
            Self::Kill | Self::Call | Self::Fault => true,
            Self::Wake => row.has(Role::Helper),
            Self::Wait => row.has(Role::Arrival) && !experiment.has_waiter(),
            Self::Stop => row.has(Role::Bystander),
            Self::Snap => row.why_no_snap().is_none(),
            Self::Snap2 => row.why_no_snap().is_none() && row.has_recoverer(),
        }
    }

    pub(crate) fn run(self, experiment: &Experiment) -> Result<Report, String> {
        match self {
            Self::Kill => at_instructions(experiment, 8, 60_000, |scene| scene.kill()),
            Self::Wait => at_instructions(experiment, 4, 20_000, kill_beside_arrival),
            Self::Stop => at_instructions(experiment, 4, 20_000, stop_and_go_on),
            Self::Call => at_calls(experiment),
            Self::Fault => fault::each_call(experiment),
            Self::Wake => at_wake(experiment),
            Self::Snap => snap(experiment),
            Self::Snap2 => snap_twice(experiment),
            Self::Pair => pair::at_pairs(experiment),
        }
    }
}

impl Report {
    /// Counts a death that was judged by itself.
    pub(crate) fn single(&mut self, verdict: Verdict, describe: impl FnOnce() -> (String, String)) {
        self.points += 1;
        self.judged += 1;
        self.note(verdict, describe);
    }

    fn note(&mut self, verdict: Verdict, describe: impl FnOnce() -> (String, String)) {
        if let Err(why) = verdict {
            self.bad += 1;
            if self.bad >= MAX_DESCRIBED as u64 {
                lose_patience(SHORT);
            }
            if self.failures.len() < MAX_DESCRIBED {
                let (place, instruction) = describe();
                self.failures.push(Failure { place, instruction, why });
            }
        }
    }
}

/// A death by SIGKILL, or a stop, after k instructions, for every k or for a sample.
fn at_instructions(
    experiment: &Experiment,
    quick_points: u64,
    full_steps: u64,
    end: fn(Scene) -> Verdict,
) -> Result<Report, String> {
    let mut scene = experiment.open().map_err(text)?;
    let n = scene.go_by(longest(experiment), Victim::step)?;
    let mut report = Report { instructions: n, ..Report::default() };
    let n_points = match experiment.effort {
        Effort::Quick if n == LONG => return Ok(report),
        Effort::Quick => quick_points.min(LONG / n.max(1)).max(3),
        Effort::Full => (2 * full_steps / n.max(1)).max(if n > LONG { 3 } else { quick_points }),
    };
    report.single(end(scene), || (format!("after all {n} instructions"), line_at(experiment, n, Victim::step)));
    for k in sample(n, n_points).filter(|k| *k < n) {
        let mut scene = experiment.open().map_err(text)?;
        let verdict = scene.go_by(k, Victim::step).and_then(|_| end(scene));
        report.single(verdict, || (format!("after {k} of {n} instructions"), line_at(experiment, k, Victim::step)));
    }
    Ok(report)
}

fn longest(experiment: &Experiment) -> u64 {
    if experiment.effort == Effort::Quick { LONG } else { u64::MAX }
}

/// 0..=n, or `n_points` of them spread evenly, both ends included.
pub(crate) fn sample(n: u64, n_points: u64) -> impl Iterator<Item = u64> {
    let n_points = n_points.max(2).min(n + 1);
    (0..n_points).map(move |i| i * n / (n_points - 1).max(1))
}

fn kill_beside_arrival(scene: Scene) -> Verdict {
    let mut arrival = scene.experiment().act(Role::Arrival).map_err(text)?;
    if !arrival.settles(patience()) {
        return Err("the one who came neither finished nor slept".into());
    }
    let experiment = scene.experiment();
    scene.victim.kill();
    arrival.verdict(patience()).map_err(|e| format!("the one who came: {e}"))?;
    experiment.judge(scene.others)
}

fn stop_and_go_on(mut scene: Scene) -> Verdict {
    let bystander = scene.experiment().act(Role::Bystander).map_err(text)?;
    bystander.verdict(patience()).map_err(|e| format!("beside a stopped process: {e}"))?;
    match scene.go(Victim::run)? {
        Stop::Done => scene.kill(),
        other => Err(format!("the victim went on, but did not come to its end: {other:?}")),
    }
}

/// At the entry and exit of each system call, and inside each that blocks.
fn at_calls(experiment: &Experiment) -> Result<Report, String> {
    let mut scene = experiment.open().map_err(text)?;
    let n = scene.go_by(u64::MAX, Victim::next_call)?;
    let n_blocked = scene.n_blocked();
    let mut report = Report { instructions: n, ..Report::default() };
    let n_points = if experiment.effort == Effort::Quick { 16 } else { 200 };
    scene.leave();
    for k in sample(n, n_points).filter(|k| *k > 0) {
        let mut scene = experiment.open().map_err(text)?;
        let verdict = scene.go_by(k, Victim::next_call).and_then(|_| scene.kill());
        report
            .single(verdict, || (format!("at system call stop {k} of {n}"), line_at(experiment, k, Victim::next_call)));
    }
    for block in 1..=n_blocked {
        let mut scene = experiment.open_until_blocked(block).map_err(text)?;
        let line = |scene: &Scene| code::line(scene.victim.pid(), scene.victim.instruction());
        let verdict = scene.go_by(u64::MAX, Victim::next_call);
        let line = line(&scene);
        let verdict = verdict.and_then(|_| scene.kill());
        report.single(verdict, || (format!("inside blocking call {block}"), line));
    }
    Ok(report)
}

/// After the call in which the victim slept.
fn at_wake(experiment: &Experiment) -> Result<Report, String> {
    let open = || {
        let mut scene = experiment.open().map_err(text)?;
        while scene.n_blocked() == 0 && scene.go(Victim::next_call)? == Stop::Stopped {}
        Ok::<_, String>(scene)
    };
    let mut report = Report { instructions: open()?.go_by(LONG, Victim::step)?, ..Report::default() };
    let n = report.instructions;
    let n_points = if experiment.effort == Effort::Quick { 8 } else { 100 };
    for k in sample(n, n_points) {
        let mut scene = open()?;
        let gone = scene.go_by(k, Victim::step);
        report.single(gone.and_then(|_| scene.kill()), || {
            let line = open().map(|mut scene| {
                let _ = scene.go_by(k, Victim::step);
                code::line(scene.victim.pid(), scene.victim.instruction())
            });
            (format!("{k} of {n} instructions after it was woken"), line.unwrap_or_default())
        });
    }
    Ok(report)
}

fn snap(experiment: &Experiment) -> Result<Report, String> {
    let film = Film::shoot(experiment.open().map_err(text)?, longest(experiment))?;
    let verdicts = film.judge(experiment)?;
    let n = (film.frames.len() as u64).saturating_sub(1);
    let mut report = Report { instructions: n, judged: film.images.len() as u64, ..Report::default() };
    for (k, id) in film.seen() {
        let k = k as u64;
        report.points += 1;
        report.note(verdicts[id].clone(), || {
            (format!("after {k} of {n} instructions"), line_at(experiment, k, Victim::step))
        });
    }
    Ok(report)
}

fn snap_twice(experiment: &Experiment) -> Result<Report, String> {
    let first = Film::shoot(experiment.open().map_err(text)?, longest(experiment))?;
    if first.frames.is_empty() {
        return Ok(Report::default());
    }
    let mut report = Report { instructions: first.frames.len() as u64 - 1, ..Report::default() };
    // Where nothing changed in memory, the recoverer will do the same again: those points come last.
    let frames = &first.frames;
    let (changes, rest): (Vec<_>, Vec<_>) = first.seen().partition(|(k, _)| *k == 0 || frames[*k] != frames[*k - 1]);
    let (enough, rest) = if experiment.effort == Effort::Quick { (1_500, Vec::new()) } else { (30_000, rest) };
    let every = 1 + rest.len() / 200;
    for (k, id) in changes.into_iter().chain(rest.into_iter().step_by(every)) {
        if report.points > enough || report.bad >= MANY {
            break;
        }
        let crashed = &first.images[id];
        experiment.load(crashed).map_err(text)?;
        let recoverer = experiment.enter(Victims::Recoverer, None).map_err(text)?;
        let second = match Film::shoot(recoverer, longest(experiment)) {
            Ok(second) => second,
            Err(why) => {
                report.points += 1;
                report.note(Err(why), || {
                    (format!("after {k} instructions, the recoverer"), line_at(experiment, k as u64, Victim::step))
                });
                continue;
            }
        };
        let verdicts = second.judge(experiment)?;
        report.judged += second.images.len() as u64;
        for (j, id) in second.seen() {
            report.points += 1;
            report.note(verdicts[id].clone(), || {
                let line = recoverer_line(experiment, crashed, j as u64);
                (format!("after {k} instructions, the recoverer after {j} of {}", second.frames.len() - 1), line)
            });
        }
    }
    Ok(report)
}

/// The instruction before which the victim stands after k of them.
fn line_at(experiment: &Experiment, k: u64, advance: Advance) -> String {
    let Ok(mut scene) = experiment.open() else { return String::new() };
    let _ = scene.go_by(k, advance);
    code::line(scene.victim.pid(), scene.victim.instruction())
}

fn recoverer_line(experiment: &Experiment, crashed: &Image, j: u64) -> String {
    let loaded = experiment.load(crashed);
    let Ok(mut scene) = loaded.and_then(|()| experiment.enter(Victims::Recoverer, None)) else {
        return String::new();
    };
    let _ = scene.go_by(j, Victim::step);
    code::line(scene.victim.pid(), scene.victim.instruction())
}

pub(crate) fn text(e: io::Error) -> String {
    e.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_both_ends_and_no_more_than_there_is() {
        assert_eq!(sample(3, 100).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(sample(100, 3).collect::<Vec<_>>(), [0, 50, 100]);
        assert_eq!(sample(100, 1).collect::<Vec<_>>(), [0, 100]);
        assert_eq!(sample(0, 5).collect::<Vec<_>>(), [0]);
    }
}
