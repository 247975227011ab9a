//! The example of Python's `concurrent.futures`: which of these numbers are prime? Once in order, once as they come.
//!
//! The order of its output: the first six lines in the order of the numbers (`imap`), although the later ones may be
//! known earlier; the last six as the tasks end (`as_completed`), in any order.

use pool::{ProcessPool, as_completed};

const NUMBERS: [u64; 6] = [
    112_272_535_095_293,
    112_582_705_942_171,
    112_272_535_095_295,
    115_280_095_190_773,
    115_797_848_077_099,
    1_099_726_899_285,
];

fn is_prime(n: u64) -> bool {
    n == 2 || n > 2 && n % 2 == 1 && (3..=n.isqrt()).step_by(2).all(|d| !n.is_multiple_of(d))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = ProcessPool::builder().build()?;
    for (number, prime) in NUMBERS.into_iter().zip(pool.imap(is_prime, NUMBERS)) {
        println!("{number} is prime: {}", prime?);
    }
    let tasks = NUMBERS.map(|number| pool.apply_async(|n: u64| (n, is_prime(n)), (number,)));
    for task in as_completed(tasks) {
        let (number, prime) = task.get()?;
        println!("{number} is prime: {prime}");
    }
    Ok(())
}
