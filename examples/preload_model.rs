//! A model is loaded once, in a fork server; its children, and a pool's workers, share the memory, and start as fast as without it.

use std::collections::HashMap;

use pool::ProcessPool;
use proc_core::{ForkServer, PreloadError, Process, ProcessError, preloaded};

/// Stands for something that takes seconds to load, and gigabytes.
struct Model {
    weights: Vec<f32>,
    words: HashMap<String, usize>,
}

fn load(n_words: usize) -> Model {
    assert!(n_words > 0, "a model without words");
    println!("loading {n_words} words");
    Model {
        weights: (0..n_words * 64).map(|n| n as f32).collect(),
        words: (0..n_words).map(|n| (format!("word{n}"), n)).collect(),
    }
}

fn weigh(word: String) -> Option<f32> {
    let model = preloaded::<Model>()?;
    let at = *model.words.get(&word)?;
    Some(model.weights[64 * at..][..64].iter().sum())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = ForkServer::builder().preload(load, (10_000,)).build()?;
    for word in ["word0", "word9999", "no word"] {
        let process = Process::builder().fork_server(&server).spawn(weigh, (word.into(),))?;
        println!("{word}: {:?}", process.join()?);
    }
    println!("without the server: {:?}", Process::spawn(weigh, ("word0".into(),))?.join()?);

    // Another generation of it; children of the former one would go on.
    server.reload()?;

    let pool = ProcessPool::builder().workers(2).preload(load, (1_000,)).build()?;
    println!("by a pool: {:?}", pool.map(weigh, ["word0", "word999"].map(String::from))?);

    match ForkServer::builder().preload(load, (0,)).build() {
        Err(ProcessError::Preload(PreloadError::Ended(why))) => match *why {
            ProcessError::Panicked { message, .. } => println!("not loaded: {message}"),
            other => return Err(other.into()),
        },
        other => println!("{other:?}"),
    }
    Ok(())
}
