//! Starting a child and waiting for it, in every way there is, from parents of several sizes.
//!
//! A fork is only safe, and only comparable, in a process of one thread, and leaves traces in the memory of the process
//! that forks. So each kind of parent is a process of its own, which is told over its standard input what to start, and
//! one way is taken some hundred times before the next.
//!
//! # Safety
//! Forks in processes of one thread, or to call nothing but `_exit`.
#![allow(unsafe_code)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use proc_core::{Process, StartMethod};

use crate::measure::time_each;

/// The first argument of a program that shall be a [`Parent`], and of one that shall end at once.
const PARENT: &str = "start-parent";
const NOTHING: &str = "do-nothing";

/// What the parent is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A process that has just been started.
    Small,
    /// One that has written to so many MiB of memory, in pages of 4 KiB.
    Heap(usize),
    /// One with so many threads that wake every millisecond and work for a moment.
    Threads(usize),
}

/// A way to start a child and wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `fork` and `waitpid`; the child does nothing, returns nothing.
    BareFork,
    /// The same, with a value that comes by a pipe.
    ForkAndPipe,
    /// The least that a process can cost: the child shares the memory and ends at once.
    Vfork,
    /// `std::thread::spawn`, and `join` for a value.
    Thread,
    /// Ours, with a value.
    ForkServer,
    /// Ours, with a value.
    Spawn,
    /// Ours, with a value; only in a parent of one thread.
    Fork,
    /// `std::process::Command` of `/bin/true`.
    True,
    /// `std::process::Command` of this program, whose `main` returns at once.
    Itself,
    /// The crate `procspawn`, with a value.
    Procspawn,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Vfork,
        Self::Thread,
        Self::BareFork,
        Self::ForkAndPipe,
        Self::ForkServer,
        Self::Spawn,
        Self::Fork,
        Self::True,
        Self::Itself,
        Self::Procspawn,
    ];

    /// What to call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::BareFork => "bare fork + wait",
            Self::ForkAndPipe => "bare fork + pipe",
            Self::Vfork => "vfork + _exit",
            Self::Thread => "std::thread",
            Self::ForkServer => "ForkServer",
            Self::Spawn => "Spawn",
            Self::Fork => "Fork",
            Self::True => "Command of /bin/true",
            Self::Itself => "Command of itself",
            Self::Procspawn => "procspawn",
        }
    }

    /// Whether it can be taken from such a parent.
    pub fn is_open_to(self, kind: Kind) -> bool {
        self != Self::Fork || !matches!(kind, Kind::Threads(_))
    }

    fn take(self) {
        match self {
            Self::BareFork => bare_fork(),
            Self::ForkAndPipe => assert_eq!(fork_and_pipe(7), 7),
            Self::Vfork => vfork(),
            Self::Thread => assert_eq!(std::thread::spawn(|| seven(7)).join().expect("it does not panic"), 7),
            Self::ForkServer => start(StartMethod::ForkServer),
            Self::Spawn => start(StartMethod::Spawn),
            Self::Fork => {
                let n = std::hint::black_box(7);
                let process = Process::fork(move || n).expect("one thread can fork");
                assert_eq!(process.join().expect("the child returns"), 7);
            }
            Self::True => run(&mut Command::new("/bin/true")),
            Self::Itself => run(Command::new("/proc/self/exe").arg(NOTHING)),
            Self::Procspawn => assert_eq!(procspawn::spawn(7, seven).join().expect("the child returns"), 7),
        }
    }
}

fn seven(n: u64) -> u64 {
    n
}

fn start(method: StartMethod) {
    let process = Process::builder().start_method(method).spawn(seven, (7,)).expect("processes can be started");
    assert_eq!(process.join().expect("the child returns"), 7);
}

fn run(command: &mut Command) {
    assert!(command.status().expect("the program can be executed").success());
}

fn bare_fork() {
    // SAFETY: the child calls nothing but `_exit`.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: ends the process.
        unsafe { libc::_exit(0) };
    }
    wait_for(pid);
}

fn fork_and_pipe(n: u64) -> u64 {
    let (mut output, mut input) = std::io::pipe().expect("there are descriptors left");
    // SAFETY: the child calls nothing but `write` and `_exit`.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let is_sent = input.write_all(&n.to_ne_bytes()).is_ok();
        // SAFETY: ends the process.
        unsafe { libc::_exit(i32::from(!is_sent)) };
    }
    drop(input);
    let mut value = [0; 8];
    output.read_exact(&mut value).expect("the child writes that much");
    wait_for(pid);
    u64::from_ne_bytes(value)
}

fn vfork() {
    const STACK: usize = 16 * 1024;
    extern "C" fn end(_: *mut libc::c_void) -> libc::c_int {
        // SAFETY: ends the child without touching the memory it shares.
        unsafe { libc::_exit(0) }
    }
    let mut stack = vec![0_u128; STACK / 16];
    let top = stack.as_mut_ptr_range().end;
    // SAFETY: the stack is the child's alone until it has ended, and this thread sleeps until then.
    let pid = unsafe {
        libc::clone(end, top.cast(), libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD, std::ptr::null_mut())
    };
    wait_for(pid);
}

fn wait_for(pid: libc::pid_t) {
    assert!(pid > 0, "{}", std::io::Error::last_os_error());
    let mut status = 0;
    // SAFETY: waits for a child that was made here.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert_eq!(status, 0);
}

/// To be called first in `main`: if this process was executed for one of the purposes here, it serves that, and
/// returns true in the end.
pub fn has_served() -> bool {
    procspawn::init();
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some(NOTHING) => true,
        Some(PARENT) => {
            serve(parse_kind(&args[2]).expect("another copy of this program says what kind"));
            true
        }
        _ => false,
    }
}

fn parse_kind(text: &str) -> Option<Kind> {
    let (kind, n) = text.split_once(':')?;
    let n = n.parse().ok()?;
    match kind {
        "small" => Some(Kind::Small),
        "heap" => Some(Kind::Heap(n)),
        "threads" => Some(Kind::Threads(n)),
        _ => None,
    }
}

fn serve(kind: Kind) {
    let _heap = if let Kind::Heap(mib) = kind { touched(mib << 20) } else { Vec::new() };
    if let Kind::Threads(n) = kind {
        (0..n).for_each(|_| drop(std::thread::spawn(busy)));
    }
    let mut lines = std::io::stdin().lines();
    println!("ready");
    while let Some(Ok(line)) = lines.next() {
        let mut words = line.split(' ').map(|word| word.parse::<usize>().expect("numbers come in"));
        let mut next = || words.next().expect("there are three of them");
        let (way, n, budget) = (Way::ALL[next()], next(), Duration::from_millis(next() as u64));
        let times: Vec<String> = time_each(n, budget, || way.take()).iter().map(|time| format!("{time:.2}")).collect();
        println!("{}", times.join(" "));
    }
}

fn touched(len: usize) -> Vec<u8> {
    let mut heap: Vec<u8> = Vec::with_capacity(len);
    // SAFETY: a hint about memory that this process owns.
    unsafe {
        let start = heap.as_mut_ptr().map_addr(|addr| addr.next_multiple_of(4096));
        libc::madvise(start.cast(), len - 4096, libc::MADV_NOHUGEPAGE);
    }
    heap.resize(len, 1);
    heap
}

fn busy() {
    loop {
        std::hint::black_box((0..20_000_u64).fold(1, |x, n| std::hint::black_box(x ^ n)));
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A process that starts children as it is told.
#[derive(Debug)]
pub struct Parent {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Parent {
    /// Starts one of that kind.
    ///
    /// # Errors
    /// If this program cannot be executed again.
    pub fn new(kind: Kind) -> std::io::Result<Self> {
        let kind = match kind {
            Kind::Small => "small:0".into(),
            Kind::Heap(n) => format!("heap:{n}"),
            Kind::Threads(n) => format!("threads:{n}"),
        };
        let mut process = Command::new(std::env::current_exe()?)
            .args([PARENT, &kind])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (orders, answers) = (process.stdin.take(), process.stdout.take().expect("it is a pipe"));
        let mut parent = Self { process, orders, answers: BufReader::new(answers) };
        parent.answer()?;
        Ok(parent)
    }

    /// Has it start up to `n` children that way, one after another, for at most about `budget`; returns how many
    /// microseconds each took.
    ///
    /// # Errors
    /// If the parent has died.
    pub fn start(&mut self, way: Way, n: usize, budget: Duration) -> std::io::Result<Vec<f64>> {
        let idx = Way::ALL.iter().position(|&each| each == way).expect("all are there");
        let orders = self.orders.as_mut().expect("it is taken when this is dropped");
        writeln!(orders, "{idx} {n} {}", budget.as_millis())?;
        Ok(self.answer()?.split_whitespace().filter_map(|time| time.parse().ok()).collect())
    }

    fn answer(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        match self.answers.read_line(&mut line)? {
            0 => Err(std::io::Error::other("the parent of the children died")),
            _ => Ok(line),
        }
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        self.orders = None;
        let _ = self.process.wait();
    }
}
