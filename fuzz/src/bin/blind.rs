//! `blind TARGET SECONDS SEED KEPT CORPUS...`: changes the inputs in the folders at random, and gives them to the target.
//!
//! Nothing is learned from an input, so that one costs little more than the target itself. The one at work stands in the file
//! `KEPT`, which is mapped: whatever ends this process, the input that did it is there. An input that takes 20 s ends it, too.

use std::{
    fs, io,
    path::Path,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use fastrand::Rng;
use fuzz::Target;
use memmap2::MmapMut;

/// How long inputs get, as libFuzzer is told, too.
const LONGEST: usize = 4096;

/// How long one input may take.
const LIMIT: Duration = Duration::from_secs(20);

/// Numbers at which code turns: ends of ranges, and signs.
const EDGES: [u64; 12] =
    [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, i64::MAX as u64, u64::MAX];

static N_RUN: AtomicU64 = AtomicU64::new(0);

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, seconds, seed, kept, folders @ ..] = &args[..] else {
        return Err(io::Error::other("usage: blind TARGET SECONDS SEED KEPT CORPUS..."));
    };
    let number = |text: &str| text.parse::<u64>().map_err(io::Error::other);
    let (target, time, mut rng) =
        (Target::named(name), Duration::from_secs(number(seconds)?), Rng::with_seed(number(seed)?));
    let corpus = inputs(folders)?;
    let file = fs::File::options().read(true).write(true).create(true).truncate(true).open(kept)?;
    file.set_len((8 + LONGEST) as u64)?;
    // SAFETY: the file is this run's own; nobody shortens it meanwhile.
    let mut map = unsafe { MmapMut::map_mut(&file) }?;
    std::thread::spawn(watch);
    let begun = Instant::now();
    let mut input = Vec::with_capacity(2 * LONGEST);
    // The clock is asked once for many inputs that are quick, and for each that is not.
    let mut asked = (begun, 0);
    let mut every = 1;
    loop {
        let n = N_RUN.load(Relaxed);
        if n - asked.1 >= every {
            let now = Instant::now();
            if now - begun >= time {
                break;
            }
            every =
                if now - asked.0 < Duration::from_millis(20) { (every * 2).min(1 << 20) } else { every.div_ceil(2) };
            asked = (now, n);
        }
        change(&mut input, &corpus, &mut rng);
        map[..8].copy_from_slice(&(input.len() as u64).to_le_bytes());
        map[8..8 + input.len()].copy_from_slice(&input);
        target.run(&input);
        N_RUN.store(n + 1, Relaxed);
    }
    println!("{} executions", N_RUN.load(Relaxed));
    fs::remove_file(kept)
}

/// Ends the process when an input does not come to its end.
fn watch() {
    loop {
        let before = N_RUN.load(Relaxed);
        std::thread::sleep(LIMIT);
        if N_RUN.load(Relaxed) == before {
            eprintln!("an input takes more than {LIMIT:?}");
            std::process::abort();
        }
    }
}

fn inputs(folders: &[String]) -> io::Result<Vec<Vec<u8>>> {
    let mut inputs = vec![Vec::new()];
    for folder in folders.iter().map(Path::new).filter(|folder| folder.is_dir()) {
        for entry in fs::read_dir(folder)? {
            let mut input = fs::read(entry?.path())?;
            input.truncate(LONGEST);
            inputs.push(input);
        }
    }
    Ok(inputs)
}

/// One of the corpus, with one to eight changes.
fn change(input: &mut Vec<u8>, corpus: &[Vec<u8>], rng: &mut Rng) {
    input.clear();
    input.extend_from_slice(&corpus[rng.usize(..corpus.len())]);
    for _ in 0..=rng.u32(..8).min(rng.u32(..8)) {
        let at = rng.usize(..=input.len());
        let n = 1 + rng.usize(..16);
        let rest = n.min(input.len() - at);
        match rng.u8(..7) {
            0 if rest > 0 => input[at] ^= 1 << rng.u8(..8),
            1 if rest > 0 => input[at] = rng.u8(..),
            2 => {
                let edge = EDGES[rng.usize(..EDGES.len())].wrapping_add(rng.u64(..3)).wrapping_sub(1).to_le_bytes();
                let width = rest.min(1 << rng.u8(..4));
                input[at..at + width].copy_from_slice(&edge[..width]);
            }
            3 => drop(input.drain(at..at + rest)),
            4 => {
                let fresh = [(); 16].map(|()| rng.u8(..));
                drop(input.splice(at..at, fresh[..n].iter().copied()));
            }
            5 => input.extend_from_within(at..at + rest),
            _ => {
                let other = &corpus[rng.usize(..corpus.len())];
                let from = rng.usize(..=other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
        }
    }
    input.truncate(LONGEST);
}
