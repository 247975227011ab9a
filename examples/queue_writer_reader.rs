//! A queue between two processes: one writes, one reads, and the reader is terminated when all has been read.

use ipc::{JoinableQueue, Queue};
use proc_core::Process;

fn write(queue: Queue<char>) {
    println!("Process to write: {}", std::process::id());
    for letter in ['A', 'B', 'C'] {
        println!("Put {letter} to queue...");
        queue.put(letter).expect("the queue is open");
    }
}

fn read(queue: Queue<char>, seen: JoinableQueue<()>) {
    println!("Process to read: {}", std::process::id());
    // Endless: the parent ends this.
    for letter in &queue {
        println!("Get {letter} from queue.");
        seen.get().expect("one for each letter").task_done();
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let queue = Queue::new(0)?;
    let seen = JoinableQueue::new(0)?;
    (0..3).try_for_each(|_| seen.put(()))?;
    let writer = Process::spawn(write, (queue.clone(),))?;
    let reader = Process::spawn(read, (queue, seen.clone()))?;
    writer.join()?;
    seen.join()?;
    reader.terminate()?;
    println!("The reader ended with: {}", reader.join().expect_err("it is endless"));
    Ok(())
}
