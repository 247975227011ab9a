//! How long it takes to start a child, get its value and wait for it: every way, from three kinds of parent.
//!
//! `cargo run --release -p benches --bin start [-- --quick]`

use std::{error::Error, time::Duration};

use benches::{
    load::{self, Load},
    measure::Samples,
    starts::{self, Kind, Parent, Way},
};

const KINDS: [(Kind, &str); 3] =
    [(Kind::Small, "small parent"), (Kind::Heap(1024), "1 GiB heap"), (Kind::Threads(8), "8 threads")];

fn main() -> Result<(), Box<dyn Error>> {
    if starts::has_served() {
        return Ok(());
    }
    let is_quick = std::env::args().any(|arg| arg == "--quick");
    let (n_rounds, n_starts, budget) =
        if is_quick { (3, 50, Duration::from_millis(60)) } else { (10, 300, Duration::from_millis(400)) };
    let load = Load::now();
    let mut parents = KINDS.map(|(kind, _)| Parent::new(kind));
    let mut times = vec![vec![Vec::new(); KINDS.len()]; Way::ALL.len()];
    for _ in 0..n_rounds {
        for (way_idx, &way) in Way::ALL.iter().enumerate() {
            for (kind_idx, parent) in parents.iter_mut().enumerate() {
                if way.is_open_to(KINDS[kind_idx].0) {
                    let parent = parent.as_mut().map_err(|e| e.to_string())?;
                    times[way_idx][kind_idx].extend(parent.start(way, n_starts, budget)?);
                }
            }
        }
    }
    let times: Vec<Vec<Samples>> =
        times.into_iter().map(|kinds| kinds.into_iter().map(Samples::new).collect()).collect();
    print(&times);
    println!("\nothers used {:.2} processors meanwhile; load {}", load.foreign_since(), load::averages());
    Ok(())
}

fn print(times: &[Vec<Samples>]) {
    let bare = Way::ALL.iter().position(|&way| way == Way::BareFork).expect("it is one of them");
    let bare = times[bare][0].median();
    println!("start, value, join; µs: median (p10), and the ratio to bare fork + wait of the small parent\n");
    print!("{:22}", "");
    KINDS.iter().for_each(|(_, name)| print!("{name:^30}"));
    println!();
    for (way, kinds) in Way::ALL.iter().zip(times) {
        print!("{:22}", way.name());
        for samples in kinds {
            if samples.is_empty() {
                print!("{:^30}", "–");
            } else {
                let median = samples.median();
                print!("{median:9.1} ({:8.1}) {:7.2}x  ", samples.quantile(0.1), median / bare);
            }
        }
        println!();
    }
}
