//! Two producers and two consumers on a `JoinableQueue`: `join` returns when every item is done.
//!
//! The consumers are daemons, so they end with the program. One of them is killed in the middle of its work; its item
//! goes back to the queue.

use ipc::JoinableQueue;
use proc_core::{Process, current_process};

fn produce(queue: JoinableQueue<String>, food: String) {
    for n in 1..=4 {
        queue.put(format!("{food} {n}")).expect("the queue is open");
    }
    // Everything: the other producer's items as well.
    queue.join().expect("the queue is open");
}

fn consume(queue: JoinableQueue<String>) {
    loop {
        let item = queue.get().expect("the queue is open");
        if *item == "bun 2" && !item.redelivered() {
            println!("{} choked on {}", current_process().name(), *item);
            std::process::abort();
        }
        println!("someone ate {}{}", *item, if item.redelivered() { ", which came back" } else { "" });
        item.task_done();
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let queue = JoinableQueue::new(3)?;
    for name in ["Ann", "Bob"] {
        let consumer = Process::builder().name(name).daemon(true).spawn(consume, (queue.clone(),))?;
        drop(consumer);
    }
    let producers = ["bun", "pie"].map(|food| Process::spawn(produce, (queue.clone(), food.into())));
    for producer in producers {
        producer?.join()?;
    }
    println!("All items are done.");
    Ok(())
}
