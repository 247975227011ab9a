//! Who is running: the active children, and on how many CPUs.

use ipc::pipe;
use proc_core::{Process, active_children, cpu_count};

fn wait_for_word(word: ipc::Connection<()>) {
    word.recv().expect("the parent sends a word");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("This computer lets us use {} CPUs.", cpu_count());
    let mut words = Vec::new();
    let mut processes = Vec::new();
    for name in ["Ann", "Bob", "Cid"] {
        let (here, there) = pipe()?;
        processes.push(Process::builder().name(name).spawn(wait_for_word, (there,))?);
        words.push(here);
    }
    for child in active_children() {
        println!("{} runs as process {}.", child.name(), child.pid());
    }
    for word in &words {
        word.send(&())?;
    }
    for process in processes {
        process.join()?;
    }
    println!("Now there are {} active children.", active_children().len());
    Ok(())
}
