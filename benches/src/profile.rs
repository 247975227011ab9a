//! Instructions of one operation, counted by callgrind: the same on a noisy machine as on a quiet one.
//!
//! A program is run that does the operation so many times, and again with more; the difference is what they cost. What
//! one thread does alone is counted: who waits for others spins as often as it pleases the machine. Starts are counted
//! step by step: callgrind is no program to execute again.

use std::{
    error::Error,
    fs,
    hint::black_box,
    io,
    path::Path,
    process::{Command, Stdio},
};

use ipc::Queue;
use proc_core::Process;
use sync::process;
use test_support::step::{Stop, Victim};

use crate::{
    crew,
    figure::{Figure, Plan, Side},
    figures::queue::Reading,
    report::INSTRUCTIONS,
};

const FEW: u64 = 1_000;
const MANY: u64 = 11_000;
const FEW_STEPPED: u64 = 2;
const MANY_STEPPED: u64 = 7;

/// The first argument of a program that shall perform an operation, and of one that shall count the steps of one.
const PERFORM: &str = "perform";
const STEP: &str = "step";

/// The figure it belongs to and what is done, whose it is, and what does it so many times.
pub type Operation = (&'static str, Side, fn(u64));

/// What the caller does; the child, and the fork server, are processes of their own. A system call is one instruction.
const STEPPED: &[Operation] = &[
    ("start: ForkServer, the caller's side", Side::Ours, |n| {
        (0..n).for_each(|n| {
            let process = Process::spawn(|n: u64| n, (n,)).expect("processes can be started");
            assert_eq!(process.join().expect("the child returns"), n);
        });
    }),
    ("start: Fork, the caller's side", Side::Ours, |n| {
        (0..n).for_each(|n| {
            let process = Process::fork(move || n).expect("one thread can fork");
            assert_eq!(process.join().expect("the child returns"), n);
        });
    }),
];

/// The operations that callgrind can count.
const OPERATIONS: &[Operation] = &[
    ("loop of nothing", Side::Limit, |n| {
        (0..n).for_each(|n| {
            black_box(n);
        });
    }),
    ("queue, 8 B: put + get", Side::Ours, |n| {
        let queue = Queue::<u64>::new(1024).expect("there is memory");
        (0..n).for_each(|n| {
            queue.put(n).expect("it is open");
            black_box(queue.get().expect("it is open"));
        });
    }),
    ("queue, 8 B: put_many + get_many of 64", Side::Ours, |n| {
        let queue = Queue::<u64>::new(1024).expect("there is memory");
        (0..n).for_each(|_| {
            queue.put_many(0..64).expect("it is open");
            black_box(queue.get_many(64).expect("it is open"));
        });
    }),
    ("queue, 8 B: crossbeam send + recv", Side::Rust, |n| {
        let (sender, receiver) = crossbeam_channel::bounded(1024);
        (0..n).for_each(|n| {
            sender.send(n).expect("it is open");
            black_box(receiver.recv().expect("it is open"));
        });
    }),
    ("queue, 256 B: put + get", Side::Ours, |n| {
        let queue = Queue::<()>::builder().maxsize(1024).message_bytes(256).build().expect("there is memory");
        let message = [1; 256];
        (0..n).for_each(|_| {
            queue.put_bytes(black_box(&message)).expect("it is open");
            black_box(queue.get_bytes().expect("it is open"));
        });
    }),
    ("pipe, 8 B: send + recv", Side::Ours, |n| {
        let (a, b) = ipc::pipe::<u64>().expect("there is memory");
        (0..n).for_each(|n| {
            a.send(&n).expect("it is open");
            black_box(b.recv().expect("it is open"));
        });
    }),
    ("queue, struct: put + get", Side::Ours, |n| {
        let queue = Queue::<Reading>::new(1024).expect("there is memory");
        (0..n).for_each(|n| {
            let put = queue.put(black_box(Reading::new(n)));
            assert!(put.is_ok(), "it is open");
            black_box(queue.get().expect("it is open"));
        });
    }),
    ("queue, struct: crossbeam send + recv", Side::Rust, |n| {
        let (sender, receiver) = crossbeam_channel::bounded(1024);
        (0..n).for_each(|n| {
            let sent = sender.send(black_box(Reading::new(n)));
            assert!(sent.is_ok(), "it is open");
            black_box(receiver.recv().expect("it is open"));
        });
    }),
    ("pipe, struct: send + recv", Side::Ours, |n| {
        let (a, b) = ipc::pipe::<Reading>().expect("there is memory");
        (0..n).for_each(|n| {
            a.send(&black_box(Reading::new(n))).expect("it is open");
            black_box(b.recv().expect("it is open"));
        });
    }),
    ("lock, alone: Lock", Side::Ours, |n| {
        let lock = process::Lock::new(0_u64).expect("there is memory");
        (0..n).for_each(|_| *lock.lock().expect("nobody dies") += 1);
    }),
    ("lock, alone: RLock", Side::Ours, |n| {
        let lock = process::RLock::new(0_u64).expect("there is memory");
        (0..n).for_each(|_| {
            black_box(*lock.lock().expect("nobody dies"));
        });
    }),
    ("lock, alone: thread::Lock", Side::Ours, |n| {
        let lock = sync::thread::Lock::new(0_u64);
        (0..n).for_each(|_| *black_box(&lock).lock() += 1);
    }),
    ("lock, alone: parking_lot", Side::Rust, |n| {
        let lock = parking_lot::Mutex::new(0_u64);
        (0..n).for_each(|_| *black_box(&lock).lock() += 1);
    }),
    ("tls, one access: Local", Side::Ours, |n| {
        let local = tls::Local::new(|| std::cell::Cell::new(0_u64));
        (0..n).for_each(|_| local.with(|value| value.set(black_box(value.get() + 1))));
    }),
    ("tls, one access: thread_local crate", Side::Rust, |n| {
        let local = thread_local::ThreadLocal::new();
        (0..n).for_each(|_| {
            let value = local.get_or(|| std::cell::Cell::new(0_u64));
            value.set(black_box(value.get() + 1));
        });
    }),
];

/// The operations that can be counted.
pub fn operations() -> impl Iterator<Item = &'static Operation> {
    STEPPED.iter().chain(OPERATIONS)
}

/// Whether callgrind is there.
pub fn can_count() -> bool {
    let mut probe = Command::new("valgrind");
    probe.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success())
}

/// The figure of all of them, if they can be counted.
pub fn plans() -> Vec<Plan> {
    if !can_count() {
        return Vec::new();
    }
    vec![Plan::new(INSTRUCTIONS, INSTRUCTIONS, |name| {
        let folder = std::env::temp_dir().join(format!("callgrind-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let folder = std::rc::Rc::new(Folder(folder));
        Ok(operations().fold(Figure::count(name, INSTRUCTIONS), |figure, &(name, side, _)| {
            let folder = folder.clone();
            figure.case(side, name, move |_| count(name, &folder.0).map_err(|e| io::Error::other(e.to_string())))
        }))
    })]
}

struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// To be called in `main`: if this process was executed to perform an operation, it does so, and returns true.
///
/// # Errors
/// If there is no such operation.
pub fn has_served() -> Result<bool, Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [first, name, n] = &args[..] else { return Ok(false) };
    if first != PERFORM && first != STEP {
        return Ok(false);
    }
    let operation = operations().find(|each| each.0 == name);
    let &(.., operation) = operation.ok_or_else(|| format!("there is no operation {name:?}"))?;
    if first == STEP {
        println!("{}", steps(|| operation(n.parse().unwrap_or_default()))?);
    } else {
        operation(n.parse()?);
    }
    Ok(true)
}

/// Instructions of one operation.
///
/// # Errors
/// If valgrind is not there, or the operation fails.
pub fn count(name: &str, folder: &Path) -> Result<f64, Box<dyn Error>> {
    let is_stepped = STEPPED.iter().any(|each| each.0 == name);
    let (few, many) = if is_stepped { (FEW_STEPPED, MANY_STEPPED) } else { (FEW, MANY) };
    let of = |n| if is_stepped { instructions_in_steps(name, n) } else { instructions(name, n, folder) };
    Ok((of(many)? - of(few)?) as f64 / (many - few) as f64)
}

fn instructions_in_steps(name: &str, n: u64) -> Result<i64, Box<dyn Error>> {
    let output = Command::new(std::env::current_exe()?).args([STEP, name, &n.to_string()]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = || format!("{name}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    Ok(text.trim().parse().map_err(|_| errors())?)
}

/// How many instructions `operation` takes in a child of this process, which has one thread.
fn steps(operation: impl FnOnce()) -> io::Result<i64> {
    // Both on one processor: to wake another one takes longer than the step.
    crew::stay_here()?;
    let mut victim = Victim::start(|mark| mark.window(operation))?;
    let mut n = 0;
    loop {
        match victim.step() {
            Stop::Stopped => n += 1,
            Stop::Blocked => {}
            Stop::Done => return Ok(n),
            Stop::Ended(status) => return Err(io::Error::other(format!("it ended: {status:?}"))),
            Stop::Panicked => return Err(io::Error::other("it panicked")),
        }
    }
}

fn instructions(name: &str, n: u64, folder: &Path) -> Result<i64, Box<dyn Error>> {
    let file = folder.join(format!("callgrind.{}.{n}", name.replace(|c: char| !c.is_ascii_alphanumeric(), "")));
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", &format!("--callgrind-out-file={}", file.display())])
        .arg(std::env::current_exe()?)
        .args([PERFORM, name, &n.to_string()])
        .output()?;
    if !output.status.success() {
        return Err(format!("{name}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()).into());
    }
    let profile = fs::read_to_string(&file)?;
    let total = profile.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
    Ok(total.ok_or("callgrind wrote no total")?.trim().parse()?)
}
