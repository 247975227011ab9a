//! A queue between threads: the same methods as between processes.

use ipc::thread::{PriorityQueue, Queue};
use proc_core::thread::{ThreadError, spawn};

fn main() -> Result<(), ThreadError> {
    let queue = Queue::new(2);
    let producer = spawn({
        let queue = queue.clone();
        move || {
            for n in 1..=5 {
                queue.put(n * n).expect("the queue is open");
            }
            // No sentinel needed: whoever iterates is told that it is over.
            queue.close();
        }
    });
    let consumer = spawn(move || queue.iter().inspect(|n| println!("Got {n}.")).sum::<i32>());
    producer.join()?;
    println!("That makes {}.", consumer.join()?);

    let urgent = PriorityQueue::new(0);
    for task in [(3, "tidy up"), (1, "put out the fire"), (2, "call home")] {
        urgent.put(task).expect("the queue is open");
    }
    while let Ok((priority, task)) = urgent.try_get() {
        println!("{priority}. {task}");
    }
    Ok(())
}
