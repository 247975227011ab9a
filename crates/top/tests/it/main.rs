//! The program as its users see it, on programs in trouble.
#![allow(clippy::unwrap_used)]

mod container;
mod programs;
mod terminal;
mod trace;

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::{Command, Output},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};
use proc_core::Process;
use serde_json::Value;
use test_support::watchdog;

const TOP: &str = env!("CARGO_BIN_EXE_top");

/// A program that runs until this is dropped.
struct Program(Process<()>);

impl Program {
    fn start(main: fn() -> Process<()>) -> Self {
        Self(main())
    }

    fn pid(&self) -> u32 {
        self.0.pid()
    }

    fn top(&self, args: &[&str]) -> Output {
        Command::new(TOP).arg(self.pid().to_string()).args(args).output().unwrap()
    }

    /// All screens, once they have all these words; shown with the test's output.
    fn show_until(&self, words: &[&str]) {
        loop {
            let output = self.top(&["--text", "--interval", "100"]);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let text = String::from_utf8(output.stdout).unwrap();
            if words.iter().all(|word| text.contains(word)) {
                return println!("{text}");
            }
        }
    }

    /// Looks until that is so; the watchdog ends a test in which it never is.
    fn look_until(&self, is_so: impl Fn(&Value) -> bool) -> Value {
        loop {
            let look = look_at(self.pid());
            if is_so(&look) {
                return look;
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait_timeout(Duration::from_secs(60));
    }
}

fn look_at(pid: u32) -> Value {
    let output = Command::new(TOP).arg(pid.to_string()).args(["--json", "--interval", "20"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn list<'a>(look: &'a Value, key: &str) -> &'a [Value] {
    look[key].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn pid_of(look: &Value, name: &str) -> u64 {
    list(look, "processes").iter().find(|row| text(row, "name") == name).unwrap()["pid"].as_u64().unwrap()
}

#[test]
fn a_deadlock_of_two_processes_is_named() {
    let _dog = watchdog(Duration::from_secs(120));
    let program = Program::start(|| Process::spawn(programs::deadlock, ()).unwrap());
    let look = program.look_until(|look| !list(look, "findings").is_empty());
    let finding = &list(&look, "findings")[0];
    assert_eq!(text(finding, "kind"), "deadlock", "{look:#}");
    let words = text(finding, "text");
    assert!(words.contains("lefty") && words.contains("righty") && words.contains("waits for lock:"), "{words}");
    let mut pids: Vec<u64> = list(finding, "pids").iter().map(|pid| pid.as_u64().unwrap()).collect();
    pids.sort_unstable();
    let mut children = [pid_of(&look, "lefty"), pid_of(&look, "righty")];
    children.sort_unstable();
    assert_eq!(pids, children);
    let holders = |lock: &Value| list(lock, "holders").len();
    assert_eq!(list(&look, "locks").iter().filter(|lock| text(lock, "kind") == "Lock").map(holders).sum::<usize>(), 2);
    program.show_until(&["!!deadlock: ", "Lock       lefty ("]);
}

#[test]
fn a_chain_that_ends_in_a_stopped_consumer_is_named() {
    let _dog = watchdog(Duration::from_secs(120));
    let program = Program::start(|| Process::spawn(programs::stopped_consumer, ()).unwrap());
    let look = program.look_until(|look| !list(look, "findings").is_empty());
    let finding = &list(&look, "findings")[0];
    assert_eq!(text(finding, "kind"), "stopped", "{look:#}");
    let words = text(finding, "text");
    assert!(words.contains("producer") && words.contains("waits for room in queue:"), "{words}");
    assert!(words.contains(&format!("consumer ({})", pid_of(&look, "consumer"))), "{words}");
    let queue = &list(&look, "queues")[0];
    assert_eq!((queue["depth"].as_u64(), queue["capacity"].as_u64()), (Some(3), Some(3)), "{queue}");
    program.show_until(&["! held up: producer", "FULL put producer", "STOPPED"]);
}

#[test]
fn a_pipe_whose_receiver_is_stopped_is_named() {
    let _dog = watchdog(Duration::from_secs(120));
    let program = Program::start(|| Process::spawn(programs::stopped_receiver, ()).unwrap());
    let look = program.look_until(|look| !list(look, "findings").is_empty());
    let finding = &list(&look, "findings")[0];
    assert_eq!(text(finding, "kind"), "stopped", "{look:#}");
    let words = text(finding, "text");
    assert!(words.contains("sender") && words.contains("waits for room in pipe:"), "{words}");
    assert!(words.contains(&format!("receiver ({})", pid_of(&look, "receiver"))), "{words}");
    program.show_until(&[&format!("send {} >", pid_of(&look, "sender"))]);
}

#[test]
fn a_task_that_hangs_is_named_by_its_function() {
    let _dog = watchdog(Duration::from_secs(120));
    let program = Program::start(|| Process::spawn(programs::hung_task, ()).unwrap());
    let running = |look: &Value| {
        let pools = list(look, "pools").iter().flat_map(|pool| list(pool, "workers"));
        pools.map(|worker| &worker["task"]).find(|task| !task.is_null()).cloned()
    };
    let look = program.look_until(|look| running(look).is_some());
    let task = running(&look).unwrap();
    assert!(text(&task, "function").contains("programs::wait_for_nothing"), "{task}");
    let pool = &list(&look, "pools")[0];
    assert_eq!((text(pool, "name"), pool["owner"].as_u64()), ("crew", Some(program.pid().into())));
    let roles: Vec<&str> = list(&look, "processes").iter().map(|row| text(row, "role")).collect();
    assert!(roles.contains(&"owner") && roles.contains(&"worker") && roles.contains(&"fork-server"), "{roles:?}");
    assert_eq!(list(&look, "findings"), &[] as &[Value], "an idle worker waits for nobody");
    program.show_until(&["pool crew of", "wait_for_nothing", "idle"]);
}

#[test]
fn deaths_of_workers_are_told_with_what_they_died_of() {
    let _dog = watchdog(Duration::from_secs(120));
    let program = Program::start(|| Process::spawn(programs::deadly_task, ()).unwrap());
    let look = program.look_until(|look| {
        let board = &look["pools"][0]["board"];
        board["n_deaths"] == 1 && board["restarts"] == 1 && board["n_failed"] == 1
    });
    let death = &look["pools"][0]["board"]["deaths"][0];
    assert!(death[1].as_str().unwrap().starts_with("killed by signal 6: SIGABRT"), "{death}");
}

#[test]
fn a_garbled_queue_is_shown_as_garbled() {
    let _dog = watchdog(Duration::from_secs(120));
    let program = Program::start(|| Process::spawn(programs::garbled_queue, ()).unwrap());
    let look = program.look_until(|look| list(look, "others").iter().any(|other| other["is_garbled"] == true));
    assert!(list(&look, "others").iter().any(|other| text(other, "what").contains("queue")), "{look:#}");
    assert!(list(&look, "queues").is_empty());
}

#[test]
fn what_is_of_another_version_is_refused() {
    let _dog = watchdog(Duration::from_secs(120));
    let future = (
        Process::spawn(programs::queue_of_the_future, ()).unwrap(),
        "a queue of version 99, which this program does not know",
    );
    let strange = (Process::spawn(programs::no_queue, ()).unwrap(), "a queue's file without a queue's header");
    for (program, words) in [future, strange] {
        let program = Program(program);
        let look = program.look_until(|look| list(look, "others").iter().any(|other| text(other, "what") == words));
        assert!(list(&look, "queues").is_empty());
    }
}

#[test]
fn a_parent_that_keeps_a_producer_and_waits_for_the_consumer_is_named() {
    let _dog = watchdog(Duration::from_secs(120));
    let program = Program::start(|| Process::spawn(programs::kept_producer, ()).unwrap());
    let look = program.look_until(|look| !list(look, "findings").is_empty());
    let finding = &list(&look, "findings")[0];
    assert_eq!(text(finding, "kind"), "deadlock", "{look:#}");
    let words = text(finding, "text");
    assert!(words.contains("consumer") && words.contains("waits for a message in queue:"), "{words}");
    assert!(words.contains(&format!("({}) waits for the end of", program.pid())), "{words}");
}

#[test]
fn a_stopped_program_is_shown() {
    let _dog = watchdog(Duration::from_secs(120));
    let program = Program::start(|| Process::spawn(programs::idle, ()).unwrap());
    kill(Pid::from_raw(program.pid().cast_signed()), Signal::SIGSTOP).unwrap();
    let look = program.look_until(|look| text(&list(look, "processes")[0], "state") == "T");
    assert_eq!(look["root"].as_u64(), Some(program.pid().into()));
}

#[test]
fn another_users_program_is_refused() {
    let _dog = watchdog(Duration::from_secs(120));
    if !geteuid().is_root() {
        println!("(not root: without another user)");
        return;
    }
    let program = Program::start(|| Process::spawn(programs::idle, ()).unwrap());
    // Where another user can get at it.
    let copy = std::env::temp_dir().join(format!("top-test-{}", std::process::id()));
    fs::copy(TOP, &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new(&copy).arg(program.pid().to_string()).arg("--json").uid(65534).gid(65534).output();
    fs::remove_file(&copy).unwrap();
    let output = output.unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    if fs::read_to_string("/proc/self/mountinfo").unwrap().lines().any(|line| line.contains("hidepid=")) {
        assert!(words.contains("is another user's") && words.contains("hidepid"), "{words}");
    } else {
        assert!(words.contains("belongs to user 0") && words.contains("refuses") && words.contains("65534"), "{words}");
    }
}

#[test]
fn what_is_not_there_is_said() {
    let _dog = watchdog(Duration::from_secs(120));
    let output = Command::new(TOP).args(["no-such-program", "--json"]).output().unwrap();
    assert!(!output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "top: there is no process \"no-such-program\"\n");
}
