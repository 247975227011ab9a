//! Start a child, get a number back, join.

use std::{cell::RefCell, io, rc::Rc, time::Duration};

use crate::{
    figure::{Figure, Plan, Side},
    measure::Samples,
    python,
    starts::{Kind, Parent, Way},
};

const CURVE: &str = "start by the parent's heap, MiB";

/// The figures of this area.
pub fn plans() -> Vec<Plan> {
    let small = Plan::new("proc-core", "start", |name| {
        let figure = ways(name, Kind::Small)?;
        Ok(python::add(figure, &[("start fork", "Python fork"), ("start forkserver", "Python forkserver")])
            .target("ForkServer", 1.0, "bare fork + wait")
            .target("Spawn", 1.1, "Command of itself")
            .target("Fork", 1.25, "bare fork + wait"))
    });
    let heaps = [1, 64, 256].map(|mib| {
        Plan::new("proc-core", format!("start, {mib} MiB heap"), move |name| few_ways(name, Kind::Heap(mib)))
            .on(CURVE, mib as f64)
    });
    let large =
        Plan::new("proc-core", "start, 1 GiB heap", |name| {
            // Ours from the small parent beside it: the size shall make no difference.
            Ok(with_small(few_ways(name, Kind::Heap(1024))?)?
                .target("ForkServer", 1.1, "ForkServer, small parent")
                .target("ForkServer", 1.0 / 150.0, "bare fork + wait"))
        });
    let threads = Plan::new("proc-core", "start, 8 threads", |name| {
        Ok(with_small(few_ways(name, Kind::Threads(8))?)?.target("ForkServer", 1.1, "ForkServer, small parent"))
    });
    [small].into_iter().chain(heaps).chain([large.on(CURVE, 1024.0), threads]).collect()
}

fn ways(name: String, kind: Kind) -> io::Result<Figure> {
    of(Figure::cost(name, "µs"), kind, &Way::ALL, "")
}

fn few_ways(name: String, kind: Kind) -> io::Result<Figure> {
    of(Figure::cost(name, "µs"), kind, &[Way::BareFork, Way::ForkServer, Way::Spawn, Way::Thread], "")
}

fn with_small(figure: Figure) -> io::Result<Figure> {
    of(figure, Kind::Small, &[Way::ForkServer], ", small parent")
}

fn of(mut figure: Figure, kind: Kind, ways: &[Way], suffix: &str) -> io::Result<Figure> {
    let parent = Rc::new(RefCell::new(Parent::new(kind)?));
    for &way in ways {
        let parent = parent.clone();
        let side = match way {
            Way::ForkServer | Way::Spawn | Way::Fork => Side::Ours,
            Way::Vfork => Side::Limit,
            Way::BareFork => Side::C,
            _ => Side::Rust,
        };
        // A bare fork is what ours are measured by, whoever else is asked for.
        let side = if way == Way::BareFork { Side::Limit } else { side };
        figure = figure.case(side, &format!("{}{suffix}", way.name()), move |length: Duration| {
            let times = parent.borrow_mut().start(way, 5000, length)?;
            Ok(Samples::new(times).median())
        });
    }
    Ok(figure)
}
