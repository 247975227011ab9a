//! Two processes are held at once, each at one of its instructions: this shows faults that one victim cannot show.
//!
//! The first actor is stopped after i instructions, and a third process works. The second actor is stopped after j
//! instructions, and the third process works again. Then the two go on in either order, or one or both are killed; the
//! third process works in between. At the end the survivor judges. So a late store of one actor meets what the other
//! actor has only half done, up to two laps later.

use test_support::step::{Stop, Victim};

use crate::{
    cast::{Actor, patience},
    code,
    experiment::{Advance, Effort, Experiment},
    mode::{Report, text},
    operation::{Role, Verdict, Victims},
    stopwatch::Stopwatch,
    walk::{Moment, Place, Walk},
    world::Image,
};

/// How it ends for the two who were held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    FirstGoesOn,
    SecondGoesOn,
    FirstDies,
    SecondDies,
    BothDie,
}

impl Ending {
    const ALL: [Self; 5] = [Self::FirstGoesOn, Self::SecondGoesOn, Self::FirstDies, Self::SecondDies, Self::BothDie];

    /// All for a full look and for mutants; else both orders for each pair of places, and one of the deaths.
    fn choose(experiment: &Experiment, n_pairs: usize) -> Vec<Self> {
        let mut chosen = Self::ALL.to_vec();
        if experiment.effort == Effort::Quick && experiment.row.is_only_pair() {
            chosen.swap(2, 2 + n_pairs % 3);
            chosen.truncate(3);
        }
        chosen
    }

    fn name(self) -> &'static str {
        match self {
            Self::FirstGoesOn => "the first goes on, then the second",
            Self::SecondGoesOn => "the second goes on, then the first",
            Self::FirstDies => "the first dies, then the second goes on",
            Self::SecondDies => "the second dies, then the first goes on",
            Self::BothDie => "both die",
        }
    }
}

/// At how many places of its walk an actor is held. An operation with fewer instructions is held at each of them. Of a
/// longer one, the places are before instructions that change the shared memory, and others at equal distances.
fn most_places(experiment: &Experiment, walk: &Walk) -> usize {
    match experiment.effort {
        Effort::Quick if experiment.row.is_opaque() || walk.n() > LONG => 5,
        Effort::Quick => 8,
        // A thousand points and more, with the endings, for each of a hundred operations and states.
        Effort::Full => 16,
    }
}

/// To come to a place of a longer walk takes most of the time of a quick set.
const LONG: u64 = 2_000;

/// An actor that has executed so many instructions without sleeping spins. From there on it is moved from one system
/// call to the next.
const ALONE: u64 = 4_000;

/// After so many of these calls it naps and looks in turns, and waits for the other actor.
const NAPS: u64 = 40;

/// Every pair of places, with its endings.
pub(crate) fn at_pairs(experiment: &Experiment) -> Result<Report, String> {
    let walk = with_stage(experiment, |experiment| Duo::open(experiment)?.survey(Actors::FIRST))?;
    let mut report = Report::default();
    let mut n_pairs = 0;
    for first in walk.places(most_places(experiment, &walk)) {
        let beside = with_stage(experiment, |experiment| {
            let mut duo = Duo::open(experiment)?;
            duo.go_to(Actors::FIRST, &first)?;
            duo.call_second()?;
            duo.survey(Actors::SECOND)
        })?;
        report.instructions = report.instructions.max((walk.n() + 1) * (beside.n() + 1));
        for second in beside.places(most_places(experiment, &beside)) {
            n_pairs += 1;
            for ending in Ending::choose(experiment, n_pairs) {
                let verdict = with_stage(experiment, |experiment| {
                    let mut duo = Duo::held(experiment, &first, &second)?;
                    duo.work().map_err(|why| format!("beside both, held: {why}"))?;
                    duo.end(ending)?;
                    let others = std::mem::take(&mut duo.others);
                    drop(duo);
                    experiment.judge(others)
                });
                report.single(verdict, || {
                    let place = format!(
                        "the first after {} of {} instructions, the second after {} of {}; {}",
                        first.at,
                        walk.n(),
                        second.at,
                        beside.n(),
                        ending.name()
                    );
                    (place, lines_at(experiment, &first, &second))
                });
            }
        }
    }
    Ok(report)
}

/// Runs `act` on the stage, set to its initial state. If the world is more than memory, `act` gets a new stage.
fn with_stage<R>(experiment: &Experiment, act: impl FnOnce(&Experiment) -> Result<R, String>) -> Result<R, String> {
    if !experiment.row.is_opaque() {
        experiment.stage.load(&experiment.template.image).map_err(text)?;
        return act(experiment);
    }
    let own = Experiment::once(experiment.row, experiment.state, experiment.effort).map_err(text)?;
    act(&own)
}

fn lines_at(experiment: &Experiment, first: &Place, second: &Place) -> String {
    let lines = with_stage(experiment, |experiment| {
        let duo = Duo::held(experiment, first, second)?;
        let line = |actor: usize| {
            duo.actors.get(actor).map_or_else(String::new, |victim| code::line(victim.pid(), victim.instruction()))
        };
        Ok(format!("{}\n         and {}", line(Actors::FIRST), line(Actors::SECOND)))
    });
    lines.unwrap_or_else(|why| why)
}

/// The places of the two in [`Duo::actors`].
struct Actors;

impl Actors {
    const FIRST: usize = 0;
    const SECOND: usize = 1;
}

/// The two actors, and the helpers that have started meanwhile.
struct Duo<'a> {
    experiment: &'a Experiment<'a>,
    actors: Vec<Victim>,
    /// For each actor, how many instructions it has executed since it last slept.
    n_alone: Vec<u64>,
    others: Vec<Actor>,
}

impl<'a> Duo<'a> {
    /// With the first actor before the first instruction of its window.
    fn open(experiment: &'a Experiment<'a>) -> Result<Self, String> {
        let mut duo = Self { experiment, actors: Vec::new(), n_alone: Vec::new(), others: Vec::new() };
        if experiment.row.has(Role::Holder) {
            duo.call(Role::Holder)?;
        }
        duo.start(Victims::First)?;
        Ok(duo)
    }

    /// With both actors where they are held.
    fn held(experiment: &'a Experiment<'a>, first: &Place, second: &Place) -> Result<Self, String> {
        let mut duo = Self::open(experiment)?;
        duo.go_to(Actors::FIRST, first)?;
        duo.call_second()?;
        duo.go_to(Actors::SECOND, second)?;
        Ok(duo)
    }

    fn start(&mut self, which: Victims) -> Result<(), String> {
        let Experiment { row, stage, state, .. } = self.experiment;
        let ledger = stage.ledger().map_err(text)?;
        let actor = Victim::start(|mark| {
            ledger.listen_for_panics();
            row.live(which, stage, state, mark);
        });
        self.actors.push(actor.map_err(text)?);
        self.n_alone.push(0);
        Ok(())
    }

    /// Has the third process work beside the first actor; then starts the second, which stops before its window.
    fn call_second(&mut self) -> Result<(), String> {
        self.work().map_err(|why| format!("beside the first, held: {why}"))?;
        self.start(Victims::Second)
    }

    /// Starts a process in this role, and waits until it has ended or sleeps.
    fn call(&mut self, role: Role) -> Result<(), String> {
        let mut actor = self.experiment.act(role).map_err(text)?;
        actor.settles(patience());
        self.others.push(actor);
        Ok(())
    }

    fn work(&self) -> Verdict {
        self.experiment.act(Role::Worker).map_err(text)?.verdict(patience())
    }

    /// Moves an actor by one instruction, or from one system call to the next if it has spun for long.
    fn step(&mut self, actor: usize) -> Result<Stop, String> {
        let advance: Advance = if self.n_alone[actor] < ALONE { Victim::step } else { Victim::next_call };
        self.n_alone[actor] += 1;
        self.advance(actor, advance)
    }

    /// Moves an actor. If it sleeps, a helper does what it waits for.
    fn advance(&mut self, actor: usize, advance: impl Fn(&mut Victim) -> Stop) -> Result<Stop, String> {
        let mut stop = advance(&mut self.actors[actor]);
        if stop == Stop::Blocked && self.experiment.row.has(Role::Helper) {
            self.call(Role::Helper)?;
            self.n_alone[actor] = 0;
            stop = advance(&mut self.actors[actor]);
        }
        self.no_bad_end(stop)
    }

    /// Moves an actor to its place; less far if its window ends or no helper can wake it.
    fn go_to(&mut self, actor: usize, place: &Place) -> Result<(), String> {
        for address in place.stations() {
            if self.advance(actor, |victim| victim.run_to(address))? != Stop::Stopped {
                return Ok(());
            }
        }
        self.n_alone[actor] = place.n_alone;
        for _ in 0..place.n_steps {
            if self.step(actor)? != Stop::Stopped {
                break;
            }
        }
        Ok(())
    }

    /// Moves an actor to its end, and notes its way.
    fn survey(&mut self, actor: usize) -> Result<Walk, String> {
        let mut live = Image::default();
        let stage = &self.experiment.stage;
        stage.capture(&mut live).map_err(text)?;
        let mut walk = Walk { moments: vec![self.moment(actor, false)], changes: Vec::new() };
        while self.n_alone[actor] < ALONE + NAPS {
            let by_step = self.n_alone[actor] < ALONE;
            if self.step(actor)? != Stop::Stopped {
                break;
            }
            if stage.capture(&mut live).map_err(text)? {
                walk.changes.push(walk.moments.len() - 1);
            }
            walk.moments.push(self.moment(actor, by_step));
        }
        Ok(walk)
    }

    fn moment(&self, actor: usize, by_step: bool) -> Moment {
        let address = self.actors[actor].instruction().unwrap_or_default();
        Moment { address, by_step, n_alone: self.n_alone[actor] }
    }

    fn end(&mut self, ending: Ending) -> Verdict {
        let [first, second] = [Actors::FIRST, Actors::SECOND];
        match ending {
            Ending::FirstGoesOn | Ending::SecondGoesOn => {
                let order = if ending == Ending::FirstGoesOn { [first, second] } else { [second, first] };
                self.go_on(order[0])?;
                self.work().map_err(|why| format!("when one had gone on: {why}"))?;
                self.go_on(order[1])?;
                self.finish()
            }
            Ending::FirstDies | Ending::SecondDies => {
                self.actors.remove(if ending == Ending::FirstDies { first } else { second }).kill();
                self.work().map_err(|why| format!("when one had died: {why}"))?;
                self.finish()
            }
            Ending::BothDie => {
                self.actors.drain(..).for_each(Victim::kill);
                self.work().map_err(|why| format!("when both had died: {why}"))
            }
        }
    }

    /// Runs an actor to the end of its window, or to where it sleeps.
    fn go_on(&mut self, actor: usize) -> Result<Stop, String> {
        loop {
            // An actor that slept at the end of a step stops once more where that step ends.
            match self.actors[actor].run() {
                Stop::Stopped => {}
                stop => return self.no_bad_end(stop),
            }
        }
    }

    /// Runs the remaining actors to the end of their windows; helpers wake them where the row has such a role.
    fn finish(&mut self) -> Verdict {
        let mut begun = Stopwatch::start();
        let (mut n_helped, mut n_done) = (0, 0);
        loop {
            let stops: Vec<Stop> = (0..self.actors.len()).map(|actor| self.go_on(actor)).collect::<Result<_, _>>()?;
            let Some(asleep) = stops.iter().position(|stop| *stop != Stop::Done) else { return Ok(()) };
            let n_done_before =
                std::mem::replace(&mut n_done, stops.iter().filter(|stop| **stop == Stop::Done).count());
            if n_done > n_done_before {
                // An actor that has ended since may have woken this one.
                continue;
            }
            if begun.elapsed() > patience() {
                return Err(format!("WEDGED: it sleeps for good\n{}", self.actors[asleep].whereabouts()));
            }
            let role = [Role::Rescuer, Role::Helper].into_iter().find(|role| self.experiment.row.has(*role));
            if let Some(role) = role
                && n_helped < 3
            {
                n_helped += 1;
                self.call(role)?;
            }
        }
    }

    fn no_bad_end(&self, stop: Stop) -> Result<Stop, String> {
        match stop {
            Stop::Ended(status) => Err(format!("an operation ended its process: {status:?}")),
            Stop::Panicked => Err(self.experiment.stage.ledger().map_or_else(|e| e.to_string(), |l| l.said())),
            stop => Ok(stop),
        }
    }
}
