//! The same vocabulary on threads: closures may capture, nothing is serialised, and a scope lets tasks borrow.
//!
//! The order of its output: the totals are sums, so they do not depend on who was first; the lines stand as written.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use pool::ThreadPool;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = ThreadPool::builder().name("counter").build()?;
    let texts = ["one two three", "four five", "six"];

    let n_words = pool.map(|text: &str| text.split(' ').count(), texts)?;
    println!("words: {n_words:?}");

    let shout = String::from("!");
    println!("{}", pool.apply(move |text: &str| text.to_uppercase() + &shout, (texts[2],))?);

    let letters = AtomicUsize::new(0);
    pool.scope(|scope| {
        for text in &texts {
            drop(scope.apply_async(|| letters.fetch_add(text.replace(' ', "").len(), Relaxed), ()));
        }
    });
    println!("letters: {letters:?}");

    let panics = pool.apply(|n: usize| [1, 2, 3][n], (3,));
    println!("one task panics: {}", panics.expect_err("there is no fourth"));
    println!("the pool goes on: {}", pool.apply(|n: usize| [1, 2, 3][n], (2,))?);
    Ok(())
}
