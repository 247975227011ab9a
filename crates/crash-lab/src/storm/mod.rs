//! SIGKILL and SIGSTOP at random times, in many processes that use the same things in all the roles that there are, on an idle
//! machine and on a busy one.
//!
//! Each round has a world of its own. Actors put, get, lock, wait, own pools, managers and supervisors, listen, connect,
//! daemonize; they, and whoever descends from them, are killed and replaced, or stopped and go on, or killed as they are
//! stopped, up to three at once. At the end of a round the rest comes to an end by itself, nobody is left, and the books must
//! balance: an acknowledged message came once, or is still there, or was in the hands of a process that was killed in the middle
//! of a `get`; an item of the joinable queue is never lost; what was sent with a task, a child or a client's message happened
//! once if it was acknowledged, and at most once if not.

mod books;
mod random;
mod roles;
mod victims;
mod world;

use std::{
    collections::BTreeMap,
    io,
    process::ExitCode,
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};

use self::{
    books::{N_VALUES, Word},
    random::Random,
    roles::Role,
    victims::Victim,
    world::World,
};
use crate::{
    cast::{Actor, adopt_orphans, patience},
    ledger::Ledger,
    operation::Verdict,
    stopwatch::Stopwatch,
    world::{Instance, Template},
};

pub(crate) const HELP: &str = "\
usage: cargo xtask crash storm [--kills N] [--stops N] [--seconds N] [--busy N] [--seed N]

Kills and stops processes at random times in every role that there is, every other round beside N busy processes (1,000
kills, 1,000 stops and 8 busy processes if not given; with --seconds, as many as there is time for), and checks that nothing
is wedged, lost, done twice or left behind.
";

/// The most blows in a round.
const N_BLOWS: u64 = 400;

/// The most processes that one blow hits.
const MOST_AT_ONCE: u64 = 3;

#[derive(Clone, Copy, Debug)]
struct Plan {
    n_kills: u64,
    n_stops: u64,
    n_busy: u64,
    seed: u64,
    seconds: u64,
}

#[derive(Debug, Default)]
struct Sum {
    n_rounds: u64,
    n_kills: u64,
    n_stops: u64,
    n_messages: u64,
    n_in_hand: u64,
    n_missing: u64,
    by_role: BTreeMap<String, u64>,
}

/// Runs the storm that `args` ask for.
pub(crate) fn run(args: impl Iterator<Item = String>) -> ExitCode {
    let plan = match Plan::parse(args) {
        Ok(plan) => plan,
        Err(message) => {
            eprintln!("{message}\n\n{HELP}");
            return ExitCode::FAILURE;
        }
    };
    let begun = Instant::now();
    let mut sum = Sum::default();
    let verdict = storm(plan, &mut sum);
    let killed: Vec<_> = sum.by_role.iter().map(|(role, n)| format!("{n} {role}")).collect();
    println!("killed: {}", killed.join(", "));
    println!(
        "{} kills and {} stops in {} rounds, every other beside {} busy processes: {} messages, {} in the hands of killed \
         takers, {} of them gone, {:.0} s",
        sum.n_kills,
        sum.n_stops,
        sum.n_rounds,
        plan.n_busy,
        sum.n_messages,
        sum.n_in_hand,
        sum.n_missing,
        begun.elapsed().as_secs_f64()
    );
    match verdict {
        Ok(()) => {
            println!("nothing wedged, nothing lost beyond that, nothing twice, nobody left");
            ExitCode::SUCCESS
        }
        Err(why) => {
            println!("FAILED in round {} (seed {}): {why}", sum.n_rounds, plan.seed);
            ExitCode::FAILURE
        }
    }
}

impl Plan {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut plan = Self { n_kills: 1000, n_stops: 1000, n_busy: 8, seed: 1, seconds: 0 };
        while let Some(arg) = args.next() {
            let number = match arg.as_str() {
                "--kills" => &mut plan.n_kills,
                "--stops" => &mut plan.n_stops,
                "--busy" => &mut plan.n_busy,
                "--seed" => &mut plan.seed,
                "--seconds" => &mut plan.seconds,
                other => return Err(format!("there is no option {other}")),
            };
            *number = args.next().and_then(|n| n.parse().ok()).ok_or("how many?")?;
        }
        if plan.seconds > 0 {
            (plan.n_kills, plan.n_stops) = (u64::MAX, u64::MAX);
        }
        Ok(plan)
    }

    fn is_over(&self, sum: &Sum, begun: Instant) -> bool {
        let is_late = self.seconds > 0 && begun.elapsed() > Duration::from_secs(self.seconds);
        is_late || sum.n_kills >= self.n_kills && sum.n_stops >= self.n_stops
    }
}

fn storm(plan: Plan, sum: &mut Sum) -> Verdict {
    adopt_orphans();
    let mut random = Random::new(plan.seed);
    let begun = Instant::now();
    while !plan.is_over(sum, begun) {
        // They end with this process, or when they are dropped.
        let n_busy = if sum.n_rounds % 2 == 1 { plan.n_busy } else { 0 };
        let busy = (0..n_busy).map(|_| Actor::start(spin)).collect::<io::Result<Vec<_>>>().map_err(text)?;
        let others: Vec<i32> = busy.iter().map(Actor::pid).collect();
        round(plan, sum, &mut random, begun, &others)?;
        sum.n_rounds += 1;
    }
    Ok(())
}

fn spin() -> Verdict {
    loop {
        std::hint::spin_loop();
    }
}

fn round(plan: Plan, sum: &mut Sum, random: &mut Random, begun: Instant, others: &[i32]) -> Verdict {
    let template = Template::new(World::new().map_err(text)?, Ledger::new().map_err(text)?).map_err(text)?;
    let stage = template.original().map_err(text)?;
    let (world, _) = stage.enter::<World>().map_err(text)?;
    let name = format!("crash-lab-storm-{}-{}", std::process::id(), sum.n_rounds);
    let mut actors = Vec::new();
    for role in Role::ALL {
        actors.push((role, actor(&stage, role, &name, random.next()).map_err(text)?));
    }
    for _ in 0..N_BLOWS {
        if plan.is_over(sum, begun) || world.books.get(Word::Next) >= N_VALUES {
            break;
        }
        std::thread::sleep(Duration::from_micros(random.below(20_000)));
        // Some at once: who is to settle what one has left dies, too.
        let n = 1 + random.below(MOST_AT_ONCE);
        let victims = Victim::choose(n, &actors, others, random);
        let n = victims.len() as u64;
        let (stops, kills) = match random.below(3) {
            0 => (false, true),
            1 => (true, false),
            _ => (true, true),
        };
        if stops {
            victims.iter().for_each(Victim::stop);
            std::thread::sleep(Duration::from_micros(random.below(5000)));
            sum.n_stops += n;
        }
        if kills {
            victims.iter().for_each(Victim::kill);
            sum.n_kills += n;
            for victim in &victims {
                *sum.by_role.entry(victim.role.clone()).or_default() += 1;
            }
        } else {
            victims.iter().for_each(Victim::go_on);
        }
        for (role, one) in &mut actors {
            match one.poll() {
                // Another in its place, and of another role.
                Some(Err(why)) if !why.contains("SIGKILL") => return Err(format!("{}: {why}", role.name())),
                Some(_) => {
                    *role = Role::ALL[random.below(Role::ALL.len() as u64) as usize];
                    *one = actor(&stage, *role, &name, random.next()).map_err(text)?;
                }
                None => {}
            }
        }
        victims::reap_strays(&actors, others);
    }
    world.books.word(Word::Over).store(1, SeqCst);
    for (role, actor) in actors {
        match actor.verdict(5 * patience()) {
            Err(why) if !why.contains("SIGKILL") => return Err(format!("{}: {why}", role.name())),
            _ => {}
        }
    }
    let mut watched = Stopwatch::start();
    while let Some(left) = victims::reap_strays(&[], others) {
        if watched.elapsed() > 2 * patience() {
            return Err(format!("LEFT BEHIND: {}", test_support::processes::whereabouts(left)));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let pid_file = std::env::temp_dir().join(&name);
    // A killed daemon's is the next one's; there is none any more.
    let _ = std::fs::remove_file(pid_file);
    world.balance(sum)
}

fn actor(stage: &Instance, role: Role, name: &str, seed: u64) -> io::Result<Actor> {
    Actor::start(|| {
        let (world, _) = stage.enter::<World>().map_err(text)?;
        role.play(world, name, seed)
    })
}

fn text(e: io::Error) -> String {
    e.to_string()
}
