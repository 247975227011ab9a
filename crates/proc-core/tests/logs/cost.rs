//! What a record costs who logs it, beside a plain logger: printed, not judged.

use std::{
    fs::File,
    io::Write,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Instant,
};

use log::{LevelFilter, Log, Metadata, Record};
use proc_core::{Process, shm::Shared};

use crate::{alone, logger};

const ROUNDS: u64 = 200;
/// Fit into the ring: what is measured is not the owner.
const BURST: u64 = 500;

/// Writes to /dev/null, a call for each record.
struct Plain;

static NULL: OnceLock<File> = OnceLock::new();

impl Log for Plain {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = format!("{} {} {}\n", record.level(), record.target(), record.args());
        NULL.get().map(|mut null| null.write_all(line.as_bytes()));
    }

    fn flush(&self) {}
}

/// Nanoseconds that a record takes, the median of the bursts.
fn bursts(taken: &Shared<AtomicU64>, is_forwarded: bool) -> u64 {
    let mut nanos: Vec<_> = (1..=ROUNDS)
        .map(|round| {
            let begun = Instant::now();
            for n in 0..BURST {
                log::info!(target: "counted", "request {n} of client {} took {} ms", round, n % 100);
            }
            let nanos = begun.elapsed().as_nanos() as u64 / BURST;
            while is_forwarded && taken.load(SeqCst) < round * BURST {
                std::thread::yield_now();
            }
            nanos
        })
        .collect();
    nanos.sort_unstable();
    nanos[nanos.len() / 2]
}

#[test]
fn a_record_beside_one_of_a_plain_logger() {
    let _alone = alone();
    let taken = Shared::new(AtomicU64::new(0)).unwrap();
    logger::count(Some(taken.clone()));
    let forwarded = Process::spawn(|taken| bursts(&taken, true), (taken.clone(),)).unwrap().join().unwrap();
    logger::count(None);
    assert_eq!(taken.load(SeqCst), ROUNDS * BURST);
    let plain = |taken| {
        NULL.get_or_init(|| File::options().write(true).open("/dev/null").unwrap());
        log::set_logger(&Plain).unwrap();
        log::set_max_level(LevelFilter::Info);
        bursts(&taken, false)
    };
    let plain = Process::builder().forward_logs(false).spawn(plain, (taken,)).unwrap().join().unwrap();
    println!("a record: {forwarded} ns forwarded, {plain} ns by a plain logger to /dev/null");
}
