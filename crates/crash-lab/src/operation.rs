//! An entry of the table: what is done to what, and what the survivors must then find.

use std::io;

use serde::{Serialize, de::DeserializeOwned};
use test_support::step::Mark;

use crate::{
    ledger::Ledger,
    world::{Instance, Template},
};

/// What a survivor says: nothing, or what is wrong.
pub(crate) type Verdict = Result<(), String>;

/// Those who have a part in an experiment beside the victim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Comes after the death and checks everything.
    Survivor,
    /// Comes before anybody else, and has what the victim wants; lives on until somebody tells it.
    Holder,
    /// Sleeps in a call of its own when the victim begins, or when the victim blocks; must come back by itself, or by
    /// what the survivor does. Takes part in the states whose name says "waiter", and twice where it says "waiters".
    Waiter,
    /// Comes while the victim stands at the place of its death, so that it may be blocked by it when it dies.
    Arrival,
    /// Does what a blocked victim waits for.
    Helper,
    /// Starts the victim, or uses it: names its pid in the ledger, waits for the start, and comes to its own end
    /// whatever becomes of it.
    Launcher,
    /// Meets a victim that is stopped and not dead; must be back before its own deadlines.
    Bystander,
    /// At the end of a pair, in place of the helper: does what an actor waits for that the other one did not live to do.
    Rescuer,
    /// Works beside two who are held, four times at most, a process each time; what it is told must be true.
    Worker,
}

type Part<W> = fn(&W, &Ledger, &str) -> Verdict;
type Life<W> = fn(&W, &Ledger, &str, &Mark);

/// One operation of a type `W` that several processes share, in a number of initial states.
pub(crate) struct Operation<W> {
    name: &'static str,
    states: &'static [&'static str],
    world: fn(&str, &Ledger) -> W,
    victim: Life<W>,
    parts: Vec<(Role, Part<W>)>,
    recoverer: Option<Life<W>>,
    second: Option<Life<W>>,
    is_only_pair: bool,
    is_opaque: bool,
    has_threads: bool,
}

impl<W: Serialize + DeserializeOwned + 'static> Operation<W> {
    /// `world` makes the object in one of the `states`; `victim` calls [`Mark::window`] around the operation and,
    /// inside it, notes in the ledger what it was promised; `survivor` judges.
    pub(crate) fn new(
        name: &'static str,
        states: &'static [&'static str],
        world: fn(&str, &Ledger) -> W,
        victim: Life<W>,
        survivor: Part<W>,
    ) -> Self {
        let parts = vec![(Role::Survivor, survivor)];
        Self {
            name,
            states,
            world,
            victim,
            parts,
            recoverer: None,
            second: None,
            is_only_pair: false,
            is_opaque: false,
            has_threads: false,
        }
    }

    /// Adds another participant.
    pub(crate) fn with(mut self, role: Role, part: Part<W>) -> Self {
        self.parts.push((role, part));
        self
    }

    /// For the double fault: who finds the object after the first death, and is killed as well.
    pub(crate) fn recoverer(mut self, life: Life<W>) -> Self {
        self.recoverer = Some(life);
        self
    }

    /// For pairs: who is held beside the victim; a [`Role::Worker`] belongs to it.
    pub(crate) fn beside(mut self, life: Life<W>) -> Self {
        self.second = Some(life);
        self
    }

    /// Says that each of the two has rows of its own for the other modes.
    pub(crate) fn only_pair(mut self) -> Self {
        self.is_only_pair = true;
        self
    }

    /// Says that processes and descriptors are at stake, and not only memory: a copy of the memory proves nothing, and
    /// no process may be left over.
    pub(crate) fn opaque(mut self) -> Self {
        self.is_opaque = true;
        self
    }

    /// Says that the victim has another thread, which goes on while the first is stepped.
    pub(crate) fn threaded(mut self) -> Self {
        self.has_threads = true;
        self
    }

    pub(crate) fn boxed(self) -> Box<dyn Row> {
        Box::new(self)
    }
}

impl Operation<()> {
    /// Of processes that are started for each death: the launcher has everything, and judges.
    pub(crate) fn nothing(name: &'static str, states: &'static [&'static str]) -> Self {
        Self::new(name, states, |_, _| (), |(), _, _, _| (), |(), _, _| Ok(())).opaque()
    }
}

/// An [`Operation`] whose type of world is forgotten.
pub(crate) trait Row {
    fn name(&self) -> &'static str;
    fn states(&self) -> &'static [&'static str];
    fn has(&self, role: Role) -> bool;
    fn has_recoverer(&self) -> bool;
    fn has_second(&self) -> bool;
    fn is_only_pair(&self) -> bool;
    fn is_opaque(&self) -> bool;
    /// Why a copy of the memory would prove nothing; `None` if it does.
    fn why_no_snap(&self) -> Option<&'static str>;
    fn template(&self, state: &str) -> io::Result<Template>;
    fn play(&self, role: Role, instance: &Instance, state: &str) -> Verdict;
    fn live(&self, which: Victims, instance: &Instance, state: &str, mark: &Mark);
}

/// Those who can be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Victims {
    First,
    Recoverer,
    /// Beside the first.
    Second,
}

impl<W: Serialize + DeserializeOwned + 'static> Row for Operation<W> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn states(&self) -> &'static [&'static str] {
        self.states
    }

    fn has(&self, role: Role) -> bool {
        self.parts.iter().any(|(known, _)| *known == role)
    }

    fn has_recoverer(&self) -> bool {
        self.recoverer.is_some()
    }

    fn has_second(&self) -> bool {
        self.second.is_some()
    }

    fn is_only_pair(&self) -> bool {
        self.is_only_pair
    }

    fn is_opaque(&self) -> bool {
        self.is_opaque
    }

    fn why_no_snap(&self) -> Option<&'static str> {
        match self {
            Self { is_opaque: true, .. } => {
                Some("a copy of the memory has no processes and descriptors, and these are at stake")
            }
            Self { has_threads: true, .. } => Some("the victim's other thread goes on while a copy is made"),
            _ => None,
        }
    }

    fn template(&self, state: &str) -> io::Result<Template> {
        let ledger = Ledger::new()?;
        Template::new((self.world)(state, &ledger), ledger)
    }

    fn play(&self, role: Role, instance: &Instance, state: &str) -> Verdict {
        let part = self.parts.iter().find(|(known, _)| *known == role).ok_or("nobody plays this role")?.1;
        let (world, ledger) = instance.enter::<W>().map_err(|e| format!("cannot open the world: {e}"))?;
        part(&world, &ledger, state)
    }

    fn live(&self, which: Victims, instance: &Instance, state: &str, mark: &Mark) {
        let (world, ledger) = instance.enter::<W>().expect("the maker's world can be opened");
        let life = match which {
            Victims::First => self.victim,
            Victims::Recoverer => self.recoverer.expect("asked for only where there is one"),
            Victims::Second => self.second.expect("asked for only where there is one"),
        };
        life(&world, &ledger, state, mark);
    }
}
