//! `kill -9` at any moment: what returned is there, once, in order.

use std::{
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::{Duration, SystemTime},
};

use proc_core::{Process, shm::Shared};

use crate::{alone_for, logger};

fn count(returned: Shared<AtomicU64>) {
    for n in 0.. {
        log::info!("{n}");
        returned.store(n + 1, SeqCst);
    }
}

/// So many, or as many as `LOG_KILLS` says.
fn n_kills() -> u64 {
    std::env::var("LOG_KILLS").map_or(100, |n| n.parse().unwrap())
}

#[test]
fn stress_what_has_returned_arrives_once_and_in_order() {
    let _alone = alone_for(Duration::from_secs(120) + Duration::from_millis(100) * n_kills() as u32);
    let mut random = SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos().into();
    let mut next = || {
        random = u64::wrapping_mul(random, 6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        random >> 33
    };
    let (mut n_records, mut n_half) = (0, 0);
    for kill in 0..n_kills() {
        let returned = Shared::new(AtomicU64::new(0)).unwrap();
        let process = Process::spawn(count, (returned.clone(),)).unwrap();
        let pid = process.pid();
        // Some before the first record, some after the ring has gone round.
        let until = std::time::Instant::now() + Duration::from_micros(next() % 3000);
        while std::time::Instant::now() < until {
            std::hint::spin_loop();
        }
        process.kill().unwrap();
        process.join().unwrap_err();
        let (seen, returned) = (logger::of(pid), returned.load(SeqCst));
        for (seen, n) in seen.iter().zip(0_u64..) {
            assert_eq!(seen.message, n.to_string(), "kill {kill}: out of order, or twice");
        }
        let came = seen.len() as u64;
        assert!(came == returned || came == returned + 1, "kill {kill}: {returned} have returned, {came} came");
        n_records += came;
        n_half += came - returned;
        logger::forget();
    }
    println!("{} kills, {n_records} records; {n_half} times one more than had returned", n_kills());
}
