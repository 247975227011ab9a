//! Two producers and two consumers. A sentinel for each consumer says that nothing more will come.

use ipc::Queue;
use proc_core::{Process, current_process};

fn produce(queue: Queue<Option<String>>, food: String) {
    for n in 1..=4 {
        let item = format!("{food} {n}");
        println!("{} made {item}", current_process().name());
        queue.put(Some(item)).expect("the queue is open");
    }
}

fn consume(queue: Queue<Option<String>>) -> u32 {
    let mut eaten = 0;
    while let Some(item) = queue.get().expect("the queue is open") {
        println!("{} ate {item}", current_process().name());
        eaten += 1;
    }
    eaten
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let queue = Queue::new(3)?;
    let mut consumers = Vec::new();
    let mut producers = Vec::new();
    for name in ["first consumer", "second consumer"] {
        consumers.push(Process::builder().name(name).spawn(consume, (queue.clone(),))?);
    }
    for food in ["bun", "pie"] {
        producers.push(Process::builder().name(format!("{food} baker")).spawn(produce, (queue.clone(), food.into()))?);
    }
    for producer in producers {
        producer.join()?;
    }
    for _ in &consumers {
        queue.put(None)?;
    }
    let mut eaten = 0;
    for consumer in consumers {
        eaten += consumer.join()?;
    }
    println!("{eaten} items were eaten.");
    Ok(())
}
