use std::{
    io::{BufRead, BufReader, Read},
    os::unix::process::ExitStatusExt,
    process::Command,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use test_support::watchdog;

use super::*;
use crate::{Process, reaper::zombies};
use kernel::identity::ProcessId;

const LONG: Duration = Duration::from_secs(60);

fn piped(args: &[&str]) -> PopenBuilder {
    Popen::builder(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped())
}

/// The number on the first line.
fn pid_in(text: &[u8]) -> u32 {
    String::from_utf8_lossy(text).lines().next().unwrap().parse().unwrap()
}

fn wait_until_dead(pid: u32) {
    while ProcessId::of(pid).is_some_and(|id| id.is_alive()) {
        std::thread::yield_now();
    }
}

#[test]
fn call_returns_the_status() {
    assert!(call(["true"]).unwrap().success());
    assert_eq!(call(["sh", "-c", "exit 3"]).unwrap().code(), Some(3));
    let missing = call(["/no/such/program"]).unwrap_err();
    assert!(matches!(&missing, CommandError::Start { source, .. } if source.kind() == std::io::ErrorKind::NotFound));
    assert!(call(Vec::<String>::new()).is_err());
}

#[test]
fn run_is_checked() {
    assert_eq!(run(["echo", "a b"]).unwrap().stdout, b"a b\n");
    let CommandError::Failed { output, .. } = run(["sh", "-c", "echo half; exit 4"]).unwrap_err() else { panic!() };
    assert_eq!((output.status.code(), output.stdout), (Some(4), b"half\n".to_vec()));
    let CommandError::Failed { output, .. } = run(["sh", "-c", "kill -9 $$"]).unwrap_err() else { panic!() };
    assert_eq!(output.status.signal(), Some(9));
}

#[test]
fn both_directions_at_once_do_not_deadlock() {
    let _dog = watchdog(LONG);
    let data: Vec<u8> = (0..8_000_000u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
    let cat = piped(&["sh", "-c", "cat; echo done >&2"]).spawn().unwrap();
    let output = cat.communicate(data.clone(), None).unwrap();
    assert!(output.stdout == data && output.stderr == b"done\n" && output.status.success());
}

#[test]
fn input_that_nobody_reads_is_no_error() {
    let _dog = watchdog(LONG);
    let output = piped(&["true"]).spawn().unwrap().communicate(vec![0; 1_000_000], None).unwrap();
    assert!(output.status.success());
}

#[test]
fn a_grandchild_with_the_pipe_does_not_hold_us_up() {
    // Guards against gh-75628.
    let _dog = watchdog(LONG);
    let output = piped(&["sh", "-c", "sleep 3600 & echo $!; exit 5"]).spawn().unwrap().communicate(None, None).unwrap();
    assert_eq!(output.status.code(), Some(5));
    let grandchild = pid_in(&output.stdout);
    assert!(ProcessId::of(grandchild).unwrap().is_alive());
    kill(Pid::from_raw(grandchild.cast_signed()), Signal::SIGKILL).unwrap();
}

#[test]
fn a_time_out_loses_nothing() {
    let _dog = watchdog(LONG);
    let program = piped(&["sh", "-c", "echo early; read line; echo $line"]).spawn().unwrap();
    let mut stdin = program.take_stdin().unwrap();
    let begun = Instant::now();
    let error = program.communicate(None, Duration::from_millis(200)).unwrap_err();
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert!(matches!(&error, CommandError::TimedOut { partial, .. } if partial.stdout == b"early\n"), "{error:?}");
    std::io::Write::write_all(&mut stdin, b"late\n").unwrap();
    assert_eq!(program.communicate(None, None).unwrap().stdout, b"early\nlate\n");
}

#[test]
fn output_is_limited() {
    let _dog = watchdog(LONG);
    let program = piped(&["yes"]).spawn().unwrap();
    let CommandError::TooMuchOutput { partial, .. } = program.communicate_limited("", None, 100_000).unwrap_err()
    else {
        panic!()
    };
    assert_eq!(partial.stdout.len(), 100_001);
    program.kill().unwrap();
    let output = program.communicate(None, None).unwrap();
    assert!(output.stdout.starts_with(&partial.stdout) && output.stdout.chunks_exact(2).all(|line| line == b"y\n"));
    assert_eq!(output.status.signal(), Some(9));
    assert_eq!(run(["printf", "12345"]).unwrap().stdout.len(), 5);
    let exact = piped(&["printf", "12345"]).spawn().unwrap();
    assert_eq!(exact.communicate_limited(None, None, 5).unwrap().stdout, b"12345");
}

#[test]
fn a_pipeline_joins_programs() {
    let _dog = watchdog(LONG);
    let sorted = Popen::builder(["sort"]) | Popen::builder(["uniq"]) | Popen::builder(["head", "-n", "1"]);
    let output = sorted.communicate("pear\napple\npear\n".repeat(50_000).as_str(), LONG).unwrap();
    assert_eq!(output.stdout, b"apple\n");
    let statuses = (Popen::builder(["false"]) | Popen::builder(["true"])).call().unwrap();
    assert_eq!(statuses.iter().map(ExitStatus::code).collect::<Vec<_>>(), [Some(1), Some(0)]);
    // The first never ends by itself.
    let endless = Popen::builder(["yes"]) | Popen::builder(["head", "-n", "2"]);
    assert_eq!(endless.communicate(None, LONG).unwrap().stdout, b"y\ny\n");
    let stuck = Popen::builder(["cat"]) | Popen::builder(["sleep", "3600"]);
    assert!(matches!(stuck.communicate("x", Duration::from_millis(50)), Err(CommandError::TimedOut { .. })));
    let missing = Popen::builder(["sleep", "3600"]) | Popen::builder(["/no/such/program"]);
    assert!(matches!(missing.call(), Err(CommandError::Start { .. })));
}

#[test]
fn a_group_is_killed_with_its_leader() {
    let _dog = watchdog(LONG);
    let leader = piped(&["sh", "-c", "sleep 3600 & echo $!; wait"]).process_group().spawn().unwrap();
    let mut line = String::new();
    BufReader::new(leader.take_stdout().unwrap()).read_line(&mut line).unwrap();
    let member = pid_in(line.as_bytes());
    assert!(ProcessId::of(member).unwrap().is_alive());
    leader.kill().unwrap();
    assert_eq!(leader.wait().unwrap().signal(), Some(9));
    wait_until_dead(member);
}

/// Starts two programs, one that is to die with this process and one that is not, and says who they are.
fn owner(end: bool) {
    let linked = Popen::new(["sleep", "3600"]).unwrap();
    let free = Popen::builder(["sleep", "3600"]).death_link(false).spawn().unwrap();
    println!("{} {}", linked.pid(), free.pid());
    if !end {
        linked.wait().unwrap();
    }
}

#[test]
fn programs_die_with_their_owner() {
    let _dog = watchdog(LONG);
    for ends in [false, true] {
        let owner = Process::builder().stdout(Stdio::piped()).spawn(owner, (ends,)).unwrap();
        let mut line = String::new();
        BufReader::new(owner.take_stdout().unwrap()).read_line(&mut line).unwrap();
        let (linked, free) = line.trim().split_once(' ').unwrap();
        let (linked, free): (u32, u32) = (linked.parse().unwrap(), free.parse().unwrap());
        if !ends {
            assert!(ProcessId::of(linked).unwrap().is_alive());
            owner.kill().unwrap();
        }
        owner.wait().unwrap();
        wait_until_dead(linked);
        assert!(ProcessId::of(free).unwrap().is_alive());
        kill(Pid::from_raw(free.cast_signed()), Signal::SIGKILL).unwrap();
    }
}

#[test]
fn a_dropped_program_runs_on_and_leaves_no_zombie() {
    let _dog = watchdog(LONG);
    let (mut hear, say) = std::io::pipe().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "read line; echo over"]).stdin(Stdio::piped()).stdout(say);
    let program = PopenBuilder::from(command).spawn().unwrap();
    let (pid, stdin) = (program.pid(), program.take_stdin().unwrap());
    drop(program);
    assert!(ProcessId::of(pid).unwrap().is_alive());
    drop(stdin);
    let mut text = String::new();
    hear.read_to_string(&mut text).unwrap();
    assert_eq!(text, "over\n");
    while zombies().iter().any(|zombie| zombie.pid == pid) || ProcessId::of(pid).is_some_and(|id| id.is_alive()) {
        std::thread::yield_now();
    }
}

#[test]
fn programs_are_not_active_children() {
    let program = piped(&["cat"]).spawn().unwrap();
    assert!(crate::active_children().iter().all(|child| child.pid() != program.pid()));
    assert!(program.poll().unwrap().is_none());
    program.terminate().unwrap();
    assert_eq!(program.wait().unwrap().signal(), Some(15));
    assert!(program.poll().unwrap().is_some());
}
