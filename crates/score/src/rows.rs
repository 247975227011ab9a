//! The rows of the scoreboard.

use std::sync::OnceLock;

use crate::{
    hostile, leaks,
    parts::{self, Said, number_before},
    row::{Effort, Found, Plan, Row, Verdict},
    safety,
    subject::{Scenario, Side},
    trials,
};

/// Enough to see how often a peer fails.
const PEER_TRIALS: u64 = 100;

pub(crate) const ROWS: [Row; 16] = [
    Row {
        number: 1,
        figure: "kill points survived, all operations and states",
        target: "all, of at least 20,000",
        peer: "a semaphore wedges at every instruction inside",
        measure: |plan| {
            let lab = lab(plan, "snap")?;
            let ours = format!("{} of {}", lab.single - lab.bad.min(lab.single), lab.single);
            let is_met = lab.has_passed && lab.bad == 0 && lab.single > 0;
            Ok(Found::new(ours, is_met, plan.effort == Effort::Full && lab.single >= 20_000))
        },
    },
    Row {
        number: 2,
        figure: "double faults survived (the recoverer dies, too)",
        target: "all, of at least 1,000,000",
        peer: "nobody publishes it",
        measure: |plan| {
            let lab = lab(plan, "snap2")?;
            let ours = format!("{} of {}", lab.double - lab.bad.min(lab.double), lab.double);
            let is_met = lab.has_passed && lab.bad == 0 && lab.double > 0;
            Ok(Found::new(ours, is_met, plan.effort == Effort::Full && lab.double >= 1_000_000))
        },
    },
    Row {
        number: 3,
        figure: "lock wedged by SIGKILL of who uses it",
        target: "0 of 10,000",
        peer: "8-19 %",
        measure: |plan| kills(plan, Scenario::Lock),
    },
    Row {
        number: 4,
        figure: "queue wedged by SIGKILL of a producer, a consumer",
        target: "0, 0 of 10,000 each",
        peer: "31-47 %, 49-64 %",
        measure: |plan| {
            let producers = kills(plan, Scenario::Producers)?;
            let consumers = kills(plan, Scenario::Consumers)?;
            let mut both = Found {
                ours: format!("{}; {}", producers.ours, consumers.ours),
                verdict: if producers.verdict == Verdict::Missed { producers.verdict } else { consumers.verdict },
                peers: Vec::new(),
            };
            let pairs = producers.peers.into_iter().zip(consumers.peers);
            both.peers = pairs.map(|((name, put), (_, got))| (name, format!("{put}; {got}"))).collect();
            Ok(both)
        },
    },
    Row {
        number: 5,
        figure: "acknowledged items lost or twice in a kill soak",
        target: "0, at 10 kills/s; 1 h, 10^8 items",
        peer: "\"likely to become corrupted\"",
        measure: soak,
    },
    Row {
        number: 6,
        figure: "JoinableQueue::join returns after a consumer's death",
        target: "always, within 100 ms",
        peer: "0 of 100",
        measure: |plan| {
            let say = |joins: trials::Joins| {
                format!("{} of {} return, {} later than 100 ms", joins.n - joins.n_never, joins.n, joins.n_late)
            };
            let joins = trials::join_after_death(Side::Ours, plan.amount(500, 10_000)).map_err(text)?;
            let is_met = joins.n_never == 0 && joins.n_late <= joins.n / 100;
            Ok(Found::new(say(joins), is_met, true)
                .beside(plan.peers(false), |side| trials::join_after_death(side, PEER_TRIALS / 4).map(say)))
        },
    },
    Row {
        number: 7,
        figure: "pool: tasks without an end, innocents failed",
        target: "0, 0 of 1,000 kills",
        peer: "Pool 1, 0; Executor 0, 30 of 40; pebble 0, 0",
        measure: |plan| {
            let say = |tasks: trials::Tasks| {
                let (never, innocent) = (tasks.n_never, tasks.n_innocent);
                format!("{never}, {innocent} of {} kills, {} right", tasks.n_kills, tasks.n_right)
            };
            let tasks = trials::kill_at_tasks(Side::Ours, 1000).map_err(text)?;
            let is_met = tasks.n_never == 0 && tasks.n_innocent == 0;
            Ok(Found::new(say(tasks), is_met, true)
                .beside(plan.peers(true), |side| trials::kill_at_tasks(side, PEER_TRIALS / 4).map(say)))
        },
    },
    Row {
        number: 8,
        figure: "pool usable after an idle worker's SIGKILL",
        target: "always, whole within 50 ms",
        peer: "46 of 100",
        measure: |plan| {
            let say = |idle: trials::Idle| {
                let (usable, n, late, median) = (idle.n_usable, idle.n, idle.n_late, idle.median);
                format!("{usable} of {n}, {late} later than 50 ms, median {:.1} ms", median.as_secs_f64() * 1e3)
            };
            let idle = trials::kill_idle(Side::Ours, plan.amount(500, 1000)).map_err(text)?;
            // Whoever else uses the processors may hold up one in a hundred.
            let is_in_time = idle.n_late <= idle.n / 100;
            let is_met = idle.n_usable == idle.n && is_in_time;
            Ok(Found::new(say(idle), is_met, true)
                .beside(plan.peers(true), |side| trials::kill_idle(side, PEER_TRIALS / 4).map(say)))
        },
    },
    Row {
        number: 9,
        figure: "orphans of a killed owner; names in /dev/shm",
        target: "0; 0",
        peer: "4-6; 20 of 20",
        measure: |plan| {
            let say = |owners: trials::Owners| {
                let (orphans, family, n) = (owners.n_orphans, owners.n_family, owners.n);
                format!("{orphans} of {family} processes; {} names, {n} owners", owners.n_names)
            };
            let owners = trials::kill_owners(Side::Ours, plan.amount(100, 1000)).map_err(text)?;
            let is_met = owners.n_orphans == 0 && owners.n_names == 0;
            Ok(Found::new(say(owners), is_met, true)
                .beside(plan.peers(false), |side| trials::kill_owners(side, PEER_TRIALS / 10).map(say)))
        },
    },
    Row {
        number: 10,
        figure: "timed calls beside a stopped process, 50 ms late",
        target: "0 of 10,000",
        peer: "unbounded",
        measure: |plan| {
            let say = |stops: trials::Stops| {
                format!("{} of {} late, {} rounds wedged", stops.n_late, stops.n_calls, stops.n_wedged)
            };
            let stops = trials::stop_workers(Side::Ours, plan.amount(3000, 10_000)).map_err(text)?;
            let (is_met, is_whole) = (stops.n_late + stops.n_wedged == 0, stops.n_calls >= 10_000);
            Ok(Found::new(say(stops), is_met, is_whole)
                .beside(plan.peers(false), |side| trials::stop_workers(side, 3 * PEER_TRIALS).map(say)))
        },
    },
    Row {
        number: 11,
        figure: "hostile bytes without panic, hang, SIGBUS",
        target: "10^9 frames, 10^6 changes by a live writer",
        peer: "202 of 400 hang",
        measure: hostile_bytes,
    },
    Row {
        number: 12,
        figure: "failing system calls: typed error, no leak",
        target: "all",
        peer: "not published",
        measure: |plan| {
            let of_queues = ["queue/", "--mode", "fault"];
            let of_all = ["--mode", "fault", "--full"];
            let said = parts::crash_lab(if plan.effort == Effort::Full { &of_all } else { &of_queues })?;
            let (points, bad) = parts::sum_of_mode(&said.text, "fault")?;
            let ours = format!("{} of {points}", points - bad.min(points));
            let is_met = said.has_passed && bad == 0 && points > 0;
            Ok(Found::new(ours, is_met, plan.effort == Effort::Full))
        },
    },
    Row {
        number: 13,
        figure: "hosts and lack of resources: surprises",
        target: "0",
        peer: "SIGBUS",
        measure: |_| {
            let said = parts::cargo(&["test", "--quiet", "--package", "pool", "--test", "hosts"])?;
            let [n_rows, n_skipped, n] =
                [" rows", " skipped", " surprises"].map(|what| number_before(&said.text, what));
            let (n_rows, n_skipped, n) = (n_rows?, n_skipped?, n?);
            let ours = format!("{n} of {n_rows}, {n_skipped} conditions skipped");
            Ok(Found::new(ours, said.has_passed && n == 0 && n_rows > 0, n_skipped == 0))
        },
    },
    Row {
        number: 14,
        figure: "descriptors of a queue; queues within 1,024",
        target: "1; 1,000",
        peer: "2; 508",
        measure: |plan| {
            let say = |(of_hundred, most): (u64, u64)| format!("{:.2}; {most}", of_hundred as f64 / 100.0);
            let count = trials::count_queues(Side::Ours).map_err(text)?;
            Ok(Found::new(say(count), count.0 <= 100 && count.1 >= 1000, true)
                .beside(plan.peers(false), |side| trials::count_queues(side).map(say)))
        },
    },
    Row {
        number: 15,
        figure: "leaks: descriptors, maps, zombies, RSS",
        target: "0, 0, 0, under 1 MiB after 10^5 cycles",
        peer: "trackers, zombies",
        measure: leaks::measure,
    },
    Row {
        number: 16,
        figure: "sanitizers, loom; unsafe with its reason",
        target: "0 reports; all",
        peer: "-",
        measure: safety::measure,
    },
];

fn kills(plan: Plan, scenario: Scenario) -> Result<Found, String> {
    let say = |kills: &trials::Kills| match kills.n_inside {
        0 => format!("{} of {}", kills.n_wedged, kills.n),
        inside => format!("{} of {}, {inside} inside", kills.n_wedged, kills.n),
    };
    let kills = trials::kill_workers(Side::Ours, scenario, plan.amount(1000, 10_000)).map_err(text)?;
    Ok(Found::new(say(&kills), kills.n_wedged == 0, kills.n >= 10_000)
        .beside(plan.peers(false), |side| trials::kill_workers(side, scenario, PEER_TRIALS).map(|kills| say(&kills))))
}

fn soak(plan: Plan) -> Result<Found, String> {
    let said = parts::crash_lab(&["storm", "--seconds", &plan.amount(20, 3600).to_string()])?;
    let n_messages = number_before(&said.text, " messages")?;
    let is_good = said.has_passed && said.text.lines().any(|line| line.starts_with("nothing wedged"));
    let n_bad = u64::from(!is_good);
    let (n_kills, n_stops) = (number_before(&said.text, " kills")?, number_before(&said.text, " stops")?);
    let ours = format!("{n_bad} of {n_messages}, {n_kills} kills, {n_stops} stops");
    let is_whole = plan.effort == Effort::Full && n_messages >= 100_000_000 && n_kills >= 36_000;
    Ok(Found::new(ours, is_good && n_messages > 0 && n_kills > 0, is_whole))
}

/// Changes by live writers, and frames to fuzzers: those of all runs that were kept, to which `--full` adds.
fn hostile_bytes(plan: Plan) -> Result<Found, String> {
    let mut found = hostile::measure(plan)?;
    let mut is_met = found.verdict != Verdict::Missed;
    if plan.effort == Effort::Full {
        // A quarter of an hour for all of them. What libFuzzer learns is kept, and is what the blind one changes.
        for args in [
            ["xtask", "fuzz", "--keep", "--seconds", "30"].as_slice(),
            &["xtask", "fuzz", "--keep", "--seconds", "30", "--blind"],
        ] {
            let said = parts::cargo(args)?;
            let (n, n_failed) = (number_before(&said.text, " executions")?, number_before(&said.text, " failed")?);
            is_met &= said.has_passed && n_failed == 0 && n > 0;
        }
    }
    let n = parts::fuzzed();
    found.ours += &format!("; fuzz: {n} executions in all runs");
    Ok(Found::new(found.ours, is_met, found.verdict == Verdict::Met && n >= 1_000_000_000))
}

/// The sums of the crash lab.
#[derive(Clone, Copy, Debug)]
struct Lab {
    single: u64,
    double: u64,
    bad: u64,
    has_passed: bool,
}

/// Of one run, for two rows, with `--full`.
fn lab(plan: Plan, mode: &str) -> Result<Lab, String> {
    static SAID: OnceLock<Result<Said, String>> = OnceLock::new();
    let said = match plan.effort {
        Effort::Full => SAID.get_or_init(|| parts::crash_lab(&["--full"])).clone()?,
        Effort::Short => parts::crash_lab(&["lock", "--mode", mode])?,
    };
    Ok(Lab {
        single: number_before(&said.text, " single")?,
        double: number_before(&said.text, " double-fault")?,
        bad: number_before(&said.text, " not survived")?,
        has_passed: said.has_passed,
    })
}

fn text(e: std::io::Error) -> String {
    e.to_string()
}
