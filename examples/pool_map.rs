//! The first program of every tutorial: a function of many numbers, spread over processes.
//!
//! Python: `with Pool(5) as p: print(p.map(f, [1, 2, 3]))`. No guard around `main` is needed.
//!
//! Prints `[1, 4, 9]`: `map` returns the results in the order of its input, whoever finished first.

use pool::ProcessPool;

fn f(x: u64) -> u64 {
    x * x
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = ProcessPool::new(5)?;
    println!("{:?}", pool.map(f, [1, 2, 3])?);
    Ok(())
}
