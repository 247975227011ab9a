//! A progress bar over lazy results: any adaptor of iterators will do, `imap` is one.
//!
//! The bar is drawn on standard error if that is a terminal. Standard output gets one line, the sum, which does not
//! depend on the order in which `imap_unordered` yields.

use indicatif::ProgressIterator;
use pool::ProcessPool;

/// How many steps the Collatz sequence takes from `n` to 1.
fn collatz(mut n: u64) -> u64 {
    let mut steps = 0;
    while n != 1 {
        n = if n.is_multiple_of(2) { n / 2 } else { 3 * n + 1 };
        steps += 1;
    }
    steps
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = ProcessPool::builder().build()?;
    let total = 1_000_000;
    let mut sum = 0;
    for steps in pool.imap_unordered(collatz, 1..=total).progress_count(total) {
        sum += steps?;
    }
    println!("{sum} steps from the first {total} numbers");
    Ok(())
}
