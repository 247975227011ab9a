//! One operation in one initial state: brings a victim to instruction k, ends it there, and asks the survivors.

use std::{io, time::Duration};

use test_support::{
    processes,
    step::{Stop, Victim},
};

use crate::{
    cast::{self, Actor, patience},
    ledger::Ledger,
    operation::{Role, Row, Verdict, Victims},
    stopwatch::Stopwatch,
    world::{Image, Instance, Template},
};

/// How much of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Samples, where a point costs a process.
    Quick,
    /// Every point, as far as a window's length allows.
    Full,
}

/// The setting of a number of points.
pub(crate) struct Experiment<'a> {
    pub(crate) row: &'a dyn Row,
    pub(crate) state: &'a str,
    pub(crate) effort: Effort,
    has_faults: bool,
    pub(crate) template: Template,
    /// Where every point takes place, one after another.
    pub(crate) stage: Instance,
}

/// A victim on its way, and who has come in meanwhile.
pub(crate) struct Scene<'a> {
    experiment: &'a Experiment<'a>,
    pub(crate) victim: Victim,
    pub(crate) others: Vec<Actor>,
    n_blocked: u32,
    /// Stop for good at this blocking call, the first being 1.
    block_at: Option<u32>,
    /// Of a victim that was there before: its window ends when this says so, where it sleeps, or with itself.
    attached: Option<Ledger>,
}

/// One instruction, or one half of a system call.
pub(crate) type Advance = fn(&mut Victim) -> Stop;

impl<'a> Experiment<'a> {
    pub(crate) fn new(row: &'a dyn Row, state: &'a str, effort: Effort, has_faults: bool) -> io::Result<Self> {
        let template = row.template(state)?;
        let stage = template.instance()?;
        Ok(Self { row, state, effort, has_faults, template, stage })
    }

    /// As [`new`](Self::new), for one point, in the world that the maker has made itself.
    pub(crate) fn once(row: &'a dyn Row, state: &'a str, effort: Effort) -> io::Result<Self> {
        let template = row.template(state)?;
        let stage = template.original()?;
        Ok(Self { row, state, effort, has_faults: false, template, stage })
    }

    /// Sets the stage afresh, with a victim before the first instruction of its window.
    pub(crate) fn open(&'a self) -> io::Result<Scene<'a>> {
        self.stage.load(&self.template.image)?;
        if self.has_faults {
            self.stage.ledger()?.expect_faults();
        }
        self.enter(Victims::First, None)
    }

    /// As [`open`](Self::open), where the victim is to stay in its `block_at`th blocking call.
    pub(crate) fn open_until_blocked(&'a self, block_at: u32) -> io::Result<Scene<'a>> {
        self.stage.load(&self.template.image)?;
        self.enter(Victims::First, Some(block_at))
    }

    /// Sets the stage as it was when everybody on it died at once.
    pub(crate) fn load(&self, image: &Image) -> io::Result<()> {
        self.stage.load(image)?;
        self.stage.ledger()?.bury_sleepers();
        Ok(())
    }

    /// Puts a victim on the stage as it is.
    pub(crate) fn enter(&'a self, which: Victims, block_at: Option<u32>) -> io::Result<Scene<'a>> {
        if self.row.has(Role::Launcher) {
            return self.launch();
        }
        let mut holder = None;
        if which == Victims::First && self.row.has(Role::Holder) {
            let mut actor = self.act(Role::Holder)?;
            actor.settles(patience());
            holder = Some(actor);
        }
        let ledger = self.stage.ledger()?;
        let victim = Victim::start(|mark| {
            ledger.listen_for_panics();
            self.row.live(which, &self.stage, self.state, mark);
        })?;
        let mut scene =
            Scene { experiment: self, victim, others: Vec::from_iter(holder), n_blocked: 0, block_at, attached: None };
        if which == Victims::First && !self.row.has(Role::Helper) {
            scene.call_waiter()?;
        }
        Ok(scene)
    }

    /// Has the victim launched by somebody else, and takes hold of it.
    fn launch(&'a self) -> io::Result<Scene<'a>> {
        let ledger = self.stage.ledger()?;
        let mut launcher = self.act(Role::Launcher)?;
        let Some((pid, has_breakpoint)) = ledger.victim() else {
            return Err(io::Error::other(format!("no victim: {:?}", launcher.verdict(patience()))));
        };
        let mut victim = Victim::attach(pid)?;
        ledger.go();
        if has_breakpoint {
            if victim.run() != Stop::Stopped {
                return Err(io::Error::other(format!("no breakpoint\n{}", victim.whereabouts())));
            }
        } else {
            launcher.settles(patience());
        }
        Ok(Scene {
            experiment: self,
            victim,
            others: vec![launcher],
            n_blocked: 0,
            block_at: None,
            attached: Some(ledger),
        })
    }

    /// Whether real sleepers belong to the state, whom no copy of the memory can show.
    pub(crate) fn has_waiter(&self) -> bool {
        self.state.contains("waiter")
    }

    /// Whoever lost its parent became a child of this driver, and ought to be dead.
    fn nobody_is_left(&self) -> Verdict {
        let mut begun = Stopwatch::start();
        loop {
            cast::reap_strays();
            let orphans = processes::children(std::process::id().cast_signed());
            if orphans.is_empty() {
                return Ok(());
            }
            if begun.elapsed() > patience() {
                let who: String = orphans.iter().map(|orphan| processes::whereabouts(*orphan)).collect();
                return Err(format!("ORPHANS:\n{who}"));
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    pub(crate) fn act(&self, role: Role) -> io::Result<Actor> {
        Actor::start(|| self.row.play(role, &self.stage, self.state))
    }

    /// Asks the survivor, and then everybody who was there before.
    pub(crate) fn judge(&self, others: Vec<Actor>) -> Verdict {
        let survivor = self.act(Role::Survivor).map_err(|e| e.to_string())?;
        survivor.verdict(patience())?;
        for other in others {
            other.verdict(patience()).map_err(|e| format!("another process: {e}"))?;
        }
        if self.row.is_opaque() { self.nobody_is_left() } else { Ok(()) }
    }
}

impl<'a> Scene<'a> {
    pub(crate) fn experiment(&self) -> &'a Experiment<'a> {
        self.experiment
    }

    /// How often the victim blocked so far.
    pub(crate) fn n_blocked(&self) -> u32 {
        self.n_blocked
    }

    /// Moves the victim on; where it blocks, has somebody do what it waits for.
    pub(crate) fn go(&mut self, advance: Advance) -> Result<Stop, String> {
        let mut begun = Stopwatch::start();
        loop {
            match advance(&mut self.victim) {
                Stop::Blocked | Stop::Ended(_) if self.attached.is_some() => return Ok(Stop::Done),
                Stop::Stopped if self.attached.as_ref().is_some_and(Ledger::is_over) => return Ok(Stop::Done),
                Stop::Blocked => {
                    if begun.elapsed() > patience() {
                        return Err(format!("WEDGED: the operation blocks for good\n{}", self.victim.whereabouts()));
                    }
                    // Ten have helped: it is the turn of those whom they helped, however busy the machine is.
                    if !self.experiment.row.has(Role::Helper) || self.n_blocked > 10 {
                        continue;
                    }
                    self.n_blocked += 1;
                    if self.block_at == Some(self.n_blocked) {
                        return Ok(Stop::Blocked);
                    }
                    if self.n_blocked == 1 {
                        self.call_waiter().map_err(|e| e.to_string())?;
                    }
                    let mut helper = self.experiment.act(Role::Helper).map_err(|e| e.to_string())?;
                    // One who came late would meet the survivor instead, or make two where the victim wants one.
                    helper.settles(patience());
                    self.others.push(helper);
                }
                Stop::Ended(status) => return Err(format!("the operation ended its process: {status:?}")),
                Stop::Panicked => return Err(self.last_words()),
                stop => return Ok(stop),
            }
        }
    }

    /// Moves the victim on by `n`; fewer if its window ends before. Returns by how many.
    pub(crate) fn go_by(&mut self, n: u64, advance: Advance) -> Result<u64, String> {
        for i in 0..n {
            match self.go(advance)? {
                Stop::Stopped => {}
                _ => return Ok(i),
            }
        }
        Ok(n)
    }

    /// Kills the victim where it stands and has everybody else judge.
    pub(crate) fn kill(self) -> Verdict {
        self.victim.kill();
        self.experiment.judge(self.others)
    }

    /// Has everybody else judge beside a victim that lives on.
    pub(crate) fn spare(self) -> Verdict {
        let Self { experiment, victim, others, attached, .. } = self;
        let standing = if attached.is_some() {
            victim.let_go();
            None
        } else {
            Some(victim)
        };
        let verdict = experiment.judge(others);
        drop(standing);
        verdict
    }

    /// Ends a scene that was only looked at. Those whom a launcher started play on to their end: on the next stage they would
    /// wait for what has been said on this one.
    pub(crate) fn leave(self) {
        if self.is_attached() {
            let _ = self.kill();
        }
    }

    /// Whether the victim was there before, and is to have an end of its own.
    pub(crate) fn is_attached(&self) -> bool {
        self.attached.is_some()
    }

    /// What the victim said in its panic.
    fn last_words(&self) -> String {
        self.experiment.stage.ledger().map_or_else(|e| e.to_string(), |ledger| ledger.said())
    }

    fn call_waiter(&mut self) -> io::Result<()> {
        if self.experiment.has_waiter() && self.experiment.row.has(Role::Waiter) {
            let n = if self.experiment.state.contains("waiters") { 2 } else { 1 };
            for _ in 0..n {
                let mut waiter = self.experiment.act(Role::Waiter)?;
                waiter.settles(patience());
                self.others.push(waiter);
            }
        }
        Ok(())
    }
}
