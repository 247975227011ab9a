//! A queue of three: what happens when it is full, and when it is empty.

use std::time::Duration;

use ipc::Queue;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let queue: Queue<String> = Queue::new(3)?;
    for n in 1..=3 {
        queue.put(format!("message {n}"))?;
    }
    println!("Full: {}, with {} messages.", queue.is_full(), queue.len());
    let short = Duration::from_millis(20);
    if let Err(e) = queue.put_timeout("message 4".into(), short) {
        println!("put_timeout: {e}");
    }
    if let Err(e) = queue.try_put("message 4".into()) {
        println!("try_put: {e}");
    }
    while !queue.is_empty() {
        println!("Got {}.", queue.get()?);
    }
    println!("Empty: {}.", queue.is_empty());
    if let Err(e) = queue.get_timeout(short) {
        println!("get_timeout: {e}");
    }
    if let Err(e) = queue.try_get() {
        println!("try_get: {e}");
    }
    Ok(())
}
