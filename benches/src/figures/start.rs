//! Start a child, get a number back, join.

use std::{cell::RefCell, rc::Rc, time::Duration};

use crate::{
    figure::{Figure, Plan, Side},
    measure::Samples,
    python,
    starts::{Kind, Parent, Way},
};

const BY_HEAP: &str = "start by the parent's heap, MiB";
const BY_THREADS: &str = "start by the parent's threads";

/// The figures of this area.
pub fn plans() -> Vec<Plan> {
    let small = Plan::new("proc-core", "start", |name| {
        let figure = of(Figure::cost(name, "µs"), Kind::Small, &Way::ALL, "");
        Ok(python::add(
            figure,
            &[
                ("start fork", "Python fork"),
                ("start forkserver", "Python forkserver"),
                ("start spawn", "Python spawn"),
                ("start_loky", "loky"),
            ],
        ))
    });
    let heaps = [1, 64, 256, 4096, 8192].into_iter().filter(|&mib| mib <= 256 || has_room_for(mib)).map(|mib| {
        Plan::new("proc-core", format!("start, {mib} MiB heap"), move |name| Ok(few_ways(name, Kind::Heap(mib))))
            .on(BY_HEAP, mib as f64)
            .thorough_only(mib > 1024)
    });
    let many_threads = [1, 64, 256].map(|n| {
        Plan::new("proc-core", format!("start, {n} threads"), move |name| Ok(few_ways(name, Kind::Threads(n))))
            .on(BY_THREADS, n as f64)
            .thorough_only(n > 64)
    });
    let large = Plan::new("proc-core", "start, 1 GiB heap", |name| Ok(with_small(few_ways(name, Kind::Heap(1024)))));
    let threads = Plan::new("proc-core", "start, 8 threads", |name| Ok(with_small(few_ways(name, Kind::Threads(8)))));
    let both = [large.on(BY_HEAP, 1024.0), threads.on(BY_THREADS, 8.0)];
    [small].into_iter().chain(both).chain(heaps).chain(many_threads).collect()
}

/// Whether a process may have so many MiB, and a fork of it, without the machine's running out of memory.
fn has_room_for(mib: usize) -> bool {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib: Option<usize> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.is_some_and(|kib| kib / 1024 > mib + mib / 2)
}

fn few_ways(name: String, kind: Kind) -> Figure {
    of(Figure::cost(name, "µs"), kind, &[Way::Vfork, Way::BareFork, Way::ForkServer, Way::Spawn, Way::Thread], "")
}

/// Ours from the small parent beside it: what the parent is like shall make no difference.
fn with_small(figure: Figure) -> Figure {
    of(figure, Kind::Small, &[Way::ForkServer], ", small parent")
}

fn of(mut figure: Figure, kind: Kind, ways: &[Way], suffix: &str) -> Figure {
    let parent = Rc::new(RefCell::new(None));
    for &way in ways {
        let parent = parent.clone();
        let side = match way {
            Way::ForkServer | Way::Spawn | Way::Fork => Side::Ours,
            // Bare forks are what ours are measured by, whoever else is asked for.
            Way::Vfork | Way::BareFork | Way::ForkAndPipe => Side::Limit,
            _ => Side::Rust,
        };
        figure = figure.case(side, &format!("{}{suffix}", way.name()), move |length: Duration| {
            let mut parent = parent.borrow_mut();
            let parent = match &mut *parent {
                Some(parent) => parent,
                none => none.insert(Parent::new(kind)?),
            };
            Ok(Samples::new(parent.start(way, 5000, length)?).median())
        });
    }
    figure
}
