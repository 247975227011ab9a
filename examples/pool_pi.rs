//! Pi by throwing darts, with `starmap`: each worker gets a seed and a number of darts.
//!
//! Prints the same on every run, because the seeds are the same, and a sum does not care who comes first.

use pool::ProcessPool;

fn hits(seed: u64, n_darts: u64) -> u64 {
    let mut state = seed;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    (0..n_darts).filter(|_| random().powi(2) + random().powi(2) <= 1.0).count() as u64
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const N_DARTS: u64 = 100_000;
    let pool = ProcessPool::builder().build()?;
    let throws = (1..=40).map(|seed| (seed, N_DARTS));
    let hits: u64 = pool.starmap(hits, throws)?.iter().sum();
    println!("pi is about {:.3}", 4.0 * hits as f64 / (40 * N_DARTS) as f64);
    Ok(())
}
