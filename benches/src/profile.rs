//! Instructions of one operation, counted by callgrind: the same on a noisy machine as on a quiet one.
//!
//! A program is run that does the operation so many times, and again with more; the difference is what they cost.

use std::{error::Error, fs, hint::black_box, path::Path, process::Command};

use ipc::Queue;
use sync::process;

const FEW: u64 = 1_000;
const MANY: u64 = 11_000;

/// Its name, and what does it so many times.
pub type Operation = (&'static str, fn(u64));

/// The operations that can be counted.
pub const OPERATIONS: &[Operation] = &[
    ("empty loop", |n| {
        (0..n).for_each(|n| {
            black_box(n);
        })
    }),
    ("queue put + get, 8 B", |n| {
        let queue = Queue::<u64>::new(1024).expect("there is memory");
        (0..n).for_each(|n| {
            queue.put(n).expect("it is open");
            black_box(queue.get().expect("it is open"));
        });
    }),
    ("queue put + get, 256 B", |n| {
        let queue = Queue::<()>::builder().maxsize(1024).message_bytes(256).build().expect("there is memory");
        let message = [1; 256];
        (0..n).for_each(|_| {
            queue.put_bytes(black_box(&message)).expect("it is open");
            black_box(queue.get_bytes().expect("it is open"));
        });
    }),
    ("pipe send + recv, 8 B", |n| {
        let (a, b) = ipc::pipe::<u64>().expect("there is memory");
        (0..n).for_each(|n| {
            a.send(&n).expect("it is open");
            black_box(b.recv().expect("it is open"));
        });
    }),
    ("crossbeam send + recv, 8 B", |n| {
        let (sender, receiver) = crossbeam_channel::bounded(1024);
        (0..n).for_each(|n| {
            sender.send(n).expect("it is open");
            black_box(receiver.recv().expect("it is open"));
        });
    }),
    ("lock + unlock", |n| {
        let lock = process::Lock::new(0_u64).expect("there is memory");
        (0..n).for_each(|_| *lock.lock().expect("nobody dies") += 1);
    }),
    ("rlock + unlock", |n| {
        let lock = process::RLock::new(0_u64).expect("there is memory");
        (0..n).for_each(|_| {
            black_box(*lock.lock().expect("nobody dies"));
        });
    }),
    ("parking_lot lock + unlock", |n| {
        let lock = parking_lot::Mutex::new(0_u64);
        (0..n).for_each(|_| *black_box(&lock).lock() += 1);
    }),
    ("tls access", |n| {
        let local = tls::Local::new(|| std::cell::Cell::new(0_u64));
        (0..n).for_each(|_| local.with(|value| value.set(black_box(value.get() + 1))));
    }),
    ("thread_local crate access", |n| {
        let local = thread_local::ThreadLocal::new();
        (0..n).for_each(|_| {
            let value = local.get_or(|| std::cell::Cell::new(0_u64));
            value.set(black_box(value.get() + 1));
        });
    }),
];

/// Does an operation `n` times, for callgrind to watch.
///
/// # Errors
/// If there is no such operation.
pub fn perform(name: &str, n: u64) -> Result<(), String> {
    let (_, operation) =
        OPERATIONS.iter().find(|each| each.0 == name).ok_or_else(|| format!("there is no operation {name:?}"))?;
    operation(n);
    Ok(())
}

/// Instructions of one operation.
///
/// # Errors
/// If valgrind is not there, or the operation fails.
pub fn count(name: &str, folder: &Path) -> Result<f64, Box<dyn Error>> {
    let (few, many) = (instructions(name, FEW, folder)?, instructions(name, MANY, folder)?);
    Ok((many - few) as f64 / (MANY - FEW) as f64)
}

fn instructions(name: &str, n: u64, folder: &Path) -> Result<i64, Box<dyn Error>> {
    let file = folder.join(format!("callgrind.{}.{n}", name.replace([' ', '+', ','], "")));
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", &format!("--callgrind-out-file={}", file.display())])
        .arg(std::env::current_exe()?)
        .args(["perform", name, &n.to_string()])
        .output()?;
    if !output.status.success() {
        return Err(format!("{name}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()).into());
    }
    let profile = fs::read_to_string(&file)?;
    let total = profile.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
    Ok(total.ok_or("callgrind wrote no total")?.trim().parse()?)
}
