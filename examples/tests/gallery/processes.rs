//! Processes.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use test_support::watchdog;

use crate::*;

#[test]
fn fork_twice() {
    let said = output("fork_twice", &[]);
    assert_says(
        &said,
        "Process (#) starts...
         I am the child process (#) and my parent is #.
         I (#) just created a child process (#).",
    );
    let (parent, child) = (number_after(&said, "Process ("), number_after(&said, "child process ("));
    assert_eq!((number_after(&said, "parent is "), number_after(&said, "I (")), (parent, parent));
    assert_eq!(number_after(&said, "created a child process ("), child);
}

#[test]
fn process_args() {
    let said = output("process_args", &[]);
    assert_says_somehow(
        &said,
        &format!(
            "MainProcess is process {parent}.
             The child is called greeter and is process {child}.
             greeter ({child}) is a child of MainProcess ({parent}).
             Hello Bob, number 1!
             Hello Bob, number 2!
             The child returned 20.",
            parent = number_after(&said, "MainProcess is process "),
            child = number_after(&said, "greeter and is process "),
        ),
    );
}

#[test]
fn no_sharing() {
    assert_says(
        &output("no_sharing", &[]),
        "In the parent the number is 100.
         In the child the number is 101.
         In the child the number is 101.
         In the child the number is 101.
         In the parent the number is still 100.",
    );
}

#[test]
fn process_as_type() {
    assert_says(
        &output("process_as_type", &[]),
        "Process-1: tick 1
         Process-1: tick 2
         Process-1: tick 3
         The clock ran for 60ms.",
    );
}

#[test]
fn daemon_or_not() {
    let said = output("daemon_or_not", &[]);
    // What the daemon has begun by the time that nobody waits for it is anybody's guess; it is never done.
    let order = |line: &str| said.match_indices(line).map(|(at, _)| at).collect::<Vec<_>>();
    let (main, done) = (order("main is done"), order("the worker is done"));
    assert_eq!((main.len(), done.len()), (4, 3), "{said}");
    assert!(done[0] < main[0] && main[1] < done[1] && done[1] < main[2] && main[3] < done[2], "{said}");
}

#[test]
fn active_children() {
    assert_says(
        &output("active_children", &[]),
        "This computer lets us use # CPUs.
         Ann runs as process #.
         Bob runs as process #.
         Cid runs as process #.
         Now there are 0 active children.",
    );
}

#[test]
fn queue_writer_reader() {
    let said = output("queue_writer_reader", &[]);
    let lines = |start: &str| said.lines().filter(|line| line.starts_with(start)).collect::<Vec<_>>();
    assert_eq!(lines("Put "), ["Put A to queue...", "Put B to queue...", "Put C to queue..."]);
    assert_eq!(lines("Get "), ["Get A from queue.", "Get B from queue.", "Get C from queue."]);
    let (writer, reader) = (number_after(&said, "to write: "), number_after(&said, "to read: "));
    assert_ne!(writer, reader);
    let end = format!("The reader ended with: process Process-2 ({reader}) was killed by SIGTERM");
    assert_eq!(said.lines().last(), Some(end.as_str()));
    assert_eq!(said.lines().count(), 9);
}

#[test]
fn queue_bounded() {
    assert_says(
        &output("queue_bounded", &[]),
        "Full: true, with 3 messages.
         put_timeout: the queue stayed full until the timeout
         try_put: the queue is full
         Got message 1.
         Got message 2.
         Got message 3.
         Empty: true.
         get_timeout: the queue stayed empty until the timeout
         try_get: the queue is empty",
    );
}

#[test]
fn producers_consumers_sentinel() {
    let said = output("producers_consumers_sentinel", &[]);
    for food in ["bun", "pie"] {
        for n in 1..=4 {
            let made = said.find(&format!("{food} baker made {food} {n}\n")).expect("made");
            let eaten = said.find(&format!("consumer ate {food} {n}\n")).expect("eaten");
            assert_ne!(made, eaten);
        }
    }
    assert_eq!(said.lines().last(), Some("8 items were eaten."));
    assert_eq!(said.lines().count(), 17);
}

#[test]
fn producers_consumers_joinable() {
    let said = output("producers_consumers_joinable", &[]);
    let choked = said.lines().find(|line| line.ends_with("choked on bun 2")).expect("one of them chokes");
    let rest: Vec<&str> = said.lines().filter(|line| *line != choked).collect();
    assert_says_somehow(
        &rest.join("\n"),
        "someone ate bun 1
         someone ate bun 2, which came back
         someone ate bun 3
         someone ate bun 4
         someone ate pie 1
         someone ate pie 2
         someone ate pie 3
         someone ate pie 4
         All items are done.",
    );
    assert_eq!(said.lines().last(), Some("All items are done."));
}

#[test]
fn ticket_office() {
    let said = output("ticket_office", &[]);
    let (without, with) = said.split_once("Without a lock, one ticket was sold 3 times.\n").expect("three times");
    assert_eq!(without.matches("bought a ticket.").count(), 3);
    assert_eq!((with.matches("bought a ticket.").count(), with.matches("found no ticket.").count()), (1, 2));
    assert!(with.ends_with("With a lock, one ticket was sold 1 time.\n"));
}

#[test]
fn external_call() {
    assert_says(
        &output("external_call", &[]),
        "$ echo hello
         hello
         It ended with exit status: 0.
         $ ls -d /
         /
         ls: exit status: 2: ls: cannot access '/no/such/file': No such file or directory
         cannot start no-such-program: No such file or directory (os error 2)",
    );
}

#[test]
fn external_communicate() {
    assert_says(
        &output("external_communicate", &[]),
        "sort wrote:
         cherry
         banana
         apple
         sort | uniq -c wrote:
         1 a
         2 b
         sleep did not end in time
         It ended with signal: 9 (SIGKILL).",
    );
}

#[test]
fn start_methods() {
    let said = output("start_methods", &[]);
    let knows = |method: &str| {
        let line = said.lines().find(|line| line.starts_with(method)).expect(method);
        line.split_once("µs a start, ").expect("a figure").1
    };
    assert_eq!(knows("Fork:"), "a copy of the parent's memory");
    assert_eq!((knows("Spawn:"), knows("ForkServer:")), ("fresh memory", "fresh memory"));
}

#[test]
fn preload_model() {
    assert_says(
        &output("preload_model", &[]),
        "loading # words
         word#: Some(#.#)
         word#: Some(#.#)
         no word: None
         without the server: None
         loading # words
         loading # words
         by a pool: [Some(#.#), Some(#.#)]
         not loaded: a model without words",
    );
}

#[test]
fn zombie() {
    assert_says(
        &output("zombie", &[]),
        "Zombies before: 0.
         sh is a zombie: true.
         Waiting for it says: exit status: 7.
         Zombies after: 0.",
    );
}

#[test]
fn orphan() {
    assert_says(
        &output("orphan", &[]),
        "The parent has ended, its child has not.
         Adopted and reaped: true.
         The orphan ended with exit status: 3.",
    );
}

#[test]
fn async_select() {
    let said = output("async_select", &[]);
    assert_eq!(said, "readings [1, 4, 9]\non average 4.67\nready: [0, 2]\n");
}

#[test]
fn supervisor() {
    assert_says(
        &output("supervisor", &[]),
        "The supervisor gave up: too many restarts, the last one because of server.
         database was started.
         server was started.
         server ended with exit status: 101.
         server was started.
         server ended with exit status: 101.
         server was started.
         server ended with exit status: 101.
         database was stopped.",
    );
}

#[test]
fn daemon_clock() {
    let dir = std::env::temp_dir().join(format!("gallery-clock-{}", std::process::id()));
    fs::create_dir(&dir).unwrap();
    let _remove = Remove(dir.clone());
    let clock = |command: &str| output("daemon_clock", &[command, dir.to_str().unwrap()]);
    assert_says(&clock("status"), "The clock does not run.");
    let started = clock("start");
    assert_says(&started, "The clock runs as process #.");
    assert!(fs::read_to_string(dir.join("clock.log")).unwrap().starts_with("The clock ticks.\n"));
    assert_eq!(clock("status"), started);
    let pid = number_after(&started, "process ");
    let refused = clock("start");
    assert!(refused.starts_with(&format!("The clock was not started: the daemon runs already, as process {pid} (")));
    assert_says(&clock("stop"), "The clock has stopped.");
    assert_says(&clock("status"), "The clock does not run.");
}

/// Stops a clock that a failure has left running, and removes its directory.
struct Remove(PathBuf);

impl Drop for Remove {
    fn drop(&mut self) {
        let _ = program("daemon_clock").arg("stop").arg(&self.0).output();
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What runs below a process, by what it is called.
fn children_of(parent: u32) -> Vec<(u32, String)> {
    let list = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    let pids = list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok());
    pids.filter_map(|pid| Some((pid, fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim().to_owned())))
        .collect()
}

#[test]
fn init() {
    let _dog = watchdog(LONG);
    // A thousand orphans, and then a wait for SIGTERM.
    let script = "trap 'exit 42' TERM; i=0; while [ $i -lt 1000 ]; do (true & true); i=$((i+1)); done; echo made; \
                  while :; do sleep 0.05; done";
    let init = program("init");
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork"]).arg(init.get_program()).args(["sh", "-c", script]);
    let may_unshare =
        Command::new("unshare").args(["--pid", "--fork", "true"]).output().is_ok_and(|o| o.status.success());
    if !may_unshare {
        println!("no right to make a pid namespace: init runs as an ordinary process");
        command = init;
        command.args(["sh", "-c", script]);
    }
    let mut outer = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(outer.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "made\n");
    let init = if may_unshare { children_of(outer.id())[0].0 } else { outer.id() };
    // Nobody is left but the shell: no orphan, no zombie.
    while !matches!(&children_of(init)[..], [(_, name)] if name == "sh") {
        std::thread::yield_now();
    }
    kill(Pid::from_raw(init.cast_signed()), Signal::SIGTERM).unwrap();
    assert_eq!(outer.wait().unwrap().code(), Some(42));
}

#[test]
fn shared_matrix() {
    let said = output("shared_matrix", &[]);
    assert_eq!(said.lines().count(), 4);
    assert_eq!(said.lines().last(), Some("[4.0, 8.0, 12.0, 16.0, 20.0, 24.0, 28.0, 32.0, 36.0, 40.0]"));
}

#[test]
fn kill_everywhere() {
    assert_says(
        &output("kill_everywhere", &[]),
        "killed after each instruction: the old state # times, then the new one: true",
    );
}
