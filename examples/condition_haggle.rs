//! A buyer and a seller haggle, each waiting for the other's word: a condition variable.

use std::sync::Arc;

use proc_core::thread::{JoinHandle, ThreadError, spawn};
use sync::thread::{Condvar, Lock};

struct Talk {
    lines: Lock<Vec<&'static str>>,
    said: Condvar,
}

fn speak(talk: &Arc<Talk>, who: &'static str, turn: usize, words: [&'static str; 3]) -> JoinHandle<()> {
    let talk = Arc::clone(talk);
    spawn(move || {
        for line in words {
            let lines = talk.lines.lock();
            let mut lines = talk.said.wait_while(lines, |lines| lines.len() % 2 != turn);
            println!("{who}: {line}");
            lines.push(line);
            talk.said.notify_all();
        }
    })
}

fn main() -> Result<(), ThreadError> {
    let talk = Arc::new(Talk { lines: Lock::new(Vec::new()), said: Condvar::new() });
    let buyer = speak(&talk, "Buyer", 0, ["What does the lamp cost?", "I give you 50.", "75, then."]);
    let seller = speak(&talk, "Seller", 1, ["100, for you.", "50? I would starve. 80.", "It is yours."]);
    buyer.join()?;
    seller.join()?;
    println!("It took {} words.", talk.lines.lock().len());
    Ok(())
}
