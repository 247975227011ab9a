//! The driver of all trials with subjects: kills or stops somebody at a random moment, and looks what comes of it.

use std::{
    collections::BTreeSet,
    fs, io,
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    random::Random,
    subject::{PATIENCE, Scenario, Side, Subject, is_alive},
    words::{COUNTS, INSIDE, PIDS, RESULT, waits},
};

/// Who has made no progress for so long is wedged.
const WEDGED: Duration = Duration::from_secs(3);

/// More than lies in the subjects' queues.
const PROGRESS: u64 = 100;

/// What came of kills.
#[derive(Debug, Default)]
pub(crate) struct Kills {
    pub(crate) n: u64,
    pub(crate) n_inside: u64,
    pub(crate) n_wedged: u64,
}

/// Kills one of the first two workers `n` times. When the others are wedged by that, a new subject takes over.
pub(crate) fn kill_workers(side: Side, scenario: Scenario, n: u64) -> io::Result<Kills> {
    let mut random = Random::new(n);
    let mut kills = Kills::default();
    let mut subject = Subject::start(side, scenario)?;
    while kills.n < n {
        if !goes_on(&subject, scenario, None) {
            return Err(io::Error::other("the workers make no progress before anybody is killed"));
        }
        sleep(Duration::from_micros(random.below(3000)));
        let victim = random.below(2) as usize;
        if !subject.kill_worker(victim) {
            return Err(io::Error::other("a worker could not be killed"));
        }
        kills.n += 1;
        kills.n_inside += u64::from(subject.words.get(INSIDE) == victim as u64 + 1);
        if goes_on(&subject, scenario, Some(victim)) {
            subject.words.order(victim as u64);
            if subject.words.is_done_within(PATIENCE) {
                continue;
            }
        }
        kills.n_wedged += 1;
        drop(subject);
        subject = Subject::start(side, scenario)?;
    }
    Ok(kills)
}

/// Whether those that are not `dead` make progress.
fn goes_on(subject: &Subject, scenario: Scenario, dead: Option<usize>) -> bool {
    let watched: Vec<usize> = match scenario {
        Scenario::Producers => vec![2],
        _ => (0..2).filter(|number| Some(*number) != dead).collect(),
    };
    let count = || watched.iter().map(|number| subject.words.get(COUNTS + number)).sum::<u64>();
    let before = count();
    waits(WEDGED, || count() >= before + PROGRESS)
}

/// What came of joins of a queue whose item was with a consumer that was killed.
#[derive(Debug, Default)]
pub(crate) struct Joins {
    pub(crate) n: u64,
    pub(crate) n_never: u64,
    pub(crate) n_late: u64,
}

pub(crate) fn join_after_death(side: Side, n: u64) -> io::Result<Joins> {
    let mut joins = Joins::default();
    let mut subject = Subject::start(side, Scenario::Join)?;
    while joins.n < n {
        if !waits(PATIENCE, || subject.words.get(INSIDE) == 1) || !subject.kill_worker(0) {
            return Err(io::Error::other("no consumer has taken the item"));
        }
        joins.n += 1;
        subject.words.order(0);
        if subject.words.is_done_within(WEDGED) {
            joins.n_late += u64::from(subject.words.get(RESULT) > 100_000);
        } else {
            joins.n_never += 1;
            subject = Subject::start(side, Scenario::Join)?;
        }
    }
    Ok(joins)
}

/// What came of kills of workers in the middle of forty tasks.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    pub(crate) n_kills: u64,
    pub(crate) n_right: u64,
    /// That the killed worker was not running.
    pub(crate) n_innocent: u64,
    pub(crate) n_never: u64,
}

pub(crate) fn kill_at_tasks(side: Side, n: u64) -> io::Result<Tasks> {
    let mut random = Random::new(n);
    let mut tasks = Tasks::default();
    let mut subject = Subject::start(side, Scenario::Pool)?;
    while tasks.n_kills < n {
        subject.words.set(INSIDE, 0);
        subject.words.order(0);
        // When a worker has begun.
        waits(PATIENCE, || subject.words.get(INSIDE) != 0);
        sleep(Duration::from_micros(random.below(5000)));
        let pid = subject.words.get(INSIDE) as i32;
        let is_killed = pid != 0 && kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok();
        if !subject.words.is_done_within(PATIENCE) {
            tasks.n_never += 40;
            subject = Subject::start(side, Scenario::Pool)?;
            continue;
        }
        let [right, failed, never] = [0, 1, 2].map(|place| subject.words.get(RESULT + place));
        tasks.n_kills += u64::from(is_killed);
        tasks.n_right += right;
        tasks.n_innocent += failed.saturating_sub(u64::from(is_killed));
        tasks.n_never += never;
        if right + never < 20 {
            subject = Subject::start(side, Scenario::Pool)?;
        }
    }
    Ok(tasks)
}

/// What came of kills of workers that had nothing to do.
#[derive(Debug, Default)]
pub(crate) struct Idle {
    pub(crate) n: u64,
    pub(crate) n_usable: u64,
    pub(crate) n_late: u64,
    pub(crate) median: Duration,
}

pub(crate) fn kill_idle(side: Side, n: u64) -> io::Result<Idle> {
    let mut random = Random::new(n);
    let (mut idle, mut times) = (Idle::default(), Vec::new());
    let mut subject = Subject::start(side, Scenario::IdlePool)?;
    let ask = |subject: &Subject, what| {
        subject.words.order(what);
        subject.words.is_done_within(PATIENCE)
    };
    let mut is_known = false;
    while idle.n < n {
        if !is_known && !ask(&subject, 0) || !subject.kill_worker(random.below(2) as usize) {
            return Err(io::Error::other("the pool has no two workers"));
        }
        idle.n += 1;
        let begun = Instant::now();
        let is_whole = ask(&subject, 0);
        times.push(begun.elapsed());
        is_known = is_whole && ask(&subject, 1) && subject.words.get(RESULT) == 1;
        if is_known {
            idle.n_usable += 1;
        } else {
            subject = Subject::start(side, Scenario::IdlePool)?;
        }
    }
    times.sort();
    idle.n_late = times.iter().filter(|time| **time > Duration::from_millis(50)).count() as u64;
    idle.median = times[times.len() / 2];
    Ok(idle)
}

/// What was left of an owner's family after its SIGKILL, and after all of them had ended.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    pub(crate) n: u64,
    pub(crate) n_family: u64,
    pub(crate) n_orphans: u64,
    pub(crate) n_names: u64,
}

pub(crate) fn kill_owners(side: Side, n: u64) -> io::Result<Owners> {
    let mut random = Random::new(n);
    let mut owners = Owners::default();
    for _ in 0..n {
        let mut subject = Subject::start(side, Scenario::Owner)?;
        sleep(Duration::from_micros(random.below(20_000)));
        let family = subject.family();
        let names: BTreeSet<String> =
            family.iter().chain([&subject.pid()]).flat_map(|pid| shared_names(*pid)).collect();
        subject.kill()?;
        waits(Duration::from_secs(2), || family.iter().all(|pid| !is_alive(*pid)));
        owners.n += 1;
        owners.n_family += family.len() as u64;
        owners.n_orphans += family.iter().filter(|pid| is_alive(**pid)).count() as u64;
        for pid in &family {
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        waits(PATIENCE, || family.iter().all(|pid| !is_alive(*pid)));
        for name in names.iter().filter(|name| fs::metadata(name).is_ok()) {
            owners.n_names += 1;
            // The peers' are removed by nobody else.
            let _ = fs::remove_file(name);
        }
    }
    Ok(owners)
}

/// What a process has mapped of `/dev/shm`.
fn shared_names(pid: i32) -> Vec<String> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let names = maps.lines().filter_map(|line| line.split_ascii_whitespace().nth(5));
    names.filter(|name| name.starts_with("/dev/shm/")).map(str::to_owned).collect()
}

/// What came of timed calls beside a process that was stopped somewhere.
#[derive(Debug, Default)]
pub(crate) struct Stops {
    pub(crate) n_calls: u64,
    pub(crate) n_late: u64,
    /// Rounds that did not end as long as it was stopped.
    pub(crate) n_wedged: u64,
}

pub(crate) fn stop_workers(side: Side, n_calls: u64) -> io::Result<Stops> {
    let mut random = Random::new(n_calls);
    let mut stops = Stops::default();
    let subject = Subject::start(side, Scenario::Stopped)?;
    while stops.n_calls < n_calls {
        sleep(Duration::from_micros(random.below(2000)));
        let victim = Pid::from_raw(subject.words.get(PIDS + random.below(3) as usize) as i32);
        kill(victim, Signal::SIGSTOP)?;
        subject.words.order(0);
        let has_ended = subject.words.is_done_within(WEDGED);
        kill(victim, Signal::SIGCONT)?;
        if !has_ended {
            stops.n_wedged += 1;
            if !subject.words.is_done_within(PATIENCE) {
                let at = subject.words.get(RESULT + 2);
                return Err(io::Error::other(format!("timed call {at} does not return though nobody is stopped")));
            }
        }
        stops.n_calls += subject.words.get(RESULT);
        stops.n_late += subject.words.get(RESULT + 1);
    }
    Ok(stops)
}

/// Descriptors of a hundred queues, and how many queues a process with 1,024 descriptors can have.
pub(crate) fn count_queues(side: Side) -> io::Result<(u64, u64)> {
    let subject = Subject::start(side, Scenario::Queues)?;
    Ok((subject.words.get(RESULT), subject.words.get(RESULT + 1)))
}
